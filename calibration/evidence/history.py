"""Agreement over time: per period the version that was in service then, never two versions mixed in one line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Max, Min, Sum

from calibration import volumes
from calibration.evidence import measuring, pairing, sentences
from calibration.evidence.cells import Cell
from calibration.evidence.measuring import Bar, Slice
from calibration.models import Classifier, ClassifierVersion, DriftFlag, PredictionRollup
from calibration.stats.estimate import Estimate
from labeling.models import DatasetVersion
from labeling.values import Scale

FEWEST = 5
"""Periods with fewer labels say nothing worth a point."""


@dataclass(frozen=True, slots=True)
class Point:
    """The agreement of the version in service in one period; `start` is its first day."""

    start: date
    version: str
    found: Estimate


@dataclass(frozen=True, slots=True)
class History:
    """The series of a classifier on one gold, with what it is a series of."""

    period: str
    statistic: str
    bar: float
    points: tuple[Point, ...]
    flags: tuple[tuple[date, str], ...] = ()

    @property
    def label(self) -> str:
        """What the chart shows, for those who cannot see it."""
        return f"{sentences.statistic_name(self.statistic)} per {self.period}"

    @property
    def boundaries(self) -> tuple[tuple[date, str], ...]:
        """Where another version takes over, the first one included."""
        changes, last = [], None
        for point in self.points:
            if point.version != last:
                changes.append((point.start, point.version))
                last = point.version
        return tuple(changes)


def read(*, dataset_version: DatasetVersion, classifier: Classifier, preferred: str | None = None) -> History:
    """The series; `preferred` names the version to show where several scored equally many."""
    signal = dataset_version.dataset.signal
    scale = Scale.of(signal)
    bar = Bar(signal.trust_statistic, signal.trust_at_least).for_scale(scale.kind)
    period, span = _period(dataset_version)
    versions = list(classifier.versions.select_related("classifier__signal"))
    served = in_service(versions, period, span, preferred)
    points: list[Point] = []
    for version in versions:
        groups = _by_period(_cells(dataset_version, version, period))
        mine = {start: cells for start, cells in groups.items() if served.get(start, version) == version}
        points += [Point(start, version.version, found) for start, found in _estimates(scale, bar, mine)]
    points.sort(key=lambda point: point.start)
    return History(period, bar.statistic, bar.at_least, tuple(points), _flags(versions))


def _cells(dataset_version: DatasetVersion, version: ClassifierVersion, period: str) -> tuple[Cell, ...]:
    mark = pairing.fingerprint(version)
    key = f"history:{dataset_version.id}:{dataset_version.sha256[:16]}:{version.id}:{period}:{mark}"
    found: tuple[Cell, ...] | None = cache.get(key)
    if found is None:
        found = pairing.compute(dataset_version, version, (period,), mark).answered
        cache.set(key, found, timeout=None)
    return found


def _by_period(cells: Sequence[Cell]) -> dict[date, list[Cell]]:
    groups: dict[date, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.key[0] != pairing.UNKNOWN:
            groups[date.fromisoformat(cell.key[0])].append(cell)
    return groups


def _estimates(scale: Scale, bar: Bar, groups: dict[date, list[Cell]]) -> list[tuple[date, Estimate]]:
    named: dict[Slice, list[Cell]] = {(("start", start.isoformat()),): cells for start, cells in groups.items()}
    measured = measuring.measure(scale, named, bar, frozenset())
    found = [(date.fromisoformat(one.slice[0][1]), one.estimates[bar.statistic], one.n) for one in measured]
    return [(start, estimate) for start, estimate, n in found if estimate.defined and n >= FEWEST]


def _period(dataset_version: DatasetVersion) -> tuple[str, tuple[date, date] | None]:
    """Days for three weeks of gold, weeks for half a year, months beyond; and from when until when the gold is."""
    rows = dataset_version.rows.filter(value__isnull=False)
    span = rows.aggregate(
        first=Min("conversation__started_at"),
        last=Max("conversation__started_at"),
        labelled=Min("labeled_at"),
        latest=Max("labeled_at"),
    )
    first, last = span["first"] or span["labelled"], span["last"] or span["latest"]
    if first is None or last is None:
        return "day", None
    days = last - first
    period = "day" if days <= timedelta(days=21) else "week" if days <= timedelta(days=200) else "month"
    return period, (first.date(), last.date())


def in_service(
    versions: Sequence[ClassifierVersion],
    period: str,
    span: tuple[date, date] | None = None,
    preferred: str | None = None,
) -> dict[date, ClassifierVersion]:
    """For each period the version that scored most of its conversations, on those of its days that lie in the span."""
    ranked = {version.id: (version.version == preferred, order) for order, version in enumerate(versions)}
    border = volumes.mapped_until(versions)
    rows = PredictionRollup.objects.filter(version__in=versions, day__isnull=False, failed=False)
    rows = rows if span is None else rows.filter(day__range=span)
    counts: dict[date, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for version_id, day, count in rows.values_list("version", "day").annotate(n=Sum("count")).order_by():
        if day > border.get(version_id, date.min):
            counts[start_of(day, period)][version_id] += count
    by_id = {version.id: version for version in versions}
    return {start: by_id[max(found, key=lambda key: (found[key], ranked[key]))] for start, found in counts.items()}


def start_of(day: date, period: str) -> date:
    """The first day of the period that a day lies in."""
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def _flags(versions: Sequence[ClassifierVersion]) -> tuple[tuple[date, str], ...]:
    active = DriftFlag.objects.filter(version__in=versions, state__in=DriftFlag.ACTIVE).select_related("version")
    return tuple((flag.raised_at.date(), flag.version.version) for flag in active.order_by("raised_at"))


def rows(history: History) -> list[dict[str, Any]]:
    """The series as plain rows, for a table and for files."""
    return [
        {
            "start": point.start,
            "version": point.version,
            "value": point.found.value,
            "low": point.found.low,
            "high": point.found.high,
            "n": point.found.n,
        }
        for point in history.points
    ]
