"""Asking again after a mended guideline, and which disagreements one more label may settle."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from labeling import adjudication, advice, gold, guidelines, labels, leasing, requeueing
from labeling.adjudication import Scope
from labeling.errors import Conflict, Forbidden, Refused
from labeling.models import Label, Queue, Signal, User
from tests.make import make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> list[User]:
    return [make_user(name) for name in ("ann", "ben", "cleo")]


@pytest.fixture
def rita() -> User:
    return make_user("rita", role="reviewer")


@pytest.fixture
def queue(people: list[User]) -> Queue:
    """Three items with two labels each: people differ on the first one."""
    made = make_queue("mood", items=3, overlap=2, members=people, signals=[make_signal()])
    for person, value in ((people[0], "negative"), (people[1], "positive")):
        for _ in range(3):
            say(person, made, value)
    return made


def say(annotator: User, queue: Queue, value: str) -> None:
    """Answer the next item: with `value` where it is the first one, else as everybody does."""
    slot = leasing.lease(annotator=annotator, queue=queue, now=timezone.now())
    assert slot is not None
    value = value if slot.position == 0 else "negative"
    labels.submit(
        annotator=annotator, slot_id=slot.id, answers=[{"signal": "sentiment", "value": value}],
        key=f"{annotator.id}-{Label.objects.count()}", now=timezone.now(),
    )  # fmt: skip


@pytest.fixture
def signal(queue: Queue) -> Signal:
    return queue.queue_signals.get().signal


def mend(signal: Signal, rita: User) -> None:
    guidelines.publish(signal=signal, text="Judge the last turn.", by=rita)


def test_it_works(queue: Queue, signal: Signal, people: list[User], rita: User) -> None:
    assert requeueing.outdated(queue) == []
    frozen = gold.freeze(dataset="g", signal=signal, queues=[queue], aggregation="majority", now=timezone.now())
    mend(signal, rita)
    (found,) = requeueing.outdated(queue)
    assert (found.items, found.split, found.newest) == (3, 1, 2)
    assert requeueing.requeue(queue=queue, signal=signal, by=rita, now=timezone.now(), only_split=True) == 2
    assert Label.objects.filter(superseded_at__isnull=True).count() == 4
    assert Label.objects.count() == 6
    say(people[0], queue, "positive")
    say(people[2], queue, "positive")
    assert leasing.lease(annotator=people[1], queue=queue, now=timezone.now()) is None
    current = Label.objects.filter(superseded_at__isnull=True, item__position=0)
    assert {(label.annotator.username, label.value, label.guideline.version) for label in current} == {  # type: ignore[union-attr]
        ("ann", "positive", 2), ("cleo", "positive", 2)
    }  # fmt: skip
    assert gold.verify(version=frozen)
    (left,) = requeueing.outdated(queue)
    assert left.items == 2


def test_everything_under_the_old_guideline_and_no_unit_that_is_ruled_on(
    queue: Queue, signal: Signal, rita: User
) -> None:
    item = queue.items.get(position=0)
    adjudication.rule(
        reviewer=rita, signal=signal, conversation=item.conversation, value="negative", reason="guideline_gap",
        now=timezone.now(),
    )  # fmt: skip
    mend(signal, rita)
    assert requeueing.requeue(queue=queue, signal=signal, by=rita, now=timezone.now()) == 4
    assert queue.slots.filter(state="free").count() == 4
    assert set(queue.slots.filter(state="done").values_list("item", flat=True)) == {item.id}
    with pytest.raises(Refused, match="older"):
        requeueing.requeue(queue=queue, signal=signal, by=rita, now=timezone.now())


def test_what_is_asked_again_cannot_be_undone(queue: Queue, signal: Signal, people: list[User], rita: User) -> None:
    mend(signal, rita)
    requeueing.requeue(queue=queue, signal=signal, by=rita, now=timezone.now())
    assert labels.undo(annotator=people[0], queue=queue, now=timezone.now()) is None


def test_who_may_and_when(queue: Queue, signal: Signal, people: list[User], rita: User, client: Client) -> None:
    mend(signal, rita)
    with pytest.raises(Forbidden):
        requeueing.requeue(queue=queue, signal=signal, by=people[0], now=timezone.now())
    body = {"signal": "sentiment"}
    for name, page, api in (("ann", 403, 403), ("zoe", 404, 403)):
        client.force_login(User.objects.filter(username=name).first() or make_user(name))
        assert client.post("/review/queue/mood/requeue/", body).status_code == page
        assert client.post("/api/v1/queues/mood/requeue/", body, content_type="application/json").status_code == api
    client.force_login(rita)
    assert "labelled before guideline 2" in client.get("/review/mood/").content.decode()
    Queue.objects.update(state="closed")
    with pytest.raises(Conflict):
        requeueing.requeue(queue=queue, signal=signal, by=rita, now=timezone.now())
    Queue.objects.update(state="open")
    told = client.post("/api/v1/queues/mood/requeue/", body | {"only_split": True}, content_type="application/json")
    assert told.json() == {"asked_again": 2}
    assert client.post("/review/queue/mood/requeue/", body, follow=True).status_code == 200
    assert queue.slots.filter(state="free").count() == 6


def advised(queue: Queue) -> advice.Advice:
    scope = Scope(queue=queue)
    (one,) = advice.of(scope, adjudication.disagreements(scope)).values()
    return one


def test_a_tie_of_two_may_be_settled_by_a_third(queue: Queue, people: list[User], rita: User, client: Client) -> None:
    assert advised(queue).label
    client.force_login(rita)
    assert "one more person may settle" in client.get("/review/mood/").content.decode()
    told = client.post("/api/v1/reviews/one-more/", {"queue": "mood"}, content_type="application/json")
    assert told.json() == {"asked": 1}
    assert "still to come" in advised(queue).why
    say(people[2], queue, "negative")
    assert "one mind" in advised(queue).why


def test_when_every_member_has_had_it_a_reviewer_rules(queue: Queue, people: list[User]) -> None:
    queue.memberships.filter(user=people[2]).delete()
    assert advised(queue) == advice.Advice(False, "Every member has had it.")


def test_what_is_often_mixed_up_is_for_the_guideline(people: list[User]) -> None:
    queue = make_queue("mix", items=12, overlap=2, members=people, signals=[make_signal()])
    for person, value in ((people[0], "negative"), (people[1], "positive")):
        for _ in range(12):
            slot = leasing.lease(annotator=person, queue=queue, now=timezone.now())
            assert slot is not None
            labels.submit(
                annotator=person, slot_id=slot.id, answers=[{"signal": "sentiment", "value": value}],
                key=str(slot.id), now=timezone.now(),
            )  # fmt: skip
    scope = Scope(queue=queue)
    told = advice.of(scope, adjudication.disagreements(scope))
    assert len(told) == 12 and not advice.wanting(told)
    assert all("mixed up" in one.why for one in told.values())


def test_the_page_asks_for_all_ties_at_once(queue: Queue, rita: User, people: list[User], client: Client) -> None:
    for name, status in (("ann", 403), ("zoe", 404)):
        client.force_login(User.objects.filter(username=name).first() or make_user(name))
        assert client.post("/review/queue/mood/further/").status_code == status
    client.force_login(rita)
    client.post("/review/queue/mood/further/")
    assert queue.slots.filter(item__position=0).count() == 3
    assert advice.ask_further(queue=queue, units=[adjudication.disagreements(Scope(queue=queue))[0].unit]) == 0
