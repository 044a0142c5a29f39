"""CustomResourceDefinitions and APIServices.

A definition's schemas are checked here only in their structure; what they mean belongs to the API server.
Source of defaults, rules and texts: ``k8s.io/apiextensions-apiserver`` and ``k8s.io/kube-aggregator``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.equality import json_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.kinds.webhookclients import client_config, review_versions
from pybernetes.api.meta import Object, annotations_of, get_condition, name_of

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_APPROVED = "api-approved.kubernetes.io"
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
_MAX_SCHEMA_DEPTH = 256


class CustomResourceDefinitionStrategy(Strategy):
    allow_unconditional_update = False
    has_generation = True

    def raises_generation(self, obj: Object, old: Object) -> bool:
        return not json_equal(obj.get("spec"), old.get("spec"))

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        accepted = spec.setdefault("names", {})
        kind = accepted.get("kind") or ""
        if not accepted.get("singular") and kind:
            accepted["singular"] = kind.lower()
        if not accepted.get("listKind") and kind:
            accepted["listKind"] = kind + "List"
        conversion = spec.setdefault("conversion", {})
        if not conversion.get("strategy"):
            conversion["strategy"] = "None"
        service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []}
        stored = [v.get("name") for v in (obj.get("spec") or {}).get("versions") or () if v.get("storage")]
        obj["status"]["storedVersions"] = [n for n in stored if n]
        # Its instances must go before the definition does; the API server takes this finalizer off.
        finalizers = obj.setdefault("metadata", {}).setdefault("finalizers", [])
        if CLEANUP_FINALIZER not in finalizers:
            finalizers.append(CLEANUP_FINALIZER)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        status = obj.get("status")
        if status is None:
            return
        stored = status.setdefault("storedVersions", [])
        for version in (obj.get("spec") or {}).get("versions") or ():
            if version.get("storage") and version.get("name") not in stored:
                stored.append(version.get("name"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        group, accepted = spec.get("group") or "", spec.get("names") or {}
        plural = accepted.get("plural") or ""
        if name_of(obj) != f"{plural}.{group}":
            faults.invalid("metadata.name", name_of(obj), 'must be spec.names.plural+"."+spec.group')
        if not group:
            faults.required("spec.group")
        else:
            faults.each("spec.group", group, names.dns_subdomain(group))
            if len(group.split(".")) < 2:
                faults.invalid("spec.group", group, "should be a domain with at least one dot")
        if group.endswith((".k8s.io", ".kubernetes.io")) or group in ("k8s.io", "kubernetes.io"):
            self._approval(faults, obj)
        if spec.get("scope") not in ("Cluster", "Namespaced"):
            faults.one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
        if spec.get("preserveUnknownFields"):
            faults.invalid(
                "spec.preserveUnknownFields",
                True,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema "
                "instead",
            )
        _names(faults, "spec.names", accepted)
        _versions(faults, spec.get("versions") or [])
        _conversion(faults, spec.get("conversion") or {})
        return faults

    @staticmethod
    def _approval(faults: Faults, obj: Object) -> None:
        value = annotations_of(obj).get(_APPROVED)
        at = f"metadata.annotations[{_APPROVED}]"
        if not value:
            faults.required(at, "protected groups must have approval annotation \"api-approved.kubernetes.io\", "
                                "see https://github.com/kubernetes/enhancements/pull/1111")  # fmt: skip
        elif not value.startswith(("https://", "http://", "unapproved")):
            faults.invalid(
                at,
                value,
                'protected groups must have approval annotation "api-approved.kubernetes.io" with either a URL or a '
                'reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111',
            )

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults.immutable("spec.group", spec.get("group"), before.get("group"))
        faults.immutable(
            "spec.names.plural", (spec.get("names") or {}).get("plural"), (before.get("names") or {}).get("plural")
        )
        established = get_condition(old, "Established")
        if established is not None and established.get("status") == "True":
            faults.immutable("spec.scope", spec.get("scope"), before.get("scope"))
            faults.immutable(
                "spec.names.kind", (spec.get("names") or {}).get("kind"), (before.get("names") or {}).get("kind")
            )
        served = {v.get("name") for v in spec.get("versions") or ()}
        for i, name in enumerate((old.get("status") or {}).get("storedVersions") or ()):
            if name not in served:
                faults.invalid(
                    f"status.storedVersions[{i}]", name, f"missing from spec.versions; {name} was previously a storage "
                    f"version, and must remain in spec.versions until a storage migration ensures no data remains "
                    f"persisted in {name} and removes {name} from status.storedVersions",
                )  # fmt: skip
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        stored = (obj.get("status") or {}).get("storedVersions") or []
        versions = {v.get("name"): v for v in (obj.get("spec") or {}).get("versions") or ()}
        if not stored:
            faults.invalid("status.storedVersions", stored, "must have at least one stored version")
        for i, name in enumerate(stored):
            if name not in versions:
                faults.invalid(
                    f"status.storedVersions[{i}]",
                    name,
                    f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                    f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                    f"{name} from status.storedVersions",
                )
        return faults


def _names(faults: Faults, path: str, accepted: Object) -> None:
    for field, required in (("plural", True), ("singular", False), ("kind", True), ("listKind", True)):
        value = accepted.get(field) or ""
        if not value:
            if required:
                faults.required(f"{path}.{field}")
            continue
        # Kinds are checked as the lower-case names they become.
        messages = names.dns1035_label(value.lower() if "ind" in field else value)
        if messages:
            prefix = "may have mixed case, but should otherwise match: " if "ind" in field else ""
            faults.invalid(f"{path}.{field}", value, prefix + ",".join(messages))
    for field in ("shortNames", "categories"):
        for i, value in enumerate(accepted.get(field) or ()):
            messages = names.dns1035_label(value)
            if messages:
                faults.invalid(f"{path}.{field}[{i}]", value, ",".join(messages))
    if accepted.get("kind") and accepted.get("kind") == accepted.get("listKind"):
        faults.invalid(f"{path}.listKind", accepted["listKind"], "kind and listKind may not be the same")


def _versions(faults: Faults, versions: list[Object]) -> None:
    if not versions:
        faults.required("spec.versions", "must have at least one version")
        return
    seen: set[str] = set()
    storage = 0
    for i, version in enumerate(versions):
        at, name = f"spec.versions[{i}]", version.get("name") or ""
        if name in seen:
            faults.invalid(f"{at}.name", name, "must be unique")
        seen.add(name)
        messages = names.dns1035_label(name)
        if messages:
            faults.invalid(f"{at}.name", name, ",".join(messages))
        storage += bool(version.get("storage"))
        warning = version.get("deprecationWarning")
        if warning is not None and not version.get("deprecated"):
            faults.invalid(f"{at}.deprecationWarning", warning, "can only be set for deprecated versions")
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            faults.required(f"{at}.schema.openAPIV3Schema", "schemas are required")
        else:
            if schema.get("type") != "object":
                if not schema.get("type"):
                    faults.required(f"{at}.schema.openAPIV3Schema.type", "must not be empty at the root")
                else:
                    faults.invalid(f"{at}.schema.openAPIV3Schema.type", schema["type"], "must be object at the root")
            structural_schema(faults, f"{at}.schema.openAPIV3Schema", schema)
        _columns(faults, f"{at}.additionalPrinterColumns", version.get("additionalPrinterColumns") or [])
        scale = (version.get("subresources") or {}).get("scale")
        if scale is not None:
            _scale(faults, f"{at}.subresources.scale", scale)
        for j, field in enumerate(version.get("selectableFields") or ()):
            if not field.get("jsonPath"):
                faults.required(f"{at}.selectableFields[{j}].jsonPath")
    if storage != 1:
        faults.invalid("spec.versions", versions, "must have exactly one version marked as storage version")


def _columns(faults: Faults, path: str, columns: list[Object]) -> None:
    for i, column in enumerate(columns):
        at = f"{path}[{i}]"
        if not column.get("name"):
            faults.required(f"{at}.name")
        kind = column.get("type")
        if not kind:
            faults.required(f"{at}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
        elif kind not in _COLUMN_TYPES:
            faults.invalid(f"{at}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
        if column.get("format") and column["format"] not in _COLUMN_FORMATS:
            faults.invalid(f"{at}.format", column["format"], f"must be one of {','.join(sorted(_COLUMN_FORMATS))}")
        if not column.get("jsonPath"):
            faults.required(f"{at}.JSONPath")


def _scale(faults: Faults, path: str, scale: Object) -> None:
    for field, root, required in (
        ("specReplicasPath", ".spec.", True),
        ("statusReplicasPath", ".status.", True),
        ("labelSelectorPath", "", False),
    ):
        value = scale.get(field) or ""
        if not value:
            if required:
                faults.required(f"{path}.{field}")
        elif not value.startswith(root or (".spec.", ".status.")):
            faults.invalid(
                f"{path}.{field}", value, f"should be a json path under {root.rstrip('.') or '.spec or .status'}"
            )


def _conversion(faults: Faults, conversion: Object) -> None:
    # Paths are those of the internal form, where the webhook's fields stand in the conversion itself.
    at, kind, webhook = "spec.conversion", conversion.get("strategy"), conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    faults.one_of(f"{at}.strategy", kind, ("None", "Webhook"))
    if kind == "Webhook":
        if config is None:
            faults.required(f"{at}.webhookClientConfig", "required when strategy is set to Webhook")
        else:
            client_config(faults, f"{at}.webhookClientConfig", config)
        review_versions(faults, f"{at}.conversionReviewVersions", versions)
        return
    for field, value in (("webhookClientConfig", config is not None), ("conversionReviewVersions", versions)):
        if value:
            faults.forbidden(f"{at}.{field}", "should not be set when strategy is not set to Webhook")


def structural_schema(faults: Faults, path: str, schema: Any, *, depth: int = 0) -> None:
    """The rules of structural schemas (KEP-20190425) that a definition's schema must keep: a type everywhere."""
    if not isinstance(schema, dict) or depth > _MAX_SCHEMA_DEPTH:
        return
    kind = schema.get("type") or ""
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if not kind:
        if not free and depth:
            faults.required(f"{path}.type", "must not be empty for specified object fields")
    elif kind not in _TYPES:
        faults.not_supported(f"{path}.type", kind, _TYPES)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        faults.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    if schema.get("properties") is not None and isinstance(schema.get("additionalProperties"), dict):
        faults.forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    for forbidden in ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems"):
        if schema.get(forbidden) is not None:
            faults.forbidden(f"{path}.{forbidden}", f"{forbidden} is not supported")
    if schema.get("uniqueItems"):
        faults.forbidden(
            f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    if kind == "array":
        if schema.get("items") is None:
            faults.required(f"{path}.items", "must be specified")
        keys, list_type = schema.get("x-kubernetes-list-map-keys"), schema.get("x-kubernetes-list-type")
        if list_type is not None and list_type not in ("atomic", "map", "set"):
            faults.not_supported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "set", "map"))
        if list_type == "map" and not keys:
            faults.required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
    for name, child in (schema.get("properties") or {}).items():
        structural_schema(faults, f"{path}.properties[{name}]", child, depth=depth + 1)
    structural_schema(faults, f"{path}.items", schema.get("items"), depth=depth + 1)
    structural_schema(faults, f"{path}.additionalProperties", schema.get("additionalProperties"), depth=depth + 1)


