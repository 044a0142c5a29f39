"""Label and field selectors: what they match, how they print, how they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import selectors
from pybernetes.api.selectors import SelectorError, from_label_selector, parse_field_selector, parse_label_selector

LABELS = {"a": "b", "c": "x", "n": "5", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True), ("a=b", True), ("a==b", True), ("a = b", True), ("a=c", False), ("a!=c", True), ("zz!=c", True),
        ("c in (x,y)", True), ("c in (y)", False), ("zz in (y)", False), ("c notin (y)", True), ("zz notin (y)", True),
        ("a", True), ("!a", False), ("!zz", True), ("a=b,c in (x,y),!d", True), ("n>4", True), ("n<4", False),
        ("a>4", False), ("empty=", True), ("empty", True), ("empty in ()", True), ("empty in (,q)", True),
        ("empty in (q,)", True), ("a in (in,notin,b)", True),
    ],
)  # fmt: skip
def test_label_selector(text: str, expected: bool) -> None:
    assert parse_label_selector(text).matches(LABELS) is expected


def test_label_selector_text_is_sorted() -> None:
    assert str(parse_label_selector("c in (y,x),a=b,!d,e,f!=g,h notin (i),n>3")) == (
        "a=b,c in (x,y),!d,e,f!=g,h notin (i),n>3"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a>x", "the value must be an integer"),
        ("-a=b", 'unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of'),
        ("a=b*", "values\\[0\\]\\[a\\]: Invalid value: \"b\\*\": a valid label must be an empty string"),
    ],
)  # fmt: skip
def test_label_selector_errors(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as e:
        parse_label_selector(text)
    assert message.replace("\\", "") in str(e.value)


def test_label_selector_objects() -> None:
    assert not from_label_selector(None).matches({})
    assert from_label_selector({}).matches({}) and from_label_selector({}).empty
    selector = from_label_selector(
        {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}]}
    )
    assert selector.matches(LABELS)
    assert str(selector) == "a=b,c in (x,y)"
    assert selector.exact("a") == "b" and selector.exact("c") is None
    with pytest.raises(SelectorError, match='"Near" is not a valid label selector operator'):
        from_label_selector({"matchExpressions": [{"key": "c", "operator": "Near"}]})
    with pytest.raises(SelectorError, match="values set can't be empty"):
        from_label_selector({"matchExpressions": [{"key": "c", "operator": "In"}]})


def test_plain_sets() -> None:
    assert selectors.from_set({"a": "b"}).matches(LABELS)
    assert not selectors.from_set({"a": "c"}).matches(LABELS)
    assert selectors.from_set(None).empty


KEYS = st.from_regex(r"[a-z]([-a-z0-9]{0,5}[a-z0-9])?", fullmatch=True).filter(lambda k: k not in ("in", "notin"))
MAPS = st.dictionaries(KEYS, st.from_regex(r"([A-Za-z0-9]{0,4})", fullmatch=True), max_size=4)


@given(MAPS, MAPS)
def test_a_set_selects_its_supersets(wanted: dict[str, str], labels: dict[str, str]) -> None:
    selector = selectors.from_set(wanted)
    assert selector.matches(labels) == all(labels.get(k) == v and k in labels for k, v in wanted.items())
    assert selector.matches({**labels, **wanted})
    again = parse_label_selector(str(selector))
    assert again == selector
    assert again.matches(labels) == selector.matches(labels)


@given(st.text(alphabet="ab=!(),<> innot-", max_size=20))
def test_parsing_ends_in_a_selector_or_a_selector_error(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except SelectorError:
        return
    assert parse_label_selector(str(selector)).requirements == selector.requirements


def test_field_selectors() -> None:
    selector = parse_field_selector("status.phase!=Running,metadata.name=x")
    assert selector.matches({"status.phase": "Failed", "metadata.name": "x"})
    assert not selector.matches({"status.phase": "Running", "metadata.name": "x"})
    assert selector.exact("metadata.name") == "x" and selector.exact("status.phase") is None
    assert str(selector) == "metadata.name=x,status.phase!=Running"
    assert parse_field_selector("").empty
    assert parse_field_selector("spec.nodeName=").matches({})
    assert parse_field_selector("a==b").matches({"a": "b"})
    assert parse_field_selector(r"a=b\,c\=d").matches({"a": "b,c=d"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "invalid selector: 'abc'; can't understand 'abc'"),
        (r"a=\x", "invalid field selector: invalid escape sequence: \\x"),
        ("a=b=c", "invalid field selector: unescaped character in value"),
    ],
)
def test_field_selector_errors(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as e:
        parse_field_selector(text)
    assert message in str(e.value)


@given(st.dictionaries(KEYS, st.text(max_size=8), max_size=4))
def test_field_selector_text_round_trips(fields: dict[str, str]) -> None:
    selector = selectors.FieldSelector(tuple(selectors.FieldRequirement(k, v) for k, v in sorted(fields.items())))
    assert parse_field_selector(str(selector)).matches(fields)
