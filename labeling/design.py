"""Sampling designs: who is drawn, and with which chance.

A design takes a frame of units and returns picks, each with its inclusion probability: the number without which no
estimate from an uneven sample is right. Everything here is a function of its arguments; the random generator is one
of them. Units are put in the order of their keys first, so that the same seed and the same frame give the same picks
in whatever order the frame was read.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Strategy = Literal["uniform", "stratified", "unequal"]
Allocation = Literal["proportional", "equal", "neyman"]
Floats = NDArray[np.float64]

CONFIDENCE_EDGES = (0.5, 0.75, 0.9, 0.97)
LEAST_ERROR = 0.005
"""A band in which the classifier claims to be (nearly) never wrong is planned as if it erred this often."""
CERTAIN = 1 - 1e-9
FIRST_LOOK, LEAST_ROUND, GROWTH = 50, 20, 0.4
"""Labels at which a slice is first judged, and by how much it grows from look to look while its verdict is open."""


class DesignError(ValueError):
    """A frame or a plan from which no sample can be drawn."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A member of the frame. `measure` is its size for unequal probabilities, such as how unsure the classifier is."""

    key: str
    stratum: str = ""
    measure: float | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """A drawn unit and the chance with which this design draws it."""

    key: str
    stratum: str
    inclusion_probability: float


@dataclass(frozen=True, slots=True)
class StratumPlan:
    """How many of a stratum's units were drawn now."""

    name: str
    population: int
    allocated: int


