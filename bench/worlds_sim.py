"""Two hundred seeded worlds: who is blamed, how often wrongly, how late, and with how many labels.

    nice -n 19 python -m bench.worlds_sim [--quick]

Monitors: a year of labels in six slices, looked at every working day. A third of the worlds stay as they were; in the
others one slice falls from some week on. The product's e-process with e-BH over the slices stands beside what people use
instead, on the same labels. Attribution: the product's own function in worlds whose causes are known. Labels: every
slice to a verdict, by topping up what is not settled, against random labels. Prints Markdown tables.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from river import drift as river_drift
from scipy import special

from bench.attribution_sim import CAUSES, bare_chart, claim, make, truth_of, world
from calibration.stats.agreement import disagreement, kappa
from calibration.stats.attribution import attribute
from calibration.stats.betting import capped
from calibration.stats.drift import AGREEMENT_BETS, ALARM, Block, agreement_floor, agreement_monitor
from calibration.stats.intervals import stack, transferred_wilson, wilson
from calibration.stats.tables import ConfusionTable

Floats = NDArray[np.float64]
COUNT = 200
SLICES, WEEKS, DAYS, A_DAY, GOLD = 6, 52, 5, 4, 200
FALL = (0.1, 0.3)
BAR = 0.6


@dataclass(frozen=True)
class Year:
    """Hits [slice, day] of `A_DAY` labels each, gold hits [slice]; the slice that falls (None: none) and its first day."""

    hits: NDArray[np.int64]
    gold: NDArray[np.int64]
    fallen: int | None
    day: int
    rng: np.random.Generator


def year(seed: int) -> Year:
    """Every third world stays as it was."""
    rng = np.random.default_rng((seed, 77))
    agreement = np.repeat(rng.uniform(0.8, 0.93, SLICES)[:, None], WEEKS * DAYS, axis=1)
    gold = rng.binomial(GOLD, agreement[:, 0])
    fallen, day = (None, 0) if seed % 3 == 0 else (int(rng.integers(SLICES)), DAYS * int(rng.integers(8, 30)))
    if fallen is not None:
        agreement[fallen, day:] -= rng.uniform(*FALL)
    return Year(rng.binomial(A_DAY, agreement), gold, fallen, day, rng)


def evidence(one: Year) -> Floats:
    """log e [slice, day] as the monitor has it when it is looked at that day: a week's stake, then that week's labels."""
    floors = np.array([agreement_floor(wilson(int(x), GOLD)) or 0.0 for x in one.gold])
    stakes = np.stack([capped(AGREEMENT_BETS, 1 - value) for value in floors])
    wealth, found = np.full(stakes.shape, -np.inf), np.empty(one.hits.shape)
    for at in range(WEEKS * DAYS):
        week = at // DAYS
        if at % DAYS == 0:
            wealth = np.logaddexp(wealth, -np.log(WEEKS))
        x = one.hits[:, at, None]
        wealth = (
            wealth + x * np.log1p(stakes * (floors[:, None] - 1)) + (A_DAY - x) * np.log1p(stakes * floors[:, None])
        )
        left = WEEKS - week - 1
        mean = special.logsumexp(wealth, axis=1) - np.log(stakes.shape[1])
        found[:, at] = np.logaddexp(mean, np.log(left / WEEKS)) if left else mean
    return found


def by_product(one: Year) -> Floats:
    """The same at the ends of weeks, from the product's own monitor."""
    rows = []
    for hits, gold in zip(one.hits, one.gold, strict=True):
        weeks = hits.reshape(WEEKS, DAYS).sum(axis=1)
        blocks = [Block.of(f"{w:02}", DAYS * A_DAY, int(x)) for w, x in enumerate(weeks)]
        rows.append(agreement_monitor(blocks, calibrated=wilson(int(gold), GOLD)).log_e)
    return np.array(rows)


def e_bh(log_e: Floats) -> NDArray[np.bool_]:
    """Alarms [slice, day]: the k highest, where the k-th is at least ALARM × slices / k."""
    order = -np.sort(-log_e, axis=0)
    bars = np.log(ALARM * SLICES / np.arange(1, SLICES + 1))[:, None]
    most = np.where(order >= bars, np.arange(1, SLICES + 1)[:, None], 0).max(axis=0)
    least = np.where(most > 0, np.take_along_axis(order, np.maximum(most - 1, 0)[None], axis=0)[0], np.inf)
    return log_e >= least


def rolling(one: Year, days: int) -> Floats:
    """Mean agreement of the last `days` days; full windows only (NaN before)."""
    sums = np.cumsum(one.hits, axis=1).astype(float)
    sums[:, days:] -= sums[:, :-days].copy()
    sums[:, : days - 1] = np.nan
    return sums / (days * A_DAY)


def kappa_threshold(one: Year) -> NDArray[np.bool_]:
    """Kappa of the last week, of two even categories, below the bar."""
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * rolling(one, DAYS) - 1 < BAR)


def drop_rule(one: Year) -> NDArray[np.bool_]:
    """The mean of four weeks is 15 % below the calibrated agreement."""
    with np.errstate(invalid="ignore"):
        return np.asarray(rolling(one, 4 * DAYS) < 0.85 * (one.gold / GOLD)[:, None])


def by_river(one: Year, name: str) -> NDArray[np.bool_]:
    """river's detector with its defaults on single errors, the gold first."""
    alarms = np.zeros(one.hits.shape, dtype=bool)
    for h in range(SLICES):
        detector = river_drift.ADWIN() if name == "ADWIN" else river_drift.PageHinkley()
        errors = np.repeat([0, 1], [one.gold[h], GOLD - one.gold[h]])
        for error in one.rng.permutation(errors):
            detector.update(int(error))
        for at, x in enumerate(one.hits[h]):
            for error in one.rng.permutation(np.repeat([0, 1], [x, A_DAY - x])):
                detector.update(int(error))
                alarms[h, at] |= detector.drift_detected
    return alarms


