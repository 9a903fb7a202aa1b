"""Agreement on sets of labels as wholes: MASI, Measuring Agreement on Set-valued Items (Passonneau 2006)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from calibration.stats import agreement, intervals
from calibration.stats.estimate import Estimate
from calibration.stats.tables import Array, ConfusionTable

Labels = frozenset[str]


def similarity(first: Labels, second: Labels) -> float:
    """Jaccard's share of common labels, times 1 for equal sets, 2/3 for a subset, 1/3 for an overlap, 0 for none."""
    if first == second:
        return 1.0
    common = len(first & second)
    if not common:
        return 0.0
    nested = first <= second or second <= first
    return common / len(first | second) * (2 / 3 if nested else 1 / 3)


def table_of(cells: Iterable[tuple[Labels, Labels, int, float, float]]) -> tuple[ConfusionTable, Array]:
    """A table whose categories are the sets that occur, and the disagreement of every two of them."""
    rows = list(cells)
    sets = sorted({one for row in rows for one in row[:2]}, key=sorted)
    names = [_name(one) for one in sets]
    name = dict(zip(sets, names, strict=True))
    apart = np.array([[1 - similarity(a, b) for b in sets] for a in sets])
    table = ConfusionTable.from_cells(names, ((name[g], name[p], n, s1, s2) for g, p, n, s1, s2 in rows))
    return table, apart


def _name(labels: Labels) -> str:
    """A set as text that no other set has."""
    return repr(sorted(labels))


def masi(
    cells: Sequence[tuple[Labels, Labels, int, float, float]], confidence: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Mean similarity of gold and answer, and alpha with MASI as its metric, from cells (gold, answer, n, Σw, Σw²)."""
    if not cells:
        return Estimate.undefined("no_items"), Estimate.undefined("no_items")
    table, apart = table_of(cells)
    mean = intervals.interval(agreement.mean_similarity(apart), table, confidence, 0.0)
    return mean, intervals.interval(agreement.alpha(apart), table, confidence)
