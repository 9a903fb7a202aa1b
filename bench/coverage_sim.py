"""`make coverage-sim`: how often the intervals hold the truth, by seeded simulation; writes docs/statistics.md.

Every number comes from drawing tables of a known population and asking the functions that the reports call.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bench.document import write
from calibration.stats import human, intervals, masi, multilabel, paired, verdicts
from calibration.stats.agreement import Measure
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import Stack
from calibration.stats.summary import is_graded, measure
from calibration.stats.tables import PairedTable

Array = NDArray[np.float64]
SIZES = (20, 50, 100, 200, 500, 2000, 5000)
STATISTICS = ("accuracy", "kappa", "weighted_kappa", "alpha", "alpha ordinal", "ac1", "mcc", "macro_f1")
KAPPAS = (0.2, 0.4, 0.6, 0.8, 0.95)
CATEGORIES = (2, 3, 5, 7)
LARGEST = (0.0, 0.8, 0.9, 0.95)
"""Share of the most frequent category; 0 for balanced ones."""
HOLDS = (0.93, 0.975)
MANY = np.asarray(1e9)


def population(size: int, kappa: float, largest: float) -> Array:
    """Shares of the cells for gold and classifier with the same margins: balanced, or so much in one category."""
    margin = np.full(size, 1 / size)
    if largest:
        margin = np.concatenate([[largest], np.full(size - 1, (1 - largest) / (size - 1))])
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


def alternatives(name: str, cells: Stack, size: int, truth: float) -> dict[str, tuple[float, float]]:
    """Coverage and mean width of the intervals that libraries print: value -+ 1.96 errors, and the same on atanh."""
    parts = chosen_measure(name, size)(cells.shares, cells.labels)
    kept = parts.defined
    error = np.sqrt((cells.shares * parts.influence**2).sum((-2, -1)) / cells.labels)
    value = np.clip(parts.value, -0.9999, 0.9999)
    reach = 1.96 * error / (1 - value**2)
    limits = {
        "wald": (parts.value - 1.96 * error, parts.value + 1.96 * error),
        "fisher": (np.tanh(np.arctanh(value) - reach), np.tanh(np.arctanh(value) + reach)),
    }
    return {
        other: (float(((low <= truth) & (truth <= high))[kept].mean()), float((high - low)[kept].mean()))
        for other, (low, high) in limits.items()
    }


def line(*cells: object) -> str:
    return "| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |"


def header(*names: str) -> list[str]:
    return [line(*names), line(*["---"] * len(names))]


def too_small(cells: Stack, name: str) -> float:
    """Share of samples that a report calls too small for a verdict, a gate for macro-F1: those whose gold lacks a category."""
    if name == "macro_f1":
        return float((cells.n.sum(-1) == 0).any(-1).mean())
    shares = cells.shares
    largest = (shares.sum(-1) + shares.sum(-2)).argmax(-1)
    minority = cells.labels - np.take_along_axis(cells.n.sum(-1), largest[:, None], 1)[:, 0]
    return float(((cells.labels < verdicts.FEWEST_ITEMS) | (minority < verdicts.FEWEST_MINORITY)).mean())


def even_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Plain random samples: 2 to 7 categories, five levels of agreement, balanced to 95/5."""
    yield (
        "**Even samples**: K 2, 3, 5, 7 × kappa .2, .4, .6, .8, .95 × balanced, 80, 90 and 95 % in one category; mean over "
        "these 80 (worst). Wald is value ± 1.96 standard errors; width is against the narrower of Wald and Fisher's z in "
        "the populations where that covers 93 %.\n"
    )
    yield from header(
        "statistic", "n", "coverage", "worst", "worst low > truth", "below .93", "above .975", "Wald: coverage", "worst",
        "an alternative covers", "width",
    )  # fmt: skip
    thin: list[str] = []
    for name, n in itertools.product(STATISTICS, SIZES):
        ours, above, wald, ratios = [], [], [], []
        for size, kappa, largest in itertools.product(CATEGORIES, KAPPAS, LARGEST):
            shares = population(size, kappa, largest)
            truth = float(chosen_measure(name, size)(shares, MANY).value)
            cells = even(rng.multinomial(n, shares.ravel(), size=draws).reshape(-1, size, size).astype(float))
            low, high, kept = limits_of(name, cells, size)
            covered, over = score(low, high, kept, truth)
            ours.append(covered)
            above.append(over)
            others = alternatives(name, cells, size, truth)
            wald.append(others["wald"][0])
            holding = [width for cover, width in others.values() if cover >= HOLDS[0]]
            if holding:
                ratios.append(float((high - low)[kept].mean()) / min(holding))
            if n >= 50 and covered < HOLDS[0]:
                balance = f"{largest:.0%} in one" if largest else "balanced"
                thin.append(line(name, n, size, kappa, balance, covered, over, too_small(cells, name)))
        low_cells, wide_cells = sum(c < HOLDS[0] for c in ours), sum(c > HOLDS[1] for c in ours)
        yield line(
            name, n, float(np.mean(ours)), min(ours), max(above), low_cells, wide_cells, float(np.mean(wald)), min(wald),
            len(ratios), float(np.mean(ratios)) if ratios else "–",
        )  # fmt: skip
    yield "\n**Cells below 93 % from 50 labels on**, and how many of their samples a report or gate calls too small.\n"
    yield from header("statistic", "n", "K", "kappa", "balance", "coverage", "low > truth", "too few items")
    yield from thin


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
        cells = np.stack([0.8 * population(size, 0.8, 0.9 * skewed), 0.2 * population(size, 0.3, 0.9 * skewed)])
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
    a, b = population(3, kappa_a, 0.9 * skewed), population(3, kappa_b, 0.9 * skewed)
    gold = a.sum(1)
    apart = a[:, :, None] * b[:, None, :] / gold[:, None, None]
    same = np.stack([np.diag(row) for row in a])
    return shared * same + (1 - shared) * apart


