"""From an interval and a bar to a word: trusted, untrusted or unproven; and how many labels would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from calibration.stats import intervals
from calibration.stats.agreement import Measure, margins
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import Stack
from calibration.stats.multiplicity import benjamini_hochberg
from calibration.stats.strata import Strata
from calibration.stats.summary import estimate_all, is_graded, measure
from calibration.stats.tables import Array, ConfusionTable

TRUSTED, UNTRUSTED, UNPROVEN = "trusted", "untrusted", "unproven"
# Gold of a size planned beforehand is judged at the first level; gold that grew because a verdict was unproven at the
# second, for every further look is another chance to be lucky.
PLANNED_CONFIDENCE, GROWN_CONFIDENCE = 0.95, 0.99
FEWEST_ITEMS, FEWEST_MINORITY = 30, 5
# AC2 falls below its interval too often in small samples.
FEWEST_ITEMS_OF = {"ac2": 100}
FALSE_DISCOVERY_RATE = 0.05
MOST_LABELS = 5000
NEAREST_GAP = 0.02
POWER_QUANTILE = 0.84
NO_ERROR = 1e-9
"""A smaller standard error is the rounding of none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word with its reason.

    Reasons: `clears_bar`, `below_bar`, `spans_bar`, `too_few_items`, `other_slices` (its own interval clears the bar,
    but not after allowing for the other slices looked at), or why the statistic is undefined. `labels_needed` are
    further labels for a decision with 80 % power, `MOST_LABELS` meaning "that many or more"; None where nothing can be
    said; the range is that over the value plus and minus a standard error.
    """

    word: str
    reason: str
    labels_needed: int | None = 0
    labels_needed_range: tuple[int, int] | None = None
    p: float | None = None
    adjusted_p: float | None = None


@dataclass(frozen=True, slots=True)
class Pooled:
    """A slice's value drawn towards the mean of all slices; `weight` is what remains of its own value. Display only."""

    value: float | None
    weight: float


def minority(table: ConfusionTable) -> int:
    """Gold labels outside the category that gold and classifier use most."""
    return minorities_of(intervals.stack([table]))[0]


def minorities_of(cells: Stack) -> list[int]:
    """The same for every table of a stack."""
    used, given = margins(cells.s1)
    largest = (used + given).argmax(-1)
    gold, _ = margins(cells.n)
    others = cells.labels - np.take_along_axis(gold, largest[:, None], -1)[:, 0]
    return [int(number) for number in others]


def verdict(
    found: Estimate,
    bar: float,
    n: int,
    minority_n: int,
    *,
    statistic: str = "kappa",
    p: float | None = None,
    adjusted_p: float | None = None,
    slices: int = 1,
) -> Verdict:
    """The verdict on one slice; with `slices` > 1, trust needs the adjusted p value below the false discovery rate."""
    if not math.isfinite(bar):
        raise StatisticsError(f"a bar must be finite, not {bar!r}")
    if found.value is None:
        return Verdict(UNPROVEN, found.reason or "no_items", too_few_needed(n, minority_n, statistic))
    if n < FEWEST_ITEMS_OF.get(statistic, FEWEST_ITEMS) or minority_n < FEWEST_MINORITY:
        enough = too_few_needed(n, minority_n, statistic)
        return Verdict(UNPROVEN, "too_few_items", enough, p=p, adjusted_p=adjusted_p)
    if found.high is not None and found.high < bar:
        return Verdict(UNTRUSTED, "below_bar", p=p, adjusted_p=adjusted_p)
    clears = found.low is not None and found.low >= bar
    if clears and (slices < 2 or (adjusted_p is not None and adjusted_p <= FALSE_DISCOVERY_RATE)):
        return Verdict(TRUSTED, "clears_bar", p=p, adjusted_p=adjusted_p)
    needed, around = labels_needed(found, bar, slices=slices if clears else 1)
    return Verdict(UNPROVEN, "other_slices" if clears else "spans_bar", needed, around, p, adjusted_p)


def too_few_needed(n: int, minority_n: int, statistic: str = "kappa") -> int:
    """Further labels until the smallest numbers for a verdict are likely reached, at the present mix."""
    fewest = FEWEST_ITEMS_OF.get(statistic, FEWEST_ITEMS)
    share = max(minority_n, 0.5) / max(n, 1)
    for_minority = math.ceil(FEWEST_MINORITY / share) - n if n and minority_n < FEWEST_MINORITY else 0
    return min(max(fewest - n, for_minority, 1), MOST_LABELS)


def labels_needed(found: Estimate, bar: float, *, slices: int = 1) -> tuple[int | None, tuple[int, int] | None]:
    """Further labels for a decision, ((z + .84) s / gap)**2 less those at hand, and its range over one standard error.

    With several slices z allows for all of them (Bonferroni, of which Benjamini-Hochberg is the milder relative).
    """
    error = _error(found)
    if found.value is None or error is None:
        return None, None
    z = float(special.ndtri(1 - min(0.025, FALSE_DISCOVERY_RATE / max(slices, 1))))

    def further(value: float) -> int:
        gap = abs(value - bar)
        if gap < NEAREST_GAP:
            return MOST_LABELS
        whole = found.n * ((z + POWER_QUANTILE) * error / gap) ** 2
        return min(max(math.ceil(whole) - found.n, 1), MOST_LABELS)

    low, high = found.value - error, found.value + error
    ends = [further(low), further(high), further(found.value)]
    most = MOST_LABELS if low <= bar <= high else max(ends)
    return ends[2], (min(ends), most)


