"""A person's evidence: what hidden repeats, gold checks and rulings tell, who may see it, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from calibration import annotators
from labeling import adjudication, labels, leasing, tokens
from labeling.models import CheckAnswer, Label, Queue, Submission, User
from tests.make import make_known, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db
VALUES = ("negative", "neutral", "positive")


def label_all(annotator: User, queue: Queue, say: Any) -> None:
    """Label until nothing is left; `say(slot)` is the answer."""
    slug, count = queue.queue_signals.get().signal.slug, 0
    while (slot := leasing.lease(annotator=annotator, queue=queue, now=timezone.now())) is not None:
        answers = [{"signal": slug, "value": say(slot)}]
        key = f"{annotator.id}-{count}"
        labels.submit(
            annotator=annotator, slot_id=slot.id, answers=answers, key=key, now=timezone.now(), seconds=3.0 + count % 4
        )
        count += 1


def test_four_annotators_of_known_error_are_estimated() -> None:
    """Hidden repeats and gold checks, through the same verbs as the page: every one of the eight intervals covers.

    One fixed draw: the places of checks follow from the ids of queue and person, so these are given. How often intervals
    cover over many draws is told by `bench.steadiness_sim`.
    """
    rng = np.random.default_rng(7)
    accuracy = {"ann": 0.95, "ben": 0.85, "cleo": 0.75, "dev": 0.6}
    people = [make_user(name, id=90_001 + order) for order, name in enumerate(accuracy)]
    queue = make_queue(
        id=90_001, items=120, overlap=4, members=people, signals=[make_signal()],
        repeat_share=0.25, repeat_after_items=5, gold_share=0.25,
    )  # fmt: skip
    make_known(queue, [VALUES[number % 3] for number in range(80)])
    truth = {home: VALUES[at % 3] for at, home in queue.items.values_list("position", "conversation_id")}
    truth |= dict(queue.known_items.values_list("conversation_id", "answers__row__value"))
    for person in people:

        def say(slot: Any, right: float = accuracy[person.username]) -> str:
            value = truth[slot.unit.conversation_id]
            others = [other for other in VALUES if other != value]
            return value if rng.random() < right else str(rng.choice(others))

        label_all(person, queue, say)
    for person in people:
        (found,) = annotators.read(person=person, reader=make_user(role="engineer"), now=timezone.now()).signals
        right = accuracy[person.username]
        for one in (found.known, found.implied):
            assert one.n >= 40
            assert one.low is not None and one.high is not None and one.value is not None
            assert one.low <= right <= one.high, (person.username, one)
            assert one.high - one.low < 0.35
        assert found.pace.value is not None and found.labels == 120
    assert Label.objects.filter(item__queue=queue).count() == 480


@pytest.fixture
def queue() -> Queue:
    people = [make_user("ann"), make_user("ben")]
    made = make_queue("mood", items=30, members=people, signals=[make_signal()], repeat_share=0.3, repeat_after_items=2)
    label_all(people[0], made, lambda slot: "negative" if slot.item_id else "neutral")
    return made


def test_it_works(queue: Queue) -> None:
    ann = User.objects.get(username="ann")
    (found,) = annotators.read(person=ann, reader=make_user(role="engineer"), now=timezone.now()).signals
    repeats = CheckAnswer.objects.count()
    assert (found.repeats.value, found.repeats.n, found.labels) == (0.0, repeats, 30)
    assert {row["value"]: row["repeats"].n for row in found.by_category} == {
        "negative": repeats, "neutral": 0, "positive": 0
    }  # fmt: skip
    assert found.known.value is None and found.rulings.value is None


def test_rulings_count_as_they_stand(queue: Queue) -> None:
    ann, rita = User.objects.get(username="ann"), make_user("rita", role="reviewer")
    signal = queue.queue_signals.get().signal
    for item, value in zip(queue.items.all()[:4], ("negative", "positive", "negative", "negative"), strict=True):
        adjudication.rule(
            reviewer=rita, signal=signal, conversation=item.conversation, value=value, reason="slip", now=timezone.now()
        )
    (found,) = annotators.read(person=ann, reader=ann, now=timezone.now()).signals
    assert (found.rulings.value, found.rulings.n) == (0.75, 4)


def test_checks_of_the_present_shift_are_told_to_the_person_only_after_it(queue: Queue) -> None:
    """A count that moved with one answer would tell which item was a check."""
    ann = User.objects.get(username="ann")
    (now_seen,) = annotators.read(person=ann, reader=ann, now=timezone.now()).signals
    assert now_seen.repeats.n == 0
    later = timezone.now() + timedelta(minutes=61)
    (after,) = annotators.read(person=ann, reader=ann, now=later).signals
    assert after.repeats.n == CheckAnswer.objects.count() > 0


@pytest.mark.parametrize(
    ("name", "role", "status"),
    [("ann", "annotator", 200), ("eve", "engineer", 200), ("ada", "admin", 200), ("ben", "annotator", 403),
     ("zoe", "annotator", 404), ("rita", "reviewer", 404)],
)  # fmt: skip
def test_who_may_see_it(queue: Queue, client: Client, name: str, role: str, status: int) -> None:
    reader = User.objects.filter(username=name).first() or make_user(name, role=role)
    client.force_login(reader)
    assert client.get("/people/ann/").status_code == status
    _, secret = tokens.make(user=reader, name="t", scopes=["label"])
    client.logout()
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/v1/people/ann/", headers=headers).status_code == status
    assert client.get("/people/ann/").status_code == 302


def test_the_page_names_nobody_else(queue: Queue, client: Client) -> None:
    ben = User.objects.get(username="ben")
    Queue.objects.update(overlap=2)
    client.force_login(ben)
    page = client.get("/people/ben/").content.decode()
    assert "ann" not in page.replace("annotator", "")
    client.force_login(User.objects.get(username="ann"))
    Submission.objects.update(created_at=timezone.now() - timedelta(hours=3))
    page = client.get("/people/ann/").content.decode()
    assert "You give the same answer to 0 %" in page
    assert client.get("/people/", follow=True).redirect_chain == [("/people/ann/", 302)]


def test_numbers_and_sets_have_a_retest_too() -> None:
    for signal, first, second in (
        (make_signal("effort", scale="interval", minimum=1, maximum=5), 2, 4),
        (make_signal("topics", scale="multilabel"), ["negative"], ["negative", "positive"]),
    ):
        ann = make_user()
        made = make_queue(items=20, members=[ann], signals=[signal], repeat_share=0.4, repeat_after_items=0)
        label_all(ann, made, lambda slot, one=first, two=second: one if slot.item_id else two)
        (found,) = annotators.read(person=ann, reader=make_user(role="engineer"), now=timezone.now()).signals
        assert found.repeats.value == 0.0
        assert found.retest.n == found.repeats.n or found.retest.reason
        assert found.implied.value is None
