"""How well the calls behind two periods' numbers were heard: well or poorly, so that transcription is told apart.

Only calls with a reference transcript can tell. A slice is split where at least half of what was scored in it is
measured in both periods; what is not measured there is taken to be like the rest, and slices without transcripts stay
whole. Calls are heard poorly when their word error rate is above the mean of the two periods' rates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import BooleanField, Case, Count, F, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDate
from django.db.models.lookups import GreaterThan

from calibration.models import ClassifierVersion, Prediction, Transcription
from calibration.moves.periods import Days

LEAST_MEASURED, LEAST_CALLS = 0.5, 30
WELL, POORLY = 0, 1
Place = tuple[str, ...]
Code = Callable[[str], str | None]
Errors = F("substitutions") + F("insertions") + F("deletions")


@dataclass(frozen=True, slots=True)
class Heard:
    """The split: `counts[period][place][category]` are measured calls heard (well, poorly)."""

    limit: float
    places: frozenset[Place]
    counts: tuple[Mapping[Place, Mapping[str, Sequence[int]]], ...]
    poorly: Mapping[int, bool]

    def split(self, period: int, place: Place, category: str, n: int) -> tuple[int, int]:
        """`n` conversations of a slice that got a category, as (heard well, heard poorly)."""
        if place not in self.places:
            return n, 0
        mine = self.counts[period][place]
        well, poor = mine.get(category) or [sum(column) for column in zip(*mine.values(), strict=True)]
        bad = round(n * poor / (well + poor))
        return n - bad, bad

    def band(self, place: Place, conversation: int) -> int | None:
        """The band of one conversation; None where its slice is split and nobody measured it."""
        if place not in self.places:
            return WELL
        poor = self.poorly.get(conversation)
        return None if poor is None else int(poor)


def read(
    *,
    serving: Sequence[ClassifierVersion],
    periods: Sequence[Days],
    by: Sequence[str],
    volumes: Sequence[Mapping[Place, int]],
    code: Code,
    labelled: Iterable[int],
) -> Heard | None:
    """The split of two periods, each under its version in service; None where no slice is measured in both.

    `volumes` say how much was scored in each slice, `labelled` which conversations' bands will be asked for.
    """
    rates = [_rate(version, days) for version, days in zip(serving, periods, strict=True)]
    known = [rate for rate in rates if rate is not None]
    limit = sum(known) / len(rates)
    if len(known) < len(rates) or not limit:
        return None
    counts = tuple(_counts(version, days, by, limit, code) for version, days in zip(serving, periods, strict=True))
    places = frozenset(
        place
        for place in counts[0]
        if all(
            size >= LEAST_CALLS and size >= LEAST_MEASURED * there.get(place, 0)
            for found, there in zip(counts, volumes, strict=True)
            for size in [sum(map(sum, found.get(place, {}).values()))]
        )
    )
    return Heard(limit, places, counts, _poorly(labelled, limit)) if places else None


def poor(limit: float) -> Case:
    """Whether a prediction's call was heard poorly, as a column."""
    call = "conversation__transcription__"
    wrong = F(f"{call}substitutions") + F(f"{call}insertions") + F(f"{call}deletions")
    heard_poorly = GreaterThan(wrong, F(f"{call}words") * Value(limit))
    return Case(When(heard_poorly, then=Value(True)), default=Value(False), output_field=BooleanField())


def is_measured() -> Case:
    """Whether a prediction's call was measured at all, as a column."""
    return Case(
        When(conversation__transcription__words__gt=0, then=Value(True)),
        default=Value(False),
        output_field=BooleanField(),
    )


def measured(rows: QuerySet[Prediction], days: Days) -> QuerySet[Prediction]:
    """Usable predictions of a period whose calls were measured with the content that they have now."""
    return (
        rows.filter(
            status=Prediction.Status.OK,
            conversation__transcription__words__gt=0,
            conversation__transcription__content_sha256=F("conversation__content_sha256"),
        )
        .annotate(day=TruncDate(Coalesce("predicted_at", "conversation__started_at")))
        .filter(day__gte=days.first, day__lte=days.last)
        .order_by()
    )


def _rate(version: ClassifierVersion, days: Days) -> float | None:
    """The word error rate of the calls that a version scored; None for too few of them."""
    rows = measured(Prediction.objects.filter(version=version), days)
    names = ("words", "substitutions", "insertions", "deletions")
    sums = rows.aggregate(n=Count("id"), **{name: Sum(f"conversation__transcription__{name}") for name in names})
    if sums["n"] < LEAST_CALLS:
        return None
    return float(sum(sums[name] for name in names[1:]) / sums["words"])


def _counts(
    version: ClassifierVersion, days: Days, by: Sequence[str], limit: float, code: Code
) -> dict[Place, dict[str, list[int]]]:
    """place → category → calls heard (well, poorly): one grouped count."""
    rows = measured(Prediction.objects.filter(version=version), days).annotate(poor=poor(limit))
    grouped = rows.values_list(*[f"conversation__{name}" for name in by], "value", "poor").annotate(n=Count("id"))
    found: dict[Place, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for *place, value, is_poor, n in grouped:
        category = code(value)
        if category is not None:
            found[tuple(place)][category][int(is_poor)] += n
    return {place: dict(rows) for place, rows in found.items()}


def _poorly(conversations: Iterable[int], limit: float) -> dict[int, bool]:
    """Measured conversations among these, and whether they were heard poorly."""
    wanted = set(conversations)
    rows = Transcription.objects.filter(words__gt=0, content_sha256=F("conversation__content_sha256"))
    found = rows.values_list("conversation_id", "words").annotate(wrong=Errors)
    return {key: wrong > limit * words for key, words, wrong in found.iterator(chunk_size=5000) if key in wanted}
