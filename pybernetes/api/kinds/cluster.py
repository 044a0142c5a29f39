"""Namespaces, nodes and service accounts.

Source of defaults, rules and texts: ``pkg/apis/core`` and ``pkg/registry/core``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.addresses import cidr_warnings
from pybernetes.api.kinds.amounts import canonical_list
from pybernetes.api.kinds.equality import drop_zero
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_name
from pybernetes.api.kinds.metadata import kube_finalizer
from pybernetes.api.kinds.podspec.resources import quantity_value
from pybernetes.api.kinds.podspec.scheduling import TAINT_EFFECTS, taint_effect
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, is_deleting, name_of

NAME_LABEL = "kubernetes.io/metadata.name"
NAMESPACE_FINALIZER = "kubernetes"
_PREFER_AVOID_PODS = "scheduler.alpha.kubernetes.io/preferAvoidPods"


class NamespaceStrategy(Strategy):
    initial_status: ClassVar[Object | None] = {"phase": "Active"}

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        return names.dns_label(name, prefix=prefix)

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        self._label(obj)
        if not (obj.get("status") or {}).get("phase"):
            obj.setdefault("status", {})["phase"] = "Active"

    @staticmethod
    def _label(obj: Object) -> None:
        name = name_of(obj)
        if name:
            obj.setdefault("metadata", {}).setdefault("labels", {})[NAME_LABEL] = name

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        # A generated name exists only now.
        self._label(obj)
        finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
        if NAMESPACE_FINALIZER not in finalizers:
            finalizers.append(NAMESPACE_FINALIZER)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        # Finalizers change only through the finalize subresource.
        obj.setdefault("spec", {})
        if "finalizers" in (old.get("spec") or {}):
            obj["spec"]["finalizers"] = list(old["spec"]["finalizers"])
        else:
            obj["spec"].pop("finalizers", None)

    def prepare_for_finalize_update(self, obj: Object, old: Object) -> None:
        """The finalize subresource changes only the spec."""
        super().prepare_for_update(obj, old)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        _namespace_finalizers(faults, obj)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return []

    def validate_finalize_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        for i, finalizer in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
            _finalizer(faults, f"spec.finalizers[{i}]", finalizer)
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        phase = (obj.get("status") or {}).get("phase") or ""
        if is_deleting(obj):
            if phase != "Terminating":
                faults.invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")
        elif phase != "Active":
            faults.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")
        return faults

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        # name is an old alias of metadata.name, kept for namespaces only.
        name = name_of(obj)
        return {"metadata.name": name, "name": name, "status.phase": (obj.get("status") or {}).get("phase") or ""}


def _namespace_finalizers(faults: Faults, obj: Object) -> None:
    # Upstream gives no index here; the finalize subresource does.
    for finalizer in (obj.get("spec") or {}).get("finalizers") or ():
        _finalizer(faults, "spec.finalizers", finalizer)


def _finalizer(faults: Faults, path: str, finalizer: str) -> None:
    faults.each(path, finalizer, names.qualified_name(finalizer))
    kube_finalizer(faults, path, finalizer)


class NodeStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        drop_zero(spec, "podCIDR", "podCIDRs", "providerID", "unschedulable", "taints")
        status = obj.get("status")
        if status:
            for field in ("capacity", "allocatable"):
                if status.get(field):
                    status[field] = canonical_list(status[field])
            if status.get("capacity") and status.get("allocatable") is None:
                status["allocatable"] = dict(status["capacity"])

    def prepare_for_create(self, obj: Object) -> None:
        # Unlike any other kind's, a node's status may come with its creation: kubelets register so.
        _sync_pod_cidrs(obj.get("spec") or {}, {})
        obj.setdefault("status", {})

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        _sync_pod_cidrs(obj.get("spec") or {}, old.get("spec") or {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        if spec.get("taints"):
            node_taints(faults, "metadata.taints", spec["taints"])
        _node_resources(faults, obj)
        cidrs = spec.get("podCIDRs") or []
        families: list[int] = []
        for i, cidr in enumerate(cidrs):
            faults.each(f"spec.podCIDRs[{i}]", cidr, names.cidr(cidr))
            network = names.parse_cidr(cidr)
            if network is not None:
                families.append(network.version)
            if cidr in cidrs[:i]:
                faults.duplicate(f"spec.podCIDRs[{i}]", cidr)
        if len(set(families)) != len(families):
            faults.invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family")
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        _node_resources(faults, obj)
        self._addresses(faults, obj)
        if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
            faults.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
        if before.get("providerID") and spec.get("providerID") != before["providerID"]:
            faults.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
        if spec.get("configSource") is not None:
            _config_source(faults, "spec.configSource", spec["configSource"], in_status=False)
        _config_status(faults, (obj.get("status") or {}).get("config") or {})
        if spec.get("taints"):
            node_taints(faults, "metadata.taints", spec["taints"])
        if (spec.get("externalID") or "") != (before.get("externalID") or ""):
            faults.forbidden("spec.externalID", "may not be updated")
        return faults

    @staticmethod
    def _addresses(faults: Faults, obj: Object) -> None:
        addresses = (obj.get("status") or {}).get("addresses") or []
        seen: set[tuple[str, str]] = set()
        for i, address in enumerate(addresses):
            key = (address.get("type") or "", address.get("address") or "")
            if key in seen:
                faults.duplicate(f"status.addresses[{i}]", address)
            seen.add(key)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        _node_resources(faults, obj)
        self._addresses(faults, obj)
        _config_status(faults, (obj.get("status") or {}).get("config") or {})
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec, annotations = obj.get("spec") or {}, annotations_of(obj)
        out = []
        if spec.get("configSource") is not None:
            out.append(
                "spec.configSource: the feature is no longer supported by kubelet; use a configuration file instead"
            )
        if old is None and spec.get("externalID"):
            out.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        if _PREFER_AVOID_PODS in annotations:
            out.append(f'metadata.annotations[{_PREFER_AVOID_PODS}]: deprecated in v1.20+; use "taints" field instead')
        for i, cidr in enumerate(spec.get("podCIDRs") or ()):
            out.extend(cidr_warnings(f"spec.podCIDRs[{i}]", cidr))
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        unschedulable = (obj.get("spec") or {}).get("unschedulable")
        return {"metadata.name": name_of(obj), "spec.unschedulable": "true" if unschedulable else "false"}


def _sync_pod_cidrs(spec: Object, old: Object) -> None:
    """Keeps podCIDR and podCIDRs in step, whichever of the two a client wrote."""
    one, many = spec.get("podCIDR") or "", spec.get("podCIDRs") or []
    if one and (not many or (one != old.get("podCIDR") and many == old.get("podCIDRs"))):
        spec["podCIDRs"] = [one, *many[1:]]
    elif many and many[0] != one:
        spec["podCIDR"] = many[0]


def node_taints(faults: Faults, path: str, taints: list[Object]) -> None:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        at = f"{path}[{i}]"
        key, value, effect = taint.get("key") or "", taint.get("value") or "", taint.get("effect") or ""
        label_name(faults, f"{at}.key", key)
        messages = names.label_value(value)
        if messages:
            faults.invalid(f"{at}.value", value, ";".join(messages))
        if not effect:
            faults.required(f"{at}.effect")
        elif effect not in TAINT_EFFECTS:
            taint_effect(faults, f"{at}.effect", effect)
        if (key, effect) in seen:
            faults.duplicate(at, taint, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def _node_resources(faults: Faults, obj: Object) -> None:
    status = obj.get("status") or {}
    for field in ("capacity", "allocatable"):
        for name, value in (status.get(field) or {}).items():
            quantity_value(faults, f"status.{field}.{name}", name, value)


def _config_status(faults: Faults, config: Object) -> None:
    for name in ("assigned", "active", "lastKnownGood"):
        if config.get(name) is not None:
            _config_source(faults, f"status.config.{name}", config[name], in_status=True)


def _config_source(faults: Faults, path: str, source: Object, *, in_status: bool) -> None:
    """Dynamic kubelet configuration, which no kubelet reads any more; the field is kept, and judged."""
    reference = source.get("configMap")
    if reference is None:
        faults.invalid(path, source, "exactly one reference subfield must be non-nil")
        return
    at = f"{path}.configMap"
    for name in ("uid", "resourceVersion"):
        if in_status and not reference.get(name):
            faults.required(f"{at}.{name}", f"{name} must be set in status")
        elif not in_status and reference.get(name):
            faults.forbidden(f"{at}.{name}", f"{name} must not be set in spec")
    for name, check in (
        ("namespace", names.dns_label), ("name", names.dns_subdomain), ("kubeletConfigKey", names.config_map_key),
    ):  # fmt: skip
        value = reference.get(name) or ""
        if not value:
            faults.required(f"{at}.{name}", f"{name} must be set")
        else:
            faults.each(f"{at}.{name}", value, check(value))


class ServiceAccountStrategy(Strategy):
    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        _name_secrets(obj)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        _name_secrets(obj)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if annotations_of(obj).get("kubernetes.io/enforce-mountable-secrets") and (
            old is None or old.get("secrets") != obj.get("secrets")
        ):
            return [
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; "
                "prefer separate namespaces to isolate access to mounted secrets"
            ]
        return []


def _name_secrets(account: Object) -> None:
    """A service account's secrets are its namespace's: of a reference to one only the name is kept."""
    secrets = account.get("secrets")
    if secrets:
        account["secrets"] = [{"name": secret["name"]} if secret.get("name") else {} for secret in secrets]
