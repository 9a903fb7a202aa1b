"""Two versions of a classifier on the same gold: differences with intervals, and tests of marginal tables.

Both versions err on the same items more often than not, so their difference is known far better than either value: the
variance is that of the paired influence, over the joint table gold x a x b.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from calibration.stats import intervals
from calibration.stats.agreement import Measure
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.summary import estimate, measure
from calibration.stats.tables import Array, ConfusionTable, PairedTable

PAIRED_T = "paired influence, t"
AGRESTI_MIN = "agresti-min"
NO_VARIANCE = "rule of three"
MEAN_T = "linearised mean, t"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether version b holds against version a: `passed` is decided by a one-sided limit, `p` is its p value.

    `limit` is the lower one that a test of non-inferiority goes by.
    """

    statistic: str
    a: Estimate
    b: Estimate
    difference: Estimate
    margin: float
    passed: bool
    p: float | None
    reason: str | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over units of one number x each, with weights w; they add up over slices.

    `n` units, `s1` Σw, `s2` Σw², `first` Σw·x, `linear` Σw²·x, `squares` Σw²·x². `span` is the range of the scale that x is
    measured on, where it has one.
    """

    n: int
    s1: float
    s2: float
    first: float
    linear: float
    squares: float
    span: float | None = None

    @classmethod
    def of(cls, x: ArrayLike, weights: ArrayLike | None = None, span: float | None = None) -> Sums:
        """From the numbers themselves."""
        values = np.asarray(x, dtype=np.float64)
        w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
        square = w * w
        return cls(
            len(values),
            float(w.sum()),
            float(square.sum()),
            float((w * values).sum()),
            float((square * values).sum()),
            float((square * values**2).sum()),
            span,
        )

    def __add__(self, other: Sums) -> Sums:
        names = ("n", "s1", "s2", "first", "linear", "squares")
        added = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Sums(**added, span=other.span if self.span is None else self.span)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Items that only one version got right, and how surprising their imbalance is."""

    only_a_right: int
    only_b_right: int
    exact_p: float
    mid_p: float
    chi2: Estimate


@dataclass(frozen=True, slots=True)
class Homogeneity:
    """A chi-square test that rows and columns have the same margins; None with a reason where it cannot be computed."""

    statistic: float | None
    p: float | None
    df: int
    reason: str | None = None


class Change(NamedTuple):
    """b minus a of a statistic, and its variance."""

    value: float
    variance: float


def _change(chosen: Measure, n: int, s1: Array, s2: Array) -> Change | None:
    """From weights and squared weights [gold, a, b]; None where either version has no value.

    The variance is that of the difference of influences, with the n / (n - 1) of a small sample.
    """
    weight = float(s1.sum()) or 1.0
    a, b = (chosen(s1.sum(axis) / weight, np.asarray(float(n))) for axis in (2, 1))
    if not (a.defined and b.defined):
        return None
    change = b.influence[:, None, :] - a.influence[:, :, None]
    return Change(float(b.value - a.value), float(n / max(n - 1, 1) * (s2 * change**2).sum() / weight**2))


def _with_half_an_item(chosen: Measure, table: PairedTable, *, better: bool) -> Change:
    """The change if half an item more spoke for b, or against it: evenly over the gold categories, of mean weight.

    A sample in which the versions do not differ on a rare category says little about how they would.
    """
    size = table.size
    others = intervals.misses(table.s1.sum((1, 2))).T
    pseudo, categories = np.zeros((size, size, size)), np.arange(size)
    if better:
        pseudo[categories, :, categories] = others / size / 2
    else:
        pseudo[categories, categories, :] = others / size / 2
    mean_weight = table.population / table.total
    s1, s2 = table.s1 + pseudo * mean_weight, table.s2 + pseudo * mean_weight**2
    return _change(chosen, table.total, s1, s2) or Change(0.0, np.inf)


