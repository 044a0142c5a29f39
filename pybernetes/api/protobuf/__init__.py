"""The API's protobuf form (``application/vnd.kubernetes.protobuf``), for request bodies: kubectl's typed commands send
it since 1.32. Decoded to the same plain objects that JSON yields; answers are always JSON, which such clients take too.

Messages are parsed by protobuf's own library, from descriptors made of ``fields.txt`` when the first body comes. That
file is a table of the interface's facts: one message a line, its fields as ``number:jsonName=type``, with an empty
JSON name for a field whose own fields lie in the parent (Go's embedding). Types: s string, b boolean, i integer,
d double, y bytes, T and M time (seconds and microseconds), Q quantity, I int-or-string, R any JSON, D duration, L a
list of strings, B, A and P a JSON schema or else a boolean, a list of schemas, a list of strings; ``*`` repeated,
``{`` map from string. A scalar with ``!`` is said even where it is zero: it is a pointer in Go, or JSON has it always.
Every other scalar's zero is on the wire whether or not somebody set it, and JSON leaves it out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from pybernetes.api.errors import BadRequest
from pybernetes.api.meta import Object
from pybernetes.api.time import micro_time_text, time_text

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\0"
_FILE = "p8s.proto"
_PACKAGE = "p8s"
_SCHEMA = "apiextensions.v1.JSONSchemaProps"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Proto = descriptor_pb2.FieldDescriptorProto

_SCALARS = {
    "s": _Proto.TYPE_STRING,
    "b": _Proto.TYPE_BOOL,
    "i": _Proto.TYPE_INT64,
    "d": _Proto.TYPE_DOUBLE,
    "y": _Proto.TYPE_BYTES,
}
_SPECIAL: dict[str, tuple[tuple[int, str, str], ...]] = {
    # Name and fields (number, name, type) of the types with a JSON form of their own.
    "T": ((1, "seconds", "i"), (2, "nanos", "i")),
    "M": ((1, "seconds", "i"), (2, "nanos", "i")),
    "Q": ((1, "string", "s"),),
    "I": ((1, "type", "i"), (2, "intVal", "i"), (3, "strVal", "s")),
    "R": ((1, "raw", "y"),),
    "D": ((1, "duration", "i"),),
    "L": ((1, "items", "*s"),),
    "B": ((1, "allows", "b"), (2, "schema", _SCHEMA)),
    "A": ((1, "schema", _SCHEMA), (2, "schemas", f"*{_SCHEMA}")),
    "P": ((1, "schema", _SCHEMA), (2, "property", "*s")),
    "TypeMeta": ((1, "apiVersion", "s"), (2, "kind", "s")),
    "Unknown": ((1, "typeMeta", "TypeMeta"), (2, "raw", "y"), (3, "contentEncoding", "s"), (4, "contentType", "s")),
}


@dataclass(frozen=True, slots=True)
class _Field:
    json_name: str
    """Empty for an embedded message."""
    type: str
    repeated: bool = False
    map: bool = False
    zero_is_said: bool = False


_Fields = dict[int, _Field]


def _field(number_name: str, type_: str) -> tuple[int, _Field]:
    number, _, name = number_name.partition(":")
    if type_[0] == "*":
        return int(number), _Field(name, type_[1:], repeated=True)
    if type_[0] == "{":
        return int(number), _Field(name, type_[1:], map=True)
    return int(number), _Field(name, type_.rstrip("!"), zero_is_said=type_[-1] == "!")


@lru_cache(maxsize=1)
def _table() -> dict[str, _Fields]:
    found: dict[str, _Fields] = {
        name: dict(_field(f"{number}:{field}", type_) for number, field, type_ in fields)
        for name, fields in _SPECIAL.items()
    }
    for line in resources.files(__name__).joinpath("fields.txt").read_text().splitlines():
        name, *fields = line.split(" ")
        pairs = (f.partition("=") for f in fields if f)
        found[name] = dict(_field(left, right) for left, _, right in pairs)
    return found


def _message_name(name: str) -> str:
    return name.replace(".", "_").replace("/", "__").replace("-", "_")


@lru_cache(maxsize=1)
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto2")
    for name, fields in _table().items():
        message = file.message_type.add(name=_message_name(name))
        for number, field in fields.items():
            proto = message.field.add(name=f"f{number}", number=number)
            proto.label = _Proto.LABEL_REPEATED if field.repeated or field.map else _Proto.LABEL_OPTIONAL
            if not field.map:
                _set_type(proto, field.type)
                continue
            entry = message.nested_type.add(name=f"F{number}Entry")
            entry.options.map_entry = True
            key = entry.field.add(name="key", number=1, label=_Proto.LABEL_OPTIONAL)
            key.type = _Proto.TYPE_STRING
            value = entry.field.add(name="value", number=2, label=_Proto.LABEL_OPTIONAL)
            _set_type(value, field.type)
            proto.type = _Proto.TYPE_MESSAGE
            proto.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _set_type(proto: Any, type_: str) -> None:
    scalar = _SCALARS.get(type_)
    if scalar is not None:
        proto.type = scalar
    else:
        proto.type = _Proto.TYPE_MESSAGE
        proto.type_name = f".{_PACKAGE}.{_message_name(type_)}"


def _parse(name: str, data: bytes) -> Message:
    descriptor = _pool().FindMessageTypeByName(f"{_PACKAGE}.{_message_name(name)}")
    message = message_factory.GetMessageClass(descriptor)()
    message.ParseFromString(data)
    return message


# ---- to plain objects -------------------------------------------------------------------------------------------


def _time(message: Any, write: Callable[[datetime], str]) -> str | None:
    """Go's zero time is an empty message."""
    if not message.HasField("f1"):
        return None
    try:
        return write(_EPOCH + timedelta(seconds=message.f1, microseconds=message.f2 // 1000))
    except OverflowError as e:
        raise BadRequest(f"unable to decode the protobuf body: {e}") from e


def _schema(message: Any) -> Object:
    return _object(_SCHEMA, message)


def _any(message: Any) -> Any:
    return orjson.loads(message.f1) if message.f1 else None


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "s": lambda v: v,
    "b": lambda v: v,
    "i": lambda v: v,
    "d": lambda v: int(v) if v.is_integer() else v,
    "y": lambda v: base64.b64encode(v).decode(),
    "T": lambda m: _time(m, time_text),
    "M": lambda m: _time(m, micro_time_text),
    "Q": lambda m: m.f1,
    "I": lambda m: m.f3 if m.f1 == 1 else m.f2,
    "R": _any,
    "D": lambda m: f"{m.f1 / 1e9:g}s",
    "L": lambda m: list(m.f1),
    "B": lambda m: _schema(m.f2) if m.HasField("f2") else m.f1,
    "A": lambda m: [_schema(each) for each in m.f2] or _schema(m.f1),
    "P": lambda m: list(m.f2) or _schema(m.f1),
}


def _convert(type_: str, value: Any) -> Any:
    convert = _CONVERT.get(type_)
    return convert(value) if convert is not None else _object(type_, value)


def _object(name: str, message: Message) -> Object:
    out: Object = {}
    fields = _table()[name]
    for descriptor, value in message.ListFields():
        field = fields[descriptor.number]
        if field.map:
            out[field.json_name] = {k: _convert(field.type, value[k]) for k in value}
        elif field.repeated:
            out[field.json_name] = [_convert(field.type, v) for v in value]
        elif not field.json_name:
            out.update(_object(field.type, value))
        elif field.type in _SCALARS:
            if value or field.zero_is_said:
                out[field.json_name] = _convert(field.type, value)
        else:
            out[field.json_name] = _convert(field.type, value)
    return out


@lru_cache(maxsize=1024)
def _message_of(api_version: str, kind: str) -> str | None:
    """The table's name for a kind. DeleteOptions and Scale-like kinds travel under their client's version."""
    if kind == "DeleteOptions":
        return "meta.v1.DeleteOptions"
    group, sep, version = api_version.rpartition("/")
    package = group.split(".")[0] if sep else "core"
    name = f"{package}.{version}.{kind}"
    return name if name in _table() else None


def decode(body: bytes, default_api_version: str, default_kind: str) -> Object:
    """The object in an enveloped body, with its apiVersion and kind; those given are for a body that names none.

    Raises `BadRequest`.
    """
    if not body.startswith(_MAGIC):
        raise BadRequest("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        unknown: Any = _parse("Unknown", body[len(_MAGIC) :])
        api_version = unknown.f1.f1 or default_api_version
        kind = unknown.f1.f2 or default_kind
        name = _message_of(api_version, kind)
        if name is None:
            raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}"')
        obj = _object(name, _parse(name, unknown.f2))
    except (DecodeError, orjson.JSONDecodeError, UnicodeDecodeError) as e:
        raise BadRequest(f"unable to decode the protobuf body: {e}") from e
    return {"kind": kind, "apiVersion": api_version, **obj}
