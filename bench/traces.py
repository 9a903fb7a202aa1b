"""Traces: accepting requests against bare inserts of the same bytes, the time until they are conversations, and memory."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from unittest import mock

from django.db import connection, transaction
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.measure import Measure
from calibration import tracing
from labeling.formats import otlp
from labeling.models import Conversation

SPANS = int(os.environ.get("BENCH_SPANS", "20000"))
"""A million shows that memory stays flat; the default is what a benchmark may take."""
TOGETHER = 512
IN_SESSION = 8
START = 1_795_000_000_000_000_000


class _Undone(Exception):
    """Takes everything back that a benchmark stored."""


def run() -> list[Measure]:
    """Spans a second accepted and worked off, and how much the process grew over the second half."""
    try:
        with transaction.atomic(), mock.patch.object(tracing, "INLINE", 0):
            measures = _measures()
            raise _Undone
    except _Undone:
        return measures


def _measures() -> list[Measure]:
    accepted = worked = bare = 0.0
    half = 0
    for number, body in enumerate(_bodies()):
        start = time.perf_counter()
        batch = tracing.accept(body=body, content_type=otlp.PROTOBUF)
        accepted += time.perf_counter() - start
        start = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS bare_spans (body BYTEA)")
            cursor.execute("INSERT INTO bare_spans VALUES (%s)", [body])
        bare += time.perf_counter() - start
        start = time.perf_counter()
        tracing.work(batch_id=batch.id)
        worked += time.perf_counter() - start
        if number == SPANS // TOGETHER // 2:
            half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare_spans")
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = SPANS // TOGETHER * TOGETHER
    assert Conversation.objects.filter(source="bench-traces").count() == count // IN_SESSION
    return [
        Measure(
            "spans accepted", count / accepted, count / bare, "spans/s", "bare inserts of the bytes", "low multiples"
        ),
        Measure("spans until they are conversations", count / (accepted + worked), None, "spans/s", "", ""),
        Measure(f"memory after {count} spans", whole / 1024, half / 1024, "MB", "after half of them", "1.0"),
    ]


def _bodies() -> Iterator[bytes]:
    """Requests of so many spans; each session is one trace of calls that resend the history."""
    for first in range(0, SPANS // TOGETHER * TOGETHER, TOGETHER):
        request = ExportTraceServiceRequest()
        home = request.resource_spans.add()
        _set(home.resource, "project_name", "bench-traces")
        scope = home.scope_spans.add()
        for number in range(first, first + TOGETHER):
            session, place = divmod(number, IN_SESSION)
            span = scope.spans.add(
                trace_id=(session + 1).to_bytes(16, "big"), span_id=(number + 1).to_bytes(8, "big"), name="chat",
                start_time_unix_nano=START + number * 1_000_000, end_time_unix_nano=START + number * 1_000_000 + 900,
            )  # fmt: skip
            _set(span, "gen_ai.span.kind", "LLM")
            _set(span, "session.id", f"s{session}")
            _set(span, "metadata", '{"channel": "chat", "cohort": "smb"}')
            _set(span, "input.value", f"Question {place}: where is my parcel, and when will it arrive?")
            _set(span, "gen_ai.input.messages.0.message.role", "user")
            _set(span, "gen_ai.input.messages.0.message.content", f"Question {place}")
            _set(span, "gen_ai.output.messages.0.message.role", "assistant")
            _set(span, "gen_ai.output.messages.0.message.content", f"Answer {place}: it is on its way.")
        yield bytes(request.SerializeToString())


def _set(of: object, name: str, text: str) -> None:
    of.attributes.add(key=name).value.string_value = text  # type: ignore[attr-defined]
