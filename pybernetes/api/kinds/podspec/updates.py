"""What an update of a Pod may change: images, deadlines, added tolerations, removed gates, and little else.

Source of rules and texts: ``ValidatePodUpdate`` in ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api.kinds.equality import difference, semantic_equal
from pybernetes.api.kinds.faults import Faults, in_range
from pybernetes.api.kinds.podspec.annotations import APPARMOR_CONTAINER, MIRROR_POD
from pybernetes.api.kinds.podspec.validation import MAX_INT32
from pybernetes.api.meta import Object, annotations_of, clone

_UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def annotation_update(faults: Faults, obj: Object, old: Object) -> None:
    """The mirror pod annotation and AppArmor's may neither come, go nor change."""
    new, before = annotations_of(obj), annotations_of(old)
    if new == before:
        return
    for key, value in before.items():
        if new.get(key) != value and _is_fixed(key):
            what = "mirror pod annotation" if key == MIRROR_POD else "AppArmor annotations"
            faults.forbidden(f"metadata.annotations[{key}]", f"may not remove or update {what}")
    for key in new:
        if key not in before and _is_fixed(key):
            what = "mirror pod annotation" if key == MIRROR_POD else "AppArmor annotations"
            faults.forbidden(f"metadata.annotations[{key}]", f"may not add {what}")


def _is_fixed(key: str) -> bool:
    return key == MIRROR_POD or key.startswith(APPARMOR_CONTAINER)


def spec_update(faults: Faults, spec: Object, old: Object) -> None:
    """The change from one PodSpec to the next by an update of the pod itself."""
    for field in ("containers", "initContainers"):
        new_items, old_items = spec.get(field) or (), old.get(field) or ()
        if len(new_items) != len(old_items):
            faults.forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
        for i, container in enumerate(new_items):
            image = container.get("image") or ""
            if not image:
                faults.required(f"spec.{field}[{i}].image")
            elif image != image.strip():
                faults.invalid(f"spec.{field}[{i}].image", image, "must not have leading or trailing whitespace")
    if not _deadline(faults, spec, old):
        return
    _only_added_tolerations(faults, spec.get("tolerations") or [], old.get("tolerations") or [])
    _only_removed_gates(faults, spec.get("schedulingGates") or [], old.get("schedulingGates") or [])
    if semantic_equal(spec, old):
        return
    munged = clone(spec)
    for field in ("containers", "initContainers"):
        for container, before in zip(munged.get(field) or (), old.get(field) or (), strict=True):
            _keep(container, before, "image")
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _keep(munged, old, field)
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        _keep(munged, old, "terminationGracePeriodSeconds")
    if old.get("schedulingGates"):
        _gated(faults, munged, old)
    if not semantic_equal(munged, old):
        faults.forbidden(
            "spec",
            f"pod updates may not change fields other than {','.join(_UPDATABLE)}\n{difference(old, munged)}",
        )


def _keep(new: Object, old: Object, field: str) -> None:
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)


def _deadline(faults: Faults, spec: Object, old: Object) -> bool:
    """Whether the remaining checks still make sense."""
    at, new, before = "spec.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if new is not None:
        if not 0 <= new <= MAX_INT32:
            faults.invalid(at, new, in_range(0, MAX_INT32))
            return False
        if before is not None and before < new:
            faults.invalid(at, new, "must be less than or equal to previous value")
            return False
    elif before is not None:
        faults.invalid(at, None, "must not update from a positive integer to nil value")
    return True


def _without_seconds(toleration: Object) -> Object:
    return {k: v for k, v in toleration.items() if k != "tolerationSeconds" and v}


def _only_added_tolerations(faults: Faults, new: list[Object], old: list[Object]) -> None:
    kept = [_without_seconds(t) for t in new]
    if any(_without_seconds(t) not in kept for t in old):
        faults.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")


def _only_removed_gates(faults: Faults, new: list[Object], old: list[Object]) -> None:
    before = {g.get("name") for g in old}
    for i, gate in enumerate(new):
        if gate.get("name") not in before:
            faults.forbidden(
                f"spec.schedulingGates[{i}].name",
                f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
            )


def _gated(faults: Faults, munged: Object, old: Object) -> None:
    """A pod behind scheduling gates may still narrow where it runs (KEP-3838)."""
    selector, before = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if not semantic_equal(selector, before):
        if any(selector.get(k) != v for k, v in before.items()):
            faults.invalid(
                "spec.nodeSelector",
                selector,
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            )
        _keep(munged, old, "nodeSelector")
    affinity, old_affinity = munged.get("affinity") or {}, old.get("affinity") or {}
    node, old_node = affinity.get("nodeAffinity"), old_affinity.get("nodeAffinity")
    if semantic_equal(node, old_node):
        return
    _node_affinity(faults, node or {}, old_node or {})
    _keep(affinity, old_affinity, "nodeAffinity")
    if affinity:
        munged["affinity"] = affinity
    else:
        munged.pop("affinity", None)


