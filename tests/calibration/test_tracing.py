"""Receiving traces: durable before it is answered, the same result however they come, a clear error for the rest."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from calibration import tracing
from calibration.models import Prediction, Span, TraceBatch
from labeling import tokens
from labeling.formats import otlp
from labeling.models import Conversation
from tests.labeling.test_traces_format import START, bodies
from tests.make import make_signal, make_user

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
        return {"doubleValue": plain} if isinstance(plain, float) else {"stringValue": plain}

    def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"key": key, "value": value(plain)} for key, plain in attributes.items()]

    shaped = [
        {
            "traceId": f"{span.get('trace', 1):032x}",
            "spanId": f"{span['id']:016x}",
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
    assert tracing.rebuild_since(since=Span.objects.get().received_at) == 1
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
