"""What moved? The change of a charted number between two periods, told apart into customers, classifier and mix.

Volumes come from the rollup, labels from everything that people said of the periods' conversations, and the bridge
from conversations of the later period that both versions scored. The arithmetic is in `calibration.stats.attribution`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Count, F, Max, Min
from django.db.models.functions import Coalesce, TruncDate
from numpy.typing import NDArray

from calibration import slices, streams, volumes
from calibration.errors import EvidenceRefused
from calibration.models import Classifier, ClassifierVersion, Prediction
from calibration.moves import transcripts
from calibration.moves.periods import Days
from calibration.moves.transcripts import Heard
from calibration.stats import attribution as stats
from calibration.stats.attribution import Comparison, Period, PeriodSlice, SliceMovement
from calibration.stats.tables import ConfusionTable
from calibration.streams import Answer, Said
from calibration.volumes import Volume
from labeling.errors import NotFound, Refused
from labeling.models import Category, Signal
from labeling.values import number_text

SEED = 20
MEAN = "mean"
MOST_STEPS = 10
HAS, HAS_NOT = "with", "without"
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """What is charted: the share of a category, or the mean score. `code` maps a canonical value to its category.

    Numbers are counted under the nearest of a few points of their range, the `scores`, exact where they are whole.
    """

    name: str
    value: str
    categories: tuple[str, ...]
    scores: tuple[float, ...]
    multilabel: bool = False
    numbers: bool = False

    def code(self, value: str) -> str | None:
        """The category that a value counts as; None for what is none (a failed answer)."""
        if self.multilabel:
            return HAS if self.value in json.loads(value) else HAS_NOT
        if self.numbers:
            number = float(value)
            nearest = min(range(len(self.scores)), key=lambda i: abs(self.scores[i] - number))
            return self.categories[nearest]
        return value if value in self.categories else None


def attribute(
    *,
    signal: Signal,
    before: Days,
    after: Days,
    classifier: Classifier | None = None,
    value: str = "",
    by: Sequence[str] = volumes.CORE,
    chosen_versions: tuple[str, str] = ("", ""),
) -> dict[str, Any]:
    """The contract's answer; parts that cannot be known say why, and nothing to compare at all is refused.

    A period is read as the version in service then scored it, or as its chosen version did, after the fact too.
    """
    chart = measure_of(signal, value)
    check_by(by)
    chosen = classifier or classifier_of(signal)
    if chosen.signal_id != signal.id:
        raise Refused("other_signal", f"{chosen.slug} does not score {signal.slug}", field="classifier")
    versions = volumes.versions_of(chosen)
    ends = list(zip((before, after), chosen_versions, strict=True))
    rows = [_volumes(versions, by, days, named) for days, named in ends]
    serving = [_serving(versions, found, *end, chosen) for found, end in zip(rows, ends, strict=True)]
    _check_apart(before, after, serving)
    asked = Comparison(
        signal=signal.slug,
        classifier=chosen.slug,
        measure=chart.name,
        categories=chart.categories,
        scores=chart.scores,
        before=Period(str(before), _names(versions, rows[0], serving[0])),
        after=Period(str(after), _names(versions, rows[1], serving[1])),
        slices=_slices(signal, chart, by, (before, after), rows, serving),
    )
    found = stats.attribute(asked, rng=np.random.default_rng(SEED))
    return found.as_dict() | {"value": chart.value, "by": list(by)}


def _check_apart(before: Days, after: Days, serving: Sequence[ClassifierVersion]) -> None:
    """A conversation stands on one side only, unless one period is read as two versions scored it: that is the upgrade."""
    overlap = before.first <= after.last and after.first <= before.last
    if overlap and (before != after or serving[0] == serving[1]):
        raise EvidenceRefused(
            "overlapping_periods",
            "the periods overlap, so that the same conversations would stand on both sides: choose two that do not",
            field="to",
        )


def measure_of(signal: Signal, value: str) -> Measure:
    """The chart that a value names: a category, or `mean`; without one what `_first_asked` chooses."""
    categories = list(signal.categories.all())
    names = tuple(category.value for category in categories)
    if signal.scale == Signal.Scale.INTERVAL:
        return _numbers_measure(signal, value)
    value = value or _first_asked(signal, categories)
    if value == MEAN and signal.scale != Signal.Scale.MULTILABEL:
        scores = [category.score for category in categories]
        if not has_mean(signal):
            raise Refused("no_scores", f"the categories of {signal.slug} have no scores to average", field="value")
        return Measure("mean score", MEAN, names, tuple(float(score or 0.0) for score in scores))
    if value not in names:
        raise Refused("unknown_category", f"{value!r} is not one of {', '.join(names)}, mean", field="value")
    if signal.scale == Signal.Scale.MULTILABEL:
        return Measure(f"share of {value}", value, (HAS, HAS_NOT), (1.0, 0.0), multilabel=True)
    return Measure(f"share of {value}", value, names, tuple(float(name == value) for name in names))


def has_mean(signal: Signal) -> bool:
    """Whether there is a mean to chart: of numbers, or of categories that all have a score."""
    if signal.scale == Signal.Scale.INTERVAL:
        return True
    scored = not signal.categories.filter(score=None).exists()
    return scored and signal.scale != Signal.Scale.MULTILABEL


def _first_asked(signal: Signal, categories: Sequence[Category]) -> str:
    """What is charted when nobody says: the mean of categories that are marks, else the share of the first."""
    marks = all(category.value.isdigit() and category.score is not None for category in categories)
    return MEAN if marks and signal.scale == Signal.Scale.ORDINAL else categories[0].value


def _numbers_measure(signal: Signal, value: str) -> Measure:
    """The mean of a signal of numbers, on whole steps where its range has at most ten of them, else on eleven points."""
    if value not in ("", MEAN):
        raise Refused(
            "unknown_category", f"{signal.slug} is a number: its mean is charted, not {value!r}", field="value"
        )
    low, high = signal.minimum, signal.maximum
    if low is None or high is None:
        said = Prediction.objects.filter(version__classifier__signal=signal, number__isnull=False)
        ends = said.aggregate(low=Min("number"), high=Max("number"))
        low, high = ends["low"], ends["high"]
    if low is None or high is None or not low < high:
        raise EvidenceRefused("no_range", f"the numbers of {signal.slug} do not differ: nothing can have moved")
    whole = float(low).is_integer() and float(high).is_integer() and high - low <= MOST_STEPS
    points = np.linspace(low, high, int(high - low) + 1 if whole else MOST_STEPS + 1)
    scores = tuple(float(point) for point in points)
    return Measure("mean", MEAN, tuple(number_text(score) for score in scores), scores, numbers=True)


def classifier_of(signal: Signal) -> Classifier:
    """The classifier that stands for a signal, where nobody names one: the one that scored most."""
    scored = volumes.scored()
    known = [one for one in signal.classifiers.select_related("signal").order_by("slug") if scored.get(one.id)]
    if not known:
        raise NotFound("no_predictions", f"no classifier has scored {signal.slug} yet", field="classifier")
    return max(known, key=lambda one: scored[one.id])


def check_by(by: Sequence[str]) -> None:
    for name in by:
        if name not in volumes.CORE:
            raise Refused(
                "unknown_slice", f"predictions are counted by {' and '.join(volumes.CORE)}, not by {name!r}", field="by"
            )


def _volumes(versions: Sequence[ClassifierVersion], by: Sequence[str], days: Days, named: str) -> list[Volume]:
    """A period's counts: without what was mapped after the fact, unless its version is the one that was asked for."""
    rows = volumes.read(versions, by=by, since=days.first, until=days.last)
    wanted = {version.id for version in versions if version.version == named}
    return [row for row in rows if not row.mapped or row.version in wanted]


