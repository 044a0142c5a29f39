"""Request bodies: JSON and YAML as Go's parsers read them, and their complaints."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.errors import BadRequest
from pybernetes.api.schema import jsonerror
from pybernetes.api.schema.text import TextError, parse_body, parse_json, parse_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("tru", "unexpected end of JSON input"),
        ("trux", "invalid character 'x' in literal true (expecting 'e')"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("012", "invalid character '1' after top-level value"),
        ('"a\nb"', r"invalid character '\n' in string literal"),
        (r'"\x"', "invalid character 'x' in string escape code"),
        (r'"\u12g4"', r"invalid character 'g' in \u hexadecimal character escape"),
        ("'a'", r"invalid character '\'' looking for beginning of value"),
        ("[" * 100_000, "unexpected end of JSON input"),
    ],
)
@pytest.mark.parametrize("find_duplicates", [False, True])
def test_malformed_json(text: str, message: str, find_duplicates: bool) -> None:
    with pytest.raises(TextError) as e:
        parse_json(text.encode(), find_duplicates=find_duplicates)
    assert str(e.value) in (message, "exceeded max depth")


def test_duplicates_have_paths() -> None:
    body = b'{"spec":{"replicas":1,"replicas":2,"c":[{},{"a":1,"a":1,"a":2}]},"spec":{"x":1}}'
    assert parse_json(body).faults == []
    parsed = parse_json(body, find_duplicates=True)
    assert parsed.value == {"spec": {"x": 1}}
    assert parsed.faults == [
        'duplicate field "spec.replicas"',
        'duplicate field "spec.c[1].a"',
        'duplicate field "spec"',
    ]


def test_numbers_beyond_64_bits_and_bad_text_are_survived() -> None:
    value = parse_json(
        b'{"a":123456789012345678901234567890,"b":"\\ud800x","c":9223372036854775807}', find_duplicates=True
    ).value
    assert value["c"] == 2**63 - 1 and isinstance(value["a"], float)
    orjson.dumps(value)
    assert parse_json(b'{"a":"\xff"}').value == {"a": "\ufffd"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_json_round_trips(value: Any) -> None:
    text = json.dumps(value).encode()
    assert parse_json(text).value == value == parse_json(text, find_duplicates=True).value
    assert jsonerror.describe(text) == ""


@given(JSON, st.integers(0, 60), st.sampled_from(list(b'{}[],:"\\x1.e- \n')))
def test_the_describer_agrees_with_the_parser(value: Any, at: int, byte: int) -> None:
    """Text with one byte changed: either both take it, or the describer has something to say."""
    text = bytearray(json.dumps(value).encode())
    text[at % len(text)] = byte
    try:
        orjson.loads(bytes(text))
    except orjson.JSONDecodeError:
        pass
    else:
        assert jsonerror.describe(bytes(text)) == ""
        return
    message = jsonerror.describe(bytes(text))
    if message:
        with pytest.raises(TextError) as e:
            parse_json(bytes(text))
        assert str(e.value) == message
    else:
        parse_json(bytes(text))  # orjson is stricter than Go: half surrogates


def test_yaml_scalars_are_read_as_go_reads_them() -> None:
    text = b"""
    bool: [yes, No, on, off, y, N, true, FALSE]
    str: ["yes", 'no', 2026-01-02, 2026-01-02T03:04:05Z, 12:30, 1.2.3, !!str 5, 0x, 1_000x, '']
    int: [1, -2, 0x1F, 0b11, 017, 0o17, 1_000, +4]
    float: [1.5, 1e3, .5, 08]
    nulls: [~, null, Null]
    1: one
    true: two
    """
    assert parse_yaml(text).value == {
        "bool": [True, False, True, False, True, False, True, False],
        "str": ["yes", "no", "2026-01-02", "2026-01-02T03:04:05Z", "12:30", "1.2.3", "5", "0x", "1_000x", ""],
        "int": [1, -2, 31, 3, 15, 15, 1000, 4],
        "float": [1.5, 1000, 0.5, 8],
        "nulls": [None, None, None],
        "1": "one",
        "true": "two",
    }
    with pytest.raises(TextError, match="unsupported map key of type: nil"):
        parse_yaml(b"null: 1")


def test_yaml_anchors_and_merge_keys() -> None:
    text = b"base: &b {a: 1, b: 2}\nother:\n  <<: *b\n  b: 3\nsame: *b\n"
    value = parse_yaml(text).value
    assert value["other"] == {"a": 1, "b": 3}
    value["same"]["a"] = 9
    assert value["base"]["a"] == 1, "an alias is a copy"


def test_yaml_duplicates() -> None:
    body = b"a: 1\nb: 2\na: 3\n"
    assert parse_yaml(body).value == {"a": 3, "b": 2}
    assert parse_yaml(body, find_duplicates=True).faults == [
        'yaml: unmarshal errors:\n  line 3: key "a" already set in map'
    ]


def test_yaml_bombs_are_refused() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
    )
    with pytest.raises(TextError, match="excessive aliasing"):
        parse_yaml(bomb.encode())
    with pytest.raises(TextError, match="max depth"):
        parse_yaml(b"[" * 50_000)


@pytest.mark.parametrize("text", ["a: b: c", "a: [1", "\ta: 1", "a: *nope", "- a\nb: 1", "a: .inf", "? [x]\n: 1"])
def test_malformed_yaml(text: str) -> None:
    with pytest.raises(TextError):
        parse_yaml(text.encode())


def test_malformed_yaml_names_the_line() -> None:
    with pytest.raises(TextError, match="yaml: line 2: mapping values are not allowed in this context"):
        parse_yaml(b"x: 1\na: b: c")


@given(JSON)
def test_yaml_reads_quoted_text_and_structure_as_json_does(value: Any) -> None:
    """What PyYAML writes with every scalar quoted comes back with every scalar a string."""

    def texts(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: texts(x) for k, x in v.items()}
        return [texts(x) for x in v] if isinstance(v, list) else str(v)

    wanted = texts(value)
    assert parse_yaml(yaml.safe_dump(wanted, allow_unicode=False, default_style='"').encode()).value == wanted


def test_bodies() -> None:
    assert parse_body(b'{"kind":"Pod"}', "json", "Pod").value == {"kind": "Pod"}
    assert parse_body(b"kind: Pod", "yaml", "Pod").value == {"kind": "Pod"}
    json_error = "couldn't get version/kind; json parse error: "
    for body, media, message in (
        (b"", "json", json_error + "unexpected end of JSON input (<empty>)"),
        (b'{"a":}', "json", json_error + "invalid character '}' looking for beginning of value ({\"a\":})"),
        (b"abc", "json", json_error + "invalid character 'a' looking for beginning of value (616263)"),
        (
            b'{"kind":1}',
            "json",
            json_error + 'json: cannot unmarshal number into Go struct field .kind of type string ({"kind":1})',
        ),
        (b"a: b: c", "yaml", "yaml: line 1: mapping values are not allowed in this context (613a20623a2063)"),
    ):
        with pytest.raises(BadRequest) as e:
            parse_body(body, media, "Pod")  # type: ignore[arg-type]
        assert e.value.message == f"the object provided is unrecognized (must be of type Pod): {message}"
    with pytest.raises(BadRequest, match="cannot unmarshal array into Go value of type struct"):
        parse_body(b"[]", "json", "Pod")


def test_a_field_twice_is_told_beside_escapes() -> None:
    body = b'{"metadata":{"name":"a","name":"b","annotations":{"x":"a\\u003cb","y":"\\ud800"}}}'
    parsed = parse_json(body, find_duplicates=True)
    assert list(parsed.faults) == ['duplicate field "metadata.name"']
    assert parsed.value == {"metadata": {"name": "b", "annotations": {"x": "a<b", "y": "\N{REPLACEMENT CHARACTER}"}}}
    assert parse_body(body, "json", "ConfigMap", find_duplicates=True).value == parsed.value
