"""The variance of slices across the strata that a sample was drawn by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.stats import intervals, verdicts
from calibration.stats.estimate import StatisticsError
from calibration.stats.strata import Strata
from calibration.stats.summary import estimate_all, measure, summarise_all
from calibration.stats.tables import ConfusionTable

# Two slices across three strata: [slice, stratum, gold, predicted]; the last stratum lies in the second slice alone.
COUNTS = np.array([
    [[[30, 1], [0, 4]], [[3, 6], [5, 4]], [[0, 0], [0, 0]]],
    [[[20, 2], [1, 9]], [[4, 2], [3, 2]], [[1, 0], [0, 0]]],
])  # fmt: skip
WEIGHTS = np.array([10.0, 2.0, 3.0])


def strata(counts: np.ndarray = COUNTS, *, populations: tuple[float, ...] = (700, 60, 3)) -> Strata:
    places = np.nonzero(counts)
    labels = counts.sum((0, 2, 3)).astype(float) + np.array([3, 1, 0])
    return Strata(*places, counts[places].astype(float), labels, WEIGHTS, np.array(populations, dtype=float))


def tables(counts: np.ndarray = COUNTS) -> list[ConfusionTable]:
    s1, s2 = (np.einsum("shij,h->sij", counts, WEIGHTS**power) for power in (1, 2))
    return [ConfusionTable(("a", "b"), n, a, b) for n, a, b in zip(counts.sum(1), s1, s2, strict=True)]


def by_hand(counts: np.ndarray, influence: np.ndarray, known: Strata) -> float:
    """The docstring's formula, label by label."""
    total, weight = 0.0, 0.0
    for h, table in enumerate(counts):
        z = np.concatenate([np.repeat(influence.ravel(), table.ravel()), np.zeros(int(known.labels[h] - table.sum()))])
        n, w, size = len(z), known.weights[h], known.populations[h]
        weight += w * table.sum()
        fixed = min(w * n / size, 1) * (1 - n / size) if n > 1 else 0.0
        total += w**2 * (n / (n - 1) if n > 1 else 1.0) * ((z**2).sum() - fixed * z.sum() ** 2 / n)
    return total / weight**2


def test_it_works() -> None:
    cells, known = intervals.stack(tables()), strata()
    parts = measure("kappa", 2)(cells.shares, cells.labels)
    expected = [by_hand(COUNTS[s], parts.influence[s], known) for s in (0, 1)]
    assert known.variance(parts) == pytest.approx(expected, rel=1e-12)
    assert known.freedom(2).tolist() == [53 - 2, 44 - 3]


def test_strata_that_tell_who_errs_narrow_the_interval_and_others_do_not_widen_it() -> None:
    telling = np.array([[[[90, 0], [0, 90]], [[5, 15], [15, 5]]]])
    alike = np.array([[[[48, 8], [8, 46]], [[47, 7], [7, 49]]]])
    widths = []
    for counts in (telling, alike):
        w = np.array([5.0, 5.0, 0.0])[:2]
        n = counts.sum((0, 2, 3)).astype(float)
        known = Strata(*np.nonzero(counts), counts[np.nonzero(counts)].astype(float), n, w, n * 5)
        table = ConfusionTable(("a", "b"), *(np.einsum("shij,h->ij", counts, w**k).astype(float) for k in (0, 1, 2)))
        table = replace(table, n=table.n.astype(np.int64))
        drawn, plain = estimate_all("kappa", [table], strata=known)[0], estimate_all("kappa", [table])[0]
        assert drawn.value == plain.value and drawn.method == "by strata, transferred wilson"
        widths.append((drawn.half_width or 0) / (plain.half_width or 1))
    assert widths[0] < 0.75 and 0.95 < widths[1] < 1.1


def test_without_a_design_that_is_complete_strata_save_nothing() -> None:
    """Of a queue hardly begun, what was labelled first is chance: the variance is that of unequal weights alone."""
    known = strata(populations=(1e12, 1e12, 1e12))
    cells = intervals.stack(tables())
    parts = measure("kappa", 2)(cells.shares, cells.labels)
    assert known.variance(parts) == pytest.approx(intervals.with_replacement(cells)(parts), rel=0.1)


@pytest.mark.parametrize("statistic", ["kappa", "alpha", "accuracy"])
def test_p_is_where_the_lower_limit_meets_the_bar(statistic: str) -> None:
    known, chosen = strata(), measure(statistic, 2)
    low = estimate_all(statistic, tables(), strata=known)[0].low or 0
    p = verdicts.trust_p(statistic, chosen, intervals.stack(tables()), low - 0.02, strata=known)[0]
    again = estimate_all(statistic, tables(), confidence=1 - 2 * p, strata=known)[0]
    assert 0 < p < 0.025 and again.low == pytest.approx(low - 0.02, abs=1e-9)


def test_slices_can_be_taken_apart() -> None:
    both, second = estimate_all("kappa", tables(), strata=strata()), strata().take([1])
    assert estimate_all("kappa", tables()[1:], strata=second) == both[1:]
    swapped = estimate_all("kappa", tables()[::-1], strata=strata().take([1, 0]))
    assert swapped == both[::-1]
    assert verdicts.verdicts("kappa", tables()[1:], 0.6, strata=second)[0].word == "unproven"


def test_the_effective_number_of_labels_is_that_of_accuracy() -> None:
    found = summarise_all(tables(), scale="nominal", strata=strata())
    plain = summarise_all(tables(), scale="nominal")
    assert found[0].effective_n == found[0].estimates["accuracy"].effective_n != plain[0].effective_n
    assert found[0].per_category == plain[0].per_category


def test_a_slice_without_labels_is_undefined() -> None:
    empty = COUNTS.copy()
    empty[0] = 0
    found = estimate_all("kappa", tables(empty), strata=strata(empty))
    assert found[0].reason == "no_items" and found[1].defined


def test_contradictions_are_refused() -> None:
    with pytest.raises(StatisticsError, match="no more labels than units"):
        strata(populations=(5, 60, 3))
    with pytest.raises(StatisticsError, match="above 0"):
        replace_weights(np.array([0.0, 1.0, 1.0]))
    with pytest.raises(StatisticsError, match="above 0"):
        replace_weights(np.array([np.nan, 1.0, 1.0]))
    places = np.nonzero(COUNTS)
    one = np.ones(1)
    with pytest.raises(StatisticsError, match="one of the strata"):
        Strata(*places, COUNTS[places].astype(float), one, one, one)


def replace_weights(weights: np.ndarray) -> Strata:
    places = np.nonzero(COUNTS)
    return Strata(*places, COUNTS[places].astype(float), np.full(3, 5.0), weights, np.full(3, 50.0))
