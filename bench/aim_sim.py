"""How many labels does it take to bring every one of 12 slices to its verdict? Random labels against aimed rounds.

    python -m bench.aim_sim [--quick] [--write]

A slice has its own share of the traffic (as 1/rank), its own kappa and a classifier whose confidence says more or less
about its errors. After every round the report's own rule judges all slices (gold that grew: 99 % intervals, and
Benjamini-Hochberg over the slices); slices with a verdict get no further labels. *Random* labels whatever comes, until the
last slice has its verdict. *Aimed* rounds label only slices that are still open; *aimed, by confidence* draws them by
prediction × confidence band within each slice, which is what `top-up --unsettled` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from bench.coverage_sim import header, line
from bench.document import write
from calibration.stats import intervals, verdicts
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import Stack
from calibration.stats.multiplicity import benjamini_hochberg
from calibration.stats.strata import Strata
from calibration.stats.summary import measure
from labeling.design import FIRST_LOOK, GROWTH, Scored, allocate, confidence_strata, next_round

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SLICES, BAR, MOST = 12, 0.6, 4000
POOL, SLICE = 150, 8000


@dataclass(frozen=True)
class Slice:
    """Shares [stratum, gold, predicted] of one slice, its true kappa, and what a round would allot each stratum."""

    shares: Floats
    kappa: float
    spreads: Floats

    @property
    def weights(self) -> Floats:
        found: Floats = self.shares.sum((1, 2))
        return found


def pool(sharpness: float) -> list[Slice]:
    """Slices of three uneven categories, of many levels of agreement, in the order of their kappa."""
    rng = np.random.default_rng([8, round(10 * sharpness)])
    found = []
    for level in np.linspace(0.04, 0.5, POOL):
        gold = rng.choice(3, SLICE, p=rng.dirichlet((12.0, 8.0, 6.0)))
        hard = rng.beta(level * 5 / sharpness, (1 - level) * 5 / sharpness, SLICE)
        predicted = np.where(rng.random(SLICE) < hard, (gold + rng.integers(1, 3, SLICE)) % 3, gold)
        found.append(of_frame(gold, predicted, 1 - hard, 3))
    return sorted(found, key=lambda one: one.kappa)


def nearest(slices: list[Slice], kappa: float, rng: np.random.Generator) -> Slice:
    """One of the three slices whose kappa is closest to a wanted one."""
    close = sorted(slices, key=lambda one: abs(one.kappa - kappa))[:3]
    return close[int(rng.integers(3))]


def of_frame(gold: Counts, predicted: Counts, confidence: Floats, size: int) -> Slice:
    rows = enumerate(zip(predicted.tolist(), confidence.tolist(), strict=True))
    strata = confidence_strata([Scored(f"{k:06}", str(answer), sure) for k, (answer, sure) in rows])
    names = list(strata.spreads)
    place = np.zeros(len(gold), dtype=np.int64)
    for unit in strata.units:
        place[int(unit.key)] = names.index(unit.stratum)
    cells = np.bincount((place * size + gold) * size + predicted, minlength=len(names) * size * size)
    shares = cells.reshape(len(names), size, size) / len(gold)
    kappa = float(measure("kappa", size)(shares.sum(0), np.asarray(1e9)).value)
    return Slice(shares, kappa, np.array([strata.spreads[name] for name in names]))


class Sampled:
    """The labels of one slice so far, by stratum."""

    def __init__(self, truth: Slice, rng: np.random.Generator, *, stratified: bool) -> None:
        self.truth, self.rng, self.stratified = truth, rng, stratified
        self.cells = np.zeros(truth.shares.shape, dtype=np.int64)

    @property
    def labels(self) -> int:
        return int(self.cells.sum())

    def grow(self, size: int) -> None:
        """Up to `size` labels in all."""
        more = size - self.labels
        if not self.stratified:
            flat = self.truth.shares.ravel()
            self.cells += self.rng.multinomial(more, flat / flat.sum()).reshape(self.cells.shape)
            return
        names = [str(h) for h in range(len(self.cells))]
        populations = {name: round(share * 1e6) for name, share in zip(names, self.truth.weights, strict=True)}
        spreads = dict(zip(names, self.truth.spreads.tolist(), strict=True))
        wanted = allocate(populations, size=size, method="neyman", spreads=spreads, minimum=min(4, size // len(names)))
        missing = np.array(
            [max(wanted[name] - int(cell.sum()), 0) for name, cell in zip(names, self.cells, strict=True)]
        )
        for h, count in enumerate(scaled(missing, more)):
            flat = self.truth.shares[h].ravel()
            self.cells[h] += self.rng.multinomial(count, flat / flat.sum()).reshape(self.cells[h].shape)


def scaled(missing: Counts, more: int) -> Counts:
    """What strata are short of, cut down to `more` labels where some strata have too many already."""
    exact = missing * (more / missing.sum())
    answer = np.floor(exact).astype(np.int64)
    order = np.argsort(answer - exact, kind="stable")
    answer[order[: more - int(answer.sum())]] += 1
    return answer


def judged(sampled: list[Sampled], *, confidence: float) -> tuple[list[str], intervals.Limits]:
    """The report's verdict on every slice."""
    size = sampled[0].cells.shape[1]
    weights = [one.truth.weights / np.maximum(one.cells.sum((1, 2)), 1) for one in sampled]
    if not sampled[0].stratified:
        weights = [np.ones(len(one.cells)) for one in sampled]
    cells = Stack(
        *(
            np.stack([(one.cells * w[:, None, None] ** power).sum(0) for one, w in zip(sampled, weights, strict=True)])
            for power in (0, 1, 2)
        )
    )
    strata = design(sampled, weights) if sampled[0].stratified else None
    chosen = measure("kappa", size)
    limits = intervals.transferred_wilson(chosen, cells, confidence, strata=strata)
    p = verdicts.trust_p("kappa", chosen, cells, BAR, strata=strata)
    shares = cells.shares
    largest = (shares.sum(-1) + shares.sum(-2)).argmax(-1)
    minority = cells.labels - np.take_along_axis(cells.n.sum(-1), largest[:, None], 1)[:, 0]
    adjusted = benjamini_hochberg(verdicts.looked_again(p.tolist(), confidence)).adjusted
    words = []
    for h in range(len(sampled)):
        found = Estimate(float(limits.value[h]), float(limits.low[h]), float(limits.high[h]), n=sampled[h].labels)
        one = verdicts.verdict(
            found, BAR, sampled[h].labels, int(minority[h]), adjusted_p=adjusted[h], slices=len(sampled)
        )
        words.append(one.word)
    return words, limits


