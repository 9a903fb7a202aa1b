"""How many labels, and where: sizes for a wished-for width, and what a stratified design would save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.stats import intervals
from calibration.stats.agreement import Parts
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import Stack
from calibration.stats.summary import measure
from calibration.stats.tables import ConfusionTable


@dataclass(frozen=True, slots=True)
class Plan:
    """Labels for a half-width: `total` of them drawn evenly, of which `further` are still to be made.

    `labels` are those at hand, worth `effective_n` even ones. `reason` says why no number can be given.
    """

    total: int | None
    further: int | None
    half_width: float
    labels: int
    effective_n: float
    reason: str | None = None


def _check_half_width(half_width: float) -> float:
    if not (math.isfinite(half_width) and 0 < half_width <= 1):
        raise StatisticsError(f"a half-width lies between 0 and 1, not at {half_width!r}")
    return half_width


def labels_for_half_width(
    statistic: str,
    table: ConfusionTable,
    half_width: float,
    *,
    scale: str = "nominal",
    scores: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Plan:
    """n = z**2 * sum(P * IF**2) / h**2, from the shares and the influence seen so far.

    Where no label disagrees yet, half a miss in each predicted category stands in for what more labels would show.
    """
    _check_half_width(half_width)
    n, effective = table.total, table.effective_n
    chosen = measure(statistic, table.size, scale=scale, scores=scores)
    cells = intervals.stack([table])
    parts = chosen(cells.shares, cells.labels)
    if not parts.defined[0]:
        return Plan(None, None, half_width, n, effective, "one_category" if n else "no_items")
    spread = _spread(parts, cells)
    if spread <= 0:
        missed = intervals.half_a_miss(cells)
        spread = _spread(chosen(missed.shares, missed.labels), missed)
    total = max(math.ceil((intervals.normal_quantile(confidence) / half_width) ** 2 * spread), 2)
    return Plan(total, max(math.ceil(total - effective), 0), half_width, n, effective)


def _spread(parts: Parts, cells: Stack) -> float:
    """Variance of one even label's influence."""
    return float((cells.shares * parts.influence**2).sum())


def labels_from_estimate(found: Estimate, half_width: float) -> Plan:
    """The same for any estimate that knows its standard error, had the further labels the design of those at hand."""
    _check_half_width(half_width)
    effective = float(found.n) if found.effective_n is None else found.effective_n
    if found.value is None or not found.standard_error:
        return Plan(None, None, half_width, found.n, effective, found.reason or "zero_variance")
    z = intervals.normal_quantile(found.confidence)
    total = max(math.ceil(found.n * (z * found.standard_error / half_width) ** 2), 2)
    return Plan(total, max(total - found.n, 0), half_width, found.n, effective)
