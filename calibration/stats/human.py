"""Agreement among people: several raters, missing ratings, any level of measurement.

The input is a matrix of units x values with the number of ratings each unit got for each value, and, where rows are
groups of alike units, how many units each row stands for. Intervals come from leaving one unit out, in closed form, at
the size that this variance stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from calibration.stats import intervals
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.summary import estimate
from calibration.stats.tables import Array, ConfusionTable

LEVELS = ("nominal", "ordinal", "interval", "ratio")
LEAVE_ONE_OUT = "leave one item out, transferred wilson"
# Below this many items the interval covers less often than it says.
FEW_ITEMS = 50


class Groups(NamedTuple):
    """Count vectors [G, K], how many units have each, and how many ratings such a unit has."""

    counts: Array
    units: Array
    ratings: Array


class Chance(NamedTuple):
    """Observed and expected disagreement, with everyone and with one unit of each group left out."""

    observed: float
    expected: float
    observed_without: Array
    expected_without: Array


def count_matrix(votes: Iterable[Mapping[str, int]], categories: Sequence[str]) -> Array:
    """Units x categories from each unit's votes, such as {"negative": 2, "neutral": 1}."""
    position = {category: index for index, category in enumerate(categories)}
    rows = list(votes)
    matrix = np.zeros((len(rows), len(position)))
    for row, unit in zip(matrix, rows, strict=True):
        for category, number in unit.items():
            if category not in position:
                raise StatisticsError(f"{category!r} is not one of the categories {list(categories)}")
            row[position[category]] += number
    return matrix


def group(counts: ArrayLike, at_least: int, units: ArrayLike | None = None) -> Groups:
    """Units with at least so many ratings; `units` says how many each row stands for, one without it."""
    matrix = np.asarray(counts, dtype=np.float64)
    if matrix.ndim != 2:
        raise StatisticsError("ratings must be a matrix of units x values")
    times = np.ones(len(matrix)) if units is None else np.asarray(units, dtype=np.float64)
    if times.shape != (len(matrix),):
        raise StatisticsError("each row of ratings needs a number of units")
    for array in (matrix, times):
        if not np.isfinite(array).all() or (array < 0).any() or (array != np.floor(array)).any():
            raise StatisticsError("numbers of ratings and of units must be whole and not negative")
    ratings = matrix.sum(1)
    kept = (ratings >= at_least) & (times > 0)
    return Groups(matrix[kept], times[kept], ratings[kept])


