"""Predictions and outcomes into the database: streaming, idempotent, all of a file or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from calibration import classifiers, fitted, rollups
from calibration.models import Classifier, ClassifierVersion, Outcome, Prediction
from calibration.rollups import Changes
from labeling import bulk
from labeling import ingest as labeling_ingest
from labeling.errors import RowError
from labeling.formats import rows
from labeling.formats.jsonl import Record
from labeling.formats.rows import FieldRefused
from labeling.loading import Kind, KnownSignal, Loaded, check_turn, known_signals, load
from labeling.models import Conversation, Signal
from labeling.values import ValueRefused

PREDICTION_FIELDS = frozenset(
    ["conversation", "turn", "classifier", "version", "signal", "value", "status", "probabilities", "score", "rationale",
     "seconds", "cost", "at", "metadata"]
)  # fmt: skip
OUTCOME_FIELDS = frozenset(["conversation", "customer", "kind", "value", "at", "metadata"])
PREDICTION_COLUMNS = (
    "version", "conversation", "turn", "value", "number", "status", "score", "probabilities", "rationale", "seconds", "cost",
    "predicted_at", "stored_at", "metadata",
)  # fmt: skip
CONTENT = (
    "value",
    "number",
    "status",
    "score",
    "probabilities",
    "rationale",
    "seconds",
    "cost",
    "predicted_at",
    "metadata",
)
# Looked up once: an enumeration's members cost more to reach than the rest of a row's check.
OK, STATUSES = str(Prediction.Status.OK), frozenset(Prediction.Status.values)
TOLERANCE = 0.01
"""How far from 1 the sum of probabilities may lie: three times 0.33 is one third each, rounded."""


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """A prediction as the contract has it; `value` is still as it was given."""

    conversation: str
    turn: int
    classifier: str
    version: str
    signal: str
    value: Any
    status: str
    probabilities: dict[str, Any] | None
    score: float | None
    rationale: str
    seconds: float | None
    cost: float | None
    at: datetime | None
    metadata: dict[str, Any]


def _prediction_row(data: Mapping[str, Any]) -> PredictionRow:
    status = rows.text(data, "status") or OK
    if status not in STATUSES:
        raise FieldRefused("status", f"must be one of {', '.join(sorted(STATUSES))}")
    if status == OK and data.get("value") is None:
        raise FieldRefused("value", "is required: it is missing (a failed prediction has a status instead)")
    if status != OK and data.get("value") is not None:
        raise FieldRefused("value", f"must be null where the status is {status}")
    return PredictionRow(
        conversation=rows.text(data, "conversation", required=True),
        turn=rows.turn(data),
        classifier=rows.text(data, "classifier", required=True, limit=120),
        version=rows.text(data, "version", required=True, limit=120),
        signal=rows.text(data, "signal"),
        value=data.get("value"),
        status=status,
        probabilities=rows.mapping(data, "probabilities") or None,
        score=rows.number(data, "score"),
        rationale=rows.text(data, "rationale"),
        seconds=rows.number(data, "seconds", low=0),
        cost=rows.number(data, "cost", low=0),
        at=rows.moment(data, "at"),
        metadata=_kept(data, PREDICTION_FIELDS),
    )


def _kept(data: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The metadata of a row, once it is sure that they can be stored."""
    found = rows.metadata(data, known)
    if found:
        rows.json_text(found, "metadata")
    return found


def conversations(*, records: Iterable[Record | RowError], partial: bool = False) -> Loaded:
    """Store conversations, and keep the counts of their predictions where an update moves them to another day or slice."""
    return labeling_ingest.conversations(records=records, partial=partial, moving=rollups.moving)


