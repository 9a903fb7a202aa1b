"""The gold that stands for a signal wherever nobody has named one."""

from __future__ import annotations

from calibration.models import Recalibration
from labeling.models import DatasetVersion, Signal


def newest() -> dict[int, DatasetVersion]:
    """Signal → its newest frozen dataset version.

    What was labelled to mend some slices tells of those alone: it stands for the signal only where there is no other.
    """
    mended = Recalibration.objects.exclude(dataset_version=None).values_list("dataset_version", "slices")
    partial = {version for version, parts in mended if any(parts)}
    frozen = DatasetVersion.objects.filter(frozen_at__isnull=False).select_related("dataset__signal", "parent")
    found = sorted(frozen.order_by("frozen_at", "id"), key=lambda version: version.id not in partial)
    return {version.dataset.signal_id: version for version in found}


def of(signal: Signal) -> DatasetVersion | None:
    """The one of a signal; None where nothing is frozen."""
    return newest().get(signal.id)
