"""What mishearing costs: how a version's agreement with gold falls as the words of a call go wrong.

The bar of a signal is on a statistic such as kappa; here it is turned into the share of agreement at which that
statistic would be met with the answers that these calls got, so that a curve of agreement can pass it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import F, QuerySet

from calibration.evidence import standing
from calibration.models import ClassifierVersion, Prediction, Transcription
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from calibration.stats.outcomes import Transcription as Trend
from calibration.stats.outcomes import transcription_trend
from labeling.models import DatasetVersion, GoldRow, Signal

EDGES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Bands of word error rate, as people speak of them."""
ABOVE, FALLS, BELOW, RISES, THIN = "above", "falls", "below", "rises", "thin"
Unit = tuple[int, int]
"""Conversation and turn."""


@dataclass(frozen=True, slots=True)
class Band:
    """Units whose calls have a word error rate of `low` up to `high` (None: no end), and agreement there."""

    low: float
    high: float | None
    rate: float
    agreement: Estimate


@dataclass(frozen=True, slots=True)
class Hearing:
    """One version on one gold dataset version: bands, fitted curve, and where it passes the bar."""

    version: ClassifierVersion
    gold: DatasetVersion
    bar: float | None
    trend: Trend
    bands: list[Band]
    worst_rate: float

    @property
    def verdict(self) -> str:
        """Whether the fitted curve stays above the bar, falls or lies below it, rises through it, or is not there."""
        if self.trend.curve is None or self.bar is None:
            return THIN
        if self.trend.falls_below_at is not None:
            return FALLS
        ends = [self.fitted(rate) for rate in (0.0, self.worst_rate)]
        return BELOW if max(ends) < self.bar else ABOVE if min(ends) >= self.bar else RISES

    @property
    def words(self) -> str:
        """The verdict for people."""
        if self.verdict == FALLS:
            at = 100 * (self.trend.falls_below_at or 0.0)
            text = f"{self.statistic} on voice falls below the bar when WER passes {at:.0f} %"
            return text if self.falls else text + ", though the fall may be chance"
        if self.verdict == THIN:
            return "too little to fit a curve"
        fall = (
            "agreement falls with word errors"
            if self.falls
            else "agreement does not fall with word errors beyond chance"
        )
        place = {
            ABOVE: f"stays above the bar up to {100 * self.worst_rate:.0f} %",
            BELOW: "is below the bar at every rate",
            RISES: "is below the bar where calls are heard well",
        }[self.verdict]
        return f"{fall}; it {place}"

    @property
    def falls(self) -> bool:
        """Whether agreement falls with the rate beyond chance."""
        trend = self.trend
        return trend.z is not None and trend.p_value is not None and trend.z < 0 and trend.p_value < 0.05

    def fitted(self, rate: float) -> float:
        """Agreement on the fitted curve."""
        intercept, slope = self.trend.curve or (0.0, 0.0)
        return float(1 / (1 + math.exp(-(intercept + slope * rate))))

    @property
    def statistic(self) -> str:
        return self.signal.trust_statistic.replace("_", " ")

    @property
    def signal(self) -> Signal:
        return self.version.classifier.signal


def read() -> list[Hearing]:
    """Every version that answered a call with gold and with a reference, those whose agreement falls first."""
    rates = _rates()
    found = [one for gold in standing.newest().values() for one in _of_gold(gold, rates)]
    order = {FALLS: 0, BELOW: 2, RISES: 2, ABOVE: 1, THIN: 3}
    return sorted(found, key=lambda one: (not one.falls, order[one.verdict], str(one.version)))


def sentence(found: Sequence[Hearing]) -> str:
    """Where trust ends, in words; empty where nothing can be said."""
    falling = [one for one in found if one.verdict == FALLS and one.falls]
    if falling:
        first = min(falling, key=lambda one: one.trend.falls_below_at or 0.0)
        at = 100 * (first.trend.falls_below_at or 0.0)
        return f"{first.statistic} of {first.version} on voice falls below the bar when WER passes {at:.0f} %"
    fitted = [one for one in found if one.verdict != THIN]
    if any(one.falls for one in fitted):
        return f"{next(one for one in fitted if one.falls).version} agrees less the more words are wrong"
    return "no classifier agrees less for it, as far as labels show" if fitted else ""


