"""The intervals hold the truth as often as they say, in small samples of populations in which it is known.

`make coverage-sim` tries many more; these are the cells in which intervals usually fail: few labels, a rare category, hardly an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from calibration.stats import ConfusionTable
from calibration.stats.summary import estimate_all, measure

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