def predictions(*, records: Iterable[Record | RowError], partial: bool = False) -> Loaded:
    """Store predictions of pinned versions, and count them in the rollups of their day.

    A classifier or version seen for the first time is registered, as one whose predictions are loaded; it needs `signal`.
    """
    book = _PredictionBook(known_signals())
    return load(
        records,
        Kind(
            parse=_prediction_row,
            key=lambda row: f"{row.conversation}\0{row.turn}\0{row.classifier}\0{row.version}",
            key_field="conversation",
            check=book.check,
            write=book.write,
            finish=book.changes.write,
        ),
        partial=partial,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """What a prediction needs to know of its conversation."""

    id: int
    turn_count: int
    started_at: datetime | None
    channel: str
    cohort: str


@dataclass(frozen=True, slots=True)
class _Ready:
    """A prediction that may be stored."""

    row: PredictionRow
    place: _Place
    version: int
    value: str | None
    number: float | None

    @property
    def key(self) -> tuple[int, int, int]:
        return (self.version, self.place.id, self.row.turn)

    def content(self) -> tuple[Any, ...]:
        """The values of CONTENT."""
        row = self.row
        return (
            self.value, self.number, row.status, row.score, row.probabilities, row.rationale, row.seconds, row.cost, row.at,
            row.metadata,
        )  # fmt: skip


class _PredictionBook:
    """The predictions of one load: what is looked up once, and the two steps of each batch."""

    def __init__(self, signals: dict[str, KnownSignal]) -> None:
        self.signals = signals
        self.signal_of: dict[str, KnownSignal] = {}
        self.versions: dict[tuple[str, str], int] = {}
        self.older: set[int] = set()
        self.changes = Changes()

    def check(self, batch: Sequence[tuple[int, PredictionRow]]) -> list[_Ready | RowError]:
        places = _places((row.conversation for _, row in batch), held=True)
        ready = [self._checked(line, row, places) for line, row in batch]
        homes = {place.id for place in places.values()}
        learned = fitted.any_of(set(self.versions.values()))
        known = {(version, key) for version in learned for key in fitted.among(version, homes)}
        if not known:
            return ready
        return [
            RowError(
                line, "conversation", f"{row.conversation!r} is one that {row.classifier}@{row.version} was fitted on"
            )
            if isinstance(one, _Ready) and (one.version, one.place.id) in known
            else one
            for (line, row), one in zip(batch, ready, strict=True)
        ]

    def _checked(self, line: int, row: PredictionRow, places: dict[str, _Place]) -> _Ready | RowError:
        signal = self._signal(row)
        if isinstance(signal, str):
            field = "signal" if classifiers.SLUG.match(row.classifier) else "classifier"
            return RowError(line, field, signal)
        place = places.get(row.conversation)
        if place is None:
            return RowError(line, "conversation", f"there is no conversation {row.conversation!r}")
        wrong = check_turn(row.turn, signal=signal, conversation=row.conversation, turn_count=place.turn_count)
        if wrong:
            return RowError(line, "turn", wrong)
        value, number = None, None
        if row.status == OK:
            try:
                value, number = signal.scale.encode(row.value)
            except ValueRefused as error:
                return RowError(line, "value", str(error))
        wrong = _wrong_probabilities(row.probabilities, signal) if row.probabilities else None
        if wrong:
            return RowError(line, "probabilities", wrong)
        if not classifiers.VERSION.match(row.version):
            return RowError(line, "version", f"{row.version!r} is no name of a version: no spaces, @ or /")
        return _Ready(row, place, self._version(row), value, number)

    def _signal(self, row: PredictionRow) -> KnownSignal | str:
        """The signal of a row's classifier, or what is wrong with it."""
        known = self.signal_of.get(row.classifier)
        if known is None:
            if not classifiers.SLUG.match(row.classifier):
                return f"the classifier's name {row.classifier!r} may have letters, digits, - _ and . only"
            classifier = Classifier.objects.filter(slug=row.classifier).select_related("signal").first()
            slug = classifier.signal.slug if classifier else row.signal
            if not slug:
                return f"is required: the classifier {row.classifier!r} is seen for the first time"
            known = self.signals.get(slug)
            if known is None:
                return f"there is no signal {slug!r}"
            self.signal_of[row.classifier] = known
        if row.signal and row.signal != known.slug:
            return f"{row.classifier} scores {known.slug}, not {row.signal}"
        return known

    def _version(self, row: PredictionRow) -> int:
        key = (row.classifier, row.version)
        if key not in self.versions:
            signal = Signal.objects.get(id=self.signal_of[row.classifier].id)
            classifier, _ = Classifier.objects.get_or_create(
                slug=row.classifier, defaults={"title": row.classifier, "signal": signal}
            )
            existing = ClassifierVersion.objects.filter(classifier=classifier, version=row.version).first()
            if existing is None:
                existing, _ = classifiers.register(
                    classifier=classifier, version=row.version, content={"kind": "loaded"}
                )
            elif Prediction.objects.filter(version=existing).exists():
                self.older.add(existing.id)
            self.versions[key] = existing.id
        return self.versions[key]

    def write(self, batch: Sequence[_Ready], loaded: Loaded) -> None:
        # What a version that had scored nothing before is said to have said is new: a key stands once in a file.
        existing = _existing([one for one in batch if one.version in self.older])
        now = bulk.at(timezone.now())
        fresh: list[_Ready] = []
        changed: list[Prediction] = []
        for one in batch:
            before = existing.get(one.key)
            if before is None:
                fresh.append(one)
            elif before[1:] == one.content():
                loaded.unchanged += 1
                continue
            else:
                value, number, status, *_, at, _ = before[1:]
                self._count(one, value=value, number=number, status=status, at=at, sign=-1)
                content = dict(zip(CONTENT, one.content(), strict=True))
                changed.append(
                    Prediction(id=before[0], version_id=one.version, conversation_id=one.place.id, **content)
                )
            row = one.row
            self._count(one, value=one.value, number=one.number, status=row.status, at=row.at, sign=1)
        bulk.insert(Prediction, PREDICTION_COLUMNS, [_values(one, now) for one in fresh])
        Prediction.objects.bulk_update(changed, CONTENT, batch_size=300)
        loaded.created += len(fresh)
        loaded.updated += len(changed)

    def _count(self, one: _Ready, *, at: datetime | None, sign: int, **answer: Any) -> None:
        place = one.place
        moment = at or place.started_at
        day = None if moment is None else moment.date()
        self.changes.count(
            version=one.version, day=day, channel=place.channel, cohort=place.cohort, sign=sign, **answer
        )


def _places(external_ids: Iterable[str], *, held: bool = False) -> dict[str, _Place]:
    """Where conversations are; `held` there until the load is done, for what is counted by it."""
    found = Conversation.objects.filter(external_id__in=list(set(external_ids)))
    columns = ("external_id", "id", "turn_count", "started_at", "channel", "cohort")
    read = rollups.held(found, *columns) if held else found.values_list(*columns)
    return {name: _Place(*place) for name, *place in read}


def _existing(batch: Sequence[_Ready]) -> dict[tuple[int, int, int], tuple[Any, ...]]:
    """The stored predictions of the batch's units: (version, conversation, turn) → id and the values of CONTENT.

    They are held until the load is done: what one answer takes from the counts must be what it replaces, though another
    load replaces the same one.
    """
    versions, units = {one.version for one in batch}, {one.place.id for one in batch}
    if not batch:
        return {}
    found = Prediction.objects.filter(version__in=versions, conversation__in=units).order_by("id")
    columns = found.select_for_update(no_key=True).values_list("version_id", "conversation_id", "turn", "id", *CONTENT)
    wanted = {one.key for one in batch}
    return {
        (version, home, turn): tuple(rest) for version, home, turn, *rest in columns if (version, home, turn) in wanted
    }


def _values(one: _Ready, now: Any) -> tuple[Any, ...]:
    row = one.row
    probabilities = None if row.probabilities is None else rows.json_text(row.probabilities, "probabilities")
    return (
        one.version, one.place.id, row.turn, one.value, one.number, row.status, row.score, probabilities, row.rationale,
        row.seconds, row.cost, bulk.at(row.at), now, rows.json_text(row.metadata, "metadata") if row.metadata else "{}",
    )  # fmt: skip


def _wrong_probabilities(given: Mapping[str, Any], signal: KnownSignal) -> str | None:
    """What is wrong with the probabilities of a prediction, if so; those of several labels need not add up."""
    if signal.scale.kind == "interval":
        return "are for signals with categories; an interval signal has none"
    for category, chance in given.items():
        if category not in signal.scale.values:
            return f"{category!r} is not one of the categories of {signal.slug}"
        if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
            return f"of {category!r} must be a number between 0 and 1, is {chance!r}"
    total = sum(given.values())
    if signal.scale.kind != "multilabel" and abs(total - 1) > TOLERANCE + 1e-9:
        return f"must sum to 1; their sum is {total:.4g}"
    return None


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """An outcome as the contract has it."""

    conversation: str
    customer: str
    kind: str
    value: float
    at: datetime | None
    metadata: dict[str, Any]

    @property
    def key(self) -> str:
        """What makes an outcome the same one: whose, which kind, when."""
        parts = [self.conversation, self.customer, self.kind, self.at.isoformat() if self.at else ""]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _outcome_row(data: Mapping[str, Any]) -> OutcomeRow:
    kind = rows.text(data, "kind", required=True)
    if kind not in Outcome.Kind.values:
        raise FieldRefused("kind", f"{kind!r} is not one of {', '.join(Outcome.Kind.values)}")
    if data.get("value") is None:
        raise FieldRefused("value", "is required: it is missing")
    value = 1.0 if data["value"] is True else 0.0 if data["value"] is False else data["value"]
    row = OutcomeRow(
        conversation=rows.text(data, "conversation"),
        customer=rows.text(data, "customer", limit=200),
        kind=kind,
        value=rows.finite(value, "value"),
        at=rows.moment(data, "at"),
        metadata=_kept(data, OUTCOME_FIELDS),
    )
    if not row.conversation and not row.customer:
        raise FieldRefused("conversation", "is required where there is no customer: one of them must be named")
    return row


def outcomes(*, records: Iterable[Record | RowError], partial: bool = False) -> Loaded:
    """Store verified outcomes of conversations or customers."""
    return load(
        records,
        Kind(
            parse=_outcome_row, key=lambda row: row.key, key_field="kind", check=_check_outcomes, write=_write_outcomes
        ),
        partial=partial,
    )


def _check_outcomes(batch: Sequence[tuple[int, OutcomeRow]]) -> list[tuple[OutcomeRow, _Place | None] | RowError]:
    places = _places(row.conversation for _, row in batch if row.conversation)
    ready: list[tuple[OutcomeRow, _Place | None] | RowError] = []
    for line, row in batch:
        if row.conversation and row.conversation not in places:
            ready.append(RowError(line, "conversation", f"there is no conversation {row.conversation!r}"))
        else:
            ready.append((row, places.get(row.conversation)))
    return ready


def _write_outcomes(batch: Sequence[tuple[OutcomeRow, _Place | None]], loaded: Loaded) -> None:
    existing = {row.key: row for row in Outcome.objects.filter(key__in=[row.key for row, _ in batch])}
    fresh, changed = [], []
    for row, place in batch:
        before = existing.get(row.key)
        if before is None:
            fresh.append(
                Outcome(
                    key=row.key,
                    conversation_id=place.id if place else None,
                    customer=row.customer,
                    kind=row.kind,
                    value=row.value,
                    at=row.at,
                    metadata=row.metadata,
                )
            )
        elif (before.value, before.metadata) == (row.value, row.metadata):
            loaded.unchanged += 1
        else:
            before.value, before.metadata = row.value, row.metadata
            changed.append(before)
    Outcome.objects.bulk_create(fresh, batch_size=500)
    Outcome.objects.bulk_update(changed, ["value", "metadata"], batch_size=300)
    loaded.created += len(fresh)
    loaded.updated += len(changed)
