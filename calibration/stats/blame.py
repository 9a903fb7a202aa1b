"""From the parts of a movement to a verdict: customers, classifier, both, nothing, or not enough evidence.

Small pure rules over estimates and their standard errors; `attribution` makes the estimates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from calibration import numerals
from calibration.stats.estimate import Estimate

Verdict = Literal["customers", "classifier", "both", "nothing moved", "not enough evidence"]

CUSTOMERS, CLASSIFIER = ("customers", "mix"), ("upgrade", "silent_drift", "transcription")
MOVED, BOUND = 2.24, 1.645
"""Standard errors: 2.24 keeps two tests at 5 % together, 1.645 is a one-sided 95 % bound."""
STILL_OBSERVED, STILL_BOUND = 0.02, 0.04
MOST_LABELS_FACTOR = 64.0
FIRST_LABELS = 100
"""Labels per slice and period at which most worlds are decided; what to ask for where there are hardly any."""
NAMES = {
    "customers": "the customers themselves",
    "mix": "the mix of slices",
    "upgrade": "the upgrade",
    "silent_drift": "silent drift of the classifier",
    "transcription": "transcription",
}


@dataclass(frozen=True, slots=True)
class Group:
    """One side of the question: its value, and its variance by labels and by everything else."""

    value: float
    by_labels: float
    by_counts: float

    def error(self, factor: float = 1.0) -> float:
        """The standard error with `factor` times the labels."""
        return math.sqrt(self.by_labels / factor + self.by_counts)


def verdict(observed: float, customers: Group, classifier: Group, *, unit: float = 1.0, factor: float = 1.0) -> Verdict:
    """The decision rule, with `factor` times as many labels at the same values. `unit` is the range of the scores."""
    sides = (customers, classifier)
    moved = [abs(side.value) > MOVED * side.error(factor) for side in sides]
    bounds = [abs(side.value) + BOUND * side.error(factor) for side in sides]
    if all(moved):
        return "both"
    if moved[0] and bounds[1] < abs(observed) / 2:
        return "customers"
    if moved[1] and bounds[0] < abs(observed) / 2:
        return "classifier"
    if abs(observed) < STILL_OBSERVED * unit and max(bounds) < STILL_BOUND * unit:
        return "nothing moved"
    return "not enough evidence"


def labels_needed(observed: float, customers: Group, classifier: Group, *, labels: int, unit: float) -> int | None:
    """How many more labels would decide it, were the values to stay; 0 where it is decided.

    None where even 64 times the labels would not: then it takes more conversations, or a wider bridge.
    """
    factor = 1.0
    while verdict(observed, customers, classifier, unit=unit, factor=factor) == "not enough evidence":
        factor *= 1.05
        if factor > MOST_LABELS_FACTOR:
            return None
    return math.ceil((factor - 1) * labels)


def leading(found: Verdict, parts: Mapping[str, Estimate]) -> tuple[str, ...]:
    """The parts that carry the verdict, largest first: those that moved, and in any case the largest of its side."""
    names = {"customers": CUSTOMERS, "classifier": CLASSIFIER, "both": CUSTOMERS + CLASSIFIER}.get(found, ())
    sized = [(abs(parts[name].value or 0.0), name) for name in names if parts[name].defined]
    ranked = [name for _, name in sorted(sized, key=lambda pair: (-pair[0], names.index(pair[1])))]
    if found == "both":
        largest = {next(name for name in ranked if name in side) for side in (CUSTOMERS, CLASSIFIER)}
    else:
        largest = set(ranked[:1])
    return tuple(name for name in ranked if name in largest or _clear(parts[name]))


def sentence(
    measure: str,
    observed: Estimate,
    parts: Mapping[str, Estimate],
    found: Verdict,
    leaders: Sequence[str],
    *,
    more_labels: int | None,
    versions: tuple[str, str],
    points: bool,
) -> str:
    """What a reader takes away, in one or two sentences with the numbers that carry it."""
    change = observed.value or 0.0
    start = f"The {measure} {'rose' if change > 0 else 'fell'} by {_amount(abs(change), points)}"
    if found == "nothing moved":
        return f"The {measure} hardly moved ({_signed(change, points)}), and neither customers nor classifier did."
    if found == "not enough evidence":
        return f"{start}, and the labels do not show why yet: {_more(more_labels, versions)}."
    told = _listed([f"{_named(name, versions)} ({_with_interval(parts[name], points)})" for name in leaders])
    opening = {
        "customers": "this is the customers, not the classifier",
        "classifier": "this is the classifier, not the customers",
        "both": "customers and classifier both moved",
    }[found]
    return f"{start}; {opening}: {told}."


def _named(name: str, versions: tuple[str, str]) -> str:
    return f"the upgrade from {versions[0]} to {versions[1]}" if name == "upgrade" else NAMES[name]


def _more(labels: int | None, versions: tuple[str, str]) -> str:
    if labels is not None:
        return f"about {labels:,} more labels would decide it"
    bridge = "" if versions[0] == versions[1] else ", or with more conversations that both versions scored"
    return f"no labels of these periods would decide it, longer periods may{bridge}"


def _clear(part: Estimate) -> bool:
    return part.low is not None and part.high is not None and (part.low > 0 or part.high < 0)


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _amount(value: float, points: bool) -> str:
    return f"{100 * value:.1f} points" if points else f"{value:.2f}"


def _signed(value: float, points: bool) -> str:
    return f"{numerals.points(value)} points" if points else numerals.signed(value)


def _with_interval(part: Estimate, points: bool) -> str:
    write = numerals.points if points else numerals.signed
    return f"{_signed(part.value or 0.0, points)}, {write(part.low or 0.0)} to {write(part.high or 0.0)}"
