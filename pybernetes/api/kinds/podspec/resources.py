"""Validation of compute resources: their names, quantities, and requests against limits.

Source of rules and texts: ``pkg/apis/core/validation`` and ``pkg/apis/core/helper``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from pybernetes.api import names
from pybernetes.api.kinds.amounts import amount, quantity_fault, show
from pybernetes.api.kinds.faults import NOT_NEGATIVE, Faults
from pybernetes.api.meta import Object
from pybernetes.api.quantity import NANO

HUGE_PAGES = "hugepages-"
QOS_RESOURCES = ("cpu", "memory")
STANDARD_CONTAINER_RESOURCES = frozenset(("cpu", "memory", "ephemeral-storage"))
_QUOTA_OBJECTS = frozenset(
    (
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims",
        "configmaps", "services.nodeports", "services.loadbalancers",
    )
)  # fmt: skip
STANDARD_RESOURCES = (
    STANDARD_CONTAINER_RESOURCES
    | _QUOTA_OBJECTS
    | frozenset(
        (
            "requests.cpu", "requests.memory", "requests.ephemeral-storage", "requests.storage", "limits.cpu",
            "limits.memory", "limits.ephemeral-storage", "storage",
        )
    )
)  # fmt: skip
STANDARD_QUOTA_RESOURCES = (
    STANDARD_CONTAINER_RESOURCES
    | _QUOTA_OBJECTS
    | frozenset(
        (
            "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage", "limits.cpu",
            "limits.memory", "limits.ephemeral-storage",
        )
    )
)  # fmt: skip
INTEGER_RESOURCES = _QUOTA_OBJECTS


def is_native(name: str) -> bool:
    """Whether the resource belongs to Kubernetes itself: no domain, or one of kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """Whether the name is a valid extended resource's, such as ``example.com/gpu``."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name("requests." + name)


def is_overcommit_allowed(name: str) -> bool:
    return is_native(name) and not name.startswith(HUGE_PAGES)


def is_integer(name: str) -> bool:
    return name in INTEGER_RESOURCES or is_extended(name)


def resource_name(faults: Faults, path: str, name: str) -> bool:
    """Whether the name passed; a bare name must be a standard one."""
    before = len(faults)
    faults.each(path, name, names.qualified_name(name))
    if (
        len(faults) == before
        and "/" not in name
        and name not in STANDARD_RESOURCES
        and not name.startswith(HUGE_PAGES)
        and not name.startswith("requests." + HUGE_PAGES)
    ):
        faults.invalid(path, name, "must be a standard resource type or fully qualified")
    return len(faults) == before


def container_resource_name(faults: Faults, path: str, name: str) -> None:
    if name in STANDARD_CONTAINER_RESOURCES:
        return
    resource_name(faults, path, name)
    if "/" not in name:
        if not name.startswith(HUGE_PAGES):
            faults.invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        faults.invalid(path, name, "doesn't follow extended resource name standard")


def pod_resource_name(faults: Faults, path: str, name: str) -> None:
    if name in QOS_RESOURCES:
        return
    if resource_name(faults, path, name) and not name.startswith(HUGE_PAGES):
        faults.not_supported(path, name, ("cpu", HUGE_PAGES, "memory"))


def quota_resource_name(faults: Faults, path: str, name: str) -> None:
    if name in STANDARD_QUOTA_RESOURCES:
        return
    resource_name(faults, path, name)
    if "/" not in name and not name.startswith(HUGE_PAGES) and not name.startswith("requests." + HUGE_PAGES):
        faults.invalid(path, name, "must be a standard resource for quota")


def quantity_value(faults: Faults, path: str, name: str, text: object) -> None:
    """A quantity must parse, must not be negative, and is whole for what is counted in pieces."""
    value = amount(text)
    if value is None:
        faults.invalid(path, text, quantity_fault())
        return
    if value < 0:
        faults.invalid(path, show(text), NOT_NEGATIVE)
    if value % NANO != 0 and is_integer(name):
        faults.invalid(path, show(text), "must be an integer")


def requirements(
    faults: Faults,
    path: str,
    resources: Object | None,
    claim_names: Collection[str] = (),
    name_check: Callable[[Faults, str, str], None] = container_resource_name,
) -> None:
    """ResourceRequirements of a container, a pod, or (as limits only) an overhead."""
    if not resources:
        return
    limits: Object = resources.get("limits") or {}
    requests: Object = resources.get("requests") or {}
    for kind, values in (("limits", limits), ("requests", requests)):
        for name, text in values.items():
            at = f"{path}.{kind}[{name}]"
            name_check(faults, at, name)
            quantity_value(faults, at, name, text)
            if kind == "requests":
                _against_limit(faults, path, name, text, limits)
            if name.startswith(HUGE_PAGES):
                _huge_pages(faults, at, name, text)
    every = limits.keys() | requests.keys()
    if any(n.startswith(HUGE_PAGES) for n in every) and not any(n in QOS_RESOURCES for n in every):
        faults.forbidden(path, "HugePages require cpu or memory")
    if resources.get("claims"):
        _claims(faults, f"{path}.claims", resources["claims"], claim_names)


def _against_limit(faults: Faults, path: str, name: str, text: object, limits: Object) -> None:
    limit_text = limits.get(name)
    overcommit = is_overcommit_allowed(name)
    if limit_text is None:
        if not overcommit:
            faults.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        return
    value, limit = amount(text), amount(limit_text)
    if value is None or limit is None:
        return
    if value != limit and not overcommit:
        faults.invalid(f"{path}.requests", show(text), f"must be equal to {name} limit of {show(limit_text)}")
    elif value > limit:
        faults.invalid(
            f"{path}.requests", show(text), f"must be less than or equal to {name} limit of {show(limit_text)}"
        )


def _huge_pages(faults: Faults, path: str, name: str, text: object) -> None:
    page, value = amount(name[len(HUGE_PAGES) :]), amount(text)
    if value is not None and (page is None or page <= 0 or value % page != 0):
        faults.invalid(path, show(text), f"{show(text)} is not positive integer multiple of {name}")


def _claims(faults: Faults, path: str, claims: list[Object], claim_names: Collection[str]) -> None:
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        name, request = claim.get("name") or "", claim.get("request") or ""
        at = f"{path}[{i}]"
        if not name:
            faults.required(at)
            continue
        key = f"{name}/{request}" if request else name
        if name in seen:
            faults.duplicate(at, name)
        else:
            if request:
                faults.each(f"{at}.request", request, names.dns_label(request))
            if key in seen:
                faults.duplicate(at, key)
            elif not request and any(s.startswith(name + "/") for s in seen):
                faults.duplicate(at, name)
            seen.add(key)
        if name not in claim_names:
            known = f": {', '.join(sorted(claim_names))}" if claim_names else " which is empty"
            faults.not_found(at, name, "must be one of the names in pod.spec.resourceClaims" + known)
