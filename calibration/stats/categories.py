"""Shares of labels: accuracy, precision, recall, F1 and base rates, with Wilson intervals, for stacks of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from calibration.stats import intervals
from calibration.stats.agreement import accuracy, cell_sum, margins
from calibration.stats.estimate import Estimate, draw_up
from calibration.stats.intervals import Stack
from calibration.stats.tables import Array, Flags


@dataclass(frozen=True, slots=True)
class CategoryEstimates:
    """How one category fares, with the number of gold labels behind it."""

    category: str
    support: int
    share: Estimate
    predicted_share: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate


def accuracy_estimates(cells: Stack, confidence: float) -> list[Estimate]:
    """Accuracy of every table: Wilson for equal weights, transferred Wilson for unequal ones."""
    if intervals.weights_differ(cells).any():
        limits = intervals.transferred_wilson(accuracy(), cells, confidence, 0.0)
        weighted = intervals.estimates(limits, cells, confidence)
    else:
        weighted = []
    hits = np.diagonal(cells.n, axis1=-2, axis2=-1).sum(-1)
    plain = _even_shares(hits, cells.labels, confidence, "no_items")
    unequal = intervals.weights_differ(cells)
    return [weighted[i] if unequal[i] else estimate for i, estimate in enumerate(plain)]


def per_category(cells: Stack, names: Sequence[str], confidence: float = 0.95) -> list[tuple[CategoryEstimates, ...]]:
    """Share, precision, recall and F1 of every category of every table of a stack."""
    hits = Stack(*(np.diagonal(a, axis1=-2, axis2=-1) for a in cells))
    gold, predicted = (Stack(*sides) for sides in zip(*(margins(a) for a in cells), strict=True))
    everything = Stack(*(np.broadcast_to(cell_sum(a)[..., None], gold.n.shape) for a in cells))
    columns = (
        share_estimates(gold, everything, confidence, "no_items"),
        share_estimates(predicted, everything, confidence, "no_items"),
        share_estimates(hits, predicted, confidence, "never_predicted"),
        share_estimates(hits, gold, confidence, "not_in_gold"),
        f1_estimates(hits, gold, predicted, confidence),
    )
    support, tables = gold.n.astype(int).ravel().tolist(), len(gold.n)
    rows = map(CategoryEstimates, list(names) * tables, support, *columns)
    return [tuple(islice(rows, len(names))) for _ in range(tables)]


def share_estimates(part: Stack, whole: Stack, confidence: float, reason: str) -> list[Estimate]:
    """`part` as a share of `whole`, elementwise; undefined for `reason` where the whole is empty."""
    part, whole = Stack(*(a.ravel() for a in part)), Stack(*(a.ravel() for a in whole))
    unequal = _differ(whole)
    plain = _even_shares(part.n, whole.n, confidence, reason)
    if not unequal.any():
        return plain
    weighted = _weighted_shares(part, whole, confidence, reason)
    return [weighted[i] if unequal[i] else estimate for i, estimate in enumerate(plain)]


def _differ(whole: Stack) -> Flags:
    return np.asarray(whole.s1**2 < whole.n * whole.s2 * (1 - intervals.EQUAL_WEIGHTS))


def _even_shares(part: Array, whole: Array, confidence: float, reason: str) -> list[Estimate]:
    """Shares of equally weighted labels, with Wilson's interval."""
    some = np.maximum(whole, 1.0)
    share = part / some
    low, high = intervals.wilson_limits(share, some, np.asarray(intervals.normal_quantile(confidence)))
    error = np.sqrt(share * (1 - share) / some)
    rows = zip(*(a.tolist() for a in (share, low, high, whole, whole, error)), strict=True)
    return draw_up(rows, intervals.WILSON, confidence, reason)


def _weighted_shares(part: Stack, whole: Stack, confidence: float, reason: str) -> list[Estimate]:
    """Shares of unequally weighted labels: transferred Wilson with one more hit and half a miss of mean weight."""
    total = np.where(whole.s1 > 0, whole.s1, 1.0)
    mean_weight = total / np.maximum(whole.n, 1.0)
    share = part.s1 / total
    variance, (low, high) = _share_limits(part, whole, confidence)
    hit = Stack(part.n, part.s1 + mean_weight, part.s2 + mean_weight**2)
    more = Stack(whole.n, whole.s1 + mean_weight, whole.s2 + mean_weight**2)
    missed = Stack(whole.n, whole.s1 + mean_weight / 2, whole.s2 + mean_weight**2 / 2)
    high = np.clip(np.maximum(high, _share_limits(hit, more, confidence)[1][1]), share, 1.0)
    low = np.clip(np.minimum(low, _share_limits(part, missed, confidence)[1][0]), 0.0, share)
    effective = whole.s1**2 / np.where(whole.s2 > 0, whole.s2, 1.0)
    rows = zip(*(a.tolist() for a in (share, low, high, whole.n, effective, np.sqrt(variance))), strict=True)
    return draw_up(rows, intervals.TRANSFERRED, confidence, reason)


def _share_limits(part: Stack, whole: Stack, confidence: float) -> tuple[Array, tuple[Array, Array]]:
    """Linearised variance of a ratio of weights, and Wilson's limits at the size that it stands for."""
    total = np.where(whole.s1 > 0, whole.s1, 1.0)
    share = np.clip(part.s1 / total, 0.0, 1.0)
    squares = part.s2 * (1 - share) ** 2 + np.maximum(whole.s2 - part.s2, 0.0) * share**2
    variance = whole.n / np.maximum(whole.n - 1, 1.0) * squares / total**2
    spread = share * (1 - share)
    usable = (spread > intervals.ROUNDING) & (variance > 0)
    kish = np.where(whole.s2 > 0, total**2 / np.where(whole.s2 > 0, whole.s2, 1.0), 1.0)
    size = np.where(usable, spread / np.where(usable, variance, 1.0), kish)
    return variance, intervals.wilson_limits(share, size, intervals.t_quantile(confidence, whole.n - 1))


def f1_estimates(hits: Stack, gold: Stack, predicted: Stack, confidence: float) -> list[Estimate]:
    """F1 = 2 TP / (gold + predicted), with Wilson's limits at the size that its linearised variance stands for."""
    sums = gold.s1 + predicted.s1
    total = np.where(sums > 0, sums, 1.0)
    score = 2 * hits.s1 / total
    n = gold.n + predicted.n - hits.n
    squares = hits.s2 * (2 - 2 * score) ** 2 + np.maximum(gold.s2 + predicted.s2 - 2 * hits.s2, 0.0) * score**2
    variance = n / np.maximum(n - 1, 1.0) * squares / total**2
    spread, weight, weight2 = score * (1 - score), gold.s1 + predicted.s1 - hits.s1, gold.s2 + predicted.s2 - hits.s2
    usable = (spread > intervals.ROUNDING) & (variance > 0)
    kish = np.where(weight2 > 0, weight**2 / np.where(weight2 > 0, weight2, 1.0), 1.0)
    size = np.where(usable, spread / np.where(usable, variance, 1.0), kish)
    low, high = intervals.wilson_limits(score, size, intervals.t_quantile(confidence, n - 1))
    rows = zip(*(a.ravel().tolist() for a in (score, low, high, n, kish, np.sqrt(variance))), strict=True)
    return draw_up(rows, intervals.TRANSFERRED, confidence, "absent")
