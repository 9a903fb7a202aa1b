"""Whether the mean of a measured share has risen: the alarm, its guarantee, and the intervals beside it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from calibration.stats import rises
from calibration.stats.estimate import Estimate, StatisticsError

SPREAD = 12.0
"""Shares are drawn from Beta(12 m, 12 (1 - m)): word error rates of calls look like that."""


def drawn(mean: float, size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.beta(SPREAD * mean, SPREAD * (1 - mean), size)


def weeks(means: list[float], *, calls: int = 40, seed: int = 1) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(f"w{n:02}", drawn(mean, calls, rng)) for n, mean in enumerate(means)]


def test_a_rise_is_found_and_dated() -> None:
    reference = drawn(0.10, 200, np.random.default_rng(2))
    found = rises.rise_monitor(weeks([0.10] * 5 + [0.25] * 6), reference=reference, subject="asr-1")
    assert found.alarmed_at is not None and found.alarmed_at >= "w05"
    assert found.since == "w05" and found.reason is None and found.subject == "asr-1"
    assert found.limit == pytest.approx(rises.mean_of(reference).high + rises.MARGIN)  # type: ignore[operator]
    assert found.recent.value == pytest.approx(0.25, abs=0.03), "the mean since the change, not of all weeks"
    assert "5 %" in found.guarantee and f"{100 * found.limit:.1f} %" in found.guarantee  # type: ignore[operator]


def test_without_a_rise_alarms_keep_their_promise() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for seed in range(200):
        reference = drawn(0.10, 100, rng)
        alarms += rises.rise_monitor(weeks([0.10] * 20, seed=seed), reference=reference).alarmed_at is not None
    assert alarms <= 10, "at most 5 % of the streams"


def test_nothing_to_compare_with_is_said() -> None:
    few = rises.rise_monitor(weeks([0.3]), reference=[0.1] * (rises.LEAST_REFERENCE - 1))
    assert (few.reason, few.alarmed_at, few.reference.n) == ("too_few_items", None, rises.LEAST_REFERENCE - 1)
    # Where the reference may already be at 1, nothing can rise above it.
    assert rises.rise_monitor(weeks([0.3]), reference=[0.995] * 50).reason == "too_few_items"
    assert rises.rise_monitor([], reference=[]).reason == "too_few_items"
    assert rises.rise_monitor([], reference=drawn(0.1, 50, np.random.default_rng(1))).recent.reason == "no_items"


def test_means_have_students_interval_within_the_range() -> None:
    values = np.array([0.1, 0.2, 0.4, 0.4])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    found = rises.mean_of(values)
    assert (found.low, found.high) == pytest.approx((max(low, 0.0), high))
    alone = rises.mean_of(values[:1])
    assert (alone.value, alone.low, alone.high, alone.n) == (0.1, None, None, 1)
    assert rises.mean_of(values[:0]).reason == "no_items"


def test_a_difference_of_means_is_welchs() -> None:
    a, b = np.array([0.1, 0.2, 0.3, 0.2]), np.array([0.4, 0.5, 0.9, 0.6, 0.6])
    found = rises.difference(rises.mean_of(a), rises.mean_of(b))
    theirs = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_a_difference_says_what_it_lacks() -> None:
    some, alone, nothing = (rises.mean_of(np.array(values)) for values in ([0.1, 0.3], [0.2], []))
    assert rises.difference(nothing, some).reason == "no_items"
    assert rises.difference(some, Estimate.undefined("withheld")).reason == "withheld"
    assert (rises.difference(some, alone).reason, rises.difference(some, alone).n) == ("too_few_items", 3)
    flat = rises.difference(rises.mean_of(np.full(3, 0.25)), rises.mean_of(np.full(4, 0.5)))
    assert (flat.value, flat.low, flat.n) == (0.25, None, 7)


@pytest.mark.parametrize("values", [[0.1, 1.2], [-0.1], [float("nan")], [[0.1]]])
def test_what_is_no_share_is_refused(values: list[float]) -> None:
    with pytest.raises(StatisticsError):
        rises.rise_monitor([("w", values)], reference=[0.1] * 50)
