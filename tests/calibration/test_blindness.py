"""What a person may still be asked, checks included, shows them no answer anywhere."""

from __future__ import annotations

import pytest
from django.utils import timezone

from labeling import blindness, labels, leasing
from labeling.models import Queue, Slot, User
from tests.make import make_known, make_queue, make_user

pytestmark = pytest.mark.django_db


def open_of(reader: User, queue: Queue) -> set[int]:
    homes = {*queue.items.values_list("conversation_id", flat=True)}
    homes |= {*queue.known_items.values_list("conversation_id", flat=True)}
    return {home for home, _ in blindness.open_questions(reader=reader, conversations=homes)}


def answer(annotator: User, slot: Slot) -> None:
    answers = [{"signal": slot.queue.queue_signals.get().signal.slug, "value": "neutral"}]
    labels.submit(annotator=annotator, slot_id=slot.id, answers=answers, key=str(slot.id), now=timezone.now())


def test_it_works() -> None:
    ann = make_user()
    queue = make_queue(items=2, members=[ann])
    slot = leasing.lease(annotator=ann, queue=queue, now=timezone.now())
    assert slot is not None
    assert open_of(ann, queue) == set(queue.items.values_list("conversation_id", flat=True))
    answer(ann, slot)
    assert slot.unit.conversation_id not in open_of(ann, queue)
    assert open_of(make_user(), queue) == set()


def test_an_item_that_may_come_again_stays_closed_until_it_has() -> None:
    ann = make_user()
    queue = make_queue(items=2, members=[ann], repeat_share=0.1)
    slot = leasing.lease(annotator=ann, queue=queue, now=timezone.now())
    assert slot is not None
    answer(ann, slot)
    assert slot.unit.conversation_id in open_of(ann, queue)
    again = Slot.objects.create(
        queue=queue, asks_again=slot.item, annotator=ann, state="leased", leased_until=timezone.now()
    )
    answer(ann, again)
    assert slot.unit.conversation_id not in open_of(ann, queue)


def test_a_unit_of_known_answer_is_closed_until_it_was_asked() -> None:
    ann = make_user()
    queue = make_queue(items=1, members=[ann], gold_share=0.1)
    make_known(queue, ["negative", "positive"])
    first, second = queue.known_items.order_by("id")
    assert {first.conversation_id, second.conversation_id} <= open_of(ann, queue)
    check = Slot.objects.create(
        queue=queue, known_item=first, annotator=ann, state="leased", leased_until=timezone.now()
    )
    answer(ann, check)
    assert first.conversation_id not in open_of(ann, queue)
    Queue.objects.update(state="closed")
    assert open_of(ann, queue) == set()
