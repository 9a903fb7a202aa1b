"""Asking again after a guideline was mended: labels given under an older version are superseded, and their room is free.

What was frozen stays frozen: gold has copies of its own. Units with a ruling are settled and are not asked again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Max, OuterRef, QuerySet, Subquery

from labeling.adjudication import RULED, queue_closed
from labeling.errors import Forbidden, Refused
from labeling.models import Guideline, Label, Queue, Signal, Slot, Submission, User

BATCH = 500


@dataclass(frozen=True, slots=True)
class Outdated:
    """Items of a queue with labels of `signal` under an older guideline than `newest`, and those of them on which people differ."""

    signal: Signal
    newest: int
    items: int
    split: int


def outdated(queue: Queue) -> list[Outdated]:
    """What could be asked again, for each signal of the queue whose guideline was mended since."""
    found = []
    for row in queue.queue_signals.select_related("signal"):
        newest = row.signal.guidelines.aggregate(newest=Max("version"))["newest"]
        items = set(_old(queue, row.signal).values_list("item_id", flat=True))
        if items:
            found.append(Outdated(row.signal, newest, len(items), len(items & _split(queue, row.signal))))
    return found


def _old(queue: Queue, signal: Signal) -> QuerySet[Label]:
    """Current labels of the queue that were given with an older guideline, on units without a ruling."""
    newest = Guideline.objects.filter(signal=OuterRef("signal")).order_by("-version").values("version")[:1]
    labels = Label.objects.filter(~RULED, item__queue=queue, signal=signal, superseded_at__isnull=True, late=False)
    return labels.filter(guideline__version__lt=Subquery(newest)).order_by()


def _split(queue: Queue, signal: Signal) -> set[int | None]:
    said: dict[int | None, set[str]] = defaultdict(set)
    current = Label.objects.filter(item__queue=queue, signal=signal, superseded_at__isnull=True, late=False)
    for item, value in current.values_list("item_id", "value").iterator(chunk_size=5000):
        said[item].add(value)
    return {item for item, values in said.items() if len(values) > 1}


@transaction.atomic
def requeue(*, queue: Queue, signal: Signal, by: User, now: datetime, only_split: bool = False) -> int:
    """Ask again what was labelled under an older guideline of `signal`; `only_split`: where people differ. Returns the
    number of answers that are asked for again.

    An answer to several signals is asked for again as a whole. Raises Forbidden below the role of reviewer, Conflict for a
    closed queue, Refused where nothing is outdated.
    """
    if not by.may("reviewer"):
        raise Forbidden("not_a_reviewer", "asking again is for reviewers and above")
    queue = Queue.objects.select_for_update().get(id=queue.id)
    if queue.state == Queue.State.CLOSED:
        raise queue_closed(queue)
    rows = list(_old(queue, signal).values_list("submission_id", "item_id").distinct())
    split = _split(queue, signal) if only_split else set()
    acts = sorted({act for act, item in rows if act is not None and (not only_split or item in split)})
    if not acts:
        raise Refused("nothing_outdated", f"no label of {signal.slug} here is older than its guideline", field="signal")
    asked = 0
    for start in range(0, len(acts), BATCH):
        part = Submission.objects.filter(
            id__in=acts[start : start + BATCH], undone_at__isnull=True, requeued_at__isnull=True
        )
        told = list(part.values_list("id", "slot_id"))
        asked += part.update(requeued_at=now)
        Label.objects.filter(submission__in=[act for act, _ in told], superseded_at__isnull=True).update(
            superseded_at=now
        )
        Slot.objects.filter(id__in=[slot for _, slot in told], state=Slot.State.DONE).update(
            state=Slot.State.FREE, annotator=None, leased_until=None
        )
    return asked
