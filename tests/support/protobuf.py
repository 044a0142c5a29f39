"""An encoder of the API's protobuf form, the reverse of what the server has."""

from __future__ import annotations

import base64
import math
from typing import Any

import orjson
from google.protobuf import message_factory

from pybernetes.api import protobuf
from pybernetes.api.time import parse_time


def message(name: str) -> Any:
    descriptor = protobuf._pool().FindMessageTypeByName(f"p8s.{protobuf._message_name(name)}")
    return message_factory.GetMessageClass(descriptor)()


def fill(target: Any, name: str, obj: dict[str, Any]) -> None:
    for number, field in protobuf._table()[name].items():
        attribute = f"f{number}"
        if not field.json_name:
            fill(getattr(target, attribute), field.type, obj)
        elif field.json_name in obj:
            value = obj[field.json_name]
            if value is None:
                getattr(target, attribute).SetInParent()
            elif field.map:
                for key, inner in value.items():
                    put(getattr(target, attribute), key, field.type, inner, into_map=True)
            elif field.repeated:
                for inner in value:
                    if field.type in protobuf._SCALARS:
                        getattr(target, attribute).append(inner)
                    else:
                        fill_special(getattr(target, attribute).add(), field.type, inner)
            else:
                put(target, attribute, field.type, value)


def put(target: Any, key: str, type_: str, value: Any, *, into_map: bool = False) -> None:
    if type_ in protobuf._SCALARS:
        scalar = base64.b64decode(value) if type_ == "y" else value
        if into_map:
            target[key] = scalar
        else:
            setattr(target, key, scalar)
        return
    inner = target[key] if into_map else getattr(target, key)
    inner.SetInParent()
    fill_special(inner, type_, value)


def fill_special(target: Any, type_: str, value: Any) -> None:
    match type_:
        case "T" | "M":
            seconds = parse_time(value)
            target.f1, target.f2 = math.floor(seconds), round(seconds % 1 * 1e6) * 1000
        case "Q":
            target.f1 = value
        case "I":
            if isinstance(value, str):
                target.f1, target.f3 = 1, value
            else:
                target.f1, target.f2 = 0, value
        case "R":
            target.f1 = orjson.dumps(value)
        case "L":
            target.f1.extend(value)
        case "B":
            if isinstance(value, bool):
                target.f1 = value
            else:
                fill(target.f2, protobuf._SCHEMA, value)
        case "A" | "P":
            if isinstance(value, dict):
                fill(target.f1, protobuf._SCHEMA, value)
            elif type_ == "P":
                target.f2.extend(value)
            else:
                for inner in value:
                    fill(target.f2.add(), protobuf._SCHEMA, inner)
        case _:
            fill(target, type_, value)


def encode(obj: dict[str, Any]) -> bytes:
    name = protobuf._message_of(obj["apiVersion"], obj["kind"])
    assert name is not None
    body = message(name)
    fill(body, name, obj)
    envelope = message("Unknown")
    envelope.f1.f1, envelope.f1.f2 = obj["apiVersion"], obj["kind"]
    envelope.f2 = body.SerializeToString(deterministic=True)  # maps have no order of their own
    return b"k8s\0" + bytes(envelope.SerializeToString())
