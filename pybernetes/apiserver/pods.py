"""What is created below pods and stored as something else: bindings and evictions.

Sources: upstream's ``pkg/registry/core/pod/storage`` (storage.go, eviction.go) and the API-initiated eviction page.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api import errors, selectors
from pybernetes.api.errors import MODIFIED
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, clone, is_condition_true, is_deleting, labels_of, metadata, name_of
from pybernetes.api.resources import PODDISRUPTIONBUDGETS, PODS
from pybernetes.api.time import format_time
from pybernetes.apiserver.deletion import Deleter
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import HandlerKey, ObjectHandler, ObjectReader, RequestInfo
from pybernetes.apiserver.options import delete_options
from pybernetes.apiserver.registry import Registry

_DISRUPTED_PODS_MAX = 2000
_SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."


class _Whole(Strategy):
    """Writes what the server itself has made of the object: nothing is kept back, nothing is judged again."""

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        return

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        return

    def validate_update(self, obj: Object, old: Object) -> list[Any]:
        return []


class PodHandlers:
    def __init__(self, registry: Registry, deleter: Deleter, reader: ObjectReader) -> None:
        self._registry = registry
        self._deleter = deleter
        self._reader = reader
        self._pods = _Whole(PODS)
        self._budgets = _Whole(PODDISRUPTIONBUDGETS)

    def handlers(self) -> dict[HandlerKey, ObjectHandler]:
        return {
            ("", "pods", "binding"): self.bind,
            ("", "bindings", ""): self.bind,
            ("", "pods", "eviction"): self.evict,
        }

    # ---- binding

    async def bind(self, info: RequestInfo, binding: Object) -> Object:
        """Assigns the pod to the binding's node. Raises `Conflict` where it is assigned or being deleted."""
        name = info.name or name_of(binding)
        if name_of(binding) and name_of(binding) != name:
            raise errors.BadRequest("name in URL does not match name in Binding object")
        from pybernetes.api.kinds.pods import validate_binding  # loaded with the kind

        faults = validate_binding(binding)
        if faults:
            raise errors.invalid("", "Binding", name, faults)
        node = binding["target"]["name"]
        meta = metadata(binding)

        async def assigned(existing: Entry | None) -> Object:
            assert existing is not None
            return self._assigned(existing.obj, node, meta)

        to_pod = RequestInfo(
            "update", info.path, info.user, PODS, info.namespace, name, dry_run=info.dry_run, warnings=info.warnings
        )
        await self._registry.update(to_pod, assigned, strategy=self._pods, retry=True, admit=False)
        return _SUCCESS

    def _assigned(self, pod: Object, node: str, meta: Object) -> Object:
        name = name_of(pod)
        uid, version = meta.get("uid"), meta.get("resourceVersion")
        if uid and uid != metadata(pod).get("uid"):
            raise errors.conflict(
                "", "pods/binding", name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata(pod).get('uid')}",
            )  # fmt: skip
        if version and version != metadata(pod).get("resourceVersion"):
            raise errors.conflict("", "pods/binding", name, MODIFIED)
        why = ""
        if is_deleting(pod):
            why = f"pod {name} is being deleted, cannot be assigned to a host"
        elif (pod.get("spec") or {}).get("nodeName"):
            why = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        elif (pod.get("spec") or {}).get("schedulingGates"):
            why = f"pod {name} has non-empty .spec.schedulingGates"
        if why:
            raise errors.conflict("", "pods/binding", name, why)
        pod = clone(pod)
        pod.setdefault("spec", {})["nodeName"] = node
        for kind in ("annotations", "labels"):
            if meta.get(kind):
                pod["metadata"].setdefault(kind, {}).update(meta[kind])
        condition: Object = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": format_time(self._registry.clock.now()),
        }
        if pod["metadata"].get("generation"):
            condition["observedGeneration"] = pod["metadata"]["generation"]
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [c for c in conditions if c.get("type") != "PodScheduled"]
        conditions.append(condition)
        # It says where the pod is expected, which has come true or not.
        pod["status"].pop("nominatedNodeName", None)
        return pod

    # ---- eviction

    async def evict(self, info: RequestInfo, eviction: Object) -> Object:
        """Deletes the pod if its disruption budget allows. Raises `TooManyRequests` where it does not."""
        if name_of(eviction) and name_of(eviction) != info.name:
            raise errors.BadRequest("name in URL does not match name in Eviction object")
        options, dry_run = delete_options({}, eviction.get("deleteOptions") or None)
        info.dry_run = info.dry_run or dry_run
        pod = await self._registry.get(RequestInfo("get", info.path, info.user, PODS, info.namespace, info.name))
        if not _ignores_budgets(pod.obj):
            await self._spend(info, pod.obj)
        to_pod = RequestInfo(
            "delete", info.path, info.user, PODS, info.namespace, info.name, dry_run=info.dry_run,
            warnings=info.warnings,
        )  # fmt: skip
        if not options.uid:
            # The budget was spent for this very pod.
            options.uid = metadata(pod.obj).get("uid") or ""
        # As upstream: the eviction was admitted, its deletion is not admitted once more.
        await self._deleter.delete(to_pod, options, admit=False)
        return _SUCCESS

    async def _spend(self, info: RequestInfo, pod: Object) -> None:
        budgets = [b for b in self._reader.list(PODDISRUPTIONBUDGETS, info.namespace) if _covers(b, pod)]
        if not budgets:
            return
        if len(budgets) > 1:
            raise errors.InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            )
        budget = budgets[0]
        if _may_go_unready(budget, pod):
            return

        async def spent(existing: Entry | None) -> Object:
            assert existing is not None
            return self._spent(existing.obj, pod)

        to_budget = RequestInfo(
            "update", info.path, info.user, PODDISRUPTIONBUDGETS, info.namespace, name_of(budget), "status",
            dry_run=info.dry_run,
        )  # fmt: skip
        await self._registry.update(to_budget, spent, strategy=self._budgets, retry=True, admit=False)

    def _spent(self, budget: Object, pod: Object) -> Object:
        """The budget with one disruption less. Raises where it has none."""
        name, status = name_of(budget), budget.get("status") or {}
        if (status.get("observedGeneration") or 0) < (metadata(budget).get("generation") or 0):
            raise _violation(f"The disruption budget {name} is still being processed by the server.", retry_seconds=10)
        allowed = status.get("disruptionsAllowed") or 0
        disrupted = status.get("disruptedPods") or {}
        if allowed < 0:
            raise errors.forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative")
        if len(disrupted) > _DISRUPTED_PODS_MAX:
            raise errors.forbidden(
                "policy", "poddisruptionbudgets", name,
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            )  # fmt: skip
        if allowed == 0:
            raise _violation(
                f"The disruption budget {name} needs {status.get('desiredHealthy') or 0} healthy pods "
                f"and has {status.get('currentHealthy') or 0} currently"
            )
        budget = clone(budget)
        now = format_time(self._registry.clock.now())
        status = budget["status"]
        status["disruptionsAllowed"] = allowed - 1
        status["disruptedPods"] = {**disrupted, name_of(pod): now}
        if allowed == 1:
            for condition in status.get("conditions") or ():
                if condition.get("type") == "DisruptionAllowed" and condition.get("status") != "False":
                    condition.update(status="False", reason="InsufficientPods", lastTransitionTime=now)
        return budget


def _ignores_budgets(pod: Object) -> bool:
    """Whether the pod's end disrupts nothing: it has ended, has not begun, or is going anyway."""
    return is_deleting(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending")


def _covers(budget: Object, pod: Object) -> bool:
    try:
        selector = selectors.from_label_selector((budget.get("spec") or {}).get("selector"))
    except selectors.SelectorError:
        return False
    return selector.matches(labels_of(pod))


def _may_go_unready(budget: Object, pod: Object) -> bool:
    """Whether the budget's unhealthyPodEvictionPolicy lets this pod go, since it is not ready."""
    if is_condition_true(pod, "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return 0 < desired <= (status.get("currentHealthy") or 0)


def _violation(why: str, retry_seconds: int = 0) -> errors.TooManyRequests:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_seconds:
        details["retryAfterSeconds"] = retry_seconds
    return errors.TooManyRequests(_VIOLATION, details=details)
