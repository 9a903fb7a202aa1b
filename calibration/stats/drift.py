"""Drift monitors that may be looked at every day, with a guarantee over a whole year.

Agreement and recall (from a few fresh labels), predicted shares (without labels), and the answers to canaries. Each is
a function over blocks of days or weeks that returns the e-value after every block; the engine is in `betting`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.stats.betting import capped, change_point, e_monitor, first_at
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import t_quantile, wilson

Floats = NDArray[np.float64]
Kind = Literal["agreement", "mix", "silent_change", "asr"]

AGREEMENT_BETS = (0.1, 0.2, 0.4, 0.8, 1.6)
MIX_BETS = (0.5, 1.0, 2.0, 4.0)
CANARY_BETS = (1.0, 2.0, 4.0, 8.0)
WEEKS, DAYS = 52, 365
ALARM, CANARY_ALARM, AMBER = 20.0, 40.0, 5.0
MIX_MARGIN = 0.02
PSI_NOTICE = 0.02
LARGEST_LOG = 690.0
"""e-values are reported up to e**690 (about 1e299): finite, as JSON wants it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Labels of equal weight (1 / inclusion probability) and how many of them agree with the classifier.

    Of graded agreements (0..1) pass the sum: the process is then a lower bound of the exact one, hence still valid.
    """

    labels: int
    agreements: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Block:
    """What was labelled of one day or week. `heaviest` is the largest weight its design could have drawn."""

    key: str
    cells: tuple[Cell, ...]
    heaviest: float | None = None

    @classmethod
    def of(cls, key: str, labels: int, agreements: int) -> Block:
        """A block of evenly drawn labels."""
        return cls(key, (Cell(labels, agreements),))


@dataclass(frozen=True, slots=True)
class Drift:
    """What a monitor saw: one e-value after each block, where it raised the alarm and since when things have changed.

    `limit` is what the null hypothesis allows (m0), `reference` what was calibrated, `recent` what was seen since the
    change point, or over all blocks where there was no alarm. `since` is None without an alarm.
    """

    kind: Kind
    subject: str
    keys: tuple[str, ...]
    log_e: tuple[float, ...]
    alarm_at: float
    alarmed_at: str | None
    warned_at: str | None
    since: str | None
    limit: float | None
    reference: Estimate
    recent: Estimate
    guarantee: str
    reason: str | None = None

    @property
    def e_values(self) -> tuple[float, ...]:
        """One e-value after each block."""
        return tuple(math.exp(min(value, LARGEST_LOG)) for value in self.log_e)

    @property
    def e_value(self) -> float:
        """The e-value now; 1 before the first block."""
        return self.e_values[-1] if self.log_e else 1.0

    @property
    def alarmed(self) -> bool:
        return self.alarmed_at is not None

    def as_dict(self) -> dict[str, Any]:
        """The evidence of a drift flag, as JSON."""
        names = {"agreement": "agreement", "mix": "share", "silent_change": "flips", "asr": "wer"}
        evidence: dict[str, Any] = {"e_value": self.e_value, "alarm_at": self.alarm_at}
        evidence |= {names[self.kind]: self.recent.as_dict(), "calibrated": self.reference.as_dict()}
        answer = {"kind": self.kind, "subject": self.subject, "since": self.since, "alarmed_at": self.alarmed_at}
        return answer | {"limit": self.limit, "evidence": evidence, "guarantee": self.guarantee, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Day:
    """How often each category was predicted on one day."""

    key: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PsiNotice:
    """The population stability index of one week; a notice carries no guarantee."""

    key: str
    value: float
    noticed: bool


@dataclass(frozen=True, slots=True)
class MixDrift:
    """The monitor of predicted shares: one process for each category and side, the alarm of whichever came first."""

    sides: tuple[Drift, ...]
    alarmed_at: str | None
    since: str | None
    leading: Drift | None
    psi: tuple[PsiNotice, ...]
    guarantee: str


@dataclass(frozen=True, slots=True)
class JointAlarm:
    """Which of several slices are flagged at this look, and the e-value that the next one would need."""

    flagged: tuple[str, ...]
    alarm_at: float
    guarantee: str


def agreement_floor(calibrated: Estimate, *, confidence: float = 0.9) -> float | None:
    """m0: the one-sided Wilson lower limit of the calibrated agreement; None where nothing was calibrated."""
    size = calibrated.effective_n if calibrated.effective_n is not None else calibrated.n
    if calibrated.value is None or not size:
        return None
    return wilson(calibrated.value * size, size, 2 * confidence - 1).low


def agreement_monitor(
    blocks: Sequence[Block],
    *,
    calibrated: Estimate,
    subject: str = "",
    horizon: int = WEEKS,
    bets: Sequence[float] = AGREEMENT_BETS,
    alarm_at: float = ALARM,
    floor_confidence: float = 0.9,
) -> Drift:
    """Has agreement fallen below what was calibrated? For recall, pass the labels of one gold category.

    `calibrated` is the agreement on the gold set with its (effective) size; the floor m0 is its one-sided lower limit.
    """
    keys = tuple(block.key for block in blocks)
    floor = agreement_floor(calibrated, confidence=floor_confidence)
    condition = (
        "agreement stays at the calibrated level" if floor is None else f"agreement is at least {100 * floor:.1f} %"
    )
    guarantee = promise(alarm_at, condition, horizon)
    if floor is None:
        reason = calibrated.reason or "no_items"
        return no_drift("agreement", subject, keys, alarm_at, calibrated, guarantee, reason)
    stakes = capped(bets, 1 - floor)
    rows = [_block_increment(block, floor, stakes) for block in blocks]
    increments = np.array(rows).reshape(len(blocks), len(stakes))
    log_e = e_monitor(increments, horizon=horizon)
    start = change_point(increments, log_e, alarm_at)
    recent = _pooled_agreement(blocks[start or 0 :])
    return drift_of("agreement", subject, keys, log_e, alarm_at, start, floor, calibrated, recent, guarantee)


def canary_monitor(
    rounds: Sequence[Block],
    *,
    flips_at_pinning: float,
    answers_at_pinning: int,
    subject: str = "",
    horizon: int = WEEKS,
    unit: str = "weeks",
    bets: Sequence[float] = CANARY_BETS,
    alarm_at: float = CANARY_ALARM,
) -> Drift:
    """Does a pinned version answer its canaries differently than when it was pinned?

    A block's `agreements` are answers equal to the pinned ones. The version's own noise is known from repeats at
    pinning; what is allowed is the one-sided 97.5 % upper limit of those flips, and the alarm at 40 spends the rest of
    the five percent.
    """
    keys = tuple(block.key for block in rounds)
    noise = wilson(flips_at_pinning, answers_at_pinning)
    guarantee = promise(alarm_at / 2, "the version answers as it did when it was pinned", horizon, unit)
    if noise.high is None:
        return no_drift("silent_change", subject, keys, alarm_at, noise, guarantee, "no_items")
    stakes = capped(bets, noise.high)
    rows = [_flip_increment(block, noise.high, stakes) for block in rounds]
    increments = np.array(rows).reshape(len(rounds), len(stakes))
    log_e = e_monitor(increments, horizon=horizon)
    start = change_point(increments, log_e, alarm_at)
    same = _pooled_agreement(rounds[start or 0 :])
    recent = wilson(max(1.0 - (same.value or 0.0), 0.0) * same.n, same.n)
    return drift_of("silent_change", subject, keys, log_e, alarm_at, start, noise.high, noise, recent, guarantee)


def mix_monitor(
    days: Sequence[Day],
    *,
    categories: Sequence[str],
    reference: Sequence[float],
    horizon: int = DAYS,
    margin: float = MIX_MARGIN,
    bets: Sequence[float] = MIX_BETS,
) -> MixDrift:
    """Have the predicted shares left the reference by more than `margin`, on either side? Needs no labels.

    Each day's share is one observation, so that days that vary more than coin tosses raise no false alarm. Days without
    predictions are passed over. An alarm says "population or classifier", never which.
    """
    target = np.asarray(reference, dtype=float)
    if len(categories) != len(target) or np.any(target < 0) or not math.isclose(float(target.sum()), 1, abs_tol=1e-6):
        raise StatisticsError("the reference has one share for each category, and they sum to 1")
    if any(len(day.counts) != len(target) or min(day.counts) < 0 for day in days):
        raise StatisticsError("a day has one count for each category, none negative")
    counts = np.array([day.counts for day in days], dtype=float).reshape(len(days), len(target))
    seen = counts.sum(axis=1) > 0
    keys = tuple(day.key for day, some in zip(days, seen, strict=True) if some)
    shares = counts[seen] / counts[seen].sum(axis=1, keepdims=True)
    alarm_at = ALARM * 2 * len(target)
    condition = f"each day's expected share stays within {math.floor(1000 * margin) / 10:g} points of the reference"
    guarantee = promise(ALARM, condition, horizon, "days")
    sides = tuple(
        _mix_side(
            f"{category} {side}", keys, shares[:, index], float(target[index]), margin, sign, bets, alarm_at, horizon
        )
        for index, category in enumerate(categories)
        for side, sign in (("up", 1), ("down", -1))
    )
    raised = [side for side in sides if side.alarmed_at is not None]
    leading = min(raised, key=lambda side: keys.index(side.alarmed_at or ""), default=None)
    psi = _weekly_psi(keys, counts[seen], target)
    alarmed_at, since = (leading.alarmed_at, leading.since) if leading else (None, None)
    return MixDrift(sides, alarmed_at, since, leading, psi, guarantee)


def e_bh(e_values: Mapping[str, float], *, alarm_at: float = ALARM) -> JointAlarm:
    """Which of H slices are flagged when all are looked at together (e-BH, Wang & Ramdas 2022).

    The k slices with the largest e-values are flagged for the largest k whose k-th value is at least alarm·H/k. The
    e-values may depend on each other in any way.
    """
    ranked = sorted(e_values, key=lambda name: (-e_values[name], name))
    total = len(ranked)
    passing = [k for k in range(1, total + 1) if e_values[ranked[k - 1]] >= alarm_at * total / k]
    count = max(passing, default=0)
    bar = alarm_at * total / min(count + 1, total) if total else alarm_at
    share = 100 / alarm_at
    text = f"of the slices flagged at a look, on average at most {share:g} % are unchanged"
    return JointAlarm(tuple(sorted(ranked[:count])), bar, text)


def population_stability(counts: ArrayLike, reference: ArrayLike) -> float:
    """PSI = Σ(p − q)·ln(p/q), with half a prediction added to each category so that an empty one stays finite."""
    observed, target = np.asarray(counts, dtype=float), np.asarray(reference, dtype=float)
    total, size = observed.sum(), len(observed)
    if not total:
        raise StatisticsError("the index of no predictions is undefined")
    p = (observed + 0.5) / (total + 0.5 * size)
    q = (target * total + 0.5) / (total + 0.5 * size)
    return float(np.sum((p - q) * np.log(p / q)))


def _cells(block: Block) -> tuple[Floats, Floats, Floats]:
    """Labels, agreements and weights (scaled by the heaviest possible) of a block's cells."""
    labels = np.array([cell.labels for cell in block.cells], dtype=float)
    agreements = np.array([cell.agreements for cell in block.cells], dtype=float)
    weights = np.array([cell.weight for cell in block.cells], dtype=float)
    top = float(weights.max(initial=0.0)) if block.heaviest is None else block.heaviest
    if np.any(labels < agreements) or np.any(agreements < 0) or not np.all((weights > 0) & (weights <= top)):
        raise StatisticsError(f"block {block.key!r}: at most as many agreements as labels, weights above 0")
    return labels, agreements, weights / (top or 1.0)


