"""The objects that pods refer to (config maps, secrets), each watched by name for as long as a pod wants it.

A node may read only what its pods refer to, so there is a watch an object, shared by the pods that retain it and
ended with the last of them. `on_change` of a holder is called, on the event loop, when an object it retains changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import CONFIGMAPS, SECRETS, Resource
from pybernetes.client.informer import Informer
from pybernetes.client.interface import Client
from pybernetes.kubelet import spec
from pybernetes.lib.tasks import TaskSet

_SYNC_TIMEOUT_SECONDS = 5.0

Reference = tuple[Resource, str, str]
"""Resource, namespace and name."""


@dataclass(slots=True)
class _Watched:
    informer: Informer
    task: asyncio.Task[None]
    holders: dict[str, Callable[[], None]] = field(default_factory=dict)


class SharedObjects:
    """Referenced objects, reference counted by holder (a pod's uid)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watched: dict[Reference, _Watched] = {}
        self._held: dict[str, set[Reference]] = {}
        self._tasks = TaskSet("objects")

    def __len__(self) -> int:
        return len(self._watched)

    def retain(self, holder: str, references: Iterable[Reference], on_change: Callable[[], None]) -> None:
        """Says everything that a holder wants, in place of what it wanted before."""
        wanted = set(references)
        before = self._held.get(holder, set())
        for reference in wanted - before:
            watched = self._watched.get(reference)
            if watched is None:
                watched = self._watch(reference)
            watched.holders[holder] = on_change
        for reference in before - wanted:
            self._let_go(reference, holder)
        if wanted:
            self._held[holder] = wanted
        else:
            self._held.pop(holder, None)

    def release(self, holder: str) -> None:
        for reference in self._held.pop(holder, set()):
            self._let_go(reference, holder)

    def _watch(self, reference: Reference) -> _Watched:
        resource, namespace, name = reference
        informer = Informer(self._client, resource, namespace, field_selector=f"metadata.name={name}")
        watched = _Watched(informer, self._tasks.start(informer.run(), name=f"{resource.plural}/{namespace}/{name}"))
        self._watched[reference] = watched

        def changed(old: Object | None, new: Object | None) -> None:
            for on_change in list(watched.holders.values()):
                on_change()

        informer.add_handler(changed)
        return watched

    def _let_go(self, reference: Reference, holder: str) -> None:
        watched = self._watched.get(reference)
        if watched is None:
            return
        watched.holders.pop(holder, None)
        if not watched.holders:
            del self._watched[reference]
            watched.task.cancel()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object, from its watch where there is one. Raises `NotFound`, and other API errors where the server
        cannot be asked."""
        watched = self._watched.get((resource, namespace, name))
        if watched is not None:
            try:
                async with asyncio.timeout(_SYNC_TIMEOUT_SECONDS):
                    await watched.informer.synced()
            except TimeoutError:
                return await self._client.get(resource, name, namespace)
            found = watched.informer.cache.get(f"{namespace}/{name}")
            if found is None:
                raise errors.NotFound(f'{resource.singular} "{name}" not found')
            return found
        try:
            return await self._client.get(resource, name, namespace)
        except errors.NotFound as error:
            raise errors.NotFound(f'{resource.singular} "{name}" not found') from error

    async def close(self) -> None:
        self._watched.clear()
        self._held.clear()
        await self._tasks.cancel()


def references_of(pod: Object) -> set[Reference]:
    """Every config map and secret that a pod's spec names."""
    namespace = (pod.get("metadata") or {}).get("namespace") or ""
    found: set[Reference] = set()

    def add(resource: Resource, name: object) -> None:
        if name:
            found.add((resource, namespace, str(name)))

    own = pod.get("spec") or {}
    for secret in own.get("imagePullSecrets") or ():
        add(SECRETS, secret.get("name"))
    for _, container in spec.all_containers(pod):
        for source in container.get("envFrom") or ():
            add(CONFIGMAPS, (source.get("configMapRef") or {}).get("name"))
            add(SECRETS, (source.get("secretRef") or {}).get("name"))
        for variable in container.get("env") or ():
            value_from = variable.get("valueFrom") or {}
            add(CONFIGMAPS, (value_from.get("configMapKeyRef") or {}).get("name"))
            add(SECRETS, (value_from.get("secretKeyRef") or {}).get("name"))
    for volume in own.get("volumes") or ():
        add(CONFIGMAPS, (volume.get("configMap") or {}).get("name"))
        add(SECRETS, (volume.get("secret") or {}).get("secretName"))
        for source in (volume.get("projected") or {}).get("sources") or ():
            add(CONFIGMAPS, (source.get("configMap") or {}).get("name"))
            add(SECRETS, (source.get("secret") or {}).get("name"))
    return found
