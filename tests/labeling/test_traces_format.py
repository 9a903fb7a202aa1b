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


EXCHANGE = [("customer", "Where is it?"), ("agent", "On its way.")]
WORDS: dict[str, Any] = {"input__value": "Where is it?", "output__value": "On its way."}


def call(span: str = "call", at: int = 1, parent: str = "s1", **kw: Any) -> Span:
    return make_span(span=span, at=at, parent=parent, gen_ai__span__kind="LLM", **(kw or WORDS))


@pytest.mark.parametrize("root", [{}, {"session__id": "s"}, {"gen_ai__span__kind": "CHAIN"}, {"input__value": "{}"}])
def test_below_a_root_without_words_the_topmost_spans_that_have_any_say_what_was_said(root: dict[str, Any]) -> None:
    chain = make_span(span="chain", at=1, parent="s1", gen_ai__span__kind="CHAIN", **WORDS)
    prompt = call(at=2, parent="chain", input__value="Answer this: Where is it?", output__value="On its way!")
    assert said([make_span(**root), chain, prompt]) == EXCHANGE


def test_each_side_has_its_own_topmost_spans() -> None:
    asked = make_span(gen_ai__span__kind="CHAIN", input__value="Where is it?")
    assert said([asked, call(input__value="prompt", output__value="On its way.")]) == EXCHANGE
    answered = make_span(gen_ai__span__kind="CHAIN", output__value="On its way.")
    assert said([answered, call(input__value="Where is it?", output__value="draft")]) == EXCHANGE
    heard = make_span(span="stt", at=1, parent="s1", transcript="Where is it?")
    assert said([answered, heard]) == EXCHANGE


def test_spans_that_are_said_to_run_in_each_other_are_not_lost() -> None:
    both = [call("a", 0, "b"), call("b", 1, "a")]
    assert said(both) == EXCHANGE
    assert said([call("a", 0, "a")]) == EXCHANGE


def test_what_tools_say_to_each_other_counts_only_where_nobody_else_speaks() -> None:
    tool = make_span(span="tool", at=1, parent="s1", gen_ai__span__kind="TOOL", input__value="x", output__value="y")
    inside = call("inside", 2, "tool", input__value="Shorten this", output__value="Short")
    assert said([make_span(), tool, inside, call()]) == EXCHANGE
    assert said([make_span(), tool, inside]) == [("customer", "Shorten this"), ("agent", "Short")]


def test_a_step_that_splits_a_text_says_nothing() -> None:
    step = make_span(span="split", parent="s1", gen_ai__span__kind="CHAIN", input__value='{"text": "Refunds take five days."}',
                     output__value='["Refunds take five days."]')  # fmt: skip
    assert said([make_span(input__value='{"nodes": []}'), step]) == said([step]) == []


def test_beside_messages_of_calls_models_speak_and_steps_do_not() -> None:
    greeting = call("greeting", 1, output__value="Hello.")
    step = make_span(span="template", at=2, parent="s1", gen_ai__span__kind="CHAIN", **WORDS)
    answer = llm("answer", 3, [("user", "Hi")], "How can I help?", parent="s1")
    both = [("agent", "Hello."), ("customer", "Hi"), ("agent", "How can I help?")]
    assert said([make_span(), greeting, step, answer]) == both
    within = call("greeting", 1, "chain", output__value="Hello.")
    chain = make_span(span="chain", at=1, parent="s1", gen_ai__span__kind="CHAIN", output__value="raw")
    assert said([make_span(), chain, within, answer]) == both


def pipecat() -> list[Span]:
    """Two turns, the first one heard in two pieces and said in two sentences, after a greeting that no model wrote."""
    history = [("system", "Be kind"), ("user", "where is my refund")]
    later = [*history, ("assistant", "It was issued today. It takes **two days**."), ("user", "yes")]

    def model(number: int, at: int, heard: list[tuple[str, str]], output: str) -> Span:
        messages = json.dumps([{"role": role, "content": text} for role, text in heard])
        return make_span(span=f"llm{number}", at=at, parent=f"turn{number}", gen_ai__operation__name="chat",
                         input=messages, output=output)  # fmt: skip

    return [
        make_span(span="conversation", conversation__id="c"),
        make_span(span="turn0", parent="conversation"),
        make_span(span="tts0", at=1, parent="turn0", text="Hello there."),
        make_span(span="turn1", at=2, parent="conversation"),
        make_span(span="stt1a", at=2, parent="turn1", transcript="Where is"),
        make_span(span="stt1b", at=3, parent="turn1", transcript="my refund?", is_final=True),
        model(1, 4, history, "It was issued today. It takes **two days**."),
        make_span(span="tts1a", at=5, parent="turn1", text="It was issued today."),
        make_span(span="tts1b", at=6, parent="turn1", text="It takes two days."),
        make_span(span="turn2", at=7, parent="conversation"),
        make_span(span="stt2", at=7, parent="turn2", transcript="Yes"),
        model(2, 8, later, "Bye."),
        make_span(span="tts2", at=9, parent="turn2", text="Bye."),
    ]


