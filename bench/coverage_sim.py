"""`make coverage-sim`: how often the intervals hold the truth, by seeded simulation; writes docs/statistics.md.

Every number comes from drawing tables of a known population and asking the functions that the reports call.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.stats import human, intervals, paired, verdicts
from calibration.stats.agreement import Measure
from calibration.stats.intervals import Stack
from calibration.stats.summary import is_graded, measure
from calibration.stats.tables import ConfusionTable, PairedTable

Array = NDArray[np.float64]
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "statistics.md"
BEGIN, END = "<!-- coverage: begin (written by make coverage-sim) -->", "<!-- coverage: end -->"
SIZES = (20, 50, 100, 200, 2000)
STATISTICS = ("accuracy", "kappa", "weighted_kappa", "alpha", "alpha ordinal", "ac1", "mcc", "macro_f1")
KAPPAS = (0.3, 0.6, 0.85)
MANY = np.asarray(1e9)


def population(size: int, kappa: float, skewed: bool) -> Array:
    """Shares of the cells for gold and classifier with the same margins: balanced, or 90 % in one category."""
    margin = np.full(size, 1 / size)
    if skewed:
        margin = np.concatenate([[0.9], np.full(size - 1, 0.1 / (size - 1))])
    return kappa * np.diag(margin) + (1 - kappa) * np.outer(margin, margin)


def chosen_measure(name: str, size: int) -> Measure:
    return measure(name.split()[0], size, scale="ordinal" if name.endswith("ordinal") else "nominal")


def even(counts: Array) -> Stack:
    return Stack(counts, counts, counts)


def limits_of(name: str, cells: Stack, size: int) -> tuple[Array, Array, Array]:
    """Lower and upper limits, and where they exist."""
    if name == "accuracy" and not intervals.weights_differ(cells).any():
        hits = np.diagonal(cells.n, axis1=-2, axis2=-1).sum(-1)
        critical = np.asarray(intervals.normal_quantile(0.95))
        low, high = intervals.wilson_limits(hits / cells.labels, cells.labels, critical)
        return low, high, np.ones(len(low), dtype=bool)
    floor = 0.0 if name in ("accuracy", "macro_f1") else -1.0
    graded = is_graded(name.split()[0], size, "ordinal" if name.endswith("ordinal") else "nominal")
    found = intervals.transferred_wilson(chosen_measure(name, size), cells, 0.95, floor, graded=graded)
    return found.low, found.high, found.defined


def score(low: Array, high: Array, kept: Array, truth: float) -> tuple[float, float]:
    """Share of intervals that hold the truth, and of those that lie above it."""
    return float(((low <= truth) & (truth <= high))[kept].mean()), float((low > truth)[kept].mean())


def wald(name: str, cells: Stack, size: int, truth: float) -> float:
    """Coverage of value -+ 1.96 large-sample errors, the interval that most libraries print."""
    parts = chosen_measure(name, size)(cells.shares, cells.labels)
    half = 1.96 * np.sqrt((cells.shares * parts.influence**2).sum((-2, -1)) / cells.labels)
    return float((np.abs(parts.value - truth) <= half)[parts.defined].mean())


def line(*cells: object) -> str:
    return "| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |"


def header(*names: str) -> list[str]:
    return [line(*names), line(*["---"] * len(names))]


def even_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Plain random samples: 2, 3 and 5 categories, three levels of agreement, balanced and 90/10."""
    yield "**Even samples**: K 2, 3, 5 × kappa .3, .6, .85 × balanced and 90/10; mean over these 18 (worst).\n"
    yield from header("statistic", "n", "coverage", "worst", "worst low > truth", "value ± 1.96 se: coverage", "worst")
    for name, n in itertools.product(STATISTICS, SIZES):
        ours, above, theirs = [], [], []
        for size, kappa, skewed in itertools.product((2, 3, 5), KAPPAS, (False, True)):
            shares = population(size, kappa, skewed)
            truth = float(chosen_measure(name, size)(shares, MANY).value)
            cells = even(rng.multinomial(n, shares.ravel(), size=draws).reshape(-1, size, size).astype(float))
            covered, over = score(*limits_of(name, cells, size), truth)
            ours.append(covered)
            above.append(over)
            theirs.append(wald(name, cells, size, truth))
        yield line(name, n, float(np.mean(ours)), min(ours), max(above), float(np.mean(theirs)), min(theirs))


def rating_scale(margin: list[float], misses: float, far: float) -> Array:
    """Five ordered categories; a share of the answers misses, most by one step, `far` of the misses by more."""
    answers = np.eye(5) * (1 - misses)
    for row in range(5):
        distance = np.abs(np.arange(5) - row)
        answers[row] += misses * (1 - far) * (distance == 1) / (distance == 1).sum()
        answers[row] += misses * far * (distance > 1) / (distance > 1).sum()
    return np.array(margin)[:, None] * answers


