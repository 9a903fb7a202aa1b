"""How often does a report trust a slice that does not deserve it, and what does it miss? Whole reports at once.

    python -m bench.verdict_sim [--quick]

Each world is a report of 25 slices with a bar of .6 on kappa. A slice is *falsely trusted* where its truth is at the bar
or below. The report's own rule (own interval and Benjamini-Hochberg over all slices) stands beside the same interval
without any correction, Bonferroni and Holm. Prints Markdown tables; `--write` puts them into docs/statistics.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.coverage_sim import even, header, line, population
from bench.document import write
from calibration.stats import verdicts
from calibration.stats.intervals import Stack
from calibration.stats.summary import measure

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rule = Callable[[Array, Flags], Flags]

SLICES, BAR, LEVEL = 25, 0.6, verdicts.FALSE_DISCOVERY_RATE
UNTESTED = 2.0
PARTS = 50
"""Reports that are measured together: what fits into the cache."""


@dataclass(frozen=True)
class World:
    """A report whose truth is known: categories, their balance, labels and true kappa of each slice."""

    name: str
    size: int
    skewed: bool
    labels: tuple[int, ...]
    kappas: tuple[float, ...]
    over: float = 1.0
    """How many times as often as the others the rare answers are drawn."""


def uneven_sizes() -> tuple[int, ...]:
    return tuple(np.geomspace(25, 400, SLICES).round().astype(int).tolist())


def null_worlds() -> Iterator[World]:
    """Every slice lies exactly at the bar."""
    at_bar = (BAR,) * SLICES
    for n in (50, 100, 200, 400):
        yield World(f"2 categories, {n} labels each", 2, False, (n,) * SLICES, at_bar)
    for n in (50, 100, 400):
        yield World(f"3 categories at 90/5/5, {n} labels each", 3, True, (n,) * SLICES, at_bar)
    yield World("5 categories, 25 to 400 labels", 5, False, uneven_sizes(), at_bar)
    yield World("3 categories at 90/5/5, 25 to 400 labels", 3, True, uneven_sizes(), at_bar)
    yield World("3 categories at 90/5/5, 200 labels, rare answers drawn 5 ×", 3, True, (200,) * SLICES, at_bar, 5.0)


def mixed_worlds() -> Iterator[World]:
    """Some slices deserve trust, the others lie exactly at the bar."""
    for n in (100, 200, 400):
        for good, value in ((5, 0.8), (13, 0.75), (20, 0.75)):
            kappas = (value,) * good + (BAR,) * (SLICES - good)
            yield World(
                f"{good} at {value:.2f}, {SLICES - good} at the bar, {n} labels", 3, False, (n,) * SLICES, kappas
            )
    kappas = (0.75,) * 13 + (BAR,) * 12
    yield World("13 at 0.75, 12 at the bar, 25 to 400 labels", 3, False, uneven_sizes(), kappas)


def uncorrected(p: Array, tested: Flags) -> Flags:
    """Each slice's own 95 % interval."""
    return tested & (p <= (1 - verdicts.PLANNED_CONFIDENCE) / 2)


def bonferroni(p: Array, tested: Flags) -> Flags:
    return uncorrected(p, tested) & (p * tested.sum(1, keepdims=True) <= LEVEL)


def _ranked(p: Array, tested: Flags) -> tuple[Array, NDArray[np.intp], Array]:
    """p in order, untested slices last; the order; and the number of tests."""
    held = np.where(tested, p, UNTESTED)
    order = np.argsort(held, axis=1)
    return np.take_along_axis(held, order, 1), order, tested.sum(1, keepdims=True).astype(float)


def holm(p: Array, tested: Flags) -> Flags:
    ordered, order, count = _ranked(p, tested)
    passing = np.logical_and.accumulate(ordered * (count - np.arange(SLICES)) <= LEVEL, axis=1) & (ordered < UNTESTED)
    return _unranked(passing, order) & uncorrected(p, tested)


def benjamini_hochberg(p: Array, tested: Flags) -> Flags:
    """What the report does."""
    ordered, order, count = _ranked(p, tested)
    below = (ordered < UNTESTED) & (ordered * count <= LEVEL * np.arange(1, SLICES + 1))
    passing = np.logical_or.accumulate(below[:, ::-1], axis=1)[:, ::-1]
    return _unranked(passing, order) & uncorrected(p, tested)


