"""Parses request bodies, JSON and YAML, as upstream's serializers read them. Pure.

JSON goes through orjson, or where duplicate fields must be told through the standard library's scanner. YAML is read
as ``sigs.k8s.io/yaml`` reads it (Go's yaml.v2): times stay strings, ``yes`` and ``on`` are booleans, keys become
strings. Depth and alias expansion are bounded.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
import yaml

from pybernetes.api import shared_specs
from pybernetes.api.errors import BadRequest
from pybernetes.api.schema import jsonerror

MediaType = Literal["json", "yaml"]

_MAX_DEPTH = 512
_MAX_YAML_NODES = 500_000
"""Values in one YAML document, aliases counted each time they are used."""


class TextError(ValueError):
    """A body that is no JSON or YAML, with the message of upstream's parser."""


class Pairs(list[tuple[str, Any]]):
    """An object's members, duplicates and all."""


class Faults(list[str]):
    """What strict decoding has to say about a text. `pairs` is its value with every object as `Pairs`, where a JSON
    text has a field twice; what is found further is told in the order of the text then, and in that of the keys
    where it is YAML, which upstream turns into JSON first."""

    pairs: Any = None
    yaml = False


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body, and what strict decoding has to say about its text: duplicate fields."""

    value: Any
    faults: Faults = field(default_factory=Faults)


# ---- JSON -------------------------------------------------------------------------------------------------------


class _DuplicateKey(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKey
    return found


def _integer(text: str) -> int | float:
    # What no 64-bit integer holds is a float, as in Go's untyped decoding.
    return int(text) if len(text) < 19 or -(2**63) <= int(text[:40]) < 2**63 else float(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _decoder(hook: Callable[[list[tuple[str, Any]]], Any] | None) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=hook, parse_int=_integer, parse_constant=_constant)


_PLAIN = _decoder(None)
_UNIQUE = _decoder(_unique)
_ALL_PAIRS = _decoder(Pairs)


def _merge_pairs(value: Any, path: str, faults: list[str]) -> Any:
    """The value with ordinary dictionaries, the last of several equal keys winning; duplicates are noted."""
    if isinstance(value, Pairs):
        out: dict[str, Any] = {}
        for key, v in value:
            below = f"{path}.{key}" if path else key
            if key in out:
                faults.append(f'duplicate field "{below}"')
            out[key] = _merge_pairs(v, below, faults)
        return out
    if isinstance(value, list):
        return [_merge_pairs(v, f"{path}[{i}]", faults) for i, v in enumerate(value)]
    return value


def _repair(value: Any) -> Any:
    """Lone surrogates, which JSON can spell and UTF-8 cannot, become replacement characters."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_repair(k): _repair(v) for k, v in value.items()}
    if isinstance(value, Pairs):
        return Pairs((_repair(k), _repair(v)) for k, v in value)
    return [_repair(v) for v in value] if isinstance(value, list) else value


def _parse_carefully(body: bytes, decoder: json.JSONDecoder) -> Any:
    text = body.decode("utf-8", "replace")
    try:
        value = decoder.decode(text)
    except RecursionError:
        raise TextError("exceeded max depth") from None
    except ValueError as e:
        raise TextError(jsonerror.describe(body) or str(e)) from None
    return _repair(value) if "\\u" in text else value


_KEY_END = re.compile(rb'"[ \t\r\n]*:')


def _keys(value: Any) -> int:
    """How many members all objects in the value have."""
    if isinstance(value, dict):
        return len(value) + sum(_keys(v) for v in value.values() if isinstance(v, (dict, list)))
    return sum(_keys(v) for v in value if isinstance(v, (dict, list)))


def _surely_unique(body: bytes, value: Any) -> bool:
    """Whether the text of `value` plainly has no field twice. It has none where the value spells the same text again,
    nor where as many keys came out as there are ends of keys in the text (a string may hold what looks like one)."""
    if not isinstance(value, (dict, list)) or orjson.dumps(value) == body.strip():
        return True
    return len(_KEY_END.findall(body)) == _keys(value)


_SPEC = b'"spec":'
_PLACEHOLDER = 2**61 + secrets.randbits(61) | 1
"""A number that no client sends, since nobody knows it. Odd: no float is equal to it."""


