"""How many labels does a design save? Mean squared error of estimates, relative to a simple random sample's.

    python -m bench.design_sim [--quick] [--data FOLDER]

A factor of .6 means that the design reaches with 60 labels what 100 random ones reach. Draws come from `labeling.design`
and are estimated with their inclusion probabilities (Hájek). `--data` is a folder with `labels.jsonl.gz`,
`predictions.jsonl.gz` (with probabilities) and `conversations.jsonl.gz`; without it only made-up frames are used.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.stats.strata import Strata
from calibration.stats.summary import estimate_all
from calibration.stats.tables import ConfusionTable
from labeling.design import Draw, Scored, Unit, confidence_strata, draw

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

SIZE = 300


@dataclass(frozen=True)
class Frame:
    """A population whose gold is known: what a design may see, and what it is judged by."""

    name: str
    categories: tuple[str, ...]
    gold: Codes
    predicted: Codes
    confidence: Floats
    slices: tuple[str, ...]

    def units(self) -> list[Unit]:
        return [Unit(f"{index:06}", name) for index, name in enumerate(self.slices)]

    def scored(self, *, within: bool = False) -> list[Scored]:
        rows = zip(self.predicted.tolist(), self.confidence.tolist(), self.slices, strict=True)
        return [
            Scored(f"{index:06}", self.categories[answer], sure, name if within else "")
            for index, (answer, sure, name) in enumerate(rows)
        ]


def made_up(rng: np.random.Generator, *, sharpness: float, name: str, count: int = 10_000) -> Frame:
    """Three categories (70/20/10), six slices; `sharpness` says how well confidence tells errors from hits."""
    gold = rng.choice(3, size=count, p=[0.7, 0.2, 0.1])
    hard = rng.beta(1.2 / sharpness, 4 / sharpness, size=count)
    wrong = rng.random(count) < hard
    predicted = np.where(wrong, (gold + rng.integers(1, 3, count)) % 3, gold)
    slices = tuple(f"s{number}" for number in rng.choice(6, size=count, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04]))
    return Frame(name, ("most", "some", "few"), gold, predicted, 1 - hard, slices)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def real(folder: Path, classifier: str, version: str, signal: str) -> Frame:
    """A labelled set with a classifier's probabilities; slices are cohorts."""
    labels = {row["conversation"]: row["value"] for row in lines(folder / "labels.jsonl.gz") if row["signal"] == signal}
    cohorts = {row["id"]: row["cohort"] for row in lines(folder / "conversations.jsonl.gz")}
    rows = [
        row
        for row in lines(folder / "predictions.jsonl.gz")
        if (row["classifier"], row["version"]) == (classifier, version) and row["conversation"] in labels
    ]
    categories = tuple(sorted(set(labels.values())))
    codes = {category: code for code, category in enumerate(categories)}
    return Frame(
        f"{folder.name}, {classifier}@{version}",
        categories,
        np.array([codes[labels[row["conversation"]]] for row in rows]),
        np.array([codes[row["value"]] for row in rows]),
        np.array([min(max(row["probabilities"].values()), 1.0) for row in rows]),
        tuple(cohorts[row["conversation"]] for row in rows),
    )


def samplers(frame: Frame) -> dict[str, Any]:
    """Name → function of a generator that draws a sample of SIZE."""
    by_slice, scored = frame.units(), confidence_strata(frame.scored())
    unsure = [
        Unit(unit.key, "", float(np.sqrt(max(unit.measure or 0.0, 0.005) * (1 - min(unit.measure or 0.0, 0.995)))))
        for unit in scored.units
    ]

    def stratified(units: Any, **plan: Any) -> Any:
        return lambda rng: draw(units, size=SIZE, strategy="stratified", rng=rng, **plan)

    return {
        "simple random": lambda rng: draw(by_slice, size=SIZE, strategy="uniform", rng=rng),
        "proportional over slices": stratified(by_slice),
        "equal per slice": stratified(by_slice, allocation="equal"),
        "prediction × 5 confidence bands": stratified(
            scored.units, allocation="neyman", spreads=scored.spreads, minimum=4
        ),
        "probability ∝ √ predicted error variance": lambda rng: draw(unsure, size=SIZE, strategy="unequal", rng=rng),
    }