def _serving(
    versions: Sequence[ClassifierVersion], rows: Sequence[Volume], days: Days, named: str, classifier: Classifier
) -> ClassifierVersion:
    if named:
        asked = next((version for version in versions if version.version == named), None)
        if asked is None:
            raise NotFound("unknown_version", f"{classifier.slug} has no version {named}", field="version")
        if all(row.version != asked.id for row in rows):
            raise EvidenceRefused("no_predictions", f"{asked} scored nothing in {days.words}", field="version")
        return asked
    found = volumes.in_service(rows)
    if found is None:
        raise EvidenceRefused("no_predictions", f"{classifier.slug} scored nothing in {days.words}", field="period")
    return next(version for version in versions if version.id == found)


def _names(versions: Sequence[ClassifierVersion], rows: Iterable[Volume], first: ClassifierVersion) -> tuple[str, ...]:
    """The versions that scored in a period, the one in service first."""
    seen = {row.version for row in rows}
    return (first.version, *(version.version for version in versions if version.id in seen and version != first))


def _slices(
    signal: Signal,
    chart: Measure,
    by: Sequence[str],
    periods: tuple[Days, Days],
    rows: Sequence[Sequence[Volume]],
    serving: Sequence[ClassifierVersion],
) -> tuple[SliceMovement, ...]:
    old, new = serving
    answers = streams.answers(signal)
    said = streams.said({old, new}, signal)
    if chart.numbers:
        rows = [numbers_said(by, version, days) for version, days in zip(serving, periods, strict=True)]
    predicted = [predicted_by_place(chart, found, version) for found, version in zip(rows, serving, strict=True)]
    heard = transcripts.read(
        serving=serving,
        periods=periods,
        by=by,
        volumes=[{place: sum(counts) for place, counts in found.items()} for found in predicted],
        code=chart.code,
        labelled=[answer.unit[0] for answer in answers],
    )
    before = _tables(chart, by, answers, said.get(old.id, {}), periods[0], heard)
    after = _tables(chart, by, answers, said.get(new.id, {}), periods[1], heard)
    upgraded = old != new
    bridged = bridge(chart, by, old, new, periods[1], heard) if upgraded else {}
    both = _tables(chart, by, answers, said.get(old.id, {}), periods[1], heard) if upgraded else {}
    bands = range(1 if heard is None else 2)
    empty = tuple(ConfusionTable.from_cells(chart.categories, []) for _ in bands)
    blank = tuple(tuple(tuple(0 for _ in chart.categories) for _ in chart.categories) for _ in bands)
    return tuple(
        SliceMovement(
            slices.slice_of(by, place),
            PeriodSlice(_in_bands(chart, predicted, 0, place, heard), before.get(place, empty)),
            PeriodSlice(_in_bands(chart, predicted, 1, place, heard), after.get(place, empty)),
            bridge=bridged.get(place, blank) if upgraded else None,
            labels_old=both.get(place, empty) if upgraded else None,
        )
        for place in sorted({*predicted[0], *predicted[1]})
    )


