"""Slices beside the others, of the version now in service: is a gap real, and how often does it give no answer at all?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from calibration import slices, volumes
from calibration.moves import correcting
from calibration.moves.attribution import Measure
from calibration.moves.correcting import Labelled
from calibration.stats.gaps import gap
from calibration.stats.intervals import wilson
from calibration.volumes import Volume

WINDOW = timedelta(weeks=8)
FAMILY_ERROR = 0.05
MOST_SLICES = 30
"""Values of a dimension that are held against the others, and places whose failures are told: those scored most."""


def read(chart: Measure | None, rows: Sequence[Volume], labelled: Sequence[Labelled]) -> dict[str, Any]:
    """Every channel and cohort against the others, over the last eight weeks of the version in service.

    The intervals hold for all slices together at 95 % (Bonferroni): the worst of many gaps is not a finding by itself.
    """
    recent, since = _recent(rows)
    answered = [row for row in recent if not row.failed]
    version = recent[0].version if recent else None
    used = [one for one in labelled if one.version == version and since is not None and one.day >= since]
    several: list[tuple[str, int, str]] = []
    for position, name in enumerate(volumes.CORE):
        sizes: Counter[str] = Counter()
        for row in answered:
            sizes[row.place[position]] += row.count
        several += [(name, position, value) for value in slices.largest(sizes, MOST_SLICES) if len(sizes) > 1]
    confidence = 1 - FAMILY_ERROR / max(len(several), 1)
    found = [_gap(chart, answered, used, name, at, value, confidence) for name, at, value in several]
    return {"since": since.isoformat() if since else None, "confidence": confidence, "rows": found}


def _gap(
    chart: Measure | None,
    rows: Sequence[Volume],
    used: Sequence[Labelled],
    name: str,
    position: int,
    value: str,
    confidence: float,
) -> dict[str, Any]:
    here, others = ([row for row in rows if (row.place[position] == value) is wanted] for wanted in (True, False))
    mine, theirs = ([one for one in used if (one.place[position] == value) is wanted] for wanted in (True, False))
    raw = (correcting.raw(chart, here, _size(here)) or 0.0) - (correcting.raw(chart, others, _size(others)) or 0.0)
    estimates = [
        correcting.corrected(chart, part, labels, confidence=confidence)
        for part, labels in ((here, mine), (others, theirs))
    ]
    unit = max(chart.scores) - min(chart.scores) if chart else _spread(rows)
    found = gap(*estimates, raw=raw, unit=unit or 1.0)
    return {
        "slice": slices.slice_of((name,), (value,)),
        "n": _size(here),
        "labels": len(mine),
        "raw": found.raw,
        "corrected": found.corrected.as_dict(),
        "word": found.word,
    }


def failures(rows: Sequence[Volume]) -> dict[str, Any]:
    """How often the version in service gave no usable answer in the last eight weeks, per channel and cohort."""
    recent, since = _recent(rows)
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row in recent:
        counts[row.place][row.value if row.failed else ""] += row.count
    shown = slices.largest({place: found.total() for place, found in counts.items()}, MOST_SLICES)
    places = [_failure(slices.slice_of(volumes.CORE, place), counts[place]) for place in shown]
    every: Counter[str] = Counter()
    for one in counts.values():
        every.update(one)
    whole = _failure({}, every)
    return {
        "since": since.isoformat() if since else None,
        "whole": whole,
        "rows": places,
        "hidden": len(counts) - len(shown),
    }


def _failure(part: dict[str, str], found: Counter[str]) -> dict[str, Any]:
    total, failed = found.total(), found.total() - found[""]
    kinds = {status: n for status, n in sorted(found.items()) if status}
    return {"slice": part, "n": total, "failed": failed, "kinds": kinds, "rate": wilson(failed, total).as_dict()}


def _recent(rows: Iterable[Volume]) -> tuple[list[Volume], date | None]:
    """The last eight weeks of the version that scored the newest day, and since when."""
    known = list(rows)
    newest = max(known, key=lambda row: (row.day, row.version), default=None)
    if newest is None:
        return [], None
    recent = [row for row in known if row.version == newest.version and row.day > newest.day - WINDOW]
    return recent, min(row.day for row in recent)


def _size(rows: Iterable[Volume]) -> int:
    return sum(row.count for row in rows)


def _spread(rows: Sequence[Volume]) -> float:
    """Four standard deviations of the numbers: about their range."""
    n = _size(rows)
    mean = sum(row.total for row in rows) / n
    variance = max(sum(row.total_squares for row in rows) / n - mean**2, 0.0)
    return 4 * math.sqrt(variance)
