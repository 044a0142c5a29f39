"""Numbers and percentages."""

from __future__ import annotations

import pytest

from pybernetes.api.intstr import IntOrStringError, is_percent, scaled_value


def test_scaled() -> None:
    assert scaled_value(3, 10, round_up=True) == 3
    assert scaled_value("25%", 10, round_up=True) == 3
    assert scaled_value("25%", 10, round_up=False) == 2
    assert scaled_value("100%", 3, round_up=False) == 3
    assert is_percent("5%") and not is_percent("5") and not is_percent(5)


@pytest.mark.parametrize(
    ("value", "text"), [("5", "string is not a percentage"), ("x%", 'parsing "x": invalid syntax')]
)
def test_errors(value: str, text: str) -> None:
    with pytest.raises(IntOrStringError, match=text):
        scaled_value(value, 10, round_up=True)
