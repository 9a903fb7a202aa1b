"""Leases: nobody gets what another holds, nothing expires into nowhere, and an empty answer says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labeling import labels, leasing
from labeling.errors import Conflict, NotFound
from labeling.models import Queue, Slot, User
from tests.make import make_queue, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def lease(annotator: User, queue: Queue, now: datetime = NOW, **kw: object) -> Slot:
    slot = leasing.lease(annotator=annotator, queue=queue, now=now, **kw)  # type: ignore[arg-type]
    assert slot is not None
    return slot


def answer(
    annotator: User, slot: Slot, *, key: str = "k", now: datetime = NOW, value: str = "negative"
) -> labels.Outcome:
    signal = slot.queue.queue_signals.get().signal.slug
    return labels.submit(
        annotator=annotator, slot_id=slot.id, answers=[{"signal": signal, "value": value}], key=key, now=now
    )


def test_it_works() -> None:
    ann = make_user()
    slot = lease(ann, make_queue(members=[ann]))
    assert (slot.state, slot.annotator) == ("leased", ann)
    assert slot.position in range(3)
    assert slot.leased_until == NOW + timedelta(seconds=900)


def test_two_people_never_hold_the_same_slot() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=2, members=[ann, ben])
    assert lease(ann, queue).id != lease(ben, queue).id
    assert leasing.lease(annotator=make_member(queue), queue=queue, now=NOW) is None


def make_member(queue: Queue) -> User:
    user = make_user()
    queue.memberships.create(user=user, lane=0)
    return user


def test_with_an_overlap_two_label_the_same_item_and_nobody_twice() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, overlap=2, members=[ann, ben])
    first, second = lease(ann, queue), lease(ben, queue)
    assert first.item_id == second.item_id
    answer(ann, first)
    assert leasing.lease(annotator=ann, queue=queue, now=NOW) is None


def test_asking_again_gives_the_same_item_unless_it_is_in_hand() -> None:
    ann = make_user()
    queue = make_queue(members=[ann])
    first = lease(ann, queue)
    assert lease(ann, queue).id == first.id
    second = lease(ann, queue, holding=[first.id])
    assert second.id != first.id
    assert leasing.lease(annotator=ann, queue=queue, now=NOW, holding=[first.id, second.id]) is None


def test_an_expired_lease_is_free_for_others_without_any_job() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ann, queue)
    assert leasing.lease(annotator=ben, queue=queue, now=NOW) is None
    assert lease(ben, queue, now=LATER).id == slot.id


@pytest.mark.parametrize("meanwhile", ["released", "answered"])
@pytest.mark.parametrize("shares", [{}, {"repeat_share": 0.3, "repeat_after_items": 0, "repeat_after_minutes": 0}])
def test_what_was_held_when_it_was_looked_and_is_not_any_more_is_no_end(
    meanwhile: str, shares: dict[str, float]
) -> None:
    """A page that is left gives its next item back while the page that follows asks for one; or another tab answers it."""
    ann = make_user()
    queue = make_queue(items=9, members=[ann], **shares)
    for turn in range(4):
        on_screen = lease(ann, queue)
        ahead = lease(ann, queue, holding=[on_screen.id])
        standing = leasing.place(annotator=ann, queue=queue, holding=[on_screen.id])
        assert (standing.held, standing.held_elsewhere) == (2, ahead.id)
        if meanwhile == "released":
            assert leasing.release(annotator=ann, slot_id=ahead.id, now=NOW)
        else:
            answer(ann, ahead, key=f"a{turn}")
        taken = leasing.lease_at(standing, now=NOW)
        assert taken is not None and taken.slot_id != on_screen.id
        held = queue.slots.filter(annotator=ann, state="leased")
        assert set(held.values_list("id", flat=True)) == {on_screen.id, taken.slot_id}
        answer(ann, on_screen, key=f"b{turn}")


def test_somebody_who_never_stands_still_is_looked_for_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ann = make_user()
    queue = make_queue(items=3, members=[ann])
    looked, look = [], leasing.place

    def place_and_lose(**asked: Any) -> leasing.Place:
        """Whatever is seen in hand is given back at once, and something else taken."""
        assert leasing.lease_at(look(annotator=ann, queue=queue), now=NOW) is not None
        standing = look(**asked)
        assert standing.held_elsewhere is not None
        leasing.release(annotator=ann, slot_id=standing.held_elsewhere, now=NOW)
        looked.append(standing)
        return standing

    monkeypatch.setattr(leasing, "place", place_and_lose)
    assert leasing.lease_at(place_and_lose(annotator=ann, queue=queue), now=NOW) is None
    assert len(looked) == 1 + leasing.LOOKS


def test_renewing_keeps_it_and_fails_once_somebody_else_has_it() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ann, queue)
    assert leasing.renew(annotator=ann, slot_id=slot.id, now=LATER) == LATER + timedelta(seconds=900)
    assert leasing.lease(annotator=ben, queue=queue, now=LATER) is None
    lease(ben, queue, now=LATER + timedelta(hours=1))
    with pytest.raises(Conflict):
        leasing.renew(annotator=ann, slot_id=slot.id, now=LATER)


def test_a_released_item_goes_to_the_next() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ann, queue)
    assert leasing.release(annotator=ann, slot_id=slot.id, now=NOW)
    assert not leasing.release(annotator=ann, slot_id=slot.id, now=NOW)
    assert lease(ben, queue).id == slot.id


@pytest.mark.parametrize("state", ["paused", "closed"])
def test_a_queue_at_rest_gives_nothing_and_says_so(state: str) -> None:
    ann = make_user()
    queue = make_queue(members=[ann], state=state)
    assert leasing.lease(annotator=ann, queue=queue, now=NOW) is None
    assert leasing.why_empty(annotator=ann, queue=queue, now=NOW).reason == state


def test_an_empty_queue_says_why() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, members=[ann, ben])
    slot = lease(ben, queue)
    empty = leasing.why_empty(annotator=ann, queue=queue, now=NOW)
    assert (empty.reason, empty.until) == ("held", slot.leased_until)
    answer(ben, slot)
    assert leasing.why_empty(annotator=ann, queue=queue, now=NOW).reason == "done"


def test_what_is_left_may_not_be_for_everybody() -> None:
    ann, ben = make_user(), make_user()
    queue = make_queue(items=1, overlap=2, members=[ann, ben])
    assert leasing.why_empty(annotator=ann, queue=queue, now=NOW).reason == "waiting"
    answer(ann, lease(ann, queue))
    assert leasing.why_empty(annotator=ann, queue=queue, now=NOW).reason == "not_yours"
    slot = lease(ben, queue)
    assert leasing.why_empty(annotator=ann, queue=queue, now=NOW).reason == "not_yours"
    answer(ben, slot)
    assert leasing.why_empty(annotator=ann, queue=queue, now=NOW).reason == "done"


def test_ones_own_lease_that_ran_out_comes_back_first() -> None:
    ann = make_user()
    queue = make_queue(items=3, members=[ann])
    slot = lease(ann, queue)
    again = lease(ann, queue, now=LATER)
    assert (again.id, again.leased_until) == (slot.id, LATER + timedelta(seconds=900))


def test_people_who_ask_together_start_at_different_items() -> None:
    people = [make_user() for _ in range(6)]
    queue = make_queue(items=20, overlap=2, members=people)
    standing = [leasing.place(annotator=person, queue=queue) for person in people]
    first = [next(leasing._candidates(one, now=NOW)) for one in standing]
    assert len(set(first)) == len(people)
    assert max(lease(person, queue).position for person in people) < 6


def test_a_stranger_has_no_queue_and_no_assignment() -> None:
    ann, stranger = make_user(), make_user(role="admin")
    queue = make_queue(members=[ann])
    slot = lease(ann, queue)
    for act in (
        lambda: leasing.lease(annotator=stranger, queue=queue, now=NOW),
        lambda: leasing.renew(annotator=stranger, slot_id=slot.id, now=NOW),
        lambda: answer(stranger, slot),
    ):
        with pytest.raises(NotFound):
            act()


def test_finding_the_next_item_asks_a_fixed_number_of_queries(django_assert_max_num_queries: object) -> None:
    ann = make_user()
    queue = make_queue(items=40, overlap=2, members=[ann])
    for turn in range(30):
        answer(ann, lease(ann, queue), key=str(turn))
    with django_assert_max_num_queries(8):  # type: ignore[operator]
        lease(ann, queue)
