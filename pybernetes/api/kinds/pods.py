"""Pods, and the objects that travel to their subresources."""

from __future__ import annotations

from typing import Any

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec import containers, updates
from pybernetes.api.kinds.podspec.defaults import default_pod, default_pod_spec
from pybernetes.api.kinds.podspec.qos import compute_qos_class
from pybernetes.api.kinds.podspec.validation import pod_annotations, pod_spec
from pybernetes.api.kinds.podspec.warnings import pod_warnings
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, clone, labels_of, name_of, namespace_of

TERMINAL_PHASES = ("Succeeded", "Failed")


class PodStrategy(Strategy):
    has_generation = True

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
        status: Object = {"phase": "Pending", "qosClass": compute_qos_class(spec)}
        if spec.get("schedulingGates"):
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]
        obj["status"] = status
        _merge_label_keys(spec, labels_of(obj))

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_status_update(obj, old)
        status, before = obj.get("status"), old.get("status") or {}
        if status is not None and not status.get("qosClass") and before.get("qosClass"):
            status["qosClass"] = before["qosClass"]

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = self._validate(obj)
        spec = obj.get("spec") or {}
        if spec.get("ephemeralContainers"):
            faults.forbidden("spec.ephemeralContainers", "cannot be set on create")
        if spec.get("nodeName") and spec.get("schedulingGates"):
            faults.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
        return faults

    def _validate(self, obj: Object) -> Faults:
        faults = Faults()
        spec = obj.get("spec") or {}
        pod_annotations(faults, "metadata.annotations", annotations_of(obj), spec)
        pod_spec(faults, "spec", spec, is_pod=True, pod_name=name_of(obj))
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
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults = Faults()
        # Most updates of a pod touch only its metadata, and a spec that has not changed has been judged before.
        if not semantic_equal(spec, before) or annotations_of(obj) != annotations_of(old):
            faults = self._validate(obj)
        updates.annotation_update(faults, obj, old)
        updates.spec_update(faults, spec, before)
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        updates.annotation_update(faults, obj, old)
        status, before = obj.get("status") or {}, old.get("status") or {}
        for i, condition in enumerate(status.get("conditions") or ()):
            kind = condition.get("type") or ""
            if kind not in ("PodScheduled", "Ready", "Initialized", "ContainersReady"):
                faults.each(f"metadata.conditions[{i}].Type", kind, names.qualified_name(kind))
        nominated = status.get("nominatedNodeName")
        if nominated and nominated != before.get("nominatedNodeName"):
            faults.each("status.nominatedNodeName", nominated, names.dns_subdomain(nominated))
        if before.get("qosClass"):
            faults.immutable("status.qosClass", status.get("qosClass"), before["qosClass"])
        spec = old.get("spec") or {}
        policy = spec.get("restartPolicy") or ""
        _transitions(faults, "containerStatuses", status, before, policy, spec.get("containers") or [])
        _transitions(faults, "initContainerStatuses", status, before, policy, spec.get("initContainers") or [])
        _transitions(faults, "ephemeralContainerStatuses", status, before, "Never", [])
        _addresses(faults, "podIPs", status)
        hosts = status.get("hostIPs") or ()
        if hosts and hosts[0].get("ip") != (status.get("hostIP") or ""):
            faults.invalid("status.hostIPs[0].ip", hosts[0].get("ip"), "must be equal to `hostIP`")
        _addresses(faults, "hostIPs", status)
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is not None and semantic_equal(obj.get("spec"), old.get("spec")):
            return []
        return pod_warnings(obj)

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return {
            "metadata.name": name_of(obj),
            "metadata.namespace": namespace_of(obj),
            "spec.nodeName": spec.get("nodeName") or "",
            "spec.restartPolicy": spec.get("restartPolicy") or "",
            "spec.schedulerName": spec.get("schedulerName") or "",
            "spec.serviceAccountName": spec.get("serviceAccountName") or "",
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase") or "",
            "status.podIP": status.get("podIP") or "",
            "status.nominatedNodeName": status.get("nominatedNodeName") or "",
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
        """Keeps all but the containers' ``resources`` and ``resizePolicy`` (and metadata)."""
        wanted = obj.get("spec") or {}
        spec = clone(old.get("spec") or {})
        for field in ("initContainers", "containers"):
            asked = {c.get("name"): c for c in wanted.get(field) or ()}
            for container in spec.get(field) or ():
                new = asked.get(container.get("name"))
                if new is None:
                    continue
                for key in ("resources", "resizePolicy"):
                    if key in new:
                        container[key] = new[key]
                    else:
                        container.pop(key, None)
        obj["spec"] = spec
        self._keep_status(obj, old)

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


def _transitions(faults: Faults, field: str, status: Object, before: Object, policy: str, specs: list[Object]) -> None:
    """A container that ended for good may not come back to life in the status."""
    if policy == "Always" or not before.get(field):
        return
    sidecars = {c.get("name") for c in specs if c.get("restartPolicy") == "Always"}
    alive = {c.get("name") for c in status.get(field) or () if not (c.get("state") or {}).get("terminated")}
    for i, was in enumerate(before[field]):
        ended = (was.get("state") or {}).get("terminated")
        if not ended or (ended.get("exitCode") and policy == "OnFailure") or was.get("name") in sidecars:
            continue
        if was.get("name") in alive:
            faults.forbidden(f"status.{field}[{i}].state", "may not be transitioned to non-terminated state")


def _addresses(faults: Faults, field: str, status: Object) -> None:
    entries = status.get(field) or []
    seen: set[str] = set()
    families: list[int] = []
    for i, entry in enumerate(entries):
        ip = entry.get("ip") or ""
        address = names.parse_ip(ip)
        if address is None:
            faults.each(f"status.{field}[{i}]", ip, names.is_ip(ip))
        else:
            families.append(address.version)
        if ip in seen:
            faults.duplicate(f"status.{field}[{i}]", entry)
        seen.add(ip)
    if len(set(families)) != len(families):
        faults.invalid(f"status.{field}", entries, "may specify no more than one IP for each IP family")


def _merge_label_keys(spec: Object, pod_labels: dict[str, str]) -> None:
    """Turns matchLabelKeys and mismatchLabelKeys into requirements of the term's labelSelector (KEP-3633, KEP-3243)."""
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
