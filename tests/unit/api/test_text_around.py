"""Bodies whose spec was seen before are read around it, and nobody can tell."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import shared_specs
from pybernetes.api.schema import text
from pybernetes.api.schema.text import parse_json

SPEC: dict[str, Any] = {"containers": [{"name": "c", "args": ["}", '"spec":'], "n": 1}], "spec": {"a": None}}
KNOWN = orjson.dumps(SPEC)
OTHER = orjson.dumps({"x": 1})


def both(body: bytes) -> tuple[Any, Any]:
    def outcome(**more: Any) -> Any:
        try:
            parsed = parse_json(body, find_duplicates=True, **more)
        except text.TextError as e:
            return str(e)
        return orjson.dumps(parsed.value), list(parsed.faults)

    return outcome(specs=[OTHER, KNOWN]), outcome()


def test_a_known_spec_is_the_shared_one_and_is_not_read_again() -> None:
    value = parse_json(b'{"metadata":{"name":"p"},"spec":%b}' % KNOWN, find_duplicates=True, specs=[KNOWN]).value
    assert value == {"metadata": {"name": "p"}, "spec": SPEC}
    assert value["spec"] is shared_specs.of_text(KNOWN)


@pytest.mark.parametrize(
    "body",
    [
        b'{"spec":%b,"spec":{"x":2}}' % KNOWN,
        b'{"spec":{"x":2},"spec":%b}' % KNOWN,
        b'{"spec":%b,"spec":%b}' % (KNOWN, KNOWN),
        b'{"a":{"spec":%b}}' % KNOWN,
        b'{"a":{"spec":%b},"spec":{"x":2}}' % KNOWN,
        b'{"a":{"spec":%b},"spec":%b}' % (KNOWN, KNOWN),
        b'{"a":1,"a":2,"spec":%b}' % KNOWN,
        b'{"spec":%b5}' % KNOWN,
        b'{"spec":%b' % KNOWN,
        b'{"spec":%b}}' % KNOWN,
        b'["spec",{"spec":%b}]' % KNOWN,
        b'[{"spec":%b}]' % KNOWN,
        b'"spec":%b' % KNOWN,
        b'{"spec":',
        b"%b" % json.dumps({"text": f'"spec":{KNOWN.decode()}', "spec": 1}).encode(),
        b'{"spec": %b}' % KNOWN,
        b'{"\\u0073pec":1,"spec":%b}' % KNOWN,
    ],
)
def test_whatever_stands_around_it_comes_out_as_ever(body: bytes) -> None:
    around, plain = both(body)
    assert around == plain


_PIECES = st.sampled_from(
    [
        KNOWN,
        OTHER,
        b'"spec":',
        b'"spec":' + KNOWN,
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b'"a":',
        b"1",
        b'"',
        b"\\",
        b" ",
        b"null",
    ]
)


@given(st.lists(_PIECES, max_size=12))
def test_texts_of_all_kinds_of_pieces(pieces: list[bytes]) -> None:
    around, plain = both(b"".join(pieces))
    assert around == plain


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.just(SPEC),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["spec", "a", "b"]), below, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
def test_values_with_the_spec_anywhere(value: Any) -> None:
    around, plain = both(orjson.dumps(value))
    assert around == plain
