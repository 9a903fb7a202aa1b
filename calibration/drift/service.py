"""The watches that need no labels: shifted answers, versions in service without calibration, expired calibrations."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from calibration import slices, volumes
from calibration.drift.calibrations import LEAST_PAIRS, Calibration
from calibration.drift.watches import Closed, Finding, Place, Seen
from calibration.models import ClassifierVersion, DriftFlag
from calibration.stats import drift
from calibration.stats.drift import MIX_MARGIN, Day, MixDrift
from calibration.stats.drift import Drift as Side
from calibration.volumes import Volume
from labeling.models import Signal

EXPIRES_AFTER = timedelta(days=180)
LEAST_REFERENCE, LEAST_RECENT = 200, 20
LARGEST_MARGIN = 0.10
LARGEST_UNCOVERED = 0.2
Kind = DriftFlag.Kind


def mix(calibration: Calibration, rows: Sequence[Volume], closed: Closed) -> Seen:
    """Have the version's answers shifted since it was calibrated, in any slice? `rows` are sliced by channel, cohort."""
    signal = calibration.dataset_version.dataset.signal
    if signal.scale in (Signal.Scale.INTERVAL, Signal.Scale.MULTILABEL):
        return Seen()
    categories = list(signal.categories.values_list("value", flat=True))
    by = tuple(name for name in calibration.by if name in volumes.CORE)
    sliced: dict[Place, list[Volume]] = defaultdict(list)
    for row in rows:
        if row.version == calibration.version.id and not row.failed and row.value in categories:
            sliced[tuple(row.place[volumes.CORE.index(name)] for name in by)].append(row)
    seen = Seen()
    for place, found in sorted(sliced.items()):
        seen += _mix_of(calibration, slices.slice_of(by, place), found, categories, closed)
    return seen


def unproven_version(
    serving: ClassifierVersion,
    calibrations: Mapping[int, Calibration],
    rows: Sequence[Volume],
    severity: dict[str, Any],
) -> Seen:
    """Is the version in service calibrated at all?"""
    recent = volumes.recent(rows)
    count = sum(row.count for row in recent if row.version == serving.id)
    if serving.id in calibrations or count < LEAST_RECENT:
        return Seen()
    days = [day for day, found in volumes.by_day(rows).items() if volumes.in_service(found) == serving.id]
    total = sum(row.count for row in rows if row.version == serving.id)
    evidence = {
        "predictions": total,
        "share": count / sum(row.count for row in recent),
        "reason": f"no frozen gold has {LEAST_PAIRS} units that this version scored",
    }
    guarantee = "a fact, not a test: scores of this version carry no evidence of agreement"
    return Seen(findings=[Finding(Kind.VERSION, serving, {}, min(days), evidence, severity, guarantee)])


def expired(calibration: Calibration, rows: Sequence[Volume]) -> Seen:
    """Is the calibration too old, or have the conversations moved to where there was no gold?"""
    mine = [row for row in volumes.recent(rows) if row.version == calibration.version.id]
    total = sum(row.count for row in mine)
    if total < LEAST_RECENT:
        return Seen()
    last = max(row.day for row in mine)
    age = last - calibration.until.date()
    uncovered = _uncovered(calibration, mine)
    share = sum(uncovered.values()) / total
    if age <= EXPIRES_AFTER and (share <= LARGEST_UNCOVERED or total < LEAST_REFERENCE):
        return Seen()
    evidence: dict[str, Any] = {"calibration": str(calibration.dataset_version), "age_days": age.days}
    evidence |= {
        "predictions": total,
        "uncovered": share,
        "places": [list(place) for place, _ in uncovered.most_common(5)],
    }
    since = calibration.until.date() + EXPIRES_AFTER if age > EXPIRES_AFTER else min(row.day for row in mine)
    guarantee = f"a rule, not a test: older than {EXPIRES_AFTER.days} days, or over {LARGEST_UNCOVERED:.0%} in slices without gold"
    return Seen(findings=[Finding(Kind.EXPIRED, calibration.version, {}, since, evidence, {}, guarantee)])


