"""Receiving traces: durable before it is answered, the same result however they come, a clear error for the rest."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DataError, OperationalError
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from calibration import chains, tasks, tracing
from calibration.models import Prediction, Span, TraceBatch
from labeling import privacy, tokens
from labeling.formats import otlp
from labeling.models import Conversation
from tests.labeling.test_traces_format import START, bodies
from tests.make import make_label, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def secret() -> str:
    return tokens.make(user=make_user(role="engineer"), name="exporter", scopes=["ingest"])[1]


def post(
    client: Client,
    body: bytes,
    *,
    secret: str,
    content_type: str = otlp.PROTOBUF,
    path: str = "/v1/traces",
    **headers: str,
) -> Any:
    return client.post(
        path, data=body, content_type=content_type, headers={"Authorization": f"Bearer {secret}", **headers}
    )


def otlp_json(*spans: dict[str, Any], project: str = "shop") -> bytes:
    def value(plain: Any) -> dict[str, Any]:
        if isinstance(plain, list):
            return {"arrayValue": {"values": [value(one) for one in plain]}}
        return {"doubleValue": plain} if isinstance(plain, float) else {"stringValue": plain}

    def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"key": key, "value": value(plain)} for key, plain in attributes.items()]

    shaped = [
        {
            "traceId": f"{span.get('trace', 1):032x}",
            "spanId": f"{span['id']:016x}",
            "parentSpanId": f"{span['parent']:016x}" if "parent" in span else "",
            "name": "turn",
            "startTimeUnixNano": str(START + span["id"]),
            "endTimeUnixNano": str(START + span["id"] + 5),
            "attributes": pairs(span.get("attributes", {})),
        }
        for span in spans
    ]
    resource = {"attributes": pairs({"project_name": project})}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": shaped}]}]}).encode()


def stored() -> list[tuple[Any, ...]]:
    columns = ("external_id", "channel", "cohort", "customer", "started_at", "turns")
    return sorted(Conversation.objects.values_list(*columns), key=lambda row: row[0])


def test_it_works(client: Client, secret: str) -> None:
    body = otlp_json(
        {"id": 1, "attributes": {"session.id": "s1", "input.value": "Hi", "output.value": "Hello", "channel": "chat"}}
    )
    response = post(client, body, secret=secret, content_type=otlp.JSON)
    assert (response.status_code, response.content) == (200, b"{}")
    [conversation] = Conversation.objects.all()
    assert (conversation.external_id, conversation.source, conversation.channel) == ("shop:s1", "shop", "chat")
    assert [turn["text"] for turn in conversation.turns] == ["Hi", "Hello"]


def test_captured_clients_become_conversations(client: Client, secret: str, shared: Path) -> None:
    for _, content_type, body in bodies(shared):
        assert post(client, body, secret=secret, content_type=content_type).status_code == 200
    found = {row[0]: row[1:4] for row in stored()}
    assert found["cx-demo-fitracer:conv-1"] == ("email", "smb", "cust-1")
    assert found["cx-demo-openai:conv-oa"] == ("sms", "vip", "cust-5")
    assert found["cx-demo-llamaindex:conv-li"] == ("email", "smb", "cust-9")
    assert found["cx-demo-livekit-meta:call-77"] == ("voice", "smb", "")
    assert found["cx-demo:conv-42"][1:] == ("enterprise", "cust-7")


def test_spans_in_any_order_split_and_repeated_give_the_same(client: Client, secret: str) -> None:
    spans = [
        {
            "id": 1,
            "trace": 1,
            "attributes": {"gen_ai.span.kind": "CHAIN", "input.value": "Hi", "output.value": "Hello"},
        },
        {"id": 2, "trace": 1, "attributes": {"session.id": "s", "metadata": '{"channel": "chat", "cohort": "smb"}'}},
        {
            "id": 3,
            "trace": 2,
            "attributes": {"session.id": "s", "input.value": "Thanks", "output.value": "Bye", "user.id": "cu"},
        },
    ]
    results = []
    rng = random.Random(3)
    for _ in range(20):
        Conversation.objects.all().delete()
        Span.objects.all().delete()
        order = spans + rng.sample(spans, 2)
        rng.shuffle(order)
        for span in order:
            post(client, otlp_json(span), secret=secret, content_type=otlp.JSON)
        results.append(stored())
    assert [row[0] for row in results[0]] == ["shop:s"]
    assert all(result == results[0] for result in results)


def frameworks() -> dict[str, list[dict[str, Any]]]:
    """Traces whose roots say where they belong and nothing else, as several frameworks send them."""
    root = {"id": 1, "attributes": {"session.id": "s", "channel": "voice", "cohort": "ent"}}
    words = {"input.value": "Where is it?", "output.value": "On its way."}
    messages = json.dumps([{"role": "user", "content": "Where is it?"}])
    return {
        "model": [root, {"id": 2, "parent": 1, "attributes": {"gen_ai.span.kind": "LLM", **words}}],
        "no session": [
            {"id": 1, "attributes": {"gen_ai.span.kind": "CHAIN", "channel": "voice", "cohort": "ent"}},
            {"id": 2, "parent": 1, "attributes": {"gen_ai.span.kind": "LLM", **words}},
        ],
        "chain": [
            root,
            {"id": 2, "parent": 1, "attributes": {"gen_ai.span.kind": "CHAIN", **words}},
            {"id": 3, "parent": 2, "attributes": {"gen_ai.span.kind": "LLM", **words, "input.value": "prompt"}},
        ],
        "pipecat": [
            root,
            {"id": 2, "parent": 1},
            {"id": 3, "parent": 2, "attributes": {"transcript": "where is it"}},
            {"id": 4, "parent": 2, "attributes": {"input": messages, "output": "On its way."}},
            {"id": 5, "parent": 2, "attributes": {"text": "On its way."}},
        ],
        "livekit": [
            root,
            {"id": 2, "parent": 1, "attributes": {"lk.user_transcript": "Where is it?"}},
            {"id": 3, "parent": 1, "attributes": {"lk.response.text": "On its way."}},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("framework", frameworks())
def test_a_root_without_words_in_any_order_and_split_gives_the_same(
    client: Client, secret: str, framework: str
) -> None:
    spans = frameworks()[framework]
    rng = random.Random(7)
    orders = [spans, spans[::-1], *(rng.sample(spans, len(spans)) for _ in range(6))]
    for number, order in enumerate(orders):
        Conversation.objects.all().delete()
        Span.objects.all().delete()
        size = number % len(spans) + 1
        built = 0
        for first in range(0, len(order), size):
            post(client, otlp_json(*order[first : first + size]), secret=secret, content_type=otlp.JSON)
            assert built <= len(stored()) <= 1
            built = len(stored())
        [conversation] = Conversation.objects.all()
        assert conversation.external_id == ("shop:" + ("s" if framework != "no session" else f"{1:032x}"))
        assert (conversation.channel, conversation.cohort) == ("voice", "ent")
        assert [(turn["role"], turn["text"]) for turn in conversation.turns] == [
            ("customer", "Where is it?"), ("agent", "On its way."),
        ]  # fmt: skip


@pytest.mark.parametrize("framework", ["no session", "model"])
def test_labels_and_items_stay_when_a_root_without_words_arrives_last(
    client: Client, secret: str, framework: str
) -> None:
    annotator, signal = make_user(), make_signal("sentiment")
    root, child = frameworks()[framework]
    post(client, otlp_json(child), secret=secret, content_type=otlp.JSON)
    before = Conversation.objects.get()
    make_queue(signals=[signal], members=[annotator], conversations=[before])
    make_label(before, signal, annotator, "positive")
    post(client, otlp_json(root), secret=secret, content_type=otlp.JSON)
    before.refresh_from_db()
    assert (len(before.turns), before.items.count(), before.labels.count()) == (2, 1, 1)
    latest = Conversation.objects.latest("id")
    assert (len(latest.turns), latest.channel, latest.cohort) == (2, "voice", "ent")


def test_an_evaluators_span_becomes_a_prediction_and_an_unpinned_one_is_called_out(client: Client, secret: str) -> None:
    make_signal("sentiment")
    said = {"id": 1, "attributes": {"session.id": "s", "input.value": "Hi", "output.value": "Hello"}}
    judged = {
        "id": 2,
        "attributes": {
            "session.id": "s",
            "gen_ai.evaluation.name": "sentiment",
            "gen_ai.evaluation.score.label": "Negative",
            "gen_ai.evaluation.score.value": 0.2,
            "gen_ai.evaluation.explanation": "sounds cross",
        },
    }
    post(client, otlp_json(said, judged), secret=secret, content_type=otlp.JSON)
    [prediction] = Prediction.objects.select_related("version__classifier")
    assert str(prediction.version) == "sentiment@unpinned"
    assert (prediction.value, prediction.score, prediction.rationale) == ("negative", 0.2, "sounds cross")


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("anger", ["anger"]),
        ('["anger", "annoyance"]', ["anger", "annoyance"]),
        ("Annoyance, anger", ["anger", "annoyance"]),
        (["anger", "annoyance"], ["anger", "annoyance"]),
        ("['anger', 'annoyance']", ["anger", "annoyance"]),
        ("joy, or not", ["joy, or not"]),
        ("anger, fear", None),
        (["anger", "fear"], None),
        (" ", None),
    ],
)
def test_an_evaluators_labels_are_kept_or_refused_together(
    client: Client, secret: str, given: Any, value: list[str] | None
) -> None:
    make_signal("mtone", scale="multilabel", values=("anger", "annoyance", "joy, or not"))
    said = {"id": 1, "attributes": {"session.id": "s", "input.value": "Hi"}}
    judged = {"gen_ai.evaluation.name": "mtone", "gen_ai.evaluation.score.label": given, "session.id": "s"}
    post(client, otlp_json(said, {"id": 2, "attributes": judged}), secret=secret, content_type=otlp.JSON)
    found = [json.loads(text) for text in Prediction.objects.values_list("value", flat=True)]
    assert found == ([] if value is None else [value])


def test_a_list_of_one_label_is_that_label_and_of_two_none(client: Client, secret: str) -> None:
    make_signal("sentiment")
    spans = [
        {"id": 1, "attributes": {"session.id": "s", "input.value": "Hi"}},
        *({"id": 2 + n, "attributes": {"session.id": "s", "gen_ai.evaluation.name": "sentiment",
            "gen_ai.request.model": f"m{n}", "gen_ai.prompt.template.version": "1", "gen_ai.evaluation.score.label": label}}
          for n, label in enumerate((["Negative"], ["negative", "neutral"]))),
    ]  # fmt: skip
    post(client, otlp_json(*spans), secret=secret, content_type=otlp.JSON)
    assert [(p.version.version, p.value) for p in Prediction.objects.select_related("version")] == [
        ("m0+1", "negative")
    ]


def test_a_crash_after_the_answer_loses_nothing(client: Client, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "INLINE", 0)
    body = otlp_json({"id": 1, "attributes": {"session.id": "s1", "input.value": "Hi"}})
    assert post(client, body, secret=secret, content_type=otlp.JSON).status_code == 200
    assert TraceBatch.objects.get().state == TraceBatch.State.PENDING
    assert not Conversation.objects.exists()
    assert tracing.work_pending() == 1
    assert tracing.work_pending() == 0
    assert Conversation.objects.count() == 1


def test_a_rebuild_gives_the_same_again(client: Client, secret: str) -> None:
    post(
        client,
        otlp_json({"id": 1, "attributes": {"session.id": "s", "input.value": "Hi"}}),
        secret=secret,
        content_type=otlp.JSON,
    )
    before = stored()
    assert tracing.rebuild_since(since=Span.objects.get().received_at) == (1, [])
    assert stored() == before


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status"),
    [
        (b"\xff\xff", otlp.PROTOBUF, {}, 400),
        (b"{", otlp.JSON, {}, 400),
        (b"x", "text/plain", {}, 415),
        (b"x", otlp.JSON, {"Content-Encoding": "br"}, 415),
        (gzip.compress(b"{}")[:-4], otlp.JSON, {"Content-Encoding": "gzip"}, 400),
        (b"not gzip", otlp.JSON, {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(bytes(40 * 1024 * 1024)), otlp.PROTOBUF, {"Content-Encoding": "gzip"}, 413),
    ],
    ids=["no protobuf", "no JSON", "plain text", "brotli", "truncated gzip", "no gzip", "gzip bomb"],
)
def test_what_cannot_be_taken_is_refused_as_otlp_says(
    client: Client, secret: str, body: bytes, content_type: str, headers: dict[str, str], status: int
) -> None:
    response = post(client, body, secret=secret, content_type=content_type, **headers)
    assert response.status_code == status
    assert response.content
    assert not TraceBatch.objects.exists()


def test_too_much_waiting_asks_to_come_back_later(client: Client, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "BACKLOG", 0)
    TraceBatch.objects.create(content_type=otlp.JSON, body=b"{}")
    response = post(client, b"{}", secret=secret, content_type=otlp.JSON)
    assert (response.status_code, response["Retry-After"]) == (429, "5")


@pytest.mark.parametrize("path", ["/v1/traces", "/tracer/v1/traces", "/tracer/observation-span/create_otel_span/"])
def test_each_path_takes_each_key_and_no_stranger(client: Client, secret: str, path: str) -> None:
    body = otlp_json({"id": 1, "attributes": {"input.value": "Hi"}})
    assert client.post(path, data=body, content_type=otlp.JSON).status_code == 401
    assert client.post(path, data=body, content_type=otlp.JSON, headers={"X-Api-Key": secret}).status_code == 200
    _, reader = tokens.make(user=make_user(role="engineer"), name="reader", scopes=["read"])
    assert post(client, body, secret=reader, content_type=otlp.JSON, path=path).status_code == 403


@pytest.mark.parametrize("path", ["/v1/traces", "/tracer/v1/traces", "/tracer/observation-span/create_otel_span/"])
@pytest.mark.parametrize(
    ("sent", "answered"), [(otlp.PROTOBUF, otlp.PROTOBUF), (otlp.JSON, otlp.JSON), ("text/plain", otlp.JSON)]
)
def test_who_may_not_is_refused_as_otlp_says(client: Client, path: str, sent: str, answered: str) -> None:
    _, reader = tokens.make(user=make_user(role="engineer"), name="reader", scopes=["read"])
    headers = {"Accept": sent}
    for keys, status in (({}, 401), ({"X-Api-Key": "nobody's"}, 401), ({"X-Api-Key": reader}, 403)):
        response = client.post(path, data=b"x", content_type=sent, headers=headers | keys)
        assert (response.status_code, response["Content-Type"]) == (status, answered)
        if answered == otlp.JSON:
            assert response.json()["message"]
        else:
            assert response.content[:1] == b"\x12" and response.content[1] == len(response.content) - 2
        assert ("WWW-Authenticate" in response) == (status == 401)


def test_an_exporter_may_ask_for_the_type_that_it_sends(client: Client, secret: str) -> None:
    body = ExportTraceServiceRequest(resource_spans=[{}]).SerializeToString()
    response = post(client, body, secret=secret, Accept=otlp.PROTOBUF)
    assert (response.status_code, response["Content-Type"]) == (200, otlp.PROTOBUF)


def test_a_worker_that_dies_between_spans_and_conversations_loses_and_doubles_nothing(
    client: Client, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(**_: Any) -> None:
        raise OperationalError("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(tracing.sessions, "rebuild", dies)
        body = otlp_json({"id": 1, "attributes": {"session.id": "s1", "input.value": "Hi"}})
        assert post(client, body, secret=secret, content_type=otlp.JSON).status_code == 200
    assert (Span.objects.count(), Conversation.objects.count()) == (1, 0)
    assert TraceBatch.objects.get().state == TraceBatch.State.PENDING
    tasks.work_traces()
    tasks.work_traces()
    assert (Span.objects.count(), Conversation.objects.count()) == (1, 1)
    assert TraceBatch.objects.get().state == TraceBatch.State.DONE


def test_a_request_that_cannot_be_worked_off_fails_alone_and_can_be_tried_again(
    client: Client, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "INLINE", 0)
    for together in ((1, 3), (2,)):
        spans = [{"id": n, "trace": n, "attributes": {"session.id": f"s{n}", "input.value": "Hi"}} for n in together]
        post(client, otlp_json(*spans), secret=secret, content_type=otlp.JSON)
    real = tracing.sessions._rebuild

    def fails(keys: Sequence[str]) -> None:
        if "shop:s1" in keys:
            raise DataError("too long")
        real(keys)

    with monkeypatch.context() as patch:
        patch.setattr(tracing.sessions, "_rebuild", fails)
        tracing.work_pending()
    failed = TraceBatch.objects.get(state=TraceBatch.State.FAILED)
    assert failed.error == "shop:s1: too long" and bytes(failed.body)
    assert [row[0] for row in stored()] == ["shop:s2", "shop:s3"]
    told = StringIO()
    call_command("conversations", "--from-traces", "--since", "2026-01-01", "--retry", stdout=told)
    assert told.getvalue().splitlines() == ["1 failed requests taken once more", "3 conversations built"]
    assert [row[0] for row in stored()] == ["shop:s1", "shop:s2", "shop:s3"]


def test_what_no_database_keeps_is_cleaned_and_nothing_else_is_lost(client: Client, secret: str) -> None:
    said = {"session.id": "s\x001", "input.value": "Hi\x00 \ud83d", "score": float("nan"), "channel": "c" * 200}
    body = otlp_json({"id": 1, "attributes": said}, project="sh\x00op")
    assert post(client, body, secret=secret, content_type=otlp.JSON).status_code == 200
    [conversation] = Conversation.objects.all()
    assert (conversation.turns[0]["text"], conversation.channel) == ("Hi\ufffd ?", "c" * 60)
    assert Span.objects.get().attributes["score"] == "nan"


@pytest.mark.parametrize("start", [0, 10**18 * 4733, -(10**30), 2**70], ids=["1970", "2120", "negative", "too large"])
def test_a_clock_that_cannot_be_believed_gives_no_time(client: Client, secret: str, start: int) -> None:
    document = json.loads(otlp_json({"id": 1, "attributes": {"session.id": "s", "input.value": "Hi"}}))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["startTimeUnixNano"] = str(start)
    assert post(client, json.dumps(document).encode(), secret=secret, content_type=otlp.JSON).status_code == 200
    [conversation] = Conversation.objects.all()
    assert conversation.started_at is None and "clock" in conversation.metadata


def test_a_session_that_never_ends_is_read_up_to_a_limit(
    client: Client, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing.sessions, "MOST_SPANS", 3)
    for number in range(1, 6):
        said = {"session.id": "s", "input.value": f"Question {number}"}
        post(
            client,
            otlp_json({"id": number, "trace": number, "attributes": said}),
            secret=secret,
            content_type=otlp.JSON,
        )
    [conversation] = Conversation.objects.all()
    assert [turn["text"] for turn in conversation.turns] == ["Question 1", "Question 2", "Question 3"]
    assert conversation.metadata["spans"] == "the session goes on: this is its first 3 spans"
    assert Span.objects.count() == 5


def test_very_many_cohorts_come_in_and_are_kept(client: Client, secret: str) -> None:
    spans = [
        {"id": number, "trace": number, "attributes": {"cohort": f"co-{number}", "input.value": "Hi"}}
        for number in range(1, 301)
    ]
    assert post(client, otlp_json(*spans), secret=secret, content_type=otlp.JSON).status_code == 200
    assert Conversation.objects.values("cohort").distinct().count() == 300


def test_an_evaluators_version_is_its_pin(client: Client, secret: str) -> None:
    make_signal("sentiment")
    judged = {
        "session.id": "s", "input.value": "Hi", "gen_ai.evaluation.name": "sentiment",
        "gen_ai.evaluation.score.label": "negative", "gen_ai.request.model": "openai/gpt 4@x",
        "gen_ai.prompt.template.version": "7",
    }  # fmt: skip
    said = {"id": 1, "attributes": {"session.id": "s", "input.value": "Hi"}}
    post(client, otlp_json(said, {"id": 2, "attributes": judged}), secret=secret, content_type=otlp.JSON)
    version = Prediction.objects.select_related("version__classifier").get().version
    assert (str(version), version.model) == ("sentiment@openai-gpt-4-x+7", "openai/gpt 4@x")
    assert version.parameters == {"prompt_version": "7"}


def agent_spans() -> list[dict[str, Any]]:
    """An agent's turn: a planner that asks a tool, and an evaluator that judges the planner."""
    return [
        {"id": 1, "attributes": {"session.id": "s", "gen_ai.span.kind": "AGENT", "input.value": "Where is it?",
                                 "output.value": "On its way."}},
        {"id": 2, "parent": 1, "attributes": {"gen_ai.span.kind": "TOOL", "output.value": "shipped", "session.id": "s"}},
        {"id": 3, "parent": 1, "attributes": {
            "session.id": "s", "gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.5,
            "gen_ai.evaluation.target_span_id": f"{1:016x}"}},
    ]  # fmt: skip


