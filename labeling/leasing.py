"""Leases: an annotator's time-limited claim on a slot, taken by one conditional UPDATE whose row count is the verdict.

Members are spread over lanes (`QueueMember.lane`): a person looks at the slots with their lane's number first, then at
all others, then at leases that ran out. Each look is one step in one index, however many items there are.
Where the queue mixes checks in, one that is due comes first (`labeling.checks`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from labeling import checks
from labeling.errors import Conflict, NotFound
from labeling.mixing import Mix
from labeling.models import Item, Queue, Slot, User

MOST_HELD = 2
"""The item on screen and the one that is prefetched."""
COUNTED_OPEN = 1000
"""Open slots are counted up to here, so that telling what is left costs the same in every queue."""
ROUNDS = 8
LOOKS = 5
"""How often it is looked anew where somebody stands, at most, when that has changed before a lease came of it."""


# The statements of the hot path are written out: both databases understand them, and building them anew from Python
# objects for each item would cost more than answering them.
PLACE = """
SELECT m.lane, q.id, q.state, q.overlap, q.lease_seconds, q.shows_cohort,
  (SELECT count(*) FROM labeling_queuemember o WHERE o.queue_id = q.id AND o.id < m.id),
  (SELECT count(*) FROM labeling_queuemember o WHERE o.queue_id = q.id),
  (SELECT count(*) FROM labeling_slot s WHERE s.queue_id = q.id AND s.annotator_id = m.user_id AND s.state = 'leased'),
  (SELECT s.id FROM labeling_slot s WHERE s.queue_id = q.id AND s.annotator_id = m.user_id AND s.state = 'leased'
     AND s.id NOT IN ({holding}) ORDER BY s.position, s.id LIMIT 1),
  (SELECT count(*) FROM labeling_slot s WHERE s.queue_id = q.id AND s.annotator_id = m.user_id AND s.state = 'done'),
  (SELECT count(*) FROM labeling_slot s WHERE s.queue_id = q.id AND s.annotator_id = m.user_id AND s.state = 'skipped'),
  (SELECT i.position FROM labeling_item i WHERE i.queue_id = q.id ORDER BY i.position DESC LIMIT 1),
  (SELECT count(*) FROM
     (SELECT 1 FROM labeling_slot s WHERE s.queue_id = q.id AND s.state = 'free' LIMIT {counted}) AS open),
  CASE WHEN q.repeat_share + q.gold_share > 0 THEN (SELECT count(*) FROM labeling_slot s
     WHERE s.queue_id = q.id AND s.annotator_id = m.user_id AND s.item_id IS NULL AND s.state <> 'waiting') ELSE 0 END,
  q.repeat_share, q.gold_share, q.practice_size > 0 AND m.practiced_at IS NULL
FROM labeling_queuemember m JOIN labeling_queue q ON q.id = m.queue_id
WHERE m.user_id = %s AND q.{column} = %s
"""
CANDIDATES = """
SELECT s.id FROM labeling_slot s
WHERE s.queue_id = %s AND {condition}
  AND NOT EXISTS (SELECT 1 FROM labeling_slot mine WHERE mine.item_id = s.item_id AND mine.annotator_id = %s)
ORDER BY {order} LIMIT {size}
"""
FREE_IN_LANE = ("s.state = 'free' AND s.number = %s", "s.position")
# Slots that replace skipped ones are numbered on beyond the lanes: they are found here, at the end.
FREE_ELSEWHERE = ("s.state = 'free' AND s.number <> %s", "s.number, s.position")
EXPIRED = ("s.state = 'leased' AND s.item_id IS NOT NULL AND s.leased_until <= %s", "s.leased_until")
MEMBERSHIP = "SELECT 1 FROM labeling_queuemember WHERE queue_id = %s AND user_id = %s FOR NO KEY UPDATE"
CLAIM = f"""
UPDATE labeling_slot SET state = 'leased', annotator_id = %s, leased_until = %s
WHERE id = %s AND (state = 'free' OR state = 'leased' AND item_id IS NOT NULL AND leased_until <= %s)
  AND (SELECT count(*) FROM labeling_slot held
       WHERE held.queue_id = %s AND held.annotator_id = %s AND held.state = 'leased') < {MOST_HELD}
