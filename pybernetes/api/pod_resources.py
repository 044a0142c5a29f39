"""What a pod asks for in all: the sums that the scheduler, the kubelet's cgroups and quotas agree on.

Source: "Resource sharing within containers" in the Kubernetes documentation's init-containers page, KEP-753
(restartable init containers) and KEP-2837 (pod-level resources).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pybernetes.api.meta import Object
from pybernetes.api.quantity import parse

#: What a container without requests counts as when nodes are scored, so that such pods spread too.
DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024


def parse_resources(resources: Mapping[str, Any]) -> dict[str, int]:
    """A resource list as integers: CPU in millicores, everything else in its unit, rounded up."""
    return {
        name: q.milli_value if name == "cpu" else q.value
        for name, quantity in resources.items()
        for q in (parse(str(quantity)),)
    }


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: dict[str, int], floor: Mapping[str, int]) -> None:
    for name, value in floor.items():
        if value > total.get(name, 0):
            total[name] = value


def _of(container: Object, field: str) -> dict[str, int]:
    return parse_resources((container.get("resources") or {}).get(field) or {})


def _aggregate(spec: Object, field: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in spec.get("containers") or ():
        _add(total, _of(container, field))
    # Restartable init containers run on beside everything that starts after them.
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        asked = _of(container, field)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, asked)
            _raise_to(peak, sidecars)
        else:
            _add(asked, sidecars)
            _raise_to(peak, asked)
    _add(total, sidecars)
    _raise_to(total, peak)
    pod_level = parse_resources((spec.get("resources") or {}).get(field) or {})
    total.update(pod_level)
    return total


def pod_requests(pod: Object) -> dict[str, int]:
    """The pod's requests, overhead included."""
    spec = pod.get("spec") or {}
    total = _aggregate(spec, "requests")
    _add(total, parse_resources(spec.get("overhead") or {}))
    return total


def pod_limits(pod: Object) -> dict[str, int]:
    """The pod's limits, overhead added to what has one. A resource that some container does not limit is summed
    over those that do: `is_limited` tells whether the sum bounds the pod."""
    spec = pod.get("spec") or {}
    total = _aggregate(spec, "limits")
    for name, value in parse_resources(spec.get("overhead") or {}).items():
        if name in total:
            total[name] += value
    return total


def is_limited(pod: Object, resource: str) -> bool:
    """Whether every container (or the pod itself) has a limit of the resource."""
    spec = pod.get("spec") or {}
    if resource in ((spec.get("resources") or {}).get("limits") or {}):
        return True
    containers: Iterable[Object] = [
        *(spec.get("containers") or ()),
        *(c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"),
    ]
    return all(resource in ((c.get("resources") or {}).get("limits") or {}) for c in containers)


def non_zero_requests(pod: Object) -> tuple[int, int]:
    """(millicores, bytes of memory) for scoring: containers that ask for nothing count as the defaults."""
    spec = pod.get("spec") or {}
    cpu = memory = 0
    for container in spec.get("containers") or ():
        asked = _of(container, "requests")
        cpu += asked.get("cpu", DEFAULT_MILLI_CPU)
        memory += asked.get("memory", DEFAULT_MEMORY_BYTES)
    total = pod_requests(pod)
    return max(cpu, total.get("cpu", 0)), max(memory, total.get("memory", 0))
