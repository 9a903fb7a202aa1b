"""Pages of gold: who may see them, what they say, and that freezing goes through the form."""

from __future__ import annotations

import pytest
from django.test import Client

from labeling.models import DatasetVersion
from tests.labeling.test_gold import freeze, give
from tests.make import make_conversation, make_signal, make_user

pytestmark = pytest.mark.django_db
FORM = {"dataset": "gold", "signal": "sentiment", "aggregation": "majority", "min_labels": "1"}


@pytest.fixture
def engineer(client: Client) -> Client:
    client.force_login(make_user("eve", role="engineer"))
    return client


def make_version() -> DatasetVersion:
    signal = make_signal()
    for number in range(12):
        votes = {"ann": "negative", "ben": "neutral" if number % 4 == 0 else "negative"}
        give(make_conversation(f"c{number}", channel="voice", cohort="trial"), votes)
    give(make_conversation("d"), {"ann": "positive", "ben": "positive"})
    return freeze(signal)


def test_it_works(engineer: Client) -> None:
    version = make_version()
    page = engineer.get("/datasets/gold/1/").content.decode()
    assert "10 gold items; 3 left open. People agree at alpha" in page
    assert version.sha256 in page
    assert "trial" in page and "voice" in page
    assert "/datasets/gold/1/fit/" in page
    assert f"gold@{version.number}" in engineer.get("/datasets/").content.decode()


def test_an_empty_workspace_says_what_to_do(engineer: Client) -> None:
    assert "Draw a queue" in engineer.get("/datasets/").content.decode()


def test_the_preview_counts_before_anything_is_frozen(engineer: Client) -> None:
    make_signal()
    give(make_conversation(), {"ann": "negative", "ben": "neutral"})
    give(make_conversation(), {"ann": "negative"})
    page = engineer.get("/datasets/freeze/preview/", FORM).content.decode()
    assert "<b>1</b> gold items" in page
    assert "tie" in page
    assert not DatasetVersion.objects.exists()


def test_freezing_by_the_form(engineer: Client) -> None:
    make_signal()
    give(make_conversation(), {"ann": "negative"})
    response = engineer.post("/datasets/freeze/", FORM)
    assert (response.status_code, response["Location"]) == (302, "/datasets/gold/1/")
    assert DatasetVersion.objects.get().created_by.username == "eve"  # type: ignore[union-attr]


def test_what_cannot_be_frozen_says_why_in_the_form(engineer: Client) -> None:
    make_signal()
    response = engineer.post("/datasets/freeze/", FORM)
    assert response.status_code == 422
    assert "there are no labels of sentiment" in response.content.decode()


def test_verify_says_so(engineer: Client) -> None:
    make_version()
    page = engineer.post("/datasets/gold/1/verify/", follow=True).content.decode()
    assert "still gives sha256" in page
    assert engineer.get("/datasets/gold/1/verify/").status_code == 405


def test_the_page_exports_what_the_api_does(engineer: Client) -> None:
    version = make_version()
    response = engineer.get("/datasets/gold/1/export/?format=csv")
    assert response["X-Dataset-SHA256"] == version.sha256
    assert b"".join(response.streaming_content).count(version.sha256.encode()) == version.item_count  # type: ignore[attr-defined]


def test_who_may_and_who_may_not(client: Client) -> None:
    make_version()
    for path in ("/datasets/", "/datasets/gold/1/", "/datasets/freeze/", "/datasets/gold/1/export/"):
        client.logout()
        assert client.get(path)["Location"].startswith("/sign-in/"), path
        client.force_login(make_user(role="reviewer"))
        assert client.get(path).status_code == 403, path
    client.force_login(make_user(role="engineer"))
    assert client.get("/datasets/gold/2/").status_code == 404


def test_the_page_asks_a_fixed_number_of_queries(engineer: Client, django_assert_max_num_queries: object) -> None:
    make_version()
    with django_assert_max_num_queries(25):  # type: ignore[operator]
        engineer.get("/datasets/gold/1/")