def human_alpha(
    counts: ArrayLike,
    *,
    level: str,
    values: Sequence[float] | None = None,
    units: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Krippendorff's alpha among people, at a level named by the caller.

    `values` are the numbers behind the columns, needed at the interval and ratio levels; at the ordinal level the
    columns are in the order of the scale.
    """
    groups = group(counts, 2, units)
    if level not in LEVELS:
        raise StatisticsError(f"unknown level of measurement {level!r}; known are {', '.join(LEVELS)}")
    numbers = _values(values, groups.counts.shape[1], level)
    if len(groups.units) == 0:
        return Estimate.undefined("no_pairable_ratings")
    if level == "nominal":
        chance = _nominal(groups)
    elif level == "ordinal":
        chance = _ordinal(groups)
    elif level == "interval":
        moments = (groups.counts @ numbers, groups.counts @ numbers**2)
        return alpha_of_moments(groups.ratings, *moments, _span(groups, numbers), groups.units, confidence)
    else:
        chance = _fixed_metric(groups, _ratio_metric(numbers))
    return _answer(chance, groups.units, confidence)


def _values(values: Sequence[float] | None, size: int, level: str) -> Array:
    """The numbers behind the columns; the columns' positions where the level needs none."""
    if values is None:
        if level in ("interval", "ratio"):
            raise StatisticsError(f"alpha at the {level} level needs the values of the columns")
        return np.arange(size, dtype=np.float64)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (size,) or not np.isfinite(numbers).all():
        raise StatisticsError(f"{size} columns need {size} finite values")
    return numbers


def _span(groups: Groups, numbers: Array) -> float:
    """The range of the values in use."""
    used = numbers[groups.counts.sum(0) > 0]
    return float(used.max() - used.min())


def _nominal(groups: Groups) -> Chance:
    counts, units, ratings = groups
    pairs = (ratings**2 - (counts**2).sum(1)) / (ratings - 1)
    observed, totals, number = units @ pairs, units @ counts, units @ ratings
    rest, left = totals - counts, number - ratings
    expected = np.asarray(number**2 - (totals**2).sum())
    expected_rest = left**2 - (rest**2).sum(1)
    return _chance(observed, expected, number, observed - pairs, expected_rest, left)


def _chance(
    observed: Array, expected: Array, number: Array, observed_rest: Array, expected_rest: Array, left: Array
) -> Chance:
    """Mean disagreement of pairs within units, and of any two ratings, from their sums."""
    return Chance(
        float(observed / number),
        float(expected / (number * (number - 1))),
        observed_rest / np.maximum(left, 1),
        expected_rest / np.maximum(left * (left - 1), 1),
    )


def _ranks(totals: Array) -> Array:
    """Mean rank of each category, as a share of all ratings and centred: from -1/2 to 1/2."""
    number = np.maximum(totals.sum(-1, keepdims=True), 1.0)
    return np.asarray((np.cumsum(totals, axis=-1) - totals / 2) / number - 0.5)


def _ordinal(groups: Groups) -> Chance:
    """The metric is the squared difference of mean ranks, which move with every unit that is left out."""
    counts, units, ratings = groups
    totals, number = units @ counts, units @ ratings
    weight = units / (ratings - 1)
    coincidence = (counts * weight[:, None]).T @ counts - np.diag(weight @ counts)
    ranks, rest = _ranks(totals), totals - counts
    observed = 2 * (totals @ ranks**2 - ranks @ coincidence @ ranks)
    moved, left = _ranks(rest), number - ratings
    own = ((counts * moved).sum(1) ** 2 - (counts * moved**2).sum(1)) / (ratings - 1)
    within = ((moved @ coincidence) * moved).sum(1) - own
    spread, spread_rest = totals @ ranks**2, (rest * moved**2).sum(1)
    scale = float(np.ptp(ranks[totals > 0])) ** 2 or 1.0
    observed_rest = np.maximum(2 * (spread_rest - within), 0.0)
    return _chance(
        np.maximum(observed, 0.0) / scale,
        2 * number * spread / scale,
        number,
        observed_rest / scale,
        2 * left * spread_rest / scale,
        left,
    )


def _ratio_metric(numbers: Array) -> Array:
    """((c - k) / (c + k))**2, 0 where both are 0; values of one sign only."""
    if (numbers < 0).any():
        raise StatisticsError("alpha at the ratio level needs values that are not negative")
    sums = numbers[:, None] + numbers[None, :]
    return np.asarray(((numbers[:, None] - numbers[None, :]) / np.where(sums > 0, sums, 1.0)) ** 2)


def _fixed_metric(groups: Groups, metric: Array) -> Chance:
    counts, units, ratings = groups
    own = ((counts @ metric) * counts).sum(1)
    pairs, totals, number = own / (ratings - 1), units @ counts, units @ ratings
    observed, left = units @ pairs, number - ratings
    expected = totals @ metric @ totals
    rest = expected - 2 * (counts @ (metric @ totals)) + own
    return _chance(observed, expected, number, np.maximum(observed - pairs, 0.0), np.maximum(rest, 0.0), left)


def alpha_of_moments(
    ratings: Array, sums: Array, squares: Array, span: float, units: Array | None = None, confidence: float = 0.95
) -> Estimate:
    """Interval-level alpha from each unit's number of ratings, their sum and their sum of squares.

    However many distinct values there are, this needs three numbers for each unit. `span` is the range of the values.
    """
    m, total, square = (np.asarray(a, dtype=np.float64) for a in (ratings, sums, squares))
    weight = np.ones(len(m)) if units is None else np.asarray(units, dtype=np.float64)
    if not (np.isfinite(total).all() and np.isfinite(square).all() and np.isfinite(m).all() and np.isfinite(span)):
        raise StatisticsError("moments must be finite")
    m, total, square, weight = (a[m >= 2] for a in (m, total, square, weight))
    if len(m) == 0:
        return Estimate.undefined("no_pairable_ratings")
    number = weight @ m
    centre = weight @ total / number
    square = square - 2 * centre * total + m * centre**2
    total = total - m * centre
    scale = span**2 or 1.0
    pairs = np.maximum(2 * (m * square - total**2) / (m - 1), 0.0) / scale
    observed, left = weight @ pairs, number - m
    expected = np.maximum(2 * (number * (weight @ square) - (weight @ total) ** 2), 0.0) / scale * (span > 0)
    rest = 2 * (left * (weight @ square - square) - (weight @ total - total) ** 2) / scale
    chance = _chance(observed, expected, number, np.maximum(observed - pairs, 0.0), np.maximum(rest, 0.0), left)
    return _answer(chance, weight, confidence)


def _ratio(observed: Array, expected: Array) -> Array:
    """1 - Do / De of each; 1 where no variation is left, for then nobody disagrees."""
    some = expected > 1e-15
    return np.where(some, 1 - observed / np.where(some, expected, 1.0), 1.0)


def _answer(chance: Chance, units: Array, confidence: float) -> Estimate:
    """Value, leave-one-out variance and transferred interval."""
    items = int(units.sum())
    if chance.expected <= 0:
        return Estimate.undefined("one_category", n=items)
    value = min(1 - chance.observed / chance.expected, 1.0)
    without = _ratio(chance.observed_without, chance.expected_without)
    variance = (items - 1) / items * float(units @ (without - units @ without / items) ** 2)
    return _transferred(value, chance, variance, items, confidence)


def _transferred(value: float, chance: Chance, variance: float, items: int, confidence: float) -> Estimate:
    observed = min(chance.observed, 1.0)
    spread, denominator = observed * (1 - observed), variance * chance.expected**2
    usable = spread > intervals.ROUNDING and variance * items > intervals.NO_VARIANCE and denominator > 0
    size = spread / denominator if usable else float(items)
    critical = intervals.t_quantile(confidence, np.asarray(items - 1.0))
    least, most = intervals.wilson_limits(np.asarray(observed), np.asarray(size), critical)
    low, high = (max(1 - float(limit) / chance.expected, -1.0) for limit in (most, least))
    if items < 2:
        low, high = -1.0, 1.0
    low, high = min(low, value), max(min(high, 1.0), value)
    method = LEAVE_ONE_OUT if items >= FEW_ITEMS else f"{LEAVE_ONE_OUT}; fewer than {FEW_ITEMS} items"
    return Estimate(value, low, high, method, items, float(items), confidence, None, float(np.sqrt(variance)))


MACRO = "macro mean over labels"


def multilabel_alpha(
    chosen: ArrayLike, raters: ArrayLike, *, units: ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean over labels of alpha on "has it, has it not", among people who give sets of labels.

    `chosen` [G, L] says how many of a unit's `raters` [G] gave each label. Labels that everybody or nobody gives have no
    alpha and are left out. Labels of one unit go together: the interval leaves one unit out of all labels at once.
    """
    given, people = np.asarray(chosen, dtype=np.float64), np.asarray(raters, dtype=np.float64)
    if given.ndim != 2 or people.shape != (len(given),) or (given > people[:, None]).any():
        raise StatisticsError("each unit has its raters, and no more of them per label")
    found = [group(np.stack([yes, people - yes], axis=1), 2, units) for yes in given.T]
    if not found or len(found[0].units) == 0:
        return Estimate.undefined("no_pairable_ratings")
    times, items = found[0].units, int(found[0].units.sum())
    chances = [chance for chance in map(_nominal, found) if chance.expected > 0]
    if not chances:
        return Estimate.undefined("one_category", n=items)
    without = np.mean([_ratio(one.observed_without, one.expected_without) for one in chances], axis=0)
    variance = (items - 1) / items * float(times @ (without - times @ without / items) ** 2)
    # mean(Do_k / De_k) = Do / De for De the harmonic mean of De_k and Do their mean weighted by 1 / De_k.
    pull = np.array([1 / one.expected for one in chances])
    observed, expected = float(pull @ [one.observed for one in chances] / pull.sum()), len(pull) / float(pull.sum())
    mean = Chance(observed, expected, without, without)
    answer = _transferred(min(1 - observed / expected, 1.0), mean, variance, items, confidence)
    return replace(answer, method=f"{MACRO}, {answer.method}")


def human_ac1(counts: ArrayLike, *, units: ArrayLike | None = None, confidence: float = 0.95) -> Estimate:
    """Gwet's AC1 of several raters (2014): lonely ratings count for the categories' shares, not for agreement."""
    groups = group(counts, 1, units)
    size = groups.counts.shape[1]
    if not (groups.ratings >= 2).any():
        return Estimate.undefined("no_pairable_ratings")
    if size < 2:
        return Estimate.undefined("one_category", n=int(groups.units.sum()))
    paired, apart = _pair_disagreement(groups)
    shares, everyone = groups.counts / groups.ratings[:, None], groups.units.sum()
    total, pairable = groups.units @ shares, groups.units @ paired
    observed = groups.units @ apart
    rest = (total - shares) / np.maximum(everyone - 1, 1)
    chance = Chance(
        float(observed / pairable),
        float(_ac1_expected(total / everyone)),
        np.maximum(observed - apart, 0.0) / np.maximum(pairable - paired, 1),
        _ac1_expected(rest),
    )
    return _answer(chance, groups.units, confidence)


def _pair_disagreement(groups: Groups) -> tuple[Array, Array]:
    """Whether a unit has a pair of ratings, and the share of its pairs that differ."""
    m = groups.ratings
    agreeing = (groups.counts * (groups.counts - 1)).sum(1)
    return (m >= 2).astype(np.float64), np.where(m >= 2, 1 - agreeing / np.maximum(m * (m - 1), 1), 0.0)


def _ac1_expected(q: Array) -> Array:
    return np.asarray(1 - (q * (1 - q)).sum(-1) / (q.shape[-1] - 1))


def fleiss_kappa(counts: ArrayLike, *, units: ArrayLike | None = None, confidence: float = 0.95) -> Estimate:
    """Fleiss' kappa (1971) over units with two ratings or more; units may differ in their number of ratings."""
    groups = group(counts, 2, units)
    if len(groups.units) == 0:
        return Estimate.undefined("no_pairable_ratings")
    _, apart = _pair_disagreement(groups)
    items, totals = groups.units.sum(), groups.units @ groups.counts
    observed = groups.units @ apart
    rest = totals - groups.counts
    chance = Chance(
        float(observed / items),
        float(_gini(totals)),
        np.maximum(observed - apart, 0.0) / np.maximum(items - 1, 1),
        _gini(rest),
    )
    return _answer(chance, groups.units, confidence)


def _gini(totals: Array) -> Array:
    """The chance that two ratings differ."""
    q = totals / np.maximum(totals.sum(-1, keepdims=True), 1.0)
    return np.asarray((q * (1 - q)).sum(-1) * (np.count_nonzero(totals, axis=-1) > 1))


def ceiling(between_people: Estimate) -> Estimate:
    """What a perfect classifier would reach against single-label gold: the root of agreement between two people.

    Shown beside kappa, never used to correct it.
    """
    if between_people.value is None:
        return between_people
    value, low, high = (
        None if number is None else float(np.sqrt(max(number, 0.0)))
        for number in (between_people.value, between_people.low, between_people.high)
    )
    return replace(
        between_people, value=value, low=low, high=high, method="root of human agreement", standard_error=None
    )


def retest(first: ArrayLike, second: ArrayLike, categories: Sequence[str], confidence: float = 0.95) -> Estimate:
    """Kappa of one person's codes with the same person's codes of the same items at another time."""
    table = ConfusionTable.from_pairs(first, second, len(categories), categories=categories)
    return estimate("kappa", table, confidence=confidence)
