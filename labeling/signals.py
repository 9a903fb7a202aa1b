"""Signals from a document: what is measured, on which scale, with which guideline. All of it applies, or nothing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from django.db import models, transaction

from labeling.errors import Conflict, Refused, RowError
from labeling.formats import jsonl
from labeling.models import Category, GoldRow, Guideline, Label, Ruling, Signal, User

READY_MADE = Path(__file__).with_name("ready_made.yaml")
SLUG = re.compile(r"^[-a-zA-Z0-9_]{1,80}$")
KNOWN = {"slug", "title", "scale", "unit", "categories", "trust", "guideline", "min", "max"}
CATEGORY_KNOWN = {"value", "label", "key", "score"}


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a document, by slug."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]


class _Entry:
    """One entry of the document, read field by field; what is wrong is collected with the entry's number."""

    def __init__(self, number: int, data: Any) -> None:
        self.number = number
        self.errors: list[RowError] = []
        self.data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        if not isinstance(data, dict):
            self.wrong(None, "must be a mapping with slug, title, scale …")
        elif isinstance(wrong := jsonl.checked(data, number), RowError):
            self.errors.append(wrong)
        for name in self.data.keys() - KNOWN:
            self.wrong(str(name), f"is not a field of a signal; known are {', '.join(sorted(KNOWN))}")

    def wrong(self, field: str | None, message: str) -> None:
        self.errors.append(RowError(self.number, field, message))

    def text(self, field: str, *, default: str | None = None, limit: int = 200) -> str:
        value = self.data.get(field, default)
        if not isinstance(value, str) or not value.strip():
            self.wrong(field, "is required: a text")
            return ""
        if len(value) > limit:
            self.wrong(field, f"is longer than {limit} characters")
        return value

    def choice(self, field: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.data.get(field, default)
        if value not in choices:
            self.wrong(field, f"must be one of {', '.join(choices)}, got {value!r}")
            return str(choices[0])
        return str(value)

    def number_or_none(self, source: Mapping[str, Any], field: str, name: str | None = None) -> float | None:
        value = source.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(name or field, f"must be a number, got {value!r}")
            return None
        return float(value)


@dataclass(frozen=True, slots=True)
class _Signal:
    """A signal as the document has it, checked."""

    fields: dict[str, Any]
    categories: tuple[dict[str, Any], ...]
    guideline: str


def read(text: str) -> list[Any]:
    """The entries of a YAML (or JSON) document; raises Refused with the line where it is broken."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        row = RowError(line, None, f"is not YAML: {getattr(error, 'problem', None) or error}")
        raise Refused("bad_yaml", "the document cannot be read", errors=[row]) from error
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list) or not document:
        raise Refused("bad_document", "the document must be a list of signals")
    return document


def apply(*, document: Sequence[Any], by: User | None = None) -> Applied:
    """Create or update signals; raises Refused with an error for each entry and field at fault, and then nothing changes.

    A change that would orphan labels is refused: another scale or unit, a category that labels or gold use taken away.
    A guideline with another text becomes its next version.
    """
    parsed, errors = [], []
    seen: set[str] = set()
    for number, data in enumerate(document, 1):
        entry = _Entry(number, data)
        signal = _parse(entry)
        if signal.fields["slug"] in seen:
            entry.wrong("slug", f"{signal.fields['slug']!r} stands twice in the document")
        seen.add(signal.fields["slug"])
        errors += entry.errors
        parsed.append(signal)
    if errors:
        raise Refused("bad_signals", "nothing was changed", errors=errors)
    done: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": []}
    with transaction.atomic():
        for signal in parsed:
            done[_store(signal, by)].append(signal.fields["slug"])
    return Applied(*(tuple(done[word]) for word in ("created", "updated", "unchanged")))


def _parse(entry: _Entry) -> _Signal:
    slug = entry.text("slug", limit=80)
    if slug and not SLUG.match(slug):
        entry.wrong("slug", "may have letters, digits, - and _ only")
    scale = entry.choice("scale", Signal.Scale.values)
    trust = entry.data.get("trust") or {}
    if not isinstance(trust, dict) or trust.keys() - {"statistic", "at_least"}:
        entry.wrong("trust", "must be {statistic, at_least}")
        trust = {}
    statistic = trust.get("statistic", "alpha" if scale in ("interval", "multilabel") else "kappa")
    if statistic not in Signal.Statistic.values:
        entry.wrong("trust", f"statistic must be one of {', '.join(Signal.Statistic.values)}, got {statistic!r}")
    at_least = entry.number_or_none(trust, "at_least", "trust")
    if at_least is not None and not -1 <= at_least <= 1:
        entry.wrong("trust", "at_least lies between -1 and 1")
    low, high = entry.number_or_none(entry.data, "min"), entry.number_or_none(entry.data, "max")
    if scale != "interval" and (low is not None or high is not None):
        entry.wrong("min", f"min and max are for interval signals; this one is {scale}")
    if low is not None and high is not None and low >= high:
        entry.wrong("max", "must be above min")
    guideline = entry.data.get("guideline") or ""
    if not isinstance(guideline, str):
        entry.wrong("guideline", "must be a text")
        guideline = ""
    fields = {
        "slug": slug,
        "title": entry.text("title", default=slug or None),
        "scale": scale,
        "unit": entry.choice("unit", Signal.Unit.values, Signal.Unit.CONVERSATION),
        "minimum": low,
        "maximum": high,
        "trust_statistic": str(statistic),
        "trust_at_least": 0.6 if at_least is None else at_least,
    }
    return _Signal(fields, _categories(entry, scale), guideline.strip())


def _categories(entry: _Entry, scale: str) -> tuple[dict[str, Any], ...]:
    given = entry.data.get("categories") or []
    if any(error.field == "scale" for error in entry.errors):
        return ()  # what its categories must be is not known
    if not isinstance(given, list):
        entry.wrong("categories", "must be a list")
        return ()
    if scale == "interval":
        if given:
            entry.wrong("categories", "an interval signal has none: give min and max")
        return ()
    if len(given) < 2 or (scale == "binary" and len(given) != 2):
        entry.wrong("categories", "exactly two are needed" if scale == "binary" else "at least two are needed")
    found = [_category(entry, number, data) for number, data in enumerate(given)]
    for field in ("value", "key"):
        used = [category[field] for category in found if category[field]]
        for twice in sorted({word for word in used if used.count(word) > 1}):
            entry.wrong("categories", f"{field} {twice!r} stands twice")
    return tuple(found)


def _category(entry: _Entry, number: int, data: Any) -> dict[str, Any]:
    where = f"categories.{number}"
    if isinstance(data, str):
        data = {"value": data}
    if not isinstance(data, dict):
        entry.wrong(where, "must be a mapping with value, label, key, score")
        return {"value": "", "label": "", "key": "", "score": None}
    for name in data.keys() - CATEGORY_KNOWN:
        entry.wrong(f"{where}.{name}", f"is not a field of a category; known are {', '.join(sorted(CATEGORY_KNOWN))}")
    value = data.get("value")
    if not isinstance(value, str) or not value or len(value) > 100:
        entry.wrong(f"{where}.value", f"must be a text of 1 to 100 characters (quote it), got {value!r}")
        value = ""
    key = data.get("key", "")
    if not isinstance(key, str) or len(key) > 1:
        entry.wrong(f"{where}.key", f"must be one character (quote it), got {key!r}")
        key = ""
    label = data.get("label") or value
    score = entry.number_or_none(data, "score", f"{where}.score")
    return {"value": value, "label": str(label)[:200], "key": key, "score": score}


def _store(wanted: _Signal, by: User | None) -> str:
    """Returns created, updated or unchanged."""
    signal = Signal.objects.select_for_update().filter(slug=wanted.fields["slug"]).first()
    if signal is None:
        signal = Signal.objects.create(**wanted.fields)
        _write_categories(signal, wanted.categories)
        _write_guideline(signal, wanted.guideline, by)
        return "created"
    changed = _changed_fields(signal, wanted)
    for field in changed:
        setattr(signal, field, wanted.fields[field])
    if changed:
        signal.save(update_fields=changed)
    recategorised = _recategorise(signal, wanted.categories)
    rewritten = _write_guideline(signal, wanted.guideline, by)
    return "updated" if changed or recategorised or rewritten else "unchanged"


def _changed_fields(signal: Signal, wanted: _Signal) -> list[str]:
    changed = [name for name, value in wanted.fields.items() if getattr(signal, name) != value]
    if {"scale", "unit"} & set(changed):
        _refuse_when_held(signal, "scale" if "scale" in changed else "unit")
    if {"minimum", "maximum"} & set(changed):
        outside = signal.labels.none()
        if wanted.fields["minimum"] is not None:
            outside = outside | signal.labels.filter(number__lt=wanted.fields["minimum"])
        if wanted.fields["maximum"] is not None:
            outside = outside | signal.labels.filter(number__gt=wanted.fields["maximum"])
        if outside.exists():
            raise Conflict("would_orphan_labels", f"labels of {signal.slug} lie outside the new range", field="min")
    return changed


def _refuse_when_held(signal: Signal, field: str) -> None:
    """Scale, unit and the order of an ordinal or multilabel scale hold for everything that was ever said of the signal:
    whatever protects it, of whichever app, says so by its foreign key."""
    for relation in signal._meta.get_fields(include_hidden=True):
        if not isinstance(relation, models.ManyToOneRel) or relation.on_delete is not models.PROTECT:
            continue
        model: Any = relation.related_model
        count = model._base_manager.filter(**{relation.field.name: signal}).count()
        if count:
            raise Conflict(
                "would_orphan_labels",
                f"{signal.slug} has {count} {model._meta.verbose_name_plural}: its {field} cannot change so; make another "
                "signal",
                field=field,
            )


def _recategorise(signal: Signal, wanted: Sequence[dict[str, Any]]) -> bool:
    now: list[dict[str, Any]] = [
        {"value": category.value, "label": category.label, "key": category.key, "score": category.score}
        for category in signal.categories.all()
    ]
    if now == list(wanted):
        return False
    gone = {category["value"] for category in now} - {category["value"] for category in wanted}
    for value in sorted(gone):
        if _used(signal, value):
            raise Conflict(
                "would_orphan_labels",
                f"the category {value!r} of {signal.slug} is used by labels or gold and cannot go",
                field="categories",
            )
    kept = [category["value"] for category in wanted if category["value"] not in gone]
    before = [category["value"] for category in now if category["value"] in kept]
    if signal.scale in (Signal.Scale.ORDINAL, Signal.Scale.MULTILABEL) and before != [v for v in kept if v in before]:
        _refuse_when_held(signal, "categories")
    signal.categories.all().delete()
    _write_categories(signal, wanted)
    return True


def _used(signal: Signal, value: str) -> bool:
    """Whether any label, ruling or gold row answers with `value`; in a multilabel answer it stands as JSON text."""
    text = json.dumps(value, ensure_ascii=False)
    lookup = {"value__contains": text} if signal.scale == Signal.Scale.MULTILABEL else {"value": value}
    said = Label.objects.filter(signal=signal, **lookup), Ruling.objects.filter(signal=signal, **lookup)
    frozen = GoldRow.objects.filter(version__dataset__signal=signal, **lookup)
    return any(found.exists() for found in (*said, frozen))


def _write_categories(signal: Signal, wanted: Sequence[dict[str, Any]]) -> None:
    Category.objects.bulk_create(
        Category(signal=signal, position=position, **category) for position, category in enumerate(wanted)
    )


def _write_guideline(signal: Signal, text: str, by: User | None) -> bool:
    newest = signal.guidelines.first()
    if not text or (newest is not None and newest.text == text):
        return False
    version = 1 if newest is None else newest.version + 1
    Guideline.objects.create(signal=signal, version=version, text=text, created_by=by)
    return True
