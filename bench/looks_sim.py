"""A year of daily looks at 10,000 streams: false alarms, and the delay after a fall, beside rules tuned to the same rate.

    python -m bench.looks_sim [--quick] [--write]

A stream is a classifier calibrated once on gold, with kappa .775 among three balanced categories (agreement .85), of
which some answers are labelled every day. Looks are daily, in the blocks of a week that the monitor has. The rivals see
the gold labels first, so that they begin with the same knowledge, and their thresholds are set on quiet streams of
their own: once to the rate that the monitor turned out to have, once to 5 %. Page-Hinkley and ADWIN are river's; the
first is computed here for all streams at once, and compared with river's own on some of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from river import drift as river
from scipy import special

from bench.coverage_sim import header, line
from bench.document import write
from calibration.stats.betting import capped
from calibration.stats.drift import AGREEMENT_BETS, ALARM, WEEKS
from calibration.stats.intervals import wilson_limits

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]

DAYS, WEEK, CHANGE = 364, 7, 91
AGREEMENT, CHANCE, GOLD, DAILY = 0.85, 1 / 3, 400, 6
FALLS = (0.05, 0.1, 0.2)
"""Falls of kappa; with three balanced categories agreement falls by two thirds of them."""
DELTAS = (0.005, 0.02, 0.05)
ADWIN_DELTAS = np.geomspace(1e-8, 0.9, 33)
LATEST = DAYS + 1


@dataclass(frozen=True)
class Streams:
    """Agreements [stream, day, label] and [stream, gold label]: 1 where classifier and person agree."""

    daily: Labels
    gold: Labels

    @property
    def hits(self) -> Floats:
        return self.daily.sum(2, dtype=np.int64).astype(float)

    @property
    def errors(self) -> Labels:
        """Single errors in order, gold first: what Page-Hinkley and ADWIN read."""
        return np.concatenate([1 - self.gold, 1 - self.daily.reshape(len(self.daily), -1)], axis=1)


def streams(rng: np.random.Generator, count: int, fall: float = 0.0) -> Streams:
    """Streams of which kappa falls by `fall` on day 91."""
    agreement = np.full(DAYS, AGREEMENT)
    agreement[CHANGE:] -= fall * (1 - CHANCE)
    daily = rng.random((count, DAYS, DAILY), dtype=np.float32) < agreement[None, :, None]
    return Streams(daily.astype(np.uint8), (rng.random((count, GOLD)) < AGREEMENT).astype(np.uint8))


def daily_e_values(hits: Floats, labels: Floats, gold: Floats, size: Floats) -> Floats:
    """log e [stream, day] of the agreement monitor: weekly blocks, the running one looked at every day.

    `hits` and `labels` are [stream, day], `gold` and `size` the agreements among the calibrated labels of each stream.
    """
    critical = np.asarray(special.ndtri(0.9))
    floor = wilson_limits(gold / size, size, critical)[0]
    stakes = np.stack([capped(AGREEMENT_BETS, 1 - value) for value in floor])
    win, lose = np.log1p(stakes * (floor[:, None] - 1)), np.log1p(stakes * floor[:, None])
    wealth, answer = np.full(stakes.shape, -np.inf), np.empty(hits.shape)
    for day in range(hits.shape[1]):
        if day % WEEK == 0:
            wealth = np.logaddexp(wealth, -np.log(WEEKS))
        right = hits[:, day, None]
        wealth = wealth + right * win + (labels[:, day, None] - right) * lose
        mean = special.logsumexp(wealth, axis=1) - np.log(stakes.shape[1])
        left = WEEKS - day // WEEK - 1
        answer[:, day] = np.logaddexp(mean, np.log(left / WEEKS)) if left else mean
    return answer


def first_day(alarms: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first day [stream] on which a rule [stream, day] is broken; LATEST where it never is."""
    return np.where(alarms.any(1), alarms.argmax(1), LATEST)


