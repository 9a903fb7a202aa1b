"""How a file becomes rows, whatever its kind: batches, row-precise errors, and all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.db import IntegrityError, OperationalError, transaction

from labeling import bulk
from labeling.errors import Conflict, Refused, RowError
from labeling.formats.jsonl import Record
from labeling.formats.rows import FieldRefused
from labeling.models import WHOLE, Conversation, Signal
from labeling.seen import FirstLines
from labeling.values import Scale

BATCH = 5000
MOST_ERRORS = 100

Row = TypeVar("Row")
Ready = TypeVar("Ready")


@dataclass(slots=True)
class Loaded:
    """What came of a load. Only a partial load leaves rows out: `refused` of them, the first 100 with their `errors`."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    errors: list[RowError] = field(default_factory=list)

    def as_dict(self) -> dict[str, int]:
        return {"created": self.created, "updated": self.updated, "unchanged": self.unchanged}


@dataclass(frozen=True, slots=True)
class Kind(Generic[Row, Ready]):
    """One kind of file. `parse` reads one object, `key` is what makes a row the same one, `key_field` names it in errors;
    `check` looks rows up in the database (a RowError in the place of a row at fault), `write` stores them and counts."""

    parse: Callable[[dict[str, object]], Row]
    key: Callable[[Row], str]
    key_field: str
    check: Callable[[Sequence[tuple[int, Row]]], Sequence[Ready | RowError]]
    write: Callable[[Sequence[Ready], Loaded], None]
    finish: Callable[[], None] = lambda: None


def load(records: Iterable[Record | RowError], kind: Kind[Row, Ready], *, partial: bool = False) -> Loaded:
    """Store all rows in one transaction, or, with anything wrong, none: Refused carries the first 100 errors.

    A partial load stores the rows that are right and returns the errors of the others.
    """
    loaded, first_lines = Loaded(), FirstLines()
    try:
        with transaction.atomic():
            for batch in bulk.parts(records, BATCH):
                _load_batch(batch, kind, first_lines, loaded, partial)
                if loaded.refused >= MOST_ERRORS and not partial:
                    break
            if loaded.errors and not partial:
                raise _refusal(loaded.errors)
            kind.finish()
    except (IntegrityError, OperationalError) as error:
        if isinstance(error, OperationalError) and "deadlock" not in str(error):
            raise
        raise Conflict(
            "stored_meanwhile", "somebody stored the same rows at the same time: load the file again"
        ) from error
    return loaded


def _load_batch(
    batch: Sequence[Record | RowError],
    kind: Kind[Row, Ready],
    first_lines: FirstLines,
    loaded: Loaded,
    partial: bool,
) -> None:
    """Check a batch, and store it unless something of the file is wrong already."""
    rows, errors = _parsed(batch, kind, first_lines)
    checked = kind.check(rows)
    errors += [row for row in checked if isinstance(row, RowError)]
    errors.sort(key=lambda error: error.line or 0)
    loaded.refused += len(errors)
    loaded.errors += errors[: MOST_ERRORS - len(loaded.errors)]
    if partial or not loaded.refused:
        kind.write([row for row in checked if not isinstance(row, RowError)], loaded)


def _refusal(errors: Sequence[RowError]) -> Refused:
    shown = list(errors[:MOST_ERRORS])
    more = f"the first {len(shown)} errors are shown; " if len(errors) >= MOST_ERRORS else ""
    return Refused("bad_rows", f"{more}nothing was stored", errors=shown)


def _parsed(
    batch: Sequence[Record | RowError], kind: Kind[Row, Ready], first_lines: FirstLines
) -> tuple[list[tuple[int, Row]], list[RowError]]:
    """The typed rows of a batch with their lines, and what is wrong with the others; a key may stand once in a file."""
    rows: list[tuple[int, Row]] = []
    errors: list[RowError] = []
    for record in batch:
        if isinstance(record, RowError):
            errors.append(record)
            continue
        try:
            rows.append((record.line, kind.parse(record.data)))
        except FieldRefused as refused:
            errors.append(RowError(record.line, refused.field, refused.message))
    repeated = first_lines.check([kind.key(row) for _, row in rows], [line for line, _ in rows])
    for position, first in repeated.items():
        line = rows[position][0]
        errors.append(
            RowError(line, kind.key_field, f"is a duplicate: the same stands already in line {first} of this file")
        )
    return [row for position, row in enumerate(rows) if position not in repeated], errors


@dataclass(frozen=True, slots=True)
class KnownSignal:
    """A signal with what is needed to check a million answers."""

    id: int
    slug: str
    unit: str
    scale: Scale


def known_signals() -> dict[str, KnownSignal]:
    """All signals by slug: two queries."""
    return {
        signal.slug: KnownSignal(signal.id, signal.slug, signal.unit, Scale.of(signal))
        for signal in Signal.objects.prefetch_related("categories")
    }


def known_conversations(external_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """external id → (id, number of turns), for those that exist."""
    rows = Conversation.objects.filter(external_id__in=list(set(external_ids)))
    return {name: (key, turns) for name, key, turns in rows.values_list("external_id", "id", "turn_count")}


def check_turn(turn: int, *, signal: KnownSignal, conversation: str, turn_count: int) -> str | None:
    """What is wrong with the turn of an answer, if so: its unit, or its range."""
    if signal.unit == Signal.Unit.TURN and turn == WHOLE:
        return f"is required: {signal.slug} is a signal of the unit turn"
    if signal.unit == Signal.Unit.CONVERSATION and turn != WHOLE:
        return f"must be null: {signal.slug} is a signal of the whole conversation"
    if turn >= turn_count:
        most = f"0 to {turn_count - 1}" if turn_count else "none"
        return f"is out of range: {conversation} has {turn_count} turns ({most})"
    return None
