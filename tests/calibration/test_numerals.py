"""Numbers as people read them."""

from __future__ import annotations

import pytest

from calibration import numerals


@pytest.mark.parametrize(
    ("number", "digits", "plain", "signed"),
    [
        (0.344, 2, "0.34", "+0.34"),
        (-0.344, 2, "−0.34", "−0.34"),
        (-0.001, 2, "0.00", "+0.00"),
        (-1234.5, 0, "−1234", "−1234"),
    ],
)
def test_a_minus_is_as_wide_as_a_plus_and_nothing_has_none(number: float, digits: int, plain: str, signed: str) -> None:
    assert numerals.written(number, digits) == plain
    assert numerals.signed(number, digits) == signed


def test_a_difference_of_shares_is_written_in_points() -> None:
    assert numerals.points(-0.0837) == "−8.4"
    assert numerals.points(0.0837) == "+8.4"
