"""Monitors: look at every calibrated version now, raise flags, and keep what was seen. Looking twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from calibration import slices, streams, volumes
from calibration.drift import calibrations, canary_watch, flags, recognisers, service, watches
from calibration.drift.watches import Closed, Finding, Seen
from calibration.drift.wrongness import bias
from calibration.models import CanarySet, Classifier, ClassifierVersion, DriftFlag, FlagEvent, Monitor
from labeling.models import DatasetVersion
from labeling.notices import announcing

DEFAULT_BY = ["channel", "cohort"]
CLOSED = (DriftFlag.State.RESOLVED, DriftFlag.State.DISMISSED)
FACTS = (DriftFlag.Kind.VERSION, DriftFlag.Kind.EXPIRED)
"""Kinds that state a fact: judged once, they are not raised again, and they resolve themselves when it has passed."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a look came to."""

    monitors: int
    streams: int
    raised: tuple[DriftFlag, ...]


def evaluate(*, now: datetime, classifier: Classifier | None = None) -> Evaluation:
    """Look at every monitor (or one classifier's) and raise, refresh and settle flags. Idempotent."""
    ensure_monitors(classifier=classifier)
    monitors = Monitor.objects.filter(enabled=True).select_related("classifier__signal", "dataset_version")
    if classifier is not None:
        monitors = monitors.filter(classifier=classifier)
    watched, raised = 0, []
    for monitor in monitors:
        seen, current = look(monitor)
        with transaction.atomic():
            raised += [flag for finding in seen.findings if (flag := _raise(finding, now=now)) is not None]
            _settle(current, seen.findings)
            Monitor.objects.filter(id=monitor.id).update(streams=seen.streams, evaluated_at=now)
        watched += len(seen.streams)
    return Evaluation(len(monitors), watched, tuple(raised))


def ensure_monitors(*, classifier: Classifier | None = None) -> None:
    """A monitor for every classifier whose signal has frozen gold or which has canaries, and for every recogniser."""
    recognisers.ensure()
    signals = DatasetVersion.objects.filter(frozen_at__isnull=False).values("dataset__signal")
    watched = Q(signal__in=signals) | Q(versions__canary_sets__isnull=False)
    missing = Classifier.objects.filter(watched, monitor__isnull=True).distinct()
    if classifier is not None:
        missing = missing.filter(id=classifier.id)
    Monitor.objects.bulk_create([Monitor(classifier=found, by=DEFAULT_BY) for found in missing], ignore_conflicts=True)


def look(monitor: Monitor) -> tuple[Seen, list[ClassifierVersion]]:
    """Everything that a monitor sees now, and the versions that it saw; reads only."""
    versions = volumes.versions_of(monitor.classifier)
    closed = _closed(versions)
    if monitor.classifier.signal.measured:
        return recognisers.look(monitor, versions, closed), versions
    seen = _canaries(versions, closed)
    if DatasetVersion.objects.filter(dataset__signal=monitor.classifier.signal, frozen_at__isnull=False).exists():
        seen += _against_gold(monitor, versions, closed)
    return seen, versions


def _canaries(versions: Sequence[ClassifierVersion], closed: Closed) -> Seen:
    """Do pinned versions still answer their canaries as they did?"""
    seen = Seen()
    of = {version.id: version for version in versions}
    for found in CanarySet.objects.filter(version__in=versions, retired_at__isnull=True):
        found.version = of[found.version_id]
        seen += canary_watch.silent_change(found, closed)
    return seen


def _against_gold(monitor: Monitor, versions: Sequence[ClassifierVersion], closed: Closed) -> Seen:
    """Agreement, answers, the version in service and the people, against what was calibrated."""
    signal = monitor.classifier.signal
    known = calibrations.of_versions(versions, monitor=monitor)
    rows = volumes.read(versions, by=volumes.CORE)
    since = min((calibration.until for calibration in known.values()), default=None)
    everything = streams.answers(signal, after=since, ties=True)
    answers = [answer for answer in everything if answer.value]
    said = streams.said(versions, signal)
    serving = _serving(versions, rows)
    seen = Seen()
    for calibration in known.values():
        spoken = said.get(calibration.version.id, {})
        agreed = watches.agreement(calibration, answers, spoken, closed)
        earliest = calibrations.early(calibration, spoken) if not agreed.streams else None
        if earliest is not None:
            later = streams.answers(signal, after=earliest.until)
            agreed = watches.agreement(earliest, later, spoken, closed)
        seen += agreed + service.mix(calibration, rows, closed)
    if serving is not None:
        spoken = said.get(serving.id, {})
        both = [(answer, spoken[answer.unit]) for answer in answers if answer.unit in spoken]
        severity = bias(signal, both) if len(both) >= calibrations.LEAST_PAIRS else {}
        seen += service.unproven_version(serving, known, rows, severity)
        if serving.id in known:
            seen += service.expired(known[serving.id], rows)
            seen += watches.human(known[serving.id], everything, closed)
    return seen


