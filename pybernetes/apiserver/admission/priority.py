"""Priority: a pod's priority class, resolved to its number and preemption policy.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/.
"""

from __future__ import annotations

from pybernetes.api.meta import Object, name_of
from pybernetes.api.resources import PODS, PRIORITYCLASSES
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.interfaces import AdmissionRequest, ObservableReader

_DEFAULT_POLICY = "PreemptLowerPriority"


class Priority(Plugin):
    name = "Priority"
    operations = ("CREATE", "UPDATE")
    resources = (("pods", ""), ("priorityclasses", ""))

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader
        self._defaults: dict[str, Object] = {}
        """The classes that are marked as the default, by name."""
        self._unsubscribe = reader.subscribe(PRIORITYCLASSES, self._on_class)

    def close(self) -> None:
        self._unsubscribe()

    def _on_class(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new.get("globalDefault"):
            self._defaults[name_of(new)] = new
        else:
            self._defaults.pop(name_of(new or old or {}), None)

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or not is_for(request, PODS):
            return
        spec = pod.setdefault("spec", {})
        if request.operation == "UPDATE":
            # A client that does not know the fields leaves them out; they cannot change anyway.
            old = (request.old or {}).get("spec") or {}
            left_out = [f for f in ("priority", "preemptionPolicy") if spec.get(f) is None and old.get(f) is not None]
            if left_out:
                # A new one: the spec may be the old object's own.
                pod["spec"] = {**spec, **{f: old[f] for f in left_out}}
        elif request.operation == "CREATE":
            await self._resolve(request, spec)

    async def _resolve(self, request: AdmissionRequest, spec: Object) -> None:
        name = spec.get("priorityClassName")
        if name:
            chosen = await self._reader.find(PRIORITYCLASSES, "", name)
            if chosen is None:
                raise refuse(request, f"no PriorityClass with name {name} was found")
        else:
            chosen = self._default_class()
            if chosen is not None:
                spec["priorityClassName"] = name_of(chosen)
        value = int((chosen or {}).get("value") or 0)
        policy = (chosen or {}).get("preemptionPolicy") or _DEFAULT_POLICY
        if spec.get("priority") is not None and spec["priority"] != value:
            raise refuse(
                request,
                f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority "
                f"admission controller computed {value} from the given PriorityClass name",
            )
        if spec.get("preemptionPolicy") and spec["preemptionPolicy"] != policy:
            raise refuse(
                request,
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name",
            )
        spec["priority"], spec["preemptionPolicy"] = value, policy

    async def validate(self, request: AdmissionRequest) -> None:
        new = request.object
        if new is None or not is_for(request, PRIORITYCLASSES) or not new.get("globalDefault"):
            return
        default = self._default_class()
        if default is not None and (request.operation == "CREATE" or name_of(default) != name_of(new)):
            raise refuse(
                request, f"PriorityClass {name_of(default)} is already marked as default. Only one default can exist"
            )

    def _default_class(self) -> Object | None:
        """The global default; of several, which a race can leave, the one with the lowest value."""
        return min(self._defaults.values(), key=lambda c: int(c.get("value") or 0), default=None)