RULES = {
    "**cxlab: e-process, e-BH**": lambda one: e_bh(evidence(one)),
    "kappa of the week below .6": kappa_threshold,
    "4-week mean down 15 %": drop_rule,
    "river ADWIN": lambda one: by_river(one, "ADWIN"),
    "river Page–Hinkley": lambda one: by_river(one, "PageHinkley"),
}


def monitors(count: int) -> None:
    worlds = [year(seed) for seed in range(count)]
    ends = np.abs(evidence(worlds[0])[:, DAYS - 1 :: DAYS] - by_product(worlds[0])).max()
    assert ends < 1e-9, f"the daily recursion is not the monitor's: {ends}"
    quiet = sum(one.fallen is None for one in worlds)
    print(
        f"\n{count} worlds, {quiet} quiet; {SLICES} slices, {DAYS * A_DAY} labels a week each, looked at every working day\n"
    )
    print(
        "| monitor | a false alarm in a quiet year | an unchanged slice flagged in a year with a fall | the fall found | "
        "median weeks until then |\n| --- | --- | --- | --- | --- |"
    )
    for name, rule in RULES.items():
        false = other = found = 0
        weeks = []
        for one in worlds:
            alarms = rule(one)
            if one.fallen is None:
                false += bool(alarms.any())
                continue
            other += bool(np.delete(alarms, one.fallen, axis=0).any())
            late = alarms[one.fallen, one.day :]
            if late.any() and not alarms[one.fallen, : one.day].any():
                found += 1
                weeks.append((int(late.argmax()) + 1) / DAYS)
        changed = len(worlds) - quiet
        delay = f"{np.median(weeks):.0f}" if weeks else "–"
        print(f"| {name} | {false / quiet:.2f} | {other / changed:.2f} | {found / changed:.2f} | {delay} |", flush=True)


def causes(count: int) -> None:
    print(f"\nWho is blamed, in {count} worlds of known cause, by labels a slice and period\n")
    print(
        "| labels | right | undecided | wrong | bare chart wrong | coverage of all parts |\n| --- | --- | --- | --- | --- | --- |"
    )
    worlds = [world(CAUSES[seed % len(CAUSES)], np.random.default_rng((seed, 500))) for seed in range(count)]
    truths = [truth_of(given) for given in worlds]
    for labels in (50, 100, 250):
        found: Counter[str] = Counter()
        inside = parts = 0
        for seed, (given, truth) in enumerate(zip(worlds, truths, strict=True)):
            rng = np.random.default_rng((seed, labels))
            told = attribute(make(given, labels, rng), rng=rng)
            found[claim(told, truth)] += 1
            found["bare"] += not bare_chart(told, truth)
            for name, value in truth.items():
                low, high = told.parts[name].low, told.parts[name].high
                if low is not None and high is not None:
                    parts += 1
                    inside += low - 1e-12 <= value <= high + 1e-12
        shares = " | ".join(f"{found[word] / count:.2f}" for word in ("right", "undecided", "wrong", "bare"))
        print(f"| {labels} | {shares} | {inside / parts:.3f} |", flush=True)


def verdicts(count: int, *, slices: int = 12, step: int = 25, most: int = 3000, confidence: float = 0.999) -> None:
    """Every slice to a verdict: topping up the unsettled, against random labels until the last slice has its own."""
    share = 1 / np.arange(1, slices + 1)
    share /= share.sum()
    ratios, wrong, open_, inside, settled = [], 0, 0, 0, 0
    for seed in range(count):
        rng = np.random.default_rng((seed, 5))
        value = rng.uniform(0.35, 0.85, slices)
        value = np.where(np.abs(value - BAR) < 0.06, value + 0.12 * np.sign(value - BAR), value)
        cells = np.zeros((slices, 2, 2), dtype=int)
        needed, side, held = np.full(slices, most), np.zeros(slices, dtype=int), np.zeros(slices, dtype=bool)
        for n in range(step, most + 1, step):
            left = np.flatnonzero(side == 0)
            for h in left:
                right = (1 + value[h]) / 2
                cells[h] += rng.multinomial(step, [right / 2, (1 - right) / 2, (1 - right) / 2, right / 2]).reshape(
                    2, 2
                )
            if n < 50 or not left.size:
                continue
            tables = stack([ConfusionTable.from_counts(cells[h]) for h in left])
            limits = transferred_wilson(kappa(disagreement("identity", 2)), tables, confidence)
            now = np.where(limits.low >= BAR, 1, np.where(limits.high < BAR, -1, 0))
            held[left] = (limits.low <= value[left]) & (value[left] <= limits.high)
            side[left], needed[left] = now, n
        ratios.append(needed.sum() / (needed / share).max())
        wrong += int((side * np.sign(value - BAR) < 0).sum())
        open_ += int((side == 0).sum())
        inside, settled = inside + int(held[side != 0].sum()), settled + int((side != 0).sum())
    print(
        f"\n{slices} slices to a verdict in each of {count} worlds, topping up what is not settled: "
        f"{np.median(ratios):.2f} of random sampling's labels (90 % of worlds below {np.quantile(ratios, 0.9):.2f}); "
        f"{wrong} wrong, {open_} open of {slices * count}; the interval at the verdict holds the truth in "
        f"{inside / max(settled, 1):.3f}"
    )


def main() -> None:
    count = 30 if "--quick" in sys.argv else COUNT
    monitors(count)
    verdicts(count)
    causes(count)


if __name__ == "__main__":
    main()
