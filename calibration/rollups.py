"""Predictions counted by day, version and slice, in the transaction that stores them: trends never read rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db import transaction

from calibration.models import ClassifierVersion, Prediction, PredictionRollup

Cell = tuple[int, date | None, str, str, str, bool]
"""Version, day, channel, cohort, value (or status), failed."""


@dataclass(slots=True)
class Changes:
    """What a batch of predictions adds to, and takes from, the counts; written once, at its end."""

    cells: dict[Cell, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0.0, 0.0]))

    def add(
        self, prediction: Prediction, *, started_at: datetime | None, channel: str, cohort: str, sign: int = 1
    ) -> None:
        """Count one prediction, or with sign -1 take one that it replaces out."""
        moment = prediction.predicted_at or started_at
        failed = prediction.status != Prediction.Status.OK
        number = prediction.number
        value = prediction.status if failed else "" if number is not None else (prediction.value or "")[:200]
        day = None if moment is None else moment.date()
        cell = self.cells[prediction.version_id, day, channel, cohort, value, failed]
        cell[0] += sign
        cell[1] += sign * (number or 0.0)
        cell[2] += sign * (number or 0.0) ** 2

    @transaction.atomic
    def write(self) -> None:
        """Add the changes to the table; one writer at a time for each version."""
        for version, cells in _by_version(self.cells).items():
            ClassifierVersion.objects.select_for_update().get(id=version)
            days = {cell[1] for cell in cells}
            existing = {
                (row.version_id, row.day, row.channel, row.cohort, row.value, row.failed): row
                for row in PredictionRollup.objects.filter(version=version)
                if row.day in days
            }
            fresh, changed = [], []
            for cell, (count, total, squares) in cells.items():
                row = existing.get(cell)
                if row is None:
                    names = ("version_id", "day", "channel", "cohort", "value", "failed")
                    named = dict(zip(names, cell, strict=True))
                    fresh.append(PredictionRollup(**named, count=int(count), total=total, total_squares=squares))
                elif count or total or squares:
                    row.count, row.total = row.count + int(count), row.total + total
                    row.total_squares += squares
                    changed.append(row)
            PredictionRollup.objects.bulk_create(fresh, batch_size=1000)
            PredictionRollup.objects.bulk_update(changed, ["count", "total", "total_squares"], batch_size=500)
        self.cells.clear()


def _by_version(cells: dict[Cell, list[float]]) -> dict[int, dict[Cell, list[float]]]:
    grouped: dict[int, dict[Cell, list[float]]] = defaultdict(dict)
    for cell, values in cells.items():
        grouped[cell[0]][cell] = values
    return grouped


@transaction.atomic
def rebuild(*, versions: Iterable[int]) -> None:
    """Count the predictions of these versions anew: after their conversations have moved to another slice or day."""
    for version in versions:
        ClassifierVersion.objects.select_for_update().get(id=version)
        PredictionRollup.objects.filter(version=version).delete()
        changes = Changes()
        rows = Prediction.objects.filter(version=version).select_related("conversation")
        columns = ("version", "status", "number", "value", "predicted_at")
        conversation = ("conversation__started_at", "conversation__channel", "conversation__cohort")
        for row in rows.only(*columns, *conversation).iterator(chunk_size=5000):
            of = row.conversation
            changes.add(row, started_at=of.started_at, channel=of.channel, cohort=of.cohort)
        changes.write()
