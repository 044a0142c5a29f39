"""ConfigMaps and Secrets.

Source of defaults, rules and texts: ``pkg/apis/core``.
"""

from __future__ import annotations

import base64
import binascii

import orjson

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, name_of, namespace_of
from pybernetes.api.schema import jsonerror

MAX_BYTES = 1024 * 1024
_IMMUTABLE = "field is immutable when `immutable` is set"
SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_REDACTED = "<secret contents redacted>"


def _immutable_update(faults: Faults, obj: Object, old: Object, fields: tuple[str, ...]) -> None:
    if not old.get("immutable"):
        return
    if not obj.get("immutable"):
        faults.forbidden("immutable", _IMMUTABLE)
    for field in fields:
        if (obj.get(field) or {}) != (old.get(field) or {}):
            faults.forbidden(field, _IMMUTABLE)


def _decoded_size(text: str) -> int:
    """Bytes that a base64 text stands for, without decoding it."""
    return len(text) * 3 // 4 - text[-2:].count("=")


class ConfigMapStrategy(Strategy):
    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        total = 0
        for key, value in data.items():
            faults.each(f"data[{key}]", key, names.config_map_key(key))
            if key in binary:
                faults.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
            total += len(value) if value.isascii() else len(value.encode())
        for key, value in binary.items():
            faults.each(f"binaryData[{key}]", key, names.config_map_key(key))
            total += _decoded_size(value)
        if total > MAX_BYTES:
            # The error is about the whole object: its path is empty.
            faults.too_long("", MAX_BYTES)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        _immutable_update(faults, obj, old, ("data", "binaryData"))
        faults.extend(self.validate_create(obj))
        return faults


_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class SecretStrategy(Strategy):
    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        # stringData is write-only: it is folded into data, and wins there.
        strings = obj.pop("stringData", None)
        if strings:
            data = obj.get("data")
            if data is None:
                data = obj["data"] = {}
            for key, value in strings.items():
                data[key] = base64.b64encode(value.encode()).decode()

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        if not obj.get("type") and old.get("type"):
            obj["type"] = old["type"]

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        data, kind = obj.get("data") or {}, obj.get("type") or ""
        total = 0
        for key, value in data.items():
            faults.each(f"data[{key}]", key, names.config_map_key(key))
            total += _decoded_size(value or "")
        if total > MAX_BYTES:
            faults.too_long("data", MAX_BYTES)
        if kind == "kubernetes.io/service-account-token":
            if not annotations_of(obj).get(SERVICE_ACCOUNT_NAME):
                faults.required(f"metadata.annotations[{SERVICE_ACCOUNT_NAME}]")
        elif kind == "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                faults.required("data[username]")
                faults.required("data[password]")
        elif kind == "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                faults.required("data[ssh-privatekey]")
        else:
            for key in _REQUIRED_KEYS.get(kind, ()):
                if key not in data:
                    faults.required(f"data[{key}]")
                elif key.startswith(".docker"):
                    _json_object(faults, f"data[{key}]", data[key])
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        faults.immutable("type", obj.get("type"), old.get("type"))
        _immutable_update(faults, obj, old, ("data",))
        faults.extend(self.validate_create(obj))
        return faults

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        return {
            "metadata.name": name_of(obj),
            "metadata.namespace": namespace_of(obj),
            "type": obj.get("type") or "",
        }


def _json_object(faults: Faults, path: str, encoded: str) -> None:
    try:
        text = base64.b64decode(encoded or "")
    except binascii.Error:
        text = b""
    try:
        value = orjson.loads(text.decode(errors="replace"))
    except orjson.JSONDecodeError:
        if wrong := jsonerror.describe(text):
            faults.invalid(path, _REDACTED, wrong)
        return
    # A null decodes into any map.
    if value is not None and not isinstance(value, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(value), "number")
        faults.invalid(
            path, _REDACTED, f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
