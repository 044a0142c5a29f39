"""Compiled types: what a field holds, how lists and maps merge. Built from the OpenAPI definitions, once a type and
process; shared, read-only, and recursive where the types are (a CRD's JSON schema).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pybernetes.api.resources import Resource
from pybernetes.api.schema import source
from pybernetes.api.schema.structs import is_struct, is_time_struct

ScalarKind = Literal[
    "string", "int32", "int64", "number", "boolean", "time", "microtime", "quantity", "intorstring", "bytes", "any"
]
ListType = Literal["atomic", "set", "map"]


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A leaf. ``bytes`` is base64 text; ``any`` takes whatever JSON there is and keeps it."""

    kind: ScalarKind

    @property
    def go_name(self) -> str:
        return _GO_NAMES.get(self.kind, self.kind)


@dataclass(slots=True, eq=False)
class MapNode:
    """A map from any string to one type."""

    values: Node
    atomic: bool = False

    @property
    def go_name(self) -> str:
        return "map[string]" + self.values.go_name


@dataclass(slots=True, eq=False)
class ListNode:
    """A list, and how server-side apply (`list_type`, `map_keys`) and strategic merge patch (`merge_key`,
    `patch_strategies`) merge it."""

    items: Node
    list_type: ListType = "atomic"
    map_keys: tuple[str, ...] = ()
    merge_key: str = ""
    patch_strategies: frozenset[str] = frozenset()

    @property
    def go_name(self) -> str:
        return "[]" + self.items.go_name


@dataclass(slots=True, eq=False)
class ObjectNode:
    """A struct with known fields. `name` is the definition's, such as ``io.k8s.api.core.v1.PodSpec``."""

    name: str
    fields: dict[str, Field] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    atomic: bool = False

    @property
    def short_name(self) -> str:
        """``PodSpec``."""
        return self.name.rpartition(".")[2]

    @property
    def go_name(self) -> str:
        """``v1.PodSpec``."""
        return ".".join(self.name.split(".")[-2:])

    def __repr__(self) -> str:
        return f"ObjectNode({self.name})"


@dataclass(frozen=True, slots=True, eq=False)
class UnionNode:
    """A JSON schema, or something simpler in its place: a boolean, a list of schemas, a list of strings."""

    name: str
    object: ObjectNode
    other: Literal["boolean", "schemas", "strings"]

    @property
    def go_name(self) -> str:
        return "v1." + self.name.rpartition(".")[2]


Node = Scalar | MapNode | ListNode | ObjectNode | UnionNode


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field of an `ObjectNode`. `default` is the value that upstream's schema gives an absent one, or None; a
    `struct` is there, empty or null at least, as soon as its object is."""

    name: str
    node: Node
    required: bool = False
    patch_strategies: frozenset[str] = frozenset()
    atomic: bool = False
    default: Any = None
    struct: bool = False


STRING = Scalar("string")
INT32 = Scalar("int32")
INT64 = Scalar("int64")
NUMBER = Scalar("number")
BOOLEAN = Scalar("boolean")
TIME = Scalar("time")
MICRO_TIME = Scalar("microtime")
QUANTITY = Scalar("quantity")
INT_OR_STRING = Scalar("intorstring")
BYTES = Scalar("bytes")
ANY = Scalar("any")

_GO_NAMES = {
    "number": "float64", "boolean": "bool", "time": "v1.Time", "microtime": "v1.MicroTime",
    "quantity": "resource.Quantity", "intorstring": "intstr.IntOrString", "bytes": "[]uint8", "any": "interface {}",
}  # fmt: skip

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_NAMED: dict[str, Scalar] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": INT_OR_STRING,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": ANY,
    _META + "Time": TIME,
    _META + "MicroTime": MICRO_TIME,
    _META + "FieldsV1": ANY,
    _META + "Patch": ANY,
    _CRD + "JSON": ANY,
}
_UNIONS: dict[str, Literal["boolean", "schemas", "strings"]] = {
    _CRD + "JSONSchemaPropsOrBool": "boolean",
    _CRD + "JSONSchemaPropsOrArray": "schemas",
    _CRD + "JSONSchemaPropsOrStringArray": "strings",
}
_INTEGERS = {"int32": INT32, "int64": INT64}
_PLAIN = {"string": STRING, "boolean": BOOLEAN, "number": NUMBER}

DEFAULTS: dict[tuple[str, str], Any] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ISCSIVolumeSource", "iscsiInterface"): "default",
    ("io.k8s.api.core.v1.ISCSIPersistentVolumeSource", "iscsiInterface"): "default",
    ("io.k8s.api.core.v1.RBDVolumeSource", "pool"): "rbd",
    ("io.k8s.api.core.v1.RBDVolumeSource", "user"): "admin",
    ("io.k8s.api.core.v1.RBDVolumeSource", "keyring"): "/etc/ceph/keyring",
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "pool"): "rbd",
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "user"): "admin",
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "keyring"): "/etc/ceph/keyring",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "cachingMode"): "ReadWrite",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "fsType"): "ext4",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "kind"): "Shared",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "readOnly"): False,
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", "storageMode"): "ThinProvisioned",
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", "fsType"): "xfs",
    ("io.k8s.api.core.v1.ScaleIOPersistentVolumeSource", "storageMode"): "ThinProvisioned",
    ("io.k8s.api.core.v1.ScaleIOPersistentVolumeSource", "fsType"): "xfs",
}
"""The ``+default`` markers of upstream's types, which its OpenAPI v3 documents carry and its v2 ones do not."""