def _node_affinity(faults: Faults, new: Object, old: Object) -> None:
    at = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    old_terms: Any = (old.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    new_terms: Any = (new.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    if old_terms and len(old_terms) != len(new_terms):
        faults.invalid(at, new_terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for i, before in enumerate(old_terms):
        if not _only_additions(new_terms[i], before):
            faults.invalid(f"{at}[{i}]", new_terms[i], "only additions are allowed (no mutations or deletions)")


def _only_additions(new: Object, old: Object) -> bool:
    parts = [(new.get(k) or [], old.get(k) or []) for k in ("matchExpressions", "matchFields")]
    if not any(before for _, before in parts) and any(after for after, _ in parts):
        return False
    return all(semantic_equal(after[: len(before)], before) for after, before in parts)


# Ephemeral containers and resizing: the two subresources that change a running pod's spec.


def ephemeral_containers_update(faults: Faults, obj: Object, old: Object) -> None:
    if MIRROR_POD in annotations_of(old):
        faults.clear()
        faults.forbidden("", "static pods do not support ephemeral containers")
        return
    at = "spec.ephemeralContainers"
    new = {c.get("name"): c for c in (obj.get("spec") or {}).get("ephemeralContainers") or ()}
    for before in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = before.get("name") or ""
        after = new.get(name)
        if after is None:
            faults.forbidden(at, f'existing ephemeral containers "{name}" may not be removed\n')
        elif not semantic_equal(after, before):
            faults.forbidden(
                at, f'existing ephemeral containers "{name}" may not be changed\n{difference(before, after)}'
            )


def resize_update(faults: Faults, obj: Object, old: Object, new_qos: str, old_qos: str) -> None:
    """A change of cpu and memory, of the pod (KEP-5419) and its containers (KEP-1287), init containers included.

    Other changes must have been undone before.
    """
    if MIRROR_POD in annotations_of(old):
        faults.clear()
        faults.forbidden("", "static pods cannot be resized")
        return
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    if ((before.get("os") or {}).get("name") or "") == "windows":
        faults.clear()
        faults.forbidden("", "windows pods cannot be resized")
        return
    if not _same_containers(faults, spec, before):
        return
    if new_qos != old_qos:
        faults.invalid("spec", new_qos, "Pod QOS Class may not change as a result of resizing")
    _none_removed(faults, "spec.resources", spec, before)
    if not semantic_equal(_without_cpu_and_memory(spec)["resources"], _without_cpu_and_memory(before)["resources"]):
        faults.forbidden("spec", "only cpu and memory resources are mutable")
    for field in ("initContainers", "containers"):
        for i, (new, was) in enumerate(zip(spec.get(field) or (), before.get(field) or (), strict=True)):
            _none_removed(faults, f"spec.{field}[{i}].resources", new, was)
            if not semantic_equal(_without_cpu_and_memory(new), _without_cpu_and_memory(was)):
                sidecar = field == "initContainers" and was.get("restartPolicy") == "Always"
                suffix = " for sidecar containers" if sidecar else ""
                faults.forbidden("spec", f"only cpu and memory resources{suffix} are mutable")


def _same_containers(faults: Faults, spec: Object, old: Object) -> bool:
    """Whether there are the same containers in the same places."""
    known = True
    for field in ("initContainers", "containers"):
        new, before = ([c.get("name") for c in s.get(field) or ()] for s in (spec, old))
        if len(new) != len(before):
            faults.forbidden(f"spec.{field}", f"{field} may not be added or removed on resize")
            known = False
            continue
        for i, (name, was) in enumerate(zip(new, before, strict=True)):
            if name != was:
                faults.forbidden(f"spec.{field}[{i}].name", f"{field} may not be renamed or reordered on resize")
                known = False
    return known


def _without_cpu_and_memory(part: Object) -> Object:
    """A container (or a pod's spec) without what may be resized."""
    out = dict(part)
    resources = dict(out.get("resources") or {})
    for kind in ("requests", "limits"):
        values = {k: v for k, v in (resources.get(kind) or {}).items() if k not in ("cpu", "memory")}
        resources[kind] = values
    out["resources"] = resources
    return out


def _none_removed(faults: Faults, path: str, part: Object, old: Object) -> None:
    resources, before = part.get("resources") or {}, old.get("resources") or {}
    for kind in ("requests", "limits"):
        if set(before.get(kind) or ()) - set(resources.get(kind) or ()):
            faults.forbidden(f"{path}.{kind}", f"resource {kind} cannot be removed")
