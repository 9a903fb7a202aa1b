"""Do intervals hold their level where labels are drawn by strata or by how unsure the classifier is, and how wide are they?

    python -m bench.designs_sim [--quick] [--write]

Worlds of a classifier whose confidence says more or less about its errors, in 2, 3 and 5 categories. Labels are drawn by
prediction × confidence band with the allocation that cxlab plans, in proportion to slices, evenly, or with a chance that
grows with predicted error. `by strata` is the variance that reports use for such gold, `weights alone` forgets the strata.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.coverage_sim import header, line
from bench.document import write
from calibration.stats import intervals
from calibration.stats.intervals import Stack
from calibration.stats.strata import Strata
from calibration.stats.summary import measure
from labeling.design import Scored, allocate, confidence_strata

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FRAME = 40_000
SIZES = (50, 100, 200, 500, 1000)
SHARPNESS = {"dull": 0.5, "middling": 1.2, "sharp": 2.5}
STATISTICS = ("kappa", "alpha", "accuracy")
MINIMUM = 4


@dataclass(frozen=True)
class World:
    """Shares [stratum, gold, predicted] of a frame, its parts in a slice of about a third, and the planned spreads."""

    shares: Floats
    sliced: Floats
    spreads: Floats
    chances: Floats
    """Relative chance of a unit of each stratum where probability grows with predicted error."""

    @property
    def weights(self) -> Floats:
        """Each stratum's share of the frame."""
        found: Floats = self.shares.sum((1, 2))
        return found


def margin(size: int, skewed: bool) -> Floats:
    if not skewed:
        return np.full(size, 1 / size)
    return np.concatenate([[0.8], np.full(size - 1, 0.2 / (size - 1))])


@cache
def world(size: int, skewed: bool, sharpness: float) -> World:
    """Errors come with a probability of their own, which the classifier tells truly as 1 − confidence."""
    rng = np.random.default_rng([size, int(skewed), round(10 * sharpness)])
    gold = rng.choice(size, FRAME, p=margin(size, skewed))
    hard = rng.beta(1.2 / sharpness, 4 / sharpness, FRAME)
    predicted = np.where(rng.random(FRAME) < hard, (gold + rng.integers(1, size, FRAME)) % size, gold)
    inside = rng.random(FRAME) < np.where(gold == 0, 0.25, 0.45)
    rows = enumerate(zip(predicted.tolist(), hard.tolist(), strict=True))
    scored = [Scored(str(place), str(answer), 1 - error) for place, (answer, error) in rows]
    strata = confidence_strata(scored)
    names = list(strata.spreads)
    place = np.array([names.index(unit.stratum) for unit in strata.units])
    order = np.array([int(unit.key) for unit in strata.units])
    flat = (place * size + gold[order]) * size + predicted[order]
    cells = np.bincount(flat, minlength=len(names) * size * size).reshape(len(names), size, size) / FRAME
    within = np.bincount(flat[inside[order]], minlength=cells.size).reshape(cells.shape) / FRAME
    doubt = np.sqrt(np.maximum(hard[order], 0.005) * np.minimum(1 - hard[order], 0.995))
    chances = np.bincount(place, doubt) / np.bincount(place)
    return World(cells, within, np.array([strata.spreads[name] for name in names]), 0.2 + 0.8 * chances / doubt.mean())


