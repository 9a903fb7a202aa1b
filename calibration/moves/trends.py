"""Trends: what the classifier says of everything, and what is true by the labels of a part, per period and version.

Volumes come from the rollup alone, never from predictions. A series breaks where another version takes over. A point is
corrected by the labels of its own period, or, where those are too few, of as few weeks before its end as have enough of
them under the same version: older ones tell of how the version erred then.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from django.core.cache import cache
from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import TruncDate

from calibration import slices, streams, volumes
from calibration.evidence.history import start_of
from calibration.models import Classifier, ClassifierVersion, Outcome
from calibration.moves import attribution, correcting, gaps
from calibration.moves.attribution import MEAN, Measure
from calibration.moves.correcting import Labelled
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from calibration.volumes import Volume
from labeling.errors import Refused
from labeling.models import Label, Ruling, Signal

PERIODS = ("day", "week", "month")
LOOK_BACK = 8
"""Weeks before its end from which a point may take labels."""
SATISFIED = 4
MOST_SERIES = 60
"""Slices that are charted, those with most answers: a cohort can have a value for each customer."""
Place = tuple[str, ...]
Placed = TypeVar("Placed", Volume, Labelled)


def read(
    *,
    signal: Signal,
    classifier: Classifier | None = None,
    value: str = "",
    by: Sequence[str] = (),
    period: str = "week",
    since: date | None = None,
    until: date | None = None,
) -> dict[str, Any]:
    """The series of a signal: the whole first, then every slice by `by`. Raises Refused for what cannot be charted."""
    if period not in PERIODS:
        raise Refused("unknown_period", f"{period!r} is not one of {', '.join(PERIODS)}", field="period")
    attribution.check_by(by)
    chart = _chart(signal, value)
    chosen = classifier or attribution.classifier_of(signal)
    if chosen.signal_id != signal.id:
        raise Refused("other_signal", f"{chosen.slug} does not score {signal.slug}", field="classifier")
    versions = {version.id: version for version in volumes.versions_of(chosen)}
    everything = volumes.read(versions.values(), by=volumes.CORE, since=since, until=until)
    asked = [chart, list(by), period, since, until, everything]
    key = _cache_key(signal, chosen, asked, versions, {row.version for row in everything})
    document: dict[str, Any] | None = cache.get(key)
    if document is None:
        document = _document(signal, chosen, chart, versions, everything, by, period, since, until)
        cache.set(key, document, timeout=None)
    return document


def _document(
    signal: Signal,
    chosen: Classifier,
    chart: Measure | None,
    versions: Mapping[int, ClassifierVersion],
    everything: Sequence[Volume],
    by: Sequence[str],
    period: str,
    since: date | None,
    until: date | None,
) -> dict[str, Any]:
    serving = {day: volumes.in_service(rows) for day, rows in volumes.by_day(everything).items()}
    rows = [row for row in everything if row.version == serving[row.day]]
    labelled = _labelled(signal, versions, serving)
    series = [_series(chart, {}, rows, labelled, versions, period)]
    sliced = _sliced(rows, by)
    here = _sliced(labelled, by)
    sizes = {place: sum(row.count for row in mine) for place, mine in sliced.items()}
    shown = slices.largest(sizes, MOST_SERIES)
    for place in shown:
        series.append(_series(chart, slices.slice_of(by, place), sliced[place], here.get(place, []), versions, period))
    return {
        "signal": signal.slug,
        "classifier": chosen.slug,
        "measure": chart.name if chart else "mean",
        "value": chart.value if chart else MEAN,
        "period": period,
        "by": list(by),
        "series": series,
        "slices": len(sliced),
        "hidden": len(sliced) - len(shown),
        "versions": _boundaries(serving, versions),
        "gaps": gaps.read(chart, rows, labelled),
        "failures": gaps.failures(rows),
        "outcomes": _outcomes(period, since, until, by, shown) if rows else [],
    }


def _sliced(found: Iterable[Placed], by: Sequence[str]) -> dict[Place, list[Placed]]:
    """What lies in each slice; nothing where there is no slicing."""
    positions = [volumes.CORE.index(name) for name in by]
    sliced: dict[Place, list[Placed]] = defaultdict(list)
    for one in found if by else ():
        sliced[tuple(one.place[i] for i in positions)].append(one)
    return sliced


def _cache_key(
    signal: Signal,
    chosen: Classifier,
    asked: Sequence[Any],
    versions: Mapping[int, ClassifierVersion],
    heard: Iterable[int],
) -> str:
    """Where a trend is kept: under all that it is made of, volumes themselves, the rest by number and newest change.

    `heard` are the versions that said something in that time.
    """
    labels, rulings = (
        model._default_manager.filter(signal=signal).aggregate(
            n=Count("id"), gone=Count("superseded_at"), newest=Max("id"), changed=Max("superseded_at")
        )
        for model in (Label, Ruling)
    )
    outcomes = Outcome.objects.aggregate(n=Count("id"), newest=Max("id"), sum=Sum("value"), at=Max("at"))
    # One step in an index each; grouped, the database would read them all.
    scored = {one: versions[one].predictions.aggregate(at=Max("stored_at"))["at"] for one in sorted(heard)}
    names = [(version.version, version.created_at) for version in versions.values()]
    made_of = repr([signal.slug, chosen.slug, asked, labels, rulings, outcomes, scored, names])
    return f"trend:4:{hashlib.sha256(made_of.encode()).hexdigest()}"


def _chart(signal: Signal, value: str) -> Measure | None:
    """A share or a mean of scores; None for signals that are numbers themselves."""
    return None if signal.scale == Signal.Scale.INTERVAL else attribution.measure_of(signal, value)


def _labelled(
    signal: Signal, versions: Mapping[int, ClassifierVersion], serving: Mapping[date, int | None]
) -> list[Labelled]:
    """Labelled units whose day has a version in service that scored them."""
    said = streams.said(versions.values(), signal)
    found = []
    for answer in streams.answers(signal):
        for version in versions:
            spoken = said.get(version, {}).get(answer.unit)
            day = streams.scored_day(answer, spoken) if spoken else None
            if spoken is not None and day is not None and serving.get(day) == version:
                found.append(Labelled(day, answer.place(volumes.CORE), version, answer, spoken))
    return found


def _series(
    chart: Measure | None,
    part: dict[str, str],
    rows: Iterable[Volume],
    labelled: Iterable[Labelled],
    versions: Mapping[int, ClassifierVersion],
    period: str,
) -> dict[str, Any]:
    """Points by (period, version), in order."""
    grouped: dict[tuple[date, int], list[Volume]] = defaultdict(list)
    for row in rows:
        grouped[start_of(row.day, period), row.version].append(row)
    by_version: dict[int, list[Labelled]] = defaultdict(list)
    for one in sorted(labelled, key=_day):
        by_version[one.version].append(one)
    points = [
        _point(chart, start, versions[version], found, by_version[version], period)
        for (start, version), found in sorted(grouped.items())
    ]
    return {"slice": part, "points": points}


def _point(
    chart: Measure | None,
    start: date,
    version: ClassifierVersion,
    rows: Sequence[Volume],
    labelled: Sequence[Labelled],
    period: str,
) -> dict[str, Any]:
    """`labelled` are those of the version, by day."""
    answered = [row for row in rows if not row.failed]
    n = sum(row.count for row in answered)
    failed = sum(row.count for row in rows) - n
    last = _last_day(start, period)
    own = used = _between(labelled, start, last)
    corrected = correcting.corrected(chart, answered, own) if n else Estimate.undefined("no_items")
    for weeks in range(1, LOOK_BACK + 1):
        if corrected.defined or not n:
            break
        used = _between(labelled, min(start, last + timedelta(days=1) - timedelta(weeks=weeks)), last)
        corrected = correcting.corrected(chart, answered, used)
    return {
        "start": start.isoformat(),
        "version": version.version,
        "n": n,
        "failed": failed / (n + failed) if n + failed else 0.0,
        "raw": correcting.raw(chart, answered, n),
        "corrected": corrected.as_dict(),
        "labels": len(own),
        "labels_used": len(used),
        "labels_since": (used[0].day if used else start).isoformat(),
    }


def _day(one: Labelled) -> date:
    return one.day


def _between(labelled: Sequence[Labelled], first: date, last: date) -> Sequence[Labelled]:
    """Those of some days, of `labelled` by day."""
    return labelled[bisect_left(labelled, first, key=_day) : bisect_right(labelled, last, key=_day)]


def _last_day(start: date, period: str) -> date:
    if period == "day":
        return start
    if period == "week":
        return start + timedelta(days=6)
    return (start.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _boundaries(serving: Mapping[date, int | None], versions: Mapping[int, ClassifierVersion]) -> list[dict[str, str]]:
    """The day from which on each version was in service."""
    found: list[dict[str, str]] = []
    for day, version in sorted(serving.items()):
        if version is not None and (not found or found[-1]["version"] != versions[version].version):
            found.append({"since": day.isoformat(), "version": versions[version].version})
    return found


def _outcomes(
    period: str, since: date | None, until: date | None, by: Sequence[str], shown: Sequence[Place]
) -> list[dict[str, Any]]:
    """Verified facts beside the trend: the share of satisfied answers among those who answered, of the whole first, then
    of every slice shown whose conversations have any."""
    rows = Outcome.objects.filter(kind=Outcome.Kind.CSAT, at__isnull=False)
    if since:
        rows = rows.filter(at__gte=datetime.combine(since, time.min, UTC))
    if until:
        rows = rows.filter(at__lte=datetime.combine(until, time.max, UTC))
    places = [f"conversation__{name}" for name in by]
    daily = rows.annotate(day=TruncDate("at")).values_list("day", *places).order_by()
    counted = daily.annotate(n=Count("id"), good=Count("id", filter=Q(value__gte=SATISFIED)))
    sums: dict[Place | None, dict[date, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for day, *place, n, good in counted:
        for part in {None, tuple(place)} if by else {None}:
            cell = sums[part][start_of(day, period)]
            cell[0] += n
            cell[1] += good
    measure = "share of 4 and 5, among responders"
    return [
        {"kind": "csat", "measure": measure, "slice": {} if part is None else slices.slice_of(by, part)}
        | {"points": [_answered(start, *cell) for start, cell in sorted(sums[part].items())]}
        for part in (None, *shown)
        if part in sums
    ]


def _answered(start: date, n: int, good: int) -> dict[str, Any]:
    return {"start": start.isoformat(), "n": n} | wilson(good, n).as_dict()
