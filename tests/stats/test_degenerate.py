"""Input that no honest sample gives: a typed error or a reason, never NaN, never a warning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from calibration.stats import agreement, human, intervals, masi, multiplicity, paired, planning, scores, verdicts
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.summary import estimate, estimate_all, measure, summarise, summarise_all
from calibration.stats.tables import ConfusionTable, PairedTable, StratifiedTable, Stratum
from tests.stats.strategies import STATISTICS

NAN, INF = math.nan, math.inf
ONES = [[1, 1], [1, 1]]
FOUR = ConfusionTable.from_counts([[20, 5], [4, 21]])

REFUSED: dict[str, Callable[[], Any]] = {
    "NaN count": lambda: ConfusionTable.from_counts([[1, NAN], [0, 1]]),
    "infinite count": lambda: ConfusionTable.from_counts([[1, INF], [0, 1]]),
    "negative count": lambda: ConfusionTable.from_counts([[1, -1], [0, 1]]),
    "half a label": lambda: ConfusionTable.from_counts([[1, 0.5], [0, 1]]),
    "count beyond double precision": lambda: ConfusionTable.from_counts([[2**53, 0], [0, 1]]),
    "words": lambda: ConfusionTable.from_counts([["a", 1], [0, 1]]),
    "ragged": lambda: ConfusionTable.from_counts([[1, 2], [0]]),
    "not square": lambda: ConfusionTable.from_counts([[1, 2, 3], [0, 1, 2]]),
    "a list": lambda: ConfusionTable.from_counts([1, 2, 3]),
    "no category": lambda: ConfusionTable.from_counts(np.zeros((0, 0))),
    "wrong number of categories": lambda: ConfusionTable.from_counts(ONES, ["a"]),
    "category twice": lambda: ConfusionTable.from_counts(ONES, ["a", "a"]),
    "NaN weight": lambda: ConfusionTable(("a", "b"), ONES, [[NAN, 1], [1, 1]], ONES),
    "infinite weight": lambda: ConfusionTable(("a", "b"), ONES, ONES, [[INF, 1], [1, 1]]),
    "negative weight": lambda: ConfusionTable(("a", "b"), ONES, [[-1, 1], [1, 1]], ONES),
    "weights of another shape": lambda: ConfusionTable(("a", "b"), ONES, [1, 1], ONES),
    "labels without weight": lambda: ConfusionTable(("a", "b"), ONES, [[0, 1], [1, 1]], ONES),
    "labels without squared weight": lambda: ConfusionTable(("a", "b"), ONES, ONES, [[0, 1], [1, 1]]),
    "impossible squares": lambda: ConfusionTable(("a", "b"), ONES, [[9, 1], [1, 1]], ONES),
    "unknown cell": lambda: ConfusionTable.from_cells(["a", "b"], [("a", "c", 1, 1.0, 1.0)]),
    "code out of range": lambda: ConfusionTable.from_pairs([0, 2], [0, 1], 2),
    "negative code": lambda: ConfusionTable.from_pairs([0, -1], [0, 1], 2),
    "codes that are no numbers": lambda: ConfusionTable.from_pairs(["a", "b"], [0, 1], 2),
    "codes of unequal length": lambda: ConfusionTable.from_pairs([0, 1, 1], [0, 1], 2),
    "weight of zero": lambda: ConfusionTable.from_pairs([0, 1], [0, 1], 2, [0.0, 1.0]),
    "too few weights": lambda: ConfusionTable.from_pairs([0, 1], [0, 1], 2, [1.0]),
    "NaN among weights": lambda: ConfusionTable.from_pairs([0, 1], [0, 1], 2, [1.0, NAN]),
    "sum of different categories": lambda: FOUR + ConfusionTable.from_counts(ONES, ["x", "y"]),
    "stack of different categories": lambda: intervals.stack([FOUR, ConfusionTable.from_counts([[1]])]),
    "paired of two dimensions": lambda: PairedTable.from_counts(ONES),
    "paired of unequal length": lambda: PairedTable.from_triples([0], [0, 1], [0, 1], 2),
    "no strata": lambda: StratifiedTable(()),
    "strata of different categories": lambda: StratifiedTable(
        (Stratum(90, FOUR), Stratum(9, ConfusionTable.from_counts([[1]])))
    ),
    "stratum smaller than its sample": lambda: StratifiedTable((Stratum(3, FOUR),)),
    "stratum without labels": lambda: StratifiedTable(
        (Stratum(90, FOUR), Stratum(9, ConfusionTable.from_counts(np.zeros((2, 2)))))
    ),
    "unknown statistic": lambda: estimate("trust", FOUR),
    "unknown weights": lambda: agreement.disagreement("cubic", 3),
    "too few scores": lambda: estimate("weighted_kappa", FOUR, scores=[1.0]),
    "NaN score": lambda: estimate("weighted_kappa", FOUR, scores=[1.0, NAN]),
    "agreement weight above 1": lambda: agreement.custom_disagreement([[1, 2], [0, 1]]),
    "agreement weight below 1 on the diagonal": lambda: agreement.custom_disagreement([[0.5, 0], [0, 1]]),
    "agreement weights not square": lambda: agreement.custom_disagreement([[1, 0]]),
    "confidence of 1": lambda: estimate("kappa", FOUR, confidence=1.0),
    "confidence of 0": lambda: estimate("accuracy", FOUR, confidence=0.0),
    "more successes than items": lambda: intervals.wilson(3, 2),
    "NaN successes": lambda: intervals.clopper_pearson(NAN, 2),
    "ratings that are no matrix": lambda: human.human_alpha([1, 2], level="nominal"),
    "half a rating": lambda: human.human_alpha([[0.5, 2]], level="nominal"),
    "negative ratings": lambda: human.human_alpha([[-1, 2]], level="nominal"),
    "NaN ratings": lambda: human.human_alpha([[NAN, 2]], level="nominal"),
    "units of another length": lambda: human.human_alpha([[1, 2]], level="nominal", units=[1, 2]),
    "half a unit": lambda: human.human_ac1([[1, 2]], units=[0.5]),
    "unknown level": lambda: human.human_alpha([[1, 2]], level="fuzzy"),
    "interval level without values": lambda: human.human_alpha([[1, 2]], level="interval"),
    "values of another length": lambda: human.human_alpha([[1, 2]], level="interval", values=[1.0]),
    "negative ratio values": lambda: human.human_alpha([[1, 2]], level="ratio", values=[-1.0, 1.0]),
    "vote for no category": lambda: human.count_matrix([{"x": 1}], ["a", "b"]),
    "infinite moments": lambda: human.alpha_of_moments([2.0], [INF], [1.0], 1.0),
    "margin below zero": lambda: paired.non_inferiority("kappa", PairedTable.from_counts([[[1]]]), -0.1),
    "negative discordant items": lambda: paired.mcnemar(-1, 2),
    "p value above 1": lambda: multiplicity.holm([0.5, 1.5]),
    "NaN p value": lambda: multiplicity.benjamini_hochberg([NAN]),
    "level of 0": lambda: multiplicity.benjamini_yekutieli([0.5], 0.0),
    "NaN bar": lambda: verdicts.verdict(Estimate(0.5, 0.4, 0.6, n=50), NAN, 50, 20),
    "half-width of 0": lambda: planning.labels_for_half_width("kappa", FOUR, 0.0),
    "NaN half-width": lambda: planning.labels_from_estimate(Estimate(0.5), NAN),
    "probability above 1": lambda: scores.probabilities([1.2], [1]),
    "outcome of a half": lambda: scores.probabilities([0.2], [0.5]),
    "no bins": lambda: scores.probabilities([0.2], [1], bins=0),
    "numbers of unequal length": lambda: scores.pearson([1, 2], [1, 2, 3]),
    "NaN numbers": lambda: scores.lin([1, NAN], [1, 2]),
    "words as numbers": lambda: scores.lin(["a"], ["b"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_senseless_input_is_refused_with_a_typed_error(case: str) -> None:
    with pytest.raises(StatisticsError):
        REFUSED[case]()


def _sound(found: Estimate, floor: float = -1.0) -> None:
    if found.value is None:
        assert found.reason
        return
    assert found.low is not None and found.high is not None
    assert math.isfinite(found.value) and min(floor, found.value) <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


STRANGE = {
    "one category": [[7]],
    "one category, no label": [[0]],
    "nothing": [[0, 0], [0, 0]],
    "one label, right": [[1, 0], [0, 0]],
    "one label, wrong": [[0, 1], [0, 0]],
    "two labels, wrong": [[0, 1], [1, 0]],
    "all weight in one row": [[4, 5, 6], [0, 0, 0], [0, 0, 0]],
    "all weight in one column": [[4, 0, 0], [5, 0, 0], [6, 0, 0]],
    "all in one cell": [[0, 0], [9, 0]],
    "a thousand million": [[10**9, 10**7], [3, 10**9]],
    "one miss in a thousand million": [[10**9, 1], [0, 10**9]],
    "never right": [[0, 50], [50, 0]],
    "200 categories": np.eye(200) * 3 + (np.arange(200)[:, None] == np.arange(200)[::-1]),
    "200 categories, one label each": np.eye(200),
}


@pytest.mark.parametrize("case", STRANGE)
@pytest.mark.parametrize("weight", [1.0, 1e-6, 1e9])
def test_strange_tables_give_a_sound_estimate_or_a_reason(case: str, weight: float) -> None:
    counts = np.asarray(STRANGE[case])
    names = tuple(str(k) for k in range(len(counts)))
    table = ConfusionTable(names, counts, counts * weight, counts * weight**2)
    for scale in ("nominal", "ordinal"):
        found = summarise(table, scale=scale, statistics=STATISTICS)
        for name, one in found.estimates.items():
            _sound(one, 0.0 if name in ("accuracy", "macro_f1") else -1.0)
        for row in found.per_category:
            for name in ("share", "predicted_share", "precision", "recall", "f1"):
                _sound(getattr(row, name), 0.0)
        (word,) = verdicts.verdicts("kappa", [table], 0.6, scale=scale)
        assert word.word in ("trusted", "untrusted", "unproven")
        assert word.labels_needed is None or 0 <= word.labels_needed <= verdicts.MOST_LABELS


@pytest.mark.parametrize("case", [name for name in STRANGE if not name.startswith("200")])
def test_strange_tables_with_wildly_unequal_weights(case: str) -> None:
    counts = np.asarray(STRANGE[case], dtype=np.float64)
    rising = np.exp(np.arange(counts.size).reshape(counts.shape) * 2.0)
    table = ConfusionTable(tuple(map(str, range(len(counts)))), counts, counts * rising, counts * rising**2 * 1.0)
    for name in STATISTICS:
        _sound(estimate(name, table), 0.0 if name in ("accuracy", "macro_f1") else -1.0)
    for row in summarise(table, scale="nominal").per_category:
        for name in ("share", "predicted_share", "precision", "recall", "f1"):
            _sound(getattr(row, name), 0.0)


@pytest.mark.parametrize("case", [name for name in STRANGE if not name.startswith("200")])
def test_strange_pairs_of_versions(case: str) -> None:
    counts = np.asarray(STRANGE[case])
    joint = np.stack([np.diag(row) for row in counts])
    same = PairedTable.from_counts(joint)
    for name in STATISTICS:
        found = paired.difference(name, same)
        assert found.value == 0.0 or found.reason in ("no_items", "one_category")
        if found.value is not None:
            assert found.low is not None and found.high is not None and found.low < 0 < found.high


def test_no_tables_are_no_estimates() -> None:
    assert estimate_all("kappa", []) == summarise_all([], scale="nominal") == []
    assert verdicts.verdicts("kappa", [], 0.6) == [] == verdicts.pool([])
    assert multiplicity.holm([]).adjusted == ()
    assert masi.masi([])[0].reason == "no_items"


def test_numbers_without_variation_have_no_correlation() -> None:
    for function in (scores.pearson, scores.spearman, scores.lin):
        assert function([], []).reason == "no_items"
        assert function([2, 2, 2], [2, 2, 2]).reason == "zero_variance"
    assert scores.pearson([1, 2, 3], [2, 2, 2]).reason == "zero_variance"


@pytest.mark.parametrize("n", [2, 3, 4, 30])
def test_perfect_and_small_lists_of_numbers_have_an_interval(n: int) -> None:
    x = np.arange(n, dtype=float)
    for y in (x, x[::-1].copy(), x + 1, np.where(x == 0, 5.0, x), np.where(x > 0, 3.0, x)):
        for function in (scores.pearson, scores.spearman, scores.lin):
            _sound(function(x, y))
    assert scores.lin(x, np.full(n, 2.0)).value == 0.0


def test_measures_of_one_category_are_undefined() -> None:
    only = ConfusionTable.from_counts([[7]])
    for name in ("kappa", "ac1", "alpha", "mcc"):
        assert estimate(name, only).reason == "one_category"
    assert not measure("ac1", 1)(only.shares, np.asarray(7.0)).defined
