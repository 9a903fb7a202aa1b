"""Fitting recalibration maps to gold, and finding out whether they are worth it.

Every fit needs a least number of labels, below which maps did worse than the raw probabilities in simulations; with
fewer it is refused with the reason. What a map is worth is always judged on labels it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import t_quantile
from calibration.stats.maps import (
    CalibrationMap,
    Confusion,
    Floats,
    Isotonic,
    Platt,
    Temperature,
    Thresholds,
    checked,
    logits,
    softmax,
)

Kind = Literal["temperature", "platt", "platt_by_channel", "isotonic", "thresholds", "confusion"]
Codes = NDArray[np.int64]

LEAST_LABELS: dict[str, int] = {
    "temperature": 60,
    "platt": 120,
    "platt_by_channel": 120,
    "isotonic": 500,
    "thresholds": 120,
    "confusion": 60,
}
LEAST_HELD_OUT = 100
RIDGE = 2.0
POOLED_LABELS = 5.0
STEPS = np.exp(np.linspace(-1.5, 1.5, 25))


@dataclass(frozen=True, slots=True)
class Gold:
    """Labelled items: probabilities [n, K], the gold code of each, its channel, and its weight (1 / inclusion)."""

    probabilities: Floats
    gold: Codes
    channels: tuple[str, ...]
    weights: Floats

    @classmethod
    def of(
        cls,
        probabilities: ArrayLike,
        gold: ArrayLike,
        *,
        channels: Sequence[str] | None = None,
        weights: ArrayLike | None = None,
    ) -> Gold:
        """Checked arrays; without channels all items share one, without weights all count alike (mean weight 1)."""
        p, y = checked(probabilities), np.asarray(gold)
        names = tuple(channels) if channels is not None else ("",) * len(p)
        w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=float)
        if y.shape != (len(p),) or len(names) != len(p) or w.shape != (len(p),):
            raise StatisticsError("each item has a gold code, a channel and a weight")
        if len(p) and (not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= p.shape[1]):
            raise StatisticsError("gold codes are numbers of categories")
        if not np.isfinite(w).all() or np.any(w <= 0):
            raise StatisticsError("weights are finite and above 0")
        return cls(p, y.astype(np.int64), names, w / w.mean() if len(w) else w)

    def take(self, chosen: NDArray[np.bool_]) -> Gold:
        """Some of the items, with the weights that they have among all."""
        names = tuple(name for name, some in zip(self.channels, chosen, strict=True) if some)
        return Gold(self.probabilities[chosen], self.gold[chosen], names, self.weights[chosen])

    def __len__(self) -> int:
        return len(self.gold)


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted map, or the reason why there is none."""

    kind: Kind
    labels: int
    calibration: CalibrationMap | None
    reason: str | None = None
    least_labels: int = 0


@dataclass(frozen=True, slots=True)
class CrossFit:
    """Each item recalibrated by a map that has not seen it: probabilities, and what that does to the Brier score."""

    probabilities: Floats
    brier_change: Estimate
    reason: str | None = None


def fit(kind: Kind, gold: Gold, *, ridge: float = RIDGE) -> Fit:
    """Fit one kind of map; refused below its least number of labels, or with one category in the gold."""
    if kind not in LEAST_LABELS:
        raise StatisticsError(f"no map is known as {kind!r}")
    least = LEAST_LABELS[kind]
    if len(gold) < least:
        return Fit(kind, len(gold), None, "too_few_items" if len(gold) else "no_items", least)
    if len(np.unique(gold.gold)) < 2:
        return Fit(kind, len(gold), None, "one_category", least)
    fitters: dict[str, Callable[[], CalibrationMap]] = {
        "temperature": lambda: _temperature(gold),
        "platt": lambda: _platt(gold, by_channel=False, ridge=ridge),
        "platt_by_channel": lambda: _platt(gold, by_channel=True, ridge=ridge),
        "isotonic": lambda: _isotonic(gold),
        "thresholds": lambda: _thresholds(gold),
        "confusion": lambda: _confusion(gold),
    }
    return Fit(kind, len(gold), fitters[kind](), None, least)


def cross_fit(kind: Kind, gold: Gold, *, rng: np.random.Generator, folds: int = 5, ridge: float = RIDGE) -> CrossFit:
    """Recalibrate every item by a map fitted to the other folds, so that all gold serves twice and flatters never."""
    if folds < 2:
        raise StatisticsError("cross-fitting takes two folds at least")
    fold = rng.permutation(len(gold)) % folds
    answer = gold.probabilities.copy()
    for number in range(folds):
        held = fold == number
        found = fit(kind, gold.take(~held), ridge=ridge)
        if found.calibration is None:
            return CrossFit(gold.probabilities, Estimate.undefined(found.reason or "", n=len(gold)), found.reason)
        part = gold.take(held)
        answer[held] = found.calibration.apply(part.probabilities, part.channels)
    return CrossFit(answer, brier_change(gold, answer))


