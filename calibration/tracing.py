"""Receiving traces: a request is written down before it is answered, then worked off into spans, conversations and
predictions. Worked off twice, or cut off in the middle, it gives the same result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.text import slugify

from calibration import ingest, rollups
from calibration.models import Classifier, Span, TraceBatch
from labeling.errors import Refused
from labeling.formats import otlp, traces
from labeling.formats.jsonl import Record
from labeling.models import Conversation, Item, Label, Signal
from labeling.values import Scale, ValueRefused

BACKLOG = 2000
INLINE = 256 * 1024
"""Bodies up to this many bytes are worked off at once: cheaper than a task, and there without a worker."""


def overloaded() -> bool:
    """Whether so many requests wait that a client should come back later."""
    return TraceBatch.objects.filter(state=TraceBatch.State.PENDING).order_by("id")[BACKLOG : BACKLOG + 1].exists()


def accept(*, body: bytes, content_type: str) -> TraceBatch:
    """Write a request down for good; raises otlp.Undecodable where it is not one, and then nothing is stored."""
    otlp.decode(body, content_type)
    batch = TraceBatch.objects.create(content_type=content_type, body=body)
    if len(body) <= INLINE:
        work(batch_id=batch.id)
    return batch


def work_pending(*, limit: int = 500) -> int:
    """Work off what waits, oldest first; returns how many requests that were."""
    waiting = TraceBatch.objects.filter(state=TraceBatch.State.PENDING).order_by("id").values_list("id", flat=True)
    done = 0
    for batch_id in list(waiting[:limit]):
        work(batch_id=batch_id)
        done += 1
    return done


def work(*, batch_id: int) -> None:
    """The spans of one request into the database, and the conversations that they touch anew; all or nothing."""
    try:
        with transaction.atomic():
            batch = TraceBatch.objects.select_for_update().filter(id=batch_id, state=TraceBatch.State.PENDING).first()
            if batch is None:
                return
            touched = _store(otlp.decode(bytes(batch.body), batch.content_type))
            rebuild(keys=_resolve(touched))
            TraceBatch.objects.filter(id=batch_id).update(state=TraceBatch.State.DONE, body=b"")
    except Refused as refused:
        reasons = "; ".join([refused.message, *(error.message for error in refused.errors[:5])])
        TraceBatch.objects.filter(id=batch_id).update(state=TraceBatch.State.FAILED, error=reasons)


def _store(spans: Sequence[otlp.Span]) -> set[str]:
    """Upsert spans by (trace, span); returns the traces that they belong to."""
    latest = {(span.trace_id, span.span_id): span for span in spans}
    fields = [
        "parent_id",
        "project",
        "name",
        "kind",
        "start_ns",
        "end_ns",
        "attributes",
        "resource",
        "events",
        "status",
    ]
    rows = [
        Span(
            trace_id=span.trace_id[:32],
            span_id=span.span_id[:16],
            parent_id=span.parent_id[:16],
            project=(span.project or "unknown")[:200],
            name=_clean(span.name)[:300],
            kind=traces.kind(span)[:40],
            start_ns=min(span.start_ns, 2**63 - 1),
            end_ns=min(span.end_ns, 2**63 - 1),
            attributes=_clean(dict(span.attributes)),
            resource=_clean(dict(span.resource)),
            events=_clean(list(span.events)),
            status=span.status[:10],
        )
        for span in latest.values()
    ]
    Span.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["trace_id", "span_id"], update_fields=fields, batch_size=500
    )
    return {row.trace_id for row in rows}


def _clean(value: Any) -> Any:
    """PostgreSQL stores no NUL: it becomes the replacement character, and nothing else is lost."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return value


def _resolve(trace_ids: Iterable[str]) -> set[str]:
    """Where each trace belongs, now that more of it is known; returns the conversations to build, old and new."""
    touched: set[str] = set()
    for trace_id, rows in _by_trace(Span.objects.filter(trace_id__in=list(trace_ids))).items():
        session = traces.context([_plain(row) for row in rows]).session
        key = f"{rows[0].project}:{session or trace_id}"[:200]
        touched |= {row.conversation_key for row in rows if row.conversation_key} | {key}
        Span.objects.filter(trace_id=trace_id).exclude(conversation_key=key).update(conversation_key=key)
    return touched


def rebuild(*, keys: Iterable[str]) -> None:
    """The conversations of these keys from all their spans, and the predictions of the evaluators among them."""
    for key in sorted(keys):
        by_trace = _by_trace(Span.objects.filter(conversation_key=key))
        if not by_trace:
            _forget(key)
            continue
        plain = {trace_id: [_plain(row) for row in rows] for trace_id, rows in by_trace.items()}
        row = traces.conversation(key, next(iter(by_trace.values()))[0].project, plain)
        if not row["turns"]:
            continue  # spans without words stay in the trace view alone
        ingest.conversations(records=[Record(1, row)])
        every = [span for spans in plain.values() for span in spans]
        found = list(_predictions(key, traces.evaluations(every)))
        if found:
            ingest.predictions(records=[Record(number, row) for number, row in enumerate(found, 1)])


def rebuild_since(*, since: datetime) -> int:
    """Build every conversation anew whose spans came in at `since` or later; the result is the same again."""
    work_pending()
    keys = set(Span.objects.filter(received_at__gte=since).values_list("conversation_key", flat=True)) - {""}
    rebuild(keys=keys)
    return len(keys)


def _by_trace(rows: Iterable[Span]) -> dict[str, list[Span]]:
    grouped: dict[str, list[Span]] = defaultdict(list)
    for row in rows:
        grouped[row.trace_id].append(row)
    return grouped


def _plain(row: Span) -> otlp.Span:
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
        slug = slugify(evaluation.name)[:120]
        signal = _signal_of(slug)
        if signal is None:
            continue
        value = _value(Scale.of(signal), evaluation)
        if value is None:
            continue
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
