"""What objects count for in a ResourceQuota, and which quotas see them. Pure.

Shared by the controller that recounts a namespace and by admission that charges a creation before it happens.
Source: upstream's ``pkg/quota/v1/evaluator/core`` and the documentation of ResourceQuotas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pybernetes.api.meta import Object, annotations_of, get_condition, metadata
from pybernetes.api.pod_resources import pod_limits, pod_requests
from pybernetes.api.quantity import Quantity, parse
from pybernetes.api.resources import (
    CONFIGMAPS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    REPLICATIONCONTROLLERS,
    RESOURCECLAIMS,
    RESOURCEQUOTAS,
    SECRETS,
    SERVICES,
    Resource,
)
from pybernetes.api.time import parse_time

Usage = dict[str, Quantity]

_LEGACY_COUNTS = {
    r: r.plural
    for r in (CONFIGMAPS, SECRETS, REPLICATIONCONTROLLERS, RESOURCEQUOTAS, SERVICES, PERSISTENTVOLUMECLAIMS, PODS)
}
_PLAIN = ("cpu", "memory", "ephemeral-storage")
_POD_NAMES = frozenset(("pods", *(prefix + name for name in _PLAIN for prefix in ("", "requests.", "limits."))))
_SERVICE_NAMES = frozenset(("services", "services.nodeports", "services.loadbalancers"))
_CLAIM_NAMES = frozenset(("persistentvolumeclaims", "requests.storage"))
_STORAGE_CLASS = "storageclass.storage.k8s.io"
_CLASS_SUFFIXES = tuple(f".{_STORAGE_CLASS}/{name}" for name in sorted(_CLAIM_NAMES))
_DEVICE_SUFFIX = ".deviceclass.resource.k8s.io/devices"
_ALL_DEVICES = 32
"""What a request for all devices of a node counts as: the most that one claim may be given."""
_ONE = Quantity.of(1)


def count_name(resource: Resource) -> str:
    """``count/pods`` or ``count/deployments.apps``."""
    return f"count/{resource.group_resource}"


def is_running(pod: Object, now: float) -> bool:
    """Whether a pod still uses what it asked for: neither finished nor past its grace period."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    end = counts_until(pod)
    return end is None or now <= end


def counts_until(pod: Object) -> float | None:
    """Until when a pod that is being deleted counts, though nobody says that it ended (epoch seconds)."""
    meta = metadata(pod)
    deleted, grace = meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds")
    return parse_time(deleted) + int(grace) if deleted and grace is not None else None


def _in_use(pod: Object) -> Object:
    """The pod's spec with what its containers hold while they are resized: the most of what is wanted, allocated and
    in force; what cannot be had is not counted (KEP-1287)."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    held = {
        s.get("name"): s
        for field in ("containerStatuses", "initContainerStatuses")
        for s in status.get(field) or ()
        if s.get("resources") is not None
    }
    if not held:
        return spec
    pending = get_condition(pod, "PodResizePending") or {}
    infeasible = pending.get("status") == "True" and pending.get("reason") == "Infeasible"

    def resized(container: Object) -> Object:
        found = held.get(container.get("name"))
        if found is None:
            return container
        wanted = {} if infeasible else container.get("resources") or {}
        in_force, allocated = found["resources"], found.get("allocatedResources")
        requests = _most(wanted.get("requests"), in_force.get("requests"), allocated)
        limits = _most(wanted.get("limits"), in_force.get("limits"))
        return {**container, "resources": {"requests": requests, "limits": limits}}

    changed = {**spec}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            changed[field] = [resized(c) for c in spec[field]]
    return changed


def _most(*amounts: Mapping[str, str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for amount in amounts:
        for name, text in (amount or {}).items():
            if name not in found or parse(str(text)) > parse(str(found[name])):
                found[name] = text
    return found


def _amounts(numbers: Mapping[str, int]) -> dict[str, Quantity]:
    return {name: Quantity.of_milli(n) if name == "cpu" else Quantity.of(n, "BinarySI") for name, n in numbers.items()}


def _pod_usage(pod: Object, now: float) -> Usage:
    usage: Usage = {}
    if not is_running(pod, now):
        return usage
    usage["pods"] = _ONE
    spec = _in_use(pod)
    for name, amount in _amounts(pod_requests({"spec": spec})).items():
        if name in _PLAIN or name.startswith("hugepages-"):
            usage[name] = usage[f"requests.{name}"] = amount
        else:
            usage[f"requests.{name}"] = amount
    for name, amount in _amounts(pod_limits({"spec": spec})).items():
        if name in _PLAIN:
            usage[f"limits.{name}"] = amount
    return usage


def _service_usage(service: Object) -> Usage:
    spec = service.get("spec") or {}
    usage: Usage = {"services": _ONE}
    ports = len(spec.get("ports") or ())
    if spec.get("type") == "NodePort":
        usage["services.nodeports"] = Quantity.of(ports)
    elif spec.get("type") == "LoadBalancer":
        usage["services.loadbalancers"] = _ONE
        if spec.get("allocateLoadBalancerNodePorts") is False:
            ports = sum(1 for p in spec.get("ports") or () if p.get("nodePort"))
        usage["services.nodeports"] = Quantity.of(ports)
    return usage


def _claim_usage(claim: Object) -> Usage:
    spec = claim.get("spec") or {}
    usage: Usage = {"persistentvolumeclaims": _ONE}
    class_ = annotations_of(claim).get("volume.beta.kubernetes.io/storage-class", spec.get("storageClassName"))
    if class_:
        usage[f"{class_}.{_STORAGE_CLASS}/persistentvolumeclaims"] = _ONE
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if asked is not None:
        allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
        amount = _whole(parse(str(asked)))
        if allocated is not None:
            # A growth that was taken back may still be on its way in the storage.
            amount = max(amount, _whole(parse(str(allocated))))
        usage["requests.storage"] = amount
        if class_:
            usage[f"{class_}.{_STORAGE_CLASS}/requests.storage"] = amount
    return usage


def _whole(amount: Quantity) -> Quantity:
    return Quantity.of(amount.value, amount.format)


def _device_usage(claim: Object) -> Usage:
    """The devices that a ResourceClaim asks for, by class; of alternatives, the most of each class."""
    usage: Usage = {}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        counts: dict[str, int] = {}
        for option in request.get("firstAvailable") or [request.get("exactly") or {}]:
            number = _ALL_DEVICES if option.get("allocationMode") == "All" else int(option.get("count") or 1)
            class_ = str(option.get("deviceClassName") or "")
            counts[class_] = max(counts.get(class_, 0), number)
        for class_, number in counts.items():
            name = class_ + _DEVICE_SUFFIX
            usage[name] = usage.get(name, Quantity()) + Quantity.of(number)
    return usage


def usage_of(resource: Resource, obj: Object, now: float) -> Usage:
    """What one object counts for, by the names that a quota's ``hard`` uses."""
    usage: Usage = {count_name(resource): _ONE}
    if resource == PODS:
        usage |= _pod_usage(obj, now)
    elif resource == SERVICES:
        usage |= _service_usage(obj)
    elif resource == PERSISTENTVOLUMECLAIMS:
        usage |= _claim_usage(obj)
    elif resource == RESOURCECLAIMS:
        usage |= _device_usage(obj)
    elif resource in _LEGACY_COUNTS:
        usage[_LEGACY_COUNTS[resource]] = _ONE
    return usage


