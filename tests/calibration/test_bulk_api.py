"""Whole files over HTTP: who may, in which shapes, and what a broken body does."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from labeling import tokens
from labeling.models import Conversation
from tests.make import make_user

pytestmark = pytest.mark.django_db

URL = "/api/v1/conversations/bulk/"


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"project:c/{n}", "turns": [{"role": "customer", "text": "hello"}]} for n in range(count)]


def lines(count: int) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows(count))


def secret(role: str = "engineer", scope: str = "ingest") -> dict[str, str]:
    _, text = tokens.make(user=make_user(role=role), name="pipeline", scopes=[scope])
    return {"Authorization": f"Token {text}"}


def post(client: Client, body: bytes, headers: dict[str, str], url: str = URL, **extra: Any) -> Any:
    return client.post(url, data=body, content_type="application/x-ndjson", headers=headers, **extra)


def test_it_works_and_again_changes_nothing(client: Client) -> None:
    headers = secret()
    assert post(client, lines(3), headers).json() == {"created": 3, "updated": 0, "unchanged": 0}
    assert post(client, lines(3), headers).json() == {"created": 0, "updated": 0, "unchanged": 3}
    assert Conversation.objects.filter(external_id="project:c/2").exists()


@pytest.mark.parametrize("shape", ["gzip", "array", "gzipped array", "members"])
def test_every_shape_of_body_is_read(client: Client, shape: str) -> None:
    array = json.dumps(rows(3), indent=1).encode()
    body = {
        "gzip": gzip.compress(lines(3)),
        "array": array,
        "gzipped array": gzip.compress(array),
        "members": gzip.compress(lines(2)) + gzip.compress(lines(3)[len(lines(2)) :]),
    }[shape]
    headers = secret() | ({} if shape == "array" else {"Content-Encoding": "gzip"})
    assert post(client, body, headers).json()["created"] == 3


def test_it_is_for_the_scope_ingest(client: Client) -> None:
    assert post(client, lines(1), secret(scope="read")).status_code == 403
    assert post(client, lines(1), {}).status_code == 401
    assert post(client, lines(1), {"Authorization": "Token cx_unknown"}).status_code == 401
    client.force_login(make_user("ann"))
    assert post(client, lines(1), {}).status_code == 403
    assert not Conversation.objects.exists()


def test_a_body_larger_than_what_django_reads_into_memory(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATA_UPLOAD_MAX_MEMORY_SIZE", 1000)
    assert post(client, lines(100), secret()).json()["created"] == 100


def test_a_body_cut_off_on_its_way_is_refused(client: Client) -> None:
    whole, part = lines(5), lines(3)
    cut = {"CONTENT_LENGTH": str(len(whole)), "wsgi.input": io.BytesIO(part)}
    response = client.generic("POST", URL, part, "application/x-ndjson", headers=secret(), **cut)
    assert (response.status_code, response.json()["code"]) == (400, "body_cut_off")
    assert not Conversation.objects.exists()


def test_a_body_in_chunks_is_read_to_its_end(client: Client) -> None:
    chunked = {"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(lines(4)), "wsgi.input_terminated": True}
    response = client.generic("POST", URL, b"", "application/x-ndjson", headers=secret(), **chunked)
    assert response.json()["created"] == 4


def test_a_body_of_unknown_length_or_encoding_is_refused(client: Client) -> None:
    response = client.generic("POST", URL, b"", "application/x-ndjson", headers=secret(), CONTENT_LENGTH="")
    assert response.status_code == 411
    assert post(client, lines(1), secret() | {"Content-Encoding": "br"}).status_code == 415


def test_partial_stores_what_is_right_and_tells_of_the_rest(client: Client) -> None:
    body = lines(1) + b"broken\n" + lines(2)[len(lines(1)) :]
    refused = post(client, body, secret())
    assert (refused.status_code, refused["Content-Type"]) == (422, "application/problem+json")
    assert [error["line"] for error in refused.json()["errors"]] == [2]
    told = post(client, body, secret(), f"{URL}?partial=true").json()
    assert (told["created"], told["refused"], told["errors"][0]["line"]) == (2, 1, 2)