def difference_of(chosen: Measure, table: PairedTable, confidence: float = 0.95, reach: float = 2.0) -> Estimate:
    """b minus a for any measure, with a t interval from the paired influence, within [-reach, reach].

    Each limit allows for half an item more on its side. Where no label moves the difference (V = 0), the interval is the
    value -+ 3 / n.
    """
    n, found = table.total, _change(chosen, table.total, table.s1, table.s2)
    if found is None:
        return Estimate.undefined("no_items" if n == 0 else "one_category", n=n)
    half, method = _half_width(found.variance, n, confidence)
    low, high = found.value - half, found.value + half
    if method == PAIRED_T and n > 1:
        worse, better = (_with_half_an_item(chosen, table, better=side) for side in (False, True))
        low = min(low, worse.value - _half_width(worse.variance, n, confidence)[0])
        high = max(high, better.value + _half_width(better.variance, n, confidence)[0])
    low, high, error = max(low, -reach), min(high, reach), float(np.sqrt(found.variance))
    return Estimate(found.value, low, high, method, n, table.effective_n, confidence, None, error)


def _half_width(variance: float, n: int, confidence: float) -> tuple[float, str]:
    if n < 2:
        return np.inf, PAIRED_T
    if variance * n <= intervals.NO_VARIANCE:
        return max(3.0, -float(np.log(1 - confidence))) / n, NO_VARIANCE
    return float(intervals.t_quantile(confidence, np.asarray(n - 1.0))) * float(np.sqrt(variance)), PAIRED_T


def total(parts: Iterable[Sums]) -> Sums:
    """The sums of several slices as one; of none, sums over no units."""
    return reduce(add, parts, Sums(0, 0.0, 0.0, 0.0, 0.0, 0.0))


def mean(sums: Sums, confidence: float = 0.95) -> Estimate:
    """The weighted mean of a number, as of the difference of two versions' errors: Hájek's ratio, linearised variance, t.

    Numbers that are all alike have no variance: then the interval reaches as far as three units in n could move the mean
    if they were off by the whole range (the rule of three), and is undefined where the scale has no range.
    """
    intervals.check_confidence(confidence)
    if sums.n == 0:
        return Estimate.undefined("no_items")
    if sums.n < 2:
        return Estimate.undefined("too_few_items")
    value, size = sums.first / sums.s1, sums.s1**2 / sums.s2
    error = _error(sums)
    if error**2 * sums.n <= intervals.NO_VARIANCE * max(value**2, 1.0):
        if sums.span is None:
            return Estimate.undefined("no_variance")
        half, method = sums.span * max(3.0, -float(np.log(1 - confidence))) / sums.n, NO_VARIANCE
    else:
        half, method = float(intervals.t_quantile(confidence, np.asarray(sums.n - 1.0))) * error, MEAN_T
    return Estimate(value, value - half, value + half, method, sums.n, size, confidence, None, error)


def below_p(sums: Sums, bound: float) -> float:
    """One-sided p value of "the mean is at least `bound`"; 1 where it cannot be tested."""
    found = mean(sums)
    if found.value is None or found.high is None:
        return 1.0
    if found.method == NO_VARIANCE:  # the rule of three is a limit at 95 %
        return 0.05 if found.high < bound else 1.0
    return float(special.stdtr(sums.n - 1, (found.value - bound) / _error(sums)))


def _error(sums: Sums) -> float:
    """The standard error of the weighted mean, by linearisation."""
    value = sums.first / sums.s1
    spread = sums.squares - 2 * value * sums.linear + value**2 * sums.s2
    return float(np.sqrt(max(spread, 0.0) / sums.s1**2 * sums.n / (sums.n - 1)))


