"""The pages and the API of queues."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from labeling import queues
from labeling.errors import Refused
from labeling.models import Queue, Slot
from tests.make import make_frame, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


def wanted(**kw: Any) -> dict[str, Any]:
    return {"title": "Pilot one", "signal": "sentiment", "size": "12", "strategy": "uniform", "overlap": "2"} | kw


def test_it_works(client: Client) -> None:
    make_frame({("chat", "smb"): 30, ("voice", "smb"): 10})
    make_signal()
    make_user("ann")
    client.force_login(make_user("eve", role="engineer"))
    response = client.post("/queues/new/", wanted(member=["ann"], channel=["voice"], hides_names="on"))
    assert response["Location"] == "/queues/pilot-one/"
    queue = Queue.objects.get()
    assert (queue.items.count(), queue.overlap, queue.created_by.username) == (10, 2, "eve")
    assert queue.design["frame"] == {"channels": ["voice"]}
    assert "0 of 20 labels" in client.get("/queues/pilot-one/").text
    client.post("/queues/new/", wanted())
    assert Queue.objects.filter(slug="pilot-one-2").exists()


def test_the_preview_counts_by_channel_and_cohort_and_stores_nothing(client: Client) -> None:
    make_frame({("chat", "smb"): 30, ("voice", "smb"): 10})
    make_signal()
    client.force_login(make_user(role="engineer"))
    htmx = {"HX-Request": "true"}
    shown = client.get("/queues/new/", wanted(strategy="stratified", by="channel"), headers=htmx).text
    assert "12 of 40 units" in shown and "9 <small>of 30</small>" in shown and "3 <small>of 10</small>" in shown
    assert "to within ±" in shown
    assert "choose what is asked" in client.get("/queues/new/", {"size": 3, "strategy": "uniform"}, headers=htmx).text
    assert "no classifier" not in shown and not Queue.objects.exists()
    unsure = client.get("/queues/new/", wanted(strategy="uncertainty"), headers=htmx).text
    assert "needs 1 classifier version" in unsure


def test_other_pages_can_link_to_a_form_that_is_nearly_filled(client: Client) -> None:
    make_frame({("chat", "smb"): 3, ("voice", "smb"): 3})
    make_signal()
    client.force_login(make_user(role="engineer"))
    shown = client.get("/queues/new/?signal=sentiment&channel=voice&size=41").text
    assert 'value="41"' in shown
    assert shown.count(" checked") == 3  # the signal, the channel, names hidden


def test_what_a_link_asks_for_is_offered_among_many_and_first(client: Client) -> None:
    """Beyond the boxes that fit, and without one it would be lost: the draw would be from everything."""
    make_frame({("chat", f"customer-{at:02d}"): 1 for at in range(50)})
    for slug in ("effort", "mood", "tone"):
        make_signal(slug)
    client.force_login(make_user("eve", role="engineer"))
    shown = client.get("/queues/new/", {"signal": ["tone"], "cohort": ["customer-47"]})
    offered = shown.context["form"]
    assert [str(value) for value, _ in offered.fields["signal"].choices] == ["tone", "effort", "mood"]
    assert [value for value, _ in offered.fields["cohort"].choices][:2] == ["customer-47", "customer-00"]
    chosen = re.findall(r'<input[^>]*name="(signal|cohort)" value="([^"]+)"[^>]*checked', shown.text)
    assert chosen == [("signal", "tone"), ("cohort", "customer-47")]


def test_refusals_stand_in_the_form(client: Client) -> None:
    make_frame({("chat", "smb"): 3})
    make_signal()
    client.force_login(make_user(role="engineer"))
    response = client.post("/queues/new/", wanted(strategy="stratified"))
    assert response.status_code == 422 and "a stratified sample needs" in response.text
    assert client.post("/queues/new/", wanted(size="none")).status_code == 422
    assert not Queue.objects.exists()


def test_a_queue_is_paused_widened_and_given_to_more_people(client: Client) -> None:
    client.force_login(make_user(role="engineer"))
    ann, ben = make_user("ann"), make_user("ben")
    queue = make_queue("pilot", items=3, members=[ann])
    change = "/queues/pilot/change/"
    client.post(change, {"action": "state", "state": "paused"})
    client.post(change, {"action": "priority", "priority": "5"})
    client.post(change, {"action": "overlap", "overlap": "2"})
    client.post(change, {"action": "add", "member": ["ben"]})
    queue.refresh_from_db()
    assert (queue.state, queue.priority, queue.overlap) == ("paused", 5, 2)
    assert Slot.objects.filter(queue=queue, number=1, state="free").count() == 3
    assert queue.memberships.get(user=ben).lane == 1
    Slot.objects.filter(queue=queue, number=0, position=0).update(
        state="leased", annotator=ann, leased_until="2099-01-01T00:00Z"
    )
    client.post(change, {"action": "remove", "name": "ann"})
    assert not Slot.objects.filter(annotator=ann).exists()
    assert client.post(change, {"action": "explode"}).status_code == 422
    assert client.post(change, {"action": "overlap", "overlap": "1"}).status_code == 422


def test_changes_are_for_engineers(client: Client) -> None:
    queue = make_queue("pilot", items=1)
    for role, status in (("annotator", 403), ("reviewer", 403), ("engineer", 302)):
        client.force_login(make_user(role=role))
        assert client.post("/queues/pilot/change/", {"action": "state", "state": "closed"}).status_code == status
    client.logout()
    assert client.post("/queues/pilot/change/", {"action": "state", "state": "open"})["Location"].startswith(
        "/sign-in/"
    )
    queue.refresh_from_db()
    assert queue.state == "closed"


def test_progress_counts_labels_and_whole_items() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=3, overlap=2, members=[ann, ben])
    first, second, _ = queue.items.all()
    Slot.objects.filter(item=first, number=0).update(state="done", annotator=ann)
    Slot.objects.filter(item=first, number=1).update(state="done", annotator=ben)
    Slot.objects.filter(item=second, number=0).update(state="skipped", annotator=ann)
    Slot.objects.create(item=second, queue=queue, number=2, position=1)
    told = queues.progress([queue])[queue.id]
    assert (told.items, told.finished, told.wanted, told.done) == (3, 1, 6, 2)
    assert [(row.user, row.done, row.skipped) for row in queues.members(queue)] == [(ann, 1, 1), (ben, 1, 0)]
    with pytest.raises(Refused):
        queues.change_state(queue=queue, state="gone")


def test_the_list_takes_a_fixed_number_of_queries(client: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(8):
        make_queue(f"q{number}", items=2)
    client.force_login(make_user(role="engineer"))
    with django_assert_max_num_queries(12):
        shown = client.get("/queues/")
    assert "16 labels to go" in shown.text
    with django_assert_max_num_queries(12):
        assert len(client.get("/api/v1/queues/").json()["results"]) == 8


def test_queues_over_http(client: Client) -> None:
    make_frame({("chat", "smb"): 30, ("voice", "smb"): 10})
    make_signal()
    make_user("ann")
    asked = {
        "slug": "pilot", "signals": ["sentiment"], "size": 8, "strategy": "stratified", "by": ["channel"], "seed": 3,
        "overlap": 2, "members": ["ann"], "frame": {"source": ["test"], "channel": ["voice", "chat"]},
    }  # fmt: skip
    assert client.post("/api/v1/queues/", asked, "application/json").status_code == 401
    client.force_login(make_user("eva", role="reviewer"))
    assert client.post("/api/v1/queues/", asked, "application/json").status_code == 403
    client.force_login(make_user("eve", role="engineer"))
    made = client.post("/api/v1/queues/", asked, "application/json")
    assert made.status_code == 201, made.text
    told = client.get("/api/v1/queues/pilot/").json()
    assert told["progress"] == {"items": 8, "finished": 0, "wanted": 16, "done": 0, "held": 0}
    assert (told["signals"], told["members"], told["seed"]) == (["sentiment"], ["ann"], 3)
    changed = client.patch("/api/v1/queues/pilot/", {"state": "paused", "members": ["eve"]}, "application/json").json()
    assert (changed["state"], changed["members"]) == ("paused", ["ann", "eve"])
    assert client.patch("/api/v1/queues/pilot/", {"members": ["zoe"]}, "application/json").status_code == 404
    assert client.post("/api/v1/queues/", asked, "application/json").status_code == 409
    wrong = client.post("/api/v1/queues/", asked | {"slug": "x", "signals": ["mood"]}, "application/json")
    assert wrong.status_code == 404 and wrong.json()["errors"][0]["field"] == "signal"
    alone = {"slug": "one", "signal": "sentiment", "size": 2}
    assert client.post("/api/v1/queues/", alone, "application/json").json()["signals"] == ["sentiment"]
    for both in ({}, {"signal": "sentiment", "signals": ["sentiment"]}, {"signals": []}):
        refused = client.post("/api/v1/queues/", {"slug": "two", "size": 2} | both, "application/json")
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "signals")
    misspelt = client.post(
        "/api/v1/queues/", alone | {"slug": "two", "frame": {"channels": ["voice"]}}, "application/json"
    )
    assert misspelt.status_code == 400 and misspelt.json()["errors"][0]["field"] == "frame.channels"
    assert not Queue.objects.filter(slug="two").exists()
    client.force_login(make_user())
    assert client.get("/api/v1/queues/pilot/").status_code == 403
