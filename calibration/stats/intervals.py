"""Confidence intervals: Wilson, Clopper-Pearson, and the transferred Wilson interval of agreement statistics.

The transferred interval turns the variance of 1 - f * Do / De into an effective number of labels behind the observed
disagreement Do, takes Wilson's limits there and carries them back. One pseudo-label on the diagonal (*one more hit*)
raises the upper limit where a rare category has no hit yet; with unequal weights half a pseudo-label off the diagonal
(*half a miss*) lowers the lower limit where a heavy cell has no error yet. It is never a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import special

from calibration.stats.agreement import Measure, Parts, accuracy, cell_sum, margins
from calibration.stats.estimate import Estimate, StatisticsError, draw_up
from calibration.stats.strata import Strata
from calibration.stats.tables import Array, ConfusionTable, Flags, StratifiedTable

Variance = Callable[[Parts], Array]

WILSON = "wilson"
TRANSFERRED = "transferred wilson"
GRADED = "transferred wilson, half a miss"
STRATIFIED = "stratified, transferred wilson"
BY_STRATA = "by strata"
# Below this relative difference weights count as equal: the noise of summing them in another order.
EQUAL_WEIGHTS = 1e-9
# A disagreement this small is the rounding of one that is none.
ROUNDING = 1e-14
# And so is a variance of one label's influence as small as this, which is the square of such a rounding.
NO_VARIANCE = 1e-20


def check_confidence(confidence: float) -> float:
    """The level, refused unless strictly between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise StatisticsError(f"a confidence level lies between 0 and 1, not at {confidence!r}")
    return confidence


def normal_quantile(confidence: float) -> float:
    """Two-sided critical value of the normal distribution: 1.96 at .95."""
    return float(special.ndtri((1 + check_confidence(confidence)) / 2))


def t_quantile(confidence: float, freedom: Array) -> Array:
    """Two-sided critical values of Student's t; the normal value is never undercut."""
    return np.asarray(special.stdtrit(np.maximum(freedom, 1.0), (1 + check_confidence(confidence)) / 2))


def wilson_limits(share: Array, n: Array, critical: Array) -> tuple[Array, Array]:
    """Wilson's score interval (1927) without continuity correction, for whole arrays; n may be fractional but not 0."""
    squared = critical**2
    centre = share + squared / (2 * n)
    reach = critical * np.sqrt(np.maximum(share * (1 - share) / n + squared / (4 * n * n), 0.0))
    low, high = (centre - reach) / (1 + squared / n), (centre + reach) / (1 + squared / n)
    low, high = np.where(share <= 0, 0.0, low), np.where(share >= 1, 1.0, high)
    return np.clip(low, 0.0, share), np.clip(high, share, 1.0)


def wilson(successes: float, n: float, confidence: float = 0.95) -> Estimate:
    """A share with its Wilson interval."""
    check_share(successes, n)
    if n == 0:
        return Estimate.undefined("no_items")
    share = successes / n
    low, high = wilson_limits(np.asarray(share), np.asarray(n), np.asarray(normal_quantile(confidence)))
    spread = float(np.sqrt(share * (1 - share) / n))
    return Estimate(share, float(low), float(high), WILSON, int(n), float(n), confidence, None, spread)


def clopper_pearson(successes: float, n: float, confidence: float = 0.95) -> Estimate:
    """A share with its exact (Clopper-Pearson 1934) interval, which always covers and is wide."""
    check_share(successes, n)
    check_confidence(confidence)
    if n == 0:
        return Estimate.undefined("no_items")
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(successes, n - successes + 1, tail)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    share = successes / n
    spread = float(np.sqrt(share * (1 - share) / n))
    return Estimate(share, low, high, "clopper-pearson", int(n), float(n), confidence, None, spread)


def check_share(successes: float, n: float) -> None:
    """Refuse what is no count of successes among n."""
    if not (np.isfinite(successes) and np.isfinite(n) and 0 <= successes <= n):
        raise StatisticsError(f"{successes!r} successes of {n!r} are no share")