def _unranked(passing: Flags, order: NDArray[np.intp]) -> Flags:
    answer = np.zeros_like(passing)
    np.put_along_axis(answer, order, passing, 1)
    return answer


OURS = "the report's (Benjamini–Hochberg)"
RULES: dict[str, Rule] = {
    "no correction": uncorrected,
    "Bonferroni": bonferroni,
    "Holm": holm,
    OURS: benjamini_hochberg,
}


def drawn(world: World, rng: np.random.Generator, reports: int) -> Stack:
    """Tables [reports × slices, K, K] with weights."""
    counts = np.empty((reports, SLICES, world.size, world.size))
    rates = np.ones((world.size, world.size))
    rates[:, 1:] = world.over
    for place, (n, kappa) in enumerate(zip(world.labels, world.kappas, strict=True)):
        cells = (population(world.size, kappa, 0.9 * world.skewed) * rates).ravel()
        counts[:, place] = rng.multinomial(n, cells / cells.sum(), size=reports).reshape(counts[:, place].shape)
    flat = counts.reshape(-1, world.size, world.size)
    return even(flat) if world.over == 1 else Stack(flat, flat / rates, flat / rates**2)


def tested(cells: Stack) -> Flags:
    """Slices with enough labels for a verdict, as `verdicts.verdicts` counts them."""
    shares = cells.shares
    largest = (shares.sum(-1) + shares.sum(-2)).argmax(-1)
    gold = cells.n.sum(-1)
    minority = cells.labels - np.take_along_axis(gold, largest[:, None], 1)[:, 0]
    return np.asarray((cells.labels >= verdicts.FEWEST_ITEMS) & (minority >= verdicts.FEWEST_MINORITY))


def trusted(world: World, reports: int) -> dict[str, Flags]:
    """Per rule, which slices [reports, slices] are trusted."""
    rng = np.random.default_rng([25, len(world.name), world.size, *world.labels[:1]])
    found: dict[str, list[Flags]] = {name: [] for name in RULES}
    chosen = measure("kappa", world.size)
    for start in range(0, reports, PARTS):
        cells = drawn(world, rng, min(PARTS, reports - start))
        p = verdicts.trust_p("kappa", chosen, cells, BAR).reshape(-1, SLICES)
        enough = tested(cells).reshape(-1, SLICES)
        for name, rule in RULES.items():
            found[name].append(rule(p, enough))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def null_table(reports: int) -> Iterator[str]:
    yield f"**25 slices, all exactly at the bar**: reports with any slice falsely *trusted*, {reports:,} reports of each world.\n"
    yield from header("world", *RULES, "falsely trusted slices, the report's rule")
    worst = dict.fromkeys(RULES, 0.0)
    for world in null_worlds():
        found = trusted(world, reports)
        any_ = {name: float(flags.any(1).mean()) for name, flags in found.items()}
        worst = {name: max(worst[name], any_[name]) for name in RULES}
        yield line(world.name, *any_.values(), f"{found[OURS].mean():.4f}")
    yield line("**worst**", *worst.values(), "")


def mixed_table(reports: int) -> Iterator[str]:
    yield f"\n**25 slices, some good**: share of the good slices trusted / of all *trusted* verdicts that are false; {reports:,} reports.\n"
    yield from header("world", *RULES)
    for world in mixed_worlds():
        good = np.array(world.kappas) > BAR
        cells = []
        for flags in trusted(world, reports).values():
            false = flags[:, ~good].sum(1) / np.maximum(flags.sum(1), 1)
            cells.append(f"{flags[:, good].mean():.3f} / {false.mean():.3f}")
        yield line(world.name, *cells)


def main() -> None:
    reports = 400 if "--quick" in sys.argv else 10_000
    lines = [*null_table(reports), *mixed_table(max(reports // 2, 1))]
    print("\n".join(lines))
    if "--write" in sys.argv:
        write("statistics.md", "verdicts", lines)


if __name__ == "__main__":
    main()
