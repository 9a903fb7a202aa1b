"""Speech recognisers as classifiers of their own: each provider version is watched by the word error rates of its calls.

A call's rate is its errors per reference word, at most 1. A version is held against the one that heard the slice before
it, and against its own first four weeks. A slice speaks for the finer ones within it, unless
only few of those are worse.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction

from calibration import slices, voice
from calibration.classifiers import pin
from calibration.drift.watches import Closed, Finding, Seen, alarms, weeks_between
from calibration.models import Classifier, ClassifierVersion, DriftFlag, Monitor
from calibration.stats import rises
from calibration.stats.drift import CANARY_ALARM, Drift
from calibration.stats.rises import LEAST_REFERENCE
from calibration.streams import place
from labeling.models import Signal

SIGNAL = "word-error-rate"
KIND = "asr"
FIRST = timedelta(weeks=4)
MOST_MISTAKES = 8
OWN = "its own first four weeks"
UNPINNED = "unpinned"
Part = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call with a reference: who heard it, where it belongs, when it began, and its word error rate (0..1)."""

    provider: str
    channel: str
    cohort: str
    attributes: Mapping[str, Any]
    started_at: datetime
    rate: float

    @property
    def week(self) -> str:
        day = self.started_at.date()
        return (day - timedelta(days=day.weekday())).isoformat()


def ensure() -> list[Classifier]:
    """A classifier for every recogniser that heard a measured call, a version for each of its versions, a monitor each.

    `x@1` is version 1 of x; a provider without a version is `unpinned`, as every evaluator without one is.
    """
    known = dict(ClassifierVersion.objects.filter(kind=KIND).values_list("model", "id"))
    providers = [name for name in voice.providers() if name not in known]
    for name in providers:
        _register(name)
    found = list(Classifier.objects.filter(signal__slug=SIGNAL).select_related("signal").order_by("slug"))
    Monitor.objects.bulk_create(
        [Monitor(classifier=one, by=["channel", "cohort"]) for one in found], ignore_conflicts=True
    )
    return found


def look(monitor: Monitor, versions: Sequence[ClassifierVersion], closed: Closed) -> Seen:
    """Every version of a recogniser in every slice; reads only."""
    calls = sorted((Call(*row) for row in voice.dated_rates()), key=lambda call: (call.started_at, call.provider))
    grouped = _grouped(calls, monitor.by)
    seen = Seen()
    for version in versions:
        seen += _look_at(version, grouped, closed)
    return seen


def _look_at(version: ClassifierVersion, grouped: Mapping[Part, Sequence[Call]], closed: Closed) -> Seen:
    """One version: a process for each slice and each thing that it is held against, e-BH over all of them."""
    compared = {
        (part, against): calls
        for part, heard in grouped.items()
        for against, calls in _comparisons(version, part, heard, closed).items()
    }
    weeks = weeks_between(call.week for fresh, _ in compared.values() for call in fresh)
    drifts = {
        key: rises.rise_monitor(
            _blocks(fresh, weeks), reference=[call.rate for call in before], subject=slices.words(dict(key[0]))
        )
        for key, (fresh, before) in compared.items()
    }
    names = {(slices.key(dict(part)), against): (part, against) for part, against in drifts}
    bars = alarms({name: drifts[key] for name, key in names.items()}, weeks, least=CANARY_ALARM)
    worse = {key for name, (key, _) in names.items() if name in bars and drifts[names[name]].alarmed}
    spoken = _spoken(worse, {key for key, _ in drifts})
    seen = Seen()
    for name, (key, against) in names.items():
        watched, bar = drifts[key, against], bars.get(name, CANARY_ALARM)
        seen.streams.append(_stream(version, dict(key), against, watched, bar))
        if name in bars and watched.alarmed and key in spoken:
            spoken.remove(key)
            seen.findings.append(_finding(version, dict(key), against, watched, compared[key, against][0], bar))
    return seen


def _spoken(worse: set[Part], watched: set[Part]) -> set[Part]:
    """Which of the worse slices are told of: one that holds others speaks for them, unless only few of them are worse."""
    told: set[Part] = set()
    for part in sorted(worse, key=len):
        if any(set(coarse) <= set(part) for coarse in told):
            continue
        finer = {other for other in watched if set(part) < set(other)}
        few = 0 < len(finer & worse) < len(finer) / 2
        if not few:
            told.add(part)
    return told


def _grouped(calls: Sequence[Call], by: Sequence[str]) -> dict[Part, list[Call]]:
    """The calls of the whole and of every slice, coarse ones first; one that a single finer slice repeats is left out."""
    levels: list[dict[Part, list[Call]]] = []
    for length in range(len(by) + 1):
        grouped: dict[Part, list[Call]] = defaultdict(list)
        names = by[:length]
        for call in calls:
            where = place(names, call.channel, call.cohort, call.attributes)
            grouped[tuple(zip(names, where, strict=True))].append(call)
        if levels and len(grouped) == len(levels[-1]):
            levels.pop()
        levels.append(dict(sorted(grouped.items())))
    return {part: heard for level in levels for part, heard in level.items()}


