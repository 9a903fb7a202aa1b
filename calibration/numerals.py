"""Numbers as people read them: a minus as wide as a plus, and no minus before nothing."""

from __future__ import annotations


def written(number: float, digits: int = 2) -> str:
    """`−0.34`; what rounds to nothing is `0.00`."""
    return _minus(f"{round(number, digits) + 0.0:.{digits}f}")


def signed(number: float, digits: int = 2) -> str:
    """The same with the sign of a difference: `+0.34`."""
    return _minus(f"{round(number, digits) + 0.0:+.{digits}f}")


def points(share: float) -> str:
    """A difference of shares in points: `+8.4`."""
    return signed(100 * share, 1)


def _minus(text: str) -> str:
    return text.replace("-", "−")
