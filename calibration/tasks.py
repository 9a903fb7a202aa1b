"""Background work: each task is a thin face of one verb."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from calibration import monitoring


@shared_task(name="calibration.evaluate_monitors")  # type: ignore[untyped-decorator]
def evaluate_monitors() -> None:
    """The regular look at every monitor; looking twice changes nothing, so that a repeat does no harm."""
    monitoring.evaluate(now=timezone.now())
