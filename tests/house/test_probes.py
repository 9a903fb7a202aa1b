"""Probes, and how errors leave."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.make import make_conversation, make_user

pytestmark = pytest.mark.django_db


def test_alive_and_ready(client: Client) -> None:
    assert client.get("/healthz").content == b"ok\n"
    assert client.get("/readyz").status_code == 200


def test_metrics_count_what_is_stored(client: Client) -> None:
    make_conversation()
    lines = client.get("/metrics").content.decode().splitlines()
    assert "cxlab_conversations 1" in lines
    assert "# TYPE cxlab_labels gauge" in lines


def test_the_api_answers_strangers_with_a_problem_document(client: Client) -> None:
    response = client.get("/api/v1/signals/")
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_an_address_of_the_api_that_does_not_exist_is_a_problem_document(client: Client) -> None:
    response = client.get("/api/v1/nothing/")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_an_object_of_the_api_that_does_not_exist_is_said_to_be_missing(client: Client) -> None:
    client.force_login(make_user("ada", role="engineer"))
    told = client.get("/api/v1/classifiers/nobody/versions/")
    assert (told.status_code, told.json()["code"]) == (404, "not_found")
    assert told.json()["errors"] == [{"field": None, "message": "There is no such classifier."}]
    told = client.get("/api/v1/datasets/gold/versions/9/")
    assert told.json()["errors"][0]["message"] == "There is no such dataset version."


def test_one_in_is_one_out_and_a_list_is_a_list(client: Client) -> None:
    client.force_login(make_user("ada", role="engineer"))
    signal = {
        "slug": "mood", "title": "Mood", "scale": "binary", "unit": "conversation",
        "categories": [{"value": "yes", "label": "Yes"}, {"value": "no", "label": "No"}],
    }  # fmt: skip
    judge = {"slug": "judge", "title": "Judge", "signal": "mood"}
    for path, entry in (("signals", signal), ("classifiers", judge)):
        made = client.post(f"/api/v1/{path}/", entry, "application/json")
        assert (made.status_code, made.json()["slug"]) == (201, entry["slug"])
        again = client.post(f"/api/v1/{path}/", [entry], "application/json")
        assert (again.status_code, [row["slug"] for row in again.json()]) == (200, [entry["slug"]])


def test_the_schema_is_openapi_3_1(client: Client) -> None:
    response = client.get("/api/schema/?format=json")
    assert response.json()["openapi"] == "3.1.0"


def test_a_page_that_does_not_exist_is_a_page(client: Client) -> None:
    client.force_login(make_user("ada", role="engineer"))
    response = client.get("/nothing/")
    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()