"""
# What an act reads of its slot, of the queue and of the item, in the order of the models; whatever else is asked of them is
# read when it is asked.
SLOT_COLUMNS = (
    "id", "item_id", "asks_again_id", "known_item_id", "queue_id", "number", "position", "state", "annotator_id",
)  # fmt: skip
QUEUE_COLUMNS = ("id", "slug", "state", "overlap", "overlap_most", "lease_seconds", "gold_share", "gold_feedback")
ITEM_COLUMNS = ("id", "queue_id", "conversation_id", "turn")
ASSIGNED = f"""
SELECT {", ".join([f"s.{name}" for name in SLOT_COLUMNS] + [f"q.{name}" for name in QUEUE_COLUMNS] + [f"i.{name}" for name in ITEM_COLUMNS])}
FROM labeling_slot s
JOIN labeling_queuemember m ON m.queue_id = s.queue_id AND m.user_id = %s
JOIN labeling_queue q ON q.id = s.queue_id
LEFT JOIN labeling_item i ON i.id = s.item_id
WHERE s.id = %s AND (s.item_id IS NOT NULL OR s.annotator_id = m.user_id)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody stands in a queue before asking for an item: their lane, what they hold, what they have done.

    `held`, `done` and `skipped` count checks too; `checks` says how many of them are checks. `practice_due`: the queue opens
    to them after its practice round. `holding`: the slots that their client has already.
    """

    annotator: User
    queue_id: int
    state: str
    lease_seconds: int
    shows_cohort: bool
    lane: int
    rank: int
    mates: int
    held: int
    held_elsewhere: int | None
    done: int
    skipped: int
    items: int
    open: int
    checks: int
    mix: Mix
    practice_due: bool
    holding: tuple[int, ...]

    @property
    def acts(self) -> int:
        """How much they were given, checks included."""
        return self.done + self.skipped + self.held

    @property
    def items_left(self) -> int:
        """Items that they do not hold and that can still become theirs; at most COUNTED_OPEN are counted."""
        return max(0, min(self.items - (self.acts - self.checks), self.open))

    @property
    def left(self) -> int:
        """What is still to come for them, in hand or not, with the checks that are due on the way: so the count goes down
        by one with each act, whatever it was."""
        return self.held + self.mix.acts_for(self.items_left, after=self.acts)


def place(*, annotator: User, queue: Queue | int | str, holding: Collection[int] = ()) -> Place:
    """The door of a queue (its slug, its id or itself) for its member, in one query; NotFound for everybody else."""
    key = queue.id if isinstance(queue, Queue) else queue
    marks = ", ".join(["%s"] * len(holding)) or "-1"
    column = "slug" if isinstance(key, str) else "id"
    with connection.cursor() as cursor:
        statement = PLACE.format(holding=marks, counted=COUNTED_OPEN, column=column)
        cursor.execute(statement, [*holding, annotator.id, key])
        row = cursor.fetchone()
    if row is None:
        raise NotFound("not_a_member", "there is no such queue", field="queue")
    lane, queue_id, state, overlap, seconds, shows, sooner, members = row[:8]
    held, elsewhere, done, skipped, highest, free, checked, repeat, known, practice = row[8:]
    return Place(
        annotator=annotator,
        queue_id=queue_id,
        state=state,
        lease_seconds=seconds,
        shows_cohort=bool(shows),
        lane=lane,
        rank=sooner // overlap,
        mates=-(-members // overlap),
        held=held,
        held_elsewhere=elsewhere,
        done=done,
        skipped=skipped,
        items=0 if highest is None else highest + 1,
        open=free,
        checks=checked,
        mix=Mix(repeat, known, f"{queue_id}:{annotator.id}"),
        practice_due=bool(practice),
        holding=tuple(holding),
    )


def lease(*, annotator: User, queue: Queue, now: datetime, holding: Collection[int] = ()) -> Slot | None:
    """Claim the next slot of `queue` for `annotator`; None when nothing is left for them.

    `holding` names the slots that the client has already: asking again without naming them gives the same slot back, so
    that a lost answer costs nothing. Raises NotFound for somebody who is not a member.
    """
    taken = lease_at(place(annotator=annotator, queue=queue, holding=holding), now=now)
    return None if taken is None else Slot.objects.get(id=taken.slot_id)


@dataclass(frozen=True, slots=True)
class Lease:
    """A slot that is somebody's until a moment."""

    slot_id: int
    until: datetime


def lease_at(standing: Place, *, now: datetime) -> Lease | None:
    """`lease` for somebody whose place is known already. Where another request of theirs has changed it since, a page that
    gives its items back as it is left, say, it is looked again: nothing is said to be left, or over, by what is past."""
    for _ in range(LOOKS):
        try:
            return _lease(standing, now=now)
        except _Moved:
            standing = place(annotator=standing.annotator, queue=standing.queue_id, holding=standing.holding)
    return None


class _Moved(Exception):
    """Since it was looked where they stand, the person has come to hold something else."""


