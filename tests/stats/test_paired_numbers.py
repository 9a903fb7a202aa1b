"""The paired mean of numbers: against scipy, over slices, in repeated sampling, and where nothing varies."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from calibration.stats import paired
from calibration.stats.paired import Sums

RNG = np.random.default_rng(8)
X = RNG.normal(0.3, 1.2, 60)


def test_even_weights_give_the_t_interval() -> None:
    found = paired.mean(Sums.of(X))
    low, high = stats.t.interval(0.95, len(X) - 1, loc=X.mean(), scale=stats.sem(X))
    assert (found.value, found.low, found.high) == pytest.approx((X.mean(), low, high), abs=1e-12)
    assert found.n == found.effective_n == 60
    scaled = paired.mean(Sums.of(X, np.full(60, 7.5)))
    assert (scaled.low, scaled.high) == pytest.approx((low, high), abs=1e-12)
    test = stats.ttest_1samp(X, 0.9, alternative="less")
    assert paired.below_p(Sums.of(X), 0.9) == pytest.approx(test.pvalue, abs=1e-12)


def test_sums_add_up_over_slices() -> None:
    weights = RNG.uniform(1, 4, 60)
    parts = [Sums.of(X[a:b], weights[a:b]) for a, b in pairwise((0, 13, 30, 60))]
    added, whole = paired.mean(parts[0] + parts[1] + parts[2]), paired.mean(Sums.of(X, weights))
    assert (added.value, added.low, added.high) == pytest.approx((whole.value, whole.low, whole.high), abs=1e-12)
    assert whole.value == pytest.approx(np.average(X, weights=weights))
    assert paired.mean(paired.total(parts)).low == pytest.approx(added.low, abs=1e-12)
    assert paired.mean(paired.total([])).reason == "no_items"


def test_an_uneven_sample_covers() -> None:
    """Units with large errors are drawn three times as often; 95 % intervals of the weighted mean hold the mean of all."""
    rng = np.random.default_rng(21)
    errors = rng.gamma(1.5, 0.5, 4000)
    odds = np.where(errors > 1, 3.0, 1.0)
    chance = 200 * odds / odds.sum()
    inside, runs = 0, 1500
    for _ in range(runs):
        drawn = rng.random(4000) < chance
        found = paired.mean(Sums.of(errors[drawn], 1 / chance[drawn]))
        assert found.low is not None and found.high is not None
        inside += found.low <= errors.mean() <= found.high
    assert 0.93 <= inside / runs <= 0.975


def test_numbers_that_are_all_alike_are_no_point() -> None:
    found = paired.mean(Sums.of(np.zeros(30), span=4.0))
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -0.4, 0.4))
    assert found.method == "rule of three"
    assert paired.mean(Sums.of(np.zeros(30))).reason == "no_variance"
    assert paired.below_p(Sums.of(np.zeros(30), span=4.0), 0.5) == 0.05
    assert paired.below_p(Sums.of(np.zeros(30), span=4.0), 0.3) == 1.0
    assert paired.below_p(Sums.of(np.zeros(30)), 0.3) == 1.0


@pytest.mark.parametrize(("count", "reason"), [(0, "no_items"), (1, "too_few_items")])
def test_too_few_numbers_say_so(count: int, reason: str) -> None:
    assert paired.mean(Sums.of(np.zeros(count))).reason == reason