def _in_bands(
    chart: Measure, predicted: Sequence[Mapping[Place, tuple[int, ...]]], period: int, place: Place, heard: Heard | None
) -> tuple[tuple[int, ...], ...]:
    """A slice's predictions, whole or as those of calls heard well and poorly."""
    counts = predicted[period].get(place, tuple(0 for _ in chart.categories))
    if heard is None:
        return (counts,)
    pairs = [heard.split(period, place, name, n) for name, n in zip(chart.categories, counts, strict=True)]
    return tuple(well for well, _ in pairs), tuple(poor for _, poor in pairs)


def predicted_by_place(
    chart: Measure, rows: Iterable[Volume], version: ClassifierVersion
) -> dict[Place, tuple[int, ...]]:
    """How often the version gave each category, by place."""
    counts: dict[Place, Counter[str]] = defaultdict(Counter)
    for row in rows:
        code = chart.code(row.value) if row.version == version.id and not row.failed else None
        if code is not None:
            counts[row.place][code] += row.count
    return {place: tuple(found[name] for name in chart.categories) for place, found in counts.items()}


def numbers_said(by: Sequence[str], version: ClassifierVersion, days: Days) -> list[Volume]:
    """How often a version gave each number in a period: one grouped count, since the rollup has their sums only."""
    rows = Prediction.objects.filter(version=version, status=Prediction.Status.OK).annotate(
        day=TruncDate(Coalesce("predicted_at", "conversation__started_at"))
    )
    grouped = rows.filter(day__gte=days.first, day__lte=days.last).order_by()
    columns = [f"conversation__{name}" for name in by]
    return [
        Volume(version.id, days.first, tuple(place), str(value), False, n, 0.0, 0.0)
        for *place, value, n in grouped.values_list(*columns, "value").annotate(n=Count("id"))
    ]


