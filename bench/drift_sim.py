"""A year of looks at an agreement monitor: false alarms and delay, beside the rules people use instead.

    python -m bench.drift_sim [--quick]

Each world is 52 weeks of labels from a classifier calibrated once on gold at .85. In quiet worlds agreement stays; in
the others it falls from week 13 on. Every rule looks every week. Prints Markdown tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from calibration.stats.betting import capped
from calibration.stats.drift import (
    AGREEMENT_BETS,
    MIX_BETS,
    Block,
    Cell,
    Day,
    agreement_monitor,
    canary_monitor,
    mix_monitor,
)
from calibration.stats.intervals import wilson, wilson_limits

Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats, int], NDArray[np.bool_]]

WEEKS, LABELS, GOLD, AGREEMENT, CHANGE = 52, 40, 400, 0.85, 13


def floors(gold: Floats, size: int, confidence: float) -> Floats:
    """One-sided Wilson limits of the calibrations of all worlds."""
    return wilson_limits(gold / size, np.full(len(gold), float(size)), np.asarray(special.ndtri(confidence)))[0]


def e_values(hits: Floats, floor: Floats, labels: int) -> Floats:
    """log e [world, week] of the monitor, for all worlds at once; the same recursion as `betting.e_monitor`."""
    stakes = np.stack([capped(AGREEMENT_BETS, 1 - value) for value in floor])
    wealth = np.full(stakes.shape, -np.inf)
    answer = np.empty(hits.shape)
    for week in range(hits.shape[1]):
        x = hits[:, week, None]
        gain = x * np.log1p(stakes * (floor[:, None] - 1)) + (labels - x) * np.log1p(stakes * floor[:, None])
        wealth = np.logaddexp(wealth, -np.log(WEEKS)) + gain
        mean = special.logsumexp(wealth, axis=1) - np.log(stakes.shape[1])
        left = WEEKS - week - 1
        answer[:, week] = np.logaddexp(mean, np.log(left / WEEKS)) if left else mean
    return answer


def e_rule(confidence: float = 0.9, alarm: float = 20.0) -> Rule:
    return lambda hits, gold, labels: e_values(hits, floors(gold, GOLD, confidence), labels) >= np.log(alarm)


def weekly_threshold(hits: Floats, gold: Floats, labels: int) -> NDArray[np.bool_]:
    """Alarm in any week whose agreement is five points below the calibrated one."""
    return np.asarray(hits / labels < (gold / GOLD)[:, None] - 0.05)


def weekly_test(hits: Floats, gold: Floats, labels: int) -> NDArray[np.bool_]:
    """Alarm in any week whose one-sided binomial p is below .05."""
    return np.asarray(stats.binom.cdf(hits, labels, (gold / GOLD)[:, None]) < 0.05)


def cusum(hits: Floats, gold: Floats, labels: int, height: float = 4.0, shift: float = 0.10) -> NDArray[np.bool_]:
    """Log-likelihood-ratio CUSUM against a fall by ten points."""
    good = np.clip(gold / GOLD, 0.2, 0.999)[:, None]
    bad = good - shift
    step = hits * np.log(bad / good) + (labels - hits) * np.log((1 - bad) / (1 - good))
    level, answer = np.zeros(len(hits)), np.zeros(hits.shape, dtype=bool)
    for week in range(hits.shape[1]):
        level = np.maximum(level + step[:, week], 0.0)
        answer[:, week] = level >= height
    return answer


def page_hinkley(
    hits: Floats, gold: Floats, labels: int, delta: float = 0.005, threshold: float = 50.0
) -> NDArray[np.bool_]:
    """Page-Hinkley on single errors with its usual defaults; a week's labels come in one lump at its mean."""
    errors = 1 - hits / labels
    seen, mean = 0, np.zeros(len(hits))
    level, least = np.zeros(len(hits)), np.zeros(len(hits))
    answer = np.zeros(hits.shape, dtype=bool)
    for week in range(hits.shape[1]):
        for _ in range(labels):
            seen += 1
            mean = mean + (errors[:, week] - mean) / seen
            level = level + errors[:, week] - mean - delta
            least = np.minimum(least, level)
        answer[:, week] = level - least > threshold
    return answer


RULES: dict[str, Rule] = {
    "**e-process, floor 90 %, e ≥ 20**": e_rule(),
    "floor 80 %, e ≥ 20": e_rule(0.8),
    "floor 97.5 %, e ≥ 40": e_rule(0.975, 40.0),
    "weekly: 5 points below calibrated": weekly_threshold,
    "weekly binomial p < .05": weekly_test,
    "CUSUM h = 4 (10 points)": cusum,
    "CUSUM h = 7 (10 points)": lambda hits, gold, labels: cusum(hits, gold, labels, 7.0),
    "Page–Hinkley (δ .005, λ 50)": page_hinkley,
}


def worlds(rng: np.random.Generator, count: int, fall: float) -> tuple[Floats, Floats]:
    """Weekly agreements [world, week] and gold agreements [world]."""
    agreement = np.full(WEEKS, AGREEMENT)
    agreement[CHANGE:] -= fall
    return rng.binomial(LABELS, agreement, (count, WEEKS)).astype(float), rng.binomial(GOLD, AGREEMENT, count).astype(
        float
    )


def delay(alarms: NDArray[np.bool_]) -> str:
    """Median weeks from the change to the first alarm at or after it; the share found in brackets where below half."""
    late = alarms[:, CHANGE:]
    found = late.any(axis=1)
    weeks = np.where(found, late.argmax(axis=1) + 1, np.inf)
    median = float(np.median(weeks)) if found.mean() > 0.5 else None
    return f"{median:.0f}" if median is not None else f"({found.mean():.0%})"