def _rates() -> dict[int, float]:
    fresh = Transcription.objects.filter(words__gt=0, content_sha256=F("conversation__content_sha256"))
    columns = ("conversation_id", "substitutions", "insertions", "deletions", "words")
    return {key: (s + i + d) / words for key, s, i, d, words in fresh.values_list(*columns)}


def _of_gold(gold: DatasetVersion, rates: Mapping[int, float]) -> list[Hearing]:
    signal = gold.dataset.signal
    if signal.scale == Signal.Scale.INTERVAL:
        return []  # numbers do not agree or disagree
    measured = Transcription.objects.filter(words__gt=0).values("conversation_id")
    labelled = GoldRow.objects.filter(version=gold, value__isnull=False, conversation__in=measured)
    truth: dict[Unit, tuple[str, float]] = {
        (conversation, turn): (str(value), 1 / pi)
        for conversation, turn, value, pi in labelled.values_list(
            "conversation_id", "turn", "value", "inclusion_probability"
        )
        if conversation in rates
    }
    said: dict[int, dict[Unit, str]] = defaultdict(dict)
    for version, conversation, turn, value in _answers(signal, labelled).iterator(chunk_size=5000):
        if (conversation, turn) in truth:
            said[version][conversation, turn] = value or ""
    versions = ClassifierVersion.objects.select_related("classifier__signal").in_bulk(list(said))
    return [_hearing(versions[key], gold, answers, truth, rates) for key, answers in sorted(said.items())]


def _answers(signal: Signal, labelled: QuerySet[GoldRow]) -> QuerySet[Prediction, Any]:
    """What every version said of the labelled calls; a failed answer agrees with nothing."""
    rows = Prediction.objects.filter(
        version__classifier__signal=signal, conversation__in=labelled.values("conversation_id")
    )
    return rows.order_by().values_list("version_id", "conversation_id", "turn", "value")


def _hearing(
    version: ClassifierVersion,
    gold: DatasetVersion,
    answers: Mapping[Unit, str],
    truth: Mapping[Unit, tuple[str, float]],
    rates: Mapping[int, float],
) -> Hearing:
    units = sorted(answers)
    rate = np.array([rates[unit[0]] for unit in units])
    agrees = np.array([float(answers[unit] == truth[unit][0]) for unit in units])
    signal = gold.dataset.signal
    bar = agreement_at_bar(signal, [(truth[unit][0], answers[unit], truth[unit][1]) for unit in units])
    trend = transcription_trend(rate, agrees, bar=bar)
    return Hearing(version, gold, bar, trend, _bands(rate, agrees), float(rate.max()))


def agreement_at_bar(signal: Signal, pairs: Iterable[tuple[str, str, float]]) -> float | None:
    """The share of agreement at which the signal's statistic is at its bar, the answers being as common as they are.

    p = bar·(1 − e) + e, with e the agreement by chance: Σ p(gold)·p(said) for kappa (weighted kappa is taken as the
    plain one), Σ ((p(gold) + p(said)) / 2)² for alpha, Gwet's Σ q(1 − q) / (k − 1) for AC1; accuracy is its own.
    """
    statistic, bar = signal.trust_statistic, signal.trust_at_least
    if statistic == Signal.Statistic.ACCURACY:
        return bar
    gold: Counter[str] = Counter()
    said: Counter[str] = Counter()
    total = 0.0
    for truth, answer, weight in pairs:
        gold[truth] += weight  # type: ignore[assignment]
        said[answer] += weight  # type: ignore[assignment]
        total += weight
    if not total:
        return None
    values = sorted({*gold, *said})
    p, q = (np.array([counted[value] / total for value in values]) for counted in (gold, said))
    mean = (p + q) / 2
    if statistic == Signal.Statistic.AC1:
        categories = max(signal.categories.count(), len(values), 2)
        chance = float((mean * (1 - mean)).sum()) / (categories - 1)
    else:
        chance = float((mean**2).sum()) if statistic == Signal.Statistic.ALPHA else float((p * q).sum())
    return bar * (1 - chance) + chance


def _bands(rate: np.ndarray[Any, Any], agrees: np.ndarray[Any, Any]) -> list[Band]:
    place = np.searchsorted(np.array(EDGES), rate, side="right")
    lows, highs = (0.0, *EDGES), (*EDGES, None)
    found = []
    for number, (low, high) in enumerate(zip(lows, highs, strict=True)):
        mine = place == number
        n = int(mine.sum())
        if n:
            found.append(Band(low, high, float(rate[mine].mean()), wilson(int(agrees[mine].sum()), n)))
    return found