def _mix_of(
    calibration: Calibration, part: dict[str, str], rows: Sequence[Volume], categories: list[str], closed: Closed
) -> Seen:
    days = _days(rows, categories)
    reference, later = _split(days, calibration.until.date())
    judged = closed.get((Kind.MIX, calibration.version.id, slices.key(part)))
    spent = str(judged.evidence.get("until", "")) if judged else ""
    if judged is not None:
        reference = _normal(judged, later, spent) or reference
    later = [day for day in later if day.key > spent]
    counts = np.array([day.counts for day in reference], dtype=float).reshape(len(reference), -1)
    margin = _margin(counts)
    if not later or margin is None:
        return Seen()
    target = counts.sum(axis=0) / counts.sum()
    watched = drift.mix_monitor(later, categories=categories, reference=target.tolist(), margin=margin)
    seen = Seen([_stream(calibration.version, part, watched)])
    leading = watched.leading
    if leading is not None:
        since = date.fromisoformat(leading.since) if leading.since else None
        evidence = _mix_evidence(leading) | {
            "until": later[-1].key,
            "predictions": sum(sum(day.counts) for day in later),
        }
        category, _, direction = leading.subject.rpartition(" ")
        evidence |= {"category": category, "direction": direction}
        shift = (leading.recent.value or 0.0) - (leading.reference.value or 0.0)
        severity = {"shift": shift, "category": category}
        seen.findings.append(Finding(Kind.MIX, calibration.version, part, since, evidence, severity, watched.guarantee))
    return seen


def _days(rows: Sequence[Volume], categories: list[str]) -> list[Day]:
    found = []
    for day, todays in volumes.by_day(rows).items():
        counts: Counter[str] = Counter()
        for row in todays:
            counts[row.value] += row.count
        found.append(Day(day.isoformat(), tuple(counts[category] for category in categories)))
    return found


def _split(days: list[Day], until: date) -> tuple[list[Day], list[Day]]:
    """The days up to the end of the calibration, and those after; a version that came later has its first four weeks."""
    border = until.isoformat()
    if days and sum(sum(day.counts) for day in days if day.key <= border) < LEAST_REFERENCE:
        border = (date.fromisoformat(days[0].key) + volumes.RECENT - timedelta(days=1)).isoformat()
    return [day for day in days if day.key <= border], [day for day in days if day.key > border]


def _normal(judged: DriftFlag, later: list[Day], spent: str) -> list[Day]:
    """The days of a shift that somebody dismissed: they said that it is no problem, so it is what is normal from now on.
    Empty where it was mended instead, or where the days are too few to be a reference."""
    if judged.state != DriftFlag.State.DISMISSED or judged.since is None:
        return []
    shifted = [day for day in later if judged.since.isoformat() <= day.key <= spent]
    return shifted if sum(sum(day.counts) for day in shifted) >= LEAST_REFERENCE else []


def _margin(counts: np.ndarray[Any, Any]) -> float | None:
    """How far a share may stray: two points, and what the reference itself is unsure of; None when that is too much."""
    total = float(counts.sum()) if counts.size else 0.0
    if total < LEAST_REFERENCE:
        return None
    target = counts.sum(axis=0) / total
    tossed = np.sqrt(target * (1 - target) / total)
    daily = counts / counts.sum(axis=1, keepdims=True)
    between = daily.std(axis=0, ddof=1) / math.sqrt(len(daily)) if len(daily) > 1 else tossed
    margin = MIX_MARGIN + 2 * float(np.maximum(tossed, between).max())
    return margin if margin <= LARGEST_MARGIN else None


def _mix_evidence(side: Side) -> dict[str, Any]:
    evidence: dict[str, Any] = side.as_dict()["evidence"]
    return evidence | {
        "e_value": max(side.e_values),
        "alarmed_at": side.alarmed_at,
        "series": [{"at": key, "e": e} for key, e in zip(side.keys, side.e_values, strict=True)][-120:],
    }


def _stream(version: ClassifierVersion, part: dict[str, str], watched: MixDrift) -> dict[str, Any]:
    """The process that has moved furthest speaks for the slice."""
    side = watched.leading or max(watched.sides, key=lambda found: found.e_value)
    return {
        "kind": str(Kind.MIX),
        "version": str(version),
        "slice": part,
        "e_value": side.e_value,
        "alarm_at": side.alarm_at,
        "subject": side.subject,
        "share": side.recent.as_dict(),
        "calibrated": side.reference.as_dict(),
        "e_values": list(side.e_values)[-120:],
        "reason": None,
    }


def _uncovered(calibration: Calibration, rows: Sequence[Volume]) -> Counter[Place]:
    """Predictions by place where the calibration has no label, for as far as the rollup is sliced."""
    by = [name for name in calibration.by if name in volumes.CORE]
    positions = [calibration.by.index(name) for name in by]
    covered = {tuple(place[i] for i in positions) for place in calibration.cells}
    found: Counter[Place] = Counter()
    for row in rows:
        place = tuple(row.place[volumes.CORE.index(name)] for name in by)
        if place not in covered:
            found[place] += row.count
    return found
