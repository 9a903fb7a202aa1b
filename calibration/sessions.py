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
        for trace_id, rows in _telling(part).items():
            session = traces.context([plain(row) for row in rows]).session
            key = f"{rows[0].project}:{_clean_key(session or trace_id)}"[:200]
            mine = Span.objects.filter(trace_id=trace_id)
            touched |= set(mine.values_list("conversation_key", flat=True).distinct()) | {key}
            mine.exclude(conversation_key=key).update(conversation_key=key)
    return touched - {""}


def _telling(trace_ids: Sequence[str]) -> dict[str, list[Span]]:
    """The earliest spans of each trace; of a long one no more than tell where it belongs."""
    found = Span.objects.filter(trace_id__in=trace_ids).order_by("start_ns", "span_id")
    if found.count() <= MOST_IN_TRACE:
        return _by_trace(found)
    return {trace_id: list(found.filter(trace_id=trace_id)[:MOST_IN_TRACE]) for trace_id in trace_ids}


def _clean_key(name: str) -> str:
    return "".join(one for one in name if one.isprintable()) or "unnamed"


def rebuild(*, keys: Iterable[str]) -> list[str]:
    """The conversations of these keys from their spans, and the predictions of the evaluators among them.

    A key that cannot be built leaves what was there; returns what was wrong with which.
    """
    wrong = []
    for key in sorted(keys):
        try:
            with transaction.atomic():
                _rebuild(key)
        except (Refused, DataError, IntegrityError, ValueError) as error:
            rows = error.errors[:5] if isinstance(error, Refused) else []
            wrong.append(f"{key}: " + "; ".join([str(error), *(row.message for row in rows)]))
    return wrong


def _rebuild(key: str) -> None:
    rows = list(Span.objects.filter(conversation_key=key).order_by("start_ns", "trace_id", "span_id")[: MOST_SPANS + 1])
    if not rows:
        _forget(key)
        return
    spans = {trace: [plain(row) for row in mine] for trace, mine in _by_trace(rows[:MOST_SPANS]).items()}
    row = traces.conversation(key, rows[0].project, spans)
    if not row["turns"]:
        return  # spans without words stay in the trace view alone
    if len(rows) > MOST_SPANS:
        row["metadata"]["spans"] = f"the session goes on: this is its first {MOST_SPANS} spans"
    ingest.conversations(records=[Record(1, row)])
    every = [span for mine in spans.values() for span in mine]
    found = list(_predictions(key, traces.evaluations(every)))
    if found:
        ingest.predictions(records=[Record(number, row) for number, row in enumerate(found, 1)])


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
        same = [value for value in scale.values if value.lower() == evaluation.label.strip().lower()]
        candidates += [[value] for value in same] if scale.kind == "multilabel" else same
    for candidate in candidates:
        try:
            scale.encode(candidate)
        except ValueRefused:
            continue
        return candidate
    return None
