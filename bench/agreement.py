"""Agreement: a million pairs, a report of many slices, and people's votes, against what one would use otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import krippendorff
import numpy as np
from sklearn import metrics

from bench.measure import Measure, best_of
from calibration.stats import human
from calibration.stats.summary import estimate, summarise_all
from calibration.stats.tables import ConfusionTable

PAIRS, SLICES, UNITS, RATERS = 1_000_000, 600, 6_000, 19


def run() -> Iterator[Measure]:
    """Milliseconds, best of five."""
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 5, PAIRS)
    predicted = np.where(rng.random(PAIRS) < 0.7, gold, rng.integers(0, 5, PAIRS))
    ours = best_of(lambda: estimate("kappa", ConfusionTable.from_pairs(gold, predicted, 5)))
    theirs = best_of(lambda: metrics.cohen_kappa_score(gold, predicted))
    yield Measure("kappa with interval, 10⁶ pairs", ours * 1e3, theirs * 1e3, "ms", "scikit-learn, no interval")

    pattern = (np.eye(5) * 3 + 0.3).ravel() / (np.eye(5) * 3 + 0.3).sum()
    counts = rng.multinomial(100, pattern, size=SLICES).reshape(SLICES, 5, 5)
    tables = [ConfusionTable.from_counts(table) for table in counts]
    report = best_of(lambda: summarise_all(tables, scale="ordinal"))
    pairs = [_pairs(table) for table in counts]
    yield Measure(
        f"{SLICES} slices, all statistics with intervals",
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
