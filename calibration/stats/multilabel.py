"""Several labels an answer: a binary table for every label, and their macro mean with an interval.

Labels of one unit go together, so the mean's variance comes from the sum of their influences unit by unit, over the
joint cells (set of gold labels, set of answered labels), never from adding up variances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.stats import intervals, masi
from calibration.stats.agreement import Measure, Parts
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import Stack
from calibration.stats.summary import measure
from calibration.stats.tables import Array, ConfusionTable, kish
from calibration.stats.verdicts import minority

MACRO = "macro mean over labels, transferred wilson"
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
    """The macro means by name, the share of units whose whole set is right, and the table of every label.

    `masi` is the mean similarity of whole sets, `alpha_masi` Krippendorff's alpha with it as its metric.
    """

    estimates: dict[str, Estimate]
    exact: Estimate
    masi: Estimate
    alpha_masi: Estimate
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
    similar, alpha = masi.masi([(c.gold, c.predicted, c.n, c.s1, c.s2) for c in cells], confidence)
    return MultilabelSummary(estimates, right, similar, alpha, tables, n, effective, min(varying, default=0))


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
    everything = intervals.stack([_anonymous(table) for table in tables.values()])
    used = np.flatnonzero(chosen(everything.shares, everything.labels).defined)
    if not len(used):
        return Estimate.undefined("one_category", n=n)
    stacked, joint = _varying(tables, used, everything, cells)
    limits = _limits(chosen, stacked, joint, confidence, floor)
    effective = _effective(stacked)
    value, low, high, variance = (float(a) for a in limits[:4])
    return Estimate(value, low, high, MACRO, n, effective, confidence, None, float(np.sqrt(variance)))


def trust_p(statistic: str, labels: Sequence[str], cells: Sequence[SetCell], bar: float) -> float:
    """One-sided p of "the mean is at most the bar", matching its lower limit at any confidence."""
    chosen, tables = measure(statistic, 2), {label: table_of(label, cells) for label in labels}
    everything = intervals.stack([_anonymous(table) for table in tables.values()])
    used = np.flatnonzero(chosen(everything.shares, everything.labels).defined)
    if not len(used) or len(cells) == 0 or sum(c.n for c in cells) < 2:
        return 1.0
    stacked, joint = _varying(tables, used, everything, cells)
    tested = [stacked, intervals.half_a_miss(stacked)] if intervals.weights_differ(stacked).any() else [stacked]
    return max(_clearing_p(chosen, moved, stacked, joint, bar) for moved in tested)


def _clearing_p(chosen: Measure, moved: Stack, seen: Stack, joint: _Joint, bar: float) -> float:
    parts, variance = _mean_parts(chosen, moved, seen, joint)
    size = intervals.effective_size(parts, variance, np.asarray(_effective(seen)))
    return float(intervals.clearing_p(parts, size, np.asarray(joint.n - 1.0), bar))


def _varying(
    tables: dict[str, ConfusionTable], used: NDArray[np.intp], everything: Stack, cells: Sequence[SetCell]
) -> tuple[Stack, _Joint]:
    """The labels for which the statistic is defined: their tables, and their joint cells."""
    names = list(tables)
    return Stack(*(array[used] for array in everything)), _Joint([names[k] for k in used], cells)


def _limits(chosen: Measure, stacked: Stack, joint: _Joint, confidence: float, floor: float) -> intervals.Limits:
    """The transferred Wilson interval of the mean, with one more hit and half a miss in every label's table at once."""
    critical = intervals.t_quantile(confidence, np.asarray(joint.n - 1.0))
    kish_n = np.asarray(_effective(stacked))
    parts, variance = _mean_parts(chosen, stacked, stacked, joint)
    low, high = intervals.carried_back(parts, variance, kish_n, critical)
    more = _mean_parts(chosen, stacked.one_more_hit, stacked, joint)
    high = np.maximum(high, intervals.carried_back(*more, kish_n, critical)[1])
    if intervals.weights_differ(stacked).any():
        missed = _mean_parts(chosen, intervals.half_a_miss(stacked), stacked, joint)
        low = np.minimum(low, intervals.carried_back(*missed, kish_n, critical)[0])
    return intervals.bounded(parts, low, high, variance, np.asarray(float(joint.n)), floor)


def _mean_parts(chosen: Measure, moved: Stack, seen: Stack, joint: _Joint) -> tuple[Parts, Array]:
    """The mean as one statistic, 1 - Do / De, with its variance.

    mean(f Do_k / De_k) = Do / De for De the harmonic mean of De_k / f and Do the mean of Do_k weighted by f / De_k.
    Pseudo-labels in `moved`, beyond those `seen`, add their own squared influence.
    """
    parts = chosen(moved.shares, moved.labels)
    pull = parts.factor / parts.expected
    observed, expected = (pull @ parts.observed) / pull.sum(), len(pull) / pull.sum()
    added = ((moved.s2 - seen.s2) * parts.influence**2).sum((-2, -1)) / moved.weight**2
    variance = joint.variance(parts.influence) + added.sum() / len(pull) ** 2
    one = np.ones(())
    return Parts(parts.value.mean(), observed, expected, one, parts.influence, one > 0), np.asarray(variance)


def _anonymous(table: ConfusionTable) -> ConfusionTable:
    return ConfusionTable(("yes", "no"), table.n, table.s1, table.s2)


class _Joint:
    """The joint cells of some labels, as positions in their tables, for the variance of a mean over labels."""

    def __init__(self, labels: Sequence[str], cells: Sequence[SetCell]) -> None:
        self.gold = np.array([[label not in cell.gold for label in labels] for cell in cells], dtype=np.int64)
        self.predicted = np.array([[label not in cell.predicted for label in labels] for cell in cells], dtype=np.int64)
        self.squares = np.array([cell.s2 for cell in cells])
        self.weight = sum(cell.s1 for cell in cells)
        self.n = sum(cell.n for cell in cells)

    def variance(self, influence: Array) -> float:
        """From the mean influence of every joint cell: labels of one unit go together."""
        moved = influence[np.arange(len(influence)), self.gold, self.predicted].mean(1)
        return float(self.n / max(self.n - 1, 1) * (self.squares @ moved**2) / self.weight**2)


def _effective(stacked: Stack) -> float:
    first = Stack(*(array[:1] for array in stacked))
    return kish(int(first.labels[0]), float(first.weight[0]), float(first.s2.sum()))