def test_a_call_is_said_once_by_all_who_heard_wrote_and_spoke_it() -> None:
    assert said(pipecat()) == [
        ("agent", "Hello there."), ("system", "Be kind"), ("customer", "where is my refund"),
        ("agent", "It was issued today. It takes **two days**."), ("customer", "yes"), ("agent", "Bye."),
    ]  # fmt: skip


def test_a_call_without_its_models_is_what_was_heard_and_spoken() -> None:
    spoken = [span for span in pipecat() if not span.span_id.startswith("llm")]
    again = make_span(span="stt3", at=10, parent="turn2", transcript="Yes")
    assert said([*spoken, again]) == [
        ("agent", "Hello there."), ("customer", "Where is"), ("customer", "my refund?"), ("agent", "It was issued today."),
        ("agent", "It takes two days."), ("customer", "Yes"), ("agent", "Bye."), ("customer", "Yes"),
    ]  # fmt: skip


def test_what_was_spoken_and_not_written_stays_though_other_turns_have_its_words() -> None:
    heard = [make_span(span=f"stt{at}", at=at, transcript=text) for at, text in ((1, "Okay"), (5, "Okay thanks"))]
    assert said([*heard, call(at=6, input__value="okay thanks", output__value="Bye.")]) == [
        ("customer", "Okay"), ("customer", "okay thanks"), ("agent", "Bye."),
    ]  # fmt: skip


def test_a_model_with_a_list_of_messages_and_spans_of_livekit_give_both_sides() -> None:
    [alone] = [span for span in pipecat() if span.span_id == "llm1"]
    assert [role for role, _ in said([alone])] == ["system", "customer", "agent"]
    heard = make_span(span="b", at=0, parent="s1", lk__user_transcript="Where is it?")
    answered = make_span(span="a", at=0, parent="s1", lk__response__text="On its way.")
    assert said([make_span(), heard, answered]) == EXCHANGE


def test_more_spans_never_silence_a_trace_and_their_order_says_nothing() -> None:
    rng = random.Random(5)
    kinds = ["CHAIN", "LLM", "TOOL", "AGENT", "EVALUATOR", "UNKNOWN"]
    carried: list[dict[str, Any]] = [
        {}, WORDS, {"input__value": "Hi"}, {"output__value": "Yes"}, {"output__value": "[1]"}, {"transcript": "Hi"},
        {"text": "Yes"}, {"gen_ai__input__messages": '[{"role": "user", "content": "Hi"}]'},
        {"lk__response__text": "Yes"}, {"input": '[{"role": "user", "content": "Hi"}]', "output": "Yes"},
    ]  # fmt: skip
    for _ in range(300):
        size = rng.randint(1, 7)
        spans = [
            make_span(span=f"s{n}", at=rng.randint(0, 3), parent=rng.choice(["", *(f"s{m}" for m in range(size))]),
                      gen_ai__span__kind=rng.choice(kinds), **rng.choice(carried))
            for n in range(size)
        ]  # fmt: skip
        whole = said(spans)
        for count in range(1, size + 1):
            some = rng.sample(spans, count)
            assert whole or not said(some)
        assert said(rng.sample(spans, size)) == whole


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ("anger", ["anger"]),
        (["anger", "annoyance"], ["anger", "annoyance"]),
        ('["anger", "annoyance"]', ["anger", "annoyance"]),
        ("['anger', 'annoyance']", ["anger", "annoyance"]),
        ("anger, annoyance", ["anger", "annoyance"]),
        ("anger|annoyance|anger", ["anger", "annoyance"]),
        ("[]", []),
        ([], []),
        (" , ", [" , "]),
    ],
)
def test_an_evaluation_may_have_several_labels(given: Any, labels: list[str]) -> None:
    span = make_span(gen_ai__evaluation__name="tone", gen_ai__evaluation__score__label=given)
    [found] = traces.evaluations([span])
    assert found.labels == labels


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
