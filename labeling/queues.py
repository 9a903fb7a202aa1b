"""What happens to a queue after it was drawn: pause, close, reorder, who labels it, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Max, Q, QuerySet

from labeling import checks, overlap
from labeling.errors import Refused
from labeling.models import DatasetVersion, Label, Queue, QueueMember, Slot, Submission, User

SHORTEST_LEASE, LONGEST_LEASE = 10, 86_400


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a queue is, in labels and in items that have all of theirs."""

    items: int
    finished: int
    wanted: int
    done: int
    held: int

    @property
    def percent(self) -> int:
        return round(100 * self.done / self.wanted) if self.wanted else 0


@dataclass(frozen=True, slots=True)
class MemberProgress:
    """What one person has done in a queue."""

    user: User
    done: int
    held: int
    skipped: int
    last_at: datetime | None
    member: bool


@transaction.atomic
def change(
    *,
    queue: Queue,
    state: str | None = None,
    priority: int | None = None,
    members: Sequence[User] = (),
    gold: Sequence[DatasetVersion] = (),
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Several changes at once, all of them or none. `gold` is asked as known items; `settings` are those of `labeling.checks`,
    `overlap_most` and `lease_seconds`."""
    told = dict(settings or {})
    if "overlap_most" in told:
        change_adaptive(queue=queue, most=told.pop("overlap_most"))
    if "lease_seconds" in told:
        change_lease(queue=queue, seconds=told.pop("lease_seconds"))
    if gold:
        checks.know(queue=queue, versions=gold)
    if told:
        checks.configure(queue=queue, settings=told)
    if state is not None:
        change_state(queue=queue, state=state)
    if priority is not None:
        change_priority(queue=queue, priority=priority)
    add_members(queue=queue, members=members)


def change_state(*, queue: Queue, state: str) -> None:
    """Open, pause or close. A paused queue hands out nothing; answers on items already held are still kept."""
    if state not in Queue.State.values:
        raise Refused("unknown_state", f"{state!r} is not one of {', '.join(Queue.State.values)}", field="state")
    Queue.objects.filter(id=queue.id).update(state=state)


def change_priority(*, queue: Queue, priority: int) -> None:
    """Queues with a higher priority come first."""
    if not -100 <= priority <= 100:
        raise Refused("bad_priority", f"a priority lies between -100 and 100, not at {priority}", field="priority")
    Queue.objects.filter(id=queue.id).update(priority=priority)


def change_lease(*, queue: Queue, seconds: int) -> None:
    """How long an item is somebody's without a sign of life; what is held already stays theirs until its own time."""
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        words = f"a lease lasts {SHORTEST_LEASE} to {LONGEST_LEASE} seconds, not {seconds}"
        raise Refused("bad_lease", words, field="lease_seconds")
    Queue.objects.filter(id=queue.id).update(lease_seconds=seconds)


@transaction.atomic
def add_members(*, queue: Queue, members: Sequence[User]) -> None:
    """Let people label a queue; each lies in the lane with the fewest others."""
    queue = Queue.objects.select_for_update().get(id=queue.id)
    there = set(queue.memberships.values_list("user_id", flat=True))
    crowd = dict(queue.memberships.order_by().values_list("lane").annotate(count=Count("id")))
    for member in members:
        if member.id in there:
            continue
        lane = min(range(queue.overlap), key=lambda number: (crowd.get(number, 0), number))
        crowd[lane] = crowd.get(lane, 0) + 1
        QueueMember.objects.create(queue=queue, user=member, lane=lane)


@transaction.atomic
def remove_member(*, queue: Queue, member: User) -> None:
    """The person gets no more items; what they hold is free again, what they answered stays."""
    QueueMember.objects.filter(queue=queue, user=member).delete()
    held = Slot.objects.filter(queue=queue, item__isnull=False, annotator=member, state=Slot.State.LEASED)
    held.update(state=Slot.State.FREE, annotator=None, leased_until=None)


@transaction.atomic
def widen_overlap(*, queue: Queue, labels: int) -> int:
    """Want more labels for every item; returns the slots that were added. Fewer is refused: slots may be in use."""
    queue = Queue.objects.select_for_update().get(id=queue.id)
    if not queue.overlap < labels <= 50:
        raise Refused("bad_overlap", f"the overlap can grow from {queue.overlap} up to 50", field="overlap")
    more = labels - queue.overlap
    highest = queue.items.annotate(highest=Max("slots__number")).values_list("id", "position", "highest")
    slots = [
        Slot(item_id=item, queue=queue, number=(-1 if last is None else last) + extra, position=position)
        for item, position, last in highest.iterator(chunk_size=2000)
        for extra in range(1, more + 1)
    ]
    Slot.objects.bulk_create(slots, batch_size=2000)
    most = None if queue.overlap_most is None else max(queue.overlap_most, labels)
    Queue.objects.filter(id=queue.id).update(overlap=labels, overlap_most=most)
    return len(slots)


@transaction.atomic
def change_adaptive(*, queue: Queue, most: int | None) -> int:
    """Ask a further person where the first labels leave a tie, up to `most` labels an item; None: no longer.

    Returns how many items that are done by now get a further label.
    """
    queue = Queue.objects.select_for_update().get(id=queue.id)
    if most is not None and not queue.overlap <= most <= 50:
        raise Refused("bad_overlap", f"the most labels lie between {queue.overlap} and 50", field="overlap_most")
    queue.overlap_most = most
    queue.save(update_fields=["overlap_most"])
    if most is None:
        return 0
    before = Slot.objects.filter(queue=queue).count()
    current = Label.objects.filter(item__queue=queue, superseded_at__isnull=True, late=False).order_by()
    split = current.values("item_id", "signal_id").annotate(answers=Count("value", distinct=True)).filter(answers__gt=1)
    for item in sorted(set(split.values_list("item_id", flat=True))):
        one = Slot.objects.filter(item=item, state=Slot.State.DONE).select_related("queue").first()
        if one is not None:
            overlap.hold(one)
            overlap.settle(one)
    return Slot.objects.filter(queue=queue).count() - before


def progress(queues: QuerySet[Queue] | Sequence[Queue]) -> dict[int, Progress]:
    """Progress by queue id; two queries however many queues there are. A skipped slot is replaced, so it is not wanted."""
    ids = [queue.id for queue in queues]
    slots = Slot.objects.filter(queue__in=ids, item__isnull=False).exclude(state=Slot.State.SKIPPED)
    counts = (
        slots.order_by()
        .values_list("queue_id")
        .annotate(
            wanted=Count("id"),
            done=Count("id", filter=Q(state=Slot.State.DONE)),
            held=Count("id", filter=Q(state=Slot.State.LEASED)),
        )
    )
    found = {queue: (wanted, done, held) for queue, wanted, done, held in counts}
    per_item = (
        slots.order_by()
        .values("queue_id", "item_id")
        .annotate(all=Count("id"), done=Count("id", filter=Q(state=Slot.State.DONE)))
    )
    finished: dict[int, int] = {}
    for (queue,) in per_item.filter(all=F("done")).values_list("queue_id").iterator(chunk_size=5000):
        finished[queue] = finished.get(queue, 0) + 1
    items = dict(Queue.objects.filter(id__in=ids).order_by().values_list("id").annotate(count=Count("items")))
    return {key: Progress(items.get(key, 0), finished.get(key, 0), *found.get(key, (0, 0, 0))) for key in ids}


def members(queue: Queue) -> list[MemberProgress]:
    """Members, and others who once were and labelled, by name."""
    slots = (
        Slot.objects.filter(queue=queue, item__isnull=False, annotator__isnull=False)
        .order_by()
        .values_list("annotator_id")
    )
    acts = slots.annotate(
        done=Count("id", filter=Q(state=Slot.State.DONE)),
        held=Count("id", filter=Q(state=Slot.State.LEASED)),
        skipped=Count("id", filter=Q(state=Slot.State.SKIPPED)),
    )
    counts = {annotator: (done, held, skipped) for annotator, done, held, skipped in acts}
    last = dict(
        Submission.objects.filter(slot__queue=queue, undone_at__isnull=True)
        .order_by()
        .values_list("annotator_id")
        .annotate(last=Max("created_at"))
    )
    present = set(queue.memberships.values_list("user_id", flat=True))
    people = User.objects.filter(id__in={*counts, *present}).order_by("username")
    return [
        MemberProgress(user, *counts.get(user.id, (0, 0, 0)), last.get(user.id), user.id in present) for user in people
    ]
