"""Verified outcomes per slice: what customers answered, how many did not, and how well a proxy stands for them.

Survey answers speak of those who answered. Every figure here is among responders, beside their share of all
conversations and the limits within which the silent could move it. A proxy is compared with them, never merged in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from calibration.models import ClassifierVersion, Outcome, Prediction
from calibration.stats import moments
from calibration.stats import outcomes as surveys
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from calibration.stats.moments import Moments
from calibration.stats.outcomes import ResponseBias, Survey
from labeling.errors import Refused
from labeling.models import WHOLE, Conversation, Signal

PROXY = "satisfaction"
"""The signal whose predictions estimate CSAT."""
SATISFIED = 4
RANGES = {"csat": (1.0, 5.0), "nps": (0.0, 10.0), "ces": (1.0, 7.0)}
BY = ("channel", "cohort")
MOST_SLICES = 200
"""Slices that a report shows, those with most conversations: a cohort can have a value for each customer."""
Place = tuple[str, str]
Answers = dict[str, Counter[float]]
"""Kind → how often each value was answered."""


@dataclass(frozen=True, slots=True)
class Row:
    """One slice: three surveys among responders, and what happened."""

    slice: dict[str, str]
    conversations: int
    csat: Survey
    nps: Survey
    ces: Survey
    silence: ResponseBias | None
    escalated: Estimate
    reopened: Estimate
    events: dict[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """One answer of the proxy, and what the customers who got it said themselves."""

    value: str
    predicted: int
    answered: int
    satisfied: Estimate
    mean: float | None


@dataclass(frozen=True, slots=True)
class Gap:
    """The proxy minus the customer: on average, and between which limits 95 % of the differences lie."""

    bias: Estimate
    lower: Estimate
    upper: Estimate


@dataclass(frozen=True, slots=True)
class Proxy:
    """One version of the CSAT proxy against verified CSAT, on the conversations that have both."""

    version: ClassifierVersion
    pairs: int
    rank: Estimate
    gap: Gap
    steps: list[Step]
    bias: ResponseBias | None


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows."""

    rows: list[Row]
    proxies: list[Proxy]
    left_out: int
    since: date | None
    until: date | None
    slices: int
    """How many slices there are, the ones beyond the largest included; the whole is none."""

    @property
    def shown(self) -> int:
        """How many slices are shown, beside the whole."""
        return len(self.rows) - 1

    @property
    def hidden(self) -> int:
        """How many are not."""
        return self.slices - self.shown

    @property
    def whole(self) -> Row:
        return self.rows[0]

    @property
    def sentence(self) -> str:
        return sentence(self)

    @property
    def lowest(self) -> Row | None:
        """The slice with the fewest satisfied, among those with answers enough to say so."""
        firm = [row for row in self.rows[1:] if row.csat.answered >= surveys.LEAST_ITEMS]
        return min(firm, key=lambda row: row.csat.score.value or 0.0, default=None)

    @property
    def empty(self) -> bool:
        whole = self.whole
        return not (whole.csat.answered or whole.nps.answered or whole.ces.answered or sum(whole.events.values()))


def read(*, since: date | None = None, until: date | None = None) -> Report:
    """The report over conversations that began within the days `since` to `until`, both included."""
    if since and until and until < since:
        raise Refused("empty_period", "the period ends before it begins", field="until", status=400)
    within = _within(since, until, "started_at")
    asked = {
        (channel, cohort): n
        for channel, cohort, n in Conversation.objects.filter(within)
        .order_by()
        .values_list("channel", "cohort")
        .annotate(n=Count("id"))
    }
    told, left_out = _told(since, until)
    every = [(sum(asked.get(place, 0) for place in places), one, places) for one, places in _slices({*asked, *told})]
    # A wider slice has no fewer conversations than one within it, and stands before it.
    largest = sorted(range(len(every)), key=lambda number: (-every[number][0], number))[: MOST_SLICES + 1]
    rows = [
        _row(one, n, [told[place] for place in places if place in told])
        for n, one, places in (every[number] for number in sorted({0, *largest}))
    ]
    return Report(rows, _proxies(since, until), left_out, since, until, len(every) - 1)


def day(text: str | None, field_name: str) -> date | None:
    """A day that a reader typed, or None."""
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Refused("bad_day", f"{text!r} is not a day like 2026-03-31", field=field_name, status=400) from error


