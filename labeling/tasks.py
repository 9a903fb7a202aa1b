"""Background work of labelling: each task is a thin face of one verb."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from labeling.notices import announcing, delivering


@shared_task(name=announcing.TASK)  # type: ignore[untyped-decorator]
def deliver(delivery_id: int) -> None:
    """One attempt at one delivery; a repeat finds it sent, held or not due."""
    delivering.deliver(delivery_id=delivery_id, now=timezone.now())


@shared_task(name="labeling.deliver_due")  # type: ignore[untyped-decorator]
def deliver_due() -> None:
    """Deliveries that are to be tried again, and those whose message was lost; then queues that were done unnoticed."""
    for delivery_id in delivering.due(now=timezone.now()):
        delivering.deliver(delivery_id=delivery_id, now=timezone.now())
    announcing.sweep_queues()