def _tables(
    chart: Measure,
    by: Sequence[str],
    answers: Iterable[Answer],
    said: Mapping[tuple[int, int], Said],
    days: Days,
    heard: Heard | None,
) -> dict[Place, tuple[ConfusionTable, ...]]:
    """Gold × answers of one version, by place and band, of the labelled units that it scored in a period."""
    cells: dict[Place, list[list[tuple[str, str, int, float, float]]]] = defaultdict(lambda: [[], []])
    for answer in answers:
        spoken = said.get(answer.unit)
        if spoken is None or streams.scored_day(answer, spoken) not in days:
            continue
        gold, predicted = chart.code(answer.value), chart.code(spoken.value)
        place = answer.place(by)
        band = heard.band(place, answer.unit[0]) if heard else 0
        if gold is not None and predicted is not None and band is not None:
            cells[place][band].append((gold, predicted, 1, answer.weight, answer.weight**2))
    bands = slice(1 if heard is None else 2)
    return {
        place: tuple(ConfusionTable.from_cells(chart.categories, rows) for rows in found[bands])
        for place, found in cells.items()
    }


def bridge(
    chart: Measure, by: Sequence[str], old: ClassifierVersion, new: ClassifierVersion, days: Days, heard: Heard | None
) -> dict[Place, tuple[tuple[tuple[int, ...], ...], ...]]:
    """Conversations of the later period by both versions' answers [band][old][new], by place: one grouped count."""
    ok = Prediction.Status.OK
    rows = Prediction.objects.filter(
        version=new,
        status=ok,
        conversation__predictions__version=old,
        conversation__predictions__status=ok,
        conversation__predictions__turn=F("turn"),
    ).annotate(day=TruncDate(Coalesce("predicted_at", "conversation__started_at")))
    if heard is not None:
        rows = rows.annotate(poor=transcripts.poor(heard.limit), measured=transcripts.is_measured())
    extra = () if heard is None else ("poor", "measured")
    columns = [f"conversation__{name}" for name in by]
    grouped = rows.filter(day__gte=days.first, day__lte=days.last).values_list(
        *columns, "conversation__predictions__value", "value", *extra
    )
    position = {name: index for index, name in enumerate(chart.categories)}
    size, bands = len(position), 1 if heard is None else 2
    counts: dict[Place, NDArray[np.int64]] = defaultdict(lambda: np.zeros((bands, size, size), dtype=np.int64))
    for *key, n in grouped.order_by().annotate(n=Count("id")):
        place, (earlier, later, *told) = tuple(key[: len(by)]), key[len(by) :]
        codes = chart.code(earlier), chart.code(later)
        split = heard is not None and place in heard.places
        if codes[0] is not None and codes[1] is not None and not (split and not told[1]):
            counts[place][int(split and told[0]), position[codes[0]], position[codes[1]]] += n
    return {
        place: tuple(tuple(tuple(map(int, line)) for line in band) for band in found) for place, found in counts.items()
    }
