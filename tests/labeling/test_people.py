"""Signing in, and who may come where."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from labeling import tokens
from labeling.errors import Refused
from labeling.models import ApiToken
from tests.make import make_user

pytestmark = pytest.mark.django_db


def test_it_works(client: Client) -> None:
    make_user("ada", role="engineer")
    response = client.post("/sign-in/", {"username": "ada", "password": "correct horse"})
    assert (response.status_code, response["Location"]) == (302, "/")


def test_a_stranger_is_sent_to_the_sign_in_page(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 302
    assert response["Location"].startswith("/sign-in/")


def test_an_annotator_arrives_at_the_queues(client: Client) -> None:
    client.force_login(make_user("ann"))
    assert client.get("/")["Location"] == "/label/"


def test_a_token_is_stored_as_a_hash_only() -> None:
    token, secret = tokens.make(user=make_user("ada", role="engineer"), name="pipeline", scopes=["read"])
    assert secret not in str(vars(ApiToken.objects.get(id=token.id)))
    assert token.digest == tokens.digest(secret)


def test_a_token_reaches_no_further_than_its_role() -> None:
    with pytest.raises(Refused, match="cannot have 'ingest'"):
        tokens.make(user=make_user("ann"), name="x", scopes=["ingest"])


def test_the_command_leaves_out_what_the_role_does_not_reach(capsys: pytest.CaptureFixture[str]) -> None:
    make_user("ann")
    call_command("token", "ann", scopes="label,read")
    told = capsys.readouterr()
    assert ApiToken.objects.get(digest=tokens.digest(told.out.strip())).scopes == ["label"]
    assert told.err.startswith("without read: ann is annotator")
    for wanted in ("read,admin", "label,nonsense"):
        with pytest.raises(SystemExit):
            call_command("token", "ann", scopes=wanted)
    assert ApiToken.objects.count() == 1


def test_an_expired_or_revoked_token_is_refused() -> None:
    user = make_user("ada", role="admin")
    _, expired = tokens.make(user=user, name="old", scopes=["read"], expires_at=timezone.now() - timedelta(seconds=1))
    row, revoked = tokens.make(user=user, name="lost", scopes=["read"])
    tokens.revoke(token=row, now=timezone.now())
    for secret in (expired, revoked, "cx_unknown"):
        request = Request(APIRequestFactory().get("/", headers={"Authorization": f"Bearer {secret}"}))
        with pytest.raises(AuthenticationFailed):
            tokens.TokenAuthentication().authenticate(request)
