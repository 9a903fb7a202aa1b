"""Keeping a queue: what is mixed in, by page and API; its pace and the time left; all of a change or nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from labeling import checks, pacing, queues
from labeling.errors import Refused
from labeling.models import Queue, Submission, User
from tests.calibration.test_annotators import label_all
from tests.make import make_conversation, make_known, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def queue() -> Queue:
    return make_queue("mood", items=20, overlap=2, members=[make_user("ann")], signals=[make_signal()])


@pytest.fixture
def engineer(client: Client) -> Client:
    client.force_login(make_user("eve", role="engineer"))
    return client


FORM = {
    "action": "mix",
    "overlap_most": "3",
    "repeat_share": "10",
    "repeat_after_items": "15",
    "repeat_after_minutes": "30",
    "gold_share": "5",
    "practice_size": "2",
    "practice_pass": "80",
    "gold_feedback": "1",
}


def test_it_works(queue: Queue, engineer: Client) -> None:
    other = make_queue(signals=[queue.queue_signals.get().signal], items=1)
    make_known(other, ["positive", "negative", "neutral"])
    page = engineer.get("/queues/mood/").content.decode()
    assert "known@1" in page and "No units of known answer yet" in page
    engineer.post("/queues/mood/change/", {**FORM, "gold": "known@1"})
    queue.refresh_from_db()
    assert (queue.overlap_most, queue.repeat_share, queue.repeat_after_items) == (3, 0.1, 15)
    assert (queue.gold_share, queue.gold_feedback, queue.practice_size, queue.practice_pass) == (0.05, True, 2, 0.8)
    assert queue.known_items.count() == 3
    page = engineer.get("/queues/mood/").content.decode()
    assert "up to 3 where they tie" in page and "3 units of known answer" in page
    engineer.post("/queues/mood/change/", {**FORM, "overlap_most": "", "practice_size": "0"})
    queue.refresh_from_db()
    assert (queue.overlap_most, queue.practice_size) == (None, 0)


def test_a_change_that_cannot_be_changes_nothing(queue: Queue, engineer: Client) -> None:
    before = Queue.objects.values().get(slug="mood")
    for wrong in (
        {"gold_share": "60"},
        {"repeat_share": "x"},
        {"practice_size": "9"},
        {"overlap_most": "1"},
        {"gold": "no@1"},
    ):
        assert engineer.post("/queues/mood/change/", FORM | wrong).status_code in (404, 422), wrong
        assert Queue.objects.values().get(slug="mood") == before, wrong


def test_the_api(queue: Queue, engineer: Client) -> None:
    other = make_queue(signals=[queue.queue_signals.get().signal], items=1)
    make_known(other, ["positive", "negative", "neutral"])

    def patch(body: dict[str, object]) -> tuple[int, dict[str, object]]:
        response = engineer.patch("/api/v1/queues/mood/", body, content_type="application/json")
        return response.status_code, response.json()

    status, told = patch({"gold": ["known@1"], "gold_share": 0.1, "repeat_share": 0.1, "overlap_most": 4})
    assert status == 200
    assert (told["gold_share"], told["repeat_share"], told["overlap_most"], told["practice_size"]) == (0.1, 0.1, 4, 0)
    assert patch({"repeat_share": 0.45, "state": "closed"})[0] == 422
    assert Queue.objects.get(slug="mood").state == "open"
    assert patch({"overlap_most": None})[1]["overlap_most"] is None


def test_the_length_of_a_lease(queue: Queue, engineer: Client) -> None:
    def sent(method: str, address: str, body: dict[str, object]) -> tuple[int, dict[str, Any]]:
        response = getattr(engineer, method)(f"/api/v1/{address}", body, content_type="application/json")
        return response.status_code, response.json()

    drawn = {"slug": "fresh", "signal": "sentiment", "size": 3}
    assert sent("post", "queues/", drawn | {"lease_seconds": 7200})[1]["lease_seconds"] == 7200
    assert sent("post", "queues/", drawn | {"slug": "usual"})[1]["lease_seconds"] == 900
    for seconds in (10, 86_400):
        status, told = sent("patch", "queues/mood/", {"lease_seconds": seconds})
        assert (status, told["lease_seconds"]) == (200, seconds)
    assert sent("patch", "queues/mood/", {"priority": 3})[1]["lease_seconds"] == 86_400
    for wrong in (9, 86_401, -1, "long", None):
        for method, address, body in (
            ("patch", "queues/mood/", {"state": "closed"}),
            ("post", "queues/", drawn | {"slug": "x"}),
        ):
            status, told = sent(method, address, body | {"lease_seconds": wrong})
            assert (status, [one["field"] for one in told["errors"]]) == (400, ["lease_seconds"]), (wrong, told)
    with pytest.raises(Refused):
        queues.change(queue=queue, settings={"lease_seconds": 9})
    queue.refresh_from_db()
    assert (queue.lease_seconds, queue.state) == (86_400, "open")
    assert set(Queue.objects.values_list("slug", flat=True)) == {"mood", "fresh", "usual"}
    # Who labels changes nothing of it.
    engineer.force_login(User.objects.get(username="ann"))
    assert sent("patch", "queues/mood/", {"lease_seconds": 100})[0] == 403
    assert sent("post", "queues/", drawn | {"slug": "x", "lease_seconds": 100})[0] == 403
    engineer.logout()
    assert sent("patch", "queues/mood/", {"lease_seconds": 100})[0] == 401


def test_why_an_answer_is_known(queue: Queue, client: Client) -> None:
    make_known(queue, ["positive"])
    known = queue.known_items.get()
    address = f"/queues/mood/known/{known.id}/"
    for name, status in (("ann", 403), ("zoe", 403)):
        client.force_login(User.objects.filter(username=name).first() or make_user(name))
        assert (
            client.get("/queues/mood/known/").status_code
            == client.post(address, {"explanation": "x"}).status_code
            == status
        )
    client.force_login(make_user("rita", role="reviewer"))
    assert "without a word why" in client.get("/queues/mood/known/").content.decode()
    client.post(address, {"explanation": "They thank <b>twice</b>."})
    page = client.get("/queues/mood/known/").content.decode()
    assert "They thank &lt;b&gt;twice&lt;/b&gt;." in page
    assert client.post(address, {"explanation": "x" * 3000}).status_code == 422


def test_known_answers_come_a_page_at_a_time(queue: Queue, client: Client) -> None:
    make_known(queue, ["positive", "negative", "neutral"] * 15, explanation="As ruled.")
    client.force_login(make_user("rita", role="reviewer"))
    ids = list(queue.known_items.order_by("id").values_list("id", flat=True))

    def shown(address: str) -> list[int]:
        page = client.get(address).content.decode()
        return [int(one) for one in re.findall(r'id="explain-(\d+)"', page)]

    pages = [shown(f"/queues/mood/known/?page={number}") for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [20, 20, 5] and [one for page in pages for one in page] == ids
    assert shown("/queues/mood/known/?page=many") == pages[0] and shown("/queues/mood/known/?page=99") == pages[2]
    assert "Sentiment: Positive" in client.get("/queues/mood/known/").content.decode()
    told = client.post(f"/queues/mood/known/{ids[30]}/", {"explanation": "Twice thanked.", "page": "2"})
    assert told["Location"] == "/queues/mood/known/?page=2"


def test_the_pace_is_the_queues_own(queue: Queue, engineer: Client) -> None:
    now = timezone.now()
    progress = queues.progress([queue])[queue.id]
    assert pacing.read(queue, progress=progress, now=now) == pacing.Pace((0,) * 24, None, None, None, None)
    label_all(User.objects.get(username="ann"), queue, lambda slot: "neutral")
    for place, act in enumerate(Submission.objects.order_by("id")):
        Submission.objects.filter(id=act.id).update(
            created_at=now - timedelta(hours=10 * place / 20, minutes=5), seconds=6
        )
    progress = queues.progress([queue])[queue.id]
    pace = pacing.read(queue, progress=progress, now=now)
    assert progress.wanted - progress.done == 20
    assert (pace.today, pace.seconds, pace.work_left) == (20, 6, timedelta(minutes=2))
    assert pace.a_day == pytest.approx(20 / (9.5 + 1 / 12) * 24)
    assert pace.done_at is not None
    assert pace.done_at - now == pytest.approx(timedelta(hours=9.5, minutes=5), abs=timedelta(seconds=1))
    page = engineer.get("/queues/mood/").content.decode()
    assert "about 2 minutes of work left, at 6.0 s an item" in page and "20 answers in the last 24 hours" in page
    part = engineer.get("/queues/mood/", headers={"hx-request": "true"}).content.decode()
    assert "<html" not in part and "Answers by hour" in part


def test_what_is_mixed_in_is_chosen_while_drawing(engineer: Client) -> None:
    """On the page, over HTTP and by command alike; what cannot be draws nothing."""
    signal = make_signal()
    make_known(make_queue("old", signals=[signal], items=1), ["positive", "negative", "neutral"])
    for _ in range(6):
        make_conversation(source="new")
    form = {
        "title": "Mixed",
        "source": "new",
        "signal": "sentiment",
        "size": "5",
        "strategy": "uniform",
        "overlap": "1",
    }
    mix = {name: value for name, value in FORM.items() if name not in ("action", "overlap_most")} | {"gold": "known@1"}
    page = engineer.get("/queues/new/").content.decode()
    assert all(f'name="{name}"' in page for name in mix) and "known@1: Sentiment, 3" in page
    mixed_up = {**form, **mix, "gold_share": "45", "repeat_share": "45"}
    for wrong in (mixed_up, {**form, **mix, "practice_size": "9"}, {**form, "gold_share": "10"}):
        assert engineer.post("/queues/new/", wrong).status_code == 422
        assert not Queue.objects.filter(slug="mixed").exists()
    drawn = engineer.post("/queues/new/", {**form, **mix})
    assert drawn.status_code == 302, drawn.context["form"].errors
    row = Queue.objects.values(*checks.SETTINGS).get(slug="mixed")
    assert row == {
        "repeat_share": 0.1, "repeat_after_items": 15, "repeat_after_minutes": 30, "gold_share": 0.05,
        "gold_feedback": True, "practice_size": 2, "practice_pass": 0.8,
    }  # fmt: skip
    assert engineer.post("/queues/new/", form | {"title": "Plain"}).status_code == 302
    plain = Queue.objects.get(slug="plain")
    assert (plain.repeat_share, plain.gold_share, plain.practice_size, plain.repeat_after_items) == (0, 0, 0, 20)
    body = {
        "slug": "api",
        "signals": ["sentiment"],
        "size": 2,
        "frame": {"source": ["new"]},
        "gold": ["known@1"],
        "gold_share": 0.2,
        "practice_size": 1,
    }
    told = engineer.post("/api/v1/queues/", body, content_type="application/json").json()
    assert (told["gold_share"], told["practice_size"]) == (0.2, 1)
    call_command(
        "sample", "command", "--signal", "sentiment", "--size", "2", "--source", "new", "--gold", "known@1", "--gold-share", "0.1",
        "--repeat-share", "0.2", "--practice-size", "2",
    )  # fmt: skip
    made = Queue.objects.get(slug="command")
    assert (made.gold_share, made.repeat_share, made.practice_size, made.gold_feedback) == (0.1, 0.2, 2, False)


def test_drawing_is_for_engineers(client: Client) -> None:
    client.force_login(make_user("rita", role="reviewer"))
    assert client.post("/queues/new/", FORM).status_code == 403
    client.logout()
    assert client.post("/queues/new/", FORM).status_code == 302
