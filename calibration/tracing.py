"""Receiving traces: a request is written down before it is answered, then worked off into spans, conversations and
predictions. Worked off twice, at once, or cut off in the middle, it gives the same result."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Count, Exists, OuterRef, QuerySet

from calibration import sessions
from calibration.models import Span, TraceBatch
from labeling import bulk
from labeling.formats import otlp, traces
from labeling.models import Conversation
from labeling.personal import Mask

BACKLOG = 2000
INLINE = 256 * 1024
"""Bodies up to this many bytes are worked off at once: cheaper than a task, and there without a worker."""
STORED = 500
COLUMNS = ("parent_id", "project", "name", "kind", "start_ns", "end_ns", "attributes", "resource", "events", "status")
KEYS = 500
log = logging.getLogger(__name__)


def overloaded() -> bool:
    """Whether so many requests wait that a client should come back later."""
    return _pending().order_by("id")[BACKLOG : BACKLOG + 1].exists()


def accept(*, body: bytes, content_type: str) -> TraceBatch:
    """Write a request down for good; raises otlp.Undecodable where it is not one, and then nothing is stored."""
    otlp.check(body, content_type)
    batch = TraceBatch.objects.create(content_type=content_type, body=body)
    if len(body) <= INLINE:
        work(batch_id=batch.id)
    return batch


def work_pending(*, limit: int = 500) -> int:
    """Work off what waits, oldest first; returns how many requests that were."""
    done = 0
    for batch_id in list(_pending().order_by("id").values_list("id", flat=True)[:limit]):
        done += work(batch_id=batch_id)
    return done


def _pending() -> QuerySet[TraceBatch]:
    return TraceBatch.objects.filter(state=TraceBatch.State.PENDING)


def retry_failed() -> int:
    """Let every request that failed be worked off again, since the reason may be gone; returns how many."""
    failed = TraceBatch.objects.filter(state=TraceBatch.State.FAILED)
    return failed.update(state=TraceBatch.State.PENDING, error="")


def work(*, batch_id: int) -> bool:
    """The spans of one request into the database, then the conversations that they touch anew; whether that was done.

    Spans are stored first and for good. What goes wrong afterwards stands on the row: a request that cannot be worked
    off fails alone and keeps its bytes; one that the database could not take now stays pending.
    """
    try:
        with transaction.atomic():
            batch = _held(batch_id)
            if batch is None:
                return False
            projects, trace_ids = _store(otlp.spans(bytes(batch.body), batch.content_type))
        with transaction.atomic():
            sessions.hold(projects)
            if _held(batch_id) is None:
                return False
            wrong = sessions.rebuild(keys=sessions.resolve(trace_ids))
            done = {"state": TraceBatch.State.DONE, "body": b""}
            failed = {"state": TraceBatch.State.FAILED, "error": "; ".join(wrong[:5])}
            TraceBatch.objects.filter(id=batch_id).update(**(failed if wrong else done))
    except (OperationalError, InterfaceError):
        log.exception("trace request %s stays pending", batch_id)
        return False
    except Exception as error:
        log.exception("trace request %s failed", batch_id)
        text = f"{type(error).__name__}: {error}"[:1000]
        TraceBatch.objects.filter(id=batch_id).update(state=TraceBatch.State.FAILED, error=text)
    return True


def _held(batch_id: int) -> TraceBatch | None:
    """The request, unless somebody else works on it or has done so."""
    waiting = _pending().filter(id=batch_id)
    return waiting.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked).first()


def _store(spans: Iterable[otlp.Span]) -> tuple[set[str], set[str]]:
    """Upsert spans by (trace, span), some hundred at a time; returns the projects and traces that they belong to."""
    projects: set[str] = set()
    trace_ids: set[str] = set()
    for part in bulk.parts(spans, STORED):
        latest = {_identifiers(span): span for span in part}
        rows = [_row(span) for _, span in sorted(latest.items())]
        Span.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["trace_id", "span_id"], update_fields=list(COLUMNS)
        )
        projects |= {row.project for row in rows}
        trace_ids |= {row.trace_id for row in rows}
    return projects, trace_ids


def keep(*, spans: Sequence[otlp.Span], conversation: str) -> None:
    """Store spans that came in a file with the conversation that was made of them, for its trace view."""
    _, trace_ids = _store(spans)
    Span.objects.filter(trace_id__in=trace_ids).update(conversation_key=conversation)


def _identifiers(span: otlp.Span) -> tuple[str, str]:
    return clean(span.trace_id)[:32], clean(span.span_id)[:16]


def _row(span: otlp.Span) -> Span:
    trace_id, span_id = _identifiers(span)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=clean(span.parent_id)[:16],
        project=(clean(span.project) or "unknown")[:100],
        name=clean(span.name)[:300],
        kind=clean(traces.kind(span))[:40],
        start_ns=min(max(span.start_ns, 0), 2**63 - 1),
        end_ns=min(max(span.end_ns, 0), 2**63 - 1),
        attributes=clean(dict(span.attributes)),
        resource=clean(dict(span.resource)),
        events=clean(list(span.events)),
        status=clean(span.status)[:10],
    )


def clean(value: Any) -> Any:
    """What both databases can keep: no NUL and no half of a surrogate pair in a text, no number that is none."""
    if isinstance(value, str):
        if value.isascii():
            return value.replace("\x00", "\ufffd") if "\x00" in value else value
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {clean(str(key)): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    return value


def rebuild_since(*, since: datetime) -> tuple[int, list[str]]:
    """Build every conversation anew whose spans came in at `since` or later; the result is the same again.

    Returns how many there were, and what was wrong with which.
    """
    work_pending()
    came = Span.objects.filter(received_at__gte=since).exclude(conversation_key="")
    keys = sorted(set(came.values_list("conversation_key", flat=True)))
    wrong: list[str] = []
    for part in bulk.parts(keys, KEYS):
        with transaction.atomic():
            sessions.hold(set(Span.objects.filter(conversation_key__in=part).values_list("project", flat=True)))
            again = Span.objects.filter(conversation_key__in=part).values_list("trace_id", flat=True).distinct()
            wrong += sessions.rebuild(keys=sessions.resolve(list(again)) | set(part))
    return len(keys), wrong


@dataclass(frozen=True, slots=True)
class Inbox:
    """What came in and has not become a conversation: requests that wait, that failed, and traces without words."""

    spans: int
    waiting: int
    failed: Sequence[TraceBatch]
    wordless: Sequence[dict[str, Any]]


def inbox(*, mask: Mask, most: int = 50) -> Inbox:
    """The newest first of each, at most `most`; reasons may quote what was sent, and are masked like it."""
    failed = list(TraceBatch.objects.filter(state=TraceBatch.State.FAILED).defer("body").order_by("-id")[:most])
    for batch in failed:
        batch.error = mask.text(batch.error)
    home = Conversation.objects.filter(external_id=OuterRef("conversation_key"))
    newest = Span.objects.order_by("-id").values("id")[: 100 * most]
    alone = Span.objects.filter(id__in=newest).exclude(Exists(home)).values("trace_id", "project")
    wordless = alone.annotate(spans=Count("id")).order_by("-spans")[:most]
    return Inbox(Span.objects.count(), _pending().count(), failed, [dict(one) for one in wordless])
