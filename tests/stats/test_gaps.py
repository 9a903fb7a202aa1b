"""A gap's interval and its word: real, made by the classifier, none, or not known."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.stats.estimate import Estimate
from calibration.stats.gaps import gap, minus
from calibration.stats.intervals import wilson


def test_newcombe_1998_table_ii() -> None:
    """56/70 − 48/80 by square-and-add of Wilson limits: 0.0524 to 0.3339 (Newcombe 1998, method 10)."""
    found = minus(wilson(56, 70), wilson(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


@pytest.mark.parametrize(
    ("here", "others", "raw", "word"),
    [
        ((0.5, 0.45, 0.55), (0.3, 0.28, 0.32), 0.2, "real gap"),
        ((0.3, 0.27, 0.33), (0.3, 0.28, 0.32), 0.2, "classifier noise"),
        ((0.3, 0.28, 0.32), (0.3, 0.28, 0.32), 0.01, "no gap"),
        ((0.3, 0.1, 0.5), (0.3, 0.28, 0.32), 0.1, "not enough evidence"),
    ],
)
def test_words(here: tuple[float, ...], others: tuple[float, ...], raw: float, word: str) -> None:
    assert gap(Estimate(*here, n=100), Estimate(*others, n=100), raw=raw).word == word


def test_what_is_unknown_on_one_side_is_unknown() -> None:
    found = gap(Estimate.undefined("too_few_items", n=3), Estimate(0.3, 0.2, 0.4, n=100), raw=0.3)
    assert found.word == "not enough evidence" and found.corrected.reason == "too_few_items"


def test_the_range_of_the_scores_scales_what_is_negligible() -> None:
    here, others = Estimate(3.0, 2.95, 3.05, n=900), Estimate(3.0, 2.95, 3.05, n=900)
    assert gap(here, others, raw=0.02).word == "not enough evidence"
    assert gap(here, others, raw=0.02, unit=4.0).word == "no gap"


def test_equal_slices_are_called_a_real_gap_as_rarely_as_the_interval_says() -> None:
    rng = np.random.default_rng(3)
    draws = rng.binomial(200, 0.3, (2000, 2))
    wrong = sum(gap(wilson(int(a), 200), wilson(int(b), 200), raw=0.0).word == "real gap" for a, b in draws)
    assert wrong / 2000 < 0.065
