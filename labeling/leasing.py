"""Leases: an annotator's time-limited claim on a slot, taken by one conditional UPDATE whose row count is the verdict.

Members are spread over lanes (`QueueMember.lane`): a person looks at the slots with their lane's number first, then at
all others, then at leases that ran out. Each look is one step in one index, however many items there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet, Subquery

from labeling.errors import Conflict, NotFound
from labeling.models import Item, Queue, QueueMember, Slot, User

MOST_HELD = 2
"""The item on screen and the one that is prefetched."""
COUNTED_OPEN = 1000
"""Open slots are counted up to here, so that telling what is left costs the same in every queue."""
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody stands in a queue before asking for an item: their lane, what they hold, what they have done."""

    annotator: User
    queue: Queue
    lane: int
    rank: int
    mates: int
    held: int
    held_elsewhere: int | None
    done: int
    had: int
    items: int
    open: int

    @property
    def left(self) -> int:
        """Items that can still become theirs; at most COUNTED_OPEN are counted."""
        return max(0, min(self.items - self.had, self.open) + self.held)


def place(*, annotator: User, queue: Queue | None = None, slug: str = "", holding: Collection[int] = ()) -> Place:
    """The door of a queue for its member, in one query; NotFound for everybody else."""
    own = Slot.objects.filter(queue=OuterRef("queue"), annotator=annotator)
    held = own.filter(state=Slot.State.LEASED)
    free = Slot.objects.filter(queue=OuterRef(OuterRef("queue")), state=Slot.State.FREE).order_by()
    member = (
        QueueMember.objects.filter(Q(queue=queue) if queue else Q(queue__slug=slug), user=annotator)
        .select_related("queue")
        .annotate(
            members=_count(QueueMember.objects.filter(queue=OuterRef("queue"))),
            held=_count(held),
            held_elsewhere=Subquery(held.exclude(id__in=list(holding)).order_by("position", "id").values("id")[:1]),
            done=_count(own.filter(state=Slot.State.DONE)),
            had=_count(own),
            highest=Subquery(Item.objects.filter(queue=OuterRef("queue")).order_by("-position").values("position")[:1]),
            open=_count(Slot.objects.filter(id__in=free.values("id")[:COUNTED_OPEN])),
        )
        .first()
    )
    if member is None:
        raise NotFound("not_a_member", "there is no such queue", field="queue")
    return _placed(annotator, member)


def _count(rows: QuerySet[Any]) -> Subquery:
    """How many, as a scalar inside another query; a constant group, so that nothing found is a zero row's null."""
    return Subquery(rows.order_by().values("queue").annotate(many=Count("id")).values("many"))


