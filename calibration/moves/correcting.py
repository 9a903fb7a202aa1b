"""A charted number as scored, and as it is by the labels of a part: counts of the rollup beside labelled units."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from calibration import slices, volumes
from calibration.moves.attribution import MEAN, Measure
from calibration.stats import trends as stats
from calibration.stats.estimate import Estimate
from calibration.stats.tables import ConfusionTable
from calibration.stats.trends import LEAST_LABELS, LEAST_OF_CATEGORY, SliceScores, SliceShares
from calibration.streams import Answer, Said
from calibration.volumes import Volume

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled unit with the answer of the version in service on its day."""

    day: date
    place: Place
    version: int
    answer: Answer
    said: Said


def raw(chart: Measure | None, rows: Sequence[Volume], n: int) -> float | None:
    """What the classifier says, uncorrected."""
    if not n:
        return None
    if chart is None:
        return sum(row.total for row in rows) / n
    return sum(row.count * _score(chart, row.value) for row in rows) / n


def _score(chart: Measure, value: str) -> float:
    code = chart.code(value)
    return chart.scores[chart.categories.index(code)] if code is not None else 0.0


def corrected(
    chart: Measure | None, rows: Sequence[Volume], used: Sequence[Labelled], *, confidence: float = 0.95
) -> Estimate:
    """What is true by the labels `used`, beside all predictions; too few of them are told at once, before any table."""
    if len(used) < LEAST_LABELS:
        return Estimate.undefined("too_few_items" if used else "no_items", n=len(used))
    if chart is None or chart.value == MEAN:
        return stats.mean_trend(_score_slices(chart, rows, used), confidence=confidence)
    return _share(chart, rows, used, confidence)


def _share(chart: Measure, rows: Sequence[Volume], used: Sequence[Labelled], confidence: float) -> Estimate:
    """The post-stratified share of the charted category."""
    wanted = next(i for i, score in enumerate(chart.scores) if score == 1.0)
    if sum(chart.code(one.answer.value) == chart.categories[wanted] for one in used) < LEAST_OF_CATEGORY:
        return Estimate.undefined("too_few_items", n=len(used))
    counts: dict[Place, Counter[str]] = defaultdict(Counter)
    for row in rows:
        code = chart.code(row.value)
        if code is not None:
            counts[row.place][code] += row.count
    cells: dict[Place, list[tuple[str, str, int, float, float]]] = defaultdict(list)
    for one in used:
        gold, predicted = chart.code(one.answer.value), chart.code(one.said.value)
        if gold is not None and predicted is not None and one.place in counts:
            weight = one.answer.weight
            cells[one.place].append((gold, predicted, 1, weight, weight**2))
    parts = [
        SliceShares(
            ConfusionTable.from_cells(chart.categories, cells[place]),
            tuple(found[name] for name in chart.categories),
            slices.words(slices.slice_of(volumes.CORE, place)),
        )
        for place, found in sorted(counts.items())
    ]
    return (
        stats.corrected_shares(parts, confidence=confidence).shares[wanted] if parts else Estimate.undefined("no_items")
    )


def _score_slices(chart: Measure | None, rows: Sequence[Volume], used: Sequence[Labelled]) -> list[SliceScores]:
    """Numbers of labelled units beside those of all; a mean and a spread stand for numbers that the rollup sums up."""
    mine: dict[Place, list[Volume]] = defaultdict(list)
    for row in rows:
        mine[row.place].append(row)
    known: dict[Place, list[Labelled]] = defaultdict(list)
    for one in used:
        known[one.place].append(one)
    parts = []
    for place, found in sorted(mine.items()):
        values, counts = _values(chart, found)
        here = known[place]
        parts.append(
            SliceScores(
                labels=tuple(_number(chart, one.answer.value, one.answer.number) for one in here),
                predictions=tuple(_number(chart, one.said.value, one.said.number) for one in here),
                unlabelled=values,
                counts=counts,
                weights=tuple(one.answer.weight for one in here),
                name=slices.words(slices.slice_of(volumes.CORE, place)),
            )
        )
    return parts


def _number(chart: Measure | None, value: str, number: float | None) -> float:
    return _score(chart, value) if chart is not None else float(number or 0.0)


def _values(chart: Measure | None, rows: Sequence[Volume]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if chart is not None:
        return tuple(_score(chart, row.value) for row in rows), tuple(row.count for row in rows)
    n = sum(row.count for row in rows)
    mean = sum(row.total for row in rows) / n
    spread = max(sum(row.total_squares for row in rows) / n - mean**2, 0.0) ** 0.5
    return (mean - spread, mean + spread), (n - n // 2, n // 2)
