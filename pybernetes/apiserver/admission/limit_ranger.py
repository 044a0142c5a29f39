"""LimitRanger: the limits that a namespace's LimitRanges set for containers, pods and claims.

Source: https://kubernetes.io/docs/concepts/policy/limit-range/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from pybernetes.api.meta import Object
from pybernetes.api.pod_resources import pod_limits, pod_requests
from pybernetes.api.quantity import Quantity, QuantityError, parse
from pybernetes.api.resources import LIMITRANGES, PERSISTENTVOLUMECLAIMS, PODS, Resource
from pybernetes.apiserver.admission.by_namespace import ByNamespace
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest, ObservableReader

_ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    """Fills in defaults while mutating, checks minima, maxima and ratios while validating."""

    name = "LimitRanger"
    operations = ("CREATE", "UPDATE")
    resources = (("pods", ""), ("pods", "resize"), ("persistentvolumeclaims", ""))

    def __init__(self, reader: ObservableReader) -> None:
        self._changed: Callable[[], None] = lambda: None
        self._limits = ByNamespace(reader, LIMITRANGES, lambda: self._changed())

    def close(self) -> None:
        self._limits.close()

    def listen(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        return bool(self._limits) and super().handles(operation, resource, subresource)

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.operation != "CREATE" or request.object is None or not is_for(request, PODS):
            return
        try:
            for limit_range in self._limits.of(request.namespace):
                default_pod(request.object, limit_range)
        except QuantityError as error:
            raise refuse(request, str(error)) from error

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None:
            return
        if is_for(request, PODS):
            if request.operation != "CREATE":
                return
            check: Callable[[Object, Object], Iterator[str]] = check_pod
        elif is_for(request, PODS, "resize"):
            check = check_pod
        elif is_for(request, PERSISTENTVOLUMECLAIMS) and request.operation in ("CREATE", "UPDATE"):
            check = check_claim
        else:
            return
        for limit_range in self._limits.of(request.namespace):
            faults = list(check(obj, limit_range))
            if faults:
                raise refuse(request, faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")


def default_pod(pod: Object, limit_range: Object) -> None:
    """Sets the requests and limits that containers leave out, and notes it in an annotation."""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            requests.update(item.get("defaultRequest") or {})
            limits.update(item.get("default") or {})
    if not requests and not limits:
        return
    notes: list[str] = []
    spec = pod.setdefault("spec", {})
    for field, label in (("containers", "container"), ("initContainers", "init container")):
        # The containers may be those of a template that others use too: changed ones are new ones.
        containers = list(spec.get(field) or ())
        for i, container in enumerate(containers):
            for kind, word, defaults in (("requests", "request", requests), ("limits", "limit", limits)):
                have = (container.get("resources") or {}).get(kind) or {}
                missing = {name: value for name, value in defaults.items() if name not in have}
                if missing:
                    resources = {**(container.get("resources") or {}), kind: {**have, **missing}}
                    container = containers[i] = {**container, "resources": resources}
                    notes.append(f"{', '.join(sorted(missing))} {word} for {label} {container.get('name')}")
        if containers:
            spec[field] = containers
    if notes:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, _ANNOTATION: "LimitRanger plugin set: " + "; ".join(notes)}


def check_pod(pod: Object, limit_range: Object) -> Iterator[str]:
    """What of a pod is outside of the limits, in upstream's words."""
    spec = pod.get("spec") or {}
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
                resources = container.get("resources") or {}
                yield from _check(item, _parsed(resources.get("requests")), _parsed(resources.get("limits")))
        elif item.get("type") == "Pod":
            # The sums are of interest only where every container says something, which the aggregate shows by name.
            yield from _check(item, _amounts(pod_requests(pod)), _amounts(pod_limits(pod)))


def check_claim(claim: Object, limit_range: Object) -> Iterator[str]:
    """What of a claim is outside of the limits."""
    requests = _parsed((((claim.get("spec") or {}).get("resources")) or {}).get("requests"))
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        if item.get("type") == "PersistentVolumeClaim":
            yield from _minimum(item, requests, {})
            for name, enforced in _bounds(item, "max"):
                yield from _maximum_request("PersistentVolumeClaim", name, enforced, requests)


Amounts = Mapping[str, Quantity]


def _check(item: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = str(item.get("type"))
    yield from _minimum(item, requests, limits)
    for name, enforced in _bounds(item, "max"):
        request, limit = requests.get(name), limits.get(name)
        head = f"maximum {name} usage per {kind} is {enforced}"
        if limit is None:
            yield f"{head}.  No limit is specified"
        elif limit > enforced:
            yield f"{head}, but limit is {limit}"
        elif request is not None and request > enforced:
            yield f"{head}, but request is {request}"
    for name, enforced in _bounds(item, "maxLimitRequestRatio"):
        request, limit = requests.get(name), limits.get(name)
        head = f"{name} max limit to request ratio per {kind} is {enforced}"
        if request is None or not request:
            yield f"{head}, but no request is specified or request is 0"
        elif limit is None or not limit:
            yield f"{head}, but no limit is specified or limit is 0"
        elif limit.nano * 1000 > request.nano * enforced.milli_value:
            yield f"{head}, but provided ratio is {limit.nano / request.nano:f}"


def _minimum(item: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, enforced in _bounds(item, "min"):
        request, limit = requests.get(name), limits.get(name)
        head = f"minimum {name} usage per {item.get('type')} is {enforced}"
        if request is None:
            yield f"{head}.  No request is specified"
        elif request < enforced:
            yield f"{head}, but request is {request}"
        elif limit is not None and limit < enforced:
            yield f"{head}, but limit is {limit}"


def _maximum_request(kind: str, name: str, enforced: Quantity, requests: Amounts) -> Iterator[str]:
    request = requests.get(name)
    head = f"maximum {name} usage per {kind} is {enforced}"
    if request is None:
        yield f"{head}.  No request is specified"
    elif request > enforced:
        yield f"{head}, but request is {request}"


def _bounds(item: Object, which: str) -> Iterable[tuple[str, Quantity]]:
    return sorted(_parsed(item.get(which)).items())


def _parsed(amounts: Mapping[str, object] | None) -> dict[str, Quantity]:
    return {name: parse(str(text)) for name, text in (amounts or {}).items()}


def _amounts(numbers: Mapping[str, int]) -> dict[str, Quantity]:
    return {
        name: Quantity.of_milli(number) if name == "cpu" else Quantity.of(number, "BinarySI")
        for name, number in numbers.items()
    }
