"""Tables, and what a report says about them."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
from sklearn import metrics

from calibration import stats
from calibration.stats import agreement, intervals
from calibration.stats.estimate import StatisticsError
from calibration.stats.summary import estimate, measure, summarise
from calibration.stats.tables import BLOCK, ConfusionTable, PairedTable, StratifiedTable, Stratum

RNG = np.random.default_rng(9)
GOLD = RNG.integers(0, 4, 500)
PREDICTED = np.where(RNG.random(500) < 0.7, GOLD, RNG.integers(0, 4, 500))
WEIGHTS = RNG.choice([1.0, 2.5, 8.0], 500)


def test_it_works() -> None:
    table = ConfusionTable.from_pairs(GOLD, PREDICTED, 4, WEIGHTS)
    found = summarise(table, scale="ordinal").estimates
    kwargs = {"sample_weight": WEIGHTS}
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(GOLD, PREDICTED, **kwargs))
    assert found["kappa"].value == pytest.approx(metrics.cohen_kappa_score(GOLD, PREDICTED, **kwargs))
    assert found["weighted_kappa"].value == pytest.approx(
        metrics.cohen_kappa_score(GOLD, PREDICTED, weights="quadratic", **kwargs)
    )
    assert found["mcc"].value == pytest.approx(metrics.matthews_corrcoef(GOLD, PREDICTED, **kwargs))
    assert found["macro_f1"].value == pytest.approx(metrics.f1_score(GOLD, PREDICTED, average="macro", **kwargs))


def test_categories_against_scikit_learn() -> None:
    table = ConfusionTable.from_pairs(GOLD, PREDICTED, 4, WEIGHTS)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(GOLD, PREDICTED, sample_weight=WEIGHTS)
    for k, row in enumerate(summarise(table, scale="nominal").per_category):
        assert (row.precision.value, row.recall.value, row.f1.value) == pytest.approx((precision[k], recall[k], f1[k]))
        assert row.support == (k == GOLD).sum()
        assert row.precision.low is not None and row.precision.low < precision[k]
        assert row.recall.method == intervals.TRANSFERRED


def test_nominal_signals_have_no_weighted_kappa() -> None:
    table = ConfusionTable.from_pairs(GOLD, PREDICTED, 4)
    assert "weighted_kappa" not in summarise(table, scale="nominal").estimates
    assert "weighted_kappa" in summarise(table, scale="binary").estimates


def test_scores_space_the_categories() -> None:
    table = ConfusionTable.from_counts([[20, 5, 1], [4, 20, 5], [2, 4, 20]])
    even = estimate("weighted_kappa", table, scores=[-1, 0, 1])
    apart = estimate("weighted_kappa", table, scores=[0, 1, 9])
    assert even.value == estimate("weighted_kappa", table).value != apart.value
    assert estimate("weighted_kappa", table, scores=[2, 2, 2]).reason == "one_category"


def test_a_far_miss_not_yet_seen_lowers_the_limit_of_graded_statistics_alone() -> None:
    table = ConfusionTable.from_counts([[20, 3, 0], [2, 20, 3], [0, 2, 20]])
    for name, scale in (("weighted_kappa", "ordinal"), ("alpha", "ordinal"), ("ac2", "nominal")):
        found, bare = estimate(name, table, scale=scale), intervals.interval(measure(name, 3, scale=scale), table)
        assert found.method == intervals.GRADED
        assert (found.value, found.high) == (bare.value, bare.high) and (found.low or 0) < (bare.low or 0)
    for name in ("kappa", "alpha", "ac1"):
        assert estimate(name, table) == intervals.interval(measure(name, 3), table)
    two = ConfusionTable.from_counts([[20, 3], [2, 20]])
    assert estimate("weighted_kappa", two) == estimate("kappa", two)


def test_the_baseline_is_the_most_frequent_gold_category() -> None:
    found = summarise(ConfusionTable.from_counts([[50, 10], [20, 20]], ["no", "yes"]), scale="binary").baseline
    assert found is not None and (found.category, found.accuracy.value) == ("no", 0.6)
    assert summarise(ConfusionTable.from_counts([[0, 0], [0, 0]]), scale="binary").baseline is None


def test_arrays_cannot_be_written() -> None:
    given = np.array([[1, 2], [3, 4]])
    table = ConfusionTable.from_counts(given)
    given[0, 0] = 99
    assert table.n[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        table.n[0, 0] = 5


def test_cells_add_up_by_name() -> None:
    cells = [("yes", "no", 2, 3.0, 5.0), ("yes", "no", 1, 4.0, 16.0), ("no", "no", 1, 1.0, 1.0)]
    table = ConfusionTable.from_cells(["no", "yes"], cells)
    assert table.n.tolist() == [[1, 0], [3, 0]]
    assert table.s2.tolist() == [[1, 0], [21, 0]]
    assert table.predicted_counts.tolist() == [4, 0] and table.gold_counts.tolist() == [1, 3]


def test_small_codes_do_not_overflow() -> None:
    codes = np.array([199, 3], dtype=np.uint8)
    assert ConfusionTable.from_pairs(codes, codes, 200).n[199, 199] == 1
    assert ConfusionTable.from_pairs([], [], 2).total == 0


def test_effective_n_is_kishs() -> None:
    table = ConfusionTable.from_pairs(GOLD, PREDICTED, 4, WEIGHTS)
    assert table.effective_n == pytest.approx(WEIGHTS.sum() ** 2 / (WEIGHTS**2).sum())
    assert ConfusionTable.from_counts([[0]]).effective_n == 0.0


EASY = ConfusionTable.from_counts([[45, 5], [4, 46]])
HARD = ConfusionTable.from_counts([[30, 20], [15, 35]])


def test_strata_are_weighted_by_their_population() -> None:
    table = StratifiedTable((Stratum(9000, EASY, "easy"), Stratum(1000, HARD, "hard")))
    found = estimate("accuracy", table)
    assert found.value == pytest.approx(0.9 * 0.91 + 0.1 * 0.65)
    assert found.method == intervals.STRATIFIED and found.low is not None and found.low < 0.86
    assert estimate("kappa", table).effective_n == pytest.approx(found.effective_n)
    assert table.table.population == pytest.approx(10000)


def test_a_stratum_that_is_labelled_in_full_adds_no_variance() -> None:
    full = StratifiedTable((Stratum(100, EASY), Stratum(100, HARD)))
    found = estimate("accuracy", full)
    assert found.standard_error == 0 and found.low is not None and found.low < (found.value or 0)
    lonely = StratifiedTable((Stratum(5000, EASY), Stratum(50, ConfusionTable.from_counts([[0, 1], [0, 0]]))))
    assert (estimate("kappa", lonely).standard_error or 0) > 0
    empty = StratifiedTable((Stratum(5000, EASY), Stratum(0, ConfusionTable.from_counts([[0, 0], [0, 0]]))))
    assert estimate("accuracy", empty).value == pytest.approx(0.91)


def test_an_undefined_stratified_statistic_has_its_reason() -> None:
    only = StratifiedTable((Stratum(500, ConfusionTable.from_counts([[30, 0], [0, 0]])),))
    assert estimate("kappa", only).reason == "one_category"
    assert intervals.interval(agreement.scott(agreement.disagreement("linear", 2)), only).reason == "one_category"


def test_paired_tables_keep_their_categories() -> None:
    with pytest.raises(ValueError, match="categories"):
        PairedTable.from_counts([[[1]]], ["a"]) + PairedTable.from_counts([[[1]]], ["b"])


def test_names_of_the_package_hide_none_of_its_modules() -> None:
    for info in pkgutil.iter_modules(stats.__path__):
        module = importlib.import_module(f"calibration.stats.{info.name}")
        assert getattr(stats, info.name) is module


def test_wilson_is_undefined_without_items() -> None:
    assert intervals.clopper_pearson(0, 0).reason == intervals.wilson(0, 0).reason == "no_items"


@pytest.mark.parametrize("size", [1, 2, 5, 16, 17, 200])
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_pairs_are_counted_alike_whatever_integers_they_are(size: int, kind: type, count: int) -> None:
    rng = np.random.default_rng([size, count])
    most = min(size, 127)
    gold, predicted = (rng.integers(0, most, count) for _ in range(2))
    expected = np.zeros((size, size), dtype=np.int64)
    np.add.at(expected, (gold, predicted), 1)
    table = ConfusionTable.from_pairs(gold.astype(kind), predicted.astype(kind), size)
    assert (table.n == expected).all() and table.total == count
    every_second = ConfusionTable.from_pairs(np.repeat(gold, 2).astype(kind)[::2], predicted.astype(kind), size)
    assert (every_second.n == expected).all()


def test_codes_out_of_range_are_refused_of_whatever_integers_they_are() -> None:
    for codes in (np.array([0, -1], dtype=np.int8), np.array([0, 2], dtype=np.uint8), np.array([-(2**62)])):
        with pytest.raises(StatisticsError, match=r"gold codes must lie within 0\.\.1"):
            ConfusionTable.from_pairs(codes, np.zeros(len(codes), dtype=int), 2)


@pytest.mark.parametrize("size", [2, 3, 7, 16, 17])
@pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK + 1, 5 * BLOCK + 3])
def test_counting_in_blocks_loses_nothing(size: int, length: int) -> None:
    rng = np.random.default_rng(size * length)
    gold, predicted, weights = rng.integers(0, size, length), rng.integers(0, size, length), rng.random(length) + 0.5
    n, s1, s2 = np.zeros((3, size, size))
    for sums, added in ((n, 1.0), (s1, weights), (s2, weights**2)):
        np.add.at(sums, (gold, predicted), added)
    table = ConfusionTable.from_pairs(gold, predicted, size, weights)
    assert (table.n == n).all() and (ConfusionTable.from_pairs(gold, predicted, size).n == n).all()
    assert table.s1 == pytest.approx(s1, rel=1e-12) and table.s2 == pytest.approx(s2, rel=1e-12)


@pytest.mark.parametrize("wrong", [-1, 2, 256, 2**40])
def test_a_code_out_of_range_is_found_in_the_last_block(wrong: int) -> None:
    codes = np.zeros(2 * BLOCK + 1, dtype=np.int64)
    codes[-1] = wrong
    with pytest.raises(StatisticsError, match=r"predicted codes must lie within 0\.\.1"):
        ConfusionTable.from_pairs(np.zeros_like(codes), codes, 2)
