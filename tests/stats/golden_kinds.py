"""Which function answers which kind of golden vector.

A kind is registered by decorating a function that takes a vector's `input` and returns statistic -> answer. An answer
is a number, a boolean, None, a list of answers, an `Estimate`, or `Undefined(reason)`. The test compares every key of
the vector's `expected`; keys beyond those are ignored. Add kinds in a module of your own and import it in
`test_golden.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from calibration.stats.estimate import Estimate

Kind = Callable[[dict[str, Any]], Mapping[str, Any]]
KINDS: dict[str, Kind] = {}


@dataclass(frozen=True)
class Undefined:
    """A statistic that does not exist, and why."""

    reason: str


def kind(name: str) -> Callable[[Kind], Kind]:
    """Register the decorated function for the golden vectors of one kind."""

    def register(function: Kind) -> Kind:
        assert name not in KINDS, f"two functions for golden kind {name}"
        KINDS[name] = function
        return function

    return register


def difference(answer: Any, expected: Any, tolerance: float) -> str | None:
    """What is wrong with an answer, or None when it is right."""
    if isinstance(expected, list):
        return _list_difference(answer, expected, tolerance)
    reason = _reason(answer)
    if isinstance(expected, dict):
        return (
            None if reason == expected["undefined"] else f"expected undefined {expected['undefined']}, got {answer!r}"
        )
    if reason is not None:
        return f"expected {expected!r}, got undefined {reason}"
    value = answer.value if isinstance(answer, Estimate) else answer
    if expected is None or isinstance(expected, bool):
        return (
            None if value is expected or (expected is not None and value == expected) else f"{value!r} != {expected!r}"
        )
    close = value is not None and math.isfinite(value) and abs(value - expected) <= tolerance * max(1.0, abs(expected))
    return None if close else f"{value!r} != {expected!r}"


def _list_difference(answer: Any, expected: list[Any], tolerance: float) -> str | None:
    if _reason(answer) is not None or len(answer) != len(expected):
        return f"expected {len(expected)} values, got {answer!r}"
    wrong = [difference(a, e, tolerance) for a, e in zip(answer, expected, strict=True)]
    return "; ".join(text for text in wrong if text) or None


def _reason(answer: Any) -> str | None:
    return answer.reason if isinstance(answer, (Estimate, Undefined)) else None