def paired_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Differences of two versions on the same gold."""
    yield "\n**Two versions on the same gold**: 3 categories, errors shared or not, balanced and 90/10; 8 populations.\n"
    yield from header("difference of", "n", "coverage", "worst", "paired error / unpaired error")
    for name, n in itertools.product(("kappa", "accuracy", "ac1", "macro_f1"), (50, 100, 300)):
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


def multilabel_world(rng: np.random.Generator, miss: float) -> tuple[list[frozenset[str]], Array]:
    """All sets of four labels, and shares of (gold, answered): labels occur and are missed each on their own."""
    sets = [frozenset("abcd"[k] for k in range(4) if code >> k & 1) for code in range(16)]
    common = rng.uniform(0.1, 0.6, 4)
    gold = np.array(
        [np.prod([p if label in one else 1 - p for label, p in zip("abcd", common, strict=True)]) for one in sets]
    )
    apart = np.array([[len(one ^ other) for other in sets] for one in sets])
    answers = (1 - miss) ** (4 - apart) * miss**apart
    joint: Array = gold[:, None] * answers
    return sets, joint / joint.sum()


def multilabel_samples(rng: np.random.Generator, draws: int) -> Iterator[str]:
    """Sets of labels: the macro mean of kappa, and MASI with the alpha that has it as its metric."""
    yield "\n**Several labels an answer**: four labels, of which 5, 15 or 30 % are missed, twice each; 6 populations.\n"
    yield from header("statistic", "n", "coverage", "worst", "mean low > truth", "worst")
    worlds = [multilabel_world(np.random.default_rng([6, k]), miss) for k, miss in enumerate((0.05, 0.15, 0.3) * 2)]
    names = ("macro kappa", "MASI", "alpha with MASI")
    for n in (50, 100, 200, 500):
        covered: dict[str, list[float]] = {name: [] for name in names}
        above: dict[str, list[float]] = {name: [] for name in names}
        for sets, joint in worlds:
            truths = set_estimates(sets, np.rint(joint * 1e8).astype(np.int64))
            seen: dict[str, list[tuple[bool, bool]]] = {name: [] for name in names}
            for counts in rng.multinomial(n, joint.ravel(), size=draws).reshape(-1, 16, 16):
                for name, found, truth in zip(names, set_estimates(sets, counts), truths, strict=True):
                    if found.low is not None and found.high is not None and truth.value is not None:
                        seen[name].append((found.low <= truth.value <= found.high, found.low > truth.value))
            for name in names:
                hits, over = np.array(seen[name]).mean(0)
                covered[name].append(float(hits))
                above[name].append(float(over))
        for name in names:
            yield line(
                name,
                n,
                float(np.mean(covered[name])),
                min(covered[name]),
                float(np.mean(above[name])),
                max(above[name]),
            )


def set_estimates(sets: list[frozenset[str]], counts: NDArray[np.int64]) -> tuple[Estimate, Estimate, Estimate]:
    """The macro mean of kappa, mean MASI, and alpha by MASI."""
    cells = [
        multilabel.SetCell(sets[g], sets[p], int(counts[g, p]), float(counts[g, p]), float(counts[g, p]))
        for g, p in zip(*np.nonzero(counts), strict=True)
    ]
    tables = {label: multilabel.table_of(label, cells) for label in "abcd"}
    return multilabel.macro(measure("kappa", 2), tables, cells), *masi.masi(
        [(c.gold, c.predicted, c.n, c.s1, c.s2) for c in cells]
    )


PARTS: tuple[tuple[Callable[[np.random.Generator, int], Iterator[str]], int, int], ...] = (
    (even_samples, 2000, 200),
    (graded_samples, 4000, 400),
    (weighted_samples, 2000, 300),
    (human_samples, 1000, 100),
    (paired_samples, 600, 100),
    (multilabel_samples, 400, 40),
)


def simulate(seed: int, quick: bool, only: str) -> None:
    """Run every part (or one), print it, and put it between its markers in docs/statistics.md."""
    for position, (part, full, few) in enumerate(PARTS):
        name = part.__name__.removesuffix("_samples")
        if only not in ("", name):
            continue
        began, draws = time.perf_counter(), few if quick else full
        lines = [*part(np.random.default_rng([seed, position]), draws), f"\n{draws:,} samples of each population."]
        print("\n".join(lines))
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        if not quick:
            write("statistics.md", f"coverage-{name}", lines)


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, printed and not written")
    parser.add_argument("--only", default="", help="one part: even, graded, weighted, human, paired or multilabel")
    parser.add_argument("--seed", type=int, default=20240601)
    given = parser.parse_args()
    simulate(given.seed, given.quick, given.only)


if __name__ == "__main__":
    main()