def design(sampled: list[Sampled], weights: list[Floats]) -> Strata:
    """Each slice with strata of its own."""
    where = [np.nonzero(one.cells) for one in sampled]
    first = np.cumsum([0, *(len(one.cells) for one in sampled)])
    labels = np.concatenate([one.cells.sum((1, 2)) for one in sampled]).astype(float)
    populations = np.concatenate([one.truth.weights for one in sampled]) * 1e9
    return Strata(
        np.concatenate([np.full(len(w[0]), h) for h, w in enumerate(where)]),
        np.concatenate([w[0] + start for w, start in zip(where, first, strict=False)]),
        np.concatenate([w[1] for w in where]),
        np.concatenate([w[2] for w in where]),
        np.concatenate([one.cells[w] for one, w in zip(sampled, where, strict=True)]).astype(float),
        np.maximum(labels, 1.0),
        np.concatenate(weights) * 1e9,
        populations,
    )


@dataclass
class Outcome:
    """Labels spent in all, verdict of each slice, and whether the interval at the verdict held the truth."""

    labels: float
    words: list[str]
    held: list[bool]


def aimed(slices: list[Slice], rng: np.random.Generator, *, stratified: bool) -> Outcome:
    """Rounds that label the open slices only."""
    sampled = [Sampled(one, rng, stratified=stratified) for one in slices]
    for one in sampled:
        one.grow(FIRST_LOOK)
    words, held = [verdicts.UNPROVEN] * len(slices), [True] * len(slices)
    while True:
        now, limits = judged(sampled, confidence=verdicts.GROWN_CONFIDENCE)
        for h, word in enumerate(now):
            if words[h] == verdicts.UNPROVEN:
                words[h], held[h] = word, bool(limits.low[h] <= slices[h].kappa <= limits.high[h])
        open_ = [h for h, word in enumerate(words) if word == verdicts.UNPROVEN and sampled[h].labels < MOST]
        if not open_:
            return Outcome(sum(one.labels for one in sampled), words, held)
        more = next_round({str(h): sampled[h].labels for h in open_}, unsettled=map(str, open_))
        for h in open_:
            sampled[h].grow(min(sampled[h].labels + more[str(h)], MOST))


def random_labels(slices: list[Slice], shares: Floats, rng: np.random.Generator) -> Outcome:
    """Labels of whatever comes, in rounds that grow alike, until the last slice has its verdict."""
    sampled = [Sampled(one, rng, stratified=False) for one in slices]
    words, held = [verdicts.UNPROVEN] * len(slices), [True] * len(slices)
    total = float(FIRST_LOOK * len(slices))
    while True:
        for one, share in zip(sampled, shares, strict=True):
            one.grow(max(round(total * share), one.labels))
        now, limits = judged(sampled, confidence=verdicts.GROWN_CONFIDENCE)
        for h, word in enumerate(now):
            if words[h] == verdicts.UNPROVEN:
                words[h], held[h] = word, bool(limits.low[h] <= slices[h].kappa <= limits.high[h])
        open_ = [h for h, word in enumerate(words) if word == verdicts.UNPROVEN]
        if not open_ or (
            max(sampled[h].labels for h in open_) >= MOST and min(sampled[h].labels for h in open_) >= MOST
        ):
            return Outcome(total, words, held)
        total *= 1 + GROWTH


