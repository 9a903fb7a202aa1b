"""Interval scales from sums of powers, against the numbers themselves."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from calibration.stats import moments, scores
from calibration.stats.estimate import StatisticsError
from calibration.stats.moments import Moments

RNG = np.random.default_rng(21)
X = RNG.uniform(1, 5, 90)
Y = np.clip(X + RNG.normal(0.2, 0.6, 90), 1, 5)
W = RNG.choice([1.0, 4.0], 90)
NAMES = ("bias", "mae", "rmse", "pearson", "lin", "alpha")


def test_it_works() -> None:
    found = moments.summarise(Moments.from_pairs(X, Y, centre=3.0, span=4.0)).estimates
    assert found["bias"].value == pytest.approx((Y - X).mean())
    assert found["mae"].value == pytest.approx(np.abs(Y - X).mean())
    assert found["rmse"].value == pytest.approx(np.sqrt(((Y - X) ** 2).mean()))
    assert found["pearson"].value == pytest.approx(stats.pearsonr(X, Y).statistic)
    assert found["lin"].value == pytest.approx(scores.lin(X, Y).value)
    reference = krippendorff.alpha(reliability_data=[X, Y], level_of_measurement="interval")
    assert found["alpha"].value == pytest.approx(reference)


def value_of(name: str, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    found = moments.summarise(Moments.from_pairs(x, y, w, centre=3.0, span=4.0)).estimates[name].value
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["bias", "limit_low", "limit_high", "rmse", "pearson", "lin", "alpha"])
def test_errors_are_those_of_one_label_more_or_less(name: str) -> None:
    """Infinitesimal jackknife: move each label's weight a little and add up the squared effects."""
    step, effects = 1e-5, []
    for k in range(len(X)):
        nudged = W.copy()
        nudged[k] *= 1 + step
        effects.append((value_of(name, X, Y, nudged) - value_of(name, X, Y, W)) / step)
    n = len(X)
    found = moments.summarise(Moments.from_pairs(X, Y, W, centre=3.0, span=4.0)).estimates[name]
    expected = np.sqrt(n / (n - 1) * (np.array(effects) ** 2).sum())
    assert found.standard_error == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("x", [X, np.round(X)])
@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 90])
def test_perfect_and_shifted_answers_have_an_interval(x: np.ndarray, shift: float, n: int) -> None:
    for name, found in moments.summarise(Moments.from_pairs(x[:n], x[:n] + shift, span=4.0)).estimates.items():
        if found.value is None:
            assert found.reason == "one_category" or (n == 1 and found.reason == "too_few_items")
            continue
        assert found.low is not None and found.high is not None, name
        assert found.low <= found.value <= found.high and found.low < found.high, name


@pytest.mark.parametrize("weights", [None, W])
def test_p_is_where_the_lower_limit_meets_the_bar(weights: np.ndarray | None) -> None:
    sums = Moments.from_pairs(X, Y, weights, centre=3.0, span=4.0)
    bar = (moments.alpha(sums).low or 0) - 0.02
    p = moments.trust_p(sums, bar)
    assert 0 < p < 0.025
    assert moments.alpha(sums, 1 - 2 * p).low == pytest.approx(bar, abs=1e-9)


def test_p_at_the_ends_of_the_range() -> None:
    sums = Moments.from_pairs(X, Y, centre=3.0, span=4.0)
    assert moments.trust_p(sums, 1.0) == 1.0 and moments.trust_p(sums, -50.0) == 0.0
    assert moments.trust_p(Moments.from_pairs(X[:1], Y[:1]), 0.5) == 1.0
    assert moments.trust_p(Moments.from_pairs(X[:0], Y[:0]), 0.5) == 1.0
    perfect = Moments.from_pairs(X[:5], X[:5], span=4.0)
    assert moments.trust_p(perfect, 0.95) > 0.025, "five labels prove little, perfect as they are"


def test_slices_add_up() -> None:
    first, second = (Moments.from_pairs(X[s], Y[s], W[s], 3.0, 4.0) for s in (slice(0, 40), slice(40, 90)))
    whole = Moments.from_pairs(X, Y, W, 3.0, 4.0)
    added = moments.summarise(first + second).estimates
    for name, found in moments.summarise(whole).estimates.items():
        assert added[name].low == pytest.approx(found.low), name
    with pytest.raises(StatisticsError):
        first + Moments.from_pairs(X, Y, W, 0.0)
    with pytest.raises(StatisticsError):
        Moments.from_pairs(np.array([np.nan]), np.array([1.0]))


