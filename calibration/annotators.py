"""One annotator's evidence: pace, test–retest, agreement with gold checks and rulings, by category, each with an interval.

For the person and for engineers; never beside anybody else's. What the person sees of hidden repeats and gold checks ends
where their present shift begins, since a count that moved with one answer would tell which item was a check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q

from calibration.evidence.cells import VoteGroup
from calibration.evidence.measuring import human_agreement
from calibration.stats import human, steadiness
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from labeling import pacing, queries
from labeling.models import CheckAnswer, Label, PracticeRound, Signal, User
from labeling.values import Scale

NEWEST = 5000
"""Pairs looked at for each signal, the newest first."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Answers of a person beside other ones: canonical (theirs, the other), newest first."""

    scale: Scale
    pairs: Sequence[tuple[str, str]] = ()

    @property
    def same(self) -> Estimate:
        """How often both say the same; for numbers: nearly the same."""
        return self._share(self.pairs)

    def of(self, category: str) -> Estimate:
        """The same, of those where the other answer is `category` (for multilabel signals: has that label)."""
        if self.scale.kind != "multilabel":
            return self._share([pair for pair in self.pairs if pair[1] == category])
        held = [
            (category in self.scale.decode(one)) for one, other in self.pairs if category in self.scale.decode(other)
        ]
        return wilson(sum(held), len(held))

    def _share(self, pairs: Sequence[tuple[str, str]]) -> Estimate:
        return wilson(sum(self.scale.same(one, other) for one, other in pairs), len(pairs))


@dataclass(frozen=True, slots=True)
class SignalEvidence:
    """What is known of a person's labels of one signal. `by_category` rows: value, label, repeats, known, rulings."""

    signal: Signal
    labels: int
    pace: Estimate
    retest: Estimate
    repeats: Estimate
    implied: Estimate
    known: Estimate
    rulings: Estimate
    by_category: Sequence[dict[str, Any]] = ()

    def as_dict(self) -> dict[str, Any]:
        figures = ("pace", "retest", "repeats", "implied", "known", "rulings")
        return {
            "signal": self.signal.slug,
            "labels": self.labels,
            **{name: told(getattr(self, name)) for name in figures},
            "per_category": [
                {"value": row["value"], **{name: told(row[name]) for name in ("repeats", "known", "rulings")}}
                for row in self.by_category
            ],
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything of one person, signal by signal; `until` is where checks end that are told."""

    person: User
    signals: Sequence[SignalEvidence]
    until: datetime | None
    practice: Sequence[PracticeRound] = field(default_factory=tuple)


def told(found: Estimate) -> dict[str, Any]:
    """An estimate with the number of answers behind it."""
    return found.as_dict() | {"n": found.n}


def read(*, person: User, reader: User, now: datetime) -> Evidence:
    """The evidence of `person` as `reader` may see it; a fixed number of queries for each signal they have labelled."""
    until = queries.shift_began(annotator=person, now=now) if reader.id == person.id else None
    counts = dict(
        Label.objects.filter(annotator=person, superseded_at__isnull=True)
        .order_by()
        .values_list("signal_id")
        .annotate(count=Count("id"))
    )
    signals = Signal.objects.filter(id__in=counts).prefetch_related("categories").order_by("title")
    found = [_of_signal(person, signal, counts[signal.id], until) for signal in signals]
    rounds = PracticeRound.objects.filter(annotator=person, finished_at__isnull=False).select_related("queue")
    return Evidence(person, found, until, list(rounds[:20]))


def _of_signal(person: User, signal: Signal, labels: int, until: datetime | None) -> SignalEvidence:
    scale = Scale.of(signal)
    answers = CheckAnswer.objects.filter(annotator=person, signal=signal, superseded_at__isnull=True)
    if until is not None:
        answers = answers.filter(answered_at__lt=until)
    answers = answers.order_by("-answered_at", "-id")
    repeats = Compared(scale, list(answers.filter(first__isnull=False).values_list("value", "first__value")[:NEWEST]))
    gold = answers.filter(known__isnull=False).values_list("value", "known__row__value")[:NEWEST]
    known = Compared(scale, [(value, right or "") for value, right in gold])
    rulings = Compared(scale, _ruled(person, signal))
    one_answer = signal.is_categorical
    return SignalEvidence(
        signal=signal,
        labels=labels,
        pace=steadiness.median(_seconds(person, signal)),
        retest=_retest(repeats),
        repeats=repeats.same,
        implied=_implied(repeats) if one_answer else Estimate.undefined("not_for_this_scale"),
        known=known.same,
        rulings=rulings.same,
        by_category=[
            {
                "value": category.value,
                "label": category.label,
                "repeats": repeats.of(category.value),
                "known": known.of(category.value),
                "rulings": rulings.of(category.value),
            }
            for category in signal.categories.all()
        ],
    )


def _ruled(person: User, signal: Signal) -> list[tuple[str, str]]:
    """The person's answers beside the rulings that hold on the same units."""
    labels = Label.objects.filter(annotator=person, signal=signal, superseded_at__isnull=True, late=False)
    ruled = labels.filter(
        conversation__rulings__signal_id=F("signal_id"),
        conversation__rulings__turn=F("turn"),
        conversation__rulings__superseded_at__isnull=True,
    )
    return list(ruled.order_by("-id").values_list("value", "conversation__rulings__value")[:NEWEST])


def _seconds(person: User, signal: Signal) -> list[float]:
    """Active seconds of the newest answers, breaks left out."""
    timed = Label.objects.filter(
        Q(seconds__gt=0) & Q(seconds__lt=pacing.BREAK_SECONDS), annotator=person, signal=signal
    )
    return [seconds or 0.0 for seconds in timed.order_by("-id").values_list("seconds", flat=True)[:NEWEST]]


def _retest(repeats: Compared) -> Estimate:
    """Agreement of a person with themselves: kappa for one category an answer, alpha for numbers and sets."""
    scale = repeats.scale
    if not repeats.pairs:
        return Estimate.undefined("no_items")
    if scale.kind in ("interval", "multilabel"):
        return human_agreement(scale, votes_of_pairs(scale, repeats.pairs))[0]
    code = {value: place for place, value in enumerate(scale.values)}
    pairs = [(code[one], code[other]) for one, other in repeats.pairs if one in code and other in code]
    first, second = ([pair[place] for pair in pairs] for place in (1, 0))
    return human.retest(first, second, scale.values)


def votes_of_pairs(scale: Scale, pairs: Iterable[tuple[str, str]]) -> list[VoteGroup]:
    """Each pair as a unit with two ratings; sets by their labels."""
    groups = []
    for pair in pairs:
        votes: dict[str, int] = defaultdict(int)
        for text in pair:
            for value in scale.decode(text) if scale.kind == "multilabel" else [text]:
                votes[value] += 1
        groups.append(VoteGroup((), dict(votes), 2, 1))
    return groups


def _implied(repeats: Compared) -> Estimate:
    same = sum(one == other for one, other in repeats.pairs)
    return steadiness.implied_accuracy(same, len(repeats.pairs), len(repeats.scale.values))
