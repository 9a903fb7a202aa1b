"""Verdicts, what they cost in labels, and pooling."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from calibration.stats import intervals, verdicts
from calibration.stats.estimate import Estimate
from calibration.stats.summary import estimate, is_graded, measure
from calibration.stats.tables import ConfusionTable

GOOD = ConfusionTable.from_counts([[90, 5], [6, 80]])
BAD = ConfusionTable.from_counts([[60, 35], [40, 50]])
MIDDLING = ConfusionTable.from_counts([[42, 10], [9, 40]])
SHORT = ConfusionTable.from_counts([[11, 0], [0, 12]])


def kappa_table(kappa: float, n: int) -> ConfusionTable:
    """A balanced binary table of about that kappa."""
    hit = round(n * (1 + kappa) / 4)
    return ConfusionTable.from_counts([[hit, n // 2 - hit], [n // 2 - hit, hit]])


def test_it_works() -> None:
    words = [word.word for word in verdicts.verdicts("kappa", [GOOD, BAD, MIDDLING, SHORT], 0.6)]
    assert words == ["trusted", "untrusted", "unproven", "unproven"]
    reasons = [word.reason for word in verdicts.verdicts("kappa", [GOOD, BAD, MIDDLING, SHORT], 0.6)]
    assert reasons == ["clears_bar", "below_bar", "spans_bar", "too_few_items"]


def test_settled_slices_need_no_labels_and_open_ones_do() -> None:
    good, bad, middling, short = verdicts.verdicts("kappa", [GOOD, BAD, MIDDLING, SHORT], 0.6)
    assert good.labels_needed == bad.labels_needed == 0
    assert middling.labels_needed is not None and middling.labels_needed > 101
    assert short.labels_needed == 7


@pytest.mark.parametrize("statistic", ["kappa", "alpha", "ac1", "accuracy", "mcc", "macro_f1"])
@pytest.mark.parametrize("weighted", [False, True])
def test_p_is_where_the_lower_limit_meets_the_bar(statistic: str, weighted: bool) -> None:
    """At confidence 1 - 2p the lower limit is the bar itself."""
    weights = np.array([[1.0, 9.0], [4.0, 1.0]]) if weighted else np.ones((2, 2))
    table = ConfusionTable(("a", "b"), GOOD.n, GOOD.n * weights, GOOD.n * weights**2)
    bar = (estimate(statistic, table).low or 0) - 0.02
    graded = is_graded(statistic, 2, "nominal")
    p = verdicts.trust_p(statistic, measure(statistic, 2), intervals.stack([table]), bar, graded=graded)[0]
    assert 0 < p < 0.025
    assert estimate(statistic, table, confidence=1 - 2 * p).low == pytest.approx(bar, abs=1e-9)


@pytest.mark.parametrize(
    ("statistic", "scale"), [("weighted_kappa", "ordinal"), ("alpha", "ordinal"), ("ac2", "ordinal")]
)
def test_the_same_where_misses_are_graded(statistic: str, scale: str) -> None:
    table = ConfusionTable.from_counts([[40, 4, 0], [5, 50, 3], [0, 6, 42]])
    bar = (estimate(statistic, table, scale=scale).low or 0) - 0.02
    cells, chosen = intervals.stack([table]), measure(statistic, 3, scale=scale)
    p = verdicts.trust_p(statistic, chosen, cells, bar, graded=True)[0]
    assert 0 < p < 0.025
    assert estimate(statistic, table, scale=scale, confidence=1 - 2 * p).low == pytest.approx(bar, abs=1e-9)


def test_p_at_the_ends_of_the_range() -> None:
    cells = intervals.stack([GOOD, ConfusionTable.from_counts([[1, 0], [0, 0]])])
    assert (verdicts.trust_p("kappa", measure("kappa", 2), cells, 1.0) == 1.0).all()
    assert verdicts.trust_p("kappa", measure("kappa", 2), cells, -5.0).tolist() == [0.0, 1.0]


def test_many_slices_need_more_evidence_for_trust() -> None:
    barely = kappa_table(0.74, 150)
    (alone,) = verdicts.verdicts("kappa", [barely], 0.6)
    among = verdicts.verdicts("kappa", [barely, *[kappa_table(0.56, 150)] * 23], 0.6)[0]
    assert alone.word == "trusted" and alone.p is not None and alone.p <= 0.025
    assert (among.word, among.reason) == ("unproven", "other_slices")
    assert among.adjusted_p is not None and among.adjusted_p > 0.05
    assert among.labels_needed is not None and among.labels_needed > 0


def test_slices_too_small_to_judge_cost_the_others_nothing() -> None:
    barely = kappa_table(0.74, 150)
    found = verdicts.verdicts("kappa", [barely, *[SHORT] * 30], 0.6)
    assert found[0].word == "trusted" and found[0].adjusted_p == found[0].p


def test_the_grown_level_is_stricter() -> None:
    table = kappa_table(0.74, 150)
    (strict,) = verdicts.verdicts("kappa", [table], 0.6, confidence=verdicts.GROWN_CONFIDENCE)
    assert strict.word == "unproven"


def test_a_minority_of_four_is_too_few() -> None:
    four, five = (ConfusionTable.from_counts([[96, 0], [0, k]]) for k in (4, 5))
    assert verdicts.minority(four) == 4
    assert [v.reason for v in verdicts.verdicts("kappa", [four], 0.6)] == ["too_few_items"]
    assert [v.reason for v in verdicts.verdicts("kappa", [five], 0.6)] != ["too_few_items"]
    assert verdicts.too_few_needed(100, 4) == 25
    assert verdicts.too_few_needed(100, 0) == 900
    assert verdicts.too_few_needed(0, 0) == 30
    assert verdicts.too_few_needed(29, 29) == 1


def test_quadratic_ac2_waits_for_a_hundred_labels() -> None:
    table = ConfusionTable.from_counts([[30, 1, 0], [1, 30, 1], [0, 1, 30]])
    (word,) = verdicts.verdicts("ac2", [table], 0.6)
    assert word.reason == "too_few_items" and word.labels_needed == 6


def test_an_undefined_statistic_proves_nothing() -> None:
    (one,) = verdicts.verdicts("kappa", [ConfusionTable.from_counts([[50, 0], [0, 0]])], 0.6)
    (none,) = verdicts.verdicts("kappa", [ConfusionTable.from_counts([[0, 0], [0, 0]])], 0.6)
    assert (one.word, one.reason, one.p) == ("unproven", "one_category", None)
    assert (none.word, none.reason) == ("unproven", "no_items")


def test_labels_needed_follow_the_formula() -> None:
    found = estimate("kappa", MIDDLING)
    assert found.value is not None and found.standard_error is not None
    bar = found.value - 0.15
    whole = found.n * ((1.959964 + 0.84) * found.standard_error / 0.15) ** 2
    needed, around = verdicts.labels_needed(found, bar)
    assert needed == math.ceil(whole) - found.n
    assert around is not None and around[0] <= needed <= around[1]


def test_the_promise_of_labels_needed_is_kept() -> None:
    """With as many labels as promised, at the same agreement, most samples settle the verdict (80 % are meant to)."""
    table = kappa_table(0.72, 100)
    (word,) = verdicts.verdicts("kappa", [table], 0.6)
    assert word.word == "unproven" and word.labels_needed is not None
    rng = np.random.default_rng(3)
    draws = rng.multinomial(100 + word.labels_needed, table.shares.ravel(), size=400).reshape(-1, 2, 2)
    settled = [
        v.word == "trusted" for d in draws for v in verdicts.verdicts("kappa", [ConfusionTable.from_counts(d)], 0.6)
    ]
    assert 0.7 < np.mean(settled) < 0.95


def test_near_the_bar_no_number_of_labels_is_promised() -> None:
    found = estimate("kappa", MIDDLING)
    assert found.value is not None
    assert verdicts.labels_needed(found, found.value - 0.01)[0] == verdicts.MOST_LABELS
    needed, around = verdicts.labels_needed(found, found.value - 0.05)
    assert needed is not None and around is not None and around[1] == verdicts.MOST_LABELS
    assert verdicts.labels_needed(Estimate(0.5), 0.6) == (None, None)


def test_labels_needed_without_a_disagreement_go_by_the_interval() -> None:
    perfect = estimate("kappa", ConfusionTable.from_counts([[20, 0], [0, 20]]))
    needed, _ = verdicts.labels_needed(perfect, 0.95)
    assert perfect.standard_error == 0 and needed is not None and needed > 10


def test_pooling_draws_thin_slices_to_the_mean() -> None:
    found = [Estimate(v, n=50, standard_error=e) for v, e in ((0.9, 0.2), (0.5, 0.02), (0.62, 0.02), (0.7, 0.02))]
    thin, *thick = verdicts.pool([*found, Estimate.undefined("no_items")])
    assert thin.value is not None and 0.6 < thin.value < 0.75 and thin.weight < 0.3
    assert all(abs((a.value or 0) - (b.value or 0)) < 0.02 for a, b in zip(thick, found[1:], strict=False))
    assert thick[-1].value is None and thick[-1].weight == 1.0


def test_a_slice_without_a_disagreement_does_not_outweigh_all_others() -> None:
    """Its standard error is none, or the rounding of none; its interval says what it knows."""
    perfect = estimate("kappa", ConfusionTable.from_counts([[20, 0], [0, 20]]))
    others = [Estimate(v, v - 0.1, v + 0.1, n=60, standard_error=0.05) for v in (0.62, 0.7)]
    exact, *_ = verdicts.pool([perfect, *others])
    rounded, *_ = verdicts.pool([replace(perfect, standard_error=1e-17), *others])
    assert exact == rounded and 0.62 < (exact.value or 0) < 1 and 0 < exact.weight < 1


def test_slices_that_differ_no_more_than_chance_become_one() -> None:
    found = [Estimate(v, n=50, standard_error=0.1) for v in (0.60, 0.61, 0.59)]
    assert [round(p.value or 0, 9) for p in verdicts.pool(found)] == [0.6, 0.6, 0.6]
    assert verdicts.pool(found[:1]) == [verdicts.Pooled(0.60, 1.0)]


def test_between_variance_is_the_textbook_formula() -> None:
    y, v = np.array([0.3, 0.5, 0.8]), np.array([0.01, 0.02, 0.04])
    w = 1 / v
    q = (w * (y - (w @ y) / w.sum()) ** 2).sum()
    assert verdicts.between_variance(y, v) == pytest.approx((q - 2) / (w.sum() - (w**2).sum() / w.sum()))
