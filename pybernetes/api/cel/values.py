"""What expressions evaluate to, as plain JSON."""

from __future__ import annotations

from typing import Any

from google.protobuf import duration_pb2, json_format, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message

from pybernetes.api.cel.messages import Types
from pybernetes.api.cel.source import OBJECT_PREFIX
from pybernetes.api.meta import Object

_WRAPPERS = (
    wrappers_pb2.BoolValue, wrappers_pb2.BytesValue, wrappers_pb2.DoubleValue, wrappers_pb2.FloatValue,
    wrappers_pb2.Int32Value, wrappers_pb2.Int64Value, wrappers_pb2.StringValue, wrappers_pb2.UInt32Value,
    wrappers_pb2.UInt64Value,
)  # fmt: skip

_TEXTS = (duration_pb2.Duration, timestamp_pb2.Timestamp)


def from_struct(value: Any) -> Any:
    """JSON of a ``google.protobuf.Value``, whose numbers are doubles: whole ones are integers again."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: from_struct(inner) for name, inner in value.struct_value.fields.items()}
    if kind == "list_value":
        return [from_struct(inner) for inner in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind in (None, "null_value"):
        return None
    return getattr(value, kind)


def from_object(message: Message) -> Object:
    """JSON of an ``Object`` literal: what it sets, and nothing else."""
    return {field.name: from_struct(value) for field, value in message.ListFields()}


def from_any(packed: Any, types: Types) -> Any:
    """JSON of what a ``JSONPatch`` carries as its value. Raises `TypeError` for what has none."""
    name = packed.TypeName()
    for wrapper in _WRAPPERS:
        if name == wrapper.DESCRIPTOR.full_name:
            inner = wrapper.FromString(packed.value)
            return json_format.MessageToDict(inner) if name.endswith("BytesValue") else inner.value
    if name == "google.protobuf.Struct":
        struct = struct_pb2.Struct.FromString(packed.value)
        return {key: from_struct(value) for key, value in struct.fields.items()}
    if name == "google.protobuf.ListValue":
        return [from_struct(value) for value in struct_pb2.ListValue.FromString(packed.value).values]
    if name == "google.protobuf.Value":
        return from_struct(struct_pb2.Value.FromString(packed.value))
    for text in _TEXTS:
        if name == text.DESCRIPTOR.full_name:
            return json_format.MessageToDict(text.FromString(packed.value))
    if not name.startswith(OBJECT_PREFIX):
        # A request, a quantity, another JSONPatch, ...: expressions have them, JSON does not.
        raise TypeError(f"unsupported conversion from {name.rpartition('.')[2]} to a JSON value")
    message = types.new(name)
    message.ParseFromString(packed.value)
    return from_object(message)


def from_json_patch(message: Any, types: Types) -> Object:
    """An operation of RFC 6902."""
    operation: Object = {"op": message.op, "path": message.path}
    source = getattr(message, "from")
    if source:
        operation["from"] = source
    if message.HasField("value"):
        operation["value"] = from_any(message.value, types)
    return operation