@dataclass(frozen=True, slots=True)
class Draw:
    """A sample. `revised` holds earlier picks whose probability changed because this draw adds to theirs."""

    picks: tuple[Pick, ...]
    strata: tuple[StratumPlan, ...]
    revised: tuple[Pick, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A unit as a classifier sees it: what it says, how sure it is (0..1), and the slice that it belongs to."""

    key: str
    predicted: str
    confidence: float
    within: str = ""


@dataclass(frozen=True, slots=True)
class ConfidenceStrata:
    """Units stratified by prediction and confidence, and each stratum's spread for a Neyman allocation."""

    units: tuple[Unit, ...]
    spreads: dict[str, float]


def allocate(
    populations: Mapping[str, int],
    *,
    size: int,
    method: Allocation = "proportional",
    spreads: Mapping[str, float] | None = None,
    minimum: int = 0,
) -> dict[str, int]:
    """Divide a sample of exactly `size` among strata, none above its population or below `minimum` of it.

    Proportional and equal allocations are rounded by Webster's method, which returns whole shares unchanged. Neyman's
    (N·S, with `spreads` as S) is the integer optimum of Wright (2012): the next unit goes where it lowers the variance
    most. What a full stratum cannot take goes to the others. Raises DesignError where the minimum costs more than
    `size`; a size beyond the frame takes all of it.
    """
    if size < 0 or minimum < 0 or any(population < 0 for population in populations.values()):
        raise DesignError("sizes and populations cannot be negative")
    least = {name: min(minimum, population) for name, population in populations.items()}
    if sum(least.values()) > size:
        raise DesignError(
            f"{sum(least.values())} units are needed for {minimum} in each stratum, {size} were asked for"
        )
    weights = _allocation_weights(populations, method, spreads)
    return _apportion(populations, least, weights, size, neyman=method == "neyman")


def draw(
    units: Iterable[Unit],
    *,
    size: int,
    strategy: Strategy,
    rng: np.random.Generator,
    allocation: Allocation = "proportional",
    spreads: Mapping[str, float] | None = None,
    minimum: int = 1,
    even_share: float = 0.2,
) -> Draw:
    """Draw `size` units (all, where there are fewer) and say with which probability each one was drawn.

    - uniform: a simple random sample; strata are only reported.
    - stratified: a simple random sample in each stratum, sizes by `allocation`. `minimum` is lowered to what `size` can
      pay for. With fewer units than strata, one systematic sample runs through the strata in a random order, at the
      rates that the allocation would have given: no stratum is left without a chance.
    - unequal: probability in proportion to `measure`, by randomised systematic sampling in the order of the strata;
      units too large for that are certain. `even_share` of the measure is spread evenly, so that no unit is without a
      chance and no weight is larger than 1 / even_share times that of a simple random sample.
    """
    frame = _frame(units)
    if size < 1:
        raise DesignError("a sample has at least one unit")
    size = min(size, len(frame))
    if strategy == "uniform":
        chosen = rng.choice(len(frame), size=size, replace=False)
        picks = _picks(frame, chosen, np.full(len(frame), size / len(frame)))
    elif strategy == "stratified":
        picks = _stratified(frame, size, rng, allocation, spreads, minimum)
    elif strategy == "unequal":
        probabilities = inclusion_probabilities(_measures(frame, even_share), size)
        picks = _picks(frame, _systematic(frame, probabilities, rng), probabilities)
    else:
        raise DesignError(f"unknown strategy {strategy!r}")
    return Draw(picks=picks, strata=_plans(frame, picks))


def top_up(
    units: Iterable[Unit],
    *,
    earlier: Mapping[str, float],
    size: int,
    rng: np.random.Generator,
    allocation: Allocation = "proportional",
    spreads: Mapping[str, float] | None = None,
) -> Draw:
    """Draw `size` more units than the `earlier` ones (key → inclusion probability), so that both can be pooled.

    In each stratum the new units are a simple random sample of those not drawn yet, as many as bring the pooled sample
    closest to the allocation. Where the earlier units of a stratum had equal chances, the pool is a simple random
    sample of n₁ + n₂ of its N and all have probability (n₁+n₂)/N. Where they had not, two unbiased estimates of the
    stratum are mixed: the earlier sample's own, and earlier units plus the expanded new ones; a share
    a = n₁(N−n₁−n₂) / ((n₁+n₂)(N−n₁)) of the first gives weights a/π₁ + 1−a and N/(n₁+n₂). `picks` and `revised` carry
    one over these weights. Earlier keys that are not in the frame stay as they are.
    """
    frame = _frame(units)
    if size < 1:
        raise DesignError("a sample has at least one unit")
    population = Counter(unit.stratum for unit in frame)
    drawn = Counter(unit.stratum for unit in frame if unit.key in earlier)
    total = min(len(frame), size + drawn.total())
    weights = _allocation_weights(population, allocation, spreads)
    pooled = _apportion(population, drawn, weights, total, neyman=allocation == "neyman")
    picks: list[Pick] = []
    revised: list[Pick] = []
    for stratum, members in _by_stratum(frame):
        old = [unit for unit in members if unit.key in earlier]
        free = [unit for unit in members if unit.key not in earlier]
        more = pooled[stratum] - len(old)
        chosen = sorted(rng.choice(len(free), size=more, replace=False)) if more else []
        picks += [Pick(free[index].key, stratum, pooled[stratum] / len(members)) for index in chosen]
        revised += _revised(old, earlier, population=len(members), pooled=pooled[stratum])
    return Draw(picks=_ordered(picks), strata=_plans(frame, picks), revised=_ordered(revised))


def next_round(labels: Mapping[str, int], *, unsettled: Iterable[str]) -> dict[str, int]:
    """How many labels each slice gets before the next look: none where its verdict is settled.

    Looks come at sizes that grow by two fifths, at least by 20: few enough that looking again costs little certainty,
    and never much more than a verdict takes.
    """
    sizes = {}
    for name in unsettled:
        n = labels[name]
        if n < 0:
            raise DesignError("a slice has no label or some, not fewer")
        sizes[name] = FIRST_LOOK - n if n < FIRST_LOOK else max(LEAST_ROUND, round(n * GROWTH))
    return sizes


def inclusion_probabilities(measures: Floats, size: int) -> Floats:
    """Probabilities in proportion to `measures` that sum to `size`, none above one.

    Units that would pass one become certain and the rest share what is left, until none does (Särndal, Swensson,
    Wretman 1992, section 3.6).
    """
    if not np.all(np.isfinite(measures)) or np.any(measures < 0):
        raise DesignError("measures must be finite and not negative")
    if not 0 <= size <= np.count_nonzero(measures):
        raise DesignError(f"{size} units cannot be drawn from {np.count_nonzero(measures)} with a positive measure")
    scaled = measures / max(float(measures.max(initial=0.0)), np.finfo(float).tiny)
    certain = np.zeros(len(scaled), dtype=bool)
    while True:
        rest = np.where(certain, 0.0, scaled)
        left = size - int(certain.sum())
        probabilities = np.where(certain, 1.0, rest * (left / rest.sum()) if left else 0.0)
        grown = certain | (probabilities >= CERTAIN)
        if bool(np.array_equal(grown, certain)):
            return probabilities
        certain = grown


def confidence_strata(items: Iterable[Scored], *, edges: Sequence[float] = CONFIDENCE_EDGES) -> ConfidenceStrata:
    """Strata of prediction × confidence band, and the spread √(ē(1−ē))·gap of each for a Neyman allocation.

    ē is the mean predicted error 1 − confidence of the stratum. The gap is what one wrong answer costs kappa there: the
    influence of a hit minus that of a miss in the predicted category, so that rare categories get more labels. Draw
    with `strategy="stratified", allocation="neyman", minimum=4`.
    """
    scored = list(items)
    if any(not 0 <= item.confidence <= 1 for item in scored):
        raise DesignError("a confidence is between 0 and 1")
    gaps = kappa_gaps(scored)
    errors: dict[str, list[float]] = defaultdict(list)
    predicted: dict[str, str] = {}
    units = []
    for item in scored:
        stratum = _band(item, edges)
        errors[stratum].append(1 - item.confidence)
        predicted[stratum] = item.predicted
        units.append(Unit(item.key, stratum, 1 - item.confidence))
    spreads = {}
    for stratum, values in errors.items():
        error = min(max(math.fsum(values) / len(values), LEAST_ERROR), 1 - LEAST_ERROR)
        spreads[stratum] = math.sqrt(error * (1 - error)) * gaps[predicted[stratum]]
    return ConfidenceStrata(tuple(units), spreads)


def kappa_gaps(items: Sequence[Scored]) -> dict[str, float]:
    """Influence on kappa of a hit minus that of a miss, per predicted category, from the predictions alone.

    With margins c of the predictions, taken for gold's as well, po = 1 − mean predicted error and pe = Σc²:
    1/(1−pe) − (1−po)/(1−pe)² · (c_j − mean of the others' c, weighted by c). With one category only, 1.
    """
    counts = Counter(item.predicted for item in items)
    shares = {category: count / counts.total() for category, count in counts.items()}
    chance = math.fsum(share**2 for share in shares.values())
    if len(shares) < 2:
        return dict.fromkeys(shares, 1.0)
    error = math.fsum(1 - item.confidence for item in items) / len(items)
    # A classifier no better than chance has no gap to plan by; half of chance disagreement keeps all gaps positive.
    error = min(error, (1 - chance) / 2)
    gaps = {}
    for category, share in shares.items():
        others = (chance - share**2) / (1 - share)
        gaps[category] = 1 / (1 - chance) - error / (1 - chance) ** 2 * (share - others)
    return gaps


def _frame(units: Iterable[Unit]) -> list[Unit]:
    """The units by stratum and key, which makes a draw independent of the order in which they were read."""
    frame = sorted(units, key=lambda unit: (unit.stratum, unit.key))
    if not frame:
        raise DesignError("there is nothing to draw from")
    if len({unit.key for unit in frame}) < len(frame):
        raise DesignError("a unit occurs twice in the frame")
    return frame


def _by_stratum(frame: Sequence[Unit]) -> list[tuple[str, list[Unit]]]:
    return [(name, list(members)) for name, members in groupby(frame, key=lambda unit: unit.stratum)]


def _allocation_weights(
    populations: Mapping[str, int], method: Allocation, spreads: Mapping[str, float] | None
) -> dict[str, float]:
    """What a stratum's share is in proportion to. A weight of zero becomes a tiny one: it is served last, not never."""
    if method == "proportional":
        weights = {name: float(population) for name, population in populations.items()}
    elif method == "equal":
        weights = dict.fromkeys(populations, 1.0)
    elif method == "neyman":
        weights = {name: population * _spread(spreads, name) for name, population in populations.items()}
    else:
        raise DesignError(f"unknown allocation {method!r}")
    tiny = max(weights.values(), default=0.0) * 1e-9 or 1.0
    return {name: max(weight, tiny) for name, weight in weights.items()}


def _spread(spreads: Mapping[str, float] | None, stratum: str) -> float:
    value = (spreads or {}).get(stratum)
    if value is None or not math.isfinite(value) or value < 0:
        raise DesignError(f"a Neyman allocation needs the spread of stratum {stratum!r}")
    return value


def _apportion(
    populations: Mapping[str, int], least: Mapping[str, int], weights: Mapping[str, float], size: int, *, neyman: bool
) -> dict[str, int]:
    """Hand out `size` seats one by one, by the divisor method of the allocation, starting from `least`."""
    seats = {name: least.get(name, 0) for name in populations}

    def turn(name: str) -> tuple[float, float, str]:
        taken = seats[name]
        divisor = math.sqrt(taken * (taken + 1)) if neyman else taken + 0.5
        return (-weights[name] / divisor if divisor else -math.inf, -weights[name], name)

    queue = [turn(name) for name in populations if seats[name] < populations[name]]
    heapq.heapify(queue)
    left = size - sum(seats.values())
    while left > 0 and queue:
        name = heapq.heappop(queue)[2]
        seats[name] += 1
        left -= 1
        if seats[name] < populations[name]:
            heapq.heappush(queue, turn(name))
    return seats


def _stratified(
    frame: Sequence[Unit],
    size: int,
    rng: np.random.Generator,
    allocation: Allocation,
    spreads: Mapping[str, float] | None,
    minimum: int,
) -> tuple[Pick, ...]:
    groups = _by_stratum(frame)
    populations = {name: len(members) for name, members in groups}
    if size < len(groups):
        weights = _allocation_weights(populations, allocation, spreads)
        rates = np.array([weights[unit.stratum] / populations[unit.stratum] for unit in frame])
        probabilities = inclusion_probabilities(rates, size)
        chosen = _systematic(frame, probabilities, rng, shuffle_strata=True)
        return _picks(frame, chosen, probabilities)
    affordable = min(max(minimum, 1), size // len(groups))
    seats = allocate(populations, size=size, method=allocation, spreads=spreads, minimum=affordable)
    picks: list[Pick] = []
    for name, members in groups:
        chosen = rng.choice(len(members), size=seats[name], replace=False)
        picks += _picks(members, chosen, np.full(len(members), seats[name] / len(members)))
    return _ordered(picks)


def _measures(frame: Sequence[Unit], even_share: float) -> Floats:
    """The frame's measures, a share of them spread evenly over all units."""
    if not 0 <= even_share <= 1:
        raise DesignError("the even share is between 0 and 1")
    if any(unit.measure is None for unit in frame):
        raise DesignError("unequal probabilities need the measure of every unit")
    raw = np.array([unit.measure for unit in frame], dtype=float)
    if not np.all(np.isfinite(raw)) or np.any(raw < 0):
        raise DesignError("measures must be finite and not negative")
    if not raw.any():
        return np.ones(len(raw))
    mixed: Floats = (1 - even_share) * raw / raw.mean() + even_share
    return mixed


def _systematic(
    frame: Sequence[Unit], probabilities: Floats, rng: np.random.Generator, *, shuffle_strata: bool = False
) -> NDArray[np.intp]:
    """Indices of a randomised systematic sample: units in random order within strata, equal steps, a random start.

    Inclusion probabilities are exactly the given ones (Madow 1949). Certain units are taken beside it, where rounding
    in the running sum could not lose them.
    """
    order = rng.permutation(len(frame))
    names = sorted({unit.stratum for unit in frame})
    turns = rng.permutation(len(names)) if shuffle_strata else np.arange(len(names))
    rank = {name: int(turn) for name, turn in zip(names, turns, strict=True)}
    ranks = np.array([rank[unit.stratum] for unit in frame])
    order = order[np.argsort(ranks[order], kind="stable")]
    certain = np.flatnonzero(probabilities >= CERTAIN)
    order = order[probabilities[order] < CERTAIN]
    running = np.cumsum(probabilities[order])
    steps = round(float(running[-1])) if len(running) else 0
    if not steps:
        return certain
    hits = np.searchsorted(running * (steps / running[-1]), rng.random() + np.arange(steps), side="right")
    return np.concatenate([certain, order[np.minimum(hits, len(order) - 1)]])


def _picks(frame: Sequence[Unit], chosen: NDArray[np.intp], probabilities: Floats) -> tuple[Pick, ...]:
    picked = (frame[index] for index in np.sort(chosen))
    chances = probabilities[np.sort(chosen)]
    return _ordered(Pick(unit.key, unit.stratum, float(chance)) for unit, chance in zip(picked, chances, strict=True))


def _revised(old: Sequence[Unit], earlier: Mapping[str, float], *, population: int, pooled: int) -> list[Pick]:
    """Earlier picks of one stratum with their probability in the pooled sample of `pooled` units."""
    chances = [earlier[unit.key] for unit in old]
    if any(not 0 < chance <= 1 for chance in chances):
        raise DesignError("an inclusion probability is above 0 and at most 1")
    if not old:
        return []
    if pooled == population or math.isclose(min(chances), max(chances), rel_tol=1e-9):
        return [Pick(unit.key, unit.stratum, pooled / population) for unit in old]
    share = len(old) * (population - pooled) / (pooled * (population - len(old)))
    return [
        Pick(unit.key, unit.stratum, 1 / (share / chance + 1 - share))
        for unit, chance in zip(old, chances, strict=True)
    ]


def _ordered(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    return tuple(sorted(picks, key=lambda pick: (pick.stratum, pick.key)))


def _plans(frame: Sequence[Unit], picks: Iterable[Pick]) -> tuple[StratumPlan, ...]:
    population = Counter(unit.stratum for unit in frame)
    taken = Counter(pick.stratum for pick in picks)
    return tuple(StratumPlan(name, population[name], taken[name]) for name in sorted(population))


def _band(item: Scored, edges: Sequence[float]) -> str:
    """Name of the stratum: slice, prediction and band of confidence in percent."""
    limits = (0.0, *sorted(edges), 1.0)
    index = min(bisect.bisect_right(limits, item.confidence), len(limits) - 1)
    low, high = limits[index - 1], limits[index]
    return " · ".join(part for part in (item.within, item.predicted, f"{low:.0%}-{high:.0%}") if part)
