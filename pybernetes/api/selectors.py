"""Label selectors and field selectors: parsed once, matched often. Immutable, pure.

Texts of errors and the grammar are those of ``k8s.io/apimachinery/pkg/labels`` and ``pkg/fields``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pybernetes.api import names

EQUALS: Final = "="
DOUBLE_EQUALS: Final = "=="
NOT_EQUALS: Final = "!="
IN: Final = "in"
NOT_IN: Final = "notin"
EXISTS: Final = "exists"
DOES_NOT_EXIST: Final = "!"
GREATER_THAN: Final = "gt"
LESS_THAN: Final = "lt"

_BINARY_OPERATORS = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER_THAN, LESS_THAN)
_POSITIVE = frozenset((IN, EQUALS, DOUBLE_EQUALS))
_NEGATIVE = frozenset((NOT_IN, NOT_EQUALS))
_SHOWN = {
    EQUALS: "=", DOUBLE_EQUALS: "==", NOT_EQUALS: "!=", IN: " in ", NOT_IN: " notin ", GREATER_THAN: ">",
    LESS_THAN: "<",
}  # fmt: skip
_OBJECT_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class SelectorError(ValueError):
    """A selector that cannot be understood, with upstream's message."""


def _integer(text: str) -> int | None:
    return int(text) if len(text) <= 20 and _INTEGER.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `values` is sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        operator = self.operator
        if operator in _POSITIVE:
            return self.key in labels and labels[self.key] in self.values
        if operator in _NEGATIVE:
            return self.key not in labels or labels[self.key] not in self.values
        if operator == EXISTS:
            return self.key in labels
        if operator == DOES_NOT_EXIST:
            return self.key not in labels
        mine, theirs = _integer(self.values[0]), _integer(labels.get(self.key, ""))
        if mine is None or theirs is None:
            return False
        return theirs > mine if operator == GREATER_THAN else theirs < mine

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == DOES_NOT_EXIST:
            return "!" + self.key
        values = ",".join(self.values)
        if self.operator in (IN, NOT_IN):
            values = f"({values})"
        return f"{self.key}{_SHOWN[self.operator]}{values}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A conjunction of requirements, sorted by key. None at all match everything; `nothing` matches nothing."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        labels = labels or {}
        return all(r.matches(labels) for r in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def exact(self, key: str) -> str | None:
        """The only value of the label `key` that can match, None where several can."""
        for r in self.requirements:
            if r.key == key:
                return r.values[0] if r.operator in _POSITIVE and len(r.values) == 1 else None
        return None

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.requirements)


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def _requirement(key: str, operator: str, values: Iterable[str]) -> Requirement:
    """A requirement that holds to the rules, or `SelectorError` with all its faults."""
    values = tuple(sorted(set(values)))
    errors: list[str] = []
    if faults := names.qualified_name(key):
        errors.append(f"key: Invalid value: {json.dumps(key)}: {'; '.join(faults)}")
    fault = ""
    if operator in (IN, NOT_IN):
        fault = "" if values else "for 'in', 'notin' operators, values set can't be empty"
    elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS):
        fault = "" if len(values) == 1 else "exact-match compatibility requires one single value"
    elif operator in (EXISTS, DOES_NOT_EXIST):
        fault = "values set must be empty for exists and does not exist" if values else ""
    elif len(values) != 1:
        fault = "for 'Gt', 'Lt' operators, exactly one value is required"
    if fault:
        errors.append(f"values: Invalid value: {json.dumps(values, separators=(',', ':'))}: {fault}")
    if operator in (GREATER_THAN, LESS_THAN):
        errors += [
            f"values[{i}]: Invalid value: {json.dumps(v)}: for 'Gt', 'Lt' operators, the value must be an integer"
            for i, v in enumerate(values)
            if _integer(v) is None
        ]
    for i, value in enumerate(values):
        if faults := names.label_value(value):
            errors.append(f"values[{i}][{key}]: Invalid value: {json.dumps(value)}: {'; '.join(faults)}")
    if errors:
        raise SelectorError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return Requirement(key, operator, values)


def from_set(labels: Mapping[str, str] | None) -> LabelSelector:
    """The selector of a plain map (a Service's ``selector``): every label equal. None and {} match everything.

    Nothing is validated: the map comes from a stored object.
    """
    if not labels:
        return EVERYTHING
    return LabelSelector(tuple(Requirement(k, EQUALS, (v,)) for k, v in sorted(labels.items())))


def from_label_selector(selector: Mapping[str, Any] | None) -> LabelSelector:
    """The selector of a ``meta/v1 LabelSelector`` object: None matches nothing, an empty one everything.

    Raises `SelectorError`.
    """
    if selector is None:
        return NOTHING
    found = [_requirement(k, EQUALS, (v,)) for k, v in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        name = str(expression.get("operator") or "")
        operator = _OBJECT_OPERATORS.get(name)
        if operator is None:
            raise SelectorError(f"{json.dumps(name)} is not a valid label selector operator")
        found.append(_requirement(str(expression.get("key") or ""), operator, expression.get("values") or ()))
    return LabelSelector(tuple(sorted(found, key=lambda r: r.key))) if found else EVERYTHING


# ---- the text form of label selectors ---------------------------------------------------------------------------

_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^=!(),<> \t\r\n]+))")
_SYMBOLS = {"=": EQUALS, "==": DOUBLE_EQUALS, "!=": NOT_EQUALS, ">": GREATER_THAN, "<": LESS_THAN}
_END = ("", False)


