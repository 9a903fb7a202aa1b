"""Forms of the labelling pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.http import QueryDict

from labeling.errors import Refused
from labeling.models import Signal
from labeling.values import number_text

SPARE = 3
"""Empty rows for further categories."""
CATEGORY_FIELDS = ("value", "label", "key", "score")


@dataclass
class SignalForm:
    """A signal as text fields, in the terms of the YAML document that the verb reads. Errors by field; "" for the whole."""

    fields: dict[str, str]
    categories: list[dict[str, str]]
    errors: dict[str, list[str]] = field(default_factory=dict)
    scales: ClassVar = Signal.Scale.values
    units: ClassVar = Signal.Unit.values
    statistics: ClassVar = Signal.Statistic.choices

    @classmethod
    def of(cls, signal: Signal | None) -> SignalForm:
        """The form of a stored signal, or an empty one."""
        if signal is None:
            fields = {"scale": "nominal", "unit": "conversation", "statistic": "kappa", "at_least": "0.6"}
            return cls(fields, _spare([]))
        fields = {
            "slug": signal.slug,
            "title": signal.title,
            "scale": signal.scale,
            "unit": signal.unit,
            "min": _text(signal.minimum),
            "max": _text(signal.maximum),
            "statistic": signal.trust_statistic,
            "at_least": _text(signal.trust_at_least),
        }
        rows = [
            {"value": row.value, "label": row.label, "key": row.key, "score": _text(row.score)}
            for row in signal.categories.all()
        ]
        return cls(fields, _spare(rows))

    @classmethod
    def posted(cls, data: QueryDict, *, slug: str | None) -> SignalForm:
        """The form as it came back; a stored signal keeps its name."""
        names = ("slug", "title", "scale", "unit", "min", "max", "statistic", "at_least", "guideline")
        fields = {name: data.get(name, "").strip() for name in names}
        if slug is not None:
            fields["slug"] = slug
        columns = [data.getlist(f"category-{name}") for name in CATEGORY_FIELDS]
        rows = [
            dict(zip(CATEGORY_FIELDS, (text.strip() for text in row), strict=True))
            for row in zip(*columns, strict=False)
            if any(text.strip() for text in row)
        ]
        return cls(fields, _spare(rows))

    def document(self) -> dict[str, Any]:
        """The entry that the verb reads; raises Refused where a number is not one."""
        told = self.fields
        entry: dict[str, Any] = {name: told[name] for name in ("slug", "title", "scale", "unit")}
        entry["trust"] = {"statistic": told["statistic"], "at_least": self._number(told["at_least"], "at_least")}
        if told["scale"] == Signal.Scale.INTERVAL:
            entry |= {name: self._number(told[name], name) for name in ("min", "max") if told[name]}
        else:
            rows = [row for row in self.categories if any(row.values())]
            entry["categories"] = [self._category(number, row) for number, row in enumerate(rows)]
        if told.get("guideline"):
            entry["guideline"] = told["guideline"]
        return entry

    def refuse(self, refused: Refused) -> None:
        """Put what was refused beside the fields at fault."""
        for row in refused.errors:
            self.errors.setdefault(row.field or "", []).append(row.message)
        if not refused.errors:
            self.errors.setdefault(refused.field or "", []).append(refused.message)

    @property
    def wrong(self) -> list[tuple[str, str]]:
        """Every error as (field, sentence), for the list above the form."""
        return [(name, text) for name, texts in self.errors.items() for text in texts]

    @staticmethod
    def _category(number: int, row: dict[str, str]) -> dict[str, Any]:
        entry: dict[str, Any] = {name: row[name] for name in ("value", "label", "key") if row[name]}
        if row["score"]:
            entry["score"] = SignalForm._number(row["score"], f"categories.{number}.score")
        return entry

    @staticmethod
    def _number(text: str, name: str) -> float:
        try:
            return float(text.replace(",", "."))
        except ValueError:
            raise Refused("not_a_number", f"{text!r} is not a number", field=name) from None


def _text(number: float | None) -> str:
    return "" if number is None else number_text(number)


def _spare(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [*rows, *(dict.fromkeys(CATEGORY_FIELDS, "") for _ in range(SPARE))]
