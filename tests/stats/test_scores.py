"""Probabilities, pairs of numbers, and whole sets of labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss

from calibration.stats import masi, scores
from calibration.stats.estimate import Estimate, StatisticsError

RNG = np.random.default_rng(11)
X = RNG.normal(3, 1, 80)
Y = X + RNG.normal(0.3, 0.7, 80)


def test_probabilities_against_scikit_learn() -> None:
    p, y = RNG.random(200), RNG.integers(0, 2, 200)
    found = scores.probabilities(p, y)
    assert found.brier.value == pytest.approx(brier_score_loss(y, p))
    assert found.log_loss.value == pytest.approx(log_loss(y, p))
    assert sum(one.n for one in found.bins) == 200


def test_calibrated_probabilities_lie_on_the_diagonal() -> None:
    p = RNG.random(20000)
    found = scores.probabilities(p, (RNG.random(20000) < p).astype(int))
    assert all(abs(one.mean_probability - one.share) < 0.05 for one in found.bins)
    assert found.ece.value is not None and found.ece.value < 0.03
    assert found.ece.low is None, "the calibration error is for display only"


def test_certainty_that_is_wrong_costs_much_but_not_everything() -> None:
    assert 30 < (scores.probabilities([1.0, 0.0], [0, 1]).log_loss.value or 0) < 40
    perfect = scores.probabilities([1.0, 0.0], [1, 0])
    assert perfect.brier.value == 0.0 and perfect.brier.high == 1.0
    assert scores.probabilities([], []).brier.reason == scores.probabilities([], []).ece.reason == "no_items"
    single = scores.probabilities([0.3], [0])
    assert single.brier.value == pytest.approx(0.09) and single.brier.low is None


def test_bins_are_closed_on_the_left_and_the_last_on_both_sides() -> None:
    found = scores.reliability(np.array([0.0, 0.1, 0.1999, 1.0]), np.array([0.0, 1, 1, 1]), 10)
    assert [(round(one.low, 1), one.n) for one in found] == [(0.0, 1), (0.1, 2), (0.9, 1)]


def test_correlations_are_scipys() -> None:
    assert scores.pearson(X, Y).value == pytest.approx(stats.pearsonr(X, Y).statistic)
    interval = stats.pearsonr(X, Y).confidence_interval(0.95)
    assert (scores.pearson(X, Y).low, scores.pearson(X, Y).high) == pytest.approx((interval.low, interval.high))
    ties = np.round(X), np.round(Y)
    assert scores.spearman(*ties).value == pytest.approx(stats.spearmanr(*ties).statistic)


@pytest.mark.parametrize("function", [scores.pearson, scores.spearman, scores.lin])
def test_intervals_cover(function: object) -> None:
    """Over many samples of one population the interval holds the population's value about as often as it says."""
    rng = np.random.default_rng(1)
    rho = {"pearson": 0.8, "spearman": 6 / np.pi * np.arcsin(0.4), "lin": 2 * 0.8 / (2 + 0.09)}
    truth, hits = rho[function.__name__], 0  # type: ignore[attr-defined]
    for _ in range(300):
        x, z = rng.normal(size=(2, 60))
        found = function(x, 0.8 * x + 0.6 * z + 0.3)  # type: ignore[operator]
        hits += found.low <= truth <= found.high
    assert 270 <= hits <= 299


A, B, AB, NONE = frozenset("a"), frozenset("b"), frozenset("ab"), frozenset[str]()


def test_masi_of_two_sets() -> None:
    assert masi.similarity(A, A) == masi.similarity(NONE, NONE) == 1
    assert masi.similarity(A, AB) == pytest.approx(1 / 2 * 2 / 3)
    assert masi.similarity(AB, frozenset("bc")) == pytest.approx(1 / 3 * 1 / 3)
    assert masi.similarity(A, B) == masi.similarity(A, NONE) == 0


def test_masi_of_a_slice() -> None:
    cells = [(A, A, 40, 40.0, 40.0), (A, AB, 10, 10.0, 10.0), (B, B, 30, 30.0, 30.0), (NONE, A, 5, 5.0, 5.0)]
    mean, alpha = masi.masi(cells)
    assert mean.value == pytest.approx((70 + 10 / 3) / 85)
    sets = [g for g, _, n, *_ in cells for _ in range(n)] + [p for _, p, n, *_ in cells for _ in range(n)]
    apart = np.mean([1 - masi.similarity(x, y) for x in sets for y in sets]) * len(sets) / (len(sets) - 1)
    assert alpha.value == pytest.approx(1 - (1 - (mean.value or 0)) / apart)
    assert alpha.low is not None and 0 < alpha.low < (alpha.value or 0)


def test_an_estimate_speaks_json() -> None:
    assert Estimate(0.5, 0.4, 0.6, "wilson").as_dict() == {"value": 0.5, "low": 0.4, "high": 0.6, "method": "wilson"}
    assert Estimate(0.5, method="x").as_dict() == {"value": 0.5, "method": "x"}
    assert Estimate.undefined("no_items").as_dict() == {"value": None, "reason": "no_items"}
    assert Estimate(0.5).half_width is None and not Estimate.undefined("no_items").defined
    with pytest.raises(StatisticsError):
        Estimate(float("nan")).as_dict()