def _parse_around(body: bytes, specs: Sequence[bytes]) -> Body | None:
    """The value of a text whose spec is one of `specs`, without reading that again: a number holds its place. Where
    the number comes out as the spec, what it stood for was just that. None where it is not so simple."""
    at = body.find(_SPEC) + len(_SPEC)
    known = next((spec for spec in specs if body.startswith(spec, at)), None)
    if known is None or at < len(_SPEC):
        return None
    around = b"%b%d%b" % (body[:at], _PLACEHOLDER, body[at + len(known) :])
    try:
        value = orjson.loads(around)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or value.get("spec") != _PLACEHOLDER or not _surely_unique(around, value):
        return None
    value["spec"] = shared_specs.of_text(known)
    return Body(value)


def parse_json(body: bytes, *, find_duplicates: bool = False, specs: Sequence[bytes] = ()) -> Body:
    """The value of a JSON text. Raises `TextError` with the message of Go's parser. `specs` are texts, of objects
    without a field twice, of which the body's spec may be one."""
    if specs and (parsed := _parse_around(body, specs)) is not None:
        return parsed
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Either malformed, or something that Go reads and orjson does not: bytes that are no UTF-8, half surrogates.
        if not find_duplicates:
            return Body(_parse_carefully(body, _PLAIN))
    else:
        if not find_duplicates or _surely_unique(body, value):
            return Body(value)
    try:
        return Body(_parse_carefully(body, _UNIQUE))
    except _DuplicateKey:
        found: list[str] = []
        pairs = _parse_carefully(body, _ALL_PAIRS)
        value = _merge_pairs(pairs, "", found)
        faults = Faults(dict.fromkeys(found))
        faults.pairs = pairs
        return Body(value, faults)


# ---- YAML -------------------------------------------------------------------------------------------------------

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_INTEGER_FORMS = (
    (re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII), 10),
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+", re.ASCII), 16),
    (re.compile(r"[-+]?0[bB][01]+", re.ASCII), 2),
    (re.compile(r"[-+]?0[oO]?[0-7]+", re.ASCII), 8),
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def _number(text: str) -> int | float | None:
    """The number that a plain scalar spells, or None."""
    if text[:1] not in "+-.0123456789":
        return None
    plain = text.replace("_", "")
    for pattern, base in _INTEGER_FORMS:
        if pattern.fullmatch(plain):
            if len(plain) > 70:
                return float(plain) if base == 10 else None
            digits = plain
            if base == 8:  # Python spells it 0o17 only, YAML 1.1 and Go also 017
                digits = re.sub("0[oO]?", "", plain, count=1) or "0"
            value = int(digits, base)
            return value if -(2**63) <= value < 2**64 else float(value)
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        return int(number) if number.is_integer() and abs(number) < 1e15 else number
    return None


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    tag = (event.tag or "").removeprefix(_TAG)
    if not tag:
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _SPECIAL_FLOAT.fullmatch(text):
            raise TextError(f"json: unsupported value: {text}")
        number = _number(text)
        return text if number is None else number
    if tag in ("str", "!", "timestamp"):
        return text
    if tag == "binary":
        try:
            return base64.b64decode(text).decode("utf-8", "replace")
        except ValueError:
            raise TextError("yaml: !!binary value contains invalid base64 data") from None
    if tag in ("int", "float") and (number := _number(text)) is not None:
        return number
    if tag in ("bool", "null") and text in _WORDS:
        return _WORDS[text]
    raise TextError(f"yaml: cannot decode !!{tag.removeprefix('!')} `{text}`")


