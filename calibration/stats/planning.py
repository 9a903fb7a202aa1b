"""How many labels, and where: sizes for a wished-for width, and what a stratified design would save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.stats import intervals
from calibration.stats.agreement import Measure, Parts
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import Stack
from calibration.stats.summary import measure
from calibration.stats.tables import Array, ConfusionTable, StratifiedTable


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


@dataclass(frozen=True, slots=True)
class DesignEffects:
    """Labels needed relative to simple random sampling, below 1 a saving, for three ways to share them out."""

    proportional: float
    neyman: float
    equal: float


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


def stratum_spreads(chosen: Measure, table: StratifiedTable) -> Array:
    """Standard deviation of the influence within each stratum: what a Neyman allocation weighs a stratum by.

    A stratum with fewer than two labels, or without any variation yet, takes the pooled value.
    """
    pooled = table.table
    parts = chosen(pooled.shares, np.asarray(float(pooled.total)))
    common = math.sqrt(max(float((pooled.shares * parts.influence**2).sum()), 0.0))
    spreads = []
    for stratum in table.strata:
        n, size = stratum.table.n, stratum.table.total
        mean = float((n * parts.influence).sum()) / max(size, 1)
        square = float((n * (parts.influence - mean) ** 2).sum()) / max(size - 1, 1)
        spreads.append(math.sqrt(square) if square > 0 else common)
    return np.array(spreads)


def design_effects(chosen: Measure, table: StratifiedTable) -> DesignEffects:
    """What proportional, Neyman and equal allocation over these strata would need, relative to no strata at all."""
    populations = np.array([stratum.population for stratum in table.strata], dtype=np.float64)
    share = populations / populations.sum()
    spreads = stratum_spreads(chosen, table)
    pooled = table.table
    parts = chosen(pooled.shares, np.asarray(float(pooled.total)))
    even = float((pooled.shares * parts.influence**2).sum())
    if even <= 0:
        return DesignEffects(1.0, 1.0, 1.0)
    within = share * spreads
    return DesignEffects(
        proportional=float(share @ spreads**2) / even,
        neyman=float(within.sum()) ** 2 / even,
        equal=float(len(share) * (within @ within)) / even,
    )
