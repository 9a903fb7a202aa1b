"""Spans to conversations: any order, any split, any of the conventions in use."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from labeling.formats import otlp, traces
from labeling.formats.otlp import Span

START = 1_795_000_000_000_000_000


def make_span(trace: str = "t1", span: str = "s1", *, at: int = 0, parent: str = "", **attributes: Any) -> Span:
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    begin = START + at * 1_000_000_000
    return Span(trace, span, parent, span, begin, begin + 1000, "shop", named)


def llm(span: str, at: int, heard: list[tuple[str, str]], said: str, **kw: Any) -> Span:
    messages = [{"role": role, "content": text} for role, text in heard]
    return make_span(
        trace=kw.pop("trace", "t1"),
        span=span,
        at=at,
        gen_ai__span__kind="LLM",
        gen_ai__input__messages=json.dumps(messages),
        gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": said}]}]),
        **kw,
    )


def said(spans: list[Span]) -> list[tuple[str, str]]:
    by_trace: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_trace[span.trace_id].append(span)
    return [(turn["role"], turn["text"]) for turn in traces.conversation("k", "shop", by_trace)["turns"]]


def bodies(shared: Path) -> list[tuple[str, str, bytes]]:
    found = []
    for path in sorted((shared / "traces").glob("*/*.raw.bin")):
        meta = json.loads(path.with_name(path.name.replace("raw.bin", "meta.json")).read_text())
        headers = {name.lower(): value for name, value in meta["headers"].items()}
        body = path.read_bytes()
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if headers.get("content-type") == otlp.PROTOBUF:
            found.append((path.parent.name, headers["content-type"], body))
    return found


def test_it_works() -> None:
    assert said([llm("a", 0, [("user", "Where is it?")], "On its way.")]) == [
        ("customer", "Where is it?"),
        ("agent", "On its way."),
    ]


def test_history_that_each_call_resends_is_said_once() -> None:
    first = [("system", "Be kind"), ("user", "Hi")]
    second = [*first, ("assistant", "Hello"), ("user", "yes"), ("assistant", "Sure?"), ("user", "yes")]
    assert said([llm("a", 0, first, "Hello"), llm("b", 5, second, "Done")]) == [
        ("system", "Be kind"),
        ("customer", "Hi"),
        ("agent", "Hello"),
        ("customer", "yes"),
        ("agent", "Sure?"),
        ("customer", "yes"),
        ("agent", "Done"),
    ]


def test_a_window_of_the_history_is_enough() -> None:
    calls = [
        llm("a", 0, [("user", "1")], "one"),
        llm("b", 1, [("user", "1"), ("assistant", "one"), ("user", "2")], "two"),
        llm("c", 2, [("assistant", "two"), ("user", "3")], "three"),
    ]
    assert [text for _, text in said(calls)] == ["1", "one", "2", "two", "3", "three"]


def test_one_call_recorded_by_two_nested_spans_is_one_exchange() -> None:
    outer = llm("a", 0, [("user", "Hi")], "Hello")
    inner = llm("b", 0, [("user", "Hi")], "Hello", parent="a")
    assert len(said([outer, inner])) == 2


def test_without_messages_the_root_says_what_was_said_and_data_is_no_speech() -> None:
    root = make_span(gen_ai__span__kind="CHAIN", input__value='{"query": "How long?"}', output__value='"Five days."')
    inner = make_span(
        span="s2", parent="s1", gen_ai__span__kind="RETRIEVER", input__value="How long?", output__value="x"
    )
    data = make_span(trace="t2", gen_ai__span__kind="CHAIN", at=9, input__value='{"nodes": [1]}', output__value="[1]")
    assert said([root, inner, data]) == [("customer", "How long?"), ("agent", "Five days.")]


@pytest.mark.parametrize(
    ("attributes", "channel", "cohort"),
    [
        ({"channel": "voice", "customer__cohort": "smb"}, "voice", "smb"),
        ({"metadata": '{"channel": "email", "segment": "trial"}'}, "email", "trial"),
        ({"tag__tags": ["channel:sms", "cohort:vip", "plain"]}, "sms", "vip"),
        ({"channel": "chat", "metadata": '{"channel": "email"}'}, "chat", None),
        ({"metadata": "not json"}, None, None),
    ],
)
def test_context_is_found_where_clients_put_it(
    attributes: dict[str, Any], channel: str | None, cohort: str | None
) -> None:
    found = traces.context([make_span(span="late", at=5), make_span(**attributes)])
    assert (found.channel, found.cohort) == (channel, cohort)


def test_what_stays_unknown_is_said() -> None:
    row = traces.conversation("shop:t1", "shop", {"t1": [llm("a", 0, [("user", "Hi")], "Hello")]})
    assert (row["channel"], row["cohort"], row["customer"]) == ("unknown", "unknown", "")


@pytest.mark.parametrize("start", [0, 2**63 - 1])
def test_a_clock_that_cannot_be_meant_is_called_out(start: int) -> None:
    span = Span("t", "s", "", "x", start, start, "shop", {"input.value": "Hi", "output.value": "Hello"})
    row = traces.conversation("k", "shop", {"t": [span]})
    assert "started_at" not in row
    assert "clock" in row["metadata"]
    assert len(row["turns"]) == 2


def test_evaluations_carry_their_pin() -> None:
    pinned = make_span(
        span="e1",
        gen_ai__evaluation__name="tone",
        gen_ai__evaluation__score__label="polite",
        gen_ai__evaluation__score__value=0.9,
        gen_ai__request__model="judge-1",
        gen_ai__prompt__template__version="7",
    )
    loose = make_span(span="e2", at=1, gen_ai__evaluation__name="tone", gen_ai__evaluation__score__label="rude")
    first, second = traces.evaluations([loose, pinned])
    assert (first.version, first.label, first.score) == ("judge-1+7", "polite", 0.9)
    assert (second.version, second.score) == ("unpinned", None)


def test_captured_clients_give_the_same_conversations_in_any_order(shared: Path) -> None:
    rng = random.Random(11)
    for name, content_type, body in bodies(shared):
        spans = otlp.decode(body, content_type)
        first = said(spans)
        for _ in range(20):
            again = spans + rng.sample(spans, len(spans) // 2)
            rng.shuffle(again)
            latest = list({(span.trace_id, span.span_id): span for span in again}.values())
            assert said(latest) == first, name


def test_captured_protobuf_and_its_json_are_the_same_spans(shared: Path) -> None:
    for path in sorted((shared / "traces").glob("*/*.decoded.json")):
        raw = path.with_name(path.name.replace("decoded.json", "raw.bin")).read_bytes()
        binary = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        document = path.read_bytes()
        from_binary = otlp.decode(binary, otlp.PROTOBUF)
        from_json = otlp.decode(document, otlp.JSON)
        assert [(s.trace_id, s.span_id, s.name, s.start_ns) for s in from_json] == [
            (s.trace_id, s.span_id, s.name, s.start_ns) for s in from_binary
        ]


def test_flat_spans_of_older_clients_are_read() -> None:
    flat = [
        {
            "trace_id": "0xAB" + "0" * 30,
            "span_id": "0x" + "1" * 16,
            "parent_id": None,
            "name": "turn",
            "start_time": START,
            "end_time": START + 5,
            "project_name": "shop",
            "attributes": {"fi.span.kind": "CHAIN", "input.value": "Hi", "output.value": "Hello", "session.id": "s"},
            "status": "OK",
        }
    ]
    [span] = otlp.decode(json.dumps(flat).encode(), otlp.JSON)
    assert (span.trace_id, span.project, span.status) == ("ab" + "0" * 30, "shop", "ok")
    assert said([span]) == [("customer", "Hi"), ("agent", "Hello")]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff\xff\xff", otlp.PROTOBUF),
        (b"{", otlp.JSON),
        (b"3", otlp.JSON),
        (b"[3]", otlp.JSON),
        (b'[{"trace_id": "a"}]', otlp.JSON),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "%%"}]}]}]}', otlp.JSON),
        (b'{"resourceSpans": 3}', otlp.JSON),
    ],
)
def test_what_is_no_export_is_refused_with_a_reason(body: bytes, content_type: str) -> None:
    with pytest.raises(otlp.Undecodable) as caught:
        otlp.decode(body, content_type)
    assert str(caught.value)
