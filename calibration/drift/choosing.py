"""Which slices a recalibration is for: the flagged one, or others that an engineer chooses.

What is chosen is drawn from, mapped and validated as one: a conversation that lies in any of the slices belongs, once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Sum

from calibration import slices
from calibration.models import DriftFlag, Prediction, PredictionRollup
from labeling.errors import Refused
from labeling.frames import Frame

MOST_OFFERED = 40
"""Crossings of channel and cohort that a page offers, the largest of them."""
Slice = dict[str, str]


@dataclass(frozen=True, slots=True)
class Offer:
    """A slice to choose, with how much of it the version has scored since the change (None: not counted by it)."""

    part: Slice
    scored: int | None
    flagged: bool

    @property
    def key(self) -> str:
        return json.dumps(self.part)

    @property
    def words(self) -> str:
        return slices.words(self.part)


def chosen(flag: DriftFlag, asked: Sequence[Any]) -> list[Slice]:
    """The slices that were asked for, none of them inside another; the flagged one where none was.

    Raises Refused for what is no slice, holds nothing that the version has scored, or leaves the flagged slice untouched.
    """
    if not asked:
        return [dict(flag.slice)]
    found: list[Slice] = []
    for number, one in enumerate(asked):
        field = f"slices.{number}"
        if not _is_slice(one):
            why = 'is a value for channel, cohort or an attribute, like {"channel": "voice"}'
            raise Refused("bad_slice", why, field=field)
        if not _scored(flag, one):
            raise Refused("empty_slice", f"{flag.version} has scored nothing of {slices.words(one)!r}", field=field)
        found.append(dict(one))
    if not any(slices.overlap(one, flag.slice) for one in found):
        why = f"none of them holds anything of the flagged slice, {slices.words(flag.slice)}"
        raise Refused("other_slices", why, field="slices")
    apart = [one for at, one in enumerate(found) if one not in found[:at]]
    return [one for one in apart if not any(other.items() < one.items() for other in apart)]


def read(keys: Sequence[str]) -> list[Any]:
    """The slices of a form, each as the `key` of its offer."""
    try:
        return [json.loads(key) for key in keys]
    except ValueError as error:
        raise Refused("bad_slice", "choose from the slices that are offered", field="slice") from error


def offered(flag: DriftFlag) -> list[Offer]:
    """The flagged slice first, then all, the channels, and the largest crossings of channel and cohort."""
    rows = PredictionRollup.objects.filter(version=flag.version, failed=False)
    rows = rows.filter(day__gte=flag.since) if flag.since else rows
    cells: dict[tuple[str, ...], int] = {
        (channel, cohort): int(count)
        for channel, cohort, count in rows.values_list("channel", "cohort").annotate(count=Sum("count")).order_by()
    }
    channels: Counter[str] = Counter()
    for cell, count in cells.items():
        channels[cell[0]] += count
    parts: list[tuple[Slice, int]] = [({}, sum(cells.values()))]
    parts += [({"channel": channel}, channels[channel]) for channel in sorted(channels)]
    parts += [(slices.slice_of(slices.FIRST, cell), cells[cell]) for cell in slices.largest(cells, MOST_OFFERED)]
    counts = {slices.key(part): count for part, count in parts}
    others = [Offer(part, count, flagged=False) for part, count in parts if part != flag.slice]
    return [Offer(dict(flag.slice), counts.get(slices.key(flag.slice)), flagged=True), *others]


def _is_slice(one: Any) -> bool:
    return isinstance(one, Mapping) and all(
        isinstance(text, str) and 0 < len(text) <= 200 for pair in one.items() for text in pair
    )


def _scored(flag: DriftFlag, part: Mapping[str, str]) -> bool:
    """Whether the version has ever scored something of a slice."""
    frame = Frame(
        channels=(part["channel"],) if "channel" in part else (),
        cohorts=(part["cohort"],) if "cohort" in part else (),
        attributes={name: value for name, value in part.items() if name not in slices.FIRST},
    )
    said = Prediction.objects.filter(version=flag.version, status=Prediction.Status.OK, conversation=OuterRef("pk"))
    return frame.conversations().filter(Exists(said)).exists()
