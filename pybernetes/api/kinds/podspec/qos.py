"""The quality-of-service class of a pod: Guaranteed, Burstable or BestEffort.

Source: ``pkg/apis/core/helper/qos`` and the documentation of Pod Quality of Service Classes.
"""

from __future__ import annotations

from pybernetes.api.kinds.amounts import amount
from pybernetes.api.meta import Object

_COMPUTE = ("cpu", "memory")


def compute_qos_class(spec: Object) -> str:
    """From a defaulted spec: Guaranteed where every container has equal limits and requests of cpu and memory,
    BestEffort where none has any, else Burstable. ``spec.resources``, where set, decides alone."""
    pod_level = spec.get("resources")
    if pod_level and (pod_level.get("limits") or pod_level.get("requests")):
        holders = [pod_level]
    else:
        holders = [c.get("resources") or {} for f in ("containers", "initContainers") for c in spec.get(f) or ()]
    any_set, guaranteed = False, True
    for resources in holders:
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in _COMPUTE:
            request, limit = amount(requests.get(name)) or 0, amount(limits.get(name)) or 0
            if request > 0 or limit > 0:
                any_set = True
            if limit <= 0 or (name in requests and request != limit):
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
