"""The alternative annotator test (Calderon, Reichart & Dror 2025): may a judge stand in for a person?

Each annotator is left out in turn, and the judge and the person left out are compared by how well they agree with the
others. The judge may be worse by at most ε, which says how much a person's labour is worth; ε is part of the result,
because a lenient one passes almost anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from calibration.stats.estimate import StatisticsError
from calibration.stats.multiplicity import benjamini_yekutieli

Floats = NDArray[np.float64]

EPSILON, LEVEL = 0.1, 0.05
LEAST_ANNOTATORS, LEAST_ITEMS = 3, 50
PASSING_RATE = 0.5


@dataclass(frozen=True, slots=True)
class AlternativeAnnotator:
    """`advantage[j]` is how often the judge is at least as close to the others as annotator j.

    `rejected[j]` says that the judge is shown not to be worse than j by ε; passing takes half of the annotators.
    """

    epsilon: float
    level: float
    items: tuple[int, ...]
    advantage: tuple[float, ...]
    mean_advantage: float | None
    p_values: tuple[float, ...]
    rejected: tuple[bool, ...]
    winning_rate: float | None
    passes: bool | None
    reason: str | None = None


def alternative_annotator(
    ratings: Sequence[Sequence[float | None]],
    judge: Sequence[float],
    *,
    epsilon: float = EPSILON,
    level: float = LEVEL,
    distance: bool = False,
    least_items: int = LEAST_ITEMS,
) -> AlternativeAnnotator:
    """Compare `judge` with `ratings[annotator][item]` (None where there is no label).

    Categories agree or not; with `distance` answers are numbers, and the closer one in root mean square wins. Ties
    count for both sides. One-sided t-test of each annotator, Benjamini and Yekutieli over annotators. No answer with
    fewer than three annotators, or `least_items` items of one of them that others labelled as well.
    """
    table = np.array([[math.nan if value is None else value for value in row] for row in ratings], dtype=float)
    machine = np.asarray(judge, dtype=float)
    if len(ratings) and (table.ndim != 2 or table.shape[1:] != machine.shape or not np.isfinite(machine).all()):
        raise StatisticsError("the judge answers every item, and annotators have the same items")
    if len(ratings) < LEAST_ANNOTATORS:
        return _undecided("too_few_annotators", epsilon, level, ())
    gaps, wins = [], []
    for left_out in range(len(table)):
        person, others = table[left_out], np.delete(table, left_out, axis=0)
        used = np.isfinite(person) & np.isfinite(others).any(axis=0)
        judged = _alignment(machine[used], others[:, used], distance)
        human = _alignment(person[used], others[:, used], distance)
        gaps.append((human >= judged).astype(float) - (judged >= human))
        wins.append((judged >= human).astype(float))
    items = tuple(len(gap) for gap in gaps)
    if min(items) < max(least_items, 2):
        return _undecided("too_few_items", epsilon, level, items)
    p_values = tuple(_t_test(gap, epsilon) for gap in gaps)
    rejected = benjamini_yekutieli(p_values, level).reject
    advantage = tuple(float(win.mean()) for win in wins)
    rate = sum(rejected) / len(rejected)
    mean = math.fsum(advantage) / len(advantage)
    return AlternativeAnnotator(epsilon, level, items, advantage, mean, p_values, rejected, rate, rate >= PASSING_RATE)


def _alignment(answers: Floats, others: Floats, distance: bool) -> Floats:
    """How well each answer agrees with the others' labels of its item, larger is better."""
    present = np.isfinite(others)
    gap = np.where(present, others - answers, 0.0)
    score = -(gap**2) if distance else (present & (gap == 0)).astype(float)
    mean: Floats = score.sum(axis=0) / present.sum(axis=0)
    return -np.sqrt(-mean) if distance else mean


def _t_test(gaps: Floats, epsilon: float) -> float:
    """One-sided p of "the judge is worse by ε or more"."""
    excess, spread = float(gaps.mean()) - epsilon, float(gaps.std(ddof=1))
    if spread == 0:
        return 0.0 if excess < 0 else 1.0
    return float(special.stdtr(len(gaps) - 1, excess / (spread / math.sqrt(len(gaps)))))


def _undecided(reason: str, epsilon: float, level: float, items: tuple[int, ...]) -> AlternativeAnnotator:
    return AlternativeAnnotator(epsilon, level, items, (), None, (), (), None, None, reason)
