"""Background work: each task is a thin face of one verb."""

from __future__ import annotations

import contextlib

from celery import shared_task
from django.utils import timezone

from calibration import scoring, tracing, voice
from calibration.drift import canaries, monitoring
from calibration.evidence import pairing
from calibration.models import CanarySet, ScoringRun
from labeling.errors import Conflict


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


@shared_task(name=canaries.TASK)  # type: ignore[untyped-decorator]
def score_canary_set(set_id: int) -> None:
    """Score the rounds of one set that wait; while another worker holds one, that worker does it."""
    found = CanarySet.objects.filter(id=set_id).select_related("version__classifier__signal").first()
    if found is not None:
        with contextlib.suppress(Conflict):  # another worker is at it
            canaries.work(canary_set=found)


@shared_task(name="calibration.open_canary_rounds")  # type: ignore[untyped-decorator]
def open_canary_rounds() -> None:
    """Open the rounds that are due, and take up those that were left lying; a repeat finds nothing to do."""
    canaries.open_due(now=timezone.now())


@shared_task(name=scoring.TASK)  # type: ignore[untyped-decorator]
def work_scoring_run(run_id: int) -> None:
    """Score what a run has left; a repeat goes on where the one before was cut off, or finds it done."""
    run = ScoringRun.objects.select_related("version__classifier__signal").get(id=run_id)
    with contextlib.suppress(Conflict):  # another worker is at it
        scoring.work(run=run)


@shared_task(name="calibration.work_runs")  # type: ignore[untyped-decorator]
def work_runs() -> None:
    """Work for a while on the scoring run that waits longest; a repeat takes up the next one, or finds nothing to do."""
    scoring.work_waiting()