class _Parser:
    """Walks the tokens of one selector. A token is (text, whether it is a word); the last is `_END`."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, bool]] = []
        at, text = 0, text.rstrip(" \t\r\n")
        while at < len(text):
            match = _TOKEN.match(text, at)
            assert match is not None, "every character is a symbol, a space or part of a word"
            self.tokens.append((match.group(1) or match.group(2), match.group(2) is not None))
            at = match.end()
        self.tokens.append(_END)
        self.at = 0

    def peek(self) -> tuple[str, bool]:
        return self.tokens[min(self.at, len(self.tokens) - 1)]

    def take(self) -> tuple[str, bool]:
        token = self.peek()
        self.at += 1
        return token

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            token = self.peek()
            if token == _END:
                return found
            if not token[1] and token[0] != "!":
                raise SelectorError(f"found '{token[0]}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self.requirement())
            except SelectorError as e:
                raise SelectorError(f"unable to parse requirement: {e}") from None
            token = self.take()
            if token == _END:
                return found
            if token != (",", False):
                raise SelectorError(f"found '{token[0]}', expected: ',' or 'end of string'")
            after = self.peek()
            if not after[1] and after[0] != "!":
                raise SelectorError(f"found '{after[0]}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        token = self.take()
        negated = token == ("!", False)
        if negated:
            token = self.take()
        key, is_word = token
        if not is_word:
            raise SelectorError(f"found '{key}', expected: identifier")
        if faults := names.qualified_name(key):
            raise SelectorError(f"<nil>: Invalid value: {json.dumps(key)}: {'; '.join(faults)}")
        if negated:
            return _requirement(key, DOES_NOT_EXIST, ())
        if self.peek() in (_END, (",", False)):
            return _requirement(key, EXISTS, ())
        text, is_word = self.take()
        operator = text if is_word and text in (IN, NOT_IN) else _SYMBOLS.get(text)
        if operator is None:
            raise SelectorError(f"found '{text}', expected: {', '.join(_BINARY_OPERATORS)}")
        values = self.values() if operator in (IN, NOT_IN) else [self.exact_value()]
        return _requirement(key, operator, values)

    def exact_value(self) -> str:
        if self.peek() in (_END, (",", False)):
            return ""
        text, is_word = self.take()
        if not is_word:
            raise SelectorError(f"found '{text}', expected: identifier")
        return text

    def values(self) -> list[str]:
        """``(a,b)``; an empty place between commas is the empty value."""
        text, _ = self.take()
        if text != "(":
            raise SelectorError(f"found '{text}' expected: '('")
        found: list[str] = []
        text, is_word = self.peek()
        if not is_word and text not in (",", ")"):
            raise SelectorError(f"found '{text}', expected: ',', ')' or identifier")
        while True:
            text, is_word = self.peek()
            if is_word:
                self.take()
                found.append(text)
                text, is_word = self.peek()
                if is_word or text not in (",", ")"):
                    raise SelectorError(f"found '{text}', expected: ',' or ')'")
            elif text in (",", ")"):
                found.append("")
            else:
                raise SelectorError(f"found '{text}', expected: ',', or identifier")
            if self.take()[0] == ")":
                return found


@lru_cache(maxsize=1024)
def parse_label_selector(text: str) -> LabelSelector:
    """The selector of a query parameter: ``a=b,c in (x,y),!d,e>3``. Raises `SelectorError`."""
    found = _Parser(text).parse()
    return LabelSelector(tuple(sorted(found, key=lambda r: r.key))) if found else EVERYTHING


# ---- field selectors --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """``field=value``, or with `negated` ``field!=value``."""

    field: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.field}{'!=' if self.negated else '='}{_escape(self.value)}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A conjunction of requirements on fields; none at all match everything. A missing field counts as empty."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(r.field, "") == r.value) is not r.negated for r in self.requirements)

    @property
    def empty(self) -> bool:
        return not self.requirements

    def exact(self, field: str) -> str | None:
        """The only value of the field that can match, None where several can."""
        return next((r.value for r in self.requirements if r.field == field and not r.negated), None)

    def fields(self) -> Sequence[str]:
        return [r.field for r in self.requirements]

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.requirements)


_TERM_END = re.compile(r"(?:[^\\,]|\\.)*", re.DOTALL)
_OPERATOR = re.compile(r"((?:[^\\=!]|\\.|!(?!=))*)(!=|==|=)(.*)", re.DOTALL)
_UNESCAPED = re.compile(r"\\(.?)|([,=])", re.DOTALL)


def _escape(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def _unescape(value: str) -> str:
    if "\\" not in value and "," not in value and "=" not in value:
        return value

    def one(match: re.Match[str]) -> str:
        if match.group(2):
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(match.group(2))}")
        if match.group(1) not in ("\\", ",", "="):
            raise SelectorError(f"invalid field selector: invalid escape sequence: \\{match.group(1)}")
        return match.group(1)

    return _UNESCAPED.sub(one, value)


@lru_cache(maxsize=1024)
def parse_field_selector(text: str) -> FieldSelector:
    """The selector of a query parameter: ``status.phase!=Running,metadata.name=x``. Raises `SelectorError`.

    In values a backslash escapes ``\\``, ``,`` and ``=``.
    """
    terms: list[str] = []
    at = 0
    while at <= len(text):
        match = _TERM_END.match(text, at)
        assert match is not None
        end = match.end() if match.end() == len(text) or text[match.end()] == "," else len(text)
        terms.append(text[at:end])
        at = end + 1
    found: list[FieldRequirement] = []
    for term in sorted(terms):
        if not term:
            continue
        match = _OPERATOR.fullmatch(term)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        found.append(FieldRequirement(match.group(1), _unescape(match.group(3)), match.group(2) == "!="))
    return FieldSelector(tuple(found))
