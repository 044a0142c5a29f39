"""Lists and the start of watches: which objects, at which revision, in which pages.

A list is answered from the watch cache wherever the cache is what was asked for; only pages and exact reads of an
older revision go to the store. Continue tokens are opaque to clients: the revision of the first page and the key to go
on from. Source of the rules: the API concepts page ("Resource versions", "Retrieving large results sets in chunks").
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from itertools import islice

import orjson

from pybernetes.api.errors import BadRequest, Expired
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.apiserver import encoding
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


def encode_continue(revision: int, start: str) -> str:
    token = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


_TOKEN_VERSION = "meta.k8s.io/v1"
_TOKEN_LENGTH_MAX = 4096


def decode_continue(token: str) -> tuple[int, str]:
    """``(revision, start key)``; the revision is negative for "the newest". Raises `BadRequest`."""
    try:
        if len(token) > _TOKEN_LENGTH_MAX:
            raise ValueError("continue key is not valid: too long")
        try:
            value = orjson.loads(base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True))
        except (ValueError, binascii.Error) as e:
            raise ValueError(f"continue key is not valid: {e}") from e
        version, revision, start = (
            (value.get("v"), value.get("rv"), value.get("start")) if isinstance(value, dict) else (None, None, None)
        )
        if version != _TOKEN_VERSION:
            shown = version if isinstance(version, str) else ""
            raise ValueError(f"continue key is not valid: server does not recognize this encoded version {shown}")
        if type(revision) is not int or not revision:
            raise ValueError(
                f"continue key is not valid: incorrect encoded start resourceVersion (version {_TOKEN_VERSION})"
            )
        if not isinstance(start, str) or not start:
            raise ValueError(f"continue key is not valid: encoded start key empty (version {_TOKEN_VERSION})")
    except ValueError as e:
        raise BadRequest(f"invalid continue token: {e}") from e
    return revision, start


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
            revision, start = decode_continue(options.continue_token)
            if version not in ("", "0"):
                raise BadRequest("specifying resource version is not allowed when using continue")
            if not start.startswith(self._prefix(selection)):
                raise BadRequest(f"invalid continue token: continue key is not valid: {start}")
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
        return self._from_cache(resource, selection, "", options.limit, cacher.revision)

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
            token = encode_continue(revision, items[-1].key + "\0") if remaining else ""
            return Listing(resource, items, revision, token, remaining or None, selection)
        found = cache.select(selection, start)
        items = list(islice(found, limit))
        token = ""
        if len(items) == limit and next(found, None) is not None:
            token = encode_continue(revision, items[-1].key + "\0")
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
            raise ContinueExpired(encode_continue(_LATEST, start))
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
                    token = encode_continue(revision, entry.key + "\0")
                    return Listing(resource, items, revision, token, remaining, selection)
            if not page.more:
                return Listing(resource, items, revision, selection=selection)
            at = page.items[-1].key + "\0"

    async def _range(self, at: str, end: str, revision: int, limit: int, base: str, start: str) -> RangeResult:
        try:
            return await self._storage.store.range(at, end, revision=revision, limit=limit)
        except Compacted as e:
            if start:
                raise ContinueExpired(encode_continue(_LATEST, at[len(base) :])) from e
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
