"""With what chance a unit came to be gold, where several draws filled it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from labeling import bulk, frames
from labeling.models import WHOLE, Queue

Unit = tuple[int, int]
"""Conversation id and turn."""
Cell = tuple[str, ...]
COLUMNS = ("channel", "cohort", "source", "attributes")


def of_labelled(units: Collection[Unit], labelled: Mapping[int, Collection[Unit]]) -> dict[Unit, float]:
    """The chance of each unit to be picked and labelled by at least one draw: 1 − ∏(1 − π·r), over all draws.

    `labelled` are the units that each queue's draw brought labels of. A draw counts with the share r of its items that are
    labelled, and for the units that it did not pick, too: those that two draws could have picked are there more often than
    those of one, whichever of them it was (Bankier 1986, *J. Amer. Statist. Assoc.* 81). Only their chances compare, so
    that a draw alone keeps its own.
    """
    draws = list(Queue.objects.filter(id__in=labelled).order_by("id"))
    if len(draws) == 1:
        return _picked(draws[0])
    missed = dict.fromkeys(units, 1.0)
    for queue in draws:
        picked = _picked(queue)
        share = len(labelled[queue.id]) / len(picked)
        for unit, chance in [*picked.items(), *_passed_over(queue, picked, units)]:
            if unit in missed:
                missed[unit] *= 1 - share * chance
    return {unit: 1 - chance for unit, chance in missed.items()}


def _picked(queue: Queue) -> dict[Unit, float]:
    rows = queue.items.values_list("conversation_id", "turn", "inclusion_probability")
    return {(conversation, turn): chance for conversation, turn, chance in rows.iterator(5000)}


def _passed_over(queue: Queue, picked: Mapping[Unit, float], units: Iterable[Unit]) -> Iterator[tuple[Unit, float]]:
    """The units that a draw could have picked and did not, each with the mean chance of its stratum there."""
    by = tuple(queue.by) or ("channel", "cohort")
    frame = frames.Frame.from_dict(queue.design.get("frame", {}))
    inside = frame.conversations()
    if not queue.design.get("top_ups"):
        inside = inside.filter(created_at__lte=queue.created_at)
    cells = _cells(queue, by)
    turns: dict[int, list[int]] = defaultdict(list)
    for conversation, turn in units:
        if (conversation, turn) not in picked:
            turns[conversation].append(turn)
    columns = ("id", *COLUMNS, *(("turns",) if frame.roles else ()))
    for part in bulk.parts(turns):
        for row in inside.filter(id__in=part).values(*columns):
            chance = cells.get(_cell(row, by), 0.0)
            for turn in turns[row["id"]]:
                if turn == WHOLE or not frame.roles or row["turns"][turn].get("role") in frame.roles:
                    yield (row["id"], turn), chance


def _cells(queue: Queue, by: Cell) -> dict[Cell, float]:
    """The mean chance in each stratum: picks over the units that they stand for, ∑1/π."""
    counts: dict[Cell, list[float]] = defaultdict(lambda: [0.0, 0.0])
    columns = [f"conversation__{name}" for name in COLUMNS]
    for chance, *values in queue.items.values_list("inclusion_probability", *columns).iterator(5000):
        cell = counts[_cell(dict(zip(COLUMNS, values, strict=True)), by)]
        cell[0] += 1
        cell[1] += 1 / chance
    return {cell: drawn / stand_for for cell, (drawn, stand_for) in counts.items()}


def _cell(row: Mapping[str, Any], by: Cell) -> Cell:
    return tuple(frames.part(row, name) for name in by)
