"""Checks a parsed body against its type, as Go's JSON decoder does when it fills upstream's structs: types and ranges,
unknown fields, nulls and empty collections that vanish, quantities, times and bytes in canonical form.

Each type is compiled once to closures, since this runs on every write. The result is a new object; only parts whose
type is any JSON are shared with the input. Pure.

Source of texts: ``sigs.k8s.io/json`` and ``k8s.io/apiserver/pkg/endpoints/handlers``.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, cast

import orjson

from pybernetes.api import quantity
from pybernetes.api.errors import BadRequest, Invalid
from pybernetes.api.json_values import has_infinity
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.schema.nodes import (
    GroupVersionKind,
    ListNode,
    MapNode,
    Node,
    ObjectNode,
    Scalar,
    UnionNode,
    type_of,
)
from pybernetes.api.schema.text import Faults, Pairs, warnings_of

FieldValidation = Literal["Strict", "Warn", "Ignore"]

_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)


class DecodeError(ValueError):
    """A value that does not fit its type, or in strict mode unknown and duplicate fields; worded as upstream's."""


class StrictDecodeError(DecodeError):
    """Nothing but unknown and duplicate fields is wrong."""


class _Fault(Exception):
    """A value of the wrong type, on its way up. Each struct it passes adds its field, innermost first."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(found, wanted)
        self.found = found
        self.wanted = wanted
        self.struct = ""
        self.path: list[str] = []

    def text(self) -> str:
        where = f"Go struct field {self.struct}.{'.'.join(reversed(self.path))}" if self.struct else "Go value"
        return f"json: cannot unmarshal {self.found} into {where} of type {self.wanted}"


class _Run:
    """What one decoding notes on its way."""

    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown = False


Decoder = Callable[[Any, _Run], Any]


def _found(value: Any, *, literal: bool = False) -> str:
    """How Go names the JSON value it met."""
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        # What is beyond a float's range has lost its digits.
        return f"number {value!r}" if literal and math.isfinite(value) else "number"
    return "array" if isinstance(value, list) else "object"


# ---- scalars ----------------------------------------------------------------------------------------------------


def _string(value: Any, run: _Run) -> Any:
    if type(value) is not str:
        raise _Fault(_found(value), "string")
    return value


def _boolean(value: Any, run: _Run) -> Any:
    if type(value) is not bool:
        raise _Fault(_found(value), "bool")
    return value


def _int32(value: Any, run: _Run) -> Any:
    if type(value) is not int or not _INT32[0] <= value <= _INT32[1]:
        raise _Fault(_found(value, literal=True), "int32")
    return value


def _int64(value: Any, run: _Run) -> Any:
    if type(value) is not int or not _INT64[0] <= value <= _INT64[1]:
        raise _Fault(_found(value, literal=True), "int64")
    return value


def _number(value: Any, run: _Run) -> Any:
    if type(value) is int:
        return value
    if type(value) is not float or not math.isfinite(value):
        raise _Fault(_found(value), "float64")
    # Go prints a whole float64 without a fraction.
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _int_or_string(value: Any, run: _Run) -> Any:
    if type(value) is str or (type(value) is int and _INT32[0] <= value <= _INT32[1]):
        return value
    raise DecodeError(f"json: cannot unmarshal {_found(value, literal=True)} into Go value of type int32")


def _quantity(value: Any, run: _Run) -> Any:
    text = value.strip() if type(value) is str else orjson.dumps(value).decode()
    try:
        return quantity.canonical(text)
    except quantity.QuantityError as e:
        raise DecodeError(str(e)) from None


_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)([.,]\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # RFC 3339, as Go reads it
_TIME_PARTS = (
    (r"\d{4}", "2006"), ("-", "-"), (r"\d\d", "01"), ("-", "-"), (r"\d\d", "02"), ("T", "T"), (r"\d\d", "15"),
    (":", ":"), (r"\d\d", "04"), (":", ":"), (r"\d\d", "05"),
)  # fmt: skip


def _time_error(text: str, layout: str) -> DecodeError:
    """Go's words for the first part of a time that it cannot read."""
    shown = orjson.dumps(text).decode()
    at = 0
    for pattern, name in _TIME_PARTS:
        match = re.compile(pattern, re.ASCII).match(text, at)
        if match is None:
            rest = orjson.dumps(text[at:]).decode()
            return DecodeError(f'parsing time {shown} as "{layout}": cannot parse {rest} as "{name}"')
        at = match.end()
    fraction = re.compile(r"[.,]\d+", re.ASCII).match(text, at)
    if ".000000" in layout and (fraction is None or fraction.end() - at != 7):
        rest = orjson.dumps(text[at:]).decode()
        return DecodeError(f'parsing time {shown} as "{layout}": cannot parse {rest} as ".000000"')
    at = fraction.end() if fraction else at
    zone = re.compile(r"Z|[+-]\d\d:\d\d", re.ASCII).match(text, at)
    rest = orjson.dumps(text[zone.end() :] if zone else text[at:]).decode()
    if zone is None:
        return DecodeError(f'parsing time {shown} as "{layout}": cannot parse {rest} as "Z07:00"')
    if rest != '""':
        return DecodeError(f"parsing time {shown}: extra text: {rest}")
    month, day = int(text[5:7]), int(text[8:10])
    part = "month" if not 1 <= month <= 12 else "day" if not 1 <= day <= 31 else ""
    if not part:
        hour, minute, second = (int(text[i : i + 2]) for i in (11, 14, 17))
        part = "hour" if hour > 23 else "minute" if minute > 59 else "second" if second > 59 else "day"
    return DecodeError(f"parsing time {shown}: {part} out of range")