def graded_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Rating scales, on which a few far misses among many near ones decide."""
    yield "\n**Rating scales**: 5 categories, 10 or 30 % misses, 0, 8 or 25 % of them far; even, tilted and 85 % in one; 18 populations.\n"
    yield from header("statistic", "n", "coverage", "worst", "mean low > truth", "worst", "without half a miss: worst")
    margins = ([0.2] * 5, [0.05, 0.1, 0.2, 0.35, 0.3], [0.85, 0.08, 0.04, 0.02, 0.01])
    for name, n in itertools.product(("weighted_kappa", "alpha ordinal"), (50, 100, 200, 800)):
        ours, above, bare = [], [], []
        for margin, misses, far in itertools.product(margins, (0.1, 0.3), (0.0, 0.08, 0.25)):
            shares = rating_scale(margin, misses, far)
            truth = float(chosen_measure(name, 5)(shares, MANY).value)
            cells = even(rng.multinomial(n, shares.ravel() / shares.sum(), size=draws).reshape(-1, 5, 5).astype(float))
            covered, over = score(*limits_of(name, cells, 5), truth)
            ours.append(covered)
            above.append(over)
            bare.append(without_half_a_miss(name, cells, 5, truth))
        yield line(name, n, float(np.mean(ours)), min(ours), float(np.mean(above)), max(above), max(bare))


def weighted_populations() -> Iterator[tuple[str, int, Array, Array]]:
    """Cells [2, K, K] of easy and hard items and the rates of drawing them, 5 to 8 times as often where it matters."""
    for size, skewed, rate in itertools.product((2, 3), (False, True), (5.0, 8.0)):
        cells = np.stack([0.8 * population(size, 0.8, skewed), 0.2 * population(size, 0.3, skewed)])
        hard = np.ones_like(cells)
        hard[1] = rate
        yield f"hard items {rate:.0f} ×", size, cells, hard
        rare = np.ones_like(cells)
        rare[:, :, 1:] = rate
        yield f"rare answers {rate:.0f} ×", size, cells, rare


def without_half_a_miss(name: str, cells: Stack, size: int, truth: float) -> float:
    """How often the lower limit lies above the truth without step 5."""
    parts = chosen_measure(name, size)(cells.shares, cells.labels)
    variance = intervals.with_replacement(cells)(parts)
    low, _ = intervals.carried_back(parts, variance, cells.kish, intervals.t_quantile(0.95, cells.labels - 1))
    return float((low > truth)[parts.defined].mean())


def weighted_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Labels drawn with unequal probability, weighted by its inverse."""
    yield "\n**Unequal probability**: hard or rarely answered items drawn 5 or 8 times as often; 16 populations.\n"
    yield from header(
        "statistic",
        "n",
        "coverage",
        "worst",
        "mean low > truth",
        "the same without half a miss",
        "weights ignored: worst",
    )
    for name, n in itertools.product(("kappa", "alpha", "accuracy"), (50, 100, 200, 500)):
        ours, above, bare, ignored = [], [], [], []
        for _, size, shares, rates in weighted_populations():
            truth = float(chosen_measure(name, size)(shares.sum(0), MANY).value)
            drawn = (shares * rates).ravel() / (shares * rates).sum()
            counts = rng.multinomial(n, drawn, size=draws).reshape(-1, *shares.shape).astype(float)
            cells = Stack(counts.sum(1), (counts / rates).sum(1), (counts / rates**2).sum(1))
            covered, over = score(*limits_of(name, cells, size), truth)
            ours.append(covered)
            above.append(over)
            bare.append(without_half_a_miss(name, cells, size, truth))
            ignored.append(score(*limits_of(name, even(counts.sum(1)), size), truth)[0])
        yield line(name, n, float(np.mean(ours)), min(ours), float(np.mean(above)), float(np.mean(bare)), min(ignored))


def people(rng: np.random.Generator, items: int, raters: int, right: float, size: int) -> Array:
    """Count vectors of units whose raters see the truth with probability `right`, else answer at random."""
    truth = rng.integers(0, size, items)
    answers = np.where(rng.random((items, raters)) < right, truth[:, None], rng.integers(0, size, (items, raters)))
    counts = np.zeros((items, size))
    np.add.at(counts, (np.arange(items)[:, None], answers), 1)
    return counts