@dataclass(frozen=True, eq=False)
class Stack:
    """Tables as arrays [..., K, K], with what a pseudo-label adds to them; what several statistics need is kept."""

    n: Array
    s1: Array
    s2: Array

    def __iter__(self) -> Iterator[Array]:
        return iter((self.n, self.s1, self.s2))

    @cached_property
    def labels(self) -> Array:
        return cell_sum(self.n)

    @cached_property
    def weight(self) -> Array:
        return cell_sum(self.s1)

    @cached_property
    def shares(self) -> Array:
        return self.s1 / np.where(self.weight > 0, self.weight, 1.0)[..., None, None]

    @cached_property
    def kish(self) -> Array:
        """Kish's effective number of labels; 1 where there is none, so that one may divide by it."""
        squares = cell_sum(self.s2)
        return np.where(squares > 0, self.weight**2 / np.where(squares > 0, squares, 1.0), 1.0)

    @cached_property
    def one_more_hit(self) -> Stack:
        """With one pseudo-label of mean weight on the diagonal, mostly where categories are rare: (1 - q_k) / (K - 1)."""
        size, (rows, columns) = self.n.shape[-1], margins(self.shares)
        split = (1 - (rows + columns) / 2) / max(size - 1, 1)
        mean_weight = self.weight / np.where(self.labels > 0, self.labels, 1.0)
        return self.plus(np.eye(size) * split[..., None, :], mean_weight[..., None, None])

    def plus(self, pseudo: Array, mean_weight: Array) -> Stack:
        """With the weight of pseudo-labels added; they count as evidence of no further label."""
        return Stack(self.n, self.s1 + pseudo * mean_weight, self.s2 + pseudo * mean_weight**2)


class Limits(NamedTuple):
    """Value, interval and variance of a statistic for each table of a stack."""

    value: Array
    low: Array
    high: Array
    variance: Array
    defined: Flags


def stack(tables: list[ConfusionTable]) -> Stack:
    """Tables of the same categories as one stack."""
    if len({table.categories for table in tables}) > 1:
        raise StatisticsError("tables of different categories cannot be stacked")
    return Stack(
        np.stack([table.n for table in tables]).astype(np.float64),
        np.stack([table.s1 for table in tables]),
        np.stack([table.s2 for table in tables]),
    )


def with_replacement(cells: Stack) -> Variance:
    """Linearised variance of weighted labels, n / (n - 1) * sum(S2 * IF**2) / (sum S1)**2."""
    n = cells.labels
    correction = np.where(n > 1, n / np.where(n > 1, n - 1, 1.0), 0.0)
    scale = correction / np.where(cells.weight > 0, cells.weight, 1.0) ** 2
    return lambda parts: np.asarray(scale * cell_sum(cells.s2 * parts.influence**2))


def effective_size(parts: Parts, variance: Array, kish: Array) -> Array:
    """The even sample in which the observed disagreement alone would have the same variance."""
    spread = parts.observed * (1 - parts.observed)
    denominator = variance * parts.expected**2
    usable = (spread > ROUNDING) & (variance * kish > NO_VARIANCE) & (denominator > 0)
    return np.where(usable, spread / np.where(usable, denominator, 1.0), kish)


def carried_back(parts: Parts, variance: Array, kish: Array, critical: Array) -> tuple[Array, Array]:
    """Wilson's limits of the disagreement, as limits of the statistic."""
    observed = np.clip(parts.observed, 0.0, 1.0)
    least, most = wilson_limits(observed, effective_size(parts, variance, kish), critical)
    scale = parts.factor / np.where(parts.expected > 0, parts.expected, 1.0)
    return 1 - scale * most, 1 - scale * least


def clearing_p(parts: Parts, size: Array, freedom: Array, bar: float) -> Array:
    """Half the smallest 1 - confidence at which the lower limit clears the bar, at the size behind the disagreement.

    Wilson's limit is an inverted score test, so the limit equals the bar at the test's own critical value: Student's
    with so many degrees of freedom, the normal one where they are infinite.
    """
    allowed = parts.expected * (1 - bar) / np.where(parts.factor > 0, parts.factor, 1.0)
    spread = allowed * (1 - allowed)
    inside = parts.defined & (spread > 0) & (size > 0)
    score = (allowed - parts.observed) * np.sqrt(size / np.where(inside, spread, 1.0))
    p = np.where(np.isinf(freedom), special.ndtr(-score), special.stdtr(np.maximum(freedom, 1.0), -score))
    return np.where(inside, p, np.where(parts.defined & (allowed >= 1), 0.0, 1.0))


