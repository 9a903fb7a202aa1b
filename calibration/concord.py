"""Agreement among the people of a queue (or on all labels of a signal): two by two, over time, and by pair of categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from itertools import combinations
from typing import Any

from calibration.annotators import told
from calibration.evidence.cells import VoteGroup
from calibration.evidence.measuring import human_agreement
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from calibration.stats.summary import estimate
from calibration.stats.tables import ConfusionTable
from labeling import dawid_skene
from labeling.adjudication import Scope
from labeling.dawid_skene import Annotator
from labeling.models import Signal
from labeling.values import Scale

FEWEST = 5
"""Periods with fewer units of two labels say nothing worth a point."""
NEWEST = 2000
"""Units of which people's accuracies are told, the newest."""
DAILY = 28
"""Labels of no more than so many days are shown by day, others by week."""


@dataclass(frozen=True, slots=True)
class Together:
    """Two people and the units that both labelled: how often they say the same, and kappa where the scale has categories."""

    first: str
    second: str
    same: Estimate
    kappa: Estimate


@dataclass(frozen=True, slots=True)
class Accuracies:
    """How often each person is right by Dawid and Skene's model, by name; where it cannot be told, why."""

    people: Sequence[Annotator] = ()
    units: int = 0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        if self.reason:
            return {"value": None, "reason": self.reason}
        return {"units": self.units, "people": [asdict(one) for one in self.people]}


@dataclass(frozen=True, slots=True)
class Period:
    """Alpha among people on the units that were finished in one day or week; `start` is its first day."""

    start: date
    units: int
    alpha: Estimate
    guideline: int | None


@dataclass(frozen=True, slots=True)
class Concord:
    """How people agree on one signal."""

    signal: Signal
    alpha: Estimate
    pairs: Sequence[Together]
    accuracies: Accuracies
    period: str
    periods: Sequence[Period]

    def as_dict(self) -> dict[str, Any]:
        return {
            "signal": self.signal.slug,
            "alpha": told(self.alpha),
            "pairs": [
                {"people": [one.first, one.second], "same": told(one.same), "kappa": told(one.kappa)}
                for one in self.pairs
            ],
            "accuracies": self.accuracies.as_dict(),
            "period": self.period,
            "over_time": [
                {"start": one.start.isoformat(), "alpha": told(one.alpha), "guideline": one.guideline}
                for one in self.periods
            ],
        }


@dataclass(slots=True)
class _Unit:
    said: dict[str, str]
    at: datetime | None = None
    guideline: int | None = None


def read(scope: Scope) -> list[Concord]:
    """The agreement of a scope, signal by signal; late labels do not count. One pass over its labels."""
    units: dict[int, dict[tuple[int, int], _Unit]] = defaultdict(dict)
    rows = scope.labels().filter(late=False).order_by("id").values_list(
        "signal_id", "conversation_id", "turn", "annotator__username", "value", "labeled_at", "guideline__version"
    )  # fmt: skip
    for signal, conversation, turn, name, value, at, guideline in rows.iterator(chunk_size=5000):
        unit = units[signal].setdefault((conversation, turn), _Unit({}))
        unit.said[name] = value
        if at is not None and (unit.at is None or at > unit.at):
            unit.at = at
        if guideline is not None:
            unit.guideline = max(guideline, unit.guideline or 0)
    signals = Signal.objects.filter(id__in=units).prefetch_related("categories").order_by("title")
    return [_of_signal(signal, list(units[signal.id].values())) for signal in signals]


def _of_signal(signal: Signal, units: Sequence[_Unit]) -> Concord:
    scale = Scale.of(signal)
    shared = [unit for unit in units if len(unit.said) > 1]
    period, periods = _over_time(scale, shared)
    return Concord(signal, _alpha(scale, shared), _pairs(scale, shared), _accuracies(scale, shared), period, periods)


def _alpha(scale: Scale, units: Sequence[_Unit]) -> Estimate:
    return human_agreement(scale, [_votes(scale, unit) for unit in units])[0]


def _votes(scale: Scale, unit: _Unit) -> VoteGroup:
    votes: dict[str, int] = defaultdict(int)
    for text in unit.said.values():
        for value in scale.decode(text) if scale.kind == "multilabel" else [text]:
            votes[value] += 1
    return VoteGroup((), dict(votes), len(unit.said), 1)


def _pairs(scale: Scale, units: Sequence[_Unit]) -> list[Together]:
    """Every two people with units in common, by name: for talking about the guideline, not for ranking anybody."""
    common: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for unit in units:
        for first, second in combinations(sorted(unit.said), 2):
            common[first, second].append((unit.said[first], unit.said[second]))
    return [
        Together(
            first,
            second,
            wilson(sum(scale.same(one, other) for one, other in pairs), len(pairs)),
            _kappa(scale, pairs),
        )
        for (first, second), pairs in sorted(common.items())
    ]


def _kappa(scale: Scale, pairs: Sequence[tuple[str, str]]) -> Estimate:
    if scale.kind in ("interval", "multilabel"):
        return Estimate.undefined("not_for_this_scale", n=len(pairs))
    code = {value: place for place, value in enumerate(scale.values)}
    known = [(code[one], code[other]) for one, other in pairs if one in code and other in code]
    firsts, seconds = [one for one, _ in known], [other for _, other in known]
    table = ConfusionTable.from_pairs(firsts, seconds, len(scale.values), categories=scale.values)
    return estimate("kappa", table)


def _accuracies(scale: Scale, units: Sequence[_Unit]) -> Accuracies:
    """Of the newest units that two people or more have labelled, where an answer is one category."""
    if scale.kind in ("interval", "multilabel"):
        return Accuracies(reason="not_for_this_scale")
    known = set(scale.values)
    said = [{name: value for name, value in unit.said.items() if value in known} for unit in units[-NEWEST:]]
    ratings = {place: answers for place, answers in enumerate(said) if len(answers) > 1}
    if not ratings:
        return Accuracies(reason="no_pairable_ratings")
    _, model = dawid_skene.of_ratings(ratings, values=scale.values)
    return Accuracies(model.accuracies(), len(ratings)) if model.identified else Accuracies(reason=model.reason)


def _over_time(scale: Scale, units: Sequence[_Unit]) -> tuple[str, list[Period]]:
    """Alpha by the day or week of a unit's last label, with the newest guideline that was read for it."""
    dated = [(unit.at.date(), unit) for unit in units if unit.at is not None]
    if not dated:
        return "week", []
    days = [day for day, _ in dated]
    period = "day" if (max(days) - min(days)).days < DAILY else "week"
    groups: dict[date, list[_Unit]] = defaultdict(list)
    for day, unit in dated:
        groups[day if period == "day" else day - timedelta(days=day.weekday())].append(unit)
    return period, [
        Period(
            start,
            len(found),
            _alpha(scale, found),
            max((unit.guideline for unit in found if unit.guideline is not None), default=None),
        )
        for start, found in sorted(groups.items())
        if len(found) >= FEWEST
    ]
