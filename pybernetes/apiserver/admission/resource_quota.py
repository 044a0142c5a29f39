"""ResourceQuota: a creation that would exceed a quota is refused; one that fits is charged to it first.

A namespace with quotas admits its charged requests one after the other (a lock each, dropped with the last waiter);
namespaces without quotas pay one look-up. A charge is an update of the quota's status with its resourceVersion, so
that several servers cannot both spend the last of it; what is charged and then not created, the quota controller
gives back when it counts again.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from pybernetes.api import errors
from pybernetes.api.meta import Object, clone, is_deleting, name_of, resource_version_of
from pybernetes.api.quantity import Quantity, parse
from pybernetes.api.quota import Usage, is_counted, scopes_match, usage_of
from pybernetes.api.resources import (
    BINDINGS,
    EVENTS,
    LOCALSUBJECTACCESSREVIEWS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    RESOURCEQUOTAS,
    SERVICES,
    Resource,
)
from pybernetes.apiserver.admission.plugin import Plugin, refuse
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest, ObjectReader
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock

_TRIES = 3
_COMPUTE = frozenset(("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"))
"""What containers must state once a quota of the namespace counts it."""
_UNCHARGED = (EVENTS, BINDINGS, LOCALSUBJECTACCESSREVIEWS)
_WRITTEN_KEPT = 4096
_UPDATES_COUNT = (SERVICES, PERSISTENTVOLUMECLAIMS)


class ResourceQuota(Plugin):
    name = "ResourceQuota"

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        if not resource.namespaced:
            return False
        if operation == "CREATE":
            return not subresource and resource not in _UNCHARGED
        if operation != "UPDATE":
            return False
        if subresource == "resize":
            return resource == PODS
        return not subresource and resource in _UPDATES_COUNT

    def __init__(self, reader: ObjectReader, client: Client, clock: Clock) -> None:
        self._reader = reader
        self._client = client
        self._clock = clock
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        # The newest status this plugin wrote, until the watch cache shows it.
        self._written: dict[tuple[str, str], Object] = {}

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is None or not self._reader.list(RESOURCEQUOTAS, request.namespace):
            return
        lock, waiting = self._locks.get(request.namespace, (asyncio.Lock(), 0))
        self._locks[request.namespace] = (lock, waiting + 1)
        try:
            async with lock:
                await self._charge(request)
        finally:
            lock, waiting = self._locks[request.namespace]
            if waiting == 1:
                del self._locks[request.namespace]
            else:
                self._locks[request.namespace] = (lock, waiting - 1)

    async def _charge(self, request: AdmissionRequest) -> None:
        fresh = False
        for _ in range(_TRIES):
            quotas = await self._quotas(request.namespace, fresh=fresh)
            charged = plan_charges(request, quotas, self._clock.now())
            if request.dry_run or not charged:
                return
            try:
                for quota in charged:
                    self._note(await self._client.update(RESOURCEQUOTAS, quota, subresource="status"))
                return
            except (errors.Conflict, errors.NotFound):
                fresh = True
        raise refuse(request, f"Internal error occurred: resource quota evaluation timed out after {_TRIES} conflicts")

    async def _quotas(self, namespace: str, *, fresh: bool) -> list[Object]:
        if fresh:
            return [q for q in (await self._client.list(RESOURCEQUOTAS, namespace)).items if not is_deleting(q)]
        quotas = []
        for quota in self._reader.list(RESOURCEQUOTAS, namespace):
            key = (namespace, name_of(quota))
            written = self._written.get(key)
            if written is not None:
                if int(resource_version_of(written)) > int(resource_version_of(quota)):
                    quota = written
                else:
                    del self._written[key]
            if not is_deleting(quota):
                quotas.append(quota)
        return quotas

    def _note(self, quota: Object) -> None:
        namespace, name = quota["metadata"]["namespace"], name_of(quota)
        if self._reader.get(RESOURCEQUOTAS, namespace, name) is not None:
            if len(self._written) >= _WRITTEN_KEPT:
                # Left over from quotas that are gone; at worst an update conflicts and is tried again.
                self._written.clear()
            self._written[(namespace, name)] = quota


def plan_charges(request: AdmissionRequest, quotas: Sequence[Object], now: float) -> list[Object]:
    """The quotas with the request charged to them, ready to be written. Raises Forbidden where one does not allow
    it. Pure."""
    obj = request.object
    assert obj is not None
    usage = usage_of(request.resource, obj, now)
    if request.operation == "UPDATE" and request.old is not None:
        usage = _difference(usage, usage_of(request.resource, request.old, now))
    charged = []
    for quota in quotas:
        hard = {name: parse(str(amount)) for name, amount in ((quota.get("status") or {}).get("hard") or {}).items()}
        limited = {name for name in hard if is_counted(request.resource, name)}
        if not limited or not scopes_match(quota, request.resource, obj):
            continue
        if request.resource == PODS and (unstated := _unstated(obj, limited)):
            raise refuse(request, f"failed quota: {name_of(quota)}: must specify {unstated}")
        asked = {name: amount for name, amount in usage.items() if name in limited and amount.nano > 0}
        if not asked:
            continue
        used_texts = (quota.get("status") or {}).get("used") or {}
        unknown = sorted(name for name in limited if name not in used_texts)
        if unknown:
            raise refuse(request, f"status unknown for quota: {name_of(quota)}, resources: {','.join(unknown)}")
        used = {name: parse(str(used_texts[name])) for name in asked}
        after = {name: used[name] + amount if used[name] else amount + used[name] for name, amount in asked.items()}
        exceeded = [name for name in sorted(asked) if after[name] > hard[name]]
        if exceeded:
            raise refuse(
                request,
                f"exceeded quota: {name_of(quota)}, requested: {_shown(asked, exceeded)}, "
                f"used: {_shown(used, exceeded)}, limited: {_shown(hard, exceeded)}",
            )
        copy = clone(quota)
        copy["status"]["used"] = {**used_texts, **{name: str(amount) for name, amount in after.items()}}
        charged.append(copy)
    return charged


def _difference(new: Usage, old: Usage) -> Usage:
    return {name: amount - old[name] if name in old else amount for name, amount in new.items()}


def _shown(amounts: Mapping[str, Quantity], names: Sequence[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)


def _unstated(pod: Object, limited: set[str]) -> str:
    """What containers leave unsaid that a quota counts: ``limits.cpu for: a,b; memory for: a``."""
    spec = pod.get("spec") or {}
    missing: dict[str, list[str]] = {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        for name in limited & _COMPUTE:
            kind, _, plain = name.rpartition(".")
            if plain not in (resources.get(kind or "requests") or {}):
                missing.setdefault(name, []).append(str(container.get("name")))
    pod_level = spec.get("resources") or {}
    for name in list(missing):
        kind, _, plain = name.rpartition(".")
        if plain in (pod_level.get(kind or "requests") or {}):
            del missing[name]
    return "; ".join(f"{name} for: {','.join(sorted(set(missing[name])))}" for name in sorted(missing))