@lru_cache(maxsize=4096)
def _canonical_time(text: str) -> str:
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        moment = datetime.fromisoformat(text[:19] + match.group(8)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _time_error(text, "2006-01-02T15:04:05Z07:00") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _time(value: Any, run: _Run) -> Any:
    if type(value) is not str:
        raise DecodeError(f"json: cannot unmarshal {_found(value)} into Go value of type string")
    return _canonical_time(value)


def _micro_time(value: Any, run: _Run) -> Any:
    if type(value) is not str:
        raise DecodeError(f"json: cannot unmarshal {_found(value)} into Go value of type string")
    match = _TIME.fullmatch(value)
    try:
        if match is None or len(match.group(7) or "") != 7:
            raise ValueError(value)
        moment = datetime.fromisoformat(value[:19] + "." + value[20:26] + match.group(8))
    except (ValueError, OverflowError):
        raise _time_error(value, "2006-01-02T15:04:05.000000Z07:00") from None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


_BASE64_PREFIX = re.compile(r"[A-Za-z0-9+/]*", re.ASCII)


def _bytes(value: Any, run: _Run) -> Any:
    if type(value) is not str:
        raise _Fault(_found(value), "[]uint8")
    text = value
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "").replace("\r", "")
    try:
        # Decoded and encoded again, as upstream does: stray bits after the last byte vanish.
        return binascii.b2a_base64(binascii.a2b_base64(text, strict_mode=True), newline=False).decode()
    except (binascii.Error, ValueError):
        raise DecodeError(f"illegal base64 data at input byte {_bad_base64_at(value)}") from None


def _bad_base64_at(text: str) -> int:
    """The offset that Go's decoder names."""
    good = _BASE64_PREFIX.match(text)
    assert good is not None
    at = good.end()
    if at < len(text) and text[at] != "=":
        return at
    if at == len(text):
        return at - at % 4 if at % 4 else at
    return at if at % 4 < 2 else at + 1


def _any(value: Any, run: _Run) -> Any:
    """Numbers beyond a float's range cannot be kept; upstream keeps their text, or says this."""
    if has_infinity(value):
        raise _Fault("number", "float64")
    return value