def e_process(found: Streams) -> NDArray[np.int64]:
    hits = found.hits
    gold = found.gold.sum(1, dtype=np.int64).astype(float)
    log_e = daily_e_values(hits, np.full(hits.shape, float(DAILY)), gold, np.full(len(gold), float(GOLD)))
    return first_day(log_e >= np.log(ALARM))


def weekly_shortfall(found: Streams) -> Floats:
    """How far each week's agreement lies below the calibrated one [stream, week]; looked at on its last day."""
    weekly = found.hits.reshape(len(found.daily), WEEKS, WEEK).sum(2) / (WEEK * DAILY)
    return found.gold.mean(1)[:, None] - weekly


def page_hinkley(errors: Labels, delta: float) -> Floats:
    """Page and Hinkley's statistic [stream, label] as river computes it, for all streams at once (alpha .9999)."""
    mean, total, least = (np.zeros(len(errors)) for _ in range(3))
    answer = np.zeros(errors.shape, dtype=np.float32)
    for seen in range(errors.shape[1]):
        x = errors[:, seen]
        mean = mean + (x - mean) / (seen + 1)
        total = 0.9999 * total + (x - mean - delta)
        least = np.minimum(least, total)
        if seen + 1 >= 30:
            answer[:, seen] = total - least
    return answer


def by_day(statistic: Floats) -> Floats:
    """The largest value of each day [stream, day], of a statistic after each label, gold first."""
    daily: Floats = statistic[:, GOLD:].reshape(len(statistic), DAYS, DAILY).max(2)
    return daily


def adwin(errors: Labels, delta: float) -> NDArray[np.int64]:
    """The first day [stream] on which river's ADWIN drops a part of its window because errors became more."""
    answer = np.full(len(errors), LATEST)
    for place, row in enumerate(errors.tolist()):
        detector = river.ADWIN(delta=delta)
        before = 0.0
        for seen, x in enumerate(row):
            detector.update(x)
            if detector.drift_detected and detector.estimation > before and seen >= GOLD:
                answer[place] = (seen - GOLD) // DAILY
                break
            before = detector.estimation
    return answer


def same_as_river(errors: Labels, delta: float, threshold: float) -> bool:
    """Whether river's own Page-Hinkley raises its first alarm on the same label of each stream."""
    ours = page_hinkley(errors, delta) > threshold
    for row, alarms in zip(errors.tolist(), ours, strict=True):
        detector = river.PageHinkley(delta=delta, threshold=threshold, mode="up")
        first = None
        for seen, x in enumerate(row):
            detector.update(x)
            if detector.drift_detected:
                first = seen
                break
        if first != (int(alarms.argmax()) if alarms.any() else None):
            return False
    return True


@dataclass(frozen=True)
class Tuned:
    """Thresholds of the rivals for one rate of false alarms."""

    weekly: float
    delta: float
    height: float
    adwin: float


def tune(quiet: Streams, rate: float, few: int) -> Tuned:
    """Each rival's threshold such that at most `rate` of quiet streams raise an alarm in a year.

    Of Page-Hinkley's tolerances the one that finds a fall of .1 soonest is taken.
    """
    weekly = float(np.quantile(weekly_shortfall(quiet).max(1), 1 - rate))
    errors = quiet.errors
    fallen = streams(np.random.default_rng(77), few, 0.1).errors
    best = (np.inf, 0.0, 0.0)
    for delta in DELTAS:
        height = float(np.quantile(by_day(page_hinkley(errors, delta)).max(1), 1 - rate))
        late = first_day(by_day(page_hinkley(fallen, delta)) > height)
        best = min(best, (float(np.mean(np.minimum(late, DAYS))), delta, height))
    return Tuned(weekly, best[1], best[2], largest_delta(errors[:few], rate))


def largest_delta(errors: Labels, rate: float) -> float:
    """The largest of ADWIN's deltas that keeps the rate, by halving: more delta, more alarms."""
    low, high = 0, len(ADWIN_DELTAS)
    while high - low > 1:
        middle = (low + high) // 2
        kept = float((adwin(errors, float(ADWIN_DELTAS[middle])) < LATEST).mean()) <= rate
        low, high = (middle, high) if kept else (low, middle)
    return float(ADWIN_DELTAS[low])


