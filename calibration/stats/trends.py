"""Trends from few labels: what the predictions of everything and the labels of a sample say together.

Shares are post-stratified on the prediction (Tenenbein 1970), mean scores use prediction-powered inference (PPI++,
Angelopoulos et al. 2024). Both are unbiased whatever the classifier's errors are. Where a period has no labels of its
own, older gold can stand in (Rogan & Gladen 1978; BBSE, Lipton et al. 2018), if the errors have stayed as they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import normal_quantile, t_quantile, wilson_limits
from calibration.stats.tables import ConfusionTable

Floats = NDArray[np.float64]

LEAST_LABELS, LEAST_OF_CATEGORY = 50, 5
PSEUDO_LABELS = 2.0
LARGEST_CONDITION, LEAST_GOLD = 10.0, 20
SINGULAR = 1e12
"""Condition numbers beyond this are singular matrices seen through rounding."""


@dataclass(frozen=True, slots=True)
class SliceShares:
    """A slice's period: its labels (gold × predicted) and how often each category was predicted in all of it."""

    table: ConfusionTable
    predicted: tuple[int, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class CorrectedShares:
    """Shares of the gold categories. `raw` are the predicted shares, uncorrected.

    `gain[c]` is what one label is worth beside the predictions, in labels without them. `borrowed` names the slices and
    predicted categories that had no label of their own and used all slices' labels.
    """

    categories: tuple[str, ...]
    shares: tuple[Estimate, ...]
    raw: tuple[float, ...]
    labels: int
    volume: int
    gain: tuple[float | None, ...]
    borrowed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SliceScores:
    """A slice's period for a mean score: labelled items with their predictions, and the predictions of the others.

    `counts` says how often each value of `unlabelled` occurs (from a rollup), `weights` are 1 / inclusion probability.
    """

    labels: tuple[float, ...]
    predictions: tuple[float, ...]
    unlabelled: tuple[float, ...]
    counts: tuple[int, ...] | None = None
    weights: tuple[float, ...] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class OldGoldShares:
    """Shares of this period by the confusion of older gold. `unclipped` may lie outside 0..1."""

    shares: tuple[Estimate, ...]
    unclipped: tuple[float, ...]
    condition_number: float | None


def corrected_shares(
    slices: Sequence[SliceShares],
    *,
    confidence: float = 0.95,
    pseudo_labels: float = PSEUDO_LABELS,
    least_labels: int = LEAST_LABELS,
    least_of_category: int = LEAST_OF_CATEGORY,
) -> CorrectedShares:
    """True shares of each category, slices weighted by their volume.

    Per slice θ = ΣQ_j·P(·|j) with Q the predicted shares of all items and P(·|j) from the labels. A predicted category
    without labels in a slice borrows the column of all slices together. The variance is ΣQ_j²R(1−R)/n_j +
    ΣQ_j(P−θ)²/N, R being P with `pseudo_labels` at θ; the interval is Wilson's at the size θ(1−θ)/V.
    """
    categories = _same_categories(slices)
    weights, volumes, predicted = _volumes(slices, len(categories))
    labels = sum(part.table.total for part in slices)
    volume = int(volumes.sum())
    raw = weights @ predicted
    columns = _columns(slices)
    missing = (predicted > 0) & (columns.size == 0)
    borrowed = tuple((slices[h].name, categories[j]) for h, j in np.argwhere(missing))
    reason = _refusal(labels, volume, least_labels, bool(np.any(missing & (columns.pooled == 0))))
    if reason:
        nothing = tuple(Estimate.undefined(reason, n=labels) for _ in categories)
        return CorrectedShares(categories, nothing, _tuple(raw), labels, volume, (None,) * len(categories), borrowed)
    value, variance = _poststratified(weights, volumes, predicted, columns, missing, pseudo_labels)
    gold = np.sum([part.table.gold_counts for part in slices], axis=0)
    size = math.fsum(part.table.effective_n for part in slices)
    shares = tuple(
        _share(float(value[c]), float(variance[c]), labels, size, confidence)
        if gold[c] >= least_of_category
        else Estimate.undefined("too_few_items", n=labels)
        for c in range(len(categories))
    )
    gain = tuple(None if share.effective_n is None else share.effective_n / size for share in shares)
    return CorrectedShares(categories, shares, _tuple(raw), labels, volume, gain, borrowed)


def old_gold_shares(
    table: ConfusionTable,
    predicted_counts: Sequence[int],
    *,
    confidence: float = 0.95,
    largest_condition: float = LARGEST_CONDITION,
    least_gold: int = LEAST_GOLD,
) -> OldGoldShares:
    """Shares of a period without labels, from older gold: θ = M⁻¹q, M the confusion P(predicted | gold).

    Right only while the classifier errs as it did on that gold: to be shown with no open drift flag, and saying so.
    Refused where M is so close to singular that the answer would be made of noise (`not_invertible`), or where a
    category has too little gold to know its row (`too_few_items`). For two categories this is Rogan & Gladen's
    estimate; the standard error is the delta method's.
    """
    q, total = _predicted_shares(predicted_counts, table.size)
    rows = table.s1.sum(axis=1)
    gold = table.gold_counts
    if not total or not table.total:
        return _no_old_gold(table, "no_items", None)
    if np.any(gold < max(least_gold, 1)):
        return _no_old_gold(table, "too_few_items" if np.all(gold) else "not_in_gold", None)
    confusion = (table.s1 / rows[:, None]).T
    condition = float(np.linalg.cond(confusion))
    if not condition < min(largest_condition, SINGULAR):
        return _no_old_gold(table, "not_invertible", condition if condition < SINGULAR else None)
    inverse = np.linalg.inv(confusion)
    raw = inverse @ q
    sizes = rows**2 / table.s2.sum(axis=1)
    spread = (np.diag(q) - np.outer(q, q)) / total
    for g, size in enumerate(sizes):
        column = confusion[:, g]
        spread = spread + raw[g] ** 2 * (np.diag(column) - np.outer(column, column)) / size
    errors = np.sqrt(np.maximum(np.diag(inverse @ spread @ inverse.T), 0.0))
    shares = tuple(
        _clipped(float(value), float(error), table, confidence) for value, error in zip(raw, errors, strict=True)
    )
    return OldGoldShares(shares, _tuple(raw), condition)


def ppi_power(labels: ArrayLike, predictions_labelled: ArrayLike, predictions_unlabelled: ArrayLike) -> float:
    """λ* of PPI++: how far to lean on the predictions, cov / ((1 + n/N)·var), within 0..1."""
    y, f, u = (_numbers(values) for values in (labels, predictions_labelled, predictions_unlabelled))
    _same_length(y, f)
    if len(y) < 2 or not len(u):
        return 0.0
    return _power(float(np.cov(y, f)[0, 1]), float(np.concatenate([f, u]).var(ddof=1)), len(y), len(u))


def ppi_mean(
    labels: ArrayLike,
    predictions_labelled: ArrayLike,
    predictions_unlabelled: ArrayLike,
    *,
    power: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """A mean from few labels and many predictions: λ·mean(f of all) + mean(y − λf of the labelled).

    `power` is λ; without it λ* is used. λ = 0 leaves the predictions aside, λ = 1 is PPI. Large-sample normal interval.
    """
    y, f, u = (_numbers(values) for values in (labels, predictions_labelled, predictions_unlabelled))
    _same_length(y, f)
    if len(y) < 2:
        return Estimate.undefined("too_few_items" if len(y) else "no_items", n=len(y))
    lean = 0.0 if not len(u) else ppi_power(y, f, u) if power is None else power
    rectifier = y - lean * f
    value = float(rectifier.mean()) + (lean * float(u.mean()) if lean else 0.0)
    variance = float(rectifier.var()) / len(y) + (lean**2 * float(u.var()) / len(u) if lean else 0.0)
    reach = normal_quantile(confidence) * math.sqrt(variance)
    size = float(y.var()) / variance if variance > 0 else float(len(y))
    error = math.sqrt(variance)
    return Estimate(value, value - reach, value + reach, "ppi++", len(y), size, confidence, None, error)


def mean_trend(
    slices: Sequence[SliceScores], *, confidence: float = 0.95, least_labels: int = LEAST_LABELS
) -> Estimate:
    """The mean true score of a period, slices weighted by their volume, λ* shared by all.

    A slice without two labels of its own takes its correction from the labels of all slices together. Uneven samples
    are corrected by Hájek means. t interval.
    """
    parts = [_Scores.of(part) for part in slices]
    labels = sum(len(part.y) for part in parts)
    volume = math.fsum(part.items for part in parts)
    rich = [part for part in parts if len(part.y) >= 2]
    if not labels:
        return Estimate.undefined("no_items")
    if labels < least_labels or not rich:
        return Estimate.undefined("too_few_items", n=labels)
    lean = _shared_power(rich)
    seen = math.fsum(len(part.y) for part in rich)
    orphan = math.fsum(part.items for part in parts if len(part.y) < 2) / volume
    value = lean * math.fsum(part.items / volume * part.mean for part in parts)
    variance = lean**2 * math.fsum(
        (part.items / volume) ** 2 * part.variance / part.volume for part in parts if part.volume
    )
    plain = 0.0
    for part in rich:
        weight = part.items / volume + orphan * len(part.y) / seen
        mean, spread = part.rectified(lean)
        value += weight * mean
        variance += weight**2 * spread
        plain += weight**2 * part.rectified(0.0)[1]
    reach = float(t_quantile(confidence, np.asarray(seen - len(rich)))) * math.sqrt(variance)
    size = labels * plain / variance if variance > 0 else float(labels)
    return Estimate(
        value, value - reach, value + reach, "ppi++ by slice", labels, size, confidence, None, math.sqrt(variance)
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Labels by predicted category: gold shares [slice, gold, predicted], Kish sizes, and all slices pooled."""

    gold: Floats
    size: Floats
    weight: Floats
    pooled_gold: Floats
    pooled: Floats


def _columns(slices: Sequence[SliceShares]) -> _Columns:
    s1 = np.stack([part.table.s1 for part in slices])
    s2 = np.stack([part.table.s2 for part in slices])
    weight, squares = s1.sum(axis=1), s2.sum(axis=1)
    pooled_weight, pooled_squares = weight.sum(axis=0), squares.sum(axis=0)
    return _Columns(
        _ratio(s1, weight[:, None, :]),
        _ratio(weight**2, squares),
        weight,
        _ratio(s1.sum(axis=0), pooled_weight[None, :]),
        _ratio(pooled_weight**2, pooled_squares),
    )


def _poststratified(
    weights: Floats,
    volumes: Floats,
    predicted: Floats,
    columns: _Columns,
    missing: NDArray[np.bool_],
    pseudo_labels: float,
) -> tuple[Floats, Floats]:
    """θ and V of each gold category. Labels lent to slices without their own count with what they lend as well."""
    used = np.where(missing[:, None, :], columns.pooled_gold[None], columns.gold)
    local = np.einsum("hgj,hj->hg", used, predicted)
    value = weights @ local
    mass = weights[:, None] * predicted
    lent = np.where(missing, mass, 0.0).sum(axis=0)
    coefficient = np.where(missing, 0.0, mass) + lent * _ratio(columns.weight, columns.weight.sum(axis=0)[None])
    size = columns.size[:, None, :]
    smoothed = (columns.gold * size + pseudo_labels * local[:, :, None]) / np.maximum(size + pseudo_labels, 1e-300)
    labels = _ratio(coefficient[:, None, :] ** 2 * smoothed * (1 - smoothed), size).sum(axis=(0, 2))
    between = (predicted[:, None, :] * (used - local[:, :, None]) ** 2).sum(axis=2)
    items = _ratio((weights**2)[:, None] * between, volumes[:, None]).sum(axis=0)
    return value, labels + items


def _share(value: float, variance: float, labels: int, size: float, confidence: float) -> Estimate:
    """A share with Wilson's interval at the size that has this variance."""
    value = min(max(value, 0.0), 1.0)
    spread = value * (1 - value)
    effective = spread / variance if spread > 0 and variance > 0 else size
    low, high = wilson_limits(np.asarray(value), np.asarray(effective), np.asarray(normal_quantile(confidence)))
    error = math.sqrt(variance)
    return Estimate(value, float(low), float(high), "post-stratified", labels, effective, confidence, None, error)


def _clipped(value: float, error: float, table: ConfusionTable, confidence: float) -> Estimate:
    """An estimate from older gold, kept within 0..1."""
    reach = normal_quantile(confidence) * error
    value, low, high = (min(max(number, 0.0), 1.0) for number in (value, value - reach, value + reach))
    method = "older gold, assumes unchanged errors"
    return Estimate(value, low, high, method, table.total, None, confidence, None, error)


def _no_old_gold(table: ConfusionTable, reason: str, condition: float | None) -> OldGoldShares:
    nothing = Estimate.undefined(reason, n=table.total)
    return OldGoldShares((nothing,) * table.size, (), condition)


def _refusal(labels: int, volume: int, least_labels: int, unknown_column: bool) -> str | None:
    if not labels or not volume:
        return "no_items"
    if unknown_column:
        return "predicted_category_without_labels"
    return "too_few_items" if labels < least_labels else None


def _same_categories(slices: Sequence[SliceShares]) -> tuple[str, ...]:
    names = {part.table.categories for part in slices}
    if len(names) != 1:
        raise StatisticsError("a trend has slices, and they have the same categories")
    return names.pop()


def _volumes(slices: Sequence[SliceShares], size: int) -> tuple[Floats, Floats, Floats]:
    """Each slice's share of the volume, its volume, and its predicted shares."""
    found = [_predicted_shares(part.predicted, size) for part in slices]
    volumes = np.array([volume for _, volume in found])
    return _ratio(volumes, volumes.sum()), volumes, np.stack([shares for shares, _ in found])


def _predicted_shares(counts: Sequence[int], size: int) -> tuple[Floats, float]:
    numbers = _numbers(counts)
    if len(numbers) != size or np.any(numbers < 0):
        raise StatisticsError("predicted counts are not negative, one for each category")
    total = float(numbers.sum())
    return _ratio(numbers, np.asarray(total)), total


def _numbers(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not np.all(np.isfinite(array)):
        raise StatisticsError("a list of finite numbers is needed")
    return array


def _same_length(first: Floats, second: Floats) -> None:
    if len(first) != len(second):
        raise StatisticsError("labels and their predictions must be equally many")


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, and 0 where there is nothing to divide by."""
    some = bottom > 0
    answer: Floats = np.where(some, top / np.where(some, bottom, 1.0), 0.0)
    return answer


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _power(covariance: float, variance: float, n: float, others: float) -> float:
    if variance <= 0:
        return 0.0
    return min(max(covariance / ((1 + n / others) * variance), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class _Scores:
    """A slice's numbers, checked: labels, predictions, weights; volume, mean and variance of all unlabelled ones."""

    y: Floats
    f: Floats
    w: Floats
    volume: float
    mean: float
    variance: float

    @classmethod
    def of(cls, part: SliceScores) -> _Scores:
        y, f, u = _numbers(part.labels), _numbers(part.predictions), _numbers(part.unlabelled)
        w = np.ones(len(y)) if part.weights is None else _numbers(part.weights)
        counts = np.ones(len(u)) if part.counts is None else _numbers(part.counts)
        _same_length(y, f)
        _same_length(y, w)
        _same_length(u, counts)
        if np.any(w <= 0) or np.any(counts < 0):
            raise StatisticsError("weights are positive, counts not negative")
        volume = float(counts.sum())
        # Where every item is labelled, the labelled predictions are all there are.
        mean = float(u @ counts) / volume if volume else float(f @ w) / float(w.sum()) if len(f) else 0.0
        variance = float((u - mean) ** 2 @ counts) / volume if volume else 0.0
        return cls(y, f, w, volume, mean, variance)

    @property
    def items(self) -> float:
        return self.volume + len(self.y)

    def rectified(self, lean: float) -> tuple[float, float]:
        """Hájek mean of y − λf and its variance, n − 1 in the divisor."""
        error = self.y - lean * self.f
        total = float(self.w.sum())
        mean = float(self.w @ error) / total
        return mean, float((self.w * (error - mean)) ** 2 @ np.ones(len(error))) / total**2 * len(error) / (
            len(error) - 1
        )

    @property
    def moments(self) -> tuple[float, float]:
        """Weighted sums of squares within the slice: cov(y, f) and var(f), in units of labels."""
        share = self.w / self.w.sum() * len(self.y)
        y, f = self.y - np.average(self.y, weights=self.w), self.f - np.average(self.f, weights=self.w)
        return float(share @ (y * f)), float(share @ f**2)


def _shared_power(parts: Sequence[_Scores]) -> float:
    """One λ* for all slices, from what varies within them."""
    n = math.fsum(len(part.y) for part in parts)
    volume = math.fsum(part.volume for part in parts)
    if not volume:
        return 0.0
    covariance = math.fsum(part.moments[0] for part in parts) / (n - len(parts))
    spread = math.fsum(part.moments[1] + part.variance * part.volume for part in parts)
    return _power(covariance, spread / (n + volume - len(parts)), n, volume)
