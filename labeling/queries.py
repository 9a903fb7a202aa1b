"""Reads for the people who label: what is served of an item, which queues are theirs, how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db.models import Count, F, Max, Q

from labeling.formats.rows import moment_text
from labeling.labels import Asked
from labeling.models import WHOLE, Item, Label, Queue, Slot, Submission, User

PACE_SAMPLE = 50
PACE_LIMIT = 600.0
"""Seconds beyond which an item was a break, not work."""


def served(slot: Slot, *, queue: Queue, asked: Sequence[Asked], answers: Sequence[Label] = ()) -> dict[str, Any]:
    """An item as its annotator may see it: the words and the channel, what bends judgement only where the queue says so.

    No prediction, no other answer, no metadata is in it. `answers` are the annotator's own, after an undo.
    """
    conversation = slot.item.conversation
    shown: dict[str, Any] = {
        "id": conversation.external_id,
        "channel": conversation.channel,
        "started_at": moment_text(conversation.started_at),
        "turns": conversation.turns,
        "audio": conversation.audio,
    }
    if queue.shows_cohort:
        shown |= {"cohort": conversation.cohort, "customer": conversation.customer}
    scales = {one.signal.id: one.scale for one in asked}
    item: dict[str, Any] = {
        "assignment": slot.id,
        "lease_expires_at": moment_text(slot.leased_until),
        "conversation": shown,
        "turn": None if slot.item.turn == WHOLE else slot.item.turn,
    }
    if answers:
        item["answers"] = [
            {
                "signal": label.signal.slug,
                "value": scales[label.signal_id].decode(label.value),
                "comment": label.comment,
                "confidence": label.confidence,
            }
            for label in answers
        ]
    return item


def question(one: Asked) -> dict[str, Any]:
    """A signal as the labelling page and API need it, with the guideline to read."""
    signal = one.signal
    newest = one.guideline
    return {
        "signal": signal.slug,
        "title": signal.title,
        "scale": signal.scale,
        "unit": signal.unit,
        "min": signal.minimum,
        "max": signal.maximum,
        "categories": [
            {"value": category.value, "label": category.label, "key": category.key}
            for category in signal.categories.all()
        ],
        "guideline_version": newest.version if newest else None,
    }


def progress(*, annotator: User, queue: Queue) -> dict[str, int]:
    """How many items of the queue this person has answered, and how many items there are."""
    done = Slot.objects.filter(annotator=annotator, queue=queue, state=Slot.State.DONE).count()
    return {"done": done, "items": item_count(queue)}


def item_count(queue: Queue) -> int:
    """Items are numbered from 0 without gaps: the highest number tells, however many there are."""
    highest = Item.objects.filter(queue=queue).order_by("-position").values_list("position", flat=True).first()
    return 0 if highest is None else highest + 1


@dataclass(frozen=True, slots=True)
class MyQueue:
    """A queue as its member sees it in the list: labels given, labels left for them, seconds an item at their own pace."""

    queue: Queue
    done: int
    left: int
    pace: float | None

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
    own = Slot.objects.filter(annotator=annotator, queue__in=keys).values_list("queue_id")
    mine = {
        key: (done, had)
        for key, done, had in own.annotate(
            done=Count("id", filter=Q(state=Slot.State.DONE)), had=Count("id", filter=~Q(state=Slot.State.LEASED))
        ).values_list("queue_id", "done", "had")
    }
    # An item is open for somebody when one of its slots is free and none of its slots is theirs.
    taken = Slot.objects.filter(annotator=annotator, queue__in=keys).exclude(state=Slot.State.LEASED).values("item_id")
    free = Slot.objects.filter(queue__in=keys, state=Slot.State.FREE).exclude(item_id__in=taken)
    open_items = dict(
        free.values_list("queue_id").annotate(count=Count("item_id", distinct=True)).values_list("queue_id", "count")
    )
    held = Slot.objects.filter(annotator=annotator, queue__in=keys, state=Slot.State.LEASED)
    in_hand = dict(held.values_list("queue_id").annotate(count=Count("id")).values_list("queue_id", "count"))
    pace = seconds_an_item(annotator)
    return [
        MyQueue(queue, mine.get(queue.id, (0, 0))[0], open_items.get(queue.id, 0) + in_hand.get(queue.id, 0), pace)
        for queue in queues
    ]


def seconds_an_item(annotator: User, *, queue: Queue | None = None) -> float | None:
    """The median active time of the person's last answers; None before the first."""
    answers = Submission.objects.filter(
        annotator=annotator, kind=Submission.Kind.ANSWER, seconds__gt=0, seconds__lt=PACE_LIMIT, undone_at__isnull=True
    )
    if queue is not None:
        answers = answers.filter(item__queue=queue)
    recent = [
        seconds or 0.0 for seconds in answers.order_by("-created_at").values_list("seconds", flat=True)[:PACE_SAMPLE]
    ]
    return median(recent) if recent else None


@dataclass(frozen=True, slots=True)
class Shift:
    """What somebody did in a queue: how much, how fast, and how often reviewers decided as they had."""

    answers: int
    skips: int
    flags: int
    pace: float | None
    ruled: int
    agreed: int
    last_at: datetime | None


def shift(*, annotator: User, queue: Queue) -> Shift:
    """The person's own account of a queue; never beside anybody else's."""
    acts = Submission.objects.filter(annotator=annotator, item__queue=queue, undone_at__isnull=True)
    counts = dict(acts.values_list("kind").annotate(count=Count("id")).values_list("kind", "count"))
    labels = Label.objects.filter(annotator=annotator, item__queue=queue, superseded_at__isnull=True, late=False)
    ruled = labels.filter(
        conversation__rulings__signal_id=F("signal_id"),
        conversation__rulings__turn=F("turn"),
        conversation__rulings__superseded_at__isnull=True,
    )
    pairs = list(ruled.values_list("value", "conversation__rulings__value"))
    return Shift(
        answers=counts.get(Submission.Kind.ANSWER, 0),
        skips=counts.get(Submission.Kind.SKIP, 0),
        flags=counts.get(Submission.Kind.FLAG, 0),
        pace=seconds_an_item(annotator, queue=queue),
        ruled=len(pairs),
        agreed=sum(mine == decided for mine, decided in pairs),
        last_at=acts.aggregate(last=Max("created_at"))["last"],
    )
