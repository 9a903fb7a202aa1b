"""The canonical text of an answer, one form for labels, predictions and gold: what is equal is equal as text."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from labeling.models import Signal

NEAR = 0.1
"""Numbers within this share of their scale's range say the same, where only sameness is asked for."""


class ValueRefused(ValueError):
    """An answer that the signal's scale does not have."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What a signal accepts, as plain values, read once and used for a million rows."""

    kind: str
    values: tuple[str, ...] = ()
    scores: tuple[float | None, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @classmethod
    def of(cls, signal: Signal) -> Scale:
        """One query for the categories (none when they are prefetched)."""
        categories = list(signal.categories.all())
        return cls(
            kind=signal.scale,
            values=tuple(category.value for category in categories),
            scores=tuple(category.score for category in categories),
            minimum=signal.minimum,
            maximum=signal.maximum,
        )

    def encode(self, answer: Any) -> tuple[str, float | None]:
        """The canonical text and, for interval scales, the number of an answer in the contract's form.

        Raises ValueRefused with a sentence that names what is accepted.
        """
        if self.kind == "interval":
            number = self._number(answer)
            return number_text(number), number
        if self.kind == "multilabel":
            return self._labels(answer), None
        return self._category(answer), None

    def decode(self, text: str) -> Any:
        """The answer in the contract's form: a code, a list of codes, or a number."""
        if self.kind == "interval":
            number = float(text)
            return int(number) if number.is_integer() else number
        if self.kind == "multilabel":
            return json.loads(text)
        return text

    def same(self, one: str, other: str) -> bool:
        """Whether two canonical answers say the same: equal text; numbers within NEAR of the scale's range (where it is
        open: of the larger one)."""
        if self.kind != "interval":
            return one == other
        first, second = float(one), float(other)
        span = None if self.minimum is None or self.maximum is None else self.maximum - self.minimum
        return abs(first - second) <= NEAR * (max(abs(first), abs(second)) if span is None else span)

    def _number(self, answer: Any) -> float:
        if isinstance(answer, bool) or not isinstance(answer, int | float):
            raise ValueRefused(f"must be a number, got {answer!r}")
        try:
            number = float(answer)
        except OverflowError as error:
            raise ValueRefused("must be a finite number") from error
        if not math.isfinite(number):
            raise ValueRefused("must be a finite number")
        low, high = self.minimum, self.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            raise ValueRefused(
                f"{number_text(number)} is out of range: it must lie between {_limit(low)} and {_limit(high)}"
            )
        return number

    def _category(self, answer: Any) -> str:
        if not isinstance(answer, str):
            raise ValueRefused(f"must be a string, one of the categories {self._known()}; got {answer!r}")
        if answer not in self.values:
            raise ValueRefused(f"{answer!r} is not one of the categories {self._known()}")
        return answer

    def _labels(self, answer: Any) -> str:
        if not isinstance(answer, list):
            raise ValueRefused(f"must be a list of categories, got {answer!r}")
        chosen = {self._category(label) for label in answer}
        if len(chosen) != len(answer):
            raise ValueRefused("names a category twice")
        return json.dumps([value for value in self.values if value in chosen], ensure_ascii=False)

    def _known(self) -> str:
        return ", ".join(self.values[:20]) + (" …" if len(self.values) > 20 else "")


def number_text(number: float) -> str:
    """The shortest decimal: 4.0 and 4 are the same answer."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(float(number))


def _limit(number: float | None) -> str:
    return "any number" if number is None else number_text(number)
