"""Several labels an answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from calibration.stats import multilabel
from calibration.stats.multilabel import SetCell
from calibration.stats.summary import estimate, measure
from calibration.stats.tables import ConfusionTable

LABELS = ("billing", "delay", "staff")
SETS = [frozenset(c) for k in range(4) for c in itertools.combinations(LABELS, k)]


def cells_of(
    rng: np.random.Generator, n: int, right: float, rare: float = 0.3, weighted: bool = False
) -> list[SetCell]:
    """Units whose labels come together, answered rightly label by label with probability `right`."""
    both = rng.random((n, 1)) < rare
    gold = (rng.random((n, 3)) < rare) | both
    answer = np.where(rng.random((n, 3)) < right, gold, rng.random((n, 3)) < rare)
    weights = rng.choice([1.0, 5.0], n) if weighted else np.ones(n)
    names = np.array(LABELS)
    return [
        SetCell(frozenset(names[g].tolist()), frozenset(names[a].tolist()), 1, w, w * w)
        for g, a, w in zip(gold, answer, weights, strict=True)
    ]


def test_it_works() -> None:
    cells = cells_of(np.random.default_rng(1), 200, 0.8)
    found = multilabel.summarise(LABELS, cells)
    kappas = [estimate("kappa", table).value for table in found.tables.values()]
    assert found.estimates["kappa"].value == pytest.approx(np.mean([k for k in kappas if k is not None]))
    assert found.exact.value == pytest.approx(np.mean([c.gold == c.predicted for c in cells]))
    assert found.n == 200 == found.effective_n


def test_a_single_label_is_its_own_table() -> None:
    """The mean over one label has that label's interval, evenly drawn or weighted."""
    for weighted in (False, True):
        cells = [
            SetCell(c.gold & {"delay"}, c.predicted & {"delay"}, c.n, c.s1, c.s2)
            for c in cells_of(np.random.default_rng(2), 150, 0.7, weighted=weighted)
        ]
        found = multilabel.summarise(("delay",), cells)
        for name in ("kappa", "alpha", "ac1"):
            alone = estimate(name, multilabel.table_of("delay", cells))
            assert found.estimates[name].value == pytest.approx(alone.value)
            assert found.estimates[name].low == pytest.approx(alone.low, abs=2e-3)
            assert found.estimates[name].high == pytest.approx(alone.high, abs=2e-3)


@pytest.mark.parametrize("rare", [0.3, 0.06])
@pytest.mark.parametrize("weighted", [False, True])
def test_intervals_cover(rare: float, weighted: bool) -> None:
    rng = np.random.default_rng(4)
    truth = multilabel.summarise(LABELS, cells_of(rng, 20_000, 0.8, rare)).estimates["kappa"].value or 0
    found = [
        multilabel.summarise(LABELS, cells_of(rng, 80, 0.8, rare, weighted)).estimates["kappa"] for _ in range(100)
    ]
    hits = [(f.low or 0) <= truth <= (f.high or 0) for f in found]
    above = [(f.low or 0) > truth for f in found]
    assert np.mean(hits) > 0.9 and np.mean(above) < 0.06


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("statistic", ["kappa", "alpha", "ac1", "accuracy"])
def test_p_is_where_the_lower_limit_meets_the_bar(statistic: str, weighted: bool) -> None:
    cells = cells_of(np.random.default_rng(6), 150, 0.8, weighted=weighted)
    bar = (multilabel.summarise(LABELS, cells).estimates[statistic].low or 0) - 0.02
    p = multilabel.trust_p(statistic, LABELS, cells, bar)
    assert 0 < p < 0.025
    again = multilabel.summarise(LABELS, cells, 1 - 2 * p).estimates[statistic]
    assert again.low == pytest.approx(bar, abs=1e-9)


def test_perfect_answers_have_an_interval() -> None:
    cells = [SetCell(s, s, 5, 5.0, 5.0) for s in SETS]
    found = multilabel.summarise(LABELS, cells)
    for one in [*found.estimates.values(), found.exact]:
        assert one.value == 1.0 == one.high and one.low is not None and 0.5 < one.low < 1


def test_a_label_that_never_varies_is_left_out() -> None:
    cells = [SetCell(s - {"staff"}, s - {"staff"}, 3, 3.0, 3.0) for s in SETS]
    found = multilabel.summarise(LABELS, cells)
    assert found.estimates["kappa"].value == 1.0
    assert found.minority == 12
    never = multilabel.summarise(("staff",), cells)
    assert never.estimates["kappa"].reason == "one_category" and never.minority == 0
    assert never.estimates["ac1"].value == 1.0


def test_nothing_to_measure() -> None:
    found = multilabel.summarise(LABELS, [])
    assert {one.reason for one in found.estimates.values()} == {"no_items"}
    assert multilabel.macro(measure("kappa", 2), {}, [SetCell(SETS[0], SETS[0], 1, 1.0, 1.0)]).reason == "no_items"
    single = multilabel.summarise(LABELS, [SetCell(SETS[1], SETS[2], 1, 1.0, 1.0)]).estimates["kappa"]
    assert (single.low, single.high) == (-1.0, 1.0)
    assert multilabel.trust_p("kappa", LABELS, [], 0.6) == 1.0
    assert multilabel.trust_p("kappa", LABELS, [SetCell(SETS[1], SETS[2], 1, 1.0, 1.0)], 0.6) == 1.0
    assert isinstance(found.tables["delay"], ConfusionTable)
