"""Durations, selectors and cut lists, as ``kubectl get`` shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.printers.values import access_modes, format_labels, format_selector, human_duration, more, since

DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (303, "5m3s"),
        (599, "9m59s"),
        (600, "10m"),
        (179 * 60, "179m"),
        (180 * 60, "3h"),
        (3 * 3600 + 20 * 60, "3h20m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (52 * 3600, "2d4h"),
        (8 * DAY, "8d"),
        (400 * DAY, "400d"),
        (730 * DAY, "2y"),
        (735 * DAY, "2y5d"),
        (3000 * DAY, "8y"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@given(st.floats(0, 1e10))
def test_a_duration_has_at_most_two_units(seconds: float) -> None:
    text = human_duration(seconds)
    assert 1 <= sum(c.isalpha() for c in text) <= 2


def test_since() -> None:
    assert since("2026-01-01T00:00:00Z", 1767225600 + 90) == "90s"
    assert since(None, 0) == since("nonsense", 0) == "<unknown>"


def test_selectors() -> None:
    assert format_labels({"b": "2", "a": "1"}) == "a=1,b=2"
    assert format_labels(None) == format_selector(None) == format_selector({}) == "<none>"
    expression = {"key": "c", "operator": "In", "values": ["y", "x"]}
    assert format_selector({"matchLabels": {"a": "1"}, "matchExpressions": [expression]}) == "a=1,c in (x,y)"


def test_lists_are_cut_at_three() -> None:
    assert more([], 0, "<unset>") == "<unset>"
    assert more(["a", "b", "c"], 3, "") == "a,b,c"
    assert more(["a", "b", "c", "d", "e"], 5, "") == "a,b,c + 2 more..."


def test_access_modes() -> None:
    assert access_modes(["ReadWriteMany", "ReadWriteOnce"]) == "RWO,RWX"
