"""What pods and containers ask for and may use, turned into the kernel's terms. Pure.

Figures are upstream's (``pkg/kubelet/cm/helpers_linux.go``, ``pkg/kubelet/qos/policy.go``): shares
of 1024 a core, a quota in microseconds of a 100 ms period.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pybernetes.api.meta import Object
from pybernetes.api.pod_resources import pod_limits, pod_requests
from pybernetes.api.quantity import Quantity, parse
from pybernetes.kubelet import spec
from pybernetes.kubelet.runtime import LinuxResources

QOS = Literal["Guaranteed", "Burstable", "BestEffort"]

PERIOD_US = 100_000
_MIN_QUOTA_US = 1000
_MIN_SHARES = 2
_MAX_SHARES = 262_144
_SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


def amounts(texts: Mapping[str, Any] | None) -> dict[str, Quantity]:
    return {name: parse(str(text)) for name, text in (texts or {}).items()}


def _container(container: Object, which: str) -> dict[str, Quantity]:
    return amounts((container.get("resources") or {}).get(which))


def qos_class(pod: Object) -> QOS:
    """As the API server sets ``status.qosClass``; that value holds where it is there."""
    known = (pod.get("status") or {}).get("qosClass")
    if known:
        return known  # type: ignore[no-any-return]
    whole = (pod.get("spec") or {}).get("resources")
    members = [whole] if whole else [c.get("resources") or {} for k, c in spec.all_containers(pod) if k != "ephemeral"]
    asked = False
    guaranteed = True
    for resources in members:
        requests, limits = amounts(resources.get("requests")), amounts(resources.get("limits"))
        for name in ("cpu", "memory"):
            request, limit = requests.get(name), limits.get(name)
            if request or limit:
                asked = True
            if not limit or (request is not None and request != limit):
                guaranteed = False
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def cpu_shares(milli_cpu: int) -> int:
    if milli_cpu <= 0:
        return _MIN_SHARES
    return max(_MIN_SHARES, min(_MAX_SHARES, milli_cpu * 1024 // 1000))


def cpu_quota(milli_cpu: int) -> int:
    """Microseconds a period; 0 for no quota."""
    return max(_MIN_QUOTA_US, milli_cpu * PERIOD_US // 1000) if milli_cpu > 0 else 0


def oom_score_adj(pod: Object, container: Object, node_memory_bytes: int) -> int:
    if int((pod.get("spec") or {}).get("priority") or 0) >= _SYSTEM_CRITICAL_PRIORITY:
        return -997
    qos = qos_class(pod)
    if qos == "Guaranteed":
        return -997
    if qos == "BestEffort":
        return 1000
    request = _container(container, "requests").get("memory")
    value = 1000 - (1000 * request.value // max(1, node_memory_bytes) if request else 0)
    return min(999, max(3, value))


def container_resources(pod: Object, container: Object, node_memory_bytes: int) -> LinuxResources:
    requests, limits = _container(container, "requests"), _container(container, "limits")
    cpu_request, cpu_limit, memory = requests.get("cpu"), limits.get("cpu"), limits.get("memory")
    shares_from = cpu_request if cpu_request is not None else cpu_limit
    quota = cpu_quota(cpu_limit.milli_value) if cpu_limit else 0
    return LinuxResources(
        cpu_period_us=PERIOD_US,
        cpu_quota_us=quota,
        cpu_shares=cpu_shares(shares_from.milli_value if shares_from is not None else 0),
        memory_limit_bytes=memory.value if memory else 0,
        oom_score_adj=oom_score_adj(pod, container, node_memory_bytes),
    )


def pod_resources(pod: Object) -> LinuxResources:
    """The limits of the pod's own cgroup: a quota or memory limit only where every container has one."""
    qos = qos_class(pod)
    if qos == "BestEffort":
        return LinuxResources(cpu_shares=_MIN_SHARES)
    requests, limits = pod_requests(pod), pod_limits(pod)
    whole = ((pod.get("spec") or {}).get("resources") or {}).get("limits") or {}
    members = [c for kind, c in spec.all_containers(pod) if kind != "ephemeral"]

    def limited(name: str) -> bool:
        return name in whole or all(name in _container(c, "limits") for c in members)

    cpu, memory = limits.get("cpu", 0), limits.get("memory", 0)
    return LinuxResources(
        cpu_period_us=PERIOD_US,
        cpu_quota_us=cpu_quota(cpu) if limited("cpu") else 0,
        cpu_shares=cpu_shares(requests.get("cpu", 0) or cpu),
        memory_limit_bytes=memory if limited("memory") else 0,
    )