def _block_increment(block: Block, floor: float, stakes: Floats) -> Floats:
    """Logarithm of a block's factor for each bet: ∏(1 + λ(m0 − x)·w/w_max)."""
    labels, agreements, weights = _cells(block)
    stake = stakes * weights[:, None]
    hits, misses = agreements[:, None], (labels - agreements)[:, None]
    gains: Floats = hits * np.log1p(stake * (floor - 1)) + misses * np.log1p(stake * floor)
    total: Floats = gains.sum(axis=0)
    return total


def _flip_increment(block: Block, allowed: float, stakes: Floats) -> Floats:
    """Logarithm of a round's factor for each bet: ∏(1 + λ(x − m0)), x = 1 for a changed answer."""
    labels, same, _ = _cells(block)
    flips, kept = float((labels - same).sum()), float(same.sum())
    gains: Floats = flips * np.log1p(stakes * (1 - allowed)) + kept * np.log1p(-stakes * allowed)
    return gains


def _mix_side(
    subject: str,
    keys: tuple[str, ...],
    shares: Floats,
    target: float,
    margin: float,
    sign: int,
    bets: Sequence[float],
    alarm_at: float,
    horizon: int,
) -> Drift:
    """The process of one category on one side of its reference."""
    limit = min(max(target + sign * margin, 0.0), 1.0)
    stakes = capped(bets, limit if sign > 0 else 1 - limit)
    increments = np.log1p(stakes * (sign * (shares - limit))[:, None])
    log_e = e_monitor(increments, horizon=horizon)
    start = change_point(increments, log_e, alarm_at)
    guarantee = promise(alarm_at, f"the expected share stays on its side of {limit:.3f}", horizon, "days")
    recent = _mean_of_days(shares[start or 0 :])
    reference = Estimate(target, method="reference share")
    return drift_of("mix", subject, keys, log_e, alarm_at, start, limit, reference, recent, guarantee)


