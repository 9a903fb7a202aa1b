"""What a statistic returns: a value with its interval and its citation, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast


class StatisticsError(ValueError):
    """Input on which no statistic is defined at all: NaN weights, negative counts, tables that are not square."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that carries its evidence.

    `value` is None exactly when `reason` is given. `low` and `high` are the limits of the interval at `confidence`
    (0..1); `n` counts labels, `effective_n` is the size of an even sample that would carry the same evidence;
    `standard_error` serves planning and pooling, never the interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    n: int = 0
    effective_n: float | None = None
    confidence: float = 0.95
    reason: str | None = None
    standard_error: float | None = None

    @classmethod
    def undefined(cls, reason: str, *, n: int = 0) -> Estimate:
        """An estimate that does not exist, and why: `no_items`, `one_category`, `too_few_items` ..."""
        return cls(value=None, n=n, reason=reason)

    @property
    def defined(self) -> bool:
        return self.value is not None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    def as_dict(self) -> dict[str, Any]:
        """The shape of the report's JSON: finite numbers, or `{"value": None, "reason": …}`."""
        if self.value is None:
            return {"value": None, "reason": self.reason}
        answer: dict[str, Any] = {"value": _plain(self.value)}
        if self.low is not None and self.high is not None:
            answer |= {"low": _plain(self.low), "high": _plain(self.high)}
        return answer | {"method": self.method}


@dataclass(slots=True)
class _Draft:
    """The slots of an `Estimate`, not frozen yet: filling a frozen one takes six times as long, and a report has 20,000."""

    value: float
    low: float
    high: float
    method: str
    n: int
    effective_n: float
    confidence: float
    reason: None
    standard_error: float


def draw_up(
    rows: Iterable[tuple[float, float, float, float, float, float]], method: str, confidence: float, empty: str
) -> list[Estimate]:
    """An estimate for each (value, low, high, n, effective n, standard error); undefined for `empty` where n is 0."""
    found: list[Any] = []
    for value, low, high, n, effective, error in rows:
        if n > 0:
            draft = _Draft(value, low, high, method, int(n), effective, confidence, None, error)
            draft.__class__ = Estimate  # type: ignore[assignment]
            found.append(draft)
        else:
            found.append(Estimate.undefined(empty))
    return cast(list[Estimate], found)


def _plain(number: float) -> float:
    """A finite Python float, for JSON; anything else is a mistake of the caller and said so."""
    result = float(number)
    if not math.isfinite(result):
        raise StatisticsError(f"a statistic must be finite, got {number!r}")
    return result
