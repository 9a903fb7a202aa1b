"""Agreement among people, against krippendorff and by leaving items out one by one."""

from __future__ import annotations

import math

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import fleiss_kappa

from calibration.stats import human
from calibration.stats.estimate import Estimate, StatisticsError

VALUES = (1.0, 2.0, 4.0, 5.0)
LEVELS = ("nominal", "ordinal", "interval", "ratio")


def counts_of(items: int, raters: int, values: int = 4, seed: int = 0) -> np.ndarray:
    """Ratings that agree somewhat, with a third of them missing."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, values, items)
    ratings = np.where(rng.random((items, raters)) < 0.6, truth[:, None], rng.integers(0, values, (items, raters)))
    counts = np.zeros((items, values))
    kept = rng.random((items, raters)) < 0.67
    for rater in range(raters):
        np.add.at(counts, (np.flatnonzero(kept[:, rater]), ratings[kept[:, rater], rater]), 1)
    return counts


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("items", [12, 300])
def test_alpha_is_krippendorffs(level: str, items: int) -> None:
    counts = counts_of(items, 5)
    found = human.human_alpha(counts, level=level, values=VALUES)
    reference = krippendorff.alpha(
        value_counts=counts.astype(int), value_domain=list(VALUES), level_of_measurement=level
    )
    assert found.value == pytest.approx(reference, abs=1e-12)
    assert found.n == (counts.sum(1) >= 2).sum()


@pytest.mark.parametrize("level", LEVELS)
def test_its_standard_error_is_that_of_leaving_each_item_out(level: str) -> None:
    counts = counts_of(40, 4)
    counts = counts[counts.sum(1) >= 2]
    values = [
        human.human_alpha(np.delete(counts, item, axis=0), level=level, values=VALUES).value
        for item in range(len(counts))
    ]
    m = len(counts)
    expected = math.sqrt((m - 1) / m * ((np.array(values) - np.mean(values)) ** 2).sum())
    found = human.human_alpha(counts, level=level, values=VALUES)
    assert found.standard_error == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("function", [human.human_ac1, human.fleiss_kappa])
def test_the_same_for_other_coefficients(function: object) -> None:
    counts = counts_of(30, 4)
    counts = counts[counts.sum(1) >= 2]
    values = np.array([function(np.delete(counts, item, axis=0)).value for item in range(len(counts))])  # type: ignore[operator]
    expected = math.sqrt((len(counts) - 1) / len(counts) * ((values - values.mean()) ** 2).sum())
    assert function(counts).standard_error == pytest.approx(expected, rel=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("level", LEVELS)
def test_a_row_may_stand_for_many_units(level: str) -> None:
    counts = counts_of(25, 4)
    times = np.random.default_rng(3).integers(0, 5, 25)
    spelled_out = np.repeat(counts, times, axis=0)
    assert human.human_alpha(counts, level=level, values=VALUES, units=times).as_dict() == pytest.approx(
        human.human_alpha(spelled_out, level=level, values=VALUES).as_dict()
    )
    assert human.human_ac1(counts, units=times).low == pytest.approx(human.human_ac1(spelled_out).low)
    assert human.fleiss_kappa(counts, units=times).low == pytest.approx(human.fleiss_kappa(spelled_out).low)


def test_fleiss_kappa_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(2)
    counts = rng.multinomial(6, [0.5, 0.3, 0.2], size=50)
    assert human.fleiss_kappa(counts).value == pytest.approx(fleiss_kappa(counts))
    assert human.fleiss_kappa([[1, 0]]).reason == "no_pairable_ratings"
    assert human.fleiss_kappa([[2, 0], [2, 0]]).reason == "one_category"


def test_many_values_take_the_road_of_moments() -> None:
    rng = np.random.default_rng(4)
    ratings = rng.normal(0, 60, 80)[:, None] + rng.normal(0, 40, (80, 4))
    codes = np.clip(np.round(ratings / 10).astype(int) + 20, 0, 39)
    counts = np.zeros((80, 40))
    np.add.at(counts, (np.arange(80)[:, None], codes), 1)
    by_counts = human.human_alpha(counts, level="interval", values=range(40))
    by_moments = human.alpha_of_moments(
        np.full(80, 4), codes.sum(1), (codes**2).sum(1), float(codes.max() - codes.min())
    )
    reference = krippendorff.alpha(reliability_data=codes.T, level_of_measurement="interval")
    assert by_counts.value == pytest.approx(reference) == by_moments.value
    assert by_counts.low == pytest.approx(by_moments.low) and by_counts.high == pytest.approx(by_moments.high)


@settings(max_examples=80)
@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=12), st.sampled_from(LEVELS))
def test_an_estimate_is_a_number_within_its_limits_or_a_reason(rows: list[list[int]], level: str) -> None:
    for found in (human.human_alpha(rows, level=level, values=(0.0, 1.0, 3.0)), human.human_ac1(rows)):
        if found.value is None:
            assert found.reason in ("no_pairable_ratings", "one_category")
            continue
        assert found.low is not None and found.high is not None
        assert min(-1.0, found.value) <= found.low <= found.value <= found.high <= 1
        assert found.low < found.high


def test_an_interval_widens_with_fewer_items_and_says_so() -> None:
    few, many = (human.human_alpha(counts_of(items, 5), level="nominal") for items in (30, 600))
    assert few.half_width is not None and many.half_width is not None and few.half_width > 3 * many.half_width
    assert few.method.endswith("fewer than 50 items") and many.method == human.LEAVE_ONE_OUT


def test_perfect_agreement_has_an_interval() -> None:
    found = human.human_alpha([[3, 0]] * 20 + [[0, 3]] * 10, level="nominal")
    assert found.value == 1.0 and found.low is not None and 0.5 < found.low < 1.0


def test_nothing_to_compare() -> None:
    assert human.human_alpha([[1, 0], [0, 1]], level="nominal").reason == "no_pairable_ratings"
    assert human.human_alpha(np.zeros((0, 2)), level="ordinal").reason == "no_pairable_ratings"
    assert human.alpha_of_moments([1.0], [3.0], [9.0], 4.0).reason == "no_pairable_ratings"
    for level in LEVELS:
        assert human.human_alpha([[3, 0]] * 5, level=level, values=(1.0, 2.0)).reason == "one_category"
    assert human.human_ac1([[1, 0]]).reason == "no_pairable_ratings"
    assert human.human_ac1([[2], [3]]).reason == "one_category"
    assert human.human_ac1([[2, 0], [3, 0]]).value == 1.0


def test_the_ceiling_is_the_root() -> None:
    assert human.ceiling(Estimate(0.49, 0.36, 0.64, n=80)).value == pytest.approx(0.7)
    assert human.ceiling(Estimate(-0.1, -0.2, 0.04)).value == 0.0
    assert human.ceiling(Estimate(0.25)).low is None
    assert human.ceiling(Estimate.undefined("no_items")).reason == "no_items"


def test_retest_is_kappa_with_oneself() -> None:
    assert human.retest([0, 1, 0, 1], [0, 1, 0, 1], ["a", "b"]).value == 1.0
    assert human.retest([0, 1, 0, 1], [0, 0, 1, 1], ["a", "b"]).value == 0.0


def test_alpha_of_sets_is_the_mean_over_labels_with_an_interval() -> None:
    chosen = np.array([[3, 0, 0], [0, 2, 3], [1, 3, 0], [2, 0, 3], [0, 3, 1], [3, 1, 0]])
    raters, units = np.full(6, 3), [20, 10, 10, 5, 10, 15]
    one = [
        human.human_alpha(np.stack([yes, raters - yes], 1), level="nominal", units=units).value or 0.0
        for yes in chosen.T
    ]
    found = human.multilabel_alpha(chosen, raters, units=units)
    assert found.value == pytest.approx(np.mean(one), abs=1e-12) and found.n == 70
    assert found.low is not None and found.high is not None and found.low < (found.value or 0) < found.high
    # Leaving out one unit at a time, by hand.
    rows = np.repeat(chosen, units, axis=0)
    without = [human.multilabel_alpha(np.delete(rows, k, 0), np.full(69, 3)).value or 0.0 for k in range(len(rows))]
    assert (found.standard_error or 0) ** 2 == pytest.approx(69 / 70 * np.sum((without - np.mean(without)) ** 2))


def test_alpha_of_sets_leaves_out_what_never_varies() -> None:
    """A label that nobody gives, and one that everybody gives, have no alpha."""
    chosen = np.array([[0, 2, 2], [0, 2, 0], [0, 2, 1]])
    alone = human.multilabel_alpha(chosen[:, 2:], [2, 2, 2])
    assert human.multilabel_alpha(chosen, [2, 2, 2]) == alone
    assert human.multilabel_alpha(chosen[:, :2], [2, 2, 2]).reason == "one_category"
    assert human.multilabel_alpha(chosen, [2, 2, 2], units=[0, 0, 0]).reason == "no_pairable_ratings"
    with pytest.raises(StatisticsError, match="no more of them per label"):
        human.multilabel_alpha([[3, 0]], [2])
