"""Background work: each task is a thin face of one verb."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from calibration import tracing, voice
from calibration.drift import monitoring
from calibration.evidence import pairing


@shared_task(name="calibration.evaluate_monitors")  # type: ignore[untyped-decorator]
def evaluate_monitors() -> None:
    """The regular look at every monitor; looking twice changes nothing, so that a repeat does no harm."""
    monitoring.evaluate(now=timezone.now())


@shared_task(name="calibration.store_pairs")  # type: ignore[untyped-decorator]
def store_pairs() -> None:
    """Keep pairs of new gold or new predictions, so that no reader waits for them; a repeat finds nothing to do."""
    pairing.store_due()


@shared_task(name="calibration.measure_transcriptions")  # type: ignore[untyped-decorator]
def measure_transcriptions() -> None:
    """Count the word errors of new or changed calls, so that no reader waits for it; a repeat finds nothing to do."""
    voice.measure()


@shared_task(name="calibration.work_traces")  # type: ignore[untyped-decorator]
def work_traces() -> None:
    """Work off the trace requests that wait: large ones, and those whose worker died; a repeat finds nothing to do."""
    tracing.work_pending()
