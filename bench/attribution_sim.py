"""Is the verdict right? Attribution over 500 worlds with known causes, by the labels spent.

    python -m bench.attribution_sim [--quick] [--write]

Every world is drawn anew: six slices of their own level, a classifier's confusion, one of eight causes and how strong it
is; 24,000 conversations a period, a bridge of 300 a slice where a version changed. A verdict is *wrong* where what it
claims is not so: a side that it says moved did not (or the other way), a side that it says carries the change carries less
than half, or "nothing moved" where a side moved by .04 or more. "Bare chart" is the reader who takes every significant
move of the charted share for the customers' doing.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.coverage_sim import header, line
from bench.document import write
from calibration.stats.attribution import PARTS, Attribution, Comparison, Period, PeriodSlice, SliceMovement, attribute
from calibration.stats.blame import CLASSIFIER, CUSTOMERS
from calibration.stats.tables import ConfusionTable

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

CATEGORIES = ("bad", "fair", "good")
SLICES, VOLUME, BRIDGE = 6, 4000, 300
LABELS = (25, 50, 100, 250, 500)
CAUSES = (
    "nothing", "customers", "mix", "upgrade", "silent drift", "transcription", "customers and upgrade",
    "customers hidden by drift",
)  # fmt: skip
EXACT = 10**7
NONE, CARRIES = 0.002, 0.04
"""A side that moved by less did not move; one that moved by the second amount is not nothing."""


@dataclass(frozen=True)
class World:
    """Truth [slice, gold], sizes, confusions [band, gold, answer] and bands' shares, before and after.

    `upgrade` is the new version's confusion, None where the same version serves on.
    """

    cause: str
    truth: tuple[Floats, Floats]
    sizes: tuple[Floats, Floats]
    confusion: tuple[Floats, Floats]
    bands: tuple[Floats, Floats]
    upgrade: Floats | None = None


def confusion(rng: np.random.Generator) -> Floats:
    """Right in 70 to 90 % of each category."""
    right = rng.uniform(0.7, 0.9, 3)
    off = rng.dirichlet((2.0, 2.0), 3)
    answer = np.diag(right)
    for row in range(3):
        answer[row, [k for k in range(3) if k != row]] = (1 - right[row]) * off[row]
    return answer


def leaning(known: Floats, strength: float) -> Floats:
    """The same confusion with more answers "bad" (or, below 0, fewer)."""
    pull = np.array([1.0, 0.0, 0.0]) if strength > 0 else np.array([0.0, 0.6, 0.4])
    mixed: Floats = (1 - abs(strength)) * known + abs(strength) * pull
    return mixed


def world(cause: str, rng: np.random.Generator) -> World:
    level = rng.dirichlet((9.0, 12.0, 9.0))
    lean = rng.permutation(np.linspace(-1, 1, SLICES)) * rng.uniform(0.03, 0.12)
    truth = np.clip(level + lean[:, None] * np.array([1.0, -0.5, -0.5]), 0.02, None)
    truth /= truth.sum(1, keepdims=True)
    even, known = np.full(SLICES, 1 / SLICES), confusion(rng)
    later, sizes, drifted, upgrade = truth, even, known, None
    bands = (np.ones(1), np.ones(1))
    if "customers" in cause:
        later = truth + rng.uniform(0.06, 0.12) * np.array([1.0, -0.5, -0.5])
    if cause == "mix":
        order = np.argsort(truth[:, 0])
        sizes = even.copy()
        sizes[order] *= np.array([0.1, 0.2, 0.4, 1.1, 1.9, 2.3])
    if "upgrade" in cause:
        upgrade = leaning(known, rng.uniform(0.08, 0.2))
    if "drift" in cause:
        hidden = cause.startswith("customers")
        drifted = leaning(known, rng.uniform(0.12, 0.2) * (-1 if hidden else 1))
    if cause == "transcription":
        poor = leaning(known, rng.uniform(0.3, 0.5))
        bands = (np.array([0.8, 0.2]), np.array([0.3, 0.7]))
        return World(cause, (truth, truth), (even, even), (np.stack([known, poor]),) * 2, bands)
    return World(cause, (truth, later), (even, sizes), (known[None], drifted[None]), bands, upgrade)


def joint_answers(old: Floats, new: Floats | None) -> Floats:
    """P(old answer, new answer | truth) [truth, old, new]; without an upgrade both say the same."""
    if new is None:
        return np.einsum("gj,jk->gjk", old, np.eye(3))
    same = np.minimum(old, new)
    rest = 1 - same.sum(axis=1, keepdims=True)
    spill = np.einsum("gj,gk->gjk", old - same, new - same) / np.maximum(rest, 1e-12)[:, :, None]
    return np.einsum("gj,jk->gjk", same, np.eye(3)) + spill


def cells(given: World, end: int, h: int) -> Floats:
    """P(band, gold, old answer, new answer) of a slice in a period."""
    new = given.upgrade if end else None
    answers = np.stack([joint_answers(known, new) for known in given.confusion[end]])
    shares: Floats = given.bands[end][:, None, None, None] * given.truth[end][h][None, :, None, None] * answers
    return shares


def subsample(counts: Counts, size: int, rng: np.random.Generator | None) -> Counts:
    """A simple random sample of the conversations; all of them without a generator."""
    if rng is None:
        return counts
    drawn = rng.multivariate_hypergeometric(counts.ravel(), min(size, int(counts.sum())))
    return np.asarray(drawn.reshape(counts.shape))


def make(given: World, labels: int, rng: np.random.Generator | None = None) -> Comparison:
    """What was charted, labelled and bridged; without a generator the world itself, as very large counts."""
    slices = []
    for h in range(SLICES):
        ends: list[tuple[Counts, Counts]] = []
        for end in (0, 1):
            shares = cells(given, end, h)
            if rng is None:
                counts = np.rint(EXACT * given.sizes[end][h] * shares).astype(np.int64)
            else:
                volume = round(VOLUME * SLICES * given.sizes[end][h])
                counts = rng.multinomial(volume, shares.ravel() / shares.sum()).reshape(shares.shape)
            ends.append((counts, subsample(counts, labels, rng)))
        (first, seen), (second, later) = ends
        before = PeriodSlice(_rows(first.sum(axis=(1, 3))), _tables(seen.sum(axis=3)))
        after = PeriodSlice(_rows(second.sum(axis=(1, 2))), _tables(later.sum(axis=2)))
        bridged = subsample(second, BRIDGE, rng).sum(axis=1)
        bridge = tuple(_rows(band) for band in bridged) if given.upgrade is not None else None
        slices.append(SliceMovement({"slice": str(h)}, before, after, bridge, _tables(later.sum(axis=3))))
    versions = ("v2",) if given.upgrade is not None else ("v1",)
    periods = Period("1", ("v1",)), Period("2", versions)
    return Comparison("s", "c", "share of bad", CATEGORIES, (1.0, 0.0, 0.0), *periods, tuple(slices))


def _rows(counts: Counts) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in counts.tolist())


def _tables(counts: Counts) -> tuple[ConfusionTable, ...]:
    return tuple(ConfusionTable.from_counts(band, CATEGORIES) for band in counts)


def truth_of(given: World) -> dict[str, float]:
    """The parts as the world itself has them: the decomposition of its exact probabilities."""
    found = attribute(make(given, 0), rng=np.random.default_rng(0), redraws=2)
    return {name: part.value for name, part in found.parts.items() if part.value is not None}


def claim(found: Attribution, truth: dict[str, float]) -> str:
    """`right`, `wrong` or `undecided`: whether what the verdict claims is so in this world."""
    customers, classifier = (sum(truth.get(name, 0.0) for name in side) for side in (CUSTOMERS, CLASSIFIER))
    if found.verdict == "not enough evidence":
        return "undecided"
    if found.verdict == "nothing moved":
        true = max(abs(customers), abs(classifier)) < CARRIES
    elif found.verdict == "both":
        true = min(abs(customers), abs(classifier)) > NONE
    else:
        mine, other = (customers, classifier) if found.verdict == "customers" else (classifier, customers)
        true = abs(mine) > NONE and abs(other) < abs(customers + classifier) / 2
    return "right" if true else "wrong"


def bare_chart(found: Attribution, truth: dict[str, float]) -> bool:
    """Whether "every significant move is the customers" is right."""
    moved = (found.observed.low or 0) > 0 or (found.observed.high or 0) < 0
    customers, classifier = (sum(truth.get(name, 0.0) for name in side) for side in (CUSTOMERS, CLASSIFIER))
    if not moved:
        return max(abs(customers), abs(classifier)) < CARRIES
    return abs(customers) > NONE and abs(classifier) < abs(customers + classifier) / 2


def judged(labels: int, count: int) -> tuple[list[object], list[object]]:
    """Two rows: the verdicts at so many labels a slice and period, and the coverage of each part."""
    words: dict[str, Counter[str]] = defaultdict(Counter)
    covered: dict[str, list[bool]] = defaultdict(list)
    reach: dict[str, list[float]] = defaultdict(list)
    bare = 0
    for number in range(count):
        cause = CAUSES[number % len(CAUSES)]
        given = world(cause, np.random.default_rng([500, number]))
        truth, rng = truth_of(given), np.random.default_rng([501, number, labels])
        found = attribute(make(given, labels, rng), rng=rng)
        words[cause][claim(found, truth)] += 1
        bare += bare_chart(found, truth)
        for name, value in truth.items():
            part = found.parts[name]
            if part.low is not None and part.high is not None:
                covered[name].append(part.low - 1e-12 <= value <= part.high + 1e-12)
                reach[name].append((part.high - part.low) / 2)
    total = sum(words.values(), Counter())
    worst = max(words, key=lambda cause: words[cause]["wrong"] / words[cause].total())
    share = words[worst]["wrong"] / words[worst].total()
    row = [labels, total["right"] / count, total["undecided"] / count, total["wrong"] / count]
    parts = [f"{np.mean(covered[name]):.3f} (± {np.mean(reach[name]):.3f})" for name in PARTS]
    return [*row, f"{share:.3f} ({worst})", bare / count], [labels, *parts]


def tables(count: int) -> Iterator[str]:
    yield f"**Verdicts** over {count} worlds, {len(CAUSES)} causes in turn, {SLICES} slices, {VOLUME * SLICES:,} conversations a period.\n"
    yield from header(
        "labels per slice and period", "right", "not enough evidence", "wrong", "worst cause", "bare chart right"
    )
    coverages = []
    for labels in LABELS:
        row, coverage = judged(labels, count)
        coverages.append(coverage)
        yield line(*row)
    yield "\n**Coverage of each part's 95 % interval** (mean half-width), over the same worlds.\n"
    yield from header("labels per slice and period", *PARTS)
    yield from (line(*row) for row in coverages)


def main() -> None:
    lines = []
    for text in tables(40 if "--quick" in sys.argv else 500):
        print(text, flush=True)
        lines.append(text)
    if "--write" in sys.argv:
        write("statistics-drift.md", "attribution", lines)


if __name__ == "__main__":
    main()
