"""Has the mean of a measured share risen? For word error rates of calls: sequentially valid, and graded.

The wealth of a bet against "as before" is multiplied, for each call, by 1 + λ(x − m0), with x its rate (0..1, capped) and
m0 the one-sided 97.5 % upper limit of the mean before plus a margin that is not worth an alarm (Waudby-Smith & Ramdas
2024). The alarm at 40 spends one half of the five percent, the limit the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from calibration.stats.betting import Floats, capped, change_point, e_monitor
from calibration.stats.drift import CANARY_ALARM, CANARY_BETS, WEEKS, Drift, drift_of, no_drift, promise
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import t_quantile

MARGIN = 0.01
LEAST_REFERENCE = 30


def rise_monitor(
    blocks: Sequence[tuple[str, ArrayLike]],
    *,
    reference: ArrayLike,
    subject: str = "",
    margin: float = MARGIN,
    horizon: int = WEEKS,
    bets: Sequence[float] = CANARY_BETS,
    alarm_at: float = CANARY_ALARM,
) -> Drift:
    """Has the mean risen above that of `reference` by more than `margin`? A block is its name and the shares in it."""
    keys = tuple(key for key, _ in blocks)
    shares = [checked(values) for _, values in blocks]
    before = mean_of(checked(reference))
    limit = 1.0 if before.high is None else min(before.high + margin, 1.0)
    condition = f"the mean stays at most {100 * limit:.1f} %"
    guarantee = promise(alarm_at / 2, condition, horizon)
    if before.n < LEAST_REFERENCE or limit >= 1:
        return no_drift("asr", subject, keys, alarm_at, before, guarantee, "too_few_items")
    stakes = capped(bets, limit)
    rows = [np.log1p(stakes * (x - limit)[:, None]).sum(axis=0) for x in shares]
    increments = np.array(rows).reshape(len(rows), len(stakes))
    log_e = e_monitor(increments, horizon=horizon)
    start = change_point(increments, log_e, alarm_at)
    since = np.concatenate(shares[start or 0 :]) if shares else np.zeros(0)
    return drift_of("asr", subject, keys, log_e, alarm_at, start, limit, before, mean_of(since), guarantee)


def mean_of(shares: Floats, confidence: float = 0.95) -> Estimate:
    """The mean of shares with its t interval, within 0..1."""
    n = len(shares)
    if not n:
        return Estimate.undefined("no_items")
    mean = float(shares.mean())
    if n == 1:
        return Estimate(mean, method="mean", n=1, confidence=confidence)
    error = float(shares.std(ddof=1)) / math.sqrt(n)
    reach = float(t_quantile(confidence, np.asarray(n - 1.0))) * error
    return Estimate(mean, max(mean - reach, 0.0), min(mean + reach, 1.0), "mean, t", n, None, confidence, None, error)


def difference(before: Estimate, after: Estimate, confidence: float = 0.95) -> Estimate:
    """How far the mean moved, with Welch's interval (1947); undefined where one side has no spread to tell of."""
    if before.value is None or after.value is None:
        return Estimate.undefined(before.reason or after.reason or "no_items")
    if before.standard_error is None or after.standard_error is None:
        return Estimate.undefined("too_few_items", n=before.n + after.n)
    a, b = before.standard_error**2, after.standard_error**2
    value = after.value - before.value
    if not a + b:
        return Estimate(value, method="difference of means", n=before.n + after.n)
    freedom = (a + b) ** 2 / (a**2 / (before.n - 1) + b**2 / (after.n - 1))
    reach = float(t_quantile(confidence, np.asarray(freedom))) * math.sqrt(a + b)
    return Estimate(value, value - reach, value + reach, "Welch's t", before.n + after.n, None, confidence)


def checked(values: ArrayLike) -> Floats:
    """Shares as an array; refused outside 0..1."""
    shares = np.asarray(values, dtype=float)
    if shares.ndim != 1 or not np.all((shares >= 0) & (shares <= 1)):
        raise StatisticsError("shares lie within 0..1")
    return shares
