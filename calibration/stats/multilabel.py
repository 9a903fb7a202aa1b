"""Several labels an answer: a binary table for every label, and their macro mean with an interval.

Labels of one unit go together, so the mean's variance comes from the sum of their influences unit by unit, over the
joint cells (set of gold labels, set of answered labels), never from adding up variances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.stats import intervals
from calibration.stats.agreement import Measure
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import Stack
from calibration.stats.summary import measure
from calibration.stats.tables import Array, ConfusionTable, Flags, kish
from calibration.stats.verdicts import minority

MACRO = "macro mean over labels, linearised, t"
STATISTICS = ("accuracy", "kappa", "alpha", "ac1")


@dataclass(frozen=True, slots=True)
class SetCell:
    """Units with the same gold labels and the same answered labels."""

    gold: frozenset[str]
    predicted: frozenset[str]
    n: int
    s1: float
    s2: float


@dataclass(frozen=True, slots=True)
class MultilabelSummary:
    """The macro means by name, the share of units whose whole set is right, and the table of every label."""

    estimates: dict[str, Estimate]
    exact: Estimate
    tables: dict[str, ConfusionTable]
    n: int
    effective_n: float
    minority: int


def summarise(labels: Sequence[str], cells: Sequence[SetCell], confidence: float = 0.95) -> MultilabelSummary:
    """Every statistic of one slice of a multilabel signal."""
    tables = {label: table_of(label, cells) for label in labels}
    n, s1, s2 = sum(c.n for c in cells), sum(c.s1 for c in cells), sum(c.s2 for c in cells)
    effective = kish(n, s1, s2)
    estimates = {
        name: macro(measure(name, 2), tables, cells, confidence, floor=0.0 if name == "accuracy" else -1.0)
        for name in STATISTICS
    }
    whole = ConfusionTable.from_cells(
        ("right", "wrong"), (("right", "right" if c.gold == c.predicted else "wrong", c.n, c.s1, c.s2) for c in cells)
    )
    right = intervals.interval(measure("accuracy", 2), whole, confidence, 0.0)
    varying = [minority(table) for table in tables.values() if (table.gold_counts > 0).all()]
    return MultilabelSummary(estimates, right, tables, n, effective, min(varying, default=0))


def table_of(label: str, cells: Sequence[SetCell]) -> ConfusionTable:
    """Has the label against has it not."""
    names = (label, f"not {label}")
    return ConfusionTable.from_cells(
        names, ((names[label not in c.gold], names[label not in c.predicted], c.n, c.s1, c.s2) for c in cells)
    )


def macro(
    chosen: Measure,
    tables: dict[str, ConfusionTable],
    cells: Sequence[SetCell],
    confidence: float = 0.95,
    floor: float = -1.0,
) -> Estimate:
    """Mean of a statistic over the labels for which it is defined."""
    n = sum(c.n for c in cells)
    if n == 0 or not tables:
        return Estimate.undefined("no_items")
    stacked = intervals.stack([_anonymous(table) for table in tables.values()])
    parts = chosen(stacked.shares, stacked.labels)
    if not parts.defined.any():
        return Estimate.undefined("one_category", n=n)
    value = float(parts.value[parts.defined].mean())
    error = _error(parts.influence, parts.defined, list(tables), cells)
    half = float(intervals.t_quantile(confidence, np.asarray(n - 1.0))) * error if n > 1 else 2.0
    if error == 0.0:
        half = 3.0 / n
    effective = _effective(stacked)
    bounds = max(value - half, floor), min(value + half, 1.0)
    return Estimate(value, *bounds, MACRO, n, effective, confidence, None, error)


def _anonymous(table: ConfusionTable) -> ConfusionTable:
    return ConfusionTable(("yes", "no"), table.n, table.s1, table.s2)


def _error(influence: Array, defined: Flags, labels: Sequence[str], cells: Sequence[SetCell]) -> float:
    """Standard error of the mean from the summed influence of every joint cell."""
    used: list[int] = np.flatnonzero(defined).tolist()
    total, squares, n = 0.0, 0.0, 0
    for cell in cells:
        moved = sum(
            float(influence[k, int(labels[k] not in cell.gold), int(labels[k] not in cell.predicted)]) for k in used
        ) / len(used)
        total, squares, n = total + cell.s1, squares + cell.s2 * moved**2, n + cell.n
    return float(np.sqrt(n / max(n - 1, 1) * squares)) / total


def _effective(stacked: Stack) -> float:
    first = Stack(*(array[:1] for array in stacked))
    return kish(int(first.labels[0]), float(first.weight[0]), float(first.s2.sum()))
