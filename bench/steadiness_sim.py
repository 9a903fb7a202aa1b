"""Do the intervals cover? Four annotators of known error, estimated from hidden repeats and from gold checks.

    python -m bench.steadiness_sim [--quick]

Each run serves 400 items to each annotator by the schedule that queues use, with 15 % repeats and 15 % gold checks; coverage
is counted over many runs. "one-coin": errors are slips, which go to any other category alike. "neighbours": slips on an
ordinal scale, which go to the next category. "habit": half of a person's errors are the same every time they meet the item.
"""

from __future__ import annotations

import sys

import numpy as np

from calibration.stats.intervals import wilson
from calibration.stats.steadiness import implied_accuracy
from labeling.mixing import REPEAT, Mix

ACCURACIES = (0.95, 0.85, 0.75, 0.6)
CATEGORIES = 3
ITEMS, AFTER = 400, 20


def one_run(right: float, world: str, seed: int) -> tuple[int, int, int, int]:
    """(same, repeats, correct, checks) of one annotator."""
    rng = np.random.default_rng(seed)
    mix = Mix(0.15, 0.15, str(seed))
    first: list[tuple[int, int, bool]] = []
    again: set[int] = set()
    same = repeats = correct = checks = 0
    act = 0
    while len(first) < ITEMS:
        kind = mix.due(act)
        act += 1
        if kind == REPEAT:
            old = [at for at in range(max(len(first) - AFTER, 0)) if at not in again]
            if old:
                at = old[int(rng.integers(len(old)))]
                again.add(at)
                truth, said, habit = first[at]
                same += said == (said if habit else answer(truth, right, world, rng)[0])
                repeats += 1
                continue
        elif kind is not None:
            truth = int(rng.integers(CATEGORIES))
            correct += answer(truth, right, world, rng)[0] == truth
            checks += 1
            continue
        truth = int(rng.integers(CATEGORIES))
        first.append((truth, *answer(truth, right, world, rng)))
    return same, repeats, correct, checks


def answer(truth: int, right: float, world: str, rng: np.random.Generator) -> tuple[int, bool]:
    """What is said, and whether the same would be said again for sure."""
    if rng.random() < right:
        return truth, False
    if world == "neighbours":
        near = [value for value in (truth - 1, truth + 1) if 0 <= value < CATEGORIES]
        return int(rng.choice(near)), False
    other = int((truth + rng.integers(1, CATEGORIES)) % CATEGORIES)
    return other, world == "habit" and bool(rng.random() < 0.5)


def main() -> int:
    runs = 200 if "--quick" in sys.argv else 1000
    print("| world | accuracy | gold checks cover | half width | repeats cover | half width | mean implied |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for world in ("one-coin", "neighbours", "habit"):
        for place, right in enumerate(ACCURACIES):
            told = [one_run(right, world, 10_000 * place + run) for run in range(runs)]
            gold = [wilson(correct, checks) for _, _, correct, checks in told]
            coins = [implied_accuracy(same, repeats, CATEGORIES) for same, repeats, _, _ in told]
            cells = []
            for found in (gold, coins):
                covered = np.mean([one.low <= right <= one.high for one in found])  # type: ignore[operator]
                cells += [f"{covered:.3f}", f"{np.mean([one.half_width for one in found]):.3f}"]
            print(
                f"| {world} | {right} | {' | '.join(cells)} | {np.mean([one.value for one in coins]):.3f} |", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
