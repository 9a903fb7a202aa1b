"""The verdict on a version for one slice, from the newest gold of its signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calibration.evidence import reports, sentences
from calibration.models import ClassifierVersion
from calibration.stats.verdicts import UNPROVEN
from labeling.models import DatasetVersion

BY = ("channel", "cohort")


def of(*, version: ClassifierVersion, channel: str, cohort: str, gold: Mapping[int, DatasetVersion]) -> dict[str, Any]:
    """Verdict, statistic with its interval, slice, gold and labels, of the finest slice with enough labels for a verdict.

    `gold` is the newest frozen dataset version of each signal. Without gold, or where the version answered none of it, the
    verdict is *unproven* with the reason.
    """
    newest = gold.get(version.classifier.signal_id)
    if newest is None:
        return {"verdict": UNPROVEN, "reason": "no_gold"}
    document = reports.build(dataset_version=newest, classifier=version.classifier, versions=[version], by=BY)
    whole = {"channel": channel, "cohort": cohort}
    wanted = [{name: whole[name] for name in names if whole[name]} for names in (BY, BY[:1], BY[1:])]
    rows = document["rows"]
    found = next((row for part in wanted if part for row in rows if row["slice"] == part and _firm(row)), None)
    row = found or next(row for row in rows if not row["slice"])
    statistic = document["bar"]["statistic"]
    value = row[statistic]
    return {
        "verdict": row["verdict"],
        "statistic": statistic,
        "value": value["value"],
        "low": value.get("low"),
        "high": value.get("high"),
        "slice": row["slice"],
        "gold": str(newest),
        "n": row["n"],
        "reason": row["reason"] or "",
    }


def _firm(row: Mapping[str, Any]) -> bool:
    return row["reason"] not in (sentences.THIN, "no_items")
