"""Lists and the start of watches: which objects, at which revision, in which pages.

A list is answered from the watch cache wherever the cache is what was asked for; only pages and exact reads of an
older revision go to the store. Source of the rules: the API concepts page ("Resource versions", "Retrieving large
results sets in chunks").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import orjson

from pybernetes.api.errors import BadRequest, Expired
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.apiserver import continue_tokens, encoding
from pybernetes.apiserver.cacher import PREFIX, too_large
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.options import EXACT, ListOptions
from pybernetes.apiserver.options import revision as parse_revision
from pybernetes.apiserver.selection import Selection
from pybernetes.apiserver.served import ServedKinds
from pybernetes.apiserver.storage import ObjectStorage
from pybernetes.apiserver.watching import Watcher
from pybernetes.store.interface import Compacted, FutureRevision, RangeResult, prefix_end

_INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
_EXPIRED_LIST = "The resourceVersion for the provided list is too old."
_STORE_PAGE = 500
_LATEST = -1


class ContinueExpired(Expired):
    """A continue token whose revision is compacted; `token` goes on at the newest revision instead."""

    def __init__(self, token: str) -> None:
        super().__init__(_INCONSISTENT)
        self.token = token

    def to_status(self) -> Object:
        return {**super().to_status(), "metadata": {"continue": self.token}}


@dataclass(slots=True)
class Listing:
    """One page of a list. `revision` is what its metadata say."""

    resource: Resource
    items: list[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None
    selection: Selection | None = field(default=None, repr=False)


class Lister:
    def __init__(self, storage: ObjectStorage, kinds: ServedKinds) -> None:
        self._storage = storage
        self._kinds = kinds

    def selection(self, info: RequestInfo, options: ListOptions) -> Selection:
        resource = info.resource
        assert resource is not None
        return Selection(
            resource, self._kinds.strategy(resource), info.namespace, options.label_selector, options.field_selector
        )

    # ---- lists

    async def list(self, info: RequestInfo, options: ListOptions) -> Listing:
        """Raises `BadRequest`, `Expired`, `GatewayTimeout` (a version the cache has not reached in time)."""
        resource = info.resource
        assert resource is not None
        selection = self.selection(info, options)
        version = options.resource_version
        if options.continue_token:
            revision, start = continue_tokens.decode(options.continue_token)
            if version not in ("", "0"):
                raise BadRequest("specifying resource version is not allowed when using continue")
            if not start.startswith(self._prefix(selection)):
                raise continue_tokens.refused(f": {start}")
            return await self._continue(resource, selection, revision, start, options.limit)
        cacher = self._storage.cacher
        if not version:
            await cacher.fresh()
        elif version != "0":
            revision = parse_revision(version)
            exact = options.resource_version_match == EXACT
            await cacher.reached(revision)
            if revision and (exact or (options.limit and not options.resource_version_match)):
                return await self._from_store(resource, selection, revision, "", options.limit)
        # A list of any version is one page, as upstream's watch cache has it.
        limit = options.limit if version != "0" else 0
        return self._from_cache(resource, selection, "", limit, cacher.revision)

    @staticmethod
    def _prefix(selection: Selection) -> str:
        return f"{selection.namespace}/" if selection.namespace else ""

    def _from_cache(self, resource: Resource, selection: Selection, start: str, limit: int, revision: int) -> Listing:
        cache = self._storage.cacher.kind(resource)
        if not limit:
            return Listing(resource, list(cache.select(selection, start)), revision, selection=selection)
        if not selection.filtered:
            # A page of everything: no more is looked at than is answered.
            items, remaining = cache.page(selection.namespace, start, limit)
            token = continue_tokens.encode(revision, items[-1].key + "\0") if remaining else ""
            return Listing(resource, items, revision, token, remaining or None, selection)
        found = cache.select(selection, start)
        items = list(islice(found, limit))
        token = ""
        if len(items) == limit and next(found, None) is not None:
            token = continue_tokens.encode(revision, items[-1].key + "\0")
        return Listing(resource, items, revision, token, None, selection)

    async def _continue(
        self, resource: Resource, selection: Selection, revision: int, start: str, limit: int
    ) -> Listing:
        cacher = self._storage.cacher
        if revision < 0:
            await cacher.fresh()
            return self._from_cache(resource, selection, start, limit, cacher.revision)
        if revision > cacher.revision:
            await cacher.reached(revision)
        if revision < await self._storage.store.compacted():
            # Also where the cache could still answer: how long a token holds does not depend on what else happens.
            raise ContinueExpired(continue_tokens.encode(_LATEST, start))
        if cacher.kind(resource).last_change <= revision:
            # Nothing of this kind changed since: the cache still is what it was then.
            return self._from_cache(resource, selection, start, limit, revision)
        return await self._from_store(resource, selection, revision, start, limit)

    async def _from_store(
        self, resource: Resource, selection: Selection, revision: int, start: str, limit: int
    ) -> Listing:
        """As it was at `revision`."""
        base = f"{PREFIX}{resource.storage_id}/"
        prefix = base + self._prefix(selection)
        at, end = base + start if start else prefix, prefix_end(prefix)
        items: list[Entry] = []
        while True:
            page = await self._range(at, end, revision, min(limit, _STORE_PAGE) if limit else _STORE_PAGE, base, start)
            for i, kv in enumerate(page.items):
                obj = orjson.loads(kv.value)
                obj["metadata"]["resourceVersion"] = str(kv.mod_revision)
                raw = encoding.with_version(kv.value, kv.mod_revision)
                entry = Entry(kv.key[len(base) :], obj, raw, kv.mod_revision)
                if not selection.matches(entry):
                    continue
                items.append(entry)
                if limit and len(items) == limit:
                    left = page.count - i - 1
                    if not left:
                        return Listing(resource, items, revision, selection=selection)
                    remaining = None if selection.filtered else left
                    token = continue_tokens.encode(revision, entry.key + "\0")
                    return Listing(resource, items, revision, token, remaining, selection)
            if not page.more:
                return Listing(resource, items, revision, selection=selection)
            at = page.items[-1].key + "\0"

    async def _range(self, at: str, end: str, revision: int, limit: int, base: str, start: str) -> RangeResult:
        try:
            return await self._storage.store.range(at, end, revision=revision, limit=limit)
        except Compacted as e:
            if start:
                raise ContinueExpired(continue_tokens.encode(_LATEST, at[len(base) :])) from e
            raise Expired(_EXPIRED_LIST) from e
        except FutureRevision as e:
            raise too_large(revision, await self._storage.store.revision()) from e

    # ---- watches

    async def watch(self, info: RequestInfo, options: ListOptions) -> tuple[Watcher, int | None]:
        """An attached watcher; detach it when done. The number, where there is one, is the revision at which its
        initial events end and of which the client wants a bookmark. Raises `BadRequest`; and `Expired` and
        `GatewayTimeout`, which a client gets as the stream's first and only event."""
        resource = info.resource
        assert resource is not None
        cacher = self._storage.cacher
        selection = self.selection(info, options)
        version = options.resource_version
        initial = options.send_initial_events
        if initial or (initial is None and version in ("", "0")):
            if not version:
                await cacher.fresh()
            elif version != "0":
                await cacher.reached(parse_revision(version))
            cache = cacher.kind(resource)
            watcher = Watcher(selection, after=cacher.revision)
            watcher.preload(list(cache.select(selection)))
            cache.attach(watcher, cacher.revision)
            return watcher, cacher.revision if initial else None
        if version in ("", "0"):
            revision = await cacher.fresh()
        else:
            revision = parse_revision(version)
        watcher = Watcher(selection, after=revision)
        cacher.kind(resource).attach(watcher, revision)
        return watcher, None

    def detach(self, watcher: Watcher) -> None:
        self._storage.cacher.kind(watcher.selection.resource).detach(watcher)