def misses(gold: Array) -> Array:
    """One miss of each category [..., category missed, category given], by the shares of gold [..., K]; evenly where all of
    the gold is of the category given."""
    size = gold.shape[-1]
    off = 1.0 - np.eye(size)
    spread = off * gold[..., :, None]
    total = spread.sum(-2, keepdims=True)
    return np.where(total > 0, spread / np.where(total > 0, total, 1.0), off / max(size - 1, 1))


def half_a_miss(cells: Stack, *, in_all: bool = False) -> Stack:
    """Half a pseudo-label off the diagonal of each predicted column, of its mean weight, spread by the gold shares.

    With `in_all` the columns share one half.
    """
    spread = misses(cells.shares.sum(-1))
    labels, weight = cells.n.sum(-2, keepdims=True), cells.s1.sum(-2, keepdims=True)
    mean_weight = weight / np.where(labels > 0, labels, 1.0)
    sharing = np.maximum((labels > 0).sum(-1, keepdims=True), 1) if in_all else 1
    return cells.plus(np.where(labels > 0, spread / 2 / sharing, 0.0), mean_weight)


def weights_differ(cells: Stack) -> Flags:
    """Whether the labels of each table have unequal weights."""
    return np.asarray(cells.weight**2 < cells.labels * cell_sum(cells.s2) * (1 - EQUAL_WEIGHTS))


def transferred_wilson(
    measure: Measure,
    cells: Stack,
    confidence: float,
    floor: float = -1.0,
    *,
    graded: bool = False,
    strata: Strata | None = None,
) -> Limits:
    """The transferred Wilson interval of one statistic for a whole stack of tables.

    Where disagreement is `graded`, one far miss weighs as much as many near ones, and a sample without any says little
    about them: half a miss in all, anywhere off the diagonal, must be allowed for. `strata` are those that the labels
    were drawn by, if any: they narrow the interval as far as they explain who errs.
    """
    parts = measure(cells.shares, cells.labels)
    variance = spread(cells, cells, strata)(parts)
    critical = t_quantile(confidence, freedom(cells, strata))
    low, high = carried_back(parts, variance, cells.kish, critical)
    high = np.maximum(high, _moved(measure, cells.one_more_hit, cells, strata, critical)[1])
    if graded:
        low = np.minimum(low, _moved(measure, half_a_miss(cells, in_all=True), cells, strata, critical)[0])
    unequal = weights_differ(cells)
    if unequal.any():
        missed = _moved(measure, half_a_miss(cells), cells, strata, critical)[0]
        low = np.where(unequal, np.minimum(low, missed), low)
    return bounded(parts, low, high, variance, cells.labels, floor)


def spread(moved: Stack, seen: Stack, strata: Strata | None) -> Variance:
    """The variance by the design: of strata, to which pseudo-labels add their own squared influence, or of none."""
    if strata is None:
        return with_replacement(moved)
    weight = np.where(moved.weight > 0, moved.weight, 1.0)

    def variance(parts: Parts) -> Array:
        added = cell_sum((moved.s2 - seen.s2) * parts.influence**2) / weight**2
        return np.asarray(strata.variance(parts) + added)

    return variance


def freedom(cells: Stack, strata: Strata | None) -> Array:
    """Degrees of freedom of the variance of each table."""
    return np.asarray(cells.labels - 1 if strata is None else strata.freedom(len(cells.labels)))


def _moved(measure: Measure, cells: Stack, seen: Stack, strata: Strata | None, critical: Array) -> tuple[Array, Array]:
    """The limits with pseudo-labels added; without effect where they leave the statistic undefined."""
    parts = measure(cells.shares, cells.labels)
    variance = spread(cells, seen, strata)(parts)
    low, high = carried_back(parts, variance, cells.kish, critical)
    return np.where(parts.defined, low, np.inf), np.where(parts.defined, high, -np.inf)


def bounded(parts: Parts, low: Array, high: Array, variance: Array, labels: Array, floor: float) -> Limits:
    """Limits within the range of the statistic and around its value; one label alone bounds nothing.

    Weighted statistics can fall below -1: then their value is the bound.
    """
    bottom = np.minimum(floor, parts.value)
    low = np.where(labels > 1, np.clip(low, bottom, parts.value), bottom)
    high = np.where(labels > 1, np.clip(high, parts.value, 1.0), 1.0)
    return Limits(parts.value, low, high, variance, parts.defined)


