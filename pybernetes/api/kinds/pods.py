"""Pods, and the objects that travel to their subresources."""

from __future__ import annotations

from typing import Any

from pybernetes.api import shared_specs
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec import containers, status, updates
from pybernetes.api.kinds.podspec.annotations import annotations_and_fields, apparmor_fields, pod_annotations
from pybernetes.api.kinds.podspec.defaults import default_pod, default_pod_spec
from pybernetes.api.kinds.podspec.qos import compute_qos_class
from pybernetes.api.kinds.podspec.validation import pod_spec
from pybernetes.api.kinds.podspec.warnings import name_warning, pod_warnings, warned_of
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, clone, labels_of, name_of, namespace_of
from pybernetes.lib.memo import Memo

_MEMO_BYTES_MAX = 4 * 1024 * 1024
# By the JSON text of a pod's spec: those that have no fault, those that give no cause for a warning, and the classes.
# Pure results; the event loop's alone, as all strategies are.
_faultless: Memo[bool] = Memo(_MEMO_BYTES_MAX)
_unwarned: Memo[bool] = Memo(_MEMO_BYTES_MAX)
_qos_classes: Memo[str] = Memo(_MEMO_BYTES_MAX)

TERMINAL_PHASES = ("Succeeded", "Failed")


class PodStrategy(Strategy):
    has_generation = True
    defaults_spec_alone = True

    def default(self, obj: Object) -> None:
        spec = obj.get("spec")
        if spec is None:
            spec = obj["spec"] = {}
        default_pod_spec(spec)
        default_pod(spec)

    def prepare_for_create(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        # Admission may have set serviceAccountName since the defaults ran; the alias follows it.
        if spec.get("serviceAccountName"):
            spec["serviceAccount"] = spec["serviceAccountName"]
        _merge_label_keys(spec, labels_of(obj))
        annotations = annotations_of(obj)
        if annotations:
            apparmor_fields(annotations, spec)
        # Nobody changes it from here on.
        spec = obj["spec"] = shared_specs.share(spec)
        fresh: Object = {"phase": "Pending", "qosClass": _qos_class(spec)}
        if spec.get("schedulingGates"):
            fresh["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]
        obj["status"] = fresh

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        # What is kept stays the old object's own, which nobody may change.
        if "status" in old:
            obj["status"] = old["status"]
        else:
            obj.pop("status", None)
        spec, before = obj.get("spec"), old.get("spec")
        if spec and spec is not before:
            # From here on whether it changed is seen by its being another. (It holds no field of any JSON, in which
            # what is equal to Python might differ.)
            obj["spec"] = before if spec == before else shared_specs.share(spec)

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_status_update(obj, old)
        new, before = obj.get("status"), old.get("status") or {}
        if new is not None:
            # An old kubelet may drop what only newer ones know.
            if not new.get("qosClass") and before.get("qosClass"):
                new["qosClass"] = before["qosClass"]
            _keep_observed_generations(new, before)
            _sync_addresses(new)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = self._validate(obj)
        spec = obj.get("spec") or {}
        if spec.get("ephemeralContainers"):
            faults.forbidden("spec.ephemeralContainers", "cannot be set on create")
        if spec.get("nodeName") and spec.get("schedulingGates"):
            faults.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
        annotations_and_fields(faults, "spec", annotations_of(obj), spec)
        return faults

    def _validate(self, obj: Object) -> Faults:
        faults = Faults()
        spec = obj.get("spec") or {}
        pod_annotations(faults, "metadata.annotations", annotations_of(obj), spec)
        # Most pods are made from a few templates: a spec that was found without a fault is not judged again.
        key = shared_specs.text_made(spec)
        if _faultless.get(key):
            return faults
        before = len(faults)
        self._validate_spec(faults, spec, name_of(obj))
        # The claims of ephemeral volumes are named after the pod.
        if len(faults) == before and not any("ephemeral" in v for v in spec.get("volumes") or ()):
            _faultless.put(key, True)
        return faults

    @staticmethod
    def _validate_spec(faults: Faults, spec: Object, pod_name: str) -> None:
        pod_spec(faults, "spec", spec, is_pod=True, pod_name=pod_name)
        if not spec.get("serviceAccountName"):
            for i, volume in enumerate(spec.get("volumes") or ()):
                for j, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                    if source.get("serviceAccountToken") is not None:
                        faults.forbidden(
                            f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken",
                            "must not be specified when serviceAccountName is not set",
                        )
        for field in ("containers", "initContainers"):
            for i, container in enumerate(spec.get(field) or ()):
                containers.only_for_pod(faults, f"spec.{field}[{i}]", container)

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults = Faults()
        # Most updates of a pod touch only its metadata, and a spec that has not changed has been judged before.
        if not semantic_equal(spec, before) or annotations_of(obj) != annotations_of(old):
            faults = self._validate(obj)
        updates.annotation_update(faults, obj, old)
        if spec is not before:
            updates.spec_update(faults, spec, before)
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        updates.annotation_update(faults, obj, old)
        status.status_update(faults, obj.get("status") or {}, old.get("status") or {}, old.get("spec") or {})
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        # People create pods and seldom update them; programs do that all the time.
        if old is not None:
            return []
        named = name_warning(obj, "the Pod's hostname")
        key, annotations = shared_specs.text_made(obj.get("spec")), annotations_of(obj)
        if _unwarned.get(key) and not (annotations and warned_of(annotations)):
            return named
        found = pod_warnings(obj)
        if not found:
            _unwarned.put(key, True)
        return [*named, *found]

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        spec, observed = obj.get("spec") or {}, obj.get("status") or {}
        return {
            "metadata.name": name_of(obj),
            "metadata.namespace": namespace_of(obj),
            "spec.nodeName": spec.get("nodeName") or "",
            "spec.restartPolicy": spec.get("restartPolicy") or "",
            "spec.schedulerName": spec.get("schedulerName") or "",
            "spec.serviceAccountName": spec.get("serviceAccountName") or "",
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": observed.get("phase") or "",
            "status.podIP": observed.get("podIP") or "",
            "status.nominatedNodeName": observed.get("nominatedNodeName") or "",
        }

    def grace_period_seconds(self, obj: Object, requested: int | None) -> int:
        """The period asked for, or the spec's; at once where the pod runs nowhere."""
        spec = obj.get("spec") or {}
        period = requested if requested is not None else spec.get("terminationGracePeriodSeconds") or 0
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in TERMINAL_PHASES:
            return 0
        return period if period >= 0 else 1

    # The subresources that change a pod's spec.

    def prepare_for_ephemeral_containers_update(self, obj: Object, old: Object) -> None:
        """Keeps all but ``spec.ephemeralContainers`` (and metadata)."""
        added = (obj.get("spec") or {}).get("ephemeralContainers")
        obj["spec"] = clone(old.get("spec") or {})
        obj["spec"].pop("ephemeralContainers", None)
        if added:
            obj["spec"]["ephemeralContainers"] = added
        self._keep_status(obj, old)

    def validate_ephemeral_containers_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = self._validate(obj)
        updates.annotation_update(faults, obj, old)
        updates.ephemeral_containers_update(faults, obj, old)
        return faults

    def prepare_for_resize(self, obj: Object, old: Object) -> None:
        """Keeps all but the ``resources`` of the pod and its containers, and their ``resizePolicy`` (and metadata).

        Containers are told apart by their places: one more, one less or another name is left for validation to refuse.
        """
        wanted, spec = obj.get("spec") or {}, clone(old.get("spec") or {})
        self._keep_status(obj, old)
        if any(len(wanted.get(f) or ()) != len(spec.get(f) or ()) for f in ("initContainers", "containers")):
            return
        _take(spec, wanted, "resources")
        for field in ("initContainers", "containers"):
            for container, new in zip(spec.get(field) or (), wanted.get(field) or (), strict=True):
                container["name"] = new.get("name")
                _take(container, new, "resources", "resizePolicy")
        obj["spec"] = spec

    def validate_resize(self, obj: Object, old: Object) -> list[FieldError]:
        faults = self._validate(obj)
        old_qos = (old.get("status") or {}).get("qosClass") or compute_qos_class(old.get("spec") or {})
        updates.resize_update(faults, obj, old, compute_qos_class(obj.get("spec") or {}), old_qos)
        return faults

    @staticmethod
    def _keep_status(obj: Object, old: Object) -> None:
        if "status" in old:
            obj["status"] = clone(old["status"])
        else:
            obj.pop("status", None)


def _take(part: Object, wanted: Object, *fields: str) -> None:
    """Takes fields over from a part of the pod as it is wanted, absence included."""
    for field in fields:
        if field in wanted:
            part[field] = wanted[field]
        else:
            part.pop(field, None)


def _qos_class(spec: Object) -> str:
    key = shared_specs.text_made(spec)
    known = _qos_classes.get(key)
    if known is None:
        known = compute_qos_class(spec)
        _qos_classes.put(key, known)
    return known


def _sync_addresses(status: Object) -> None:
    """podIP and the first of podIPs are one field; where they differ, podIP counts: old kubelets know it alone."""
    one, many = status.get("podIP"), status.get("podIPs")
    if one and (not many or many[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif many and not one:
        status["podIP"] = many[0].get("ip") or ""


def _keep_observed_generations(status: Object, before: Object) -> None:
    if not status.get("observedGeneration") and before.get("observedGeneration"):
        status["observedGeneration"] = before["observedGeneration"]
    generations: dict[Any, list[int]] = {}
    for condition in before.get("conditions") or ():
        generations.setdefault(condition.get("type"), []).append(condition.get("observedGeneration") or 0)
    conditions: list[Object] = status.get("conditions") or []
    for i, condition in enumerate(conditions):
        had = generations.get(condition.get("type"))
        generation = had.pop(0) if had else 0
        if generation and not condition.get("observedGeneration"):
            # New ones: a patch may have left some as they are in the old object.
            changed = {**condition, "observedGeneration": generation}
            conditions = status["conditions"] = [*conditions[:i], changed, *conditions[i + 1 :]]


def _merge_label_keys(spec: Object, pod_labels: dict[str, str]) -> None:
    """Turns matchLabelKeys and mismatchLabelKeys into requirements of the term's labelSelector (KEP-3633, KEP-3243)."""
    affinity = spec.get("affinity") or {}
    if affinity or spec.get("topologySpreadConstraints"):
        # They may be those of a template that others use too.
        for field in ("affinity", "topologySpreadConstraints"):
            if spec.get(field):
                spec[field] = clone(spec[field])
        affinity = spec.get("affinity") or {}
    terms: list[Object] = list(spec.get("topologySpreadConstraints") or ())
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        terms.extend(pods.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms.extend(
            w.get("podAffinityTerm") or {} for w in pods.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        )
    for term in terms:
        selector = term.get("labelSelector")
        if selector is None:
            continue
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
            for key in term.get(field) or ():
                if key in pod_labels:
                    selector.setdefault("matchExpressions", []).append(
                        {"key": key, "operator": operator, "values": [pod_labels[key]]}
                    )


def validate_binding(binding: Object) -> list[FieldError]:
    """A Binding of a pod to a node."""
    faults = Faults()
    target: Any = binding.get("target") or {}
    if target.get("kind") and target["kind"] != "Node":
        faults.not_supported("target.kind", target["kind"], ("Node", "<empty>"))
    if not target.get("name"):
        faults.required("target.name")
    return faults
