"""Adaptive overlap: a further annotator only where the first ones leave a tie, and never more than the most."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labeling import labels, leasing, queues
from labeling.errors import Refused
from labeling.models import Queue, User
from tests.make import make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def people() -> list[User]:
    return [make_user() for _ in range(4)]


def say(annotator: User, queue: Queue, value: object) -> None:
    slot = leasing.lease(annotator=annotator, queue=queue, now=NOW)
    assert slot is not None
    answers = [{"signal": row.signal.slug, "value": value} for row in queue.queue_signals.all()]
    labels.submit(annotator=annotator, slot_id=slot.id, answers=answers, key=f"{slot.id}-{annotator.id}", now=NOW)


def slots(queue: Queue) -> list[str]:
    return list(queue.slots.exclude(state="skipped").order_by("number").values_list("state", flat=True))


def adaptive(people: list[User], **kw: object) -> Queue:
    return make_queue(items=1, overlap=2, overlap_most=4, members=people, **kw)  # type: ignore[arg-type]


def test_it_works(people: list[User]) -> None:
    queue = adaptive(people)
    say(people[0], queue, "negative")
    assert slots(queue) == ["done", "free"]
    say(people[1], queue, "positive")
    assert slots(queue) == ["done", "done", "free"]
    say(people[2], queue, "positive")
    assert slots(queue) == ["done", "done", "done"]
    assert leasing.lease(annotator=people[3], queue=queue, now=NOW) is None


def test_two_of_one_mind_are_enough(people: list[User]) -> None:
    queue = adaptive(people)
    say(people[0], queue, "negative")
    say(people[1], queue, "negative")
    assert slots(queue) == ["done", "done"]


def test_a_tie_of_three_asks_a_fourth_and_then_nobody(people: list[User]) -> None:
    queue = adaptive(people)
    for person, value in zip(people, ("negative", "neutral", "positive", "negative"), strict=True):
        say(person, queue, value)
    assert slots(queue) == ["done"] * 4
    full = make_queue(items=1, overlap=2, overlap_most=2, members=people)
    say(people[0], full, "negative")
    say(people[1], full, "positive")
    assert slots(full) == ["done", "done"]


def test_an_undone_answer_takes_the_further_label_back(people: list[User]) -> None:
    queue = adaptive(people)
    say(people[0], queue, "negative")
    say(people[1], queue, "positive")
    labels.undo(annotator=people[1], queue=queue, now=NOW)
    assert slots(queue) == ["done", "leased"]
    slot = queue.slots.get(state="leased")
    answers = [{"signal": queue.queue_signals.get().signal.slug, "value": "negative"}]
    labels.submit(annotator=people[1], slot_id=slot.id, answers=answers, key="again", now=NOW)
    assert slots(queue) == ["done", "done"]


def test_a_further_label_that_somebody_has_begun_stays(people: list[User]) -> None:
    queue = adaptive(people)
    say(people[0], queue, "negative")
    say(people[1], queue, "positive")
    assert leasing.lease(annotator=people[2], queue=queue, now=NOW) is not None
    labels.undo(annotator=people[1], queue=queue, now=NOW)
    assert slots(queue) == ["done", "leased", "leased"]


def test_a_skip_is_replaced_and_a_tie_is_still_seen(people: list[User]) -> None:
    queue = adaptive(people)
    say(people[0], queue, "negative")
    slot = leasing.lease(annotator=people[1], queue=queue, now=NOW)
    assert slot is not None
    labels.skip(annotator=people[1], slot_id=slot.id, reason="hard", key="s", now=NOW)
    say(people[2], queue, "positive")
    assert slots(queue) == ["done", "done", "free"]


@pytest.mark.parametrize(("first", "second", "asked"), [(3.0, 3.4, False), (3.0, 4.0, True)])
def test_numbers_disagree_beyond_a_tenth_of_the_range(
    people: list[User], first: float, second: float, asked: bool
) -> None:
    queue = adaptive(people, signals=[make_signal("effort", scale="interval", minimum=1, maximum=6)])
    say(people[0], queue, first)
    say(people[1], queue, second)
    assert (len(slots(queue)) == 3) is asked


def test_one_of_several_signals_is_enough(people: list[User]) -> None:
    queue = adaptive(people, signals=[make_signal("one"), make_signal("two")])
    for person, value in ((people[0], "negative"), (people[1], "positive")):
        slot = leasing.lease(annotator=person, queue=queue, now=NOW)
        assert slot is not None
        answers = [{"signal": "one", "value": "neutral"}, {"signal": "two", "value": value}]
        labels.submit(annotator=person, slot_id=slot.id, answers=answers, key=str(slot.id), now=NOW)
    assert slots(queue) == ["done", "done", "free"]


def test_turned_on_later_it_asks_where_people_differ(people: list[User]) -> None:
    queue = make_queue(items=3, overlap=2, members=people)
    for value, person in (("negative", people[0]), ("positive", people[1])):
        say(person, queue, value)
    say(people[0], queue, "neutral")
    assert queues.change_adaptive(queue=queue, most=3) == 1
    assert queues.change_adaptive(queue=queue, most=3) == 0
    assert queues.change_adaptive(queue=queue, most=None) == 0
    with pytest.raises(Refused):
        queues.change_adaptive(queue=queue, most=1)


def test_a_wider_overlap_lifts_the_most(people: list[User]) -> None:
    queue = make_queue(items=1, overlap=2, overlap_most=3, members=people)
    queues.widen_overlap(queue=queue, labels=4)
    queue.refresh_from_db()
    assert (queue.overlap, queue.overlap_most) == (4, 4)
