"""The types that expressions have beyond JSON's, as protobuf messages: what the runtime can carry.

`Types` holds one descriptor pool with them: ``kubernetes.Quantity`` and its siblings, the typed ``request`` variable,
and for mutations ``JSONPatch`` and the ``Object`` types that an expression names.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

_FIELD = descriptor_pb2.FieldDescriptorProto
_STRING, _BOOL, _INT = _FIELD.TYPE_STRING, _FIELD.TYPE_BOOL, _FIELD.TYPE_INT64
_VALUE = ".google.protobuf.Value"
_ANY = ".google.protobuf.Any"
_IMPORTS = ("google/protobuf/struct.proto", "google/protobuf/any.proto", "google/protobuf/timestamp.proto")

_KUBERNETES: dict[str, dict[str, Any]] = {
    "Quantity": {"nano": _STRING},
    "URL": {"text": _STRING},
    "Semver": {"text": _STRING},
    "NamedFormat": {"text": _STRING},
    "GroupVersionKind": {"group": _STRING, "version": _STRING, "kind": _STRING},
    "GroupVersionResource": {"group": _STRING, "version": _STRING, "resource": _STRING},
    "UserInfo": {"username": _STRING, "uid": _STRING, "groups": [_STRING], "extra": {"": ".google.protobuf.ListValue"}},
    "AdmissionRequest": {
        "kind": ".kubernetes.GroupVersionKind",
        "resource": ".kubernetes.GroupVersionResource",
        "subResource": _STRING,
        "requestKind": ".kubernetes.GroupVersionKind",
        "requestResource": ".kubernetes.GroupVersionResource",
        "requestSubResource": _STRING,
        "name": _STRING,
        "namespace": _STRING,
        "operation": _STRING,
        "userInfo": ".kubernetes.UserInfo",
        "dryRun": _BOOL,
        "options": _VALUE,
    },
}
_NET: dict[str, dict[str, Any]] = {"IP": {"text": _STRING}, "CIDR": {"text": _STRING}}
_CHECK = {
    "user": _STRING,
    "groups": [_STRING],
    "path": _STRING,
    "group": _STRING,
    "resource": _STRING,
    "subresource": _STRING,
    "namespace": _STRING,
    "name": _STRING,
    "fieldSelector": _STRING,
    "labelSelector": _STRING,
}
_AUTHORIZATION: dict[str, dict[str, Any]] = {
    "Authorizer": _CHECK,
    "PathCheck": _CHECK,
    "GroupCheck": _CHECK,
    "ResourceCheck": _CHECK,
    "Decision": {"allowed": _BOOL, "reason": _STRING, "error": _STRING},
}
_JSON_PATCH = {"op": _STRING, "path": _STRING, "from": _STRING, "value": _ANY}


def _add(file: descriptor_pb2.FileDescriptorProto, name: str, fields: dict[str, Any]) -> None:
    message = file.message_type.add(name=name)
    for number, (field_name, kind) in enumerate(fields.items(), 1):
        field = message.field.add(name=field_name, number=number, label=_FIELD.LABEL_OPTIONAL)
        if isinstance(kind, list):
            field.label, kind = _FIELD.LABEL_REPEATED, kind[0]
        if isinstance(kind, dict):
            # A map from strings.
            entry = message.nested_type.add(name=f"{field_name[0].upper()}{field_name[1:]}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_STRING, label=_FIELD.LABEL_OPTIONAL)
            value = entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL)
            if isinstance(kind[""], str):
                value.type, value.type_name = _FIELD.TYPE_MESSAGE, kind[""]
            else:
                value.type = kind[""]
            field.label, kind = _FIELD.LABEL_REPEATED, f".{file.package}.{name}.{entry.name}"
        if isinstance(kind, str):
            field.type, field.type_name = _FIELD.TYPE_MESSAGE, kind
        else:
            field.type = kind


def _file(name: str, package: str, messages: dict[str, dict[str, Any]]) -> bytes:
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=_IMPORTS)
    for message, fields in messages.items():
        _add(file, message, fields)
    return file.SerializeToString()


class Types:
    """A descriptor pool with all types; with `objects`, also those of a mutation, each with all `fields`; with
    `schema`, also those messages, in the package ``schema``."""

    def __init__(
        self, objects: Iterable[str] = (), fields: Iterable[str] = (), schema: dict[str, dict[str, Any]] | None = None
    ) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        for module in (any_pb2, struct_pb2, wrappers_pb2, timestamp_pb2, duration_pb2):
            self.pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        self.pool.AddSerializedFile(_file("kubernetes.proto", "kubernetes", _KUBERNETES))
        self.pool.AddSerializedFile(_file("net.proto", "net", _NET))
        self.pool.AddSerializedFile(_file("authorization.proto", "kubernetes.authorization", _AUTHORIZATION))
        # Any JSON is taken for a field: whether it fits, the schema says once the patch is applied.
        free = dict.fromkeys(sorted(fields), _VALUE)
        mutation: dict[str, dict[str, Any]] = {
            "JSONPatch": _JSON_PATCH,
            **dict.fromkeys(sorted({"Object_", *objects}), free),
        }
        self.pool.AddSerializedFile(_file("mutation.proto", "", mutation))
        if schema:
            self.pool.AddSerializedFile(_file("schema.proto", "schema", schema))
        self._classes: dict[str, Any] = {}

    def new(self, name: str, /, **fields: Any) -> Any:
        """A message of the type."""
        found = self._classes.get(name)
        if found is None:
            found = self._classes[name] = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))
        return found(**fields)


@lru_cache(maxsize=1)
def scalar_types() -> dict[str, Any]:
    """The schema's scalars as fields of messages."""
    time = ".google.protobuf.Timestamp"
    return {
        "string": _STRING, "int32": _INT, "int64": _INT, "number": _FIELD.TYPE_DOUBLE, "boolean": _BOOL,
        "bytes": _FIELD.TYPE_BYTES, "time": time, "microtime": time, "any": _VALUE,
    }  # fmt: skip


@lru_cache(maxsize=1)
def common_types() -> Types:
    """Those of everything but mutations."""
    return Types()
