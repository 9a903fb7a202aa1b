"""What the page of a gold dataset version shows: who is in it, and how well people agree in each slice."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from calibration.evidence import measuring, pairing
from calibration.evidence.cells import VoteGroup
from calibration.stats.estimate import Estimate
from labeling.models import DatasetVersion
from labeling.values import Scale

BY = ("channel", "cohort")


@dataclass(frozen=True, slots=True)
class Cell:
    """One slice of a dataset version: gold items, units left open, agreement among people with the units behind it."""

    items: int
    unresolved: int
    alpha: Estimate
    units: int

    @property
    def shown(self) -> dict[str, Any]:
        return self.alpha.as_dict()


@dataclass(frozen=True, slots=True)
class Grid:
    """Channel × cohort, with the totals of both."""

    cohorts: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    whole: Cell


def grid(version: DatasetVersion) -> Grid:
    """The card's counts beside Krippendorff's alpha among people, per channel × cohort and for the whole."""
    scale = Scale.of(version.dataset.signal)
    votes: dict[tuple[str, str], list[VoteGroup]] = defaultdict(list)
    for group in pairing.votes(dataset_version=version, by=BY):
        votes[group.key[0], group.key[1]].append(group)
    counts = {(cell["channel"], cell["cohort"]): (cell["items"], cell["unresolved"]) for cell in version.card["cells"]}
    channels = sorted({channel for channel, _ in counts})
    cohorts = tuple(sorted({cohort for _, cohort in counts}))

    def cell(channel: str, cohort: str) -> Cell | None:
        if (channel, cohort) not in counts:
            return None
        return Cell(*counts[channel, cohort], *measuring.human_agreement(scale, votes[channel, cohort]))

    lines = tuple((channel, tuple(cell(channel, cohort) for cohort in cohorts)) for channel in channels)
    everything = [group for groups in votes.values() for group in groups]
    whole = Cell(version.item_count, version.unresolved_count, *measuring.human_agreement(scale, everything))
    return Grid(cohorts, lines, whole)


def sentence(version: DatasetVersion, whole: Cell) -> str:
    """What its reader came for: how much gold there is, what is left open, how well people agree."""
    said = f"{version.item_count:,} gold items"
    if version.unresolved_count:
        said += f"; {version.unresolved_count:,} left open"
    if whole.alpha.value is None:
        return f"{said}. How well people agree is not known: {_why(whole)}."
    return f"{said}. People agree at alpha {whole.alpha.value:.2f}."


def _why(whole: Cell) -> str:
    if whole.alpha.reason == "no_pairable_ratings":
        return "no item has two labels"
    return (whole.alpha.reason or "undefined").replace("_", " ")