def _serving(versions: Sequence[ClassifierVersion], rows: Sequence[volumes.Volume]) -> ClassifierVersion | None:
    """The version in service now; None without predictions that have a day."""
    found = volumes.serving(rows)
    return next((version for version in versions if version.id == found), None)


def _closed(versions: Iterable[ClassifierVersion]) -> dict[tuple[str, int, str], DriftFlag]:
    """The newest closed flag of each stream."""
    flags = DriftFlag.objects.filter(version__in=list(versions), state__in=CLOSED).order_by("raised_at", "id")
    return {(flag.kind, flag.version_id, flag.slice_key): flag for flag in flags}


def _raise(finding: Finding, *, now: datetime) -> DriftFlag | None:
    """A new flag, or None where there is an active one (refreshed when its evidence grew) or a judged one."""
    stream = {"kind": finding.kind, "version": finding.version, "slice_key": slices.key(finding.slice)}
    same = DriftFlag.objects.filter(**stream)
    active = same.filter(state__in=DriftFlag.ACTIVE).first()
    if active is not None:
        _refresh(active, finding)
        return None
    judged = same.filter(state__in=CLOSED).first()
    if judged is not None and finding.kind in FACTS and not _news(judged, finding):
        return None
    values: dict[str, Any] = {
        "slice": finding.slice,
        "since": finding.since,
        "raised_at": now,
        "evidence": finding.evidence,
        "severity": finding.severity,
        "guarantee": finding.guarantee[:300],
    }
    try:
        with transaction.atomic():
            flag = DriftFlag.objects.create(**stream, **values)
    except IntegrityError:  # another worker looked at the same moment
        return None
    FlagEvent.objects.create(flag=flag, action="raised")
    flags.announce(flag, announcing.Event.FLAG_OPENED)
    return flag


def _refresh(flag: DriftFlag, finding: Finding) -> None:
    """More labels or higher evidence are kept with the flag; a look that brings nothing new leaves it alone."""
    grew = any(
        (finding.evidence.get(name) or 0) > (flag.evidence.get(name) or 0)
        for name in ("e_value", "labels", "predictions", "calls", "rounds")
    )
    if grew:
        evidence = finding.evidence | (
            {"e_value": max(finding.evidence["e_value"], flag.evidence.get("e_value") or 0)}
            if "e_value" in finding.evidence
            else {}
        )
        DriftFlag.objects.filter(id=flag.id).update(
            evidence=evidence, severity=finding.severity, since=finding.since or flag.since
        )


def _news(judged: DriftFlag, finding: Finding) -> bool:
    """Whether a fact that somebody judged has become another one: a newer calibration has expired in its turn."""
    return bool(judged.evidence.get("calibration") != finding.evidence.get("calibration"))


def _settle(versions: Sequence[ClassifierVersion], findings: Sequence[Finding]) -> None:
    """Facts that have passed resolve themselves: the version has been calibrated, the calibration renewed."""
    standing = {(finding.kind, finding.version.id) for finding in findings}
    open_facts = DriftFlag.objects.filter(version__in=versions, kind__in=FACTS, state__in=DriftFlag.ACTIVE)
    for flag in open_facts.exclude(state=DriftFlag.State.RECALIBRATING):
        if (flag.kind, flag.version_id) in standing:
            continue
        if DriftFlag.objects.filter(id=flag.id, state=flag.state).update(state=DriftFlag.State.RESOLVED):
            FlagEvent.objects.create(flag=flag, action="resolved", note="what it told of has passed")
            flag.state = DriftFlag.State.RESOLVED
            flags.announce(flag, announcing.Event.FLAG_RESOLVED)