_SCALARS: dict[str, tuple[type | None, Decoder, Any]] = {
    # The exact Python type that needs no further look (or None), the decoder, and what null becomes in a collection.
    "string": (str, _string, ""),
    "boolean": (bool, _boolean, False),
    "int32": (None, _int32, 0),
    "int64": (None, _int64, 0),
    "number": (None, _number, 0),
    "time": (None, _time, None),
    "microtime": (None, _micro_time, None),
    "quantity": (None, _quantity, "0"),
    "intorstring": (None, _int_or_string, 0),
    "bytes": (None, _bytes, ""),
    "any": (None, _any, None),
}

# ---- composites -------------------------------------------------------------------------------------------------

_KEEP_EMPTY = frozenset(
    {
        ("io.k8s.api.rbac.v1.Role", "rules"),
        ("io.k8s.api.rbac.v1.ClusterRole", "rules"),
        ("io.k8s.api.discovery.v1.EndpointSlice", "ports"),
    }
)
"""Optional collections whose upstream fields lack ``omitempty``: empty ones stay."""

_compiled: dict[ObjectNode, Decoder] = {}


def _compile(node: Node) -> tuple[type | None, Decoder, Any]:
    """(type that passes unseen, decoder, zero value in a collection)."""
    if isinstance(node, Scalar):
        return _SCALARS[node.kind]
    if isinstance(node, ObjectNode):
        return None, _object_decoder(node), {}
    if isinstance(node, ListNode):
        return None, _list_decoder(node), None
    if isinstance(node, MapNode):
        return None, _map_decoder(node), None
    return None, _union_decoder(node), None


def _list_decoder(node: ListNode) -> Decoder:
    passes, decode_item, zero = _compile(node.items)
    wanted = node.go_name

    def decode_list(value: Any, run: _Run) -> Any:
        if type(value) is not list:
            raise _Fault(_found(value), wanted)
        return [v if type(v) is passes else decode_item(v, run) if v is not None else _zero(zero) for v in value]

    return decode_list


def _map_decoder(node: MapNode) -> Decoder:
    passes, decode_value, zero = _compile(node.values)
    wanted = node.go_name

    def decode_map(value: Any, run: _Run) -> Any:
        if type(value) is not dict:
            raise _Fault(_found(value), wanted)
        return {
            k: v if type(v) is passes else decode_value(v, run) if v is not None else _zero(zero)
            for k, v in value.items()
        }

    return decode_map


def _zero(value: Any) -> Any:
    return {} if value == {} else value


def _object_decoder(node: ObjectNode) -> Decoder:
    found = _compiled.get(node)
    if found is not None:
        return found
    table: dict[str, tuple[type | None, Decoder, bool]] = {}
    wanted, struct = node.go_name, node.short_name

    def decode_object(value: Any, run: _Run) -> Any:
        if type(value) is not dict:
            raise _Fault(_found(value), wanted)
        out: dict[str, Any] = {}
        for key, v in value.items():
            entry = table.get(key)
            if entry is None:
                run.unknown = True
                continue
            if v is None:
                continue
            passes, decode_field, may_be_empty = entry
            if type(v) is passes:
                out[key] = v
                continue
            try:
                decoded = decode_field(v, run)
            except _Fault as e:
                e.struct = e.struct or struct
                e.path.append(key)
                raise
            if decoded or may_be_empty:
                out[key] = decoded
        return out

    _compiled[node] = decode_object
    for name, field in node.fields.items():
        passes, decoder, _ = _compile(field.node)
        vanishes_empty = (
            isinstance(field.node, (ListNode, MapNode)) and not field.required and (node.name, name) not in _KEEP_EMPTY
        )
        table[name] = (passes, decoder, not vanishes_empty)
    return decode_object


def _union_decoder(node: UnionNode) -> Decoder:
    decode_object = _object_decoder(node.object)
    if node.other == "schemas":

        def decode_other(value: Any, run: _Run) -> Any:
            return [decode_object(v, run) for v in value] if type(value) is list else value

    else:
        decode_other = _any

    def decode_union(value: Any, run: _Run) -> Any:
        return decode_object(value, run) if type(value) is dict else decode_other(value, run)

    return decode_union


# ---- unknown fields: looked for again, with paths, only where there are some ------------------------------------


