"""What hidden repeats and gold checks tell of one person: how often they say the same again, and how often they are right.

All intervals are of shares of independent items (Wilson 1927), or of order statistics; none rests on a normal distribution
of the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats as distributions

from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import wilson

ONE_COIN = "one-coin model, transferred wilson"
ORDER = "order statistics"


def implied_accuracy(same: int, repeats: int, categories: int, confidence: float = 0.95) -> Estimate:
    """How often a person is right, from how often they give the same answer twice.

    The one-coin model of Dawid and Skene (1979): right with chance a, else any of the other K - 1 answers alike, each time
    anew. Then the same answer comes again with chance c = a² + (1 - a)² / (K - 1), which is solved for a >= 1/K; the limits
    are Wilson's for c, carried over. Mistakes that a person makes every time (a guideline misread) look steady: then this is
    what is left without them, an upper end.
    """
    if categories < 2:
        raise StatisticsError("sameness tells nothing about a scale with fewer than two categories")
    found = wilson(same, repeats, confidence)
    if found.value is None or found.low is None or found.high is None:
        return found
    value, low, high = (_right_of_same(share, categories) for share in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high, method=ONE_COIN, standard_error=None)


def _right_of_same(same: float, categories: int) -> float:
    k = float(categories)
    return float((1 + np.sqrt(max((k - 1) * (k * same - 1), 0.0))) / k)


def median(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The median with the interval of its order statistics (Conover 1999, 3.2): it covers whatever the distribution.

    With fewer than six values the interval that they have does not reach the level: the smallest to the largest, and the
    method says so.
    """
    if not values:
        return Estimate.undefined("no_items")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not np.isfinite(ordered).all():
        raise StatisticsError("a median needs finite values")
    n = len(ordered)
    below = int(distributions.binom.ppf((1 - confidence) / 2, n, 0.5))
    # Between the values of ranks r and n + 1 - r lies the median with chance 1 - 2 P(B < r).
    rank = below if distributions.binom.cdf(below - 1, n, 0.5) <= (1 - confidence) / 2 else below - 1
    reached = rank >= 1
    low, high = (ordered[rank - 1], ordered[n - rank]) if reached else (ordered[0], ordered[-1])
    method = ORDER if reached else f"{ORDER}; too few for the level"
    return Estimate(float(np.median(ordered)), float(low), float(high), method, n, float(n), confidence)