def seats(given: World, n: int) -> Counts:
    """The planned allocation."""
    populations = {str(h): round(share * FRAME) for h, share in enumerate(given.weights)}
    spreads = {str(h): float(spread) for h, spread in enumerate(given.spreads)}
    least = min(MINIMUM, n // len(populations))
    found = allocate(populations, size=n, method="neyman", spreads=spreads, minimum=max(least, 1))
    return np.array([found[str(h)] for h in range(len(populations))])


def by_strata(given: World, n: int, draws: int, rng: np.random.Generator, *, slice_: bool) -> tuple[Stack, Strata]:
    """Labels [draw, K, K] of the whole or of the slice, drawn by prediction × confidence; each draw counts as a slice."""
    size, allocated = given.shares.shape[1], seats(given, n)
    outside = given.shares - (given.sliced if slice_ else given.shares)
    cells = np.concatenate(
        [(given.shares - outside).reshape(len(allocated), -1), outside.reshape(len(allocated), -1)], axis=1
    )
    counts = np.stack(
        [rng.multinomial(m, row / row.sum(), size=draws) for m, row in zip(allocated, cells, strict=True)], axis=1
    )[:, :, : size * size].reshape(draws, -1, size, size)
    weight = given.weights / allocated
    n_, s1, s2 = (np.einsum("dhij,h->dij", counts, weight**power) for power in (0, 1, 2))
    which = np.nonzero(counts)
    populations = given.weights * 1e9
    strata = Strata(
        which[0], which[1], which[2], which[3], counts[which].astype(float), allocated.astype(float), weight * 1e9,
        populations,
    )  # fmt: skip
    return Stack(n_, s1, s2), strata


def unequal(given: World, n: int, draws: int, rng: np.random.Generator) -> Stack:
    """Chances that grow with predicted error, weighed by their inverse."""
    cells = given.shares * given.chances[:, None, None]
    counts = rng.multinomial(n, (cells / cells.sum()).ravel(), size=draws).reshape(draws, *cells.shape)
    return Stack(*(np.einsum("dhij,h->dij", counts, given.chances ** -float(power)) for power in (0, 1, 2)))


def even(given: World, n: int, draws: int, rng: np.random.Generator, part: Floats) -> Stack:
    counts = rng.multinomial(n, part.sum(0).ravel() / part.sum(), size=draws)
    table = counts.reshape(draws, *part.shape[1:]).astype(float)
    return Stack(table, table, table)


@dataclass
class Tally:
    """What was seen of one design: coverage per world, lower limits above the truth, widths, squared errors."""

    covered: list[float]
    above: list[float]
    widths: list[float]
    errors: list[float]

    def add(self, found: intervals.Limits, truth: float) -> None:
        kept = found.defined
        self.covered.append(float(((found.low <= truth) & (truth <= found.high))[kept].mean()))
        self.above.append(float((found.low > truth)[kept].mean()))
        self.widths.append(float((found.high - found.low)[kept].mean()))
        self.errors.append(float(((found.value - truth)[kept] ** 2).mean()))


def limits(name: str, cells: Stack, strata: Strata | None = None) -> intervals.Limits:
    floor = 0.0 if name == "accuracy" else -1.0
    chosen = measure(name, cells.n.shape[-1])
    return intervals.transferred_wilson(chosen, cells, 0.95, floor, strata=strata)


DESIGNS = (
    "prediction × confidence, by strata",
    "the same, weights alone",
    "the same, a slice of a third, by strata",
    "chance by predicted error",
)


def coverage(draws: int) -> Iterator[str]:
    yield (
        "**Drawn by design**: 2, 3 and 5 categories, balanced and 80/20, confidence dull, middling and sharp; 18 worlds. "
        "Width: against the interval of as many evenly drawn labels.\n"
    )
    yield from header("statistic", "design", "n", "coverage", "worst", "mean low > truth", "worst", "width")
    for name in STATISTICS:
        for n in SIZES:
            tallies = {design: Tally([], [], [], []) for design in DESIGNS}
            plain = {design: Tally([], [], [], []) for design in DESIGNS}
            for number, (size, skewed, sharpness) in enumerate(kinds()):
                given, rng = world(size, skewed, sharpness), np.random.default_rng([n, number])
                truths = {
                    part: float(measure(name, size)(shares.sum(0) / shares.sum(), np.asarray(1e9)).value)
                    for part, shares in (("whole", given.shares), ("slice", given.sliced))
                }
                cells, strata = by_strata(given, n, draws, rng, slice_=False)
                sliced, domain = by_strata(given, n, draws, rng, slice_=True)
                found = (
                    limits(name, cells, strata), limits(name, cells), limits(name, sliced, domain),
                    limits(name, unequal(given, n, draws, rng)),
                )  # fmt: skip
                third = max(round(n * given.sliced.sum()), 2)
                whole = limits(name, even(given, n, draws, rng, given.shares))
                part = limits(name, even(given, third, draws, rng, given.sliced))
                for design, one in zip(DESIGNS, found, strict=True):
                    is_slice = "slice" in design
                    tallies[design].add(one, truths["slice" if is_slice else "whole"])
                    plain[design].add(part if is_slice else whole, truths["slice" if is_slice else "whole"])
            for design, seen in tallies.items():
                width = float(np.mean(np.array(seen.widths) / np.array(plain[design].widths)))
                yield line(
                    name, design, n, float(np.mean(seen.covered)), min(seen.covered), float(np.mean(seen.above)),
                    max(seen.above), width,
                )  # fmt: skip


def kinds() -> Iterator[tuple[int, bool, float]]:
    for size in (2, 3, 5):
        for skewed in (False, True):
            for sharpness in SHARPNESS.values():
                yield size, skewed, sharpness


def main() -> None:
    lines = []
    for text in coverage(150 if "--quick" in sys.argv else 2000):
        print(text, flush=True)
        lines.append(text)
    if "--write" in sys.argv:
        write("statistics.md", "designs", lines)


if __name__ == "__main__":
    main()