def _mean_of_days(shares: Floats) -> Estimate:
    """The mean daily share; days, not predictions, are the sample."""
    days = len(shares)
    if not days:
        return Estimate.undefined("no_items")
    mean = float(shares.mean())
    if days == 1:
        return Estimate(mean, method="share of one day", n=1)
    reach = float(t_quantile(0.95, np.asarray(days - 1.0))) * float(shares.std(ddof=1)) / math.sqrt(days)
    return Estimate(mean, max(mean - reach, 0.0), min(mean + reach, 1.0), "t of daily shares", days)


def _weekly_psi(keys: tuple[str, ...], counts: Floats, target: Floats) -> tuple[PsiNotice, ...]:
    """The index of each seven days that have predictions, named by their last."""
    notices = []
    for end in range(7, len(keys) + 1, 7):
        value = population_stability(counts[end - 7 : end].sum(axis=0), target)
        notices.append(PsiNotice(keys[end - 1], value, value > PSI_NOTICE))
    return tuple(notices)


def _pooled_agreement(blocks: Sequence[Block]) -> Estimate:
    """Weighted agreement over blocks, with the Wilson interval at Kish's size."""
    cells = [cell for block in blocks for cell in block.cells if cell.labels]
    total = sum(cell.labels for cell in cells)
    if not total:
        return Estimate.undefined("no_items")
    weight = math.fsum(cell.labels * cell.weight for cell in cells)
    share = math.fsum(cell.agreements * cell.weight for cell in cells) / weight
    size = weight**2 / math.fsum(cell.labels * cell.weight**2 for cell in cells)
    found = wilson(min(share, 1.0) * size, size)
    return Estimate(found.value, found.low, found.high, found.method, total, size)


