"""Leases: an annotator's time-limited claim on a slot, taken by one conditional UPDATE whose row count is the verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from labeling.errors import Conflict, NotFound
from labeling.models import Queue, QueueMember, Slot, User

CANDIDATES = 24
"""Slots looked at in one query; people who ask at the same moment start at different ones."""
MOST_HELD = 2
"""The item on screen and the one that is prefetched."""


def lease(*, annotator: User, queue: Queue, now: datetime, holding: Collection[int] = ()) -> Slot | None:
    """Claim the next slot of `queue` for `annotator`; None when nothing is left for them.

    `holding` names the slots that the client has already: asking again without naming them gives the same slot back, so
    that a lost answer costs nothing. Raises NotFound for somebody who is not a member.
    """
    lane = _lane(annotator, queue)
    if queue.state != Queue.State.OPEN:
        return None
    live = list(
        Slot.objects.filter(queue=queue, annotator=annotator, state=Slot.State.LEASED, leased_until__gt=now)
        .order_by("position")
        .select_related("item")
    )
    for slot in live:
        if slot.id not in holding:
            return slot
    if len(live) >= MOST_HELD:
        return None
    until = now + timedelta(seconds=queue.lease_seconds)
    for slot_id in _candidates(annotator=annotator, queue=queue, lane=lane, now=now):
        if _claim(slot_id, annotator=annotator, now=now, until=until):
            return Slot.objects.select_related("item").get(id=slot_id)
    return None


def _lane(annotator: User, queue: Queue) -> int:
    lane = QueueMember.objects.filter(queue=queue, user=annotator).values_list("lane", flat=True).first()
    if lane is None:
        raise NotFound("not_a_member", "there is no such queue", field="queue")
    return lane


def _candidates(*, annotator: User, queue: Queue, lane: int, now: datetime) -> Iterator[int]:
    """Free slots of the person's own lane, then of the others, then expired ones; never of an item they have had."""
    mine = Slot.objects.filter(annotator=annotator, queue=queue).values("item_id")
    lanes = sorted(range(queue.overlap), key=lambda number: (number - lane) % queue.overlap)
    for number in lanes:
        free = Slot.objects.filter(queue=queue, number=number, state=Slot.State.FREE).exclude(item_id__in=mine)
        yield from _rotated(list(free.order_by("position").values_list("id", flat=True)[:CANDIDATES]), annotator.id)
    # Beyond the lanes lie the slots that replace skipped ones.
    replaced = Slot.objects.filter(queue=queue, number__gte=queue.overlap, state=Slot.State.FREE).exclude(
        item_id__in=mine
    )
    yield from list(replaced.order_by("position").values_list("id", flat=True)[:CANDIDATES])
    expired = Slot.objects.filter(queue=queue, state=Slot.State.LEASED, leased_until__lte=now)
    own = expired.filter(annotator=annotator).order_by("leased_until").values_list("id", flat=True)[:CANDIDATES]
    yield from list(own)
    others = expired.exclude(item_id__in=mine).order_by("leased_until").values_list("id", flat=True)[:CANDIDATES]
    yield from _rotated(list(others), annotator.id)


def _rotated(slots: list[int], start: int) -> list[int]:
    """The first eight in an order of this person's own, then the rest: near the front, yet seldom the same one."""
    front, rest = slots[:8], slots[8:]
    turn = start % len(front) if front else 0
    return front[turn:] + front[:turn] + rest


def _claim(slot_id: int, *, annotator: User, now: datetime, until: datetime) -> bool:
    """The conditional UPDATE. A lost race is an answer, not an error; so is another slot of an item one has already."""
    takeable = Q(state=Slot.State.FREE) | Q(state=Slot.State.LEASED, leased_until__lte=now)
    try:
        with transaction.atomic():
            claimed = Slot.objects.filter(takeable, id=slot_id).update(
                state=Slot.State.LEASED, annotator=annotator, leased_until=until
            )
    except IntegrityError:
        return False
    return claimed == 1


def renew(*, annotator: User, slot_id: int, now: datetime) -> datetime:
    """Extend a lease while its holder is active; also one that ran out, as long as nobody else has taken the slot."""
    slot = slot_of(annotator, slot_id)
    until = now + timedelta(seconds=slot.queue.lease_seconds)
    held = Slot.objects.filter(id=slot_id, annotator=annotator, state=Slot.State.LEASED)
    if not held.update(leased_until=until):
        raise Conflict("lease_gone", "somebody else has this item now")
    return until


def release(*, annotator: User, slot_id: int) -> bool:
    """Give back a slot that was not used: a prefetched item whose reader has left. Answers whether it was still held."""
    held = Slot.objects.filter(id=slot_id, annotator=annotator, state=Slot.State.LEASED)
    return held.update(state=Slot.State.FREE, annotator=None, leased_until=None) == 1


def slot_of(annotator: User, slot_id: int) -> Slot:
    """A slot of a queue of which `annotator` is a member; NotFound for everybody else."""
    slot = (
        Slot.objects.filter(id=slot_id, queue__memberships__user=annotator)
        .select_related("queue", "item__conversation")
        .first()
    )
    if slot is None:
        raise NotFound("unknown_assignment", "there is no such assignment", field="assignment")
    return slot


@dataclass(frozen=True, slots=True)
class Emptiness:
    """Why nothing is left for somebody: `reason` is done, held, paused, closed or waiting; `until` when held items free up."""

    reason: str
    until: datetime | None = None
    held_by_others: int = 0


def why_empty(*, annotator: User, queue: Queue, now: datetime) -> Emptiness:
    """What an empty answer means: everything done, items held by others until a time, or the queue at rest."""
    if queue.state != Queue.State.OPEN:
        return Emptiness(queue.state)
    mine = Slot.objects.filter(annotator=annotator, queue=queue).values("item_id")
    held = Slot.objects.filter(queue=queue, state=Slot.State.LEASED, leased_until__gt=now).exclude(item_id__in=mine)
    soonest = held.order_by("leased_until").values_list("leased_until", flat=True).first()
    if soonest is not None:
        return Emptiness("held", until=soonest, held_by_others=held.count())
    return Emptiness("done")