def rivals(found: Streams, tuned: Tuned) -> dict[str, NDArray[np.int64]]:
    """The first day of alarm of each rival."""
    weekly = first_day(np.repeat(weekly_shortfall(found) > tuned.weekly, WEEK, axis=1))
    errors = found.errors
    return {
        f"week below calibrated − {tuned.weekly:.3f}": np.where(weekly < LATEST, weekly + WEEK - 1, LATEST),
        f"Page–Hinkley, δ {tuned.delta:g}, λ {tuned.height:.1f}": first_day(
            by_day(page_hinkley(errors, tuned.delta)) > tuned.height
        ),
        f"ADWIN, δ {tuned.adwin:.2g}": adwin(errors, tuned.adwin),
    }


def delay(days: NDArray[np.int64]) -> str:
    """Median days from the change to the alarm, of streams without an earlier one, and the share found."""
    late = days[days >= CHANGE] - CHANGE + 1
    found = late <= DAYS - CHANGE
    median = f"{np.median(np.where(found, late, np.inf)):.0f}" if found.mean() > 0.5 else "–"
    return f"{median} ({found.mean():.0%})"


def looks_table(count: int, few: int) -> Iterator[str]:
    quiet = streams(np.random.default_rng(1), count)
    rate = float((e_process(quiet) < LATEST).mean())
    yield (
        f"**Daily looks for a year**: {count:,} unchanged streams, {DAILY} labels a day, calibrated on {GOLD} at {AGREEMENT}; "
        f"kappa falls on day {CHANGE + 1} ({few:,} streams each): median days to the alarm (share found in the "
        f"{DAYS - CHANGE} days left).\n"
    )
    yield from header("monitor, looked at daily", "false alarms a year", *(f"kappa −{fall:g}" for fall in FALLS))
    fallen = [streams(np.random.default_rng([2, round(100 * fall)]), few, fall) for fall in FALLS]
    yield line(f"**e-process, e ≥ {ALARM:g}**", rate, *(delay(e_process(one)) for one in fallen))
    for level in (rate, 0.05):
        tuned = tune(streams(np.random.default_rng(3), count), level, few)
        if not same_as_river(quiet.errors[:20], tuned.delta, tuned.height):
            raise AssertionError("Page-Hinkley differs from river's")
        rows = [rivals(one, tuned) for one in (quiet, *fallen)]
        for name in rows[0]:
            false = float((rows[0][name] < LATEST).mean())
            yield line(f"tuned to {level:.3f}: {name}", false, *(delay(row[name]) for row in rows[1:]))


def worlds_table(count: int) -> Iterator[str]:
    """Unchanged streams of many kinds, each with a calibration of its own."""
    yield f"\n**Unchanged streams of many kinds**: {count:,} each, agreement .7 to .95, daily looks; streams with any alarm in a year.\n"
    rates = (2, 6, 20, 60)
    yield from header("gold labels", *(f"{rate} labels a day" for rate in rates))
    for size in (100, 200, 400, 1600):
        cells = []
        for rate in rates:
            rng = np.random.default_rng([4, size, rate])
            truth = rng.uniform(0.7, 0.95, count)
            labels = rng.poisson(rate, (count, DAYS)).astype(float)
            hits = rng.binomial(labels.astype(int), truth[:, None]).astype(float)
            gold = rng.binomial(size, truth).astype(float)
            log_e = daily_e_values(hits, labels, gold, np.full(count, float(size)))
            cells.append(float((log_e.max(1) >= np.log(ALARM)).mean()))
        yield line(size, *cells)


def main() -> None:
    quick = "--quick" in sys.argv
    lines = []
    few, many = (100, 300) if quick else (2_000, 10_000)
    for text in chain(looks_table(many, few), worlds_table(many)):
        print(text, flush=True)
        lines.append(text)
    if "--write" in sys.argv:
        write("statistics-drift.md", "looks", lines)


if __name__ == "__main__":
    main()