def drift_of(
    kind: Kind,
    subject: str,
    keys: tuple[str, ...],
    log_e: Floats,
    alarm_at: float,
    start: int | None,
    limit: float,
    reference: Estimate,
    recent: Estimate,
    guarantee: str,
) -> Drift:
    """What was seen, from the e-values after each block and the block `start` of the change."""
    alarm, warning = first_at(log_e, alarm_at), first_at(log_e, alarm_at * AMBER / ALARM)
    return Drift(
        kind,
        subject,
        keys,
        tuple(float(value) for value in log_e),
        alarm_at,
        None if alarm is None else keys[alarm],
        None if warning is None else keys[warning],
        None if start is None else keys[start],
        limit,
        reference,
        recent,
        guarantee,
    )


def no_drift(
    kind: Kind, subject: str, keys: tuple[str, ...], alarm_at: float, reference: Estimate, guarantee: str, reason: str
) -> Drift:
    """A monitor that has nothing to compare with, and says so."""
    nothing = Estimate.undefined("no_items")
    return Drift(kind, subject, keys, (), alarm_at, None, None, None, None, reference, nothing, guarantee, reason)


def promise(alarm_at: float, condition: str, horizon: int, unit: str = "weeks") -> str:
    """The promise, as it is printed beside every flag."""
    chance = 100 / alarm_at
    return (
        f"false alarms on at most {chance:.2g} % of unchanged streams in {horizon} {unit}, however often one looks, "
        f"as long as {condition}"
    )