def estimates(
    limits: Limits, cells: Stack, confidence: float, method: str = TRANSFERRED, sizes: Array | None = None
) -> list[Estimate]:
    """One estimate for each table of a stack [S, K, K]; `sizes` are their effective sizes, Kish's without them."""
    labels, sizes = cells.labels, effective_sizes(cells, None) if sizes is None else sizes
    columns = (limits.value, limits.low, limits.high, labels, sizes, np.sqrt(limits.variance))
    found = draw_up(zip(*(column.tolist() for column in columns), strict=True), method, confidence, "no_items")
    for place in np.flatnonzero(~limits.defined & (labels > 0)).tolist():
        found[place] = Estimate.undefined("one_category", n=int(labels[place]))
    return found


def effective_sizes(cells: Stack, strata: Strata | None) -> Array:
    """The even sample that would carry each table's evidence: Kish's number, with strata that of accuracy's variance."""
    kish = np.where(weights_differ(cells), cells.kish, cells.labels)
    kish = np.where(cells.labels > 0, kish, 0.0)
    if strata is None:
        return np.asarray(kish)
    parts = accuracy()(cells.shares, cells.labels)
    return np.where(cells.labels > 0, effective_size(parts, strata.variance(parts), kish), 0.0)


def interval(
    measure: Measure, table: ConfusionTable | StratifiedTable, confidence: float = 0.95, floor: float = -1.0
) -> Estimate:
    """One statistic of one table with its interval."""
    if isinstance(table, StratifiedTable):
        return stratified_interval(measure, table, confidence, floor)
    cells = stack([table])
    return estimates(transferred_wilson(measure, cells, confidence, floor), cells, confidence)[0]


def stratified_variance(table: StratifiedTable) -> Variance:
    """Variance of simple random samples in strata, with the finite-population correction (Särndal et al. 1992).

    A stratum of which a single label is known, but not every item, contributes the squared influence of that label.
    """
    population = sum(stratum.population for stratum in table.strata)

    def variance(parts: Parts) -> Array:
        influence = parts.influence.reshape(parts.influence.shape[-2:])
        total = 0.0
        for stratum in table.strata:
            n, size = stratum.table.n, stratum.table.total
            if size == 0 or size == stratum.population:
                continue
            mean = (n * influence).sum() / size if size > 1 else 0.0
            squares = (n * (influence - mean) ** 2).sum() / max(size - 1, 1)
            total += (stratum.population / population) ** 2 * (1 - size / stratum.population) * squares / size
        return np.asarray([total])

    return variance


def stratified_interval(
    measure: Measure, table: StratifiedTable, confidence: float = 0.95, floor: float = -1.0
) -> Estimate:
    """The transferred Wilson interval with the variance of stratified sampling, and n - H degrees of freedom.

    A pseudo-label adds its own squared influence to the variance.
    """
    pooled = stack([table.table])
    spread = stratified_variance(table)
    sampled = sum(stratum.table.total > 0 for stratum in table.strata)
    critical = t_quantile(confidence, pooled.labels - sampled)
    parts = measure(pooled.shares, pooled.labels)
    variance = spread(parts)
    low, high = carried_back(parts, variance, pooled.kish, critical)
    for moved in (pooled.one_more_hit, half_a_miss(pooled)):
        changed = measure(moved.shares, moved.labels)
        added = cell_sum((moved.s2 - pooled.s2) * changed.influence**2) / moved.weight**2
        least, most = carried_back(changed, spread(changed) + added, moved.kish, critical)
        low, high = np.minimum(low, least), np.maximum(high, most)
    limits = bounded(parts, low, high, variance, pooled.labels, floor)
    estimate = estimates(limits, pooled, confidence, STRATIFIED)[0]
    return replace(estimate, effective_n=_design_size(pooled, spread)) if estimate.defined else estimate


def _design_size(pooled: Stack, spread: Variance) -> float:
    """The size of an even sample in which accuracy would have this variance; Kish's number where it has none."""
    parts = accuracy()(pooled.shares, pooled.labels)
    return float(effective_size(parts, spread(parts), pooled.kish)[0])
