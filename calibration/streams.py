"""Labels as they come in, beside what versions said of the same units: what monitors, trends and attribution read.

A unit's answer is the ruling where there is one, else the value that most of its labels have (for interval signals
their mean); a tie is no answer yet. Late and superseded labels do not count. A unit's weight is 1 / inclusion
probability; where several queues could have drawn it, that of all of them together, as in gold.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from calibration.models import ClassifierVersion
from labeling import chances
from labeling.models import Label, Ruling, Signal
from labeling.values import number_text

UNKNOWN = "unknown"
Unit = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What people say of one unit: where it is, when they said it, and how much it stands for.

    `labeled_at` is None where a source gave no time; `arrived_at` is the later of the times that are known.
    """

    unit: Unit
    channel: str
    cohort: str
    attributes: Mapping[str, Any]
    value: str
    number: float | None
    votes: tuple[str, ...]
    labeled_at: datetime | None
    arrived_at: datetime
    started_at: datetime | None
    weight: float

    def place(self, by: Sequence[str]) -> tuple[str, ...]:
        """Its slice, as the values of `by`."""
        return place(by, self.channel, self.cohort, self.attributes)


@dataclass(frozen=True, slots=True)
class Said:
    """One version's answer for a unit."""

    value: str
    number: float | None
    predicted_at: datetime | None


def place(by: Sequence[str], channel: str, cohort: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of `by`: channel, cohort, or the name of an attribute."""
    known = {"channel": channel, "cohort": cohort}
    return tuple(known[name] if name in known else str(attributes.get(name, UNKNOWN)) for name in by)


def lies_in(part: Mapping[str, str], channel: str, cohort: str, attributes: Mapping[str, Any]) -> bool:
    """Whether a conversation lies in a slice."""
    return place(tuple(part), channel, cohort, attributes) == tuple(part.values())


def answers(signal: Signal, *, after: datetime | None = None, ties: bool = False) -> list[Answer]:
    """Every answered unit of a signal, in the order of arrival; with `after`, those whose last label came later.

    `ties` keeps units on which people do not agree, without a value.
    """
    labels = Label.objects.filter(signal=signal, superseded_at__isnull=True, late=False)
    rulings = Ruling.objects.filter(signal=signal, superseded_at__isnull=True)
    if after is not None:
        # A unit with one new label is read whole; which of them count is decided on the unit's last arrival.
        fresh = labels.filter(Q(labeled_at__gt=after) | Q(labeled_at__isnull=True, stored_at__gt=after))
        labels = labels.filter(conversation__in=fresh.values("conversation"))
    decided = {(r.conversation_id, r.turn): r for r in rulings}
    drawn = chances.of_signal(signal)
    found = (_answer(signal, unit, rows, decided.get(unit), drawn) for unit, rows in _by_unit(labels))
    kept = [one for one in found if (ties or one.value) and (after is None or one.arrived_at > after)]
    return sorted(kept, key=lambda answer: (answer.arrived_at, answer.unit))


def said(versions: Iterable[ClassifierVersion], signal: Signal) -> dict[int, dict[Unit, Said]]:
    """version id → unit → what it said, for every unit of the signal that has a label.

    From the labels to the predictions, in steps of one index: what it costs does not grow with what was scored.
    """
    ids = [version.id for version in versions]
    answer: dict[int, dict[Unit, Said]] = defaultdict(dict)
    if not ids:
        return answer
    with connection.cursor() as cursor:
        cursor.execute(_SAID.format(places=", ".join(["%s"] * len(ids))), [signal.id, *ids])
        for version, conversation, turn, value, number, at in cursor.fetchall():
            answer[version][conversation, turn] = Said(value or "", number, _moment(at))
    return answer


_SAID = """
SELECT p.version_id, p.conversation_id, p.turn, p.value, p.number, p.predicted_at
FROM (SELECT DISTINCT conversation_id, turn FROM labeling_label
      WHERE signal_id = %s AND superseded_at IS NULL AND NOT late) l
CROSS JOIN calibration_classifierversion v
JOIN calibration_prediction p ON p.version_id = v.id AND p.conversation_id = l.conversation_id AND p.turn = l.turn
WHERE v.id IN ({places}) AND p.status = 'ok'
"""


def _moment(at: datetime | str | None) -> datetime | None:
    """A time as the cursor gives it: SQLite's are text, in UTC."""
    return datetime.fromisoformat(at).replace(tzinfo=UTC) if isinstance(at, str) else at


def day_of(answer: Answer, said: Said | None = None) -> date:
    """When a unit's answer is placed in time: when it was given, else when the unit was scored or took place."""
    known = answer.labeled_at or (said.predicted_at if said else None) or answer.started_at
    return (known or answer.arrived_at).date()


def scored_day(answer: Answer, said: Said) -> date | None:
    """The day that a unit's score is counted under in the rollup: when it was scored, else when it took place."""
    known = said.predicted_at or answer.started_at
    return None if known is None else known.date()


@dataclass(frozen=True, slots=True)
class _Row:
    unit: Unit
    channel: str
    cohort: str
    attributes: Mapping[str, Any]
    started_at: datetime | None
    annotator: int
    value: str
    number: float | None
    labeled_at: datetime | None
    stored_at: datetime
    queue: int | None


def _by_unit(labels: QuerySet[Label]) -> Iterator[tuple[Unit, list[_Row]]]:
    columns = labels.order_by("conversation_id", "turn", "id").values_list(
        "conversation_id",
        "turn",
        "conversation__channel",
        "conversation__cohort",
        "conversation__attributes",
        "conversation__started_at",
        "annotator_id",
        "value",
        "number",
        "labeled_at",
        "stored_at",
        "item__queue_id",
    )
    held: list[_Row] = []
    for found in columns.iterator(chunk_size=5000):
        conversation, turn, *rest = list[Any](found)
        row = _Row((conversation, turn), *rest)
        if held and held[0].unit != row.unit:
            yield held[0].unit, held
            held = []
        held.append(row)
    if held:
        yield held[0].unit, held


def _answer(signal: Signal, unit: Unit, rows: list[_Row], ruling: Ruling | None, drawn: Mapping[Unit, float]) -> Answer:
    value, number = (ruling.value, ruling.number) if ruling else _agreed(signal, rows)
    first = rows[0]
    times = [row.labeled_at for row in rows if row.labeled_at is not None]
    return Answer(
        unit=unit,
        channel=first.channel,
        cohort=first.cohort,
        attributes=first.attributes,
        value=value or "",
        number=number,
        votes=tuple({row.annotator: row.value for row in rows}.values()),
        labeled_at=max(times) if times else None,
        arrived_at=max(row.labeled_at or row.stored_at for row in rows),
        started_at=first.started_at,
        # One with a label from outside any queue is here for certain.
        weight=1.0 if any(row.queue is None for row in rows) else 1 / drawn.get(unit, 1.0),
    )


def _agreed(signal: Signal, rows: list[_Row]) -> tuple[str | None, float | None]:
    """The one value that most people gave (each counts once, with the latest), or the mean of numbers."""
    latest = {row.annotator: row for row in rows}
    if signal.scale == Signal.Scale.INTERVAL:
        numbers = [row.number for row in latest.values() if row.number is not None]
        mean = math.fsum(numbers) / len(numbers) if numbers else None
        return (None, None) if mean is None else (number_text(mean), mean)
    ranked = Counter(row.value for row in latest.values()).most_common(2)
    tied = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return (None if tied else ranked[0][0]), None
