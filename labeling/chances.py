"""With what chance a unit came to be gold, where several draws filled it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labeling import bulk, frames
from labeling.models import WHOLE, Label, Queue, Signal

Unit = tuple[int, int]
"""Conversation id and turn."""
Cell = tuple[str, ...]
CORE = ("channel", "cohort")
COLUMNS = (*CORE, "source", "attributes")
ALIKE = 1e-9


@dataclass(slots=True)
class _Pick:
    chance: float
    row: Mapping[str, Any]


@dataclass(slots=True)
class _Draw:
    """A draw that brought labels: what it picked, and which of that is labelled."""

    queue: Queue
    picked: dict[Unit, _Pick]
    labelled: Collection[Unit]

    @property
    def by(self) -> Cell:
        return tuple(self.queue.by) or CORE


def of_labelled(units: Collection[Unit], labelled: Mapping[int, Collection[Unit]]) -> dict[Unit, float]:
    """The chance with which each unit weighs, from the units that each queue's draw brought labels of.

    Only chances compare, so that a draw alone keeps its own. Of several draws with even chances in their strata, it is
    the chance to be picked and labelled by any of them, whichever it was; where chances are uneven, and those of units
    that were passed over are not known, the draws are put together in proportion to what each has to say.
    """
    draws = [_read(queue, labelled[queue.id]) for queue in Queue.objects.filter(id__in=labelled).order_by("id")]
    if len(draws) == 1:
        return {unit: pick.chance for unit, pick in draws[0].picked.items()}
    return _union(units, draws) if all(map(_even, draws)) else _composite(units, draws)


def of_signal(signal: Signal) -> dict[Unit, float]:
    """The same for all that a signal's queues have brought so far."""
    labelled: dict[int, set[Unit]] = defaultdict(set)
    given = Label.objects.filter(signal=signal, late=False, item__isnull=False)
    for queue, conversation, turn in (
        given.values_list("item__queue", "conversation_id", "turn").distinct().iterator(5000)
    ):
        labelled[queue].add((conversation, turn))
    return of_labelled(set().union(*labelled.values()), labelled) if labelled else {}


def _read(queue: Queue, labelled: Collection[Unit]) -> _Draw:
    columns = ("conversation_id", "turn", "inclusion_probability", *(f"conversation__{name}" for name in COLUMNS))
    picked = {
        (conversation, turn): _Pick(chance, dict(zip(COLUMNS, values, strict=True)))
        for conversation, turn, chance, *values in queue.items.values_list(*columns).iterator(5000)
    }
    return _Draw(queue, picked, labelled)


def _even(draw: _Draw) -> bool:
    chances: dict[Cell, float] = {}
    return all(
        abs(chances.setdefault(_cell(pick.row, draw.by), pick.chance) - pick.chance) < ALIKE
        for pick in draw.picked.values()
    )


def _union(units: Collection[Unit], draws: Sequence[_Draw]) -> dict[Unit, float]:
    """1 − ∏(1 − π·r) over all draws, r being the share of a draw's items that are labelled (Bankier 1986, *J. Amer.
    Statist. Assoc.* 81). Units that two draws could have picked are there more often than those of one."""
    missed = dict.fromkeys(units, 1.0)
    for draw in draws:
        share = len(draw.labelled) / len(draw.picked)
        chances = {_cell(pick.row, draw.by): pick.chance for pick in draw.picked.values()}
        of_all = {unit: pick.chance for unit, pick in draw.picked.items()}
        of_all |= {unit: chances.get(_cell(row, draw.by), 0.0) for unit, row in _passed_over(draw, units)}
        for unit in missed.keys() & of_all.keys():
            missed[unit] *= 1 - share * of_all[unit]
    return {unit: 1 - chance for unit, chance in missed.items()}


def _composite(units: Collection[Unit], draws: Sequence[_Draw]) -> dict[Unit, float]:
    """One over ∑ λ·s/π over the draws that brought the unit (composite weights, Hartley 1962).

    In each channel × cohort, the draws that could have picked a unit share it in proportion λ to the effective number of
    their labels there, and s makes up for their items without labels. Chances above one are scaled down with all others.
    """
    sizes = [_sizes(draw) for draw in draws]
    weights, rivals = dict.fromkeys(units, 0.0), dict.fromkeys(units, 0.0)
    for draw, here in zip(draws, sizes, strict=True):
        covered = {unit: pick.row for unit, pick in draw.picked.items()} | dict(_passed_over(draw, units))
        for unit in rivals.keys() & covered.keys():
            rivals[unit] += here.get(_cell(covered[unit], CORE), (0.0, 0.0))[0]
    for draw, here in zip(draws, sizes, strict=True):
        for unit in weights.keys() & set(draw.labelled):
            pick = draw.picked[unit]
            size, scale = here[_cell(pick.row, CORE)]
            weights[unit] += size / rivals[unit] * scale / pick.chance
    top = max(1.0, *(1 / weight for weight in weights.values() if weight))
    return {unit: 1 / weight / top for unit, weight in weights.items() if weight}


def _sizes(draw: _Draw) -> dict[Cell, tuple[float, float]]:
    """Of each channel × cohort: the effective number of labels, (∑w)²/∑w², and the weight of all items over theirs."""
    sums: dict[Cell, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for unit, pick in draw.picked.items():
        cell, weight = sums[_cell(pick.row, CORE)], 1 / pick.chance
        cell[0] += weight
        if unit in draw.labelled:
            cell[1] += weight
            cell[2] += weight**2
    return {name: (own**2 / squares, whole / own) for name, (whole, own, squares) in sums.items() if own}


def _passed_over(draw: _Draw, units: Iterable[Unit]) -> Iterator[tuple[Unit, Mapping[str, Any]]]:
    """The units that a draw could have picked and did not: those in its frame, and in its slices where it has some."""
    queue = draw.queue
    frame = frames.Frame.from_dict(queue.design.get("frame", {}))
    slices = queue.design.get("basis", {}).get("slices", [])
    inside = frame.conversations().filter(created_at__lte=_until(queue))
    turns: dict[int, list[int]] = defaultdict(list)
    for conversation, turn in units:
        if (conversation, turn) not in draw.picked:
            turns[conversation].append(turn)
    columns = ("id", *COLUMNS, *(("turns",) if frame.roles else ()))
    for part in bulk.parts(turns):
        for row in inside.filter(id__in=part).values(*columns):
            if slices and not any(_lies_in(row, one) for one in slices):
                continue
            for turn in turns[row["id"]]:
                if turn == WHOLE or not frame.roles or row["turns"][turn].get("role") in frame.roles:
                    yield (row["id"], turn), row


def _until(queue: Queue) -> datetime:
    """When the last draw into a queue was: what came later it could not pick."""
    top_ups = queue.design.get("top_ups", [])
    return datetime.fromisoformat(top_ups[-1]["at"]) if top_ups and "at" in top_ups[-1] else queue.created_at


def _lies_in(row: Mapping[str, Any], part: Mapping[str, str]) -> bool:
    return all(frames.part(row, name) == value[:120] for name, value in part.items())


def _cell(row: Mapping[str, Any], by: Cell) -> Cell:
    return tuple(frames.part(row, name) for name in by)
