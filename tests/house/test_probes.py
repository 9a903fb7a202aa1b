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


def test_the_schema_is_openapi_3_1(client: Client) -> None:
    response = client.get("/api/schema/?format=json")
    assert response.json()["openapi"] == "3.1.0"


def test_a_page_that_does_not_exist_is_a_page(client: Client) -> None:
    client.force_login(make_user("ada", role="engineer"))
    response = client.get("/nothing/")
    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()
