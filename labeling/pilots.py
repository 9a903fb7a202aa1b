"""What a pilot teaches about a frame: how much the answers spread in each stratum."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from labeling.errors import Refused
from labeling.frames import JOIN, part
from labeling.models import DatasetVersion, GoldRow, Signal

SHRINK = 4.0
"""A stratum's own answers weigh as much as the pilot's whole when it has this many of them."""


def spreads_of(pilot: DatasetVersion, *, by: Sequence[str], strata: Iterable[str]) -> dict[str, float]:
    """The spread S of every stratum for a Neyman allocation, from the gold answers of `pilot`.

    For categories S = √(1 − Σp²), for numbers the standard deviation. Strata of few answers are drawn towards the spread
    of the whole pilot; those that the pilot never saw have it.
    """
    if "source" in by:
        raise Refused("no_pilot", "a pilot knows channel, cohort and attributes, not the source", field="by")
    answers: dict[str, list[str | float]] = defaultdict(list)
    rows = GoldRow.objects.filter(version=pilot, value__isnull=False)
    numeric = pilot.dataset.signal.scale == Signal.Scale.INTERVAL
    for row in rows.values("channel", "cohort", "attributes", "value", "number").iterator(chunk_size=2000):
        stratum = JOIN.join(part(row, name) for name in by)
        answers[stratum].append(row["number"] or 0.0 if numeric else row["value"] or "")
    everything = [answer for told in answers.values() for answer in told]
    if len(everything) < 2:
        raise Refused("no_pilot", f"{pilot} has too few answers to plan by", field="pilot")
    whole = _variance(everything)
    return {name: _spread(answers.get(name, []), whole) for name in strata}


def _spread(answers: Sequence[str | float], whole: float) -> float:
    own = _variance(answers) * len(answers) if answers else 0.0
    return math.sqrt((own + SHRINK * whole) / (len(answers) + SHRINK))


def _variance(answers: Sequence[str | float]) -> float:
    numbers = [answer for answer in answers if isinstance(answer, int | float)]
    if len(numbers) == len(answers):
        mean = math.fsum(numbers) / len(numbers)
        return math.fsum((number - mean) ** 2 for number in numbers) / len(numbers)
    counts = Counter(answers)
    return 1 - math.fsum((count / len(answers)) ** 2 for count in counts.values())
