"""What one slice of a report measures at, on each scale: from cells to estimates, categories, confusion and verdict."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibration.evidence.cells import Cell, Sample, VoteGroup, add_moments
from calibration.stats import human, moments, multilabel, summary, verdicts
from calibration.stats.categories import CategoryEstimates
from calibration.stats.estimate import Estimate
from calibration.stats.multiplicity import benjamini_hochberg
from calibration.stats.strata import Strata
from calibration.stats.tables import ConfusionTable
from calibration.stats.verdicts import Pooled, Verdict
from labeling.values import Scale

NOT_CATEGORICAL = "interval_scale"
NO_ORDER = "no_order"
Slice = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a slice must clear: a statistic and its least value."""

    statistic: str
    at_least: float

    def for_scale(self, kind: str) -> Bar:
        """Interval signals have alpha alone; accuracy and kappa need categories, weighted kappa an order of them."""
        if kind == "interval":
            return Bar("alpha", self.at_least)
        if self.statistic == "weighted_kappa" and kind in ("nominal", "multilabel"):
            return Bar("kappa", self.at_least)
        return self


@dataclass(frozen=True, slots=True)
class Measured:
    """One slice of one version."""

    slice: Slice
    n: int
    effective_n: float
    estimates: dict[str, Estimate]
    verdict: Verdict
    categories: list[dict[str, Any]] = field(default_factory=list)
    confusion: dict[str, Any] | None = None
    baseline: dict[str, Any] | None = None


def scores_of(scale: Scale) -> tuple[float, ...] | None:
    """The categories' scores where every one has its own and they differ; else their positions serve."""
    scores = tuple(score for score in scale.scores if score is not None)
    usable = len(scores) == len(scale.values) and len(set(scores)) == len(scores)
    return scores if usable else None


def measure(
    scale: Scale,
    groups: Mapping[Slice, Sequence[Cell]],
    bar: Bar,
    grown: frozenset[Slice],
    sample: Sample | None = None,
) -> list[Measured]:
    """Every slice at once; the slices in `grown` are judged at the stricter level (see `verdicts`).

    The whole, slice (), is a question of its own; the others are judged as one family. `sample` says by which strata
    the gold was drawn, if by any: statistics of categories are as narrow as they make them.
    """
    if scale.kind == "interval":
        return _interval(scale, groups, bar, grown)
    if scale.kind == "multilabel":
        return _multilabel(scale, groups, bar, grown)
    return _categorical(scale, groups, bar, grown, sample)


def _categorical(
    scale: Scale,
    groups: Mapping[Slice, Sequence[Cell]],
    bar: Bar,
    grown: frozenset[Slice],
    sample: Sample | None,
) -> list[Measured]:
    slices = list(groups)
    tables = [confusion_table(scale, groups[key]) for key in slices]
    scores, strata = scores_of(scale), strata_of(scale, [groups[key] for key in slices], sample)
    found = summary.summarise_all(tables, scale=scale.kind, scores=scores, strata=strata)
    words = _table_verdicts(scale, slices, tables, bar, grown, strata)
    return [
        Measured(
            key,
            one.n,
            one.effective_n,
            one.estimates | _without_order(scale),
            words[key],
            [category_row(row) for row in one.per_category],
            {"labels": list(scale.values), "matrix": table.n.tolist()},
            _constant(one.baseline),
        )
        for key, table, one in zip(slices, tables, found, strict=True)
    ]


def confusion_table(scale: Scale, cells: Sequence[Cell]) -> ConfusionTable:
    """Gold against answers, in the order of the scale."""
    return ConfusionTable.from_cells(scale.values, ((c.gold, c.predicted, c.n, c.s1, c.s2) for c in cells))


def strata_of(scale: Scale, slices: Sequence[Sequence[Cell]], sample: Sample | None) -> Strata | None:
    """The cells of every slice by stratum of the design; None without a design."""
    if sample is None:
        return None
    category = {value: place for place, value in enumerate(scale.values)}
    place = {name: number for number, name in enumerate(sample.strata)}
    rows = [
        (number, place[c.key[sample.position]], category[c.gold], category[c.predicted], c.n)
        for number, cells in enumerate(slices)
        for c in cells
    ]
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    known = np.array([(one.labels, one.weight, one.population) for one in sample.strata.values()], dtype=float)
    slice_, stratum, gold, predicted, n = (table[:, column] for column in range(5))
    labels, weights, populations = (known[:, column] for column in range(3))
    return Strata(slice_, stratum, gold, predicted, n.astype(float), labels, weights, populations)


