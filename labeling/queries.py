"""Reads for the people who label: what is served of an item, which queues are theirs, how far they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q

from labeling import checks, pacing, privacy, wording
from labeling.formats.rows import moment_text
from labeling.labels import Undone
from labeling.leasing import COUNTED_OPEN, Lease, Place, place
from labeling.models import WHOLE, Conversation, Label, Queue, QueueMember, Slot, Submission, User
from labeling.questions import Question

TURN_FIELDS = ("role", "text", "at", "start", "end")
BREAK = timedelta(hours=1)
LONGEST_SHIFT = 5000


# What is served of an item, whatever it is asked as; written out like the statements of `leasing`. What is never served is
# not read.
ASKED_OF = """
SELECT c.id, c.external_id, c.channel, c.cohort, c.customer, c.started_at, c.turns, c.asr, c.audio,
  COALESCE(i.turn, k.turn) AS asked_turn
FROM labeling_slot s
LEFT JOIN labeling_item i ON i.id = COALESCE(s.item_id, s.asks_again_id)
LEFT JOIN labeling_knownitem k ON k.id = s.known_item_id
JOIN labeling_conversation c ON c.id = COALESCE(i.conversation_id, k.conversation_id)
WHERE s.id = %s
"""


def served(lease: Lease, *, shows_cohort: bool, shows_date: bool) -> dict[str, Any]:
    """An item as its annotator may see it: the words and the channel, what bends judgement only where the queue says so.

    Of a call also how sure the recogniser was of each word, and what was really said where somebody wrote that down.
    No prediction, no other answer, no metadata is in it. A queue with gold checks has no dates (`shows_date`): gold is often of
    another time than the queue's items, and a date would tell it apart.
    """
    conversation = Conversation.objects.raw(ASKED_OF, [lease.slot_id])[0]
    turn = vars(conversation)["asked_turn"]
    return {
        "assignment": lease.slot_id,
        "lease_expires_at": moment_text(lease.until),
        **shown(conversation, turn, shows_cohort=shows_cohort, shows_date=shows_date),
    }


def shown(conversation: Conversation, turn: int, *, shows_cohort: bool, shows_date: bool = True) -> dict[str, Any]:
    """The words of a unit, of an item or of a practice item alike."""
    conversation = privacy.shown(conversation, privacy.in_force())
    told: dict[str, Any] = {
        "id": conversation.external_id,
        "channel": conversation.channel,
        "started_at": moment_text(conversation.started_at) if shows_date else None,
        "audio": conversation.audio or None,
        **_words(conversation),
    }
    if not shows_date:
        _without_dates(told["turns"])
    if shows_cohort:
        told |= {"cohort": conversation.cohort, "customer": conversation.customer}
    return {"conversation": told, "turn": None if turn == WHOLE else turn}


def _words(conversation: Conversation) -> dict[str, Any]:
    """The turns, each with its `words` as `[word, confidence]` where the recogniser gave them.

    Where a reference stands beside what was heard, a turn with word errors has `pieces`: `[heard, said]`, said null where
    both agree; where the two do not go turn by turn, `heard` has the pieces of the whole conversation.
    """
    turns = [{name: turn[name] for name in TURN_FIELDS if name in turn} for turn in conversation.turns]
    for turn, given in zip(turns, conversation.turns, strict=True):
        if words := wording.words(given):
            turn["words"] = words
    heard = wording.read(conversation.asr, conversation.turns)
    if heard is None:
        return {"turns": turns}
    for turn, pieces in zip(turns, heard.by_turn, strict=False):
        if any(piece.reference is not None for piece in pieces):
            turn["pieces"] = _pairs(pieces)
    return {"turns": turns, "heard": _pairs(heard.whole)} if heard.whole else {"turns": turns}


def _without_dates(turns: Sequence[dict[str, Any]]) -> None:
    """Moments of turns become seconds after the first of them, which `start` says anyhow where it is there."""
    moments = [_moment(turn.pop("at", None)) for turn in turns]
    first = next((at for at in moments if at is not None), None)
    for turn, at in zip(turns, moments, strict=True):
        if at is not None and first is not None:
            turn.setdefault("start", max(0.0, (at - first).total_seconds()))


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _pairs(pieces: Iterable[wording.Piece]) -> list[list[str | None]]:
    return [[piece.text, piece.reference] for piece in pieces]


def own_answer(undone: Undone, asked: Sequence[Question]) -> dict[str, Any]:
    """What somebody had answered before they took it back, so that the page shows it in place."""
    scales = {question.signal_id: question.scale for question in asked}
    act = undone.submission
    return {
        "kind": act.kind,
        "reason": act.reason,
        "comment": act.comment,
        "seconds": act.seconds,
        "labels": [
            {
                "signal": label.signal.slug,
                "value": scales[label.signal_id].decode(label.value),
                "comment": label.comment,
                "confidence": label.confidence,
            }
            for label in undone.labels
            if label.signal_id in scales
        ],
    }


def progress(standing: Place) -> dict[str, Any]:
    """Labelled by this person, and left for them; of more than a thousand left, only that there are more."""
    return {
        "done": standing.done,
        "left": standing.left,
        "more": standing.open >= COUNTED_OPEN,
        "items": standing.items,
    }


def progress_of(annotator: User, queue: Queue) -> dict[str, Any]:
    """`progress` as a page tells it: where the open slots are few enough to be counted, those of items that one has had, and
    second ones of an item, are left out."""
    standing = place(annotator=annotator, queue=queue)
    if standing.open < COUNTED_OPEN:
        standing = replace(standing, open=_open_items(annotator, [queue.id]).get(queue.id, 0))
    return progress(standing)


def _open_items(annotator: User, queues: Sequence[int]) -> dict[int, int]:
    """Items by queue that are open for somebody: one of their slots is free, and none is theirs."""
    theirs = Slot.objects.filter(item=OuterRef("item"), annotator=annotator)
    free = Slot.objects.filter(~Exists(theirs), queue__in=queues, state=Slot.State.FREE).order_by()
    return dict(free.values_list("queue_id").annotate(count=Count("item_id", distinct=True)))


@dataclass(frozen=True, slots=True)
class MyQueue:
    """A queue as its member sees it in the list: labels given, labels left for them, seconds an item at their own pace."""

    queue: Queue
    done: int
    left: int
    pace: float | None
    practice_due: bool = False

    @property
    def time_left(self) -> timedelta | None:
        return None if self.pace is None else timedelta(seconds=self.pace * self.left)


def my_queues(annotator: User) -> list[MyQueue]:
    """The open and paused queues of which `annotator` is a member; a fixed number of queries."""
    queues = list(
        Queue.objects.filter(memberships__user=annotator)
        .exclude(state=Queue.State.CLOSED)
        .prefetch_related("queue_signals__signal")
        .order_by("-priority", "created_at")
    )
    keys = [queue.id for queue in queues]
    own = Slot.objects.filter(annotator=annotator, queue__in=keys).order_by()
    counts = {
        key: (done, held, acts)
        for key, done, held, acts in own.values_list("queue_id").annotate(
            done=Count("id", filter=Q(state=Slot.State.DONE)),
            held=Count("id", filter=Q(state=Slot.State.LEASED)),
            acts=Count("id", filter=~Q(state=Slot.State.WAITING)),
        )
    }
    practised = dict(QueueMember.objects.filter(user=annotator, queue__in=keys).values_list("queue_id", "practiced_at"))
    open_items = _open_items(annotator, keys)
    pace = pacing.own(annotator)
    rows = []
    for queue in queues:
        done, held, acts = counts.get(queue.id, (0, 0, 0))
        left = held + checks.mix_of(queue, annotator).acts_for(open_items.get(queue.id, 0), after=acts)
        due = queue.practice_size > 0 and practised.get(queue.id) is None
        rows.append(MyQueue(queue, done, left, pace.seconds_in(queue), practice_due=due))
    return rows


def first_open(queues: Sequence[MyQueue]) -> MyQueue | None:
    """The queue to go on with: the first in their order that is open and has something left."""
    return next(
        (row for row in queues if row.queue.state == Queue.State.OPEN and row.left and not row.practice_due), None
    )


def in_hand(*, annotator: User, queue: Queue, now: datetime) -> Lease | None:
    """The item that somebody holds already; read only, so that a page can show it."""
    held = Slot.objects.filter(annotator=annotator, queue=queue, state=Slot.State.LEASED, leased_until__gt=now)
    row = held.order_by("position", "id").values_list("id", "leased_until").first()
    return None if row is None or row[1] is None else Lease(row[0], row[1])


def recent_acts(*, annotator: User, queue: Queue, limit: int = 10) -> list[Submission]:
    """The person's last acts in a queue, newest first."""
    acts = Submission.objects.filter(annotator=annotator, slot__queue=queue, undone_at__isnull=True)
    return list(acts.select_related("item__conversation").order_by("-created_at", "-id")[:limit])


