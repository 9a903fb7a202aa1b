"""Agreement: a million pairs, a report of many slices, and people's votes, against what one would use otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import krippendorff
import numpy as np
from sklearn import metrics
from statsmodels.stats.inter_rater import cohens_kappa, to_table

from bench.measure import Measure, best_of
from calibration.stats import human
from calibration.stats.summary import estimate, measure, summarise_all
from calibration.stats.tables import ConfusionTable
from calibration.stats.verdicts import verdicts

PAIRS, SLICES, VERSIONS, UNITS, RATERS = 1_000_000, 200, 3, 6_000, 19
REDRAWS = 20
"""Of both bootstraps; the time of 1,000 is fifty times as long."""


def run() -> Iterator[Measure]:
    """Milliseconds, best of five."""
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 5, PAIRS)
    predicted = np.where(rng.random(PAIRS) < 0.7, gold, rng.integers(0, 5, PAIRS))
    for kind in (np.int64, np.uint8):
        g, p = gold.astype(kind), predicted.astype(kind)
        yield Measure(
            f"kappa with interval, 10⁶ pairs of {kind.__name__}",
            best_of(lambda g=g, p=p: estimate("kappa", ConfusionTable.from_pairs(g, p, 5))) * 1e3,
            best_of(lambda g=g, p=p: metrics.cohen_kappa_score(g, p)) * 1e3,
            "ms",
            "scikit-learn, no interval",
            "≤ 1/40",
        )
    yield Measure(
        "kappa with interval, 10⁶ pairs of int64",
        best_of(lambda: estimate("kappa", ConfusionTable.from_pairs(gold, predicted, 5))) * 1e3,
        best_of(lambda: cohens_kappa(to_table(np.stack([gold, predicted], 1), bins=5)[0]), times=2) * 1e3,
        "ms",
        "statsmodels, Wald interval",
        "≤ 1/40",
    )
    table = ConfusionTable.from_pairs(gold, predicted, 5)
    yield Measure(
        f"bootstrap of kappa, 10⁶ pairs, {REDRAWS} redraws",
        best_of(lambda: redrawn_tables(table, np.random.default_rng(2), REDRAWS)) * 1e3,
        best_of(lambda: redrawn_rows(gold, predicted, np.random.default_rng(2), REDRAWS), times=1) * 1e3,
        "ms",
        "resampled rows, scikit-learn",
        "≤ 1/300",
    )

    pattern = (np.eye(5) * 3 + 0.3).ravel() / (np.eye(5) * 3 + 0.3).sum()
    counts = rng.multinomial(100, pattern, size=SLICES * VERSIONS).reshape(-1, 5, 5)
    tables = [ConfusionTable.from_counts(table) for table in counts]
    report = best_of(lambda: whole_report(tables))
    pairs = [_pairs(table) for table in counts]
    yield Measure(
        f"{SLICES} slices × {VERSIONS} versions, all statistics with intervals and verdicts",
        report * 1e3,
        best_of(lambda: [_by_scikit_learn(*pair) for pair in pairs], times=1) * 1e3,
        "ms",
        "four statistics by scikit-learn, no interval",
        "≤ 50 ms",
    )

    votes = rng.multinomial(RATERS, [0.5, 0.2, 0.15, 0.1, 0.05], size=UNITS)
    alpha = best_of(lambda: human.human_alpha(votes, level="ordinal"))
    other = best_of(
        lambda: krippendorff.alpha(value_counts=votes, level_of_measurement="ordinal", value_domain=range(5))
    )
    yield Measure(
        f"alpha with interval, {UNITS} units × {RATERS} people",
        alpha * 1e3,
        other * 1e3,
        "ms",
        "krippendorff, no interval",
    )


def whole_report(tables: list[ConfusionTable]) -> None:
    """Every statistic of every slice of three versions, and each version's verdicts."""
    summarise_all(tables, scale="ordinal")
    for start in range(0, len(tables), SLICES):
        verdicts("kappa", tables[start : start + SLICES], 0.6, scale="ordinal")


def redrawn_tables(table: ConfusionTable, rng: np.random.Generator, redraws: int) -> np.ndarray:
    """Kappa of tables drawn anew: the same distribution as resampling rows, from one multinomial draw each."""
    drawn = rng.multinomial(table.total, table.shares.ravel(), size=redraws).reshape(-1, *table.n.shape)
    return measure("kappa", table.size)(drawn / table.total, np.full(redraws, float(table.total))).value


def redrawn_rows(gold: np.ndarray, predicted: np.ndarray, rng: np.random.Generator, redraws: int) -> list[float]:
    """Kappa of rows drawn anew, as one would write it."""
    places = (rng.integers(0, len(gold), len(gold)) for _ in range(redraws))
    return [metrics.cohen_kappa_score(gold[place], predicted[place]) for place in places]


def _pairs(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(table.shape)
    return np.repeat(rows.ravel(), table.ravel()), np.repeat(columns.ravel(), table.ravel())


def _by_scikit_learn(gold: np.ndarray, predicted: np.ndarray) -> tuple[float, ...]:
    return (
        metrics.accuracy_score(gold, predicted),
        metrics.cohen_kappa_score(gold, predicted),
        metrics.matthews_corrcoef(gold, predicted),
        metrics.f1_score(gold, predicted, average="macro"),
    )