def _lease(standing: Place, *, now: datetime) -> Lease | None:
    """What they hold and their client does not know of yet, else one more; raises _Moved where their place is another."""
    annotator = standing.annotator
    if standing.state != Queue.State.OPEN or standing.practice_due:
        return None
    until = now + timedelta(seconds=standing.lease_seconds)
    if standing.held_elsewhere is not None:
        theirs = Slot.objects.filter(id=standing.held_elsewhere, annotator=annotator, state=Slot.State.LEASED)
        if not theirs.update(leased_until=until):
            raise _Moved
        return Lease(standing.held_elsewhere, until)
    if standing.held >= MOST_HELD:
        return None
    slot_id = _take(standing, now=now, until=until)
    return None if slot_id is None else Lease(slot_id, until)


def _take(standing: Place, *, now: datetime, until: datetime) -> int | None:
    """The check that is due, or the first slot that can be had, or, at the end, a check that was given back."""
    if standing.mix.share and standing.items_left:
        with _room_for_one(standing):
            check = checks.serve(
                annotator=standing.annotator,
                queue_id=standing.queue_id,
                mix=standing.mix,
                act=standing.acts,
                now=now,
                until=until,
            )
        if check is not None:
            return check
    claimed = next((one for one in _candidates(standing, now=now) if _claim(one, standing, now=now, until=until)), None)
    if claimed is not None or not standing.mix.share:
        return claimed
    with _room_for_one(standing):
        return checks.take_again(annotator=standing.annotator, queue_id=standing.queue_id, until=until)


@contextmanager
def one_at_a_time(annotator: User, queue_id: int) -> Iterator[None]:
    """A transaction in which nobody else takes a slot for this person, since the row of their membership is locked: two
    requests at once would both count what they hold before either takes. SQLite has one writer as it is."""
    with transaction.atomic():
        if connection.features.has_select_for_update:
            with connection.cursor() as cursor:
                cursor.execute(MEMBERSHIP, [queue_id, annotator.id])
                if cursor.fetchone() is None:
                    raise NotFound("not_a_member", "there is no such queue", field="queue")
        yield


@contextmanager
def _room_for_one(standing: Place) -> Iterator[None]:
    """`one_at_a_time` for a person who may take a slot more; raises _Moved where they may not: another request of theirs was
    faster, and what it took is given to both, so that neither looks like the end."""
    with one_at_a_time(standing.annotator, standing.queue_id):
        if _holds_enough(standing).exists():
            raise _Moved
        yield


def _holds_enough(standing: Place) -> QuerySet[Slot]:
    """The last of the slots that the person may hold, where they hold so many."""
    held = Slot.objects.filter(queue=standing.queue_id, annotator=standing.annotator, state=Slot.State.LEASED)
    return held.order_by("id")[MOST_HELD - 1 : MOST_HELD]


def _candidates(standing: Place, *, now: datetime) -> Iterator[int]:
    """Free slots of the person's own lane, then of the others, then expired ones; never of an item they have had.

    After a whole batch was lost to others the next one is fetched, so that a crowd cannot make a full queue look empty.
    """
    size = min(32, max(4, 2 * standing.mates))
    moment = connection.ops.adapt_datetimefield_value(now)
    stages: tuple[tuple[tuple[str, str], Any], ...] = (
        (FREE_IN_LANE, standing.lane),
        (FREE_ELSEWHERE, standing.lane),
        (EXPIRED, moment),
    )
    for (condition, order), value in stages:
        statement = CANDIDATES.format(condition=condition, order=order, size=size)
        for _ in range(ROUNDS):
            with connection.cursor() as cursor:
                cursor.execute(statement, [standing.queue_id, value, standing.annotator.id])
                batch = [slot_id for (slot_id,) in cursor.fetchall()]
            yield from _rotated(batch, standing.rank % standing.mates)
            if len(batch) < size:
                break


def _rotated(slots: list[int], start: int) -> list[int]:
    """An order of this person's own: those who ask at the same moment begin at different slots."""
    start %= len(slots) or 1
    return slots[start:] + slots[:start]


def takeable(now: datetime) -> Q:
    """A slot that anybody may take: free, or leased until a time that has passed."""
    return Q(state=Slot.State.FREE) | Q(state=Slot.State.LEASED, item__isnull=False, leased_until__lte=now)


def _claim(slot_id: int, standing: Place, *, now: datetime, until: datetime) -> bool:
    """The conditional UPDATE. A lost race is an answer, not an error; so is another slot of an item one has already."""
    annotator, queue_id = standing.annotator, standing.queue_id
    moment, end = (connection.ops.adapt_datetimefield_value(at) for at in (now, until))
    try:
        with one_at_a_time(annotator, queue_id), connection.cursor() as cursor:
            cursor.execute(CLAIM, [annotator.id, end, slot_id, moment, queue_id, annotator.id])
            if not cursor.rowcount and _holds_enough(standing).exists():
                raise _Moved
            return bool(cursor.rowcount)
    except IntegrityError:
        return False


