"""ResourceQuota: a creation that would exceed a quota is refused; one that fits is charged to it.

The charge is written with the object in one transaction, each conditional on the version it was computed from: no
quota is ever overspent, by whatever number of requests and servers, and nothing is charged that was not created.
A namespace's charged requests are written one after the other (a lock each, dropped with the last waiter), since they
would only race for the quota's version; namespaces without quotas pay one look-up. What goes away, the quota
controller gives back when it counts again.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of, resource_version_of
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
from pybernetes.apiserver.admission.by_namespace import ByNamespace
from pybernetes.apiserver.admission.plugin import Plugin, refuse
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest, ObservableReader, Rider
from pybernetes.lib.clock import Clock

_COMPUTE = frozenset(("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"))
"""What containers must state once a quota of the namespace counts it."""
_UNCHARGED = frozenset(r.storage_id for r in (EVENTS, BINDINGS, LOCALSUBJECTACCESSREVIEWS))
_UPDATES_COUNT = frozenset(r.storage_id for r in (SERVICES, PERSISTENTVOLUMECLAIMS))
_WAIT_SECONDS = 10.0
"""For one's turn, as upstream."""


class ResourceQuota(Plugin):
    """Must come last: nothing may refuse what has been charged."""

    name = "ResourceQuota"

    def __init__(self, reader: ObservableReader, clock: Clock) -> None:
        self._clock = clock
        self._locks: dict[str, _Lock] = {}
        self._changed: Callable[[], None] = lambda: None
        self._quotas = ByNamespace(reader, RESOURCEQUOTAS, lambda: self._changed())

    def close(self) -> None:
        self._quotas.close()

    def listen(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        if not self._quotas or not resource.namespaced:
            return False
        if operation == "CREATE":
            return not subresource and resource.storage_id not in _UNCHARGED
        if operation != "UPDATE":
            return False
        if subresource:
            return subresource == "resize" and resource == PODS
        return resource.storage_id in _UPDATES_COUNT

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is None or request.namespace not in self._quotas:
            return
        if not self.plan(request) or request.dry_run:
            return
        lock = self._locks.get(request.namespace)
        if lock is None:
            lock = self._locks[request.namespace] = _Lock()
        charge = _Charge(self, request, lock)
        await charge.begin()
        request.charge = charge

    def plan(self, request: AdmissionRequest) -> list[Rider]:
        """The quotas' new states, as the cache shows them now. Raises Forbidden."""
        charged = plan_charges(request, self._quotas.of(request.namespace), self._clock.now())
        return [Rider(RESOURCEQUOTAS, request.namespace, name_of(q), q, int(resource_version_of(q))) for q in charged]

    def leave(self, namespace: str, lock: _Lock) -> None:
        """One request less needs the lock."""
        lock.users -= 1
        if not lock.users and self._locks.get(namespace) is lock:
            del self._locks[namespace]


class _Lock(asyncio.Lock):
    users = 0


class _Charge:
    """One request's turn at its namespace's quotas, from `begin` to `release`."""

    def __init__(self, plugin: ResourceQuota, request: AdmissionRequest, lock: _Lock) -> None:
        self.riders: Sequence[Rider] = ()
        self._plugin = plugin
        self._request = request
        self._lock: _Lock | None = lock
        lock.users += 1

    async def begin(self) -> None:
        """Waits for the turn and computes the charge. Raises Forbidden, InternalError; it is over then."""
        lock = self._lock
        assert lock is not None
        held = False
        try:
            if lock.locked():
                async with asyncio.timeout(_WAIT_SECONDS):
                    await lock.acquire()
            else:
                await lock.acquire()
            held = True
            self.riders = self._plugin.plan(self._request)
        except TimeoutError:
            raise errors.InternalError("Internal error occurred: resource quota evaluation timed out") from None
        finally:
            if not self.riders:
                # Nothing to write after all, or a refusal: the next one's turn.
                self._end(held)

    async def renew(self) -> None:
        self.riders = self._plugin.plan(self._request)

    def release(self) -> None:
        self._end(held=True)

    def _end(self, held: bool) -> None:
        lock, self._lock = self._lock, None
        if lock is None:
            return
        if held:
            lock.release()
        self._plugin.leave(self._request.namespace, lock)


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
        asked = {name: amount for name, amount in usage.items() if name in limited and amount}
        if not asked:
            continue
        used_texts = (quota.get("status") or {}).get("used") or {}
        unknown = sorted(name for name in limited if name not in used_texts)
        if unknown:
            raise refuse(request, f"status unknown for quota: {name_of(quota)}, resources: {','.join(unknown)}")
        used = {name: parse(str(used_texts[name])) for name in asked}
        after = {name: used[name] + amount if used[name] else amount + used[name] for name, amount in asked.items()}
        exceeded = [name for name in sorted(asked) if asked[name].nano > 0 and after[name] > hard[name]]
        if exceeded:
            raise refuse(
                request,
                f"exceeded quota: {name_of(quota)}, requested: {_shown(asked, exceeded)}, "
                f"used: {_shown(used, exceeded)}, limited: {_shown(hard, exceeded)}",
            )
        status = {**quota["status"], "used": {**used_texts, **{name: str(amount) for name, amount in after.items()}}}
        charged.append({**quota, "metadata": {**quota["metadata"]}, "status": status})
    return charged


def _difference(new: Usage, old: Usage) -> Usage:
    return {name: amount - old[name] if name in old else amount for name, amount in new.items()}


def _shown(amounts: Mapping[str, Quantity], names: Sequence[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)


def _unstated(pod: Object, limited: set[str]) -> str:
    """What containers leave unsaid that a quota counts: ``limits.cpu for: a,b; memory for: a``."""
    spec = pod.get("spec") or {}
    if any((spec.get("resources") or {}).get(kind) for kind in ("requests", "limits")):
        # What the pod says as a whole stands for its containers (KEP-2837).
        return ""
    missing: dict[str, list[str]] = {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        for name in limited & _COMPUTE:
            kind, _, plain = name.rpartition(".")
            if plain not in (resources.get(kind or "requests") or {}):
                missing.setdefault(name, []).append(str(container.get("name")))
    return "; ".join(f"{name} for: {','.join(sorted(set(missing[name])))}" for name in sorted(missing))
