"""How the ratings of one unit become gold: a pure rule over plain values. What it leaves open, it says why."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

METHOD = 2
"""Another number means that the same ratings may become other gold; it is stored with every version."""

CATEGORICAL = ("binary", "nominal", "ordinal")
AGGREGATIONS = ("majority", "adjudicated", "dawid-skene", "single", "mean", "median")


class RuleRefused(ValueError):
    """A rule that a scale cannot carry."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a unit became: the canonical value, the number behind an interval one, how, and why not where it is open.

    `reason` is empty for a decided unit, else `tie`, `too_few_labels`, `no_labels` or `several_labels`.
    """

    value: str | None
    number: float | None
    decided_by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An aggregation for one scale. `values` are the signal's codes in their order (for the text of a multilabel answer)."""

    aggregation: str
    scale: str
    values: tuple[str, ...] = ()
    min_labels: int = 1

    def __post_init__(self) -> None:
        if self.aggregation not in AGGREGATIONS:
            raise RuleRefused(f"{self.aggregation!r} is not one of {', '.join(AGGREGATIONS)}")
        if self.min_labels < 1:
            raise RuleRefused("at least one label is needed for an item to be gold")
        if self.aggregation in ("mean", "median") and self.scale != "interval":
            raise RuleRefused(f"{self.aggregation} is for interval signals; this one is {self.scale}")
        if self.aggregation == "dawid-skene" and self.scale not in CATEGORICAL:
            raise RuleRefused(f"dawid-skene is for one category an answer; this signal is {self.scale}")

    def decide(
        self,
        ratings: Mapping[str, str],
        *,
        ruling: str | None = None,
        estimated: str | None = None,
    ) -> Decision:
        """The decision on one unit. `ratings` is annotator → canonical value; only `adjudicated` heeds a ruling.

        `estimated` is what Dawid and Skene's model made of the unit, which needs all units at once.
        """
        if self.aggregation == "adjudicated" and ruling is not None:
            return _decided(ruling, self.scale, "adjudication")
        if not ratings:
            return _open("no_labels")
        if self.aggregation == "single":
            only = next(iter(ratings.values()))
            return _decided(only, self.scale, "single") if len(ratings) == 1 else _open("several_labels")
        if len(ratings) < self.min_labels:
            return _open("too_few_labels")
        if self.aggregation == "dawid-skene":
            return _open("tie") if estimated is None else _decided(estimated, self.scale, "dawid-skene")
        return self._middle(ratings)

    def _middle(self, ratings: Mapping[str, str]) -> Decision:
        if self.scale == "interval":
            return _interval(ratings, "median" if self.aggregation == "median" else "mean")
        if self.scale == "multilabel":
            return self._labels(ratings)
        return _plurality(ratings)

    def _labels(self, ratings: Mapping[str, str]) -> Decision:
        """Each label by its own majority; a label that exactly half of the annotators gave leaves the unit open."""
        counts = votes(ratings, scale=self.scale)
        if any(2 * count == len(ratings) for count in counts.values()):
            return _open("tie")
        chosen = {label for label, count in counts.items() if 2 * count > len(ratings)}
        ordered = [value for value in self.values if value in chosen]
        return Decision(json.dumps(ordered, ensure_ascii=False), None, "majority")


def votes(ratings: Mapping[str, str], *, scale: str) -> dict[str, int]:
    """value → number of annotators, for multilabel signals by label; in the order of the values as text."""
    if scale == "multilabel":
        counts = Counter(label for text in ratings.values() for label in json.loads(text))
    else:
        counts = Counter(ratings.values())
    return dict(sorted(counts.items()))


def _plurality(ratings: Mapping[str, str]) -> Decision:
    """The value most annotators gave; when two values share the first place, the unit stays open."""
    (first, most), *others = Counter(ratings.values()).most_common(2)
    if others and others[0][1] == most:
        return _open("tie")
    return Decision(first, None, "majority")


def _interval(ratings: Mapping[str, str], middle: str) -> Decision:
    numbers = [float(text) for text in ratings.values()]
    number = statistics.median(numbers) if middle == "median" else math.fsum(numbers) / len(numbers)
    return Decision(number_text(number), number, middle)


def _decided(value: str, scale: str, how: str) -> Decision:
    return Decision(value, float(value) if scale == "interval" else None, how)


def _open(reason: str) -> Decision:
    return Decision(None, None, "unresolved", reason)


def number_text(number: float) -> str:
    """The canonical text of an interval value: the shortest decimal."""
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