def is_counted(resource: Resource, name: str) -> bool:
    """Whether objects of the resource can count for that entry of a quota's ``hard``."""
    if name == count_name(resource):
        return True
    if resource == PODS:
        return name in _POD_NAMES or name.startswith(("hugepages-", "requests.hugepages-")) or _is_extended(name)
    if resource == SERVICES:
        return name in _SERVICE_NAMES
    if resource == PERSISTENTVOLUMECLAIMS:
        return name in _CLAIM_NAMES or name.endswith(_CLASS_SUFFIXES)
    if resource == RESOURCECLAIMS:
        return name.endswith(_DEVICE_SUFFIX)
    return _LEGACY_COUNTS.get(resource) == name


def _is_extended(name: str) -> bool:
    """``requests.example.com/gpu``: only requests of extended resources are limited."""
    return name.startswith("requests.") and "/" in name and "kubernetes.io/" not in name


def _is_best_effort(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for holder in (spec, *containers):
        resources = holder.get("resources") or {}
        for field in ("requests", "limits"):
            if any(name in ("cpu", "memory") and parse(str(v)) for name, v in (resources.get(field) or {}).items()):
                return False
    return True


def _has_cross_namespace_affinity(pod: Object) -> bool:
    affinity = (pod.get("spec") or {}).get("affinity") or {}
    terms: list[Object] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms += rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [t["podAffinityTerm"] for t in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()]
    return any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms)


def _scope_matches(scope: Mapping[str, Any], pod: Object) -> bool:
    spec = pod.get("spec") or {}
    match scope.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return _is_best_effort(pod)
        case "NotBestEffort":
            return not _is_best_effort(pod)
        case "CrossNamespacePodAffinity":
            return _has_cross_namespace_affinity(pod)
        case "PriorityClass":
            return _class_matches(scope, str(spec.get("priorityClassName") or ""))
    return False


def _class_matches(scope: Mapping[str, Any], name: str) -> bool:
    values = scope.get("values") or ()
    match scope.get("operator") or "Exists":
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "Exists":
            return bool(name)
        case "DoesNotExist":
            return not name
    return False


def scopes_match(quota: Object, resource: Resource, obj: Object) -> bool:
    """Whether the object is within all scopes of the quota. Scopes speak of pods, and one of claims."""
    spec = quota.get("spec") or {}
    scopes: list[Mapping[str, Any]] = [{"scopeName": name} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not scopes:
        return True
    if resource == PERSISTENTVOLUMECLAIMS:
        return all(s.get("scopeName") == "VolumeAttributesClass" and _attributes_match(s, obj) for s in scopes)
    return resource == PODS and all(_scope_matches(s, obj) for s in scopes)


def _attributes_match(scope: Mapping[str, Any], claim: Object) -> bool:
    """Whether a class of the claim's is meant: the one it wants, the one it has, the one it is moved to."""
    status = claim.get("status") or {}
    names = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return any(_class_matches(scope, name) for name in {str(n) for n in names if n} or {""})


def total(usages: Iterable[Usage], names: Iterable[str]) -> Usage:
    """The sum of usages for the given names; 0 where nothing counts."""
    result = {name: Quantity() for name in names}
    for usage in usages:
        for name, amount in usage.items():
            if name in result:
                # The first amount decides how the sum is spelled.
                result[name] = result[name] + amount if result[name] else amount
    return result
