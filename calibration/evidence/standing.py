"""The gold that stands for a signal wherever nobody has named one."""

from __future__ import annotations

from calibration.models import Recalibration
from labeling.models import DatasetVersion, Signal


def newest() -> dict[int, DatasetVersion]:
    """Signal → its newest frozen dataset version.

    What was labelled to mend some slices tells of those alone: it stands for the signal only where there is no other.
    """
    partial = _mending()
    frozen = DatasetVersion.objects.filter(frozen_at__isnull=False).select_related("dataset__signal", "parent")
    found = sorted(frozen.order_by("frozen_at", "id"), key=lambda version: version.id not in partial)
    return {version.dataset.signal_id: version for version in found}


def _mending() -> set[int]:
    """Dataset versions whose labels came from the queues of recalibrations of some slices, and from no others."""
    drawn = Recalibration.objects.exclude(queue=None).values_list("queue", "slices")
    queues = {queue for queue, parts in drawn if any(parts)}
    came = DatasetVersion.queues.through.objects
    others = came.exclude(queue__in=queues).values("datasetversion")
    return set(
        came.filter(queue__in=queues).exclude(datasetversion__in=others).values_list("datasetversion", flat=True)
    )


def of(signal: Signal) -> DatasetVersion | None:
    """The one of a signal; None where nothing is frozen."""
    return newest().get(signal.id)