_nodes: dict[str, ObjectNode] = {}


def _strategies(schema: dict[str, Any]) -> frozenset[str]:
    text = schema.get("x-kubernetes-patch-strategy")
    return frozenset(text.split(",")) if text else frozenset()


def _compile(schema: dict[str, Any]) -> Node:
    ref = schema.get("$ref")
    if ref is not None:
        name = ref.removeprefix(source.REF)
        if name in _NAMED:
            return _NAMED[name]
        if name in _UNIONS:
            return UnionNode(name, node(_CRD + "JSONSchemaProps"), _UNIONS[name])
        return node(name)
    kind = schema.get("type")
    if kind == "array":
        return ListNode(
            _compile(schema["items"]),
            schema.get("x-kubernetes-list-type", "atomic"),
            tuple(schema.get("x-kubernetes-list-map-keys", ())),
            schema.get("x-kubernetes-patch-merge-key", ""),
            _strategies(schema),
        )
    if kind == "object":
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            return MapNode(_compile(values), schema.get("x-kubernetes-map-type") == "atomic")
        return ANY
    if kind == "integer":
        return _INTEGERS[schema.get("format", "int64")]
    if kind == "string" and schema.get("format") == "byte":
        return BYTES
    return _PLAIN.get(str(kind), ANY)


def node(name: str) -> ObjectNode:
    """The type of a definition, such as ``io.k8s.api.core.v1.Pod``. Raises `KeyError` for an unknown one."""
    found = _nodes.get(name)
    if found is not None:
        return found
    schema = source.structure()[name]
    required = frozenset(schema.get("required", ()))
    found = ObjectNode(name, {}, required, schema.get("x-kubernetes-map-type") == "atomic")
    # Registered before its fields are compiled: a type may contain itself. Complete when `node` returns, and nobody
    # else looks meanwhile, since all of it runs in one go on the event loop's thread or under the import of a caller.
    _nodes[name] = found
    for key, prop in (schema.get("properties") or {}).items():
        below = _compile(prop)
        found.fields[key] = Field(
            key,
            below,
            key in required,
            _strategies(prop),
            prop.get("x-kubernetes-map-type") == "atomic",
            DEFAULTS.get((name, key)),
            (isinstance(below, ObjectNode) and is_struct(name, key))
            or ((below is TIME or below is MICRO_TIME) and is_time_struct(name, key)),
        )
    return found


GroupVersionKind = tuple[str, str, str]


def type_of(what: Resource | GroupVersionKind) -> ObjectNode:
    """The type of a resource's objects, or of a (group, version, kind). Raises `KeyError` for an unknown one."""
    gvk = (what.group, what.version, what.kind) if isinstance(what, Resource) else what
    return node(source.names_by_gvk()[gvk])


def preload(resources: Iterable[Resource]) -> None:
    """Compiles the types of those resources now, so that no request waits for it."""
    for resource in resources:
        type_of(resource)
