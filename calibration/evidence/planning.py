"""How many labels a slice still needs: for an interval of a wanted width, and for a verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from calibration import volumes
from calibration.errors import EvidenceRefused
from calibration.evidence import measuring, pairing, reports
from calibration.evidence.cells import Cell
from calibration.models import ClassifierVersion
from calibration.stats import planning
from calibration.stats.verdicts import Verdict
from labeling import design
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
    every = reports.slices_of(given.by, pairs.by, pairs.answered)
    groups = reports.largest(every)
    measured = measuring.measure(given.scale, groups, given.bar, frozenset(), pairs.sample)
    rows: list[dict[str, Any]] = [
        {"slice": dict(one.slice), "n": one.n, given.bar.statistic: one.estimates[given.bar.statistic].as_dict()}
        | asdict(_needed(given.scale, given.bar.statistic, groups[one.slice], one, half_width))
        | _verdict(one.verdict)
        for one in measured
    ]
    finest = [(row, one) for row, one in zip(rows, measured, strict=True) if len(one.slice) == len(given.by)]
    known = [row["further"] for row, _ in finest if row["further"] is not None]
    for row in rows:
        row["next_round"] = 0
    unsettled = {str(number): row for number, (row, _) in enumerate(finest) if row["verdict"] == "unproven"}
    sizes = design.next_round({name: row["n"] for name, row in unsettled.items()}, unsettled=unsettled)
    for name, size in sizes.items():
        unsettled[name]["next_round"] = size
    whole = sum(cell.s1 for cell in pairs.answered)
    shares = [sum(cell.s1 for cell in groups[one.slice]) / whole for _, one in finest] if whole else []
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
        "settling": _settling([row for row, _ in finest], shares),
        "random": _at_random(version, given.by, rows),
    } | ({"slices_left_out": len(every) - len(groups)} if len(every) > len(groups) else {})


def _settling(rows: Sequence[dict[str, Any]], shares: Sequence[float]) -> dict[str, Any]:
    """What the verdicts still open take: in all, in the next round, and as random labels until the last is settled.

    Random labels fall into a slice by its share of the traffic: the slice that needs most for its share decides.
    """
    wanted = [
        (row["labels_for_verdict"], share)
        for row, share in zip(rows, shares, strict=True)
        if row["verdict"] == "unproven" and row["labels_for_verdict"]
    ]
    aimed, random = sum(labels for labels, _ in wanted), max((labels / share for labels, share in wanted), default=0.0)
    return {
        "slices": len(rows),
        "open": sum(row["verdict"] == "unproven" for row in rows),
        "aimed": aimed,
        "random": math.ceil(random),
        "ratio": aimed / random if random else None,
        "next_round": sum(row["next_round"] for row in rows),
    }


def _at_random(version: ClassifierVersion, by: Sequence[str], rows: Sequence[dict[str, Any]]) -> int | None:
    """Labels drawn at random until the slice that waits longest has its own, by the slices' shares of what was scored.

    None where the shares are not counted (slices by attributes), or a slice that wants labels is not scored at all.
    """
    if not set(by) <= set(volumes.CORE):
        return None
    counts: Counter[tuple[str, ...]] = Counter()
    for row in volumes.read([version], by=by):
        counts[row.place] += row.count
    wanted = [row for row in rows if len(row["slice"]) == len(by) and row["further"]]
    held = [counts[tuple(row["slice"][name] for name in by)] for row in wanted]
    if not all(held):
        return None
    return max((math.ceil(row["further"] * counts.total() / n) for row, n in zip(wanted, held, strict=True)), default=0)


def _needed(
    scale: Scale, statistic: str, cells: Sequence[Cell], one: measuring.Measured, half_width: float
) -> planning.Plan:
    if scale.kind in ("interval", "multilabel"):
        return planning.labels_from_estimate(one.estimates[statistic], half_width)
    table = measuring.confusion_table(scale, cells)
    scores = measuring.scores_of(scale)
    return planning.labels_for_half_width(statistic, table, half_width, scale=scale.kind, scores=scores)


def _verdict(found: Verdict) -> dict[str, Any]:
    return {"verdict": found.word, "labels_for_verdict": found.labels_needed}