def human_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Alpha among people."""
    yield "\n**Agreement among people**: 2, 3 and 5 raters, right with .5 and .8, 3 categories; mean of 6 (worst).\n"
    yield from header("level", "items", "coverage", "worst")
    for level, items in itertools.product(("nominal", "ordinal", "interval"), (20, 50, 100, 400)):
        covered = []
        for raters, right in itertools.product((2, 3, 5), (0.5, 0.8)):
            truth = human.human_alpha(people(rng, 100_000, raters, right, 3), level=level, values=(1, 2, 3)).value or 0
            found = [
                human.human_alpha(people(rng, items, raters, right, 3), level=level, values=(1, 2, 3))
                for _ in range(draws)
            ]
            covered.append(float(np.mean([(f.low or -1) <= truth <= (f.high or -1) for f in found])))
        yield line(level, items, float(np.mean(covered)), min(covered))


def two_versions(kappa_a: float, kappa_b: float, shared: float, skewed: bool) -> Array:
    """Joint shares gold x a x b; a share of the items gets the same answer from both."""
    a, b = population(3, kappa_a, skewed), population(3, kappa_b, skewed)
    gold = a.sum(1)
    apart = a[:, :, None] * b[:, None, :] / gold[:, None, None]
    same = np.stack([np.diag(row) for row in a])
    return shared * same + (1 - shared) * apart


def paired_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Differences of two versions on the same gold."""
    yield "\n**Two versions on the same gold**: 3 categories, errors shared or not, balanced and 90/10; 8 populations.\n"
    yield from header("difference of", "n", "coverage", "worst", "paired width / unpaired width")
    for name, n in itertools.product(("kappa", "accuracy", "ac1"), (50, 100, 300)):
        covered, widths = [], []
        for (a, b), shared, skewed in itertools.product(((0.6, 0.6), (0.6, 0.75)), (0.0, 0.7), (False, True)):
            joint = two_versions(a, b, shared, skewed)
            chosen = chosen_measure(name, 3)
            truth = float(chosen(joint.sum(1), MANY).value - chosen(joint.sum(2), MANY).value)
            hits, ratio = [], []
            for counts in rng.multinomial(n, joint.ravel(), size=draws).reshape(-1, 3, 3, 3):
                table = PairedTable.from_counts(counts)
                found = paired.difference(name, table)
                if found.low is None or found.high is None:
                    continue
                hits.append(found.low <= truth <= found.high)
                apart = [chosen(side.shares, np.asarray(float(n))).influence for side in (table.a, table.b)]
                alone = sum(float((s.shares * i**2).sum()) for s, i in zip((table.a, table.b), apart, strict=True)) / (
                    n - 1
                )
                if alone > 0:
                    ratio.append((found.standard_error or 0.0) / np.sqrt(alone))
            covered.append(float(np.mean(hits)))
            widths.append(float(np.mean(ratio)))
        yield line(name, n, float(np.mean(covered)), min(covered), float(np.mean(widths)))


def verdict_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Reports of 24 slices of unequal size with a bar of .6."""
    yield "\n**24 slices**, n 25 to 300, bar .6: false *trusted* per bad slice, in any slice of a report, and power.\n"
    yield from header("world", "false trusted per bad slice", "reports with any", "good slices trusted")
    worlds = {
        "30 % bad at .50, rest .72": [0.50] * 7 + [0.72] * 17,
        "half at .57, half at .72": [0.57] * 12 + [0.72] * 12,
        "all at .58": [0.58] * 24,
    }
    sizes = np.geomspace(25, 300, 24).round().astype(int)
    for world, kappas in worlds.items():
        bad = np.array(kappas) < 0.6
        trusted = []
        for _ in range(draws):
            order = rng.permutation(sizes)
            tables = [
                ConfusionTable.from_counts(rng.multinomial(n, population(3, k, False).ravel()).reshape(3, 3))
                for n, k in zip(order, kappas, strict=True)
            ]
            trusted.append([word.word == verdicts.TRUSTED for word in verdicts.verdicts("kappa", tables, 0.6)])
        found = np.array(trusted)
        power = float(found[:, ~bad].mean()) if (~bad).any() else "–"
        yield line(world, float(found[:, bad].mean()), float(found[:, bad].any(1).mean()), power)


PARTS: tuple[tuple[Callable[[np.random.Generator, int], Iterator[str]], int, int], ...] = (
    (even_samples, 4000, 400),
    (graded_samples, 4000, 400),
    (weighted_samples, 2000, 300),
    (human_samples, 1000, 100),
    (paired_samples, 600, 100),
    (verdict_samples, 600, 100),
)


def simulate(seed: int, quick: bool) -> str:
    """All tables as Markdown."""
    lines = [f"Seed {seed}, {'quick' if quick else 'full'} run, nominal level 95 %.", ""]
    for position, (part, full, few) in enumerate(PARTS):
        began = time.perf_counter()
        draws = few if quick else full
        lines += list(part(np.random.default_rng([seed, position]), draws))
        lines.append(f"\n{draws} samples of each population.")
        print(f"{part.__name__}: {draws} samples each, {time.perf_counter() - began:.0f} s", flush=True)
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the tables between the markers of the document."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, in seconds instead of minutes")
    parser.add_argument("--seed", type=int, default=20240601)
    given = parser.parse_args()
    text = simulate(given.seed, given.quick)
    print(text)
    write(text)


if __name__ == "__main__":
    main()