def brier_change(gold: Gold, after: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean change of the Brier score (sum over categories) on items the map has not seen; below 0 is better.

    Paired t interval. A map is worth promoting where the upper limit is below 0 on at least 100 held-out labels.
    """
    q = checked(after)
    if q.shape != gold.probabilities.shape:
        raise StatisticsError("the same items are needed before and after")
    n = len(gold)
    if n < 2:
        return Estimate.undefined("too_few_items" if n else "no_items", n=n)
    truth = np.eye(q.shape[1])[gold.gold]
    change = ((q - truth) ** 2).sum(axis=1) - ((gold.probabilities - truth) ** 2).sum(axis=1)
    total = float(gold.weights.sum())
    value = float(gold.weights @ change) / total
    squares = float(gold.weights**2 @ (change - value) ** 2)
    error = math.sqrt(squares * n / (n - 1)) / total
    reach = float(t_quantile(confidence, np.asarray(n - 1.0))) * error
    return Estimate(value, value - reach, value + reach, "paired t", n, float(n), confidence, None, error)


def improves(change: Estimate) -> bool:
    """Whether the change of the Brier score, on enough held-out labels, is shown to be for the better."""
    return change.n >= LEAST_HELD_OUT and change.high is not None and change.high < 0


def _log_loss(scores: Floats, gold: Gold) -> float:
    """Weighted −Σ log p(gold), from scores before the softmax."""
    top = scores.max(axis=1)
    logs = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    return float(gold.weights @ (logs - scores[np.arange(len(gold)), gold.gold]))


def _temperature(gold: Gold) -> Temperature:
    scores = logits(gold.probabilities)
    found = optimize.minimize_scalar(
        lambda log_t: _log_loss(scores / math.exp(log_t), gold), bounds=(-3.0, 3.0), method="bounded"
    )
    return Temperature(math.exp(float(found.x)))


def _platt(gold: Gold, *, by_channel: bool, ridge: float) -> Platt:
    """Pooled slope and offsets, shrunk to the raw probabilities; channels shrunk to the pooled ones."""
    size = gold.probabilities.shape[1]
    raw = np.r_[1.0, np.zeros(size)]
    pooled = _shrunk(gold, raw, ridge)
    channels: tuple[tuple[str, float, tuple[float, ...]], ...] = ()
    if by_channel:
        names = np.array(gold.channels, dtype=object)
        fitted = ((name, _shrunk(gold.take(names == name), pooled, ridge)) for name in sorted(set(gold.channels)))
        channels = tuple((name, float(own[0]), _tuple(own[1:])) for name, own in fitted)
    return Platt(float(pooled[0]), _tuple(pooled[1:]), channels)


def _shrunk(gold: Gold, centre: Floats, ridge: float) -> Floats:
    """argmin of log loss + ridge·|θ − centre|² over θ = (slope, offsets)."""
    scores = logits(gold.probabilities)
    truth = np.eye(scores.shape[1])[gold.gold]

    def loss(theta: Floats) -> tuple[float, Floats]:
        eta = theta[0] * scores + theta[1:]
        residual = (softmax(eta) - truth) * gold.weights[:, None]
        gap = theta - centre
        gradient = np.r_[(residual * scores).sum(), residual.sum(axis=0)] + 2 * ridge * gap
        return _log_loss(eta, gold) + ridge * float(gap @ gap), gradient

    return cast(Floats, optimize.minimize(loss, centre, jac=True, method="L-BFGS-B").x)


def _isotonic(gold: Gold) -> Isotonic:
    """A rising curve of each category against the rest (pool adjacent violators), one knot for each step's ends."""
    return Isotonic(
        tuple(
            _curve(gold.probabilities[:, k], gold.gold == k, gold.weights) for k in range(gold.probabilities.shape[1])
        )
    )


def _curve(p: Floats, hit: NDArray[np.bool_], weights: Floats) -> tuple[tuple[float, float], ...]:
    points, place = np.unique(p, return_inverse=True)
    mass = np.bincount(place, weights=weights)
    share = np.bincount(place, weights=weights * hit) / mass
    level = optimize.isotonic_regression(share, weights=mass).x
    ends = np.r_[True, level[1:] != level[:-1]]
    keep = ends | np.r_[ends[1:], True]
    return tuple((float(x), float(y)) for x, y in zip(points[keep], level[keep], strict=True))


def _thresholds(gold: Gold) -> Thresholds:
    """Decision weights by coordinate ascent on kappa, the first category's held at 1; ties go to the mildest weight."""
    size = gold.probabilities.shape[1]
    weights = np.ones(size)
    best = _kappa(gold, weights)
    for _ in range(3):
        for k in range(1, size):
            for step in sorted(STEPS, key=lambda value: abs(math.log(value))):
                trial = weights.copy()
                trial[k] = step
                found = _kappa(gold, trial)
                if found > best + 1e-12:
                    weights, best = trial, found
    return Thresholds(_tuple(weights))


def _kappa(gold: Gold, weights: Floats) -> float:
    """Weighted kappa's plain form of the decisions p·weight; minus infinity where it is undefined."""
    size = len(weights)
    said = (gold.probabilities * weights).argmax(axis=1)
    table = np.bincount(gold.gold * size + said, weights=gold.weights, minlength=size * size).reshape(size, size)
    table = table / table.sum()
    chance = float(table.sum(axis=0) @ table.sum(axis=1))
    return (float(np.trace(table)) - chance) / (1 - chance) if chance < 1 else -math.inf


def _confusion(gold: Gold) -> Confusion:
    """P(truth | answer) of all channels with one pseudo-label at its word, of each with five pseudo-labels of all."""
    size = gold.probabilities.shape[1]
    pooled = _columns(gold, np.eye(size), 1.0)
    names = np.array(gold.channels, dtype=object)
    channels = tuple(
        (name, _rows(_columns(gold.take(names == name), pooled, POOLED_LABELS))) for name in sorted(set(gold.channels))
    )
    return Confusion(_rows(pooled), channels if len(channels) > 1 else ())


def _columns(gold: Gold, prior: Floats, pseudo: float) -> Floats:
    """[answer, truth] shares with pseudo-labels of the prior."""
    size = len(prior)
    said = gold.probabilities.argmax(axis=1)
    counts = np.bincount(said * size + gold.gold, weights=gold.weights, minlength=size * size).reshape(size, size)
    shares: Floats = (counts + pseudo * prior) / (counts.sum(axis=1, keepdims=True) + pseudo)
    return shares


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _rows(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(_tuple(row) for row in values)