def _error(found: Estimate) -> float | None:
    """The standard error; where no label disagreed, the one that the interval stands for."""
    if found.standard_error is not None and found.standard_error > NO_ERROR:
        return found.standard_error
    half = found.half_width
    return None if half is None else half / intervals.normal_quantile(found.confidence)


def trust_p(
    statistic: str,
    chosen: Measure,
    cells: Stack,
    bar: float,
    *,
    graded: bool = False,
    strata: Strata | None = None,
) -> Array:
    """One-sided p of "at most the bar" for each table, matching the lower limits of `estimate_all` at any confidence."""

    def score_p(moved: Stack) -> Array:
        parts = chosen(moved.shares, moved.labels)
        size = intervals.effective_size(parts, intervals.spread(moved, cells, strata)(parts), moved.kish)
        return intervals.clearing_p(parts, size, intervals.freedom(cells, strata), bar)

    p = score_p(cells)
    if graded:
        p = np.maximum(p, score_p(intervals.half_a_miss(cells, in_all=True)))
    unequal = intervals.weights_differ(cells)
    if unequal.any():
        p = np.where(unequal, np.maximum(p, score_p(intervals.half_a_miss(cells))), p)
    if statistic == "accuracy" and strata is None:
        parts, even = chosen(cells.shares, cells.labels), np.full(p.shape, np.inf)
        p = np.where(unequal, p, intervals.clearing_p(parts, cells.labels, even, bar))
    return np.where(cells.labels > 1, p, 1.0)


def verdicts(
    statistic: str,
    tables: Sequence[ConfusionTable],
    bar: float,
    *,
    scale: str = "nominal",
    scores: Sequence[float] | None = None,
    confidence: float = PLANNED_CONFIDENCE,
    strata: Strata | None = None,
) -> list[Verdict]:
    """The verdicts on all slices of a report; with more than one, trust needs Benjamini-Hochberg as well.

    Slices with too few items take part in no test and cost the others nothing. At a stricter confidence than that of
    planned gold the p values count as many times as the interval's error is smaller: looks repeat for tests as well.
    """
    if not tables:
        return []
    found = estimate_all(statistic, tables, scale=scale, scores=scores, confidence=confidence, strata=strata)
    chosen = measure(statistic, tables[0].size, scale=scale, scores=scores)
    graded = is_graded(statistic, tables[0].size, scale)
    cells = intervals.stack(list(tables))
    p_values = trust_p(statistic, chosen, cells, bar, graded=graded, strata=strata).tolist()
    minorities = minorities_of(cells)
    fewest = FEWEST_ITEMS_OF.get(statistic, FEWEST_ITEMS)
    tested = [
        i
        for i, estimate in enumerate(found)
        if estimate.defined and estimate.n >= fewest and minorities[i] >= FEWEST_MINORITY
    ]
    held = looked_again([p_values[i] for i in tested], confidence)
    adjusted = dict(zip(tested, benjamini_hochberg(held).adjusted, strict=True))
    return [
        verdict(
            estimate,
            bar,
            estimate.n,
            minorities[i],
            statistic=statistic,
            p=p_values[i] if estimate.defined else None,
            adjusted_p=adjusted.get(i),
            slices=len(tested),
        )
        for i, estimate in enumerate(found)
    ]


def looked_again(p_values: Sequence[float], confidence: float) -> list[float]:
    """p values of gold judged at `confidence`: unchanged for planned gold, five times as large for gold that grew."""
    times = (1 - PLANNED_CONFIDENCE) / (1 - intervals.check_confidence(confidence))
    return [min(p * times, 1.0) for p in p_values]


def pool(found: Sequence[Estimate]) -> list[Pooled]:
    """Each slice's value shrunk towards the common mean (DerSimonian and Laird 1986): less noise in thin slices.

    Shown beside the raw value and used to plan; a verdict never rests on it.
    """
    known = [(e.value, error**2) for e in found if e.value is not None and (error := _error(e))]
    if len(known) < 2:
        return [Pooled(e.value, 1.0) for e in found]
    values, variances = (np.array(column) for column in zip(*known, strict=True))
    between = between_variance(values, variances)
    weights = 1 / (variances + between)
    mean = float(weights @ values / weights.sum())
    return [_shrunk(e, mean, between) for e in found]


def between_variance(values: Array, variances: Array) -> float:
    """DerSimonian and Laird's moment estimate of how much slices truly differ."""
    weights = 1 / variances
    mean = weights @ values / weights.sum()
    excess = weights @ (values - mean) ** 2 - (len(values) - 1)
    return max(float(excess / (weights.sum() - weights @ weights / weights.sum())), 0.0)


def _shrunk(found: Estimate, mean: float, between: float) -> Pooled:
    error = _error(found)
    if found.value is None or not error:
        return Pooled(found.value, 1.0)
    weight = between / (between + error**2)
    return Pooled(weight * found.value + (1 - weight) * mean, weight)
