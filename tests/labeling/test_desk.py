"""The annotator's pages: who may, what they say, and that looking changes nothing."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from labeling import labels, leasing, queries
from labeling.models import Queue, Ruling, Slot, Submission, User
from tests.labeling.test_leasing import answer, lease
from tests.make import make_conversation, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def state_of(page: Any) -> dict[str, Any]:
    found = re.search(r'<script id="state" type="application/json">(.*?)</script>', page.content.decode(), re.S)
    assert found is not None
    state: dict[str, Any] = json.loads(found[1])
    return state


def test_it_works(ann: User) -> None:
    queue = make_queue("mood", members=[ann], items=2)
    client = signed_in(ann)
    assert "2 conversations wait for you in Mood" in client.get("/label/").content.decode()
    assert client.post("/label/mood/")["Location"] == "/label/mood/"
    state = state_of(client.get("/label/mood/"))
    assert state["item"]["assignment"] == queue.slots.get(state="leased").id
    assert state["signals"][0]["guideline_version"] == 1


@pytest.mark.parametrize("path", ["/label/mood/", "/label/mood/done/"])
def test_members_only(ann: User, path: str) -> None:
    make_queue("mood", members=[ann])
    assert signed_in(ann).get(path).status_code == 200
    assert signed_in(make_user("ben", role="admin")).get(path).status_code == 404
    assert Client().get(path)["Location"].startswith("/sign-in/")


def test_looking_takes_nothing(ann: User) -> None:
    make_queue("mood", members=[ann])
    client = signed_in(ann)
    for path in ("/label/", "/label/mood/", "/label/mood/done/"):
        assert client.get(path).status_code == 200
    assert not Slot.objects.exclude(state="free").exists()


def test_nothing_on_the_page_hints_at_others(ann: User) -> None:
    ben = make_user("ben")
    conversation = make_conversation("c-1", cohort="vip-cohort", customer="cu-secret")
    queue = make_queue("mood", conversations=[conversation], overlap=2, members=[ann, ben])
    slot = lease(ben, queue)
    signal = queue.queue_signals.get().signal.slug
    labels.submit(
        annotator=ben,
        slot_id=slot.id,
        answers=[{"signal": signal, "value": "positive", "comment": "hint-of-ben"}],
        key="k",
        now=timezone.now(),
    )
    client = signed_in(ann)
    client.post("/label/mood/")
    text = client.get("/label/mood/").content.decode()
    assert not [word for word in ("vip-cohort", "cu-secret", "hint-of-ben", '"ben"') if word in text]


@pytest.mark.parametrize(
    ("state", "words"), [("paused", "is paused"), ("closed", "is closed"), ("open", "nothing is left")]
)
def test_an_empty_queue_says_why(ann: User, state: str, words: str) -> None:
    queue = make_queue("mood", items=1, members=[ann])
    answer(ann, lease(ann, queue))
    Queue.objects.update(state=state)
    assert words in signed_in(ann).get("/label/mood/done/").content.decode()
    if state != "open":
        assert signed_in(ann).get("/label/mood/")["Location"] == "/label/mood/done/"


def test_what_is_left_counts_no_item_twice(ann: User) -> None:
    queue = make_queue("mood", items=4, overlap=3, members=[ann])
    answer(ann, lease(ann, queue), key="1")
    labels.skip(annotator=ann, slot_id=lease(ann, queue).id, reason="", key="2", now=timezone.now())
    lease(ann, queue)
    (row,) = queries.my_queues(ann)
    assert (row.done, row.left) == (1, 2)
    assert leasing.place(annotator=ann, queue=queue).left == 2


def test_desk_and_list_count_what_others_have_left_over(ann: User) -> None:
    """What two others have filled is not left for a third, and an item with two free slots is left once."""
    ben, cleo = make_user("ben"), make_user("cleo")
    queue = make_queue("mood", items=5, overlap=2, members=[ann, ben, cleo])
    for item in queue.items.all()[:2]:
        for slot, person in zip(item.slots.order_by("number"), (ben, cleo), strict=True):
            Slot.objects.filter(id=slot.id).update(state="done", annotator=person)
    assert queries.my_queues(ann)[0].left == 3
    page = signed_in(ann).get("/label/mood/")
    assert page.context["state"]["progress"] == {"done": 0, "left": 3, "more": False, "items": 5}
    assert "3 left for you" in signed_in(ann).get("/label/mood/done/").content.decode()


def test_desk_and_list_tell_of_the_same_pace(ann: User) -> None:
    """Also where somebody has become faster or slower over their last answers, here and in other queues."""
    mood, tone, fresh = (make_queue(slug, items=130, members=[ann]) for slug in ("mood", "tone", "fresh"))
    now = timezone.now()
    for number in range(120):
        for queue in (mood, tone):
            slot = queue.slots.get(position=number)
            Submission.objects.create(
                slot=slot, item=slot.item, annotator=ann, key=f"{slot.id}", kind="answer", answer={},
                seconds=(3 if queue == mood else 40) + number / 10, created_at=now - timedelta(minutes=number),
            )  # fmt: skip
    listed = {row.queue: row.pace for row in queries.my_queues(ann)}
    for queue in (mood, tone, fresh):
        state = signed_in(ann).get(f"/label/{queue.slug}/").context["state"]
        assert state["pace"] == listed[queue]
    assert listed[mood] < listed[fresh] < listed[tone]


def test_the_list_of_queues_takes_a_fixed_number_of_queries(ann: User, django_assert_num_queries: Any) -> None:
    signal = make_signal()
    for number in range(2):
        make_queue(f"q{number}", signals=[signal], members=[ann])
    with django_assert_num_queries(7):
        assert len(queries.my_queues(ann)) == 2
    for number in range(2, 8):
        make_queue(f"q{number}", signals=[signal], members=[ann])
    with django_assert_num_queries(7):
        assert len(queries.my_queues(ann)) == 8


def test_a_shift_ends_at_a_long_break(ann: User) -> None:
    queue = make_queue("mood", items=4, members=[ann])
    for key in "123":
        answer(ann, lease(ann, queue), key=key)
    now = timezone.now()
    Submission.objects.filter(key="1").update(created_at=now - timedelta(hours=3), seconds=90)
    Submission.objects.filter(key="2").update(created_at=now - timedelta(minutes=30), seconds=10)
    Submission.objects.filter(key="3").update(created_at=now, seconds=20)
    shift = queries.shift(annotator=ann, queue=queue, now=now)
    assert (shift.answers, shift.total, shift.pace, shift.seconds) == (2, 3, 15, 30)
    assert shift.began_at == now - timedelta(minutes=30)


def test_agreement_with_rulings_is_ones_own(ann: User) -> None:
    queue = make_queue("mood", items=2, members=[ann])
    for key in "12":
        answer(ann, lease(ann, queue), key=key)
    for item, value in zip(queue.items.order_by("position"), ("negative", "positive"), strict=True):
        Ruling.objects.create(
            conversation=item.conversation,
            signal=queue.queue_signals.get().signal,
            item=item,
            reviewer=make_user(role="reviewer"),
            value=value,
            reason="slip",
        )
    shift = queries.shift(annotator=ann, queue=queue, now=timezone.now())
    assert (shift.ruled, shift.agreed) == (2, 1)
    assert "1 of 2" in signed_in(ann).get("/label/mood/done/").content.decode()
