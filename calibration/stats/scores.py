"""Probabilities against outcomes, and two lists of numbers against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from calibration.stats import intervals
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.tables import Array

MEAN_T = "mean, t"
FISHER = "fisher z"
BINS = 10
# log(0) is not defined: an answer given with certainty that turns out wrong costs this much at most.
LEAST_PROBABILITY = 1e-15


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of a reliability diagram: what was promised, and what came true."""

    low: float
    high: float
    n: int
    mean_probability: float
    share: float


@dataclass(frozen=True, slots=True)
class Probabilities:
    """How good probabilities of an event are."""

    brier: Estimate
    log_loss: Estimate
    ece: Estimate
    bins: tuple[Bin, ...]


def _numbers(values: ArrayLike, what: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"{what} must be numbers") from error
    if array.ndim != 1 or not np.isfinite(array).all():
        raise StatisticsError(f"{what} must be a list of finite numbers")
    return array


def _pairs(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    first, second = _numbers(x, "x"), _numbers(y, "y")
    if len(first) != len(second):
        raise StatisticsError("both lists must be equally long")
    return first, second


def mean_estimate(values: Array, confidence: float, floor: float = -np.inf, roof: float = np.inf) -> Estimate:
    """A mean with its t interval, -+ 3 / n where the values do not vary, within floor and roof."""
    n = len(values)
    if n == 0:
        return Estimate.undefined("no_items")
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, method=MEAN_T, n=1, effective_n=1.0, confidence=confidence)
    error = float(values.std(ddof=1)) / np.sqrt(n)
    half = float(intervals.t_quantile(confidence, np.asarray(n - 1.0))) * error if error > 0 else 3.0 / n
    low, high = max(mean - half, floor), min(mean + half, roof)
    return Estimate(mean, low, high, MEAN_T, n, float(n), confidence, None, error)


def probabilities(
    predicted: ArrayLike, outcome: ArrayLike, *, bins: int = BINS, confidence: float = 0.95
) -> Probabilities:
    """Brier score, log loss and expected calibration error of the probabilities of an event that came true or not.

    The calibration error is biased upwards in small samples; it is shown, without an interval, and decides nothing.
    """
    p, y = _pairs(predicted, outcome)
    if ((p < 0) | (p > 1)).any() or not np.isin(y, (0, 1)).all():
        raise StatisticsError("probabilities lie within 0..1 and outcomes are 0 or 1")
    if bins < 1:
        raise StatisticsError("there must be a bin")
    held = np.clip(np.where(y == 1, p, 1 - p), LEAST_PROBABILITY, 1.0)
    filled = reliability(p, y, bins)
    gap = sum(one.n * abs(one.mean_probability - one.share) for one in filled)
    ece = Estimate(gap / len(p), method=f"{bins} equal bins", n=len(p)) if len(p) else Estimate.undefined("no_items")
    return Probabilities(
        mean_estimate((p - y) ** 2, confidence, 0.0, 1.0), mean_estimate(-np.log(held), confidence, 0.0), ece, filled
    )


def reliability(p: Array, y: Array, bins: int = BINS) -> tuple[Bin, ...]:
    """The occupied bins [a, b) of equal width, the last one closed."""
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    n = np.bincount(place, minlength=bins)
    promised, true = np.bincount(place, weights=p, minlength=bins), np.bincount(place, weights=y, minlength=bins)
    return tuple(
        Bin(k / bins, (k + 1) / bins, int(n[k]), float(promised[k] / n[k]), float(true[k] / n[k]))
        for k in np.flatnonzero(n).tolist()
    )


def pearson(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Pearson's correlation, its interval by Fisher's z."""
    return _correlation(*_pairs(x, y), confidence, inflation=0.0)


def spearman(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Spearman's rank correlation with mid-ranks; its error as Bonett and Wright (2000) give it."""
    first, second = _pairs(x, y)
    return _correlation(stats.rankdata(first), stats.rankdata(second), confidence, inflation=0.5)


def _correlation(x: Array, y: Array, confidence: float, inflation: float) -> Estimate:
    """A correlation with limits on atanh, where its error is sqrt((1 + inflation * r**2) / (n - 3))."""
    n = len(x)
    if n == 0:
        return Estimate.undefined("no_items")
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((dx @ dx) * (dy @ dy)))
    if not _varies(x) or not _varies(y):
        return Estimate.undefined("zero_variance", n=n)
    r = float(np.clip(dx @ dy / spread, -1.0, 1.0))
    error = float(np.sqrt((1 + inflation * r * r) / (n - 3))) if n > 3 else np.inf
    return fisher_limited(r, error, n, confidence)


def _varies(values: Array) -> bool:
    return bool((values != values[0]).any())


def fisher_limited(value: float, error: float, n: int, confidence: float) -> Estimate:
    """Limits by Fisher's z; an observed coefficient of 1 is pulled in by half a step of 1 / n so that it has some."""
    if not np.isfinite(error):
        return Estimate(value, -1.0, 1.0, FISHER, n, float(n), confidence)
    inner = float(np.clip(value, -1 + 0.5 / n, 1 - 0.5 / n))
    half = intervals.normal_quantile(confidence) * error
    low, high = (float(np.tanh(np.arctanh(inner) + side * half)) for side in (-1, 1))
    slope = (1 - inner**2) * error
    return Estimate(value, min(low, value), max(high, value), FISHER, n, float(n), confidence, None, slope)


def lin(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Lin's concordance coefficient (1989) with population moments: 1 only where every pair is equal."""
    first, second = _pairs(x, y)
    n = len(first)
    if n == 0:
        return Estimate.undefined("no_items")
    dx, dy = first - first.mean(), second - second.mean()
    vx, vy, shift = float(dx @ dx) / n, float(dy @ dy) / n, float(first.mean() - second.mean())
    if not _varies(np.concatenate([first, second])):
        return Estimate.undefined("zero_variance", n=n)
    covariance = float(dx @ dy) / n
    value = 2 * covariance / (vx + vy + shift**2)
    if n < 4 or not _varies(first) or not _varies(second) or covariance == 0:
        return Estimate(value, -1.0, 1.0, FISHER, n, float(n), confidence)
    r = float(np.clip(covariance / np.sqrt(vx * vy), -1.0, 1.0))
    return fisher_limited(value, _lin_error(value, r, shift**2 / np.sqrt(vx * vy), n), n, confidence)


def _lin_error(value: float, r: float, shift: float, n: int) -> float:
    """Standard error of atanh of Lin's coefficient (Lin 1989, with the correction of 2000)."""
    one = max(1 - value**2, 1e-12)
    terms = (
        (1 - r**2) * value**2 / (one * r**2)
        + 2 * value**3 * (1 - value) * shift / (r * one**2)
        - value**4 * shift**2 / (2 * r**2 * one**2)
    )
    return float(np.sqrt(max(terms, 0.0) / (n - 2)))
