"""Is the gap between a slice and the others real, or does the classifier err differently there?

Both sides are corrected by their own labels (`trends.corrected_shares`, `trends.mean_trend`); the gap of two
independent estimates takes its interval from theirs by Newcombe's (1998) square-and-add rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from calibration.stats.estimate import Estimate

Word = Literal["real gap", "classifier noise", "no gap", "not enough evidence"]
NEGLIGIBLE = 0.05
"""A gap within ± 5 points (of the range of the scores) is none worth acting on."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A slice minus the others: as scored, and corrected."""

    raw: float
    corrected: Estimate
    word: Word


def gap(here: Estimate, others: Estimate, *, raw: float, unit: float = 1.0) -> Gap:
    """The gap of two corrected numbers beside the gap as scored. `unit` is the range of the scores, 1 for a share.

    *real gap*: the corrected interval excludes 0. *classifier noise*: it holds 0 and excludes the gap as scored, which
    is therefore made of errors. *no gap*: it lies within ± 5 points. Anything else is *not enough evidence*.
    """
    difference = minus(here, others)
    return Gap(raw, difference, _word(difference, raw, unit))


def minus(a: Estimate, b: Estimate) -> Estimate:
    """a − b of independent estimates: each limit lies the root of the summed squares of theirs away."""
    if a.value is None or b.value is None:
        return Estimate.undefined(a.reason or b.reason or "no_items", n=a.n + b.n)
    a_low, a_high, b_low, b_high = (
        float(limit if limit is not None else one.value)  # type: ignore[arg-type]
        for one, limit in ((a, a.low), (a, a.high), (b, b.low), (b, b.high))
    )
    value = a.value - b.value
    low = value - math.hypot(a.value - a_low, b_high - b.value)
    high = value + math.hypot(a_high - a.value, b.value - b_low)
    return Estimate(value, low, high, "square and add", a.n + b.n, None, a.confidence)


def _word(corrected: Estimate, raw: float, unit: float) -> Word:
    if corrected.low is None or corrected.high is None:
        return "not enough evidence"
    if corrected.low > 0 or corrected.high < 0:
        return "real gap"
    if not corrected.low <= raw <= corrected.high:
        return "classifier noise"
    if max(-corrected.low, corrected.high) < NEGLIGIBLE * unit:
        return "no gap"
    return "not enough evidence"
