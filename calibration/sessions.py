"""Stored spans → conversations and predictions: a function of all spans known so far, in whatever order they came.

What a session, a trace or an exporter may send without end is read up to a limit, always from its beginning, so that one
more span costs the same however many there are; the rest stays among the spans.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Case, CharField, Value, When
from django.utils.text import slugify

from calibration import classifiers, ingest, rollups
from calibration.models import Classifier, ClassifierVersion, Span
from labeling import bulk
from labeling.errors import Refused
from labeling.formats import otlp, traces
from labeling.formats.jsonl import Record
from labeling.models import Conversation, Item, Label, Signal
from labeling.values import Scale, ValueRefused

MOST_SPANS = 2000
"""A conversation is made of so many spans of its session at most, the earliest."""
MOST_IN_TRACE = 200
"""Where a trace belongs is read from so many of its spans at most, those that say something of it first."""
TOGETHER = 100


def hold(projects: Iterable[str]) -> None:
    """One at a time builds conversations of a project: two at once would each miss the other's newest spans.

    SQLite has one writer anyway; on PostgreSQL an advisory lock lasts until the transaction ends.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for number in sorted({zlib.crc32(project.encode()) for project in projects}):
            cursor.execute("SELECT pg_advisory_xact_lock(7114, %s)", [number - 2**31])


def resolve(trace_ids: Iterable[str]) -> set[str]:
    """Where each trace belongs, now that more of it is known; returns the conversations to build, old and new."""
    touched: set[str] = set()
    for part in bulk.parts(sorted(set(trace_ids)), TOGETHER):
        for group in _groups(part, "trace_id"):
            touched |= _resolve(group)
    return touched - {""}


def _groups(names: Sequence[str], column: str) -> Iterator[Sequence[str]]:
    """`names` in groups that have MOST_SPANS spans at most, so that few queries read them and memory stays bounded; one that
    has more stands alone."""
    found = Span.objects.filter(**{f"{column}__in": names}).order_by().values("id")
    if len(names) == 1 or len(found[: MOST_SPANS + 1]) <= MOST_SPANS:
        yield names
        return
    half = len(names) // 2
    yield from _groups(names[:half], column)
    yield from _groups(names[half:], column)


def _resolve(trace_ids: Sequence[str]) -> set[str]:
    every = Span.objects.filter(trace_id__in=trace_ids)
    before = set(every.order_by().values_list("trace_id", "conversation_key").distinct())
    rows = every.order_by("start_ns", "span_id")
    belongs: dict[str, str] = {}
    for trace_id, mine in _by_trace(rows[:MOST_IN_TRACE] if len(trace_ids) == 1 else rows).items():
        told = traces.context([plain(row) for row in mine[:MOST_IN_TRACE]])
        belongs[trace_id] = f"{mine[0].project}:{_clean_key(told.session or trace_id)}"[:200]
    moved = sorted({trace_id for trace_id, key in before if key != belongs[trace_id]})
    if moved:
        cases = [When(trace_id=trace_id, then=Value(belongs[trace_id])) for trace_id in moved]
        Span.objects.filter(trace_id__in=moved).update(conversation_key=Case(*cases, output_field=CharField()))
    return {key for _, key in before} | set(belongs.values())


def _clean_key(name: str) -> str:
    return "".join(one for one in name if one.isprintable()) or "unnamed"


def rebuild(*, keys: Iterable[str]) -> list[str]:
    """The conversations of these keys from their spans, and the predictions of the evaluators among them.

    A key that cannot be built leaves what was there; returns what was wrong with which.
    """
    wrong: list[str] = []
    for part in bulk.parts(sorted(keys), TOGETHER):
        for group in _groups(part, "conversation_key"):
            wrong += _rebuild_apart(group)
    return wrong


def _rebuild_apart(keys: Sequence[str]) -> list[str]:
    """Build a group at once; where one of it cannot be built, each by itself."""
    try:
        with transaction.atomic():
            _rebuild(keys)
    except (Refused, DataError, IntegrityError, ValueError) as error:
        if len(keys) > 1:
            return [told for key in keys for told in _rebuild_apart([key])]
        rows = error.errors[:5] if isinstance(error, Refused) else []
        return [f"{keys[0]}: " + "; ".join([str(error), *(row.message for row in rows)])]
    return []