def sentence(report: Report) -> str:
    """The answer first: the best-answered survey, of whom it speaks, and how far the silent could move it."""
    whole = report.whole
    found, bias = whole.csat.score, whole.silence
    if found.value is None:
        told = [name for name, one in (("NPS", whole.nps), ("CES", whole.ces)) if one.answered]
        if told:
            return f"No CSAT answer yet; there are answers to {' and '.join(told)}."
        return "Events, and no survey answer yet." if sum(whole.events.values()) else "No outcome is known yet."
    rate = whole.csat.response_rate
    of_whom = f"the {_percent(rate)} who answered" if rate is not None else "those who answered"
    text = f"{_percent(found.value)} of {of_whom} were satisfied"
    if bias is None:
        return text + "."
    return f"{text}; the silent could put the truth anywhere from {_percent(bias.low)} to {_percent(bias.high)}."


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _within(since: date | None, until: date | None, name: str) -> Q:
    found = Q()
    if since:
        found &= Q(**{f"{name}__gte": datetime.combine(since, time.min, UTC)})
    if until:
        found &= Q(**{f"{name}__lte": datetime.combine(until, time.max, UTC)})
    return found


def _outcomes(since: date | None, until: date | None) -> QuerySet[Outcome]:
    """Outcomes by the day of their conversation; those of a customer alone by their own day."""
    mine = _within(since, until, "conversation__started_at") & Q(conversation__isnull=False)
    return Outcome.objects.filter(mine | (_within(since, until, "at") & Q(conversation__isnull=True))).order_by()


def _told(since: date | None, until: date | None) -> tuple[dict[Place, Answers], int]:
    """Place → kind → how often each value; and how many answers lie outside their survey's scale.

    An outcome of a customer alone belongs to the newest conversation that they had had by then, else to any of theirs.
    """
    newest = (
        Conversation.objects.filter(customer=OuterRef("customer")).exclude(customer="").order_by("-started_at", "-id")
    )
    before = newest.filter(Q(started_at__lte=OuterRef("at")) | Q(started_at=None))
    joined = _outcomes(since, until).annotate(
        channel=Coalesce(
            "conversation__channel", Subquery(before.values("channel")[:1]), Subquery(newest.values("channel")[:1])
        ),
        cohort=Coalesce(
            "conversation__cohort", Subquery(before.values("cohort")[:1]), Subquery(newest.values("cohort")[:1])
        ),
    )
    rows = joined.values_list("kind", "value", "channel", "cohort")
    told: dict[Place, Answers] = defaultdict(lambda: defaultdict(Counter))
    left_out = 0
    for kind, value, channel, cohort, n in rows.annotate(n=Count("id")):
        low, high = RANGES.get(kind, (float("-inf"), float("inf")))
        if low <= value <= high:
            told[channel or "unknown", cohort or "unknown"][kind][value] += n
        else:
            left_out += n
    return told, left_out


def _slices(places: Iterable[Place]) -> list[tuple[dict[str, str], list[Place]]]:
    """The whole, each channel with its cohorts below it, then each cohort; slices that repeat a wider one are left out."""
    every = sorted(places)
    channels: dict[str, list[Place]] = defaultdict(list)
    cohorts: dict[str, list[Place]] = defaultdict(list)
    for place in every:
        channels[place[0]].append(place)
        cohorts[place[1]].append(place)
    found: list[tuple[dict[str, str], list[Place]]] = [({}, every)]
    for channel, mine in channels.items() if len(channels) > 1 else ():
        found.append(({"channel": channel}, mine))
        found += [({"channel": channel, "cohort": place[1]}, [place]) for place in mine if len(mine) > 1]
    found += [({"cohort": cohort}, cohorts[cohort]) for cohort in sorted(cohorts) if len(cohorts) > 1]
    return found