@dataclass(frozen=True, slots=True)
class Shift:
    """What somebody did in a queue since their last long break, and how often reviewers decided as they had (ever)."""

    answers: int
    skips: int
    flags: int
    seconds: float
    pace: float | None
    ruled: int
    agreed: int
    began_at: datetime | None
    total: int


def shift(*, annotator: User, queue: Queue, now: datetime) -> Shift:
    """The person's own account of a queue; never beside anybody else's."""
    acts = Submission.objects.filter(annotator=annotator, slot__queue=queue, undone_at__isnull=True)
    latest = acts.order_by("-created_at", "-id").values_list("created_at", "kind", "seconds")[:LONGEST_SHIFT]
    began, kinds, spent = _since_the_break(latest)
    labels = Label.objects.filter(annotator=annotator, item__queue=queue, superseded_at__isnull=True, late=False)
    ruled = labels.filter(
        conversation__rulings__signal_id=F("signal_id"),
        conversation__rulings__turn=F("turn"),
        conversation__rulings__superseded_at__isnull=True,
    )
    pairs = list(ruled.values_list("value", "conversation__rulings__value"))
    return Shift(
        answers=kinds[Submission.Kind.ANSWER],
        skips=kinds[Submission.Kind.SKIP],
        flags=kinds[Submission.Kind.FLAG],
        seconds=sum(spent),
        pace=median(spent) if spent else None,
        ruled=len(pairs),
        agreed=sum(mine == decided for mine, decided in pairs),
        began_at=began,
        total=acts.filter(kind=Submission.Kind.ANSWER).count(),
    )


def shift_began(*, annotator: User, now: datetime) -> datetime | None:
    """When the person's present shift began, in whatever queues; None when their last act is longer ago than a break."""
    acts = Submission.objects.filter(annotator=annotator, undone_at__isnull=True).order_by("-created_at", "-id")
    began: datetime | None = None
    for at in acts.values_list("created_at", flat=True)[:LONGEST_SHIFT]:
        if (began or now) - at > BREAK:
            break
        began = at
    return began


def _since_the_break(
    acts: Iterable[tuple[datetime, str, float | None]],
) -> tuple[datetime | None, Counter[str], list[float]]:
    """From the newest back to the first gap that is longer than a break: its start, the acts by kind, their seconds."""
    began: datetime | None = None
    kinds: Counter[str] = Counter()
    spent: list[float] = []
    for at, kind, seconds in acts:
        if began is not None and began - at > BREAK:
            break
        began = at
        kinds[kind] += 1
        if kind == Submission.Kind.ANSWER and seconds and seconds < pacing.BREAK_SECONDS:
            spent.append(seconds)
    return began, kinds, spent