def test_the_conversation_shows_its_chain_and_calls_out_what_is_no_prediction(client: Client, secret: str) -> None:
    post(client, otlp_json(*agent_spans()), secret=secret, content_type=otlp.JSON)
    chain = chains.of_conversation("shop:s", mask=privacy.NOTHING)
    assert chain is not None
    assert [(step.kind, step.depth, step.gave) for step in chain.steps] == [
        ("agent", 0, "On its way."), ("tool", 1, "shipped"),
    ]  # fmt: skip
    [verdict] = chain.steps[0].verdicts
    assert (verdict.label, verdict.unpinned) == ("0.5", True)
    client.force_login(make_user(role="engineer"))
    page = client.get("/conversations/shop:s/").content.decode()
    assert "unpinned" in page and "no signal or classifier is called groundedness" in page


def test_traces_without_words_have_a_page_and_failed_requests_a_reason(client: Client, secret: str) -> None:
    post(
        client, otlp_json({"id": 1, "attributes": {"gen_ai.span.kind": "TOOL"}}), secret=secret, content_type=otlp.JSON
    )
    TraceBatch.objects.create(content_type=otlp.JSON, body=b"{}", state=TraceBatch.State.FAILED, error="too odd")
    assert client.get("/traces/").status_code == 302
    client.force_login(make_user(role="reviewer"))
    assert client.get("/traces/").status_code == 403
    assert client.post("/traces/retry/").status_code == 403
    client.force_login(make_user(role="engineer"))
    page = client.get("/traces/").content.decode()
    assert "too odd" in page and f"{1:032x}" in page
    assert "Nothing was said" in client.get(f"/traces/{1:032x}/").content.decode()
    assert client.get("/traces/nonesuch/").status_code == 404
    assert client.post("/traces/retry/").status_code == 302
    assert not TraceBatch.objects.filter(state=TraceBatch.State.FAILED).exists()


def test_who_may_still_label_it_sees_no_chain(client: Client, secret: str) -> None:
    post(client, otlp_json(*agent_spans()), secret=secret, content_type=otlp.JSON)
    reviewer = make_user(role="engineer")
    signal = make_signal("sentiment")
    make_queue(signals=[signal], members=[reviewer], conversations=[Conversation.objects.get()])
    client.force_login(reviewer)
    assert "Step by step" not in client.get("/conversations/shop:s/").content.decode()
    assert client.get(f"/traces/{1:032x}/").status_code == 302
