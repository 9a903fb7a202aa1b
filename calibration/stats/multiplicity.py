"""Many tests at once: Holm, Benjamini-Hochberg and Benjamini-Yekutieli, with adjusted p values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.stats.estimate import StatisticsError
from calibration.stats.tables import Array


@dataclass(frozen=True, slots=True)
class Adjusted:
    """For each test, in the order given: whether it is rejected at the level, and its adjusted p value."""

    reject: tuple[bool, ...]
    adjusted: tuple[float, ...]


def _sorted(p_values: Sequence[float], level: float) -> tuple[Array, Array]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise StatisticsError("p values lie within 0..1")
    if not 0 < level < 1:
        raise StatisticsError(f"a level lies between 0 and 1, not at {level!r}")
    order = np.argsort(p, kind="stable")
    return p[order], order.astype(np.float64)


def _answer(adjusted: Array, order: Array, level: float) -> Adjusted:
    clipped = np.empty_like(adjusted)
    clipped[order.astype(np.int64)] = np.minimum(adjusted, 1.0)
    return Adjusted(tuple((clipped <= level).tolist()), tuple(clipped.tolist()))


def holm(p_values: Sequence[float], level: float = 0.05) -> Adjusted:
    """Holm (1979): no false rejection at all, with probability 1 - level, whatever the dependence."""
    p, order = _sorted(p_values, level)
    m = len(p)
    return _answer(np.maximum.accumulate((m - np.arange(m)) * p), order, level)


def benjamini_hochberg(p_values: Sequence[float], level: float = 0.05) -> Adjusted:
    """Benjamini and Hochberg (1995): at most this share of the rejections is false, on average."""
    p, order = _sorted(p_values, level)
    m = len(p)
    steps = m / np.arange(1, m + 1) * p
    return _answer(np.minimum.accumulate(steps[::-1])[::-1], order, level)


def benjamini_yekutieli(p_values: Sequence[float], level: float = 0.05) -> Adjusted:
    """Benjamini and Yekutieli (2001): as Benjamini-Hochberg, for tests that depend on each other in any way."""
    p, order = _sorted(p_values, level)
    m = len(p)
    penalty = (1 / np.arange(1, m + 1)).sum()
    steps = penalty * m / np.arange(1, m + 1) * p
    return _answer(np.minimum.accumulate(steps[::-1])[::-1], order, level)
