"""Trends: corrected shares and means against their definitions, known worlds, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stats.estimate import StatisticsError
from calibration.stats.tables import ConfusionTable
from calibration.stats.trends import (
    SliceScores,
    SliceShares,
    corrected_shares,
    mean_trend,
    old_gold_shares,
    ppi_mean,
    ppi_power,
)

CONFUSION = np.array([[0.85, 0.1, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])
TRUTH = np.array([0.2, 0.5, 0.3])


def make_world(
    rng: np.random.Generator, *, volume: int = 5000, labels: int = 200, truth: np.ndarray = TRUTH
) -> SliceShares:
    """A period in which truth and confusion are known: some of it labelled, all of it predicted."""
    joint = (truth[:, None] * CONFUSION).ravel()
    cells = rng.multinomial(volume, joint)
    labelled = rng.multivariate_hypergeometric(cells, labels).reshape(3, 3)
    return SliceShares(ConfusionTable.from_counts(labelled), tuple(cells.reshape(3, 3).sum(axis=0).tolist()))


# --- shares -------------------------------------------------------------------------------------------------------


def test_shares_are_the_predictions_seen_through_the_labels() -> None:
    table = ConfusionTable.from_counts([[30, 10], [10, 50]])
    found = corrected_shares([SliceShares(table, (700, 300))])
    assert found.shares[0].value == pytest.approx(0.7 * 30 / 40 + 0.3 * 10 / 60)
    assert sum(share.value or 0 for share in found.shares) == pytest.approx(1)
    assert found.raw == pytest.approx((0.7, 0.3))
    assert (found.labels, found.volume, found.borrowed) == (100, 1000, ())


def test_coverage_is_close_to_nominal_and_labels_gain_from_predictions() -> None:
    rng = np.random.default_rng(5)
    hits, gains, errors = [], [], []
    for _ in range(400):
        found = corrected_shares([make_world(rng)])
        hits += [share.low <= truth <= share.high for share, truth in zip(found.shares, TRUTH, strict=True)]
        errors.append([(share.value or 0) - truth for share, truth in zip(found.shares, TRUTH, strict=True)])
        gains.append(found.gain[0])
    assert 0.92 <= np.mean(hits) <= 0.975
    assert np.abs(np.mean(errors, axis=0)).max() < 0.006
    assert np.median(gains) > 1.5


def test_slices_add_by_volume_and_empty_columns_borrow() -> None:
    rich = SliceShares(ConfusionTable.from_counts([[40, 10], [20, 30]]), (600, 400), "voice")
    poor = SliceShares(ConfusionTable.from_counts([[5, 0], [5, 0]]), (50, 50), "chat")
    found = corrected_shares([rich, poor])
    voice = 0.6 * 40 / 60 + 0.4 * 10 / 40
    chat = 0.5 * 0.5 + 0.5 * 10 / 40
    assert found.shares[0].value == pytest.approx(1000 / 1100 * voice + 100 / 1100 * chat)
    assert found.borrowed == (("chat", "1"),)


def test_a_column_lent_by_all_slices_counts_its_labels_once() -> None:
    """All slices borrow what one has: the variance is that of one slice with all the volume."""
    lender = SliceShares(ConfusionTable.from_counts([[40, 10], [20, 30]]), (600, 400))
    empty = SliceShares(ConfusionTable.from_counts([[0, 0], [0, 0]]), (600, 400))
    alone = corrected_shares([SliceShares(lender.table, (1200, 800))])
    both = corrected_shares([lender, empty])
    assert both.shares[0].value == pytest.approx(alone.shares[0].value)
    assert both.shares[0].standard_error == pytest.approx(alone.shares[0].standard_error)


def test_weighted_labels_use_their_weights() -> None:
    cells = [
        ("a", "a", 20, 200.0, 2000.0),
        ("b", "a", 20, 40.0, 80.0),
        ("a", "b", 5, 5.0, 5.0),
        ("b", "b", 15, 15.0, 15.0),
    ]
    table = ConfusionTable.from_cells(("a", "b"), cells)
    found = corrected_shares([SliceShares(table, (80, 20))])
    assert found.shares[0].value == pytest.approx(0.8 * 200 / 240 + 0.2 * 0.25)


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 60), min_size=9, max_size=9),
    predicted=st.lists(st.integers(0, 900), min_size=3, max_size=3).filter(any),
)
def test_corrected_shares_sum_to_one_and_lie_in_their_intervals(counts: list[int], predicted: list[int]) -> None:
    table = ConfusionTable.from_counts(np.array(counts).reshape(3, 3))
    found = corrected_shares([SliceShares(table, tuple(predicted))], least_labels=0, least_of_category=0)
    assert math.isclose(sum(share.value or 0 for share in found.shares), 1, rel_tol=1e-9)
    for share in found.shares:
        assert 0 <= share.low <= share.value <= share.high <= 1


def test_a_share_of_nothing_or_everything_keeps_an_interval() -> None:
    table = ConfusionTable.from_counts([[60, 0], [0, 0]])
    found = corrected_shares([SliceShares(table, (100, 0))], least_of_category=0)
    assert (found.shares[0].value, found.shares[1].value) == (1.0, 0.0)
    assert 0.9 < found.shares[0].low < 1
    assert found.gain == (1.0, 1.0)


def test_what_is_too_thin_says_so() -> None:
    few = corrected_shares([SliceShares(ConfusionTable.from_counts([[10, 1], [1, 10]]), (50, 50))])
    assert {share.reason for share in few.shares} == {"too_few_items"}
    rare = corrected_shares([SliceShares(ConfusionTable.from_counts([[60, 3], [1, 2]]), (50, 50))])
    assert [share.reason for share in rare.shares] == [None, "too_few_items"]
    assert rare.gain[1] is None
    nothing = corrected_shares([SliceShares(ConfusionTable.from_counts([[0, 0], [0, 0]]), (50, 50))])
    assert {share.reason for share in nothing.shares} == {"no_items"}
    no_volume = corrected_shares([SliceShares(ConfusionTable.from_counts([[60, 0], [0, 9]]), (0, 0))])
    assert no_volume.shares[0].reason == "no_items"
    column = corrected_shares([SliceShares(ConfusionTable.from_counts([[60, 0], [9, 0]]), (50, 50))])
    assert column.shares[0].reason == "predicted_category_without_labels"


def test_slices_that_do_not_fit_are_refused() -> None:
    two, three = ConfusionTable.from_counts(np.eye(2, dtype=int)), ConfusionTable.from_counts(np.eye(3, dtype=int))
    for slices in ([], [SliceShares(two, (1, 1)), SliceShares(three, (1, 1, 1))]):
        with pytest.raises(StatisticsError):
            corrected_shares(slices)
    for predicted in ((1,), (1, -1), (1, math.nan)):
        with pytest.raises(StatisticsError):
            corrected_shares([SliceShares(two, predicted)])


# --- old gold -----------------------------------------------------------------------------------------------------


def test_old_gold_finds_the_truth_while_errors_stay() -> None:
    rng = np.random.default_rng(8)
    moved = np.array([0.4, 0.4, 0.2])
    hits = []
    for _ in range(300):
        gold = make_world(rng, labels=400).table
        found = old_gold_shares(gold, make_world(rng, truth=moved).predicted)
        hits += [share.low <= truth <= share.high for share, truth in zip(found.shares, moved, strict=True)]
    assert np.mean(hits) > 0.92
    assert found.condition_number is not None and found.condition_number < 3


def test_old_gold_is_refused_where_it_would_be_noise() -> None:
    blurred = ConfusionTable.from_counts([[54, 46], [46, 54]])
    found = old_gold_shares(blurred, (40, 60))
    assert (found.shares[0].reason, found.unclipped) == ("not_invertible", ())
    assert found.condition_number == pytest.approx(12.5)
    coin = old_gold_shares(ConfusionTable.from_counts([[50, 50], [50, 50]]), (40, 60))
    assert (coin.shares[0].reason, coin.condition_number) == ("not_invertible", None)
    thin = old_gold_shares(ConfusionTable.from_counts([[90, 5], [1, 12]]), (40, 60))
    assert thin.shares[0].reason == "too_few_items"
    absent = old_gold_shares(ConfusionTable.from_counts([[90, 5], [0, 0]]), (40, 60))
    assert absent.shares[0].reason == "not_in_gold"
    assert old_gold_shares(blurred, (0, 0)).shares[0].reason == "no_items"


# --- means --------------------------------------------------------------------------------------------------------


def test_ppi_means_of_nothing_and_of_one() -> None:
    assert ppi_mean([], [], [1.0]).reason == "no_items"
    assert ppi_mean([1.0], [1.0], [1.0]).reason == "too_few_items"
    assert ppi_power([1.0], [1.0], [2.0]) == 0
    assert ppi_power([1.0, 2.0], [1.0, 1.0], [1.0]) == 0
    assert ppi_mean([1.0, 2.0], [1.0, 2.0], []).value == 1.5
    constant = ppi_mean([2.0, 2.0], [2.0, 2.0], [2.0])
    assert (constant.value, constant.low, constant.effective_n) == (2.0, 2.0, 2.0)
    with pytest.raises(StatisticsError):
        ppi_mean([1.0], [1.0, 2.0], [1.0])
    with pytest.raises(StatisticsError):
        ppi_mean([1.0, math.nan], [1.0, 2.0], [1.0])


def make_scores(
    rng: np.random.Generator, *, labels: int, volume: int, mean: float = 3.0, name: str = ""
) -> SliceScores:
    truth = rng.normal(mean, 1, labels + volume)
    seen = truth * 0.8 + 1 + rng.normal(0, 0.5, labels + volume)
    return SliceScores(tuple(truth[:labels]), tuple(seen[:labels]), tuple(seen[labels:]), name=name)


def test_mean_trend_covers_the_truth_and_gains_labels() -> None:
    rng = np.random.default_rng(3)
    hits, sizes = [], []
    for _ in range(300):
        slices = [make_scores(rng, labels=60, volume=900), make_scores(rng, labels=40, volume=300, mean=4.0)]
        found = mean_trend(slices)
        truth = (960 * 3 + 340 * 4) / 1300
        hits.append(found.low <= truth <= found.high)
        sizes.append(found.effective_n)
    assert np.mean(hits) > 0.92
    assert np.median(sizes) > 200


def test_mean_trend_of_one_slice_is_ppi() -> None:
    rng = np.random.default_rng(4)
    part = make_scores(rng, labels=80, volume=500)
    found = mean_trend([part])
    plain = ppi_mean(part.labels, part.predictions, part.unlabelled)
    assert found.value == pytest.approx(plain.value, abs=2e-3)
    assert found.standard_error == pytest.approx(plain.standard_error, rel=0.02)


def test_the_shared_power_is_that_of_ppi_where_means_are_equal() -> None:
    """Labelled and unlabelled predictions of the same mean: the error must be the one of λ* itself."""
    predictions = np.array([1.0, 2.0, 3.0, 4.0] * 13)
    labels = predictions + np.array([0.5, -0.5, 0.25, -0.25, 1.0, -1.0, 0.0, 0.0] * 6 + [0.0, 0.0, 0.0, 0.0])
    others = np.array([1.0, 2.0, 3.0, 4.0] * 50)
    lean = ppi_power(labels, predictions, others)
    assert 0.5 < lean < 1
    rest = labels - lean * predictions
    expected = math.sqrt(lean**2 * others.var() / 200 + rest.var(ddof=1) / 52)
    found = mean_trend([SliceScores(tuple(labels), tuple(predictions), tuple(others))])
    assert found.standard_error == pytest.approx(expected, rel=1e-6)


def test_slices_weigh_by_all_their_items() -> None:
    """Constant labels leave nothing but the weights: 60 + 140 items at 1, 40 + 60 at 4."""
    slices = [SliceScores((1.0,) * 60, (1.0,) * 60, (1.0,) * 140), SliceScores((4.0,) * 40, (4.0,) * 40, (4.0,) * 60)]
    assert mean_trend(slices).value == pytest.approx((200 * 1 + 100 * 4) / 300)
    assert mean_trend(slices, least_labels=100).value is not None
    assert mean_trend(slices, least_labels=101).reason == "too_few_items"


def test_rolled_up_predictions_and_weights_count_as_often_as_they_say() -> None:
    labels, predictions = tuple(range(60)), tuple(value + 0.5 for value in range(60))
    long = SliceScores(labels, predictions, (1.0,) * 30 + (9.0,) * 10)
    short = SliceScores(labels, predictions, (1.0, 9.0), counts=(30, 10))
    assert mean_trend([long]).value == pytest.approx(mean_trend([short]).value)
    uneven = SliceScores((0.0,) * 30 + (1.0,) * 30, (0.5,) * 60, (0.5,) * 9, weights=(3.0,) * 30 + (1.0,) * 30)
    assert mean_trend([uneven]).value == pytest.approx(0.25)


def test_a_slice_without_labels_borrows_the_correction_and_one_without_others_needs_none() -> None:
    rng = np.random.default_rng(6)
    rich = make_scores(rng, labels=100, volume=400)
    orphan = make_scores(rng, labels=0, volume=400)
    assert mean_trend([rich, orphan]).value == pytest.approx(3.0, abs=0.25)
    complete = SliceScores(rich.labels, rich.predictions, ())
    assert mean_trend([complete]).value == pytest.approx(np.mean(rich.labels))
    nothing = SliceScores((), (), ())
    assert mean_trend([rich, nothing]).value == pytest.approx(mean_trend([rich]).value)


def test_means_that_cannot_be() -> None:
    assert mean_trend([]).reason == "no_items"
    few = SliceScores((1.0,) * 9, (1.0,) * 9, (1.0,))
    assert mean_trend([few]).reason == "too_few_items"
    single = [SliceScores((1.0,), (1.0,), (1.0,)) for _ in range(60)]
    assert mean_trend(single).reason == "too_few_items"
    flat = SliceScores((2.0,) * 60, (1.0,) * 60, (1.0,) * 5)
    assert (mean_trend([flat]).value, mean_trend([flat]).effective_n) == (2.0, 60)
    for bad in (SliceScores((1.0,), (1.0,), (), weights=(0.0,)), SliceScores((), (), (1.0,), counts=(-1,))):
        with pytest.raises(StatisticsError):
            mean_trend([bad])
