"""Journeys by cohort: contacts until a resolution, changes of channel, effort over the way, each with an interval by customer.

Resolution and effort of a contact are people's answer where there is one, a ruling before a majority, else that of the one version
which scored most of them: a figure here never mixes versions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from django.db.models import Count, Max, Q

from calibration.journeys import EFFORT, RESOLUTION, RESOLVED
from calibration.models import ClassifierVersion, Prediction
from calibration.stats.estimate import Estimate
from calibration.stats.outcomes import word_error_rate
from calibration.stats.scores import mean_estimate
from labeling.models import WHOLE, Conversation, Label, Ruling, Signal

SEED, DRAWS = 20260302, 500
LEAST = 30
"""Customers that a cohort needs to be named beside the headline."""


@dataclass(frozen=True, slots=True)
class Way:
    """One customer's contacts in numbers."""

    cohort: str
    contacts: int
    resolutions: int
    contacts_to_them: int
    steps: int
    switches: int
    first_effort: float | None
    last_effort: float | None

    @property
    def climbed(self) -> float | None:
        """How much effort rose from the first judged contact to the last; None with fewer than two."""
        return None if self.first_effort is None or self.last_effort is None else self.last_effort - self.first_effort


@dataclass(frozen=True, slots=True)
class Row:
    """The measures of one cohort; of everybody where it has no name. `open` are ways whose last contact resolved nothing."""

    cohort: str
    customers: int
    contacts: int
    open: int
    to_resolution: Estimate
    switched: Estimate
    climb: Estimate

    def as_dict(self) -> dict[str, Any]:
        return {
            "cohort": self.cohort or None, "customers": self.customers, "contacts": self.contacts, "open": self.open,
            "touchpoints_to_resolution": self.to_resolution.as_dict(), "channel_switches_per_step": self.switched.as_dict(),
            "effort_change": self.climb.as_dict(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """Everybody first, then each cohort; which version spoke where people had not."""

    rows: list[Row]
    sources: dict[str, str]
    unjudged: int

    @property
    def whole(self) -> Row:
        return self.rows[0]

    @property
    def longest(self) -> Row | None:
        """The cohort that needs most contacts, among those with customers enough to say so."""
        firm = [row for row in self.rows[1:] if row.to_resolution.value is not None and row.customers >= LEAST]
        return max(firm, key=lambda row: row.to_resolution.value or 0.0, default=None)

    @property
    def sentence(self) -> str:
        found = self.whole.to_resolution.value
        if not self.whole.customers:
            return "No customer has a conversation yet."
        if found is None:
            return "Nobody has judged yet whether a contact resolved anything."
        longest = self.longest
        text = f"A resolution takes {found:.1f} contacts on average"
        if longest is None or len(self.rows) < 3:
            return text + "."
        return f"{text}, {longest.to_resolution.value:.1f} for {longest.cohort}."

    def as_dict(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence, "sources": self.sources, "unjudged": self.unjudged,
            "rows": [row.as_dict() for row in self.rows],
        }  # fmt: skip


def read() -> Report:
    """The report over every conversation that names its customer."""
    resolution, effort = _Answers.of(RESOLUTION), _Answers.of(EFFORT)
    found = Conversation.objects.exclude(customer="").order_by("customer", "started_at", "id")
    columns = found.values_list("customer", "cohort", "channel", "id")
    ways, unjudged = [], 0
    for _, mine in groupby(columns.iterator(chunk_size=5000), key=lambda row: row[0]):
        contacts = list(mine)
        settled = [resolution.settles(key) for *_, key in contacts]
        unjudged += sum(one is None for one in settled)
        ways.append(_way(contacts, settled, [effort.number(key) for *_, key in contacts]))
    cohorts = sorted({way.cohort for way in ways})
    rows = [_row("", ways)]
    if len(cohorts) > 1:
        rows += [_row(cohort, [way for way in ways if way.cohort == cohort]) for cohort in cohorts]
    sources = {name: one.source for name, one in ((RESOLUTION, resolution), (EFFORT, effort)) if one.source}
    return Report(rows, sources, unjudged)


def longest_ways(*, most: int = 10) -> list[dict[str, Any]]:
    """The customers with most contacts: `customer`, `cohort`, `contacts`."""
    found = Conversation.objects.exclude(customer="").order_by().values("customer")
    ranked = found.annotate(contacts=Count("id"), cohort=Max("cohort")).order_by("-contacts", "customer")
    return [dict(row) for row in ranked[:most]]


def _way(contacts: Sequence[tuple[Any, ...]], settled: Sequence[bool | None], efforts: Sequence[float | None]) -> Way:
    """The cohort is that of the newest contact."""
    channels = [channel for _, _, channel, _ in contacts]
    resolutions, reached = 0, 0
    for number, one in enumerate(settled, 1):
        if one:
            resolutions, reached = resolutions + 1, number
    known = [one for one in efforts if one is not None]
    several = len(known) > 1
    return Way(
        contacts[-1][1], len(contacts), resolutions, reached, len(contacts) - 1,
        sum(one != other for one, other in pairwise(channels)),
        known[0] if several else None, known[-1] if several else None,
    )  # fmt: skip


def _row(cohort: str, ways: Sequence[Way]) -> Row:
    climbs = np.array([way.climbed for way in ways if way.climbed is not None])
    solved = [way for way in ways if way.resolutions]
    stepped = [way for way in ways if way.steps]
    return Row(
        cohort, len(ways), sum(way.contacts for way in ways), sum(way.contacts_to_them < way.contacts for way in ways),
        _ratio([way.contacts_to_them for way in solved], [way.resolutions for way in solved]),
        _ratio([way.switches for way in stepped], [way.steps for way in stepped]),
        mean_estimate(climbs, 0.95),
    )  # fmt: skip


def _ratio(top: Iterable[int], bottom: Iterable[int]) -> Estimate:
    """A ratio of sums, its interval from redrawing customers: the statistic of a word error rate is the same."""
    return word_error_rate(list(top), list(bottom), rng=np.random.default_rng(SEED), draws=DRAWS)


@dataclass(frozen=True, slots=True)
class _Answers:
    """What is known of one signal of each conversation."""

    signal: Signal | None
    told: dict[int, str]
    scores: dict[str, float]
    settling: str
    source: str

    @classmethod
    def of(cls, slug: str) -> _Answers:
        signal = Signal.objects.prefetch_related("categories").filter(slug=slug).first()
        if signal is None:
            return cls(None, {}, {}, "", "")
        categories = list(signal.categories.all())
        values = [one.value for one in categories]
        best = max(categories, key=lambda one: (one.score or 0.0, one.position)).value if categories else ""
        scores = {one.value: one.score for one in categories if one.score is not None}
        version = _main_version(signal)
        told = _predicted(version) if version else {}
        told |= _by_people(signal)
        return cls(
            signal, told, scores, RESOLVED if RESOLVED in values else best, str(version) if version else "people"
        )

    def settles(self, conversation: int) -> bool | None:
        value = self.told.get(conversation)
        return None if value is None else value == self.settling

    def number(self, conversation: int) -> float | None:
        value = self.told.get(conversation)
        if value is None:
            return None
        if value in self.scores:
            return self.scores[value]
        return float(value) if self.signal is not None and self.signal.scale == Signal.Scale.INTERVAL else None


def _main_version(signal: Signal) -> ClassifierVersion | None:
    """The version that scored most conversations; of two with as many, the newer."""
    scored = Count("predictions", filter=Q(predictions__turn=WHOLE, predictions__value__isnull=False))
    versions = ClassifierVersion.objects.filter(classifier__signal=signal).select_related("classifier")
    return versions.annotate(scored=scored).filter(scored__gt=0).order_by("-scored", "-id").first()


def _predicted(version: ClassifierVersion) -> dict[int, str]:
    given = Prediction.objects.filter(version=version, turn=WHOLE, value__isnull=False)
    return {key: value or "" for key, value in given.values_list("conversation_id", "value").iterator(chunk_size=5000)}


def _by_people(signal: Signal) -> dict[int, str]:
    """A ruling, else the plain majority; ties say nothing."""
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    current = Label.objects.filter(signal=signal, turn=WHOLE, superseded_at__isnull=True)
    for key, value in current.values_list("conversation_id", "value").iterator(chunk_size=5000):
        votes[key][value] += 1
    found = {}
    for key, counted in votes.items():
        ranked = counted.most_common(2)
        if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
            found[key] = ranked[0][0]
    rulings = Ruling.objects.filter(signal=signal, turn=WHOLE, superseded_at__isnull=True)
    return found | dict(rulings.values_list("conversation_id", "value"))
