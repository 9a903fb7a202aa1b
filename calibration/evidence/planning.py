"""How many labels a slice still needs: for an interval of a wanted width, and for a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from calibration.errors import EvidenceRefused
from calibration.evidence import measuring, pairing, reports
from calibration.models import ClassifierVersion
from calibration.stats import planning
from calibration.stats.verdicts import Verdict
from labeling.models import DatasetVersion
from labeling.values import Scale

HALF_WIDTH = 0.05


def plan(
    *,
    dataset_version: DatasetVersion,
    version: ClassifierVersion,
    half_width: float = HALF_WIDTH,
    by: Sequence[str] = (),
) -> dict[str, Any]:
    """Labels for `value ± half_width` per slice at 95 %, by what the labels at hand say about each slice's spread."""
    if not 0.005 <= half_width <= 0.5:
        raise EvidenceRefused(
            "bad_half_width", f"a half-width lies between 0.005 and 0.5, not at {half_width}", field="half_width"
        )
    given = reports.read_input(dataset_version, version.classifier, [version], by)
    pairs = pairing.read(dataset_version=dataset_version, version=version, by=given.by)
    groups = reports.slices_of(given.by, pairs.by, pairs.answered)
    measured = measuring.measure(given.scale, groups, given.bar, frozenset())
    rows: list[dict[str, Any]] = [
        {"slice": dict(one.slice), "n": one.n, given.bar.statistic: one.estimates[given.bar.statistic].as_dict()}
        | asdict(_needed(given.scale, given.bar.statistic, groups[one.slice], one, half_width))
        | _verdict(one.verdict)
        for one in measured
    ]
    known = [row["further"] for row in rows if len(row["slice"]) == len(given.by) and row["further"] is not None]
    return {
        "dataset": str(dataset_version),
        "sha256": dataset_version.sha256,
        "classifier": version.classifier.slug,
        "version": version.version,
        "signal": dataset_version.dataset.signal.slug,
        "by": list(given.by),
        "statistic": given.bar.statistic,
        "half_width": half_width,
        "rows": rows,
        "further": sum(known),
    }


def _needed(
    scale: Scale, statistic: str, cells: Sequence[pairing.Cell], one: measuring.Measured, half_width: float
) -> planning.Plan:
    if scale.kind in ("interval", "multilabel"):
        return planning.labels_from_estimate(one.estimates[statistic], half_width)
    table = measuring.confusion_table(scale, cells)
    scores = measuring.scores_of(scale)
    return planning.labels_for_half_width(statistic, table, half_width, scale=scale.kind, scores=scores)


def _verdict(found: Verdict) -> dict[str, Any]:
    return {"verdict": found.word, "labels_for_verdict": found.labels_needed}
