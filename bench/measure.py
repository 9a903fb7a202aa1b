"""What a benchmark returns, and how it is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table: what was measured, ours and the other in the same unit, their ratio, and the goal."""

    name: str
    ours: float
    other: float | None
    unit: str
    against: str
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.other else self.ours / self.other


def best_of(action: Callable[[], object], *, times: int = 5) -> float:
    """Seconds of the fastest of `times` runs: the one that the machine disturbed least."""
    return min(_once(action) for _ in range(times))


def median_of(action: Callable[[], object], *, times: int = 50) -> float:
    """Seconds of the median run, for latencies."""
    return statistics.median(_once(action) for _ in range(times))


def _once(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
