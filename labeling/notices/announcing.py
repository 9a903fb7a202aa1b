"""Announcing: a notice and its deliveries are rows of the transaction that causes them; sending begins when it is committed."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling.background import later
from labeling.models import DatasetVersion, Delivery, Notice, Queue, Slot, Subscription

TASK = "labeling.deliver"
Event = Subscription.Event


def announce(*, event: str, key: str, sentence: str, address: str, **told: Any) -> Notice | None:
    """Tell every active subscription of `event`; None where nobody asked, or where `key` was announced already.

    `sentence` says what happened, `address` is the page that shows it, `told` what programs want to know.
    """
    wanting = [found for found in Subscription.objects.filter(active=True) if event in found.events]
    if not wanting:
        return None
    document = {"sentence": sentence, "address": address, **told}
    try:
        with transaction.atomic():
            notice = Notice.objects.create(key=f"{event}:{key}"[:120], event=event, document=document)
            for subscription in wanting:
                enqueue(notice, subscription)
    except IntegrityError:  # it was announced already
        return None
    return notice


def enqueue(notice: Notice, subscription: Subscription) -> Delivery:
    """One delivery, sent on commit."""
    row = Delivery.objects.create(notice=notice, subscription=subscription, next_at=timezone.now())
    later(TASK, row.id)
    return row


def frozen(version: DatasetVersion) -> None:
    """A gold dataset version was frozen."""
    announce(
        event=Event.DATASET_FROZEN,
        key=str(version.id),
        sentence=f"{version} is frozen: {version.item_count} items from {version.label_count} labels.",
        address=f"/datasets/{version.dataset.slug}/{version.number}/",
        dataset=str(version),
        sha256=version.sha256,
        items=version.item_count,
    )


def finished(queue_id: int) -> None:
    """A queue got an answer: if it was the last one that it wanted, that is told."""
    if not Subscription.objects.filter(active=True).exists() or _open_slots(queue_id):
        return
    queue = Queue.objects.get(id=queue_id)
    slots = queue.slots.filter(item__isnull=False)  # checks are nobody's waiting
    labelled = slots.filter(state=Slot.State.DONE).count()
    if labelled:
        announce(
            event=Event.QUEUE_DONE,
            key=f"{queue.id}:{slots.count()}",  # a queue that is topped up can be done again
            sentence=f"{queue.title} is done: {labelled} answers.",
            address=f"/queues/{queue.slug}/",
            queue=queue.slug,
            answers=labelled,
        )


def sweep_queues() -> None:
    """Queues whose last two answers came at the same moment, neither of which saw the other."""
    for queue_id in Queue.objects.filter(state=Queue.State.OPEN).values_list("id", flat=True):
        finished(queue_id)


def _open_slots(queue_id: int) -> bool:
    open_ones = Slot.objects.filter(queue=queue_id, state__in=[Slot.State.FREE, Slot.State.LEASED])
    return open_ones.filter(item__isnull=False).exists()