def discordant_shares(table: PairedTable) -> tuple[float, float, float]:
    """Shares of items that only a got right and that only b got right, and the size of an even sample behind them."""
    size = table.size
    right_a, right_b = np.eye(size, dtype=bool)[:, :, None], np.eye(size, dtype=bool)[:, None, :]
    only_a, only_b = right_a & ~right_b, right_b & ~right_a
    shares = table.shares
    a, b = float(shares[only_a].sum()), float(shares[only_b].sum())
    delta = b - a
    change = only_b.astype(np.float64) - only_a.astype(np.float64) - delta
    variance = float((table.s2 * change**2).sum()) / (table.population or 1.0) ** 2
    spread = a + b - delta**2
    effective = spread / variance if spread > 0 and variance > 0 else table.effective_n
    return a, b, effective


def accuracy_difference(table: PairedTable, confidence: float = 0.95) -> Estimate:
    """Accuracy of b minus that of a, with the interval of Agresti and Min (2005): half an item in each of four cells."""
    if table.total == 0:
        return Estimate.undefined("no_items")
    a, b, size = discordant_shares(table)
    centre, error = _agresti_min(a, b, size)
    half = intervals.normal_quantile(confidence) * error
    value = b - a
    low, high = max(min(centre - half, value), -1.0), min(max(centre + half, value), 1.0)
    spread = float(np.sqrt(max(a + b - value**2, 0.0) / size))
    return Estimate(value, low, high, AGRESTI_MIN, table.total, size, confidence, None, spread)


def _agresti_min(a: float, b: float, size: float) -> tuple[float, float]:
    """Centre and standard error with half an item added to each of the four cells."""
    larger = size + 2
    share_a, share_b = (a * size + 0.5) / larger, (b * size + 0.5) / larger
    centre = share_b - share_a
    return centre, float(np.sqrt((share_a + share_b - centre**2) / larger))


