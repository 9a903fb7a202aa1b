"""What a gate came to, check by check: the same for agreement, limits and scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Check:
    """One thing that was asked: `p` goes into the family of tests, None for plain counts."""

    name: str
    slice: dict[str, str]
    statistic: str
    asked: str
    value: dict[str, Any]
    p: float | None
    holds: bool
    reason: str = ""
    adjusted_p: float | None = None
    unproven: bool = False

    def as_dict(self) -> dict[str, Any]:
        outcome = "passed" if self.holds else "not enough evidence" if self.unproven else "failed"
        return {name: getattr(self, name) for name in self.__slots__} | {"passed": self.holds, "outcome": outcome}
