"""What a queue asks: its signals in order, each with its scale, its categories and the guideline in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Subquery

from labeling.models import Guideline, Queue, QueueSignal
from labeling.values import Scale


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


def asked(queue_id: int) -> tuple[Question, ...]:
    """The questions of a queue in their order; one query, with a row for each category."""
    newest = Guideline.objects.filter(signal=OuterRef("signal")).order_by("-version")
    rows = (
        QueueSignal.objects.filter(queue=queue_id)
        .order_by("position", "id", "signal__categories__position")
        .values(
            "signal_id",
            "signal__slug",
            "signal__title",
            "signal__unit",
            "signal__scale",
            "signal__minimum",
            "signal__maximum",
            "signal__categories__value",
            "signal__categories__label",
            "signal__categories__key",
            "signal__categories__score",
            guideline=Subquery(newest.values("id")[:1]),
            guideline_version=Subquery(newest.values("version")[:1]),
        )
    )
    by_signal: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_signal.setdefault(row["signal_id"], []).append(row)
    return tuple(_question(group) for group in by_signal.values())


def _question(rows: list[Mapping[str, Any]]) -> Question:
    first = rows[0]
    categories = [row for row in rows if row["signal__categories__value"] is not None]
    scale = Scale(
        kind=first["signal__scale"],
        values=tuple(row["signal__categories__value"] for row in categories),
        scores=tuple(row["signal__categories__score"] for row in categories),
        minimum=first["signal__minimum"],
        maximum=first["signal__maximum"],
    )
    choices = tuple(
        {name: row[f"signal__categories__{name}"] for name in ("value", "label", "key")} for row in categories
    )
    return Question(
        signal_id=first["signal_id"],
        slug=first["signal__slug"],
        title=first["signal__title"],
        unit=first["signal__unit"],
        scale=scale,
        choices=choices,
        guideline_id=first["guideline"],
        guideline_version=first["guideline_version"],
    )


def guidelines(queue: Queue) -> list[dict[str, Any]]:
    """The instructions to read, one for each question; apart from the items, since they are long and seldom change."""
    newest = Guideline.objects.filter(signal=OuterRef("signal")).order_by("-version")
    rows = queue.queue_signals.order_by("position", "id").values_list(
        "signal__slug", "signal__title", Subquery(newest.values("version")[:1]), Subquery(newest.values("text")[:1])
    )
    return [
        {"signal": slug, "title": title, "version": version, "text": text or ""} for slug, title, version, text in rows
    ]
