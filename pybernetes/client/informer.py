"""Informers: a local, indexed copy of one resource, kept true by a list and a watch.

Lifecycle: `run` lists, then watches from that revision for as long as it lives; a broken watch is resumed from
the last revision seen, a too old one is listed again, both with bounded back-off. In the API server's own process, and
without a selector, it takes the watch cache's changes as they are made instead. Handlers are synchronous and
quick (they add a key to a work queue). One event loop owns an informer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar, cast

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, key_of, metadata, resource_version_of
from pybernetes.api.resources import Resource
from pybernetes.client.interface import Client, EventType, Followable

T = TypeVar("T")

Handler = Callable[[Object | None, Object | None], None]
"""Called with (old, new): old is None for an addition, new is None for a deletion."""

Index = Callable[[Object], Iterable[str]]
"""The values under which an object is found."""

Part = Callable[[Object], Any]
"""What of an object an index looks at, its key aside: versions of it that are equal here have the same values."""

_BACKOFF_MAX_SECONDS = 30.0
_PAGE_SIZE = 500

log = structlog.get_logger(__name__)


def by_namespace(obj: Object) -> Iterable[str]:
    return (metadata(obj).get("namespace", ""),)


def by_owner_uid(obj: Object) -> Iterable[str]:
    return [ref.get("uid", "") for ref in metadata(obj).get("ownerReferences") or ()]


class Cache:
    """Objects by key, with named indexes. Read-only for everybody but its informer."""

    def __init__(self, indexes: dict[str, Index] | None = None) -> None:
        self._objects: dict[str, Object] = {}
        self._index_functions: dict[str, tuple[Index, Part | None]] = {n: (i, None) for n, i in (indexes or {}).items()}
        # Keys and not objects, so that a change that moves nothing costs nothing.
        self._indexes: dict[str, dict[str, dict[str, None]]] = {n: {} for n in self._index_functions}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def all_keys(self) -> list[str]:
        return list(self._objects)

    def get(self, key: str) -> Object | None:
        """The object of a key as `meta.key_of` makes it, or None."""
        return self._objects.get(key)

    def by_index(self, index: str, value: str) -> list[Object]:
        bucket = self._indexes[index].get(value)
        return [self._objects[key] for key in bucket] if bucket else []

    def add_index(self, name: str, function: Index, part: Part | None = None) -> None:
        """Adds an index, filled from what is there; the same name with the same function may come twice. `part` is
        worth giving where it costs less than `function`."""
        if name in self._index_functions:
            return
        self._index_functions[name] = (function, part)
        self._indexes[name] = {}
        for key, obj in self._objects.items():
            self._enter(self._indexes[name], function(obj), key)

    @staticmethod
    def _enter(index: dict[str, dict[str, None]], values: Iterable[str], key: str) -> None:
        for value in values:
            bucket = index.get(value)
            if bucket is None:
                bucket = index[value] = {}
            bucket[key] = None

    def put(self, obj: Object) -> Object | None:
        """Stores the object and returns the one it replaces."""
        key = key_of(obj)
        old = self._objects.get(key)
        self._objects[key] = obj
        for name, (function, part) in self._index_functions.items():
            if old is None:
                self._enter(self._indexes[name], function(obj), key)
                continue
            if part is not None and part(old) == part(obj):
                continue
            values, before = list(function(obj)), list(function(old))
            if values != before:
                self._leave(self._indexes[name], before, key)
                self._enter(self._indexes[name], values, key)
        return old

    def remove(self, key: str) -> Object | None:
        old = self._objects.pop(key, None)
        if old is not None:
            for name, (function, _) in self._index_functions.items():
                self._leave(self._indexes[name], function(old), key)
        return old

    @staticmethod
    def _leave(index: dict[str, dict[str, None]], values: Iterable[str], key: str) -> None:
        for value in values:
            bucket = index.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del index[value]


class Informer:
    """One resource's cache and its watch. Get it from `Informers`, so that components share it."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        indexes: dict[str, Index] | None = None,
    ) -> None:
        self.resource = resource
        self.cache = Cache(indexes)
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._selects = bool(namespace or label_selector or field_selector)
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._version = ""

    def add_handler(self, handler: Handler) -> None:
        """Adds a handler, which first hears of everything that is already there."""
        self._handlers.append(handler)
        for obj in self.cache:
            handler(None, obj)

    async def synced(self) -> None:
        """Waits until the cache holds a first complete list."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    @property
    def resource_version(self) -> str:
        """How far the cache has come: the version of the last list or event; empty before the first."""
        return self._version

    def _notify(self, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                # One component's fault must not end the watch that all of them share.
                log.exception("handler failed", resource=self.resource.plural)

    async def _list(self) -> None:
        items: list[Object] = []
        token = ""
        while True:
            page = await self._client.list(
                self.resource,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=_PAGE_SIZE,
                continue_token=token,
            )
            items += page.items
            token = page.continue_token
            if not token:
                break
        fresh = {key_of(obj) for obj in items}
        for key in self.cache.all_keys():
            if key not in fresh:
                self._notify(self.cache.remove(key), None)
        for obj in items:
            old = self.cache.put(obj)
            if old is None or resource_version_of(old) != resource_version_of(obj):
                self._notify(old, obj)
        self._version = page.resource_version
        self._synced.set()

    async def _watch(self) -> bool:
        """Follows one watch to its end; whether it brought anything."""
        progressed = False
        stream = self._client.watch(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=self._version,
            timeout_seconds=random.randint(300, 600),
        )
        async with aclosing(cast(Any, stream)) as events:
            async for event in events:
                progressed = True
                self._take(event.type, event.object)
        return progressed

    def _take(self, type_: EventType, obj: Object) -> None:
        self._version = resource_version_of(obj) or self._version
        if type_ == "BOOKMARK":
            return
        if type_ == "DELETED":
            if self.cache.remove(key_of(obj)) is not None:
                # The deleted object's last state tells handlers more than the cached one.
                self._notify(obj, None)
        else:
            self._notify(self.cache.put(obj), obj)

    async def _follow(self, client: Followable) -> None:
        """Takes every change in the step that makes it, until cancelled."""
        gone = set(self.cache.all_keys())

        def take(type_: EventType, obj: Object) -> None:
            gone.discard(key_of(obj))
            self._take(type_, obj)

        # Where it followed before, what is there now is not all that it must hear of.
        self._version, stop = client.follow(self.resource, take if gone else self._take)
        for key in list(gone):
            self._notify(self.cache.remove(key), None)
        gone.clear()
        self._synced.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stop()

    async def run(self) -> None:
        """Keeps the cache true until cancelled."""
        backoff = 0.0
        while True:
            try:
                if isinstance(self._client, Followable) and not self._selects:
                    await self._follow(self._client)
                if not self._version:
                    await self._list()
                if await self._watch():
                    backoff = 0.0
            except errors.Expired:
                self._version = ""
            except errors.ApiError as error:
                if isinstance(error, errors.Gone):
                    self._version = ""
                backoff = min(max(0.05, backoff * 2), _BACKOFF_MAX_SECONDS)
                log.warning("watch broken", resource=self.resource.plural, error=error.message, retry_s=backoff)
            if backoff:
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))


class Informers:
    """The shared informers of one component: one a resource and selector, started with `start`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._informers: dict[tuple[Resource, str, str, str], Informer] = {}
        self._tasks: dict[Informer, asyncio.Task[None]] = {}
        self._shared: dict[Callable[[Informers], Any], Any] = {}
        self._started = False

    def for_(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Informer:
        key = (resource, namespace, label_selector, field_selector)
        informer = self._informers.get(key)
        if informer is None:
            informer = Informer(
                self.client, resource, namespace, label_selector=label_selector, field_selector=field_selector
            )
            self._informers[key] = informer
            if self._started:
                self._launch(informer)
        return informer

    def _launch(self, informer: Informer) -> None:
        if informer not in self._tasks:
            self._tasks[informer] = asyncio.get_running_loop().create_task(
                informer.run(), name=f"informer/{informer.resource.plural}"
            )

    def shared(self, make: Callable[[Informers], T]) -> T:
        """What several components make of these informers, made once."""
        made: T | None = self._shared.get(make)
        if made is None:
            made = self._shared[make] = make(self)
        return made

    def drop(self, resource: Resource) -> None:
        """Ends the informers of a resource that is served no more."""
        for key in [k for k in self._informers if k[0] == resource]:
            task = self._tasks.pop(self._informers.pop(key), None)
            if task is not None:
                task.cancel()

    def start(self) -> None:
        """Starts every informer made so far, and each later one when it is made."""
        self._started = True
        for informer in self._informers.values():
            self._launch(informer)

    async def synced(self) -> None:
        """Waits until every informer holds a first complete list."""
        await asyncio.gather(*(i.synced() for i in self._informers.values()))

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._started = False
