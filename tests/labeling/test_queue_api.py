"""Labelling over HTTP: the contract's shapes, who may, and how few queries it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from labeling import tokens
from labeling.models import Guideline, Label, Queue, Slot, User
from tests.make import make_conversation, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db

Post = Callable[..., Any]


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def caller(user: User, scopes: tuple[str, ...] = ("label",)) -> Post:
    _, secret = tokens.make(user=user, name="t", scopes=list(scopes))

    def post(path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {secret}"}
        return Client().post(
            f"/api/v1/{path}", json.dumps(body or {}), content_type="application/json", headers=headers
        )

    return post


def body_for(item: dict[str, Any], value: Any = "negative", **kw: Any) -> dict[str, Any]:
    answers = [{"signal": signal["slug"], "value": value} for signal in item["signals"]]
    return {"labels": answers, "seconds": 3.5, "key": f"k-{item['assignment']}", **kw}


def test_it_works(ann: User) -> None:
    queue = make_queue("mood", signals=[make_signal("sentiment")], items=2, members=[ann])
    post = caller(ann)
    item = post("queues/mood/next/").json()
    assert set(item) >= {"assignment", "lease_expires_at", "conversation", "signals", "progress"}
    assert [category["key"] for category in item["signals"][0]["categories"]] == ["1", "2", "3"]
    assert item["progress"] == {"done": 0, "left": 2, "more": False, "items": 2}
    answer = post(f"assignments/{item['assignment']}/submit/", body_for(item))
    assert answer.status_code == 201
    again = post(f"assignments/{item['assignment']}/submit/", body_for(item, value="positive"))
    assert (again.status_code, again.json()) == (200, answer.json())
    assert list(Label.objects.values_list("value", "seconds")) == [("negative", 3.5)]
    assert queue.slots.filter(state="done").count() == 1


def test_an_answer_brings_the_next_item_along(ann: User) -> None:
    make_queue("mood", items=2, members=[ann])
    post = caller(ann)
    first = post("queues/mood/next/").json()
    second = post(f"assignments/{first['assignment']}/submit/", body_for(first, next=True)).json()["next"]
    assert second["assignment"] != first["assignment"]
    assert second["progress"]["done"] == 1
    last = post(f"assignments/{second['assignment']}/submit/", body_for(second, next=True)).json()
    assert last["next"] is None
    assert post("queues/mood/next/").status_code == 204


def test_progress_counts_this_queue_alone(ann: User) -> None:
    make_queue("other", items=7, members=[ann])
    make_queue("mood", items=3, overlap=2, members=[ann])
    post = caller(ann)
    first = post("queues/mood/next/").json()
    assert first["progress"] == {"done": 0, "left": 3, "more": False, "items": 3}
    second = post(f"assignments/{first['assignment']}/submit/", body_for(first, next=True)).json()["next"]
    assert second["progress"] == {"done": 1, "left": 2, "more": False, "items": 3}


def test_holding_an_item_gives_another(ann: User) -> None:
    make_queue("mood", items=3, members=[ann])
    post = caller(ann)
    first = post("queues/mood/next/").json()["assignment"]
    assert post("queues/mood/next/").json()["assignment"] == first
    assert post("queues/mood/next/", {"holding": [first]}).json()["assignment"] != first


def test_what_bends_judgement_is_not_served(ann: User) -> None:
    conversation = make_conversation(
        "c-blind",
        turns=[{"role": "customer", "text": "Hello", "score": "leak"}],
        cohort="vip-cohort",
        customer="cu-secret",
        summary="leak",
        attributes={"x": "leak"},
        metadata={"prediction": "leak"},
    )
    for shows, slug in ((False, "blind"), (True, "open")):
        make_queue(slug, conversations=[conversation], members=[ann], shows_cohort=shows)
        text = caller(ann)(f"queues/{slug}/next/").content.decode()
        assert "leak" not in text
        assert ("vip-cohort" in text, "cu-secret" in text) == (shows, shows)


@pytest.mark.parametrize("path", ["submit/", "skip/", "flag/", "undo/", "renew/", "release/"])
def test_an_assignment_is_for_members_only(ann: User, path: str) -> None:
    queue = make_queue("mood", members=[ann])
    item = caller(ann)("queues/mood/next/").json()
    address = f"assignments/{item['assignment']}/{path}"
    body = body_for(item) | {"reason": "other"}
    assert Client().post(f"/api/v1/{address}", body, content_type="application/json").status_code == 401
    assert caller(make_user("bob", role="engineer"), ("read",))(address, body).status_code == 403
    assert caller(make_user("eve", role="admin"))(address, body).status_code == 404
    assert not Label.objects.exists()
    assert Slot.objects.filter(queue=queue, state="leased").count() == 1


def test_a_queue_is_for_members_only(ann: User) -> None:
    make_queue("mood", members=[ann])
    assert Client().post("/api/v1/queues/mood/next/").status_code == 401
    assert caller(make_user("eve", role="admin"))("queues/mood/next/").status_code == 404
    assert caller(make_user("bob", role="engineer"), ("read",))("queues/mood/next/").status_code == 403


def test_a_late_answer_is_a_conflict_each_time_and_is_kept(ann: User) -> None:
    ben = make_user("ben")
    queue = make_queue("mood", items=1, members=[ann, ben])
    item = caller(ann)("queues/mood/next/").json()
    Slot.objects.filter(queue=queue).update(annotator=ben, state="done", leased_until=None)
    for _ in range(2):
        late = caller(ann)(f"assignments/{item['assignment']}/submit/", body_for(item))
        assert (late.status_code, late.json()["code"]) == (409, "late")
    assert list(Label.objects.values_list("late", flat=True)) == [True]


def test_skip_flag_and_undo(ann: User) -> None:
    make_queue("mood", items=2, members=[ann])
    post = caller(ann)
    first = post("queues/mood/next/").json()["assignment"]
    assert post(f"assignments/{first}/skip/", {"reason": "language"}).json()["kind"] == "skip"
    back = post("queues/mood/undo/").json()
    assert (back["answer"]["kind"], back["answer"]["reason"]) == ("skip", "language")
    flagged = post(f"assignments/{back['assignment']}/flag/", {"reason": "unclear", "comment": "?"})
    assert flagged.json()["kind"] == "flag"
    second = post("queues/mood/next/").json()
    post(f"assignments/{second['assignment']}/submit/", body_for(second))
    undone = post(f"assignments/{second['assignment']}/undo/").json()
    assert undone["answer"]["labels"][0]["value"] == "negative"
    assert undone["assignment"] == second["assignment"]


def test_the_guidelines_are_readable_with_the_scope_of_a_label(ann: User) -> None:
    signal = make_signal("sentiment")
    make_queue("mood", signals=[signal], members=[ann])
    Guideline.objects.create(signal=signal, version=2, text="Look at the end.")
    client = Client()
    client.force_login(ann)
    found = client.get("/api/v1/queues/mood/guidelines/").json()["guidelines"]
    assert [(one["version"], one["text"]) for one in found] == [(2, "Look at the end.")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"labels": None}, "labels"),
        ({"labels": [1]}, "labels"),
        ({"key": None}, "key"),
        ({"key": "x" * 65}, "key"),
        ({"seconds": -1}, "seconds"),
        ({"seconds": "fast"}, "seconds"),
        ({"guidelines": {"sentiment": "1"}}, "guidelines"),
        ({"guidelines": {"sentiment": 9}}, "guidelines"),
        ({"comment": 5}, "comment"),
        ({"comment": "x" * 10_001}, "comment"),
        ({"comment": "nul \x00"}, "comment"),
        ({"key": "half a pair \ud800"}, "key"),
        ({"labels": [{"signal": "sentiment", "value": "neutral", "comment": ["x"]}]}, "labels.sentiment.comment"),
    ],
)
def test_a_wrong_body_names_its_field(ann: User, change: dict[str, Any], field: str) -> None:
    make_queue("mood", signals=[make_signal("sentiment")], members=[ann])
    post = caller(ann)
    item = post("queues/mood/next/").json()
    refused = post(f"assignments/{item['assignment']}/submit/", body_for(item) | change)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert not Label.objects.exists()


def test_ones_own_keys(ann: User) -> None:
    client = Client()
    client.force_login(ann)

    def put(keys: dict[str, Any]) -> Any:
        return client.put("/api/v1/keymap/", json.dumps(keys), content_type="application/json")

    assert put({"skip": "x"}).json()["skip"] == "x"
    ann.refresh_from_db()
    assert ann.keymap == {"skip": "x"}
    for wrong in ({"skip": "f"}, {"fly": "x"}, {"skip": "xx"}, {"skip": 1}):
        assert put(wrong).status_code == 422
    ann.refresh_from_db()
    assert ann.keymap == {"skip": "x"}


def test_queries_do_not_grow(ann: User, django_assert_max_num_queries: Any) -> None:
    queue: Queue = make_queue("mood", items=30, overlap=2, members=[ann])
    post = caller(ann)
    item = post("queues/mood/next/").json()
    for _ in range(20):
        item = post(f"assignments/{item['assignment']}/submit/", body_for(item, next=True)).json()["next"]
    assert queue.slots.filter(state="done").count() == 20
    # One is the token's; claiming and storing are savepoints here, two statements each, transactions outside of tests.
    # Where there are many writers, the person's membership is locked.
    with django_assert_max_num_queries(1 + 5 + 2 + 1 + connection.features.has_select_for_update):
        post("queues/mood/next/", {"holding": [item["assignment"]]})
    with django_assert_max_num_queries(1 + 5 + 2 + 1):
        post(f"assignments/{item['assignment']}/submit/", body_for(item))


def test_numbers_beyond_every_range_are_refused(ann: User) -> None:
    make_queue("size", signals=[make_signal("effort", scale="interval")], items=1, members=[ann])
    post = caller(ann)
    item = post("queues/size/next/").json()
    assert post(f"assignments/{item['assignment']}/submit/", body_for(item, value=10**400)).status_code == 422
    assert post(f"assignments/{10**30}/submit/", body_for(item, value=1)).status_code == 404
    assert post("queues/size/next/", {"holding": [2**70]}).status_code == 422