def _row(one: dict[str, str], asked: int, parts: Sequence[Mapping[str, Counter[float]]]) -> Row:
    counts = {kind: sum((part[kind] for part in parts if kind in part), Counter()) for kind in Outcome.Kind.values}
    answers = {kind: _repeated(counts[kind]) for kind in RANGES}
    events = {kind: sum(n for value, n in counts[kind].items() if value) for kind in ("escalation", "reopened")}

    def of(kind: str) -> int | None:
        """All conversations count as asked; unknown where there are more answers than those."""
        return asked if asked >= len(answers[kind]) else None

    csat = surveys.csat(answers["csat"], asked=of("csat"))
    satisfied = (answers["csat"] >= SATISFIED).astype(float)
    silence = None
    if csat.answered and csat.asked:
        silence = surveys.response_bias(satisfied, np.zeros(csat.answered), np.zeros(csat.asked))
    return Row(
        one, asked, csat, surveys.nps(answers["nps"], asked=of("nps")), surveys.ces(answers["ces"], asked=of("ces")),
        silence, _share(events["escalation"], asked), _share(events["reopened"], asked), events,
    )  # fmt: skip


def _share(count: int, of: int) -> Estimate:
    return wilson(count, of) if count <= of else Estimate.undefined("more_than_conversations", n=of)


def _repeated(counts: Mapping[float, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = sorted(counts)
    return np.repeat(np.asarray(values, dtype=float), [counts[value] for value in values])


def _proxies(since: date | None, until: date | None) -> list[Proxy]:
    """Every version of a CSAT proxy, the one with most pairs first."""
    signal = Signal.objects.prefetch_related("categories").filter(slug=PROXY).first()
    if signal is None:
        return []
    scores = {one.value: one.score for one in signal.categories.all()}
    given = Prediction.objects.filter(
        _within(since, until, "conversation__started_at"), version__classifier__signal=signal, turn=WHOLE, status="ok"
    ).order_by()
    everyone: dict[int, Counter[tuple[str, float]]] = defaultdict(Counter)
    for version, value, number, n in given.values_list("version", "value", "number").annotate(n=Count("id")):
        everyone[version][value, _score(value, number, scores)] += n
    verified = given.filter(conversation__outcomes__kind=Outcome.Kind.CSAT, conversation__outcomes__value__range=(1, 5))
    paired: dict[int, Counter[tuple[str, float, float]]] = defaultdict(Counter)
    columns = ("version", "value", "number", "conversation__outcomes__value")
    for version, value, number, answer, n in verified.values_list(*columns).annotate(n=Count("id")):
        paired[version][value, _score(value, number, scores), answer] += n
    versions = ClassifierVersion.objects.select_related("classifier").in_bulk(list(everyone))
    found = [_proxy(versions[key], everyone[key], paired[key], bool(scores)) for key in everyone]
    return sorted(found, key=lambda one: (-one.pairs, str(one.version)))


def _score(value: str, number: float | None, scores: Mapping[str, float | None]) -> float:
    """The number behind a proxy's answer: its own, else its category's score, else the category's place."""
    if number is not None:
        return number
    score = scores.get(value)
    return score if score is not None else float(list(scores).index(value))


def _proxy(
    version: ClassifierVersion,
    everyone: Counter[tuple[str, float]],
    paired: Counter[tuple[str, float, float]],
    categorical: bool,
) -> Proxy:
    proxy = _repeat([score for _, score, _ in paired], paired.values())
    answers = _repeat([answer for _, _, answer in paired], paired.values())
    population = _repeat([score for _, score in everyone], everyone.values())
    bias = None
    if len(answers) and len(population) >= len(answers):
        bias = surveys.response_bias((answers >= SATISFIED).astype(float), proxy, population)
    steps = [
        _step(value, score, n, {answer: m for (one, _, answer), m in paired.items() if one == value})
        for (value, score), n in sorted(everyone.items(), key=lambda item: item[0][1])
    ]
    rank = surveys.proxy_correlation(proxy, answers)
    sums = Moments.from_pairs(answers, proxy)
    gap = Gap(moments.bias(sums), moments.limit_of_agreement(sums, -1), moments.limit_of_agreement(sums, 1))
    return Proxy(version, len(answers), rank, gap, steps if categorical else [], bias)


def _repeat(values: Sequence[float], counts: Iterable[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.repeat(np.asarray(values, dtype=float), np.asarray(list(counts), dtype=int))


def _step(value: str, score: float, predicted: int, answers: Mapping[float, int]) -> Step:
    answered = sum(answers.values())
    good = sum(n for answer, n in answers.items() if answer >= SATISFIED)
    mean = sum(answer * n for answer, n in answers.items()) / answered if answered else None
    return Step(value, predicted, answered, wilson(good, answered), mean)
