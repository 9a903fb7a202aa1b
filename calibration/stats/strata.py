"""Slices of a sample that was drawn by strata: how far the strata narrow an estimate.

A slice of a report (a channel, a cohort) usually lies across the strata of the design (prediction × confidence), and how
many of a stratum's labels fall into it is chance. Its estimate is therefore a sum over a *domain*, of which every label
outside counts as nought. All functions work on the occupied cells of all slices at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.stats.agreement import Parts
from calibration.stats.estimate import StatisticsError
from calibration.stats.tables import Array

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """The occupied cells of all slices by stratum, and what is known of each stratum.

    `slices`, `strata`, `gold`, `predicted` and `n` are parallel, one entry a cell. `labels`, `weights` and `populations`
    have one entry a stratum: the labels in it, those outside every slice included; the weight of each, one over its
    chance of being drawn; and the units of the frame. Raises StatisticsError where these contradict each other.
    """

    slices: Places
    strata: Places
    gold: Places
    predicted: Places
    n: Array
    labels: Array
    weights: Array
    populations: Array
    pairs: Places = field(init=False)
    """The slices and strata that meet, as slice × number of strata + stratum; `place` says which of them a cell is in."""
    place: Places = field(init=False)

    def __post_init__(self) -> None:
        known = (self.labels, self.weights, self.populations)
        if not all(np.isfinite(array).all() and (array > 0).all() for array in known):
            raise StatisticsError("a stratum has labels, a weight and units, all above 0")
        if (self.labels > self.populations).any():
            raise StatisticsError("a stratum has no more labels than units")
        if len(self.strata) and (self.strata.min() < 0 or self.strata.max() >= len(self.labels)):
            raise StatisticsError("a cell lies in one of the strata")
        pairs, place = np.unique(self.slices * len(self.labels) + self.strata, return_inverse=True)
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "place", place)

    def take(self, chosen: list[int]) -> Strata:
        """The slices with these numbers, renumbered in this order."""
        new = {old: place for place, old in enumerate(chosen)}
        kept = np.array([int(old) in new for old in self.slices], dtype=bool)
        slices = np.array([new[int(old)] for old in self.slices[kept]], dtype=np.int64)
        strata, gold, predicted = (array[kept] for array in (self.strata, self.gold, self.predicted))
        return Strata(slices, strata, gold, predicted, self.n[kept], self.labels, self.weights, self.populations)

    def variance(self, parts: Parts) -> Array:
        """Variance of a statistic in every slice, without finite-population correction: it is about what comes next, too.

        Σ_h w_h²·n_h/(n_h−1)·(Σz² − f_h·(1−n_h/N_h)·(Σz)²/n_h) / (Σw)², z the influence of a label in the slice and 0 of
        one outside. f_h = w_h·n_h/N_h is the part of the drawn units that has been labelled: what the design fixed no
        longer varies, what happened to be labelled first still does. With all of it labelled this is Särndal, Swensson
        and Wretman's (1992, 10.3) domain estimator of a frame that is itself a sample; with f = 0 that of no strata.
        """
        count, size = parts.value.shape[0], len(self.pairs)
        slices, strata = np.divmod(self.pairs, max(len(self.labels), 1))
        labels, weights = self.labels[strata], self.weights[strata]
        z = parts.influence[self.slices, self.gold, self.predicted]
        total, squares = np.bincount(self.place, self.n * z, size), np.bincount(self.place, self.n * z * z, size)
        complete = np.minimum(weights * labels / self.populations[strata], 1.0)
        fixed = np.where(labels > 1, complete * (1 - labels / self.populations[strata]), 0.0)
        correction = labels / np.maximum(labels - 1, 1.0)
        within = correction * np.maximum(squares - fixed * total**2 / labels, 0.0)
        weight = np.bincount(slices, np.bincount(self.place, self.n, size) * weights, count)
        terms = np.bincount(slices, weights**2 * within, count)
        return np.asarray(terms / np.where(weight > 0, weight, 1.0) ** 2)

    def freedom(self, count: int) -> Array:
        """Degrees of freedom in each of `count` slices: its labels less the strata they come from, 1 at least."""
        labels = np.bincount(self.slices, self.n, count)
        used = np.bincount(self.pairs // max(len(self.labels), 1), minlength=count)
        left: Array = np.maximum(labels - used, 1.0)
        return left
