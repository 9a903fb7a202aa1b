"""The intervals hold the truth as often as they say, in small samples of populations in which it is known.

`make coverage-sim` tries many more; these are the cells in which intervals usually fail: few labels, a rare category, hardly an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from calibration.stats import ConfusionTable, paired
from calibration.stats.summary import estimate_all, measure
from calibration.stats.tables import PairedTable

SAMPLES = 600


def population(size: int, kappa: float, largest: float) -> Any:
    """Shares of the cells when gold and classifier use the categories alike, one of them that often."""
    margin = np.array([largest, *[(1 - largest) / (size - 1)] * (size - 1)])
    return kappa * np.diag(margin) + (1 - kappa) * np.outer(margin, margin)


@pytest.mark.parametrize("statistic", ["kappa", "weighted_kappa", "alpha", "ac1", "accuracy", "mcc", "macro_f1"])
@pytest.mark.parametrize(
    ("size", "kappa", "largest"), [(2, 0.6, 0.9), (2, 0.95, 0.8), (3, 0.6, 1 / 3), (3, 0.95, 0.9), (5, 0.8, 0.8)]
)
def test_the_interval_holds_the_truth(statistic: str, size: int, kappa: float, largest: float) -> None:
    shares = population(size, kappa, largest)
    many = np.asarray([1e9])
    truth = float(measure(statistic, size, scale="ordinal")(shares[None], many).value[0])
    rng = np.random.default_rng(11)
    drawn = rng.multinomial(200, shares.ravel(), size=SAMPLES).reshape(-1, size, size)
    drawn = drawn[(drawn.sum(-1) > 0).all(-1)]  # a category that the gold lacks is no category of it
    found = estimate_all(statistic, [ConfusionTable.from_counts(one) for one in drawn], scale="ordinal")
    low, high = np.array([[one.low, one.high] for one in found if one.defined]).T
    assert ((low <= truth) & (truth <= high)).mean() >= 0.92
    assert (low > truth).mean() <= 0.05  # what would make a false *trusted*


@pytest.mark.parametrize("statistic", ["kappa", "ac1", "accuracy", "macro_f1"])
@pytest.mark.parametrize("largest", [1 / 3, 0.9])
def test_the_interval_of_a_difference_holds_the_truth(statistic: str, largest: float) -> None:
    """Two versions that err apart, of kappa .6 and .75: where a category is rare the plain t interval holds it in .87."""
    margin = np.array([largest, *[(1 - largest) / 2] * 2])
    a, b = (population(3, kappa, largest) / margin[:, None] for kappa in (0.6, 0.75))
    joint = margin[:, None, None] * a[:, :, None] * b[:, None, :]
    many = np.asarray([1e9])
    chosen = measure(statistic, 3)
    truth = float((chosen(joint.sum(1)[None], many).value - chosen(joint.sum(2)[None], many).value)[0])
    drawn = np.random.default_rng(12).multinomial(100, joint.ravel(), size=SAMPLES).reshape(-1, 3, 3, 3)
    found = [paired.difference(statistic, PairedTable.from_counts(one)) for one in drawn]
    low, high = np.array([[one.low, one.high] for one in found if one.value is not None]).T
    assert ((low <= truth) & (truth <= high)).mean() >= 0.92
    assert (low > truth).mean() <= 0.04  # what would pass a gate that it should not