def _without_order(scale: Scale) -> dict[str, Estimate]:
    ordered = scale.kind in summary.RANKED
    return {} if ordered else {"weighted_kappa": Estimate.undefined(NO_ORDER)}


def _table_verdicts(
    scale: Scale,
    slices: Sequence[Slice],
    tables: Sequence[ConfusionTable],
    bar: Bar,
    grown: frozenset[Slice],
    strata: Strata | None,
) -> dict[Slice, Verdict]:
    words: dict[Slice, Verdict] = {}
    for numbers in ([n for n, key in enumerate(slices) if not key], [n for n, key in enumerate(slices) if key]):
        family, chosen = [slices[n] for n in numbers], [tables[n] for n in numbers]
        for confidence in (verdicts.PLANNED_CONFIDENCE, verdicts.GROWN_CONFIDENCE):
            found = verdicts.verdicts(
                bar.statistic,
                chosen,
                bar.at_least,
                scale=scale.kind,
                scores=scores_of(scale),
                confidence=confidence,
                strata=None if strata is None else strata.take(numbers),
            )
            strict = confidence == verdicts.GROWN_CONFIDENCE
            words |= {key: word for key, word in zip(family, found, strict=True) if strict == (key in grown)}
    return words


def category_row(row: CategoryEstimates) -> dict[str, Any]:
    """One category of the report's `per_category`."""
    named = ("precision", "recall", "f1", "share", "predicted_share")
    return {"value": row.category, "support": row.support} | {name: getattr(row, name).as_dict() for name in named}


def _constant(baseline: summary.Baseline | None) -> dict[str, Any] | None:
    """What always giving the most frequent answer would reach; its kappa is 0."""
    if baseline is None:
        return None
    return {"value": baseline.category, "accuracy": baseline.accuracy.as_dict(), "kappa": 0.0}


def span_of(scale: Scale) -> float | None:
    """The range of a scale of numbers, where it has one."""
    return None if scale.minimum is None or scale.maximum is None else scale.maximum - scale.minimum


def _interval(
    scale: Scale, groups: Mapping[Slice, Sequence[Cell]], bar: Bar, grown: frozenset[Slice]
) -> list[Measured]:
    span = span_of(scale)
    sums = {key: _moments(cells, span) for key, cells in groups.items()}
    levels = {key: _confidence(key, grown) for key in groups}
    tested = {key: moments.alpha(one, levels[key]) if one.n else None for key, one in sums.items()}
    p_values = {key: moments.trust_p(one, bar.at_least) for key, one in sums.items() if one.n}
    sizes = {key: one.n for key, one in sums.items()}
    words = _estimate_verdicts(bar, tested, p_values, sizes, sizes, grown)
    return [
        Measured(key, one.n, one.effective_n, _interval_estimates(one), words[key], baseline=_constant_number(one))
        for key, one in sums.items()
    ]


def _moments(cells: Sequence[Cell], span: float | None) -> moments.Moments:
    added = add_moments([cell.moments for cell in cells if cell.moments is not None])
    if added is None:
        return moments.Moments.from_sums(0, 0.0, 0.0, _NOTHING, span)
    n, s1, s2 = sum(c.n for c in cells), sum(c.s1 for c in cells), sum(c.s2 for c in cells)
    return moments.Moments.from_sums(n, s1, s2, added, span)


_NOTHING = {f"{w}{a}{b}": 0.0 for w in ("", "w") for a in range(5) for b in range(5 - a)} | {"abs": 0.0, "centre": 0.0}


def _interval_estimates(one: moments.Moments) -> dict[str, Estimate]:
    absent = Estimate.undefined(NOT_CATEGORICAL)
    return dict.fromkeys(("accuracy", "kappa", "weighted_kappa", "ac1"), absent) | moments.summarise(one).estimates


def _constant_number(one: moments.Moments) -> dict[str, Any] | None:
    found = moments.summarise(one)
    return None if found.constant is None else {"value": found.constant, "rmse": found.constant_rmse, "alpha": 0.0}


def _multilabel(
    scale: Scale, groups: Mapping[Slice, Sequence[Cell]], bar: Bar, grown: frozenset[Slice]
) -> list[Measured]:
    sets = {key: [_set_cell(cell) for cell in cells] for key, cells in groups.items()}
    found = {key: multilabel.summarise(scale.values, cells) for key, cells in sets.items()}
    tested = {
        key: multilabel.summarise(scale.values, cells, _confidence(key, grown)).estimates[bar.statistic]
        for key, cells in sets.items()
    }
    p_values = {
        key: multilabel.trust_p(bar.statistic, scale.values, sets[key], bar.at_least)
        for key, one in tested.items()
        if one.defined
    }
    sizes = {key: one.n for key, one in found.items()}
    minorities = {key: one.minority for key, one in found.items()}
    words = _estimate_verdicts(bar, dict(tested), p_values, sizes, minorities, grown)
    return [_multilabel_row(scale, key, one, words[key]) for key, one in found.items()]