def worlds(count: int, sharpness: float) -> Iterator[tuple[list[Slice], Floats, np.random.Generator]]:
    """Slices whose kappa is anything between .35 and .85, but at least .06 from the bar."""
    many = [one for one in pool(sharpness) if abs(one.kappa - BAR) >= 0.06]
    share = 1 / np.arange(1, SLICES + 1)
    share /= share.sum()
    for number in range(count):
        rng = np.random.default_rng([12, number, round(10 * sharpness)])
        slices = [nearest(many, float(wanted), rng) for wanted in rng.uniform(0.35, 0.85, SLICES)]
        yield slices, share, rng


def bar_table(count: int) -> Iterator[str]:
    """Every slice as close to the bar as the pool has it, and below: each *trusted* verdict is false."""
    yield f"\n**12 slices at the bar**, looked at after every round up to {MOST:,} labels: worlds with any *trusted* slice, of {count}.\n"
    yield from header("confidence", "aimed", "aimed, by confidence")
    for name, sharpness in (("dull", 0.5), ("sharp", 2.5)):
        many = sorted((one for one in pool(sharpness) if one.kappa <= BAR), key=lambda one: -one.kappa)[:6]
        false = np.zeros(2)
        for number in range(count):
            rng = np.random.default_rng([13, number])
            slices = [many[int(k)] for k in rng.integers(len(many), size=SLICES)]
            found = (aimed(slices, rng, stratified=stratified) for stratified in (False, True))
            false += [verdicts.TRUSTED in one.words for one in found]
        yield line(name, *(float(value) for value in false / count))


def wrong(outcome: Outcome, slices: list[Slice]) -> int:
    said = {verdicts.TRUSTED: 1, verdicts.UNTRUSTED: -1, verdicts.UNPROVEN: 0}
    return sum(said[word] * np.sign(one.kappa - BAR) < 0 for word, one in zip(outcome.words, slices, strict=True))


def table(count: int) -> Iterator[str]:
    yield f"**12 slices to their verdict at {BAR}**, {count} worlds of each kind: labels, as a part of what random labels take.\n"
    yield from header(
        "confidence", "aimed: median", "90 % of worlds below", "aimed, by confidence: median", "90 % of worlds below",
        "labels: random / aimed / by confidence", "wrong verdicts", "open at 4,000", "99 % interval at the verdict holds",
    )  # fmt: skip
    everything: list[tuple[float, float]] = []
    for name, sharpness in (("dull", 0.5), ("middling", 1.2), ("sharp", 2.5)):
        ratios: list[tuple[float, float]] = []
        labels, mistakes, open_, held = [], np.zeros(3, int), np.zeros(3, int), np.zeros(3)
        for slices, share, rng in worlds(count, sharpness):
            found = (
                random_labels(slices, share, rng), aimed(slices, rng, stratified=False),
                aimed(slices, rng, stratified=True),
            )  # fmt: skip
            labels.append([one.labels for one in found])
            ratios.append((found[1].labels / found[0].labels, found[2].labels / found[0].labels))
            mistakes += [wrong(one, slices) for one in found]
            open_ += [one.words.count(verdicts.UNPROVEN) for one in found]
            held += [float(np.mean(one.held)) for one in found]
        everything += ratios
        first, second = np.array(ratios).T
        yield line(
            name, float(np.median(first)), float(np.quantile(first, 0.9)), float(np.median(second)),
            float(np.quantile(second, 0.9)), " / ".join(f"{value:,.0f}" for value in np.median(labels, axis=0)),
            " / ".join(f"{value / count / SLICES:.4f}" for value in mistakes),
            " / ".join(f"{value / count / SLICES:.3f}" for value in open_),
            " / ".join(f"{value / count:.3f}" for value in held),
        )  # fmt: skip
    first, second = np.array(everything).T
    total = [float(np.quantile(one, level)) for one in (first, second) for level in (0.5, 0.9)]
    yield line("all", *total, "", "", "", "")


def main() -> None:
    lines = []
    quick = "--quick" in sys.argv
    for text in chain(table(8 if quick else 100), bar_table(4 if quick else 200)):
        print(text, flush=True)
        lines.append(text)
    if "--write" in sys.argv:
        write("statistics-drift.md", "aim", lines)


if __name__ == "__main__":
    main()