def renew(*, annotator: User, slot_id: int, now: datetime) -> datetime:
    """Extend a lease while its holder is active; also one that ran out, as long as nobody else has taken the slot."""
    slot = slot_of(annotator, slot_id)
    until = now + timedelta(seconds=slot.queue.lease_seconds)
    held = Slot.objects.filter(id=slot_id, annotator=annotator, state=Slot.State.LEASED)
    if not held.update(leased_until=until):
        raise Conflict("lease_gone", "somebody else has this item now")
    return until


def release(*, annotator: User, slot_id: int, now: datetime) -> bool:
    """Give back a slot that was not used: a prefetched item whose reader has left. Answers whether it was still held."""
    slot = slot_of(annotator, slot_id)
    held = Slot.objects.filter(id=slot.id, annotator=annotator, state=Slot.State.LEASED)
    if slot.is_check:
        return held.update(state=Slot.State.WAITING, leased_until=None) == 1
    return held.update(state=Slot.State.FREE, annotator=None, leased_until=None) == 1


def give_back_surplus(*, annotator: User, queue: Queue, kept: int, holding: Sequence[int] = ()) -> None:
    """Free what a person holds beyond MOST_HELD now that the slot `kept` has come to them again. What `holding` names first
    stays, then what they would be given first. A check is nobody else's: it waits until it is due again."""
    held = Slot.objects.filter(queue=queue, annotator=annotator, state=Slot.State.LEASED).exclude(id=kept)
    rows = list(held.order_by("position", "id").values_list("id", "item_id"))
    wish = {slot_id: place for place, slot_id in enumerate(reversed(holding), start=1)}
    rows.sort(key=lambda row: -wish.get(row[0], 0))
    surplus = rows[MOST_HELD - 1 :]
    items = [slot_id for slot_id, item in surplus if item is not None]
    repeats_and_gold = [slot_id for slot_id, item in surplus if item is None]
    held.filter(id__in=items).update(state=Slot.State.FREE, annotator=None, leased_until=None)
    held.filter(id__in=repeats_and_gold).update(state=Slot.State.WAITING, leased_until=None)


def slot_of(annotator: User, slot_id: int) -> Slot:
    """A slot of a queue of which `annotator` is a member, with what it asks; NotFound for everybody else, and for a check of
    somebody else's."""
    row = None
    if slot_id < 2**63:  # no database has a larger one, and SQLite cannot even look for it
        with connection.cursor() as cursor:
            cursor.execute(ASSIGNED, [annotator.id, slot_id])
            row = cursor.fetchone()
    if row is None:
        raise NotFound("unknown_assignment", "there is no such assignment", field="assignment")
    first, last = len(SLOT_COLUMNS), len(row) - len(ITEM_COLUMNS)
    slot = Slot.from_db(connection.alias, SLOT_COLUMNS, row[:first])
    slot.queue = Queue.from_db(connection.alias, QUEUE_COLUMNS, row[first:last])
    if not slot.is_check:
        slot.item = Item.from_db(connection.alias, ITEM_COLUMNS, row[last:])
    return slot


@dataclass(frozen=True, slots=True)
class Emptiness:
    """Why nothing is left for somebody: `reason` is done, held, not_yours, paused, closed, practice or waiting.

    *held*: others hold items, the first until `until`. *not_yours*: what is left are items that this person has had
    already; others have to label them. *practice*: the queue opens after its practice round. *waiting*: something is there again, ask once more.
    """

    reason: str
    until: datetime | None = None
    held_by_others: int = 0


def why_empty(*, annotator: User, queue: Queue, now: datetime) -> Emptiness:
    """What an empty answer means: everything done, items held by others until a time, or the queue at rest."""
    if queue.state != Queue.State.OPEN:
        return Emptiness(queue.state)
    if queue.practice_size and queue.memberships.filter(user=annotator, practiced_at__isnull=True).exists():
        return Emptiness("practice")
    theirs = Slot.objects.filter(item=OuterRef("item"), annotator=annotator)
    others = Slot.objects.filter(~Exists(theirs), queue=queue, item__isnull=False)
    if others.filter(takeable(now)).exists():
        return Emptiness("waiting")
    held = others.filter(state=Slot.State.LEASED)
    soonest = held.order_by("leased_until").values_list("leased_until", flat=True).first()
    if soonest is not None:
        return Emptiness("held", until=soonest, held_by_others=held.count())
    unfinished = Slot.objects.filter(queue=queue, item__isnull=False, state__in=[Slot.State.FREE, Slot.State.LEASED])
    return Emptiness("not_yours" if unfinished.exclude(annotator=annotator).exists() else "done")