def difference(
    statistic: str,
    table: PairedTable,
    *,
    scale: str = "nominal",
    scores: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """b minus a of a statistic by name."""
    if statistic == "accuracy":
        return accuracy_difference(table, confidence)
    chosen = measure(statistic, table.size, scale=scale, scores=scores)
    return difference_of(chosen, table, confidence, 1.0 if statistic == "macro_f1" else 2.0)


def one_sided_p(
    found: Estimate, chosen: Measure, table: PairedTable, bound: float, *, greater: bool = True
) -> float | None:
    """p value of "the difference is at most `bound`" (or at least, unless `greater`), matching `difference`'s limits."""
    if found.value is None:
        return None
    sign = 1.0 if greater else -1.0
    if found.method == AGRESTI_MIN:
        a, b, size = discordant_shares(table)
        centre, error = _agresti_min(a, b, size)
        return float(special.ndtr(-sign * (centre - bound) / error))
    distance = sign * (found.value - bound)
    if found.n < 2:
        return 1.0
    if found.method == NO_VARIANCE:
        return float(np.exp(-found.n * distance)) if distance > 0 else 1.0
    p = float(special.stdtr(found.n - 1, -distance / (found.standard_error or 1.0)))
    moved = _with_half_an_item(chosen, table, better=not greater)
    return max(p, float(special.stdtr(found.n - 1, -sign * (moved.value - bound) / np.sqrt(moved.variance))))


def non_inferiority(
    statistic: str,
    table: PairedTable,
    margin: float,
    *,
    scale: str = "nominal",
    scores: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Whether b is at most `margin` worse than a: the one-sided lower limit must lie above -margin.

    A margin of 0 asks for superiority.
    """
    _check_margin(margin)
    found = difference(statistic, table, scale=scale, scores=scores, confidence=2 * confidence - 1)
    passed = found.low is not None and found.low > -margin
    p = one_sided_p(found, measure(statistic, table.size, scale=scale, scores=scores), table, -margin)
    held = _comparison(statistic, table, margin, passed, p, scale, scores, confidence)
    return replace(held, limit=found.low)


def equivalence(
    statistic: str,
    table: PairedTable,
    margin: float,
    *,
    scale: str = "nominal",
    scores: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Two one-sided tests (Schuirmann 1987): b is within `margin` of a in both directions."""
    _check_margin(margin)
    found = difference(statistic, table, scale=scale, scores=scores, confidence=2 * confidence - 1)
    passed = found.low is not None and found.high is not None and -margin < found.low and found.high < margin
    chosen = measure(statistic, table.size, scale=scale, scores=scores)
    below = one_sided_p(found, chosen, table, -margin)
    above = one_sided_p(found, chosen, table, margin, greater=False)
    p = None if below is None or above is None else max(below, above)
    return _comparison(statistic, table, margin, passed, p, scale, scores, confidence)


def _check_margin(margin: float) -> None:
    if not 0 <= margin <= 2:
        raise StatisticsError(f"a margin lies within 0..2, not at {margin!r}")


def _comparison(
    statistic: str,
    table: PairedTable,
    margin: float,
    passed: bool,
    p: float | None,
    scale: str,
    scores: Sequence[float] | None,
    confidence: float,
) -> Comparison:
    shown = difference(statistic, table, scale=scale, scores=scores, confidence=confidence)
    a, b = (estimate(statistic, side, scale=scale, scores=scores, confidence=confidence) for side in (table.a, table.b))
    return Comparison(statistic, a, b, shown, margin, passed, p, shown.reason)


def mcnemar(only_a_right: int, only_b_right: int) -> McNemar:
    """McNemar's test of two versions' accuracy; mid-p keeps its size, exact is conservative (Fagerland et al. 2013)."""
    if only_a_right < 0 or only_b_right < 0:
        raise StatisticsError("numbers of discordant items must not be negative")
    n, fewer = only_a_right + only_b_right, min(only_a_right, only_b_right)
    tail = float(special.bdtr(fewer, n, 0.5))
    beyond = float(special.bdtr(fewer - 1, n, 0.5)) if fewer > 0 else 0.0
    exact, mid = min(2 * tail, 1.0), min(tail + beyond, 1.0)
    if n == 0:
        return McNemar(0, 0, exact, mid, Estimate.undefined("no_discordant_pairs"))
    statistic = (only_a_right - only_b_right) ** 2 / n
    return McNemar(only_a_right, only_b_right, exact, mid, Estimate(statistic, method="mcnemar chi-square", n=n))


def discordant(table: PairedTable) -> tuple[int, int]:
    """How many items only a and only b got right."""
    right = np.eye(table.size, dtype=bool)
    only_a, only_b = right[:, :, None] & ~right[:, None, :], right[:, None, :] & ~right[:, :, None]
    return int(table.n[only_a].sum()), int(table.n[only_b].sum())


def stuart_maxwell(table: ArrayLike) -> Homogeneity:
    """Marginal homogeneity of a square table with the covariance under the null (Stuart 1955, Maxwell 1970)."""
    return _homogeneity(ConfusionTable.from_counts(table), centred=False)


def bhapkar(table: ArrayLike) -> Homogeneity:
    """Marginal homogeneity with the unrestricted covariance (Bhapkar 1966): larger, never smaller."""
    return _homogeneity(ConfusionTable.from_counts(table), centred=True)


def _homogeneity(table: ConfusionTable, *, centred: bool) -> Homogeneity:
    """Categories without a discordant item carry no evidence and no degree of freedom."""
    n = table.n.astype(np.float64)
    off = n - np.diag(np.diag(n))
    used = off.sum(0) + off.sum(1) > 0
    if not used.any():
        return Homogeneity(None, None, 0, "no_discordant_pairs")
    off = off[np.ix_(used, used)]
    gap = off.sum(1) - off.sum(0)
    covariance = np.diag(off.sum(1) + off.sum(0)) - off - off.T
    inverse = np.linalg.pinv(covariance, hermitian=True)
    df = int(np.linalg.matrix_rank(covariance, hermitian=True))
    statistic = float(gap @ inverse @ gap)
    if centred:
        rest = 1 - statistic / table.total
        if rest < 1e-12:
            return Homogeneity(None, None, df, "not_invertible")
        statistic /= rest
    return Homogeneity(statistic, float(special.chdtrc(df, statistic)), df)