def _placed(annotator: User, member: Any) -> Place:
    overlap = max(1, member.queue.overlap)
    return Place(
        annotator=annotator,
        queue=member.queue,
        lane=member.lane,
        rank=member.id // overlap,
        mates=-(-(member.members or 1) // overlap),
        held=member.held or 0,
        held_elsewhere=member.held_elsewhere,
        done=member.done or 0,
        had=member.had or 0,
        items=0 if member.highest is None else member.highest + 1,
        open=member.open or 0,
    )


def lease(*, annotator: User, queue: Queue, now: datetime, holding: Collection[int] = ()) -> Slot | None:
    """Claim the next slot of `queue` for `annotator`; None when nothing is left for them.

    `holding` names the slots that the client has already: asking again without naming them gives the same slot back, so
    that a lost answer costs nothing. Raises NotFound for somebody who is not a member.
    """
    return lease_at(place(annotator=annotator, queue=queue, holding=holding), now=now)


def lease_at(standing: Place, *, now: datetime) -> Slot | None:
    """`lease` for somebody whose place is known already."""
    queue, annotator = standing.queue, standing.annotator
    if queue.state != Queue.State.OPEN:
        return None
    until = now + timedelta(seconds=queue.lease_seconds)
    if standing.held_elsewhere is not None:
        still_theirs = Slot.objects.filter(
            id=standing.held_elsewhere, annotator=annotator, state=Slot.State.LEASED
        ).update(leased_until=until)
        if still_theirs:
            return _with_words(standing.held_elsewhere, queue)
    if standing.held >= MOST_HELD:
        return None
    for slot_id in _candidates(standing, now=now):
        if _claim(slot_id, annotator=annotator, now=now, until=until):
            return _with_words(slot_id, queue)
    return None


def _with_words(slot_id: int, queue: Queue) -> Slot:
    """A leased slot with the conversation that is served; what is never served is not read."""
    slot = (
        Slot.objects.select_related("item__conversation")
        .defer(*(f"item__conversation__{name}" for name in ("metadata", "asr", "attributes", "summary")))
        .get(id=slot_id)
    )
    slot.queue = queue
    return slot


def _candidates(standing: Place, *, now: datetime) -> Iterator[int]:
    """Free slots of the person's own lane, then of the others, then expired ones; never of an item they have had.

    After a whole batch was lost to others the next one is fetched, so that a crowd cannot make a full queue look empty.
    """
    theirs = Slot.objects.filter(item=OuterRef("item"), annotator=standing.annotator)
    of_queue = Slot.objects.filter(~Exists(theirs), queue=standing.queue)
    free = of_queue.filter(state=Slot.State.FREE)
    stages = (
        free.filter(number=standing.lane).order_by("position"),
        # Slots that replace skipped ones are numbered on beyond the lanes: they are found here, at the end.
        free.exclude(number=standing.lane).order_by("number", "position"),
        of_queue.filter(state=Slot.State.LEASED, leased_until__lte=now).order_by("leased_until"),
    )
    size = min(32, max(4, 2 * standing.mates))
    for stage in stages:
        for _ in range(ROUNDS):
            batch = list(stage.values_list("id", flat=True)[:size])
            yield from _rotated(batch, standing.rank % standing.mates)
            if len(batch) < size:
                break


def _rotated(slots: list[int], start: int) -> list[int]:
    """An order of this person's own: those who ask at the same moment begin at different slots."""
    start %= len(slots) or 1
    return slots[start:] + slots[:start]


def takeable(now: datetime) -> Q:
    """A slot that anybody may take: free, or leased until a time that has passed."""
    return Q(state=Slot.State.FREE) | Q(state=Slot.State.LEASED, leased_until__lte=now)


def _claim(slot_id: int, *, annotator: User, now: datetime, until: datetime) -> bool:
    """The conditional UPDATE. A lost race is an answer, not an error; so is another slot of an item one has already."""
    try:
        with transaction.atomic():
            claimed = Slot.objects.filter(takeable(now), id=slot_id).update(
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
    slot = slot_of(annotator, slot_id)
    held = Slot.objects.filter(id=slot.id, annotator=annotator, state=Slot.State.LEASED)
    return held.update(state=Slot.State.FREE, annotator=None, leased_until=None) == 1


def slot_of(annotator: User, slot_id: int) -> Slot:
    """A slot of a queue of which `annotator` is a member, with its item; NotFound for everybody else."""
    slot = Slot.objects.filter(id=slot_id, queue__memberships__user=annotator).select_related("queue", "item").first()
    if slot is None:
        raise NotFound("unknown_assignment", "there is no such assignment", field="assignment")
    return slot


@dataclass(frozen=True, slots=True)
class Emptiness:
    """Why nothing is left for somebody: `reason` is done, held, not_yours, paused, closed or waiting.

    *held*: others hold items, the first until `until`. *not_yours*: what is left are items that this person has had
    already; others have to label them. *waiting*: something is there again, ask once more.
    """

    reason: str
    until: datetime | None = None
    held_by_others: int = 0


def why_empty(*, annotator: User, queue: Queue, now: datetime) -> Emptiness:
    """What an empty answer means: everything done, items held by others until a time, or the queue at rest."""
    if queue.state != Queue.State.OPEN:
        return Emptiness(queue.state)
    theirs: QuerySet[Model] = Slot.objects.filter(item=OuterRef("item"), annotator=annotator)
    others = Slot.objects.filter(~Exists(theirs), queue=queue)
    if others.filter(takeable(now)).exists():
        return Emptiness("waiting")
    held = others.filter(state=Slot.State.LEASED)
    soonest = held.order_by("leased_until").values_list("leased_until", flat=True).first()
    if soonest is not None:
        return Emptiness("held", until=soonest, held_by_others=held.count())
    unfinished = Slot.objects.filter(queue=queue, state__in=[Slot.State.FREE, Slot.State.LEASED])
    return Emptiness("not_yours" if unfinished.exclude(annotator=annotator).exists() else "done")
