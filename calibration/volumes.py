"""How much each version said, by day and slice: reads the rollup, never rows of predictions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import QuerySet, Sum

from calibration.models import Classifier, ClassifierVersion, PredictionRollup, Recalibration
from labeling.models import Signal

CORE = ("channel", "cohort")
"""What the rollup can be sliced by."""
RECENT = timedelta(weeks=4)
"""How far back it is asked which version serves now."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Predictions of one version on one day in one slice that gave one value; `total` sums their numbers.

    `mapped`: not scored in service, but another version's scores through the map of a recalibration, after the fact.
    """

    version: int
    day: date
    place: tuple[str, ...]
    value: str
    failed: bool
    count: int
    total: float
    total_squares: float
    mapped: bool = False


def read(
    versions: Iterable[ClassifierVersion],
    *,
    by: Sequence[str] = (),
    since: date | None = None,
    until: date | None = None,
) -> list[Volume]:
    """The rollup of some versions between two days (both included), summed over what `by` does not name."""
    asked = list(versions)
    rows: QuerySet[PredictionRollup] = PredictionRollup.objects.filter(version__in=asked, day__isnull=False)
    rows = rows.filter(day__gte=since) if since else rows
    rows = rows.filter(day__lte=until) if until else rows
    grouped = rows.order_by().values_list("version_id", "day", *by, "value", "failed")
    summed = grouped.annotate(n=Sum("count"), x=Sum("total"), x2=Sum("total_squares"))
    border = mapped_until(asked)
    return [
        Volume(
            version,
            day,
            tuple(middle[: len(by)]),
            middle[-2],
            middle[-1],
            n,
            x,
            x2,
            day <= border.get(version, date.min),
        )
        for version, day, *middle, n, x, x2 in summed
        if n > 0
    ]


def mapped_until(versions: Iterable[ClassifierVersion]) -> dict[int, date]:
    """Recalibrated version → the last day whose scores are its parent's through the map: it was not in service then."""
    rows = Recalibration.objects.filter(promoted__in=list(versions)).values_list("promoted", "mapped_until")
    return {version: day for version, day in rows if version is not None and day is not None}


def in_service(rows: Iterable[Volume]) -> int | None:
    """The version (its id) that answered most of these when they came in; None where there is nothing."""
    counts: Counter[int] = Counter()
    for row in rows:
        if not row.mapped:
            counts[row.version] += row.count
    return max(counts, key=lambda version: (counts[version], version), default=None)


def recent(rows: Sequence[Volume]) -> list[Volume]:
    """Those of the last four weeks that there are any of."""
    last = max((row.day for row in rows), default=None)
    return [row for row in rows if last is not None and row.day > last - RECENT]


def serving(rows: Sequence[Volume]) -> int | None:
    """The version (its id) that stands for a classifier now: the one that answered most in its last four weeks."""
    return in_service(recent(rows))


def by_day(rows: Iterable[Volume]) -> dict[date, list[Volume]]:
    """The rows of each day, in order."""
    days: dict[date, list[Volume]] = defaultdict(list)
    for row in rows:
        days[row.day].append(row)
    return dict(sorted(days.items()))


def versions_of(classifier: Classifier) -> list[ClassifierVersion]:
    """Every version of a classifier, oldest first, each with its classifier at hand."""
    versions = list(classifier.versions.order_by("created_at", "id"))
    for version in versions:
        version.classifier = classifier
    return versions


def scored() -> dict[int, int]:
    """Classifier (its id) → how much it has scored: the one that scored most stands for its signal."""
    counted = PredictionRollup.objects.order_by().values_list("version__classifier").annotate(n=Sum("count"))
    return dict(counted)


def most_scored() -> Signal | None:
    """The signal with the most predictions; None before there are any."""
    counted = PredictionRollup.objects.values("version__classifier__signal").annotate(n=Sum("count"))
    first = counted.order_by("-n", "version__classifier__signal").first()
    return None if first is None else Signal.objects.get(id=first["version__classifier__signal"])
