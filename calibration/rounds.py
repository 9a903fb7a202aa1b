"""Rounds of labels: more items where the verdict is still open, none where it is settled.

What saves most labels is aim. A random sample goes on in every slice until the thinnest has its verdict; rounds go on
only in the slices that lack one, within them by the queue's own strata, and stay one sample with what was drawn before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from calibration import sampling
from calibration.evidence import planning
from calibration.models import ClassifierVersion
from labeling import design
from labeling import sampling as drawing
from labeling.errors import Refused
from labeling.frames import JOIN, FrameUnit
from labeling.models import DatasetVersion, Queue


@dataclass(frozen=True, slots=True)
class Round:
    """The slices that are open and what each gets, by the name of its stratum; how many slices there are in all."""

    sizes: dict[str, int]
    slices: int

    @property
    def size(self) -> int:
        return sum(self.sizes.values())


def next_round(*, queue: Queue, dataset_version: DatasetVersion, version: ClassifierVersion) -> Round:
    """What the next look takes, by the verdicts of `version` on the gold that was frozen from the queue.

    Raises Refused where the queue was not drawn by the slices that the verdicts are about.
    """
    if not queue.by or queue.strategy not in ("stratified", "uncertainty"):
        raise Refused(
            "no_slices",
            f"{queue.slug} was not drawn by slices: draw a queue with strata by channel, cohort or an attribute",
            field="queue",
        )
    document = planning.plan(dataset_version=dataset_version, version=version, by=queue.by)
    rows = {
        JOIN.join(str(row["slice"][name])[:120] for name in queue.by): row
        for row in document["rows"]
        if len(row["slice"]) == len(queue.by)
    }
    unsettled = [name for name, row in rows.items() if row["verdict"] == "unproven"]
    return Round(design.next_round({name: row["n"] for name, row in rows.items()}, unsettled=unsettled), len(rows))


@transaction.atomic
def top_up(
    *, queue: Queue, dataset_version: DatasetVersion, version: ClassifierVersion, seed: int | None = None
) -> dict[str, int]:
    """Draw the next round into the queue; returns what each open slice got, less where its units are used up."""
    wanted = next_round(queue=queue, dataset_version=dataset_version, version=version)
    if not wanted.sizes:
        raise Refused("all_settled", f"every slice of {queue.slug} has its verdict on {dataset_version}", field="queue")
    added = {}
    for number, (name, size) in enumerate(wanted.sizes.items()):
        only = _only(sampling.planner_of(queue), name)
        own = None if seed is None else seed + number
        added[name] = drawing.top_up(queue=queue, size=size, seed=own, planner=only)
    return added


def _only(planner: drawing.Planner, slice_: str) -> drawing.Planner:
    """The planner, held to the units of one slice."""

    def held(units: Sequence[FrameUnit]) -> drawing.Plan:
        inside = {unit.key for unit in units if unit.stratum.casefold() == slice_.casefold()}
        plan = planner(units)
        members = tuple(unit for unit in plan.units if unit.key in inside)
        if not members:
            raise Refused("empty_frame", f"no unit of the frame lies in {slice_}", field="frame")
        return replace(plan, units=members)

    return held