def _unknown(value: Any, node: Node, path: str, out: list[str], *, by_key: bool) -> None:
    """Unknown fields in the order of the value, or of its keys; of `Pairs` also those that are there twice, which
    are not told of a field that is unknown."""
    if isinstance(node, UnionNode):
        node = node.object if isinstance(value, (dict, Pairs)) else ListNode(node.object)
    if isinstance(node, ListNode) and isinstance(value, list) and not isinstance(value, Pairs):
        for i, v in enumerate(value):
            _unknown(v, node.items, f"{path}[{i}]", out, by_key=by_key)
    elif isinstance(node, (ObjectNode, MapNode)) and isinstance(value, (dict, Pairs)):
        members = list(value.items() if isinstance(value, dict) else value)
        seen: set[str] = set()
        for key, v in sorted(members, key=_first) if by_key else members:
            below = f"{path}.{key}" if path else key
            field = node.fields.get(key) if isinstance(node, ObjectNode) else None
            if field is None and isinstance(node, ObjectNode):
                out.append(f'unknown field "{below}"')
                continue
            if key in seen:
                out.append(f'duplicate field "{below}"')
            seen.add(key)
            of_value = field.node if field is not None else cast(MapNode, node).values
            _unknown(v, of_value, below, out, by_key=by_key)


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


# ---- entry points -----------------------------------------------------------------------------------------------


def decode_node(
    obj: Any,
    node: ObjectNode,
    field_validation: FieldValidation = "Strict",
    faults: Sequence[str] = (),
    *,
    by_key: bool = False,
) -> tuple[Object, list[str]]:
    """(the object in its type's form, warnings). `faults` are those that the text had: duplicate fields. With
    `by_key` unknown fields are told in the order of their names.

    Raises `DecodeError`, worded as upstream's decoder words it, without the sentence around it.
    """
    run = _Run()
    try:
        decoded: Object = _object_decoder(node)(obj, run)
    except _Fault as e:
        raise DecodeError(e.text()) from None
    if field_validation == "Ignore" or not (run.unknown or faults):
        return decoded, []
    found: list[str] = []
    if isinstance(faults, Faults) and faults.pairs is not None:
        _unknown(faults.pairs, node, "", found, by_key=False)
    else:
        found += faults
        if run.unknown:
            _unknown(obj, node, "", found, by_key=by_key or (isinstance(faults, Faults) and faults.yaml))
    found = list(dict.fromkeys(found))
    if field_validation == "Strict":
        raise StrictDecodeError("strict decoding error: " + ", ".join(found))
    return decoded, warnings_of(found)


def _type(what: Resource | GroupVersionKind | ObjectNode) -> ObjectNode:
    return what if isinstance(what, ObjectNode) else type_of(what)


def decode(
    obj: Any,
    what: Resource | GroupVersionKind,
    field_validation: FieldValidation = "Strict",
    faults: Sequence[str] = (),
) -> tuple[Object, list[str]]:
    """(the object that a request's body holds, warnings). The caller has compared apiVersion and kind.

    Raises `BadRequest` with upstream's text.
    """
    try:
        return decode_node(obj, _type(what), field_validation, faults)
    except DecodeError as e:
        version, kind = (what.version, what.kind) if isinstance(what, Resource) else what[1:]
        raise BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {e}') from e


def decode_patched(
    obj: Any,
    what: Resource | GroupVersionKind,
    field_validation: FieldValidation = "Strict",
    faults: Sequence[str] = (),
    shown: Callable[[], str] | None = None,
) -> tuple[Object, list[str]]:
    """(the object that a patch made, warnings). `faults` are those of the patch's text, `shown` gives the patch as
    errors show it; None for the object itself. Raises `Invalid` with upstream's text: the patch is at fault.
    """
    try:
        return decode_node(obj, _type(what), field_validation, list(faults), by_key=True)
    except DecodeError as e:
        text = orjson.dumps(shown() if shown is not None else orjson.dumps(obj).decode()).decode()
        message = f"Invalid value: {text}: {e}"
        raise Invalid(
            f' "" is invalid: patch: {message}',
            details={"causes": [{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]},
        ) from e