def _key(value: Any) -> str:
    """A mapping's key as the JSON that follows spells it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TextError(f"unsupported map key of type: {'nil' if value is None else type(value).__name__}")


class _YamlReader:
    """Builds one document's value from libyaml's events."""

    def __init__(self, text: str, *, find_duplicates: bool) -> None:
        self.events = yaml.parse(text, Loader=yaml.CSafeLoader)
        self.find_duplicates = find_duplicates
        self.faults: list[str] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = 0

    def document(self) -> Any:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                return self.value(next(self.events), 0)
        return None

    def count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > _MAX_YAML_NODES:
            raise TextError("yaml: document contains excessive aliasing")

    def value(self, event: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise TextError("yaml: exceeded max depth")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise TextError(f"yaml: unknown anchor '{event.anchor}' referenced")
            value, size = self.anchors[event.anchor]
            self.count(size)
            return _copy(value)
        before = self.nodes
        self.count(1)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(event_ := next(self.events), yaml.SequenceEndEvent):
                value.append(self.value(event_, depth + 1))
        else:
            value = self.mapping(depth)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def mapping(self, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.tag and event.implicit[0]:
                self.merge(self.value(next(self.events), depth + 1), merged)
                continue
            key = _key(self.value(event, depth + 1))
            if key in own and self.find_duplicates:
                line = event.start_mark.line + 1 if event.start_mark else 0
                self.faults.append(f"line {line}: key {json.dumps(key)} already set in map")
            own[key] = self.value(next(self.events), depth + 1)
        return {**{k: v for k, v in merged.items() if k not in own}, **own} if merged else own

    def merge(self, value: Any, into: dict[str, Any]) -> None:
        maps = value if isinstance(value, list) else [value]
        for one in maps:
            if not isinstance(one, dict):
                raise TextError("yaml: map merge requires map or sequence of maps as the value")
            for key, v in one.items():
                into.setdefault(key, v)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def warnings_of(faults: Sequence[str]) -> list[str]:
    """Faults one by one: YAML's parser tells all of a text's in one, with a line for each."""
    found: list[str] = []
    for fault in faults:
        lines = fault.removeprefix(_YAML_ERRORS).removeprefix("yaml: ").split("\n")
        found += [line.strip() for line in lines if line.strip()]
    return found


_YAML_ERRORS = "yaml: unmarshal errors:\n"


def parse_yaml(body: bytes, *, find_duplicates: bool = False) -> Body:
    """The value of the first document of a YAML text. Raises `TextError` with a message like that of Go's yaml."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TextError("yaml: invalid Unicode character") from None
    reader = _YamlReader(text, find_duplicates=find_duplicates)
    try:
        value = reader.document()
    except RecursionError:  # the interpreter's bound, where the caller is deep already
        raise TextError("yaml: exceeded max depth") from None
    except yaml.MarkedYAMLError as e:
        if "nesting depth" in str(e.problem):  # newer libyaml has a bound of its own, lower than ours
            raise TextError("yaml: exceeded max depth") from None
        mark = e.problem_mark or e.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise TextError(f"yaml: {where}{e.problem or e.context}") from None
    except yaml.YAMLError as e:
        raise TextError(f"yaml: {e}") from None
    faults = Faults([f"{_YAML_ERRORS}  " + "\n  ".join(reader.faults)] if reader.faults else [])
    faults.yaml = True
    return Body(value, faults)


# ---- bodies of requests -----------------------------------------------------------------------------------------


def summarize(body: bytes) -> str:
    """The start of a body, as error messages show it."""
    if not body:
        return "<empty>"
    head, more = body[:30], " ..." if len(body) > 30 else ""
    return (head.decode("utf-8", "replace") if body[:1] == b"{" else head.hex()) + more


_META_STRUCT = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
GO_KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


def parse_body(
    body: bytes, media_type: MediaType, kind: str, *, find_duplicates: bool = False, specs: Sequence[bytes] = ()
) -> Body:
    """The object in a request's body, `kind` being what is expected there. Raises `BadRequest`. `specs` as for
    `parse_json`.

    The value is a dictionary whose apiVersion and kind are strings where they are there at all.
    """
    try:
        if media_type == "json":
            parsed = parse_json(body, find_duplicates=find_duplicates, specs=specs)
        else:
            parsed = parse_yaml(body, find_duplicates=find_duplicates)
        value = parsed.value
        if value is None:
            return Body({}, parsed.faults)
        if not isinstance(value, dict):
            raise TextError(f"json: cannot unmarshal {GO_KINDS[type(value)]} into Go value of type {_META_STRUCT}")
        for name in ("apiVersion", "kind"):
            if not isinstance(value.get(name, ""), (str, type(None))):
                raise TextError(
                    f"json: cannot unmarshal {GO_KINDS[type(value[name])]} into Go struct field .{name} of type string"
                )
        return parsed
    except TextError as e:
        # YAML is turned into JSON before the kind is looked for; only then comes upstream's second clause.
        why = str(e) if str(e).startswith("yaml:") else f"couldn't get version/kind; json parse error: {e}"
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {kind}): {why} ({summarize(body)})"
        ) from e