class APIServiceStrategy(Strategy):
    allow_unconditional_update = False
    initial_status: ClassVar[Object | None] = {}

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        return names.path_segment_name(name, prefix=prefix)

    def default(self, obj: Object) -> None:
        service = obj.setdefault("spec", {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        group, version, service = spec.get("group") or "", spec.get("version") or "", spec.get("service")
        wanted = f"{version}.{group}"
        if name_of(obj) != wanted:
            faults.invalid("metadata.name", name_of(obj), f'must be `spec.version+"."+spec.group`: "{wanted}"')
        if group:
            faults.each("spec.group", group, names.dns_subdomain(group))
        elif version != "v1":
            faults.required("spec.group", "only v1 may have an empty group and it better be legacy kube")
        faults.each("spec.version", version, names.dns1035_label(version))
        for field, low, high in (("groupPriorityMinimum", 1, 20000), ("versionPriority", 1, 1000)):
            value = spec.get(field) or 0
            if not low <= value <= high:
                faults.invalid(f"spec.{field}", value, f"must be positive and less than {high}")
        if service is None:
            if bundle := spec.get("caBundle"):
                size = len(bundle) * 3 // 4 - bundle[-2:].count("=")
                faults.invalid("spec.caBundle", f"{size} bytes", "local APIServices may not have a caBundle")
            if spec.get("insecureSkipTLSVerify"):
                at, text = "spec.insecureSkipTLSVerify", "local APIServices may not have insecureSkipTLSVerify"
                faults.invalid(at, True, text)
            return faults
        for field in ("namespace", "name"):
            if not service.get(field):
                faults.required(f"spec.service.{field}")
        port = service.get("port") or 0
        if messages := names.port_number(port):
            faults.invalid("spec.service.port", port, "port is not valid: " + ",".join(messages))
        if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
            faults.invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults, states = Faults(), ("True", "False", "Unknown")
        for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
            if condition.get("status") not in states:
                faults.not_supported(f"status.conditions[{i}].status", condition.get("status") or "", states)
        return faults
