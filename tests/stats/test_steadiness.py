"""What repeats imply and what a median's interval covers, against closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.stats import steadiness
from calibration.stats.estimate import StatisticsError


@pytest.mark.parametrize("right", [0.5, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("categories", [2, 3, 7])
def test_it_works(right: float, categories: int) -> None:
    """Sameness made from an accuracy gives that accuracy back."""
    same = right**2 + (1 - right) ** 2 / (categories - 1)
    found = steadiness.implied_accuracy(round(same * 10**7), 10**7, categories)
    assert found.value == pytest.approx(right, abs=2e-3)
    assert found.low is not None and found.high is not None
    assert found.low <= right + 1e-3 and right - 1e-3 <= found.high


def test_sameness_below_chance_is_chance_and_nothing_is_undefined() -> None:
    assert steadiness.implied_accuracy(0, 20, 4).value == pytest.approx(0.25)
    assert steadiness.implied_accuracy(0, 0, 4).reason == "no_items"
    with pytest.raises(StatisticsError):
        steadiness.implied_accuracy(1, 2, 1)


@pytest.mark.parametrize(("right", "categories"), [(0.95, 3), (0.85, 3), (0.7, 5), (0.8, 2)])
def test_the_interval_covers_the_accuracy(right: float, categories: int) -> None:
    rng = np.random.default_rng(5)
    answers = rng.random((2, 2000, 80)) < right
    other = rng.integers(1, categories, (2, 2000, 80))
    said = np.where(answers, 0, other)
    same = (said[0] == said[1]).sum(axis=1)
    found = [steadiness.implied_accuracy(int(one), 80, categories) for one in same]
    covered = np.mean([one.low <= right <= one.high for one in found])  # type: ignore[operator]
    assert covered >= 0.93


@pytest.mark.parametrize("n", [6, 9, 40, 151])
def test_the_median_is_covered_whatever_the_distribution(n: int) -> None:
    rng = np.random.default_rng(7)
    found = [steadiness.median(rng.exponential(size=n).tolist()) for _ in range(3000)]
    covered = np.mean([one.low <= np.log(2) <= one.high for one in found])  # type: ignore[operator]
    assert covered >= 0.945


def test_a_median_of_few_says_so() -> None:
    found = steadiness.median([3.0, 1.0, 2.0])
    assert (found.value, found.low, found.high) == (2.0, 1.0, 3.0)
    assert "too few" in found.method
    assert steadiness.median([]).reason == "no_items"
    with pytest.raises(StatisticsError, match="finite"):
        steadiness.median([1.0, float("nan")])
