"""Is the verdict right? Attribution in seven worlds with known causes, by the labels spent.

    python -m bench.attribution_sim [--quick]

Six slices, three categories, 4000 conversations a period, a bridge of 300 a slice where a version changed. "Bare chart"
is the reader who blames customers for every significant move of the charted share. Prints Markdown tables.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.stats.attribution import Comparison, Period, PeriodSlice, SliceMovement, attribute
from calibration.stats.tables import ConfusionTable

Floats = NDArray[np.float64]

CATEGORIES = ("bad", "fair", "good")
SLICES, VOLUME, BRIDGE = 6, 4000, 300
TRUTH = np.array([0.3, 0.4, 0.3])
OLD = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])
WORSE = np.array([[0.88, 0.1, 0.02], [0.25, 0.68, 0.07], [0.13, 0.17, 0.7]])
GRUDGING = np.array([[0.65, 0.28, 0.07], [0.06, 0.84, 0.1], [0.03, 0.17, 0.8]])
ANGRIER = np.array([0.1, -0.05, -0.05])


@dataclass(frozen=True)
class Cause:
    """A world: what truly changed, and the verdict that is right."""

    name: str
    right: str
    truth: float = 0.0
    mix: bool = False
    upgrade: Floats | None = None
    drift: Floats | None = None


WORLDS = (
    Cause("nothing", "nothing moved"),
    Cause("customers", "customers", truth=1.0),
    Cause("mix", "customers", mix=True),
    Cause("upgrade", "classifier", upgrade=WORSE),
    Cause("silent drift", "classifier", drift=WORSE),
    Cause("customers and upgrade", "both", truth=1.0, upgrade=WORSE),
    Cause("customers hidden by drift", "both", truth=1.3, drift=GRUDGING),
)


def levels() -> Floats:
    """The slices differ in level, so that their mix matters."""
    lean = np.linspace(-0.12, 0.12, SLICES)
    return TRUTH + lean[:, None] * np.array([1.0, -0.5, -0.5])


def sizes(mix: bool) -> tuple[Floats, Floats]:
    even = np.full(SLICES, 1 / SLICES)
    return even, (even * np.array([0.1, 0.2, 0.4, 1.1, 1.9, 2.3]) if mix else even)


def joint_answers(confusion: Floats, new: Floats | None) -> Floats:
    """P(old answer, new answer | truth) [truth, old, new]; without an upgrade both say the same."""
    if new is None:
        return np.einsum("gj,jk->gjk", confusion, np.eye(3))
    same = np.minimum(confusion, new)
    rest = 1 - same.sum(axis=1, keepdims=True)
    spill = np.einsum("gj,gk->gjk", confusion - same, new - same) / np.maximum(rest, 1e-12)[:, :, None]
    return np.einsum("gj,jk->gjk", same, np.eye(3)) + spill


def make(cause: Cause, labels: int, rng: np.random.Generator) -> Comparison:
    size_1, size_2 = sizes(cause.mix)
    slices = []
    for h, level in enumerate(levels()):
        later = cause.drift if cause.drift is not None else OLD
        first = rng.multinomial(round(VOLUME * size_1[h]), (level[:, None] * OLD).ravel()).reshape(3, 3)
        moved = level + cause.truth * ANGRIER
        joint = moved[:, None, None] * joint_answers(later, cause.upgrade)
        second = rng.multinomial(round(VOLUME * size_2[h]), joint.ravel())
        seen = rng.multivariate_hypergeometric(second, min(labels, int(second.sum()))).reshape(3, 3, 3)
        bridged = rng.multivariate_hypergeometric(second, min(BRIDGE, int(second.sum()))).reshape(3, 3, 3).sum(axis=0)
        second = second.reshape(3, 3, 3)
        labelled = rng.multivariate_hypergeometric(first.ravel(), min(labels, int(first.sum()))).reshape(3, 3)
        before = PeriodSlice((tuple(first.sum(axis=0).tolist()),), (table(labelled),))
        after = PeriodSlice((tuple(second.sum(axis=(0, 1)).tolist()),), (table(seen.sum(axis=1)),))
        bridge = (tuple(tuple(row) for row in bridged.tolist()),) if cause.upgrade is not None else None
        slices.append(SliceMovement({"slice": str(h)}, before, after, bridge, (table(seen.sum(axis=2)),)))
    versions = ("v2",) if cause.upgrade is not None else ("v1",)
    ends = Period("1", ("v1",)), Period("2", versions)
    return Comparison("s", "c", "share of bad", CATEGORIES, (1.0, 0.0, 0.0), *ends, tuple(slices))


def table(counts: NDArray[np.int64]) -> ConfusionTable:
    return ConfusionTable.from_counts(counts, CATEGORIES)


def truth_of(cause: Cause) -> dict[str, float]:
    """The parts as the world itself has them: the decomposition of its exact probabilities."""
    exact = replace(cause)
    found = attribute(expected(exact), rng=np.random.default_rng(0), redraws=2)
    return {name: part.value for name, part in found.parts.items() if part.value is not None}


def expected(cause: Cause, scale: int = 10**7) -> Comparison:
    """A world without noise: its probabilities as very large counts."""
    size_1, size_2 = sizes(cause.mix)
    slices = []
    for h, level in enumerate(levels()):
        later = cause.drift if cause.drift is not None else OLD
        first = np.rint(scale * size_1[h] * level[:, None] * OLD).astype(int)
        moved = level + cause.truth * ANGRIER
        second = np.rint(scale * size_2[h] * moved[:, None, None] * joint_answers(later, cause.upgrade)).astype(int)
        before = PeriodSlice((tuple(first.sum(axis=0).tolist()),), (table(first),))
        after = PeriodSlice((tuple(second.sum(axis=(0, 1)).tolist()),), (table(second.sum(axis=1)),))
        bridge = (tuple(tuple(row) for row in second.sum(axis=0).tolist()),) if cause.upgrade is not None else None
        slices.append(SliceMovement({"slice": str(h)}, before, after, bridge, (table(second.sum(axis=2)),)))
    versions = ("v2",) if cause.upgrade is not None else ("v1",)
    ends = Period("1", ("v1",)), Period("2", versions)
    return Comparison("s", "c", "share of bad", CATEGORIES, (1.0, 0.0, 0.0), *ends, tuple(slices))


def judge(labels: int, count: int) -> None:
    """One row of the table: how the verdicts fare at so many labels a slice and period."""
    rng = np.random.default_rng(labels)
    right = undecided = wrong = bare = 0
    worst = 0.0
    reach: dict[str, list[float]] = {"customers": [], "silent_drift": []}
    covered: Counter[str] = Counter()
    for cause in WORLDS:
        truth, mistakes = truth_of(cause), 0
        for _ in range(count):
            found = attribute(make(cause, labels, rng), rng=rng)
            right += found.verdict == cause.right
            undecided += found.verdict == "not enough evidence"
            mistakes += found.verdict not in (cause.right, "not enough evidence")
            moved = (found.observed.low or 0) > 0 or (found.observed.high or 0) < 0
            bare += ("customers" if moved else "nothing moved") == cause.right
            for name, value in truth.items():
                part = found.parts[name]
                covered[name] += part.low - 1e-12 <= value <= part.high + 1e-12
            for name in reach:
                reach[name].append(found.parts[name].half_width or 0.0)
        wrong += mistakes
        worst = max(worst, mistakes / count)
    total = count * len(WORLDS)
    cover = " / ".join(f"{covered[name] / total:.2f}" for name in ("customers", "upgrade", "silent_drift", "mix"))
    widths = " / ".join(f"{np.mean(reach[name]):.3f}" for name in ("customers", "silent_drift"))
    print(
        f"| {labels} | {right / total:.2f} | {undecided / total:.2f} | {wrong / total:.2f} ({worst:.2f}) | "
        f"{bare / total:.2f} | {widths} | {cover} |",
        flush=True,
    )


def main() -> None:
    count = 20 if "--quick" in sys.argv else 150
    print(f"Seven worlds × {count}, six slices, {VOLUME} conversations a period\n")
    print(
        "| labels per slice and period | right | undecided | wrong (worst world) | bare chart right | half-width customers / "
        "drift | coverage customers / upgrade / drift / mix |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for labels in (25, 50, 100, 250):
        judge(labels, count)


if __name__ == "__main__":
    main()
