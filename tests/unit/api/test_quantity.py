"""Quantities: canonical forms known from upstream, and properties of the arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import quantity
from pybernetes.api.quantity import Quantity, QuantityError, parse

CANONICAL = {
    "0": "0", "0m": "0", "0Mi": "0", "1000m": "1", "100m": "100m", "1.5": "1500m", "0.5": "500m", "1": "1",
    "1000": "1k", "1024": "1024", "1024Mi": "1Gi", "1Ki": "1Ki", "0.5Ki": "512", "0.5Mi": "512Ki", "1.5Gi": "1536Mi",
    "1e3": "1e3", "1E3": "1e3", "12e-3": "12e-3", "1e0": "1", "1E": "1E", "5000M": "5G", "1n": "1n", "0.1n": "1n",
    "-500m": "-500m", "-1024Ki": "-1Mi", "+1": "1", "007": "7", "1.": "1", ".5": "500m", "0.001Ki": "1024m",
    "128974848": "128974848", "129e6": "129e6", "129M": "129M", "100000k": "100M", "0.1Ki": "102400m",
    "16Ei": "9223372036854775807", "1e-12": "1e-9",
}  # fmt: skip


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items())
def test_canonical_form(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize("text", ["", "abc", "1.5.5", "1 Gi", " 1", "1gi", "--1", "1e3.5", "1Mi5x", "٣"])
def test_bad_format(text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)


def test_error_texts() -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        parse("lots")
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        parse("1Gm")
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        parse("1e1000000")


def test_values_round_away_from_zero() -> None:
    assert parse("100m").value == 1
    assert parse("-100m").value == -1
    assert parse("1u").milli_value == 1
    assert parse("1500m").milli_value == 1500
    assert parse("2Gi").value == 2 * 1024**3


def test_a_sum_keeps_the_format() -> None:
    assert str(parse("1Gi") + parse("512Mi")) == "1536Mi"
    assert str(Quantity() + parse("1Gi")) == "1Gi"
    assert str(parse("1") - parse("250m")) == "750m"
    assert parse("1000m") == parse("1") and hash(parse("1000m")) == hash(parse("1"))
    assert parse("1Ki") > parse("1k") >= parse("1000")


SUFFIX = {"": Fraction(1), "m": Fraction(1, 1000), "k": Fraction(1000), "M": Fraction(10**6), "Ki": Fraction(1024),
          "Mi": Fraction(1024**2), "Gi": Fraction(1024**3), "e3": Fraction(1000), "E-2": Fraction(1, 100)}  # fmt: skip


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**4), st.sampled_from(sorted(SUFFIX)))
def test_amount_is_exact_and_the_canonical_text_means_the_same(whole: int, places: int, suffix: str) -> None:
    text = f"{whole}.{places:04d}{suffix}"
    exact = (abs(whole) + Fraction(int(f"{places:04d}"), 10 ** len(f"{places:04d}"))) * SUFFIX[suffix]
    amount = exact if whole >= 0 and not text.startswith("-") else -exact
    found = parse(text)
    assert abs(Fraction(found.nano, quantity.NANO) - amount) < Fraction(1, quantity.NANO)
    again = str(found)
    assert parse(again) == found
    assert quantity.canonical(again) == again
    assert "." not in again


@given(st.integers(-(10**20), 10**20), st.integers(-(10**20), 10**20))
def test_order_and_sum_follow_the_amounts(a: int, b: int) -> None:
    x, y = Quantity(a), Quantity(b)
    assert (x < y) == (a < b)
    assert (x + y).nano == a + b
    assert ((x + y) - y) == x
    assert x.value * quantity.NANO >= a if a >= 0 else x.value * quantity.NANO <= a