def _multilabel_row(scale: Scale, key: Slice, one: multilabel.MultilabelSummary, word: Verdict) -> Measured:
    tables = [one.tables[label] for label in scale.values]
    per_label = [summary.summarise(table, scale="nominal") for table in tables]
    rows = [category_row(found.per_category[0]) | {"kappa": found.estimates["kappa"].as_dict()} for found in per_label]
    confusion = {"labels": list(scale.values), "per_label": [table.n.tolist() for table in tables]}
    sets = {"exact": one.exact, "masi": one.masi, "alpha_masi": one.alpha_masi}
    extra = {"weighted_kappa": Estimate.undefined(NO_ORDER)} | sets
    return Measured(key, one.n, one.effective_n, one.estimates | extra, word, rows, confusion)


def _set_cell(cell: Cell) -> multilabel.SetCell:
    gold, predicted = (frozenset(json.loads(text)) for text in (cell.gold, cell.predicted))
    return multilabel.SetCell(gold, predicted, cell.n, cell.s1, cell.s2)


def _confidence(key: Slice, grown: frozenset[Slice]) -> float:
    return verdicts.GROWN_CONFIDENCE if key in grown else verdicts.PLANNED_CONFIDENCE


def _estimate_verdicts(
    bar: Bar,
    found: Mapping[Slice, Estimate | None],
    p_values: Mapping[Slice, float],
    sizes: Mapping[Slice, int],
    minorities: Mapping[Slice, int],
    grown: frozenset[Slice],
) -> dict[Slice, Verdict]:
    """Verdicts from estimates where there is no single table; the whole alone, all other slices as one family."""
    enough = [key for key in p_values if key and sizes[key] >= verdicts.FEWEST_ITEMS]
    held = [verdicts.looked_again([p_values[key]], _confidence(key, grown))[0] for key in enough]
    adjusted = dict(zip(enough, benjamini_hochberg(held).adjusted, strict=True))
    return {
        key: verdicts.verdict(
            one or Estimate.undefined("no_items"),
            bar.at_least,
            sizes[key],
            minorities[key],
            statistic=bar.statistic,
            p=p_values.get(key),
            adjusted_p=adjusted.get(key),
            slices=len(enough) if key else 1,
        )
        for key, one in found.items()
    }


def pooled(measured: Sequence[Measured], statistic: str) -> dict[Slice, Pooled]:
    """Each slice's value drawn towards the mean of its kind: those of the same names, so that no unit counts twice."""
    kinds: dict[tuple[str, ...], list[Measured]] = defaultdict(list)
    for one in measured:
        kinds[tuple(name for name, _ in one.slice)].append(one)
    return {
        one.slice: drawn
        for kind in kinds.values()
        for one, drawn in zip(kind, verdicts.pool([other.estimates[statistic] for other in kind]), strict=True)
    }


def human_agreement(scale: Scale, groups: Sequence[VoteGroup]) -> tuple[Estimate, int]:
    """Krippendorff's alpha among people at the signal's level, and the units behind it (two labels or more)."""
    units = sum(group.units for group in groups)
    if units == 0:
        return Estimate.undefined("no_pairable_ratings"), 0
    times = [group.units for group in groups]
    if scale.kind == "multilabel":
        return _human_multilabel(scale, groups, times), units
    if scale.kind == "interval":
        values = sorted({value for group in groups for value in group.votes}, key=float)
        counts = human.count_matrix((group.votes for group in groups), values)
        numbers = [float(value) for value in values]
        return human.human_alpha(counts, level="interval", values=numbers, units=times), units
    counts = human.count_matrix((group.votes for group in groups), scale.values)
    level = "ordinal" if scale.kind == "ordinal" else "nominal"
    return human.human_alpha(counts, level=level, units=times), units


def _human_multilabel(scale: Scale, groups: Sequence[VoteGroup], times: Sequence[int]) -> Estimate:
    """The mean over labels of alpha on "has it, has it not"."""
    chosen = [[group.votes.get(label, 0) for label in scale.values] for group in groups]
    return human.multilabel_alpha(chosen, [group.annotators for group in groups], units=times)
