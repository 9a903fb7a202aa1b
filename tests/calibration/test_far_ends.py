"""What lies at the far ends: days and numbers that no column holds, a NUL in an address, a time that stands for none."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from calibration.models import Classifier, ClassifierVersion
from labeling import sampling, tokens
from labeling.frames import Frame
from labeling.models import ApiToken, Conversation, DatasetVersion, Label, Queue, Signal
from tests.make import make_conversation, make_signal, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def headers() -> dict[str, str]:
    scopes = ["ingest", "read", "export", "admin", "label"]
    _, secret = tokens.make(user=make_user("ada", role="admin"), name="pipeline", scopes=scopes)
    return {"Authorization": f"Token {secret}"}


def post(client: Client, url: str, body: Any, headers: dict[str, str]) -> Any:
    return client.post(url, data=json.dumps(body), content_type="application/json", headers=headers)


def fields(answer: Any) -> list[tuple[int | None, str | None]]:
    return [(error.get("line"), error["field"]) for error in answer.json()["errors"]]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "1899-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_stands_for_none_is_refused(client: Client, headers: dict[str, str], at: str) -> None:
    row = {"id": "c-1", "turns": [], "started_at": at}
    answer = post(client, "/api/v1/conversations/bulk/", [row], headers)
    assert (answer.status_code, fields(answer)) == (422, [(1, "started_at")])
    assert not Conversation.objects.exists()


def test_lists_may_be_asked_for_all_days_that_there_are(client: Client, headers: dict[str, str]) -> None:
    make_signal()
    post(
        client,
        "/api/v1/predictions/bulk/",
        [
            {
                "conversation": make_conversation(started_at=datetime(2026, 3, 2, 23, 59, tzinfo=UTC)).external_id,
                "classifier": "judge",
                "version": "v1",
                "signal": "sentiment",
                "value": "neutral",
            }
        ],
        headers,
    )
    for url in ("conversations/?", "trends/?signal=sentiment&", "outcomes/?"):
        answer = client.get(f"/api/v1/{url}since=0001-01-01&until=9999-12-31", headers=headers)
        assert answer.status_code == 200, url
    for day, found in (("2026-03-01", 0), ("2026-03-02", 1)):
        assert len(client.get(f"/api/v1/conversations/?until={day}", headers=headers).json()["results"]) == found
    client.force_login(make_user("eve", role="engineer"))
    page = client.get("/conversations/?since=0001-01-01&until=9999-12-31")
    assert Conversation.objects.get().external_id in page.content.decode()
    frame = Frame(until=date(9999, 12, 31))
    assert sampling.draw_queue(slug="all", signals=[Signal.objects.get()], size=1, frame=frame).items.count() == 1
    far = client.get("/api/v1/conversations/?until=9999-12-31T23:59:59-14:00", headers=headers)
    assert (far.status_code, fields(far)) == (422, [(None, "until")])


@pytest.mark.parametrize(
    "url",
    ["conversations/%00/", "conversations/?channel=%00", "journeys/%00/", "people/%00/", "dump/labels/?source=%00"],
)
def test_a_nul_in_an_address_is_refused(client: Client, headers: dict[str, str], url: str) -> None:
    answer = client.get(f"/api/v1/{url}", headers=headers)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    client.force_login(make_user("eve", role="engineer"))
    assert client.get(f"/{url.replace('people', 'conversations')}").status_code in (400, 404)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_a_seed_that_cannot_be_kept_is_refused(client: Client, headers: dict[str, str], seed: int) -> None:
    make_signal()
    make_conversation()
    answer = post(client, "/api/v1/queues/", {"slug": "q", "signal": "sentiment", "size": 1, "seed": seed}, headers)
    assert answer.status_code in (400, 422) and fields(answer) == [(None, "seed")]
    with pytest.raises(SystemExit):
        call_command("sample", "q", signal=["sentiment"], size=1, strategy="uniform", seed=seed)
    assert not Queue.objects.exists()


@pytest.mark.parametrize("least", [0, -1, 40_000, 10**20])
def test_a_freeze_asks_for_as_many_labels_as_an_item_can_have(
    client: Client, headers: dict[str, str], least: int
) -> None:
    label = {"signal": make_signal(), "annotator": make_user(), "conversation": make_conversation()}
    Label.objects.create(value="neutral", **label)
    asked = {"signal": "sentiment", "min_labels": least}
    answer = post(client, "/api/v1/datasets/gold/versions/", asked, headers)
    assert (answer.status_code, fields(answer)) == (422, [(None, "min_labels")])
    assert not DatasetVersion.objects.exists()


def test_a_token_ends_when_its_maker_says_in_either_way(client: Client, headers: dict[str, str]) -> None:
    end = (timezone.now() + timedelta(days=1)).replace(microsecond=0)
    made = post(client, "/api/v1/tokens/", {"scopes": ["read"], "expires_at": end.isoformat()}, headers)
    assert ApiToken.objects.get(id=made.json()["id"]).expires_at == end
    for wrong in ({"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": end.isoformat(), "expires": "1d"}):
        answer = post(client, "/api/v1/tokens/", {"scopes": ["read"]} | wrong, headers)
        assert (answer.status_code, fields(answer)) == (422, [(None, "expires_at")])
    assert ApiToken.objects.count() == 2


def test_a_refusal_names_the_field_and_the_element(client: Client, headers: dict[str, str]) -> None:
    make_signal()
    row = {"conversation": make_conversation().external_id, "signal": "sentiment", "value": "neutral"}
    named = post(client, "/api/v1/predictions/bulk/", [row | {"classifier": "a/b", "version": "v1"}], headers)
    assert fields(named) == [(1, "classifier")]
    nobody = post(client, "/api/v1/labels/bulk/", [row | {"annotator": " "}], headers)
    assert fields(nobody) == [(1, "annotator")]
    for body, line in (("[", 1), ('[{"id": "a", "turns": []}', 1), ('[{"id": "a", "turns": []}, {"id"', 2)):
        url = "/api/v1/conversations/bulk/"
        cut = client.post(url, data=body, content_type="application/json", headers=headers)
        assert fields(cut) == [(line, None)]


@pytest.mark.parametrize(
    ("url", "body", "field"),
    [
        ("signals/", {"title": "a\0b"}, "title"),
        ("signals/", {"guideline": "a\0b"}, "guideline"),
        ("signals/", {"categories": [{"value": "a\0b", "label": "A"}, {"value": "b", "label": "B"}]}, "categories"),
        ("classifiers/", {"slug": "judge", "signal": "sentiment", "title": "a\0b"}, "title"),
        ("classifiers/judge/versions/", {"version": "v1", "prompt": "a\0b"}, "versions"),
        ("classifiers/judge/versions/", {"version": "v1", "parameters": {"stop": "a\ud800"}}, "versions"),
        ("datasets/", {"slug": "gold", "signal": "sentiment", "title": "a\0b"}, "title"),
        ("datasets/", {"slug": "gold", "signal": "sentiment", "title": "a" * 201}, "title"),
        ("datasets/", {"slug": "gold"}, "signal"),
        ("datasets/gold/versions/", {"signal": "sentiment", "queues": [{"slug": "q"}]}, "queues"),
        ("datasets/gold/versions/", {"signal": "sentiment", "queues": ["a\0b"]}, "queues"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    client: Client, headers: dict[str, str], url: str, body: dict[str, Any], field: str
) -> None:
    Classifier.objects.create(slug="judge", title="Judge", signal=make_signal())
    whole = {"slug": "tone", "title": "Tone", "scale": "nominal", "unit": "conversation"}
    whole["categories"] = [{"value": "a", "label": "A"}, {"value": "b", "label": "B"}]
    answer = post(client, f"/api/v1/{url}", whole | body if url == "signals/" else body, headers)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert not Signal.objects.filter(slug="tone").exists() and not ClassifierVersion.objects.exists()


def test_parameters_that_are_no_json_are_refused(tmp_path: Path) -> None:
    make_signal()
    for value in (".inf", "2026-03-02"):
        file = tmp_path / "classifiers.yaml"
        file.write_text(f"- {{slug: j, signal: sentiment, versions: [{{version: v1, parameters: {{a: {value}}}}}]}}\n")
        with pytest.raises(SystemExit):
            call_command("classifiers", "apply", str(file))
    assert not ClassifierVersion.objects.exists()


def test_a_span_without_a_finite_time_is_undecodable(client: Client, headers: dict[str, str]) -> None:
    body = '[{"trace_id": "a", "span_id": "b", "start_time": Infinity}]'
    for url in ("/tracer/observation-span/create_otel_span/", "/v1/traces"):
        answer = client.post(url, data=body, content_type="application/json", headers=headers)
        assert answer.status_code == 400
