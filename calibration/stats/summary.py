"""What a report says about one table of gold against classifier, or about many tables at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from calibration.stats import agreement, categories, intervals
from calibration.stats.categories import CategoryEstimates
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.strata import Strata
from calibration.stats.tables import ConfusionTable, StratifiedTable

STATISTICS = ("accuracy", "kappa", "weighted_kappa", "alpha", "ac1", "mcc", "macro_f1")
RANKED = ("binary", "ordinal")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best constant classifier: it always answers the most frequent gold category, and its kappa is 0."""

    category: str
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Summary:
    """Every statistic of one table by name, its categories, and what a constant answer would reach."""

    estimates: dict[str, Estimate]
    per_category: tuple[CategoryEstimates, ...]
    baseline: Baseline | None
    n: int
    effective_n: float
    population: float


def _alpha(size: int, scale: str, scores: Sequence[float] | None) -> agreement.Measure:
    if scale == "ordinal":
        return agreement.alpha_ordinal()
    weights = agreement.disagreement("quadratic" if scale == "interval" else "identity", size, scores)
    return agreement.alpha(weights)


_MEASURES: dict[str, Callable[[int, str, Sequence[float] | None], agreement.Measure]] = {
    "accuracy": lambda size, scale, scores: agreement.accuracy(),
    "kappa": lambda size, scale, scores: agreement.kappa(agreement.disagreement("identity", size)),
    "weighted_kappa": lambda size, scale, scores: agreement.kappa(agreement.disagreement("quadratic", size, scores)),
    "alpha": _alpha,
    "ac1": lambda size, scale, scores: agreement.gwet(agreement.disagreement("identity", size)),
    "ac2": lambda size, scale, scores: agreement.gwet(agreement.disagreement("quadratic", size, scores)),
    "scott_pi": lambda size, scale, scores: agreement.scott(agreement.disagreement("identity", size)),
    "mcc": lambda size, scale, scores: agreement.mcc(),
    "macro_f1": lambda size, scale, scores: agreement.macro_f1(),
}


def measure(
    statistic: str, size: int, *, scale: str = "nominal", scores: Sequence[float] | None = None
) -> agreement.Measure:
    """The measure behind a statistic's name; `scores` space the categories of a weighted statistic."""
    if statistic not in _MEASURES:
        raise StatisticsError(f"unknown statistic {statistic!r}; known are {', '.join(_MEASURES)}")
    return _MEASURES[statistic](size, scale, scores)


def estimate(
    statistic: str,
    table: ConfusionTable | StratifiedTable,
    *,
    scale: str = "nominal",
    scores: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """One statistic of one table, evenly drawn, weighted or stratified."""
    if isinstance(table, ConfusionTable):
        return estimate_all(statistic, [table], scale=scale, scores=scores, confidence=confidence)[0]
    chosen = measure(statistic, table.strata[0].table.size, scale=scale, scores=scores)
    return intervals.stratified_interval(chosen, table, confidence, _floor(statistic))


def estimate_all(
    statistic: str,
    tables: Sequence[ConfusionTable],
    *,
    scale: str = "nominal",
    scores: Sequence[float] | None = None,
    confidence: float = 0.95,
    strata: Strata | None = None,
) -> list[Estimate]:
    """One statistic of every table, computed at once; `strata` are those that their labels were drawn by."""
    if not tables:
        return []
    return _of_stack(statistic, intervals.stack(list(tables)), scale, scores, confidence, strata)


def _of_stack(
    statistic: str,
    cells: intervals.Stack,
    scale: str,
    scores: Sequence[float] | None,
    confidence: float,
    strata: Strata | None,
) -> list[Estimate]:
    if statistic == "accuracy" and strata is None:
        return categories.accuracy_estimates(cells, confidence)
    size = cells.n.shape[-1]
    chosen, graded = measure(statistic, size, scale=scale, scores=scores), is_graded(statistic, size, scale)
    floor = _floor(statistic)
    limits = intervals.transferred_wilson(chosen, cells, confidence, floor, graded=graded, strata=strata)
    method = intervals.GRADED if graded else intervals.TRANSFERRED
    if strata is None:
        return intervals.estimates(limits, cells, confidence, method)
    sizes = intervals.effective_sizes(cells, strata)
    return intervals.estimates(limits, cells, confidence, f"{intervals.BY_STRATA}, {method}", sizes)


def is_graded(statistic: str, size: int, scale: str) -> bool:
    """Whether some misses count for more than others.

    By distance, where there are more than two categories; for macro-F1 a miss of a rare category weighs as much as many of a
    frequent one.
    """
    if statistic == "macro_f1":
        return True
    by_distance = statistic in ("weighted_kappa", "ac2") or (statistic == "alpha" and scale in ("ordinal", "interval"))
    return by_distance and size > 2


def _floor(statistic: str) -> float:
    return 0.0 if statistic in ("accuracy", "macro_f1") else -1.0


def summarise_all(
    tables: Sequence[ConfusionTable],
    *,
    scale: str,
    scores: Sequence[float] | None = None,
    statistics: Sequence[str] = STATISTICS,
    confidence: float = 0.95,
    strata: Strata | None = None,
) -> list[Summary]:
    """The summary of every table of a report, computed at once.

    Weighted kappa needs an order: it is left out of nominal and multilabel signals. `strata` are those that the labels
    were drawn by; shares, precision, recall and F1 do not use them and are a little wide then.
    """
    if not tables:
        return []
    wanted = [name for name in statistics if name != "weighted_kappa" or scale in RANKED]
    cells = intervals.stack(list(tables))
    columns = {name: _of_stack(name, cells, scale, scores, confidence, strata) for name in wanted}
    by_category = categories.per_category(cells, tables[0].categories, confidence)
    by_table = (dict(zip(wanted, row, strict=True)) for row in zip(*(columns[name] for name in wanted), strict=True))
    sizes = (cells.labels.astype(int), intervals.effective_sizes(cells, strata), cells.weight)
    baselines = map(_baseline, by_category)
    return list(map(Summary, by_table, by_category, baselines, *(column.tolist() for column in sizes)))


def summarise(
    table: ConfusionTable,
    *,
    scale: str,
    scores: Sequence[float] | None = None,
    statistics: Sequence[str] = STATISTICS,
    confidence: float = 0.95,
) -> Summary:
    """The summary of one table."""
    return summarise_all([table], scale=scale, scores=scores, statistics=statistics, confidence=confidence)[0]


def _baseline(by_category: tuple[CategoryEstimates, ...]) -> Baseline | None:
    """The constant classifier; None without labels."""
    shares = [(row.share.value, row) for row in by_category if row.share.value is not None]
    if not shares:
        return None
    best = max(shares, key=lambda pair: pair[0])[1]
    return Baseline(best.category, best.share)