def test_sums_by_name_are_the_same_sums() -> None:
    pairs = Moments.from_pairs(X, Y, W, 3.0, 4.0)
    sums = {f"{a}{b}": pairs.s1[a, b] for a in range(5) for b in range(5 - a)}
    sums |= {f"w{a}{b}": pairs.s2[a, b] for a in range(5) for b in range(5 - a)}
    again = Moments.from_sums(90, W.sum(), (W**2).sum(), sums | {"abs": pairs.absolute, "centre": 3.0}, span=4.0)
    assert moments.alpha(again) == moments.alpha(pairs)


def test_without_a_span_six_deviations_serve() -> None:
    with_span, without = (moments.alpha(Moments.from_pairs(X, Y, span=span)) for span in (4.0, None))
    assert with_span.value == without.value and without.low is not None and without.low < (without.value or 0)
    far = Moments.from_pairs(np.array([1.0, 1.0, 1.0]), np.array([9.0, 9.0, 9.0]))
    assert moments.alpha(far).low == -1.0


def test_the_constant_answer_is_the_mean_of_gold() -> None:
    found = moments.summarise(Moments.from_pairs(X, Y, centre=3.0))
    assert found.constant == pytest.approx(X.mean()) and found.constant_rmse == pytest.approx(X.std())
    empty = moments.summarise(Moments.from_pairs(X[:0], Y[:0]))
    assert empty.constant is None and empty.estimates["alpha"].reason == "no_items"


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.floats(1, 20)), min_size=1, max_size=30))
def test_an_estimate_is_a_number_within_its_limits_or_a_reason(rows: list[tuple[int, int, float]]) -> None:
    x, y, w = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    for name, found in moments.summarise(Moments.from_pairs(x, y, w, 3.0, 4.0)).estimates.items():
        if found.value is None:
            assert found.reason in ("one_category", "too_few_items")
            continue
        assert found.low is not None and found.high is not None
        assert found.low <= found.value <= found.high, name
        assert found.low < found.high, name


def test_icc_by_analysis_of_variance() -> None:
    """Shrout and Fleiss' six subjects, the first two judges."""
    first, second = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])
    rows = np.array([first, second]).T
    grand = rows.mean()
    between = 2 * ((rows.mean(1) - grand) ** 2).sum() / 5
    judges = 6 * ((rows.mean(0) - grand) ** 2).sum()
    error = ((rows - grand) ** 2).sum() - 5 * between - judges
    expected = (between - error / 5) / (between + error / 5 + 2 * (judges - error / 5) / 6)
    found = moments.icc(Moments.from_pairs(first, second, centre=5.0, span=9.0))
    assert found.value == pytest.approx(expected)
    assert found.low is not None and found.high is not None and -1 <= found.low < 0.2 < found.high <= 1


def test_icc_covers() -> None:
    rng, truth, hits = np.random.default_rng(1), 0.8 / 1.045, 0
    for _ in range(300):
        x, z = rng.normal(size=(2, 60))
        found = moments.icc(Moments.from_pairs(x, 0.8 * x + 0.6 * z + 0.3, span=8.0))
        hits += (found.low or 0) <= truth <= (found.high or 0)
    assert 270 <= hits <= 299


def test_icc_without_variation_is_undefined() -> None:
    assert moments.icc(Moments.from_pairs(np.full(2, 2.0), np.full(2, 2.0), span=4.0)).reason == "one_category"
    assert moments.icc(Moments.from_pairs(np.ones(1), np.full(1, 2.0), span=4.0)).reason == "too_few_items"
    assert moments.icc(Moments.from_pairs(np.array([0.0, 1]), np.array([1.0, 0]), span=4.0)).reason == "one_category"


def test_limits_of_agreement_are_bland_and_altmans() -> None:
    found = moments.summarise(Moments.from_pairs(X, Y, centre=3.0, span=4.0)).estimates
    gap = Y - X
    for name, side in (("limit_low", -1), ("limit_high", 1)):
        assert found[name].value == pytest.approx(gap.mean() + side * 1.959964 * gap.std(ddof=1))
        # Bland and Altman's own error of a limit, √(3/n) standard deviations, holds for normal differences.
        assert found[name].standard_error == pytest.approx(gap.std() * np.sqrt(2.92 / 90), rel=0.3)
    alike = moments.limit_of_agreement(Moments.from_pairs(X, X, centre=3.0, span=4.0), 1)
    assert alike.value == pytest.approx(0, abs=1e-6) and alike.low is not None and alike.low < -0.1
