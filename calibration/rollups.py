"""Predictions counted by day, version and slice, in the transaction that stores them: trends never read rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import QuerySet

from calibration.models import ClassifierVersion, Prediction, PredictionRollup
from labeling import bulk
from labeling.models import Conversation

Cell = tuple[int, date | None, str, str, str, bool]
"""Version, day, channel, cohort, value (or status), failed."""
COLUMNS = ("version", "day", "channel", "cohort", "value", "failed", "count", "total", "total_squares")


OK = str(Prediction.Status.OK)


@dataclass(slots=True)
class Changes:
    """What a batch of predictions adds to, and takes from, the counts; written once, at its end."""

    cells: dict[Cell, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0.0, 0.0]))

    def add(
        self, prediction: Prediction, *, started_at: datetime | None, channel: str, cohort: str, sign: int = 1
    ) -> None:
        """Count one prediction, or with sign -1 take one that it replaces out."""
        moment = prediction.predicted_at or started_at
        self.count(
            version=prediction.version_id,
            day=None if moment is None else moment.date(),
            channel=channel,
            cohort=cohort,
            status=prediction.status,
            value=prediction.value,
            number=prediction.number,
            sign=sign,
        )

    def count(
        self,
        *,
        version: int,
        day: date | None,
        channel: str,
        cohort: str,
        status: str,
        value: str | None,
        number: float | None,
        sign: int = 1,
    ) -> None:
        """The same from plain values."""
        failed = status != OK
        counted = status if failed else "" if number is not None else value or ""
        cell = self.cells[version, day, channel, cohort, counted, failed]
        cell[0] += sign
        if number is not None:
            cell[1] += sign * number
            cell[2] += sign * number * number

    @transaction.atomic
    def write(self) -> None:
        """Add the changes to the table; one writer at a time for each version, so that no count is lost."""
        for version, cells in sorted(_by_version(self.cells).items()):
            ClassifierVersion.objects.select_for_update(no_key=True).get(id=version)
            _write_version(version, cells)
        self.cells.clear()


def _write_version(version: int, cells: dict[Cell, list[float]]) -> None:
    existing = {
        (row.version_id, row.day, row.channel, row.cohort, row.value, row.failed): row
        for row in _of_days(version, {cell[1] for cell in cells})
    }
    fresh: list[tuple[object, ...]] = []
    changed: list[PredictionRollup] = []
    emptied: list[int] = []
    for cell, (count, total, squares) in cells.items():
        row = existing.get(cell)
        if row is None:
            if count:
                fresh.append((*cell, int(count), total, squares))
        elif row.count + count == 0:
            emptied.append(row.id)
        elif count or total or squares:
            row.count, row.total = row.count + int(count), row.total + total
            row.total_squares += squares
            changed.append(row)
    bulk.insert(PredictionRollup, COLUMNS, fresh)
    PredictionRollup.objects.bulk_update(changed, ["count", "total", "total_squares"], batch_size=300)
    PredictionRollup.objects.filter(id__in=emptied).delete()


def _of_days(version: int, days: set[date | None]) -> list[PredictionRollup]:
    """The counts of a version on these days, found by their span: days that follow each other are the rule."""
    known = [day for day in days if day is not None]
    of_version = PredictionRollup.objects.filter(version=version)
    found = list(of_version.filter(day__range=(min(known), max(known)))) if known else []
    return found + (list(of_version.filter(day=None)) if None in days else [])


def _by_version(cells: dict[Cell, list[float]]) -> dict[int, dict[Cell, list[float]]]:
    grouped: dict[int, dict[Cell, list[float]]] = defaultdict(dict)
    for cell, values in cells.items():
        grouped[cell[0]][cell] = values
    return grouped


def held(conversations: QuerySet[Conversation], *columns: str) -> list[tuple[Any, ...]]:
    """Columns of conversations, which stay as they are until the transaction ends: a count names their day and slice.

    Those who count do not wait for each other, only for whoever moves a conversation. SQLite has one writer at a time.
    """
    rows = conversations.order_by("id").values_list(*columns)
    if not connection.features.has_select_for_update:
        return list(rows)
    try:
        sql, parameters = rows.query.sql_with_params()
    except EmptyResultSet:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} FOR SHARE", parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


@contextmanager
def moving(conversations: Sequence[int]) -> Iterator[None]:
    """While conversations change: their predictions leave the counts of the old day and slice and enter the new ones.

    Whoever is storing predictions of them has finished before these are counted: see `held`.
    """
    changes = Changes()
    mine = Conversation.objects.filter(id__in=conversations).order_by("id").select_for_update(no_key=True)
    list(mine.values_list("id"))
    _count_all(conversations, changes, -1)
    yield
    if changes.cells:
        _count_all(conversations, changes, 1)
        changes.write()


def _count_all(conversations: Sequence[int], changes: Changes, sign: int) -> None:
    columns = ("version_id", "predicted_at", "status", "value", "number")
    place = ("conversation__started_at", "conversation__channel", "conversation__cohort")
    rows = Prediction.objects.filter(conversation__in=conversations).values_list(*columns, *place)
    for version, at, status, value, number, started_at, channel, cohort in rows.iterator(chunk_size=5000):
        moment = at or started_at
        changes.count(
            version=version,
            day=None if moment is None else moment.date(),
            channel=channel,
            cohort=cohort,
            status=status,
            value=value,
            number=number,
            sign=sign,
        )