def agreement_table(count: int) -> None:
    print(f"\n{count} worlds, {LABELS} labels a week, {GOLD} gold at {AGREEMENT}, change in week {CHANGE + 1}\n")
    print(
        "| monitor, looked at weekly | false alarms a year | −5 points | −10 | −20 |\n| --- | --- | --- | --- | --- |"
    )
    for name, rule in RULES.items():
        cells = []
        for fall in (0.0, 0.05, 0.10, 0.20):
            hits, gold = worlds(np.random.default_rng(20 + round(100 * fall)), count, fall)
            alarms = rule(hits, gold, LABELS)
            cells.append(f"{alarms.any(axis=1).mean():.3f}" if fall == 0 else delay(alarms))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def robustness_table(count: int) -> None:
    """False alarms of the e-process with other calibrations and volumes, the calibration redrawn in each world."""
    print("\n| agreement | gold | labels a week | false alarms a year |\n| --- | --- | --- | --- |")
    rng = np.random.default_rng(77)
    worst = 0.0
    for agreement in (0.7, 0.85, 0.95):
        for size in (100, 400, 1600):
            for labels in (10, 40, 160):
                hits = rng.binomial(labels, agreement, (count, WEEKS)).astype(float)
                gold = rng.binomial(size, agreement, count).astype(float)
                alarms = e_values(hits, floors(gold, size, 0.9), labels) >= np.log(20)
                worst = max(worst, float(alarms.any(axis=1).mean()))
                print(f"| {agreement} | {size} | {labels} | {alarms.any(axis=1).mean():.3f} |", flush=True)
    print(f"\nworst {worst:.3f}")


def mix_table(count: int) -> None:
    """Over-dispersed daily shares of three categories: false alarms in a year, days to detect."""
    reference = np.array([0.3, 0.5, 0.2])
    print("\n| mix monitor, 400 predictions a day, over-dispersed | found | median days |\n| --- | --- | --- |")
    for fall in (0.0, 0.05, 0.10):
        rng = np.random.default_rng(5)
        found, days = 0, []
        for _ in range(count):
            shares = np.tile(reference, (365, 1))
            shares[90:] += np.array([fall, -fall / 2, -fall / 2])
            drawn = np.stack([rng.multinomial(400, rng.dirichlet(share * 80)) for share in shares])
            series = [Day(f"{number:03}", tuple(day.tolist())) for number, day in enumerate(drawn)]
            result = mix_monitor(series, categories=("a", "b", "c"), reference=tuple(reference), bets=MIX_BETS)
            if result.alarmed_at is not None:
                found += 1
                days.append(int(result.alarmed_at) - 90)
        print(f"| +{100 * fall:.0f} points | {found / count:.2f} | {np.median(days) if days else '–'} |", flush=True)


def uneven_table(count: int) -> None:
    """Hard items (a tenth, half of them wrong) drawn eight times as often: weighted and unweighted monitors."""
    rng = np.random.default_rng(40)
    hard, easy = 0.5, 0.89
    truth = 0.1 * hard + 0.9 * easy
    alarms = {"weighted": 0, "unweighted": 0}
    for _ in range(count):
        calibrated = wilson(int(rng.binomial(GOLD, truth)), GOLD)
        weeks = [(19, int(rng.binomial(19, hard)), 21, int(rng.binomial(21, easy))) for _ in range(WEEKS)]
        weighted = [Block(f"{w}", (Cell(n, x), Cell(m, y, 8.0)), 8.0) for w, (n, x, m, y) in enumerate(weeks)]
        plain = [Block.of(f"{w}", n + m, x + y) for w, (n, x, m, y) in enumerate(weeks)]
        alarms["weighted"] += agreement_monitor(weighted, calibrated=calibrated).alarmed
        alarms["unweighted"] += agreement_monitor(plain, calibrated=calibrated).alarmed
    print("\n| hard items over-sampled 8 × | false alarms a year |\n| --- | --- |")
    for name, found in alarms.items():
        print(f"| {name} | {found / count:.3f} |", flush=True)


def canary_table(count: int) -> None:
    """200 canaries a week, three repeats at pinning; a change makes more answers flip from week 14 on."""
    print("\n| noise of the version | false alarms a year | +3 points: found, weeks | +10 points: weeks |")
    print("| --- | --- | --- | --- |")
    for noise in (0.0, 0.02, 0.08):
        cells = []
        for more in (0.0, 0.03, 0.10):
            rng, found = np.random.default_rng(60), []
            for _ in range(count):
                flips = int(rng.binomial(600, noise))
                rates = np.full(WEEKS, noise)
                rates[CHANGE:] += more
                rounds = [Block.of(f"{w:02}", 200, 200 - int(x)) for w, x in enumerate(rng.binomial(200, rates))]
                alarm = canary_monitor(rounds, flips_at_pinning=flips, answers_at_pinning=600).alarmed_at
                found.append(None if alarm is None else int(alarm) - CHANGE + 1)
            late = [weeks for weeks in found if weeks is not None]
            share, median = len(late) / count, f"{np.median(late):.0f}" if late else "–"
            cells.append(f"{share:.3f}" if more == 0 else f"{share:.0%}, {median}")
        print(f"| {noise:.0%} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    quick = "--quick" in sys.argv
    agreement_table(500 if quick else 4000)
    robustness_table(300 if quick else 2000)
    uneven_table(40 if quick else 500)
    canary_table(40 if quick else 300)
    mix_table(10 if quick else 100)


if __name__ == "__main__":
    main()