def _rebuild(keys: Sequence[str]) -> None:
    most = MOST_SPANS + 1  # a group has less, a session alone may have more
    ordered = Span.objects.filter(conversation_key__in=keys).order_by("start_ns", "trace_id", "span_id")[:most]
    rows: dict[str, list[Span]] = {key: [] for key in keys}
    for one in ordered:
        rows[one.conversation_key].append(one)
    homes, said = [], []
    for key, mine in rows.items():
        if not mine:
            _forget(key)
            continue
        spans = {trace: [plain(one) for one in those] for trace, those in _by_trace(mine[:MOST_SPANS]).items()}
        row = traces.conversation(key, mine[0].project, spans)
        if not row["turns"]:
            continue  # spans without words stay in the trace view alone
        if len(mine) > MOST_SPANS:
            row["metadata"]["spans"] = f"the session goes on: this is its first {MOST_SPANS} spans"
        homes.append(row)
        said += list(_predictions(key, traces.evaluations([span for those in spans.values() for span in those])))
    if homes:
        ingest.conversations(records=[Record(number, row) for number, row in enumerate(homes, 1)])
    if said:
        ingest.predictions(records=[Record(number, row) for number, row in enumerate(said, 1)])


def _by_trace(rows: Iterable[Span]) -> dict[str, list[Span]]:
    grouped: dict[str, list[Span]] = defaultdict(list)
    for row in rows:
        grouped[row.trace_id].append(row)
    return grouped


def plain(row: Span) -> otlp.Span:
    return otlp.Span(
        trace_id=row.trace_id,
        span_id=row.span_id,
        parent_id=row.parent_id,
        name=row.name,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        project=row.project,
        attributes=row.attributes,
        resource=row.resource,
        events=row.events,
        status=row.status,
    )


def _forget(key: str) -> None:
    """A conversation whose spans turned out to belong elsewhere goes, unless somebody has used it already."""
    conversation = Conversation.objects.filter(external_id=key).first()
    if conversation is None or conversation.gold_rows.exists():
        return
    if (
        Item.objects.filter(conversation=conversation).exists()
        or Label.objects.filter(conversation=conversation).exists()
    ):
        return
    with rollups.moving([conversation.id]):
        conversation.predictions.all().delete()
    conversation.delete()


def _predictions(key: str, found: Sequence[traces.Evaluation]) -> Iterator[dict[str, Any]]:
    """Evaluations of known signals as rows in the contract's form; one each evaluator and version, the latest counts."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for evaluation in found:
        signal, value = answered(evaluation)
        if signal is None or value is None:
            continue
        slug = slug_of(evaluation)
        _register(slug, signal, evaluation)
        row = {
            "conversation": key,
            "turn": None,
            "classifier": slug,
            "version": evaluation.version,
            "signal": signal.slug,
            "value": value,
            "rationale": evaluation.explanation,
        }
        if evaluation.score is not None:
            row["score"] = evaluation.score
        rows[slug, evaluation.version] = row
    yield from rows.values()


def slug_of(evaluation: traces.Evaluation) -> str:
    return slugify(evaluation.name)[:120]


def answered(evaluation: traces.Evaluation) -> tuple[Signal | None, Any]:
    """The signal that an evaluation is of and its answer on that scale; None for what is not known here."""
    signal = _signal_of(slug_of(evaluation))
    return signal, None if signal is None else _value(Scale.of(signal), evaluation)


def _register(slug: str, signal: Signal, evaluation: traces.Evaluation) -> None:
    """The evaluator's version by its pin; one that is there already stays as it is."""
    if ClassifierVersion.objects.filter(classifier__slug=slug, version=evaluation.version).exists():
        return
    home, _ = Classifier.objects.get_or_create(slug=slug, defaults={"title": evaluation.name[:200], "signal": signal})
    pin = {"prompt_version": evaluation.prompt_version} if evaluation.prompt_version else {}
    content = {"kind": "traced", "model": evaluation.model[:200], "parameters": pin}
    classifiers.register(classifier=home, version=evaluation.version, content=content)


def _signal_of(slug: str) -> Signal | None:
    """The signal that an evaluator scores: its classifier's, else the one of the same name, for whole conversations."""
    classifier = Classifier.objects.filter(slug=slug).select_related("signal").first()
    signal = classifier.signal if classifier else Signal.objects.filter(slug=slug).first()
    return signal if signal is not None and signal.unit == Signal.Unit.CONVERSATION else None


def _value(scale: Scale, evaluation: traces.Evaluation) -> Any:
    """The evaluation's answer on the signal's scale; None where the scale does not have it."""
    candidates: list[Any] = [evaluation.score] if scale.kind == "interval" else []
    if evaluation.label is not None:
        for labels in ([evaluation.label.strip()], evaluation.labels):  # a category's name may have a comma itself
            same = [_category(scale, label) for label in labels]
            candidates += [same] if scale.kind == "multilabel" else same[: len(same) == 1]
    for candidate in candidates:
        try:
            scale.encode(candidate)
        except ValueRefused:
            continue
        return candidate
    return None


def _category(scale: Scale, label: str) -> str:
    """The scale's own writing of a label; one that it does not have stays as it is, and is refused."""
    same = [value for value in scale.values if value.lower() == label.lower()]
    return label if label in same or not same else same[0]