def _comparisons(
    version: ClassifierVersion, part: Part, heard: Sequence[Call], closed: Closed
) -> dict[str, tuple[list[Call], list[Call]]]:
    """What a version is held against → the calls that are watched, and those before, where there are enough of them.

    The version that heard the slice last before it, and its own first four weeks.
    """
    mine = [call for call in heard if call.provider == version.model]
    if not mine:
        return {}
    spent = _spent(closed, version, dict(part))
    fresh = [call for call in mine if spent is None or call.started_at.isoformat() > spent]
    first = mine[0].started_at
    earlier = [call for call in heard if call.started_at < first]
    found = {
        OWN: (
            [call for call in fresh if call.started_at >= first + FIRST],
            [c for c in mine if c.started_at < first + FIRST],
        )
    }
    if earlier:
        before = earlier[-1].provider
        found[before] = (fresh, [call for call in earlier if call.provider == before])
    return {
        name: (later, sooner) for name, (later, sooner) in found.items() if later and len(sooner) >= LEAST_REFERENCE
    }


def _finding(
    version: ClassifierVersion, part: dict[str, str], against: str, watched: Drift, calls: Sequence[Call], bar: float
) -> Finding:
    weekly: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        weekly[call.week].append(call.rate)
    evidence: dict[str, Any] = watched.as_dict()["evidence"]
    series = [
        {"at": week, "e": e, "calls": len(weekly[week])}
        | ({"wer": sum(weekly[week]) / len(weekly[week])} if weekly[week] else {})
        for week, e in zip(watched.keys, watched.e_values, strict=True)
    ]
    evidence |= {
        "e_value": max(watched.e_values),
        "alarm_at": bar,
        "alarmed_at": watched.alarmed_at,
        "series": series,
        "calls": len(calls),
        "until": max(call.started_at for call in calls).isoformat(),
        "against": against,
        "mistakes": _mistakes(version, part, watched.since),
    }
    moved = rises.difference(watched.reference, watched.recent)
    severity = {"shift": moved.value, "low": moved.low, "high": moved.high, "category": None, "labels": len(calls)}
    since = date.fromisoformat(watched.since) if watched.since else None
    return Finding(DriftFlag.Kind.ASR, version, part, since, evidence, severity, watched.guarantee)


def _mistakes(version: ClassifierVersion, part: Mapping[str, str], since: str | None) -> list[dict[str, Any]]:
    """The words most often wrong in these calls since the change."""
    times: Counter[tuple[str, str]] = Counter()
    for found in voice.mistakes_of(provider=version.model, part=part, since=since):
        for said, heard, n in found:
            times[said, heard] += n
    return [{"said": said, "heard": heard, "times": n} for (said, heard), n in times.most_common(MOST_MISTAKES)]


def _stream(
    version: ClassifierVersion, part: dict[str, str], against: str, watched: Drift, bar: float
) -> dict[str, Any]:
    return {
        "kind": str(DriftFlag.Kind.ASR),
        "version": str(version),
        "slice": part,
        "against": against,
        "e_value": watched.e_value,
        "alarm_at": bar,
        "wer": watched.recent.as_dict(),
        "labels": watched.recent.n,
        "calibrated": watched.reference.as_dict(),
        "e_values": list(watched.e_values)[-52:],
        "reason": watched.reason,
    }


def _blocks(calls: Sequence[Call], weeks: Sequence[str]) -> list[tuple[str, list[float]]]:
    weekly: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        weekly[call.week].append(call.rate)
    return [(week, weekly[week]) for week in weeks]


def _spent(closed: Closed, version: ClassifierVersion, part: Mapping[str, str]) -> str | None:
    """Until when the calls of a slice were judged, by somebody who closed a flag of it or of one that holds it."""
    judged = [
        str(flag.evidence.get("until", ""))
        for (kind, of, _), flag in closed.items()
        if (kind, of) == (str(DriftFlag.Kind.ASR), version.id) and flag.slice.items() <= part.items()
    ]
    return max(judged, default=None)


@transaction.atomic
def _register(provider: str) -> None:
    name, _, version = provider.rpartition("@") if "@" in provider else (provider, "", UNPINNED)
    signal, _ = Signal.objects.get_or_create(
        slug=SIGNAL,
        defaults={
            "title": "Word error rate", "scale": Signal.Scale.INTERVAL, "minimum": 0.0, "maximum": 1.0, "measured": True,
        },
    )  # fmt: skip
    slug = re.sub(r"[^-a-zA-Z0-9_.]+", "-", name)[:110].strip("-") or "asr"
    taken = Classifier.objects.filter(slug=slug).exclude(signal=signal).exists()
    slug = f"{slug}-asr" if taken else slug
    classifier, _ = Classifier.objects.get_or_create(slug=slug, defaults={"title": name or slug, "signal": signal})
    content = {"kind": KIND, "model": provider}
    label = re.sub(r"[\s@/]+", "-", version)[:120] or UNPINNED
    ClassifierVersion.objects.get_or_create(
        classifier=classifier, version=label, defaults={**content, "content_sha256": pin(content)}
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """A recogniser's version as its last look left it."""

    version: str
    words: str


def newest() -> list[Standing]:
    """Every version with its word error rate over all slices at the last look; a flag is said first."""
    flags = DriftFlag.objects.filter(kind=DriftFlag.Kind.ASR, state__in=DriftFlag.ACTIVE).select_related(
        "version__classifier"
    )
    flagged = Counter(str(flag.version) for flag in flags)
    found: dict[str, str] = {}
    for monitor in Monitor.objects.filter(classifier__signal__measured=True).order_by("classifier__slug"):
        for stream in monitor.streams:
            rate = stream.get("wer", {}).get("value")
            if stream["version"] not in found and rate is not None:
                where = slices.words(stream["slice"], "all calls")
                found[stream["version"]] = f"{100 * rate:.1f} % on {where}, against {stream['against']}"
    return [
        Standing(
            name, (f"{flagged[name]} open flag{'s' if flagged[name] > 1 else ''}; " if flagged[name] else "") + text
        )
        for name, text in found.items()
    ]
