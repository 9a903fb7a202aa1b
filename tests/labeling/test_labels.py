"""Answers, skips, flags and undo: each happens once, and an acknowledged one is never lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from labeling import labels, leasing
from labeling.errors import Conflict, Refused
from labeling.models import Guideline, Label, Slot, Submission
from tests.labeling.test_leasing import LATER, NOW, answer, lease
from tests.make import make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


def current() -> list[tuple[str, bool]]:
    return list(Label.objects.filter(superseded_at__isnull=True).order_by("id").values_list("value", "late"))


def test_it_works() -> None:
    ann = make_user()
    slot = lease(ann, make_queue(members=[ann]))
    outcome = answer(ann, slot)
    assert outcome.created
    label = Label.objects.get()
    assert (label.value, label.annotator, label.item_id, label.late) == ("negative", ann, slot.item_id, False)
    assert label.guideline is not None and label.guideline.version == 1
    assert Slot.objects.get(id=slot.id).state == "done"


def test_the_same_key_again_changes_nothing() -> None:
    ann = make_user()
    slot = lease(ann, make_queue(members=[ann]))
    first = answer(ann, slot)
    again = answer(ann, slot, value="positive")
    assert (again.submission.id, again.created) == (first.submission.id, False)
    assert current() == [("negative", False)]


def test_a_key_of_another_item_acknowledges_nothing() -> None:
    """Whoever takes the first outcome for an acknowledgement of the second answer has lost it."""
    ann = make_user()
    queue = make_queue(items=3, members=[ann])
    answer(ann, lease(ann, queue), key="1")
    second = lease(ann, queue)
    for act in (
        lambda: answer(ann, second, key="1", value="positive"),
        lambda: labels.skip(annotator=ann, slot_id=second.id, reason="", key="1", now=NOW),
        lambda: labels.flag(annotator=ann, slot_id=second.id, reason="other", comment="", key="1", now=NOW),
    ):
        with pytest.raises(Conflict, match="for another assignment"):
            act()
    assert current() == [("negative", False)]
    assert answer(ann, second, key="2", value="positive").created


def test_another_key_for_an_answered_item_is_a_conflict() -> None:
    ann = make_user()
    slot = lease(ann, make_queue(members=[ann]))
    answer(ann, slot)
    with pytest.raises(Conflict):
        answer(ann, slot, key="other")
    assert current() == [("negative", False)]


def test_an_answer_after_the_lease_counts_while_there_is_room() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ann, queue)
    assert not answer(ann, slot, now=LATER).submission.late
    assert leasing.lease(annotator=ben, queue=queue, now=LATER) is None


def test_an_answer_to_a_full_item_is_kept_as_late() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ann, queue)
    answer(ben, lease(ben, queue, now=LATER), now=LATER, value="positive")
    outcome = answer(ann, slot, now=LATER)
    assert outcome.submission.late
    assert current() == [("positive", False), ("negative", True)]
    assert not answer(ann, slot, now=LATER).created


def test_undo_gives_the_item_back_with_its_answer() -> None:
    ann = make_user()
    queue = make_queue(members=[ann])
    answer(ann, lease(ann, queue), key="1")
    second = lease(ann, queue)
    answer(ann, second, key="2", value="positive")
    back = labels.undo(annotator=ann, queue=queue, now=NOW)
    assert back is not None
    slot = back.slot
    assert (slot.id, slot.state, [label.value for label in back.labels]) == (second.id, "leased", ["positive"])
    assert current() == [("negative", False)]
    answer(ann, slot, key="3", value="neutral")
    assert current() == [("negative", False), ("neutral", False)]
    assert Label.objects.count() == 3


def test_undo_walks_back_and_ends() -> None:
    ann = make_user()
    queue = make_queue(items=2, members=[ann])
    slots = []
    for turn in range(2):
        slots.append(lease(ann, queue))
        answer(ann, slots[-1], key=str(turn))
    undone = [labels.undo(annotator=ann, queue=queue, now=NOW) for _ in range(3)]
    assert [back and back.slot.id for back in undone] == [slots[1].id, slots[0].id, None]
    assert current() == []


def test_who_takes_several_back_holds_two_and_the_others_are_free_again() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=8, members=[ann, ben])
    done: list[int] = []
    for turn in range(4):
        slot = lease(ann, queue)
        answer(ann, slot, key=str(turn))
        done.append(slot.id)
    on_screen = lease(ann, queue).id
    prefetched = leasing.lease(annotator=ann, queue=queue, now=NOW, holding=[on_screen])
    assert prefetched is not None

    def held(taken_back: int, beside: int) -> None:
        back = labels.undo(annotator=ann, queue=queue, now=NOW, holding=[beside, prefetched.id])
        assert back is not None and back.slot.id == taken_back
        mine = set(Slot.objects.filter(annotator=ann, state="leased").values_list("id", flat=True))
        assert mine == {taken_back, beside}

    held(done[3], on_screen)
    held(done[2], done[3])
    held(done[1], done[2])
    assert Slot.objects.filter(id__in=[on_screen, prefetched.id, done[3]], state="free", annotator=None).count() == 3
    given = {lease(ben, queue, holding=[]).id}
    for slot_id in (done[1], done[2]):
        answer(ann, Slot.objects.get(id=slot_id), key=f"again {slot_id}", value="positive")
    while (slot := leasing.lease(annotator=ann, queue=queue, now=NOW)) is not None:
        given.add(slot.id)
        answer(ann, slot, key=f"again {slot.id}", value="positive")
    assert given == set(queue.slots.values_list("id", flat=True)) - {done[0], done[1], done[2]}
    assert len(current()) == 7  # all but the one that is in ben's hands


def test_undo_without_a_word_keeps_what_would_be_given_next() -> None:
    ann = make_user()
    queue = make_queue(items=6, members=[ann])
    first = lease(ann, queue)
    answer(ann, first, key="1")
    on_screen = lease(ann, queue)
    leasing.lease(annotator=ann, queue=queue, now=NOW, holding=[on_screen.id])
    labels.undo(annotator=ann, queue=queue, now=NOW)
    assert set(Slot.objects.filter(state="leased").values_list("id", flat=True)) == {first.id, on_screen.id}


def test_a_skipped_item_goes_to_others_and_not_to_me_again() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ann, queue)
    labels.skip(annotator=ann, slot_id=slot.id, reason="language", key="s", now=NOW)
    assert leasing.lease(annotator=ann, queue=queue, now=NOW) is None
    other = lease(ben, queue)
    assert other.item_id == slot.item_id
    answer(ben, other)
    assert Submission.objects.filter(kind="skip").get().reason == "language"


def test_an_undone_skip_leaves_no_more_slots_than_before() -> None:
    ann = make_user()
    queue = make_queue(items=1, overlap=2, members=[ann])
    slot = lease(ann, queue)
    labels.skip(annotator=ann, slot_id=slot.id, reason="", key="s", now=NOW)
    back = labels.undo(annotator=ann, queue=queue, now=NOW)
    assert back is not None
    assert (back.slot.item_id, back.slot.annotator, back.slot.state) == (slot.item_id, ann, "leased")
    assert (Slot.objects.count(), Slot.objects.filter(state="free").count()) == (2, 1)


def test_a_skip_cannot_be_undone_once_others_have_filled_the_item() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    labels.skip(annotator=ann, slot_id=lease(ann, queue).id, reason="", key="s", now=NOW)
    answer(ben, lease(ben, queue))
    with pytest.raises(Conflict):
        labels.undo(annotator=ann, queue=queue, now=NOW)
    assert Submission.objects.get(kind="skip").undone_at is None
    assert Slot.objects.filter(state="done").count() == 1


def test_a_flag_needs_a_known_reason() -> None:
    ann = make_user()
    slot = lease(ann, make_queue(members=[ann]))
    with pytest.raises(Refused, match="personal_data"):
        labels.flag(annotator=ann, slot_id=slot.id, reason="boring", comment="", key="f", now=NOW)
    labels.flag(annotator=ann, slot_id=slot.id, reason="personal_data", comment="a card number", key="f", now=NOW)
    assert Slot.objects.get(id=slot.id).state == "skipped"


@pytest.mark.parametrize(
    ("answers", "field"),
    [
        ([], "labels.mood"),
        ([{"signal": "mood", "value": "furious"}], "labels.mood.value"),
        ([{"signal": "mood", "value": 1}], "labels.mood.value"),
        ([{"signal": "other", "value": "x"}], "labels"),
        ([{"signal": "mood", "value": "neutral", "turn": 3}], "labels.mood.turn"),
        ([{"signal": "mood", "value": "neutral", "confidence": 2}], "labels.mood.confidence"),
        ([{"signal": "mood", "value": "neutral"}] * 2, "labels.1.signal"),
    ],
)
def test_a_wrong_answer_names_its_field_and_stores_nothing(answers: list[dict[str, Any]], field: str) -> None:
    ann = make_user()
    slot = lease(ann, make_queue(signals=[make_signal("mood")], members=[ann]))
    with pytest.raises(Refused) as caught:
        labels.submit(annotator=ann, slot_id=slot.id, answers=answers, key="k", now=NOW)
    assert caught.value.field == field
    assert (current(), Slot.objects.get(id=slot.id).state) == ([], "leased")


def test_the_guideline_that_was_read_is_stored() -> None:
    ann = make_user()
    signal = make_signal("mood")
    slot = lease(ann, make_queue(signals=[signal], members=[ann]))
    Guideline.objects.create(signal=signal, version=2, text="New.")
    answers = [{"signal": "mood", "value": "neutral"}]
    labels.submit(annotator=ann, slot_id=slot.id, answers=answers, key="k", now=NOW, guidelines={"mood": 1})
    label = Label.objects.select_related("guideline").get()
    assert label.guideline is not None and label.guideline.version == 1


def test_a_lease_that_is_gone_cannot_be_skipped() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ann, queue)
    lease(ben, queue, now=NOW + timedelta(hours=2))
    with pytest.raises(Conflict):
        labels.skip(annotator=ann, slot_id=slot.id, reason="", key="s", now=NOW)
