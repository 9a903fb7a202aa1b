"""What a queue asks: its signals in order, each with its scale, its categories and the guideline in force."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connection
from django.db.models import OuterRef, Subquery

from labeling.models import Guideline, Queue
from labeling.values import Scale

LONG_LIST = 12


@dataclass(frozen=True, slots=True)
class Question:
    """One signal of a queue as plain values."""

    signal_id: int
    slug: str
    title: str
    unit: str
    scale: Scale
    choices: tuple[dict[str, str], ...]
    guideline_id: int | None
    guideline_version: int | None

    @property
    def on_keys(self) -> list[dict[str, str]]:
        """The choices with a digit for those without a key of their own, where ten keys are enough for all of them."""
        used = {choice["key"] for choice in self.choices}
        spare = iter([digit for digit in "1234567890" if digit not in used])
        few = len(self.choices) <= len("1234567890")
        return [choice | {"key": choice["key"] or (next(spare, "") if few else "")} for choice in self.choices]

    @property
    def is_long(self) -> bool:
        """Whether the choices are so many that one types to find one."""
        return len(self.choices) > LONG_LIST

    @property
    def step(self) -> float:
        """Of the slider of an interval scale with both ends."""
        low, high = self.scale.minimum or 0.0, self.scale.maximum or 0.0
        return 1 if high - low > 20 else (high - low) / 100

    def as_dict(self) -> dict[str, Any]:
        """In the words of the signals contract; `signal` is the name that an answer uses for the slug."""
        return {
            "signal": self.slug,
            "slug": self.slug,
            "title": self.title,
            "scale": self.scale.kind,
            "unit": self.unit,
            "min": self.scale.minimum,
            "max": self.scale.maximum,
            "categories": list(self.choices),
            "guideline_version": self.guideline_version,
        }


# Written out like the questions of `leasing`: asked for each item that is served and each answer that comes in.
ASKED = """
SELECT s.id, s.slug, s.title, s.unit, s.scale, s.minimum, s.maximum, g.id, g.version, c.value, c.label, c.key, c.score
FROM labeling_queuesignal a
JOIN labeling_signal s ON s.id = a.signal_id
LEFT JOIN labeling_category c ON c.signal_id = s.id
LEFT JOIN labeling_guideline g ON g.signal_id = s.id
  AND g.version = (SELECT max(n.version) FROM labeling_guideline n WHERE n.signal_id = s.id)
WHERE a.queue_id = %s
ORDER BY a.position, a.id, c.position
"""


def asked(queue_id: int) -> tuple[Question, ...]:
    """The questions of a queue in their order; one query, with a row for each category."""
    with connection.cursor() as cursor:
        cursor.execute(ASKED, [queue_id])
        rows = cursor.fetchall()
    return tuple(_question(list(group)) for _, group in groupby(rows, key=itemgetter(0)))


def _question(rows: list[tuple[Any, ...]]) -> Question:
    signal_id, slug, title, unit, kind, minimum, maximum, guideline_id, version = rows[0][:9]
    categories = [row[9:] for row in rows if row[9] is not None]
    scale = Scale(
        kind=kind,
        values=tuple(value for value, *_ in categories),
        scores=tuple(score for *_, score in categories),
        minimum=minimum,
        maximum=maximum,
    )
    return Question(
        signal_id=signal_id,
        slug=slug,
        title=title,
        unit=unit,
        scale=scale,
        choices=tuple({"value": value, "label": label, "key": key} for value, label, key, _ in categories),
        guideline_id=guideline_id,
        guideline_version=version,
    )


def guidelines(queue: Queue) -> list[dict[str, Any]]:
    """The instructions to read, one for each question; apart from the items, since they are long and seldom change."""
    newest = Guideline.objects.filter(signal=OuterRef("signal")).order_by("-version")
    rows = queue.queue_signals.order_by("position", "id").values_list(
        "signal_id",
        "signal__slug",
        "signal__title",
        Subquery(newest.values("version")[:1]),
        Subquery(newest.values("text")[:1]),
    )
    names = ("signal_id", "signal", "title", "version", "text")
    return [dict(zip(names, row, strict=True)) | {"text": row[-1] or ""} for row in rows]
