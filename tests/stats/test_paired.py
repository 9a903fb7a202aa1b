"""Two versions on the same gold."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import SquareTable

from calibration.stats import paired
from calibration.stats.summary import measure
from calibration.stats.tables import PairedTable

# gold x a x b: b repairs more than it breaks.
BETTER = PairedTable.from_counts([[[70, 2], [14, 10]], [[12, 15], [1, 76]]])
ALIKE = PairedTable.from_counts([[[20, 0], [0, 5]], [[4, 0], [0, 21]]])
SPLIT = PairedTable.from_counts([[[70, 8], [8, 10]], [[12, 8], [8, 76]]])


def test_it_works() -> None:
    found = paired.difference("kappa", BETTER)
    assert found.value is not None and found.low is not None and found.low > 0
    assert paired.discordant(BETTER) == (3, 29)


@pytest.mark.parametrize("statistic", ["kappa", "accuracy", "ac1", "alpha", "weighted_kappa", "mcc", "macro_f1"])
def test_a_paired_interval_is_narrower_than_two_apart(statistic: str) -> None:
    found = paired.non_inferiority(statistic, BETTER, 0.05)
    apart = np.hypot(found.a.standard_error or 0, found.b.standard_error or 0)
    assert found.difference.standard_error is not None and found.difference.standard_error < 0.9 * apart


def test_alike_versions_differ_by_nothing_give_or_take_three_in_n() -> None:
    found = paired.difference("kappa", ALIKE)
    assert (found.value, found.method) == (0.0, paired.NO_VARIANCE)
    assert found.low == -0.06 and found.high == 0.06
    assert paired.difference("kappa", ALIKE, confidence=0.999).high == pytest.approx(np.log(1000) / 50)


@pytest.mark.parametrize("statistic", ["kappa", "accuracy"])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.08, 0.3])
@pytest.mark.parametrize("table", [BETTER, ALIKE, SPLIT])
def test_limit_and_p_value_give_the_same_answer(statistic: str, margin: float, table: PairedTable) -> None:
    for function in (paired.non_inferiority, paired.equivalence):
        found = function(statistic, table, margin)
        assert found.p is not None and found.passed == (found.p < 0.05)


def test_better_is_not_inferior_and_not_equivalent() -> None:
    assert paired.non_inferiority("kappa", BETTER, 0.0).passed
    assert not paired.equivalence("kappa", BETTER, 0.05).passed
    assert paired.equivalence("kappa", SPLIT, 0.2).passed


def test_a_worse_version_fails_and_says_by_how_much() -> None:
    worse = PairedTable.from_counts(np.swapaxes(BETTER.n, 1, 2))
    found = paired.non_inferiority("kappa", worse, 0.02)
    assert not found.passed and found.p is not None and found.p > 0.5
    assert found.difference.value == -(paired.difference("kappa", BETTER).value or 0)


def test_agresti_min_by_hand() -> None:
    found = paired.accuracy_difference(SPLIT)
    # 16 only a, 16 only b of 200; half an item more in each of four cells.
    assert found.value == 0.0 and found.effective_n == pytest.approx(200)
    assert found.high == pytest.approx(1.959964 * np.sqrt(2 * 16.5 / 202 / 202))


def test_weights_count_in_the_difference() -> None:
    rng = np.random.default_rng(5)
    gold, a = rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    b, w = np.where(rng.random(400) < 0.3, gold, a), rng.choice([1.0, 6.0], 400)
    table = PairedTable.from_triples(gold, a, b, 2, w)
    found = paired.difference("accuracy", table)
    change = (b == gold).astype(float) - (a == gold)
    assert found.value == pytest.approx(np.average(change, weights=w))
    error = np.sqrt((w**2 * (change - found.value) ** 2).sum()) / w.sum()
    assert found.standard_error == pytest.approx(error)
    assert table.effective_n < 300 and (found.effective_n or 0) < 400


def test_nothing_to_compare() -> None:
    empty = PairedTable.from_counts(np.zeros((2, 2, 2)))
    single = PairedTable.from_counts([[[1, 0], [0, 0]], [[0, 0], [0, 0]]])
    missed = PairedTable.from_counts([[[0, 1], [0, 0]], [[0, 0], [0, 0]]])
    for table, reason in ((empty, "no_items"), (single, "one_category"), (missed, "one_category")):
        found = paired.equivalence("kappa", table, 0.1)
        assert (found.reason, found.passed, found.p) == (reason, False, None)
    assert paired.accuracy_difference(empty).reason == "no_items"
    assert not paired.non_inferiority("accuracy", single, 0.05).passed


def test_one_label_bounds_no_difference() -> None:
    one = PairedTable.from_counts([[[0, 0], [0, 1]], [[0, 0], [0, 0]]])
    found = paired.difference("kappa", one)
    assert (found.value, found.low, found.high) == (0.0, -2.0, 2.0)
    assert paired.one_sided_p(found, measure("kappa", 2), one, -0.5) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_homogeneity_is_that_of_statsmodels(seed: int) -> None:
    table = np.random.default_rng(seed).integers(1, 40, (4, 4))
    reference = SquareTable(table, shift_zeros=False)
    for ours, method in ((paired.stuart_maxwell, "stuart_maxwell"), (paired.bhapkar, "bhapkar")):
        found, theirs = ours(table), reference.homogeneity(method)
        assert found.statistic == pytest.approx(theirs.statistic)
        assert (found.p, found.df) == (pytest.approx(theirs.pvalue), theirs.df)


def test_homogeneity_without_evidence() -> None:
    assert paired.stuart_maxwell([[5, 0], [0, 7]]).reason == "no_discordant_pairs"
    assert paired.bhapkar([[0, 6], [0, 0]]).reason == "not_invertible"
    unused = paired.stuart_maxwell([[5, 2, 0], [6, 7, 0], [0, 0, 9]])
    assert (unused.df, unused.statistic) == (1, pytest.approx(2.0))


def test_mid_p_is_exact_p_less_half_the_observed_point() -> None:
    found = paired.mcnemar(4, 12)
    assert found.exact_p == pytest.approx(0.076813, abs=1e-6)
    assert found.mid_p == pytest.approx(0.076813 - 1820 / 2**16, abs=1e-6)
    assert paired.mcnemar(3, 3).mid_p == paired.mcnemar(3, 3).exact_p == 1.0
