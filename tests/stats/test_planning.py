"""Sizes and allocations."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.stats import planning
from calibration.stats.estimate import Estimate
from calibration.stats.summary import estimate, measure
from calibration.stats.tables import ConfusionTable

KAPPA = measure("kappa", 2)
EVEN = ConfusionTable.from_counts([[40, 10], [10, 40]])


def test_it_works() -> None:
    """Balanced, two categories, kappa .6: 984 labels for a half-width of .05."""
    plan = planning.labels_for_half_width("kappa", EVEN, 0.05)
    assert plan.total == pytest.approx(984, abs=1)
    assert plan.further == plan.total - 100


@pytest.mark.parametrize("statistic", ["kappa", "accuracy", "alpha", "ac1"])
def test_a_plan_reaches_its_half_width(statistic: str) -> None:
    plan = planning.labels_for_half_width(statistic, EVEN, 0.05)
    assert plan.total is not None
    larger = ConfusionTable.from_counts(np.round(EVEN.shares * plan.total))
    assert estimate(statistic, larger).half_width == pytest.approx(0.05, rel=0.03)


def test_weights_make_the_labels_at_hand_worth_less() -> None:
    weights = np.array([[1.0, 1.0], [8.0, 8.0]])
    table = ConfusionTable(("a", "b"), EVEN.n, EVEN.n * weights, EVEN.n * weights**2)
    plan = planning.labels_for_half_width("accuracy", table, 0.05)
    assert plan.labels == 100 and plan.effective_n < 70
    assert plan.total is not None and plan.further == pytest.approx(plan.total - plan.effective_n, abs=1)


def test_without_a_miss_the_plan_does_not_promise_that_none_will_come() -> None:
    plan = planning.labels_for_half_width("kappa", ConfusionTable.from_counts([[30, 0], [0, 10]]), 0.05)
    assert plan.total is not None and plan.total > 50


def test_enough_is_enough() -> None:
    large = ConfusionTable.from_counts(EVEN.n * 100)
    assert planning.labels_for_half_width("kappa", large, 0.05).further == 0


def test_no_plan_without_a_statistic() -> None:
    assert planning.labels_for_half_width("kappa", ConfusionTable.from_counts([[9, 0], [0, 0]]), 0.1).reason == (
        "one_category"
    )
    assert planning.labels_for_half_width("kappa", ConfusionTable.from_counts([[0, 0], [0, 0]]), 0.1).reason == (
        "no_items"
    )


def test_a_plan_from_any_estimate() -> None:
    found = estimate("kappa", EVEN)
    plan, table_plan = planning.labels_from_estimate(found, 0.05), planning.labels_for_half_width("kappa", EVEN, 0.05)
    assert plan.total == pytest.approx(table_plan.total, rel=0.02)
    assert planning.labels_from_estimate(Estimate(0.5, n=9), 0.05).reason == "zero_variance"
    assert planning.labels_from_estimate(Estimate.undefined("no_items"), 0.05).reason == "no_items"