def estimates(frame: Frame, sample: Draw) -> Floats:
    """Kappa, accuracy and the share of the rarest category, each pick weighted by 1 / inclusion probability."""
    index = np.array([int(pick.key) for pick in sample.picks])
    weight = 1 / np.array([pick.inclusion_probability for pick in sample.picks])
    size = len(frame.categories)
    return measured(frame.gold[index], frame.predicted[index], weight, size, rarest(frame))


def interval(frame: Frame, sample: Draw) -> tuple[float, float]:
    """The report's interval of kappa: by strata where they drew the sample, from the weights alone elsewhere."""
    index = np.array([int(pick.key) for pick in sample.picks])
    weight = 1 / np.array([pick.inclusion_probability for pick in sample.picks])
    size = len(frame.categories)
    table = ConfusionTable.from_pairs(frame.gold[index], frame.predicted[index], size, weight)
    found = estimate_all("kappa", [table], strata=strata_of(frame, sample, index, weight))[0]
    return found.low or -1.0, found.high or 1.0


def strata_of(frame: Frame, sample: Draw, index: Codes, weight: Floats) -> Strata | None:
    """None for samples that no strata drew: those of one chance for all, or of a chance for each."""
    names = {plan.name: place for place, plan in enumerate(plan for plan in sample.strata if plan.allocated)}
    place = np.array([names[pick.stratum] for pick in sample.picks])
    labels = np.bincount(place).astype(float)
    populations = np.array([plan.population for plan in sample.strata if plan.allocated], dtype=float)
    own = np.bincount(place, weight) / labels
    if len(names) < 2 or not np.allclose(own * labels, populations, rtol=1e-6):
        return None
    one, first = np.ones(len(index)), np.zeros(len(index), dtype=np.int64)
    return Strata(first, place, frame.gold[index], frame.predicted[index], one, labels, own, populations)


def rarest(frame: Frame) -> int:
    return int(np.bincount(frame.gold, minlength=len(frame.categories)).argmin())


def measured(gold: Codes, predicted: Codes, weight: Floats, size: int, rare: int) -> Floats:
    cells = np.bincount(gold * size + predicted, weights=weight, minlength=size * size).reshape(size, size)
    cells /= cells.sum()
    accuracy, chance = float(np.trace(cells)), float(cells.sum(axis=0) @ cells.sum(axis=1))
    return np.array([(accuracy - chance) / (1 - chance), accuracy, cells[rare].sum()])


def compare(frame: Frame, draws: int) -> None:
    truth = measured(frame.gold, frame.predicted, np.ones(len(frame.gold)), len(frame.categories), rarest(frame))
    print(
        f"\n{frame.name}: {len(frame.gold)} items, accuracy {truth[1]:.2f}, kappa {truth[0]:.2f}, rarest category "
        f"{truth[2]:.2f}; {SIZE} labels, {draws} draws\n"
    )
    print(
        "| design | labels for kappa | for accuracy | for the rare share | bias of kappa | width² of kappa's interval | coverage |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    base, widest = None, 1.0
    for name, sample in samplers(frame).items():
        rng = np.random.default_rng(31)
        drawn = [sample(rng) for _ in range(draws)]
        found = np.stack([estimates(frame, one) for one in drawn])
        limits = np.array([interval(frame, one) for one in drawn])
        width = (limits[:, 1] - limits[:, 0]).mean()
        widest = width if base is None else widest
        held = ((limits[:, 0] <= truth[0]) & (truth[0] <= limits[:, 1])).mean()
        error = ((found - truth) ** 2).mean(axis=0)
        base = error if base is None else base
        cells = " | ".join(f"{value:.2f}" for value in error / base)
        bias = found.mean(axis=0)[0] - truth[0]
        print(f"| {name} | {cells} | {bias:+.3f} | {(width / widest) ** 2:.2f} | {held:.3f} |", flush=True)


def main() -> None:
    draws = 120 if "--quick" in sys.argv else 700
    rng = np.random.default_rng(8)
    compare(made_up(rng, sharpness=0.5, name="made up, dull confidence"), draws)
    compare(made_up(rng, sharpness=2.5, name="made up, sharp confidence"), draws)
    if "--data" in sys.argv:
        folder = Path(sys.argv[sys.argv.index("--data") + 1])
        compare(real(folder, "tfidf-lr", "v2", "sentiment"), draws)


if __name__ == "__main__":
    main()
