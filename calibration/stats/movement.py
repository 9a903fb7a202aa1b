"""What moves a charted number, as exact sums: slices that grow, truth that changes, confusion that changes.

Shapes: slices S, gold categories G, predicted categories K, bands of transcript quality B; axes in front of them, such
as redraws, are carried along. Every split here adds up exactly, for any input, and so do its redraws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.stats.estimate import StatisticsError

Floats = NDArray[np.float64]
Mode = Literal["same", "bridged", "bridged_new_labels", "unbridged"]


@dataclass(frozen=True, slots=True)
class Kitagawa:
    """A movement of a mean over slices: what their sizes did and what their rates did."""

    total: float
    mix: float
    rate: float


@dataclass(frozen=True, slots=True)
class ConfusionSplit:
    """A movement of a charted share: what the truth did and what the classifier's confusion did."""

    observed: float
    customers: float
    classifier: float


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the decomposition depends on. `back[j, k]` is P(old version says j | new version says k).

    s1, s2 [.., S] are the slices' shares of the volume; q1, q2 [.., S, K, B] what the version in service said;
    p1, p2 [.., S, G, K, B] the gold shares of each predicted category; back [.., S, K, K, B].
    """

    s1: Floats
    s2: Floats
    q1: Floats
    q2: Floats
    p1: Floats
    p2: Floats
    back: Floats


@dataclass(frozen=True, slots=True)
class Parts:
    """Contributions of each slice [.., S]; the five add up to the movement. `truth` is the change of the true mean."""

    customers: Floats
    upgrade: Floats
    silent_drift: Floats
    mix: Floats
    transcription: Floats
    truth: Floats

    def stacked(self) -> Floats:
        """customers, upgrade, silent drift, mix, transcription, truth as the last axis."""
        parts = (self.customers, self.upgrade, self.silent_drift, self.mix, self.transcription, self.truth)
        return np.stack(np.broadcast_arrays(*parts), axis=-1)


def kitagawa(counts_1: ArrayLike, rates_1: ArrayLike, counts_2: ArrayLike, rates_2: ArrayLike) -> Kitagawa:
    """Kitagawa's (1955) symmetric form: Σ Δs·r̄ + Σ s̄·Δr."""
    n1, r1, n2, r2 = (np.asarray(values, dtype=float) for values in (counts_1, rates_1, counts_2, rates_2))
    _checked(n1, n2)
    if not (n1.shape == n2.shape == r1.shape == r2.shape and np.isfinite(r1).all() and np.isfinite(r2).all()):
        raise StatisticsError("counts and rates are finite, one of each for every slice")
    s1, s2 = n1 / n1.sum(), n2 / n2.sum()
    mix, rate = float((s2 - s1) @ (r1 + r2)) / 2, float((s1 + s2) @ (r2 - r1)) / 2
    return Kitagawa(mix + rate, mix, rate)


def confusion_split(joint_1: ArrayLike, joint_2: ArrayLike, scores: ArrayLike) -> ConfusionSplit:
    """Movement of the charted mean of one slice, from gold × predicted in two periods: Σ ΔG·M̄ and Σ Ḡ·ΔM.

    G are the gold shares and M the charted mean among the items of a gold category: a classifier that errs as it did
    has the same M, and none of the movement is its.
    """
    first, second = (np.asarray(values, dtype=float) for values in (joint_1, joint_2))
    _checked(first, second)
    a = np.asarray(scores, dtype=float)
    if first.ndim != 2 or first.shape != second.shape or a.shape != (first.shape[1],) or not np.isfinite(a).all():
        raise StatisticsError("two tables gold × predicted of one shape are needed, and a score for each prediction")
    first, second = first / first.sum(), second / second.sum()
    customers, transcription, drift = split(first[..., None], second[..., None], a)
    return ConfusionSplit(float(((second - first) @ a).sum()), float(customers), float(transcription + drift))


def split(joint_1: Floats, joint_2: Floats, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Customers, transcription and drift of the movement between two joint distributions [.., G, K, B].

    Σ_g ΔG·M̄ is the customers' part. The confusion's part Σ_g Ḡ·ΔM is split again by bands: ΔM = Σ_b ΔP(b|g)·M̄_b
    (another share of badly transcribed conversations) + Σ_b P̄(b|g)·ΔM_b (the same transcripts read differently). A
    category or band that is absent from a period takes the other period's confusion: what came or went is not drift.
    """
    gold_1, gold_2 = joint_1.sum(axis=(-2, -1)), joint_2.sum(axis=(-2, -1))
    bands_1, bands_2 = joint_1.sum(axis=-2), joint_2.sum(axis=-2)
    charted_1 = np.einsum("...gkb,k->...gb", joint_1, scores)
    charted_2 = np.einsum("...gkb,k->...gb", joint_2, scores)
    share_1, share_2 = _either(bands_1, gold_1[..., None], bands_2, gold_2[..., None])
    cell_1, cell_2 = _either(charted_1, bands_1, charted_2, bands_2)
    mean_1, mean_2 = (share_1 * cell_1).sum(axis=-1), (share_2 * cell_2).sum(axis=-1)
    customers = ((gold_2 - gold_1) * (mean_1 + mean_2)).sum(axis=-1) / 2
    gold = (gold_1 + gold_2)[..., None] / 2
    transcription = (gold * (share_2 - share_1) * (cell_1 + cell_2)).sum(axis=(-2, -1)) / 2
    drift = (gold * (share_1 + share_2) * (cell_2 - cell_1)).sum(axis=(-2, -1)) / 2
    return customers, transcription, drift


def decompose(world: World, scores: Floats, mode: Mode) -> Parts:
    """The movement of Σ s·Σ q·a from (s1, q1) to (s2, q2), as parts of each slice.

    upgrade = s2·(q2 − q2 as the old version says it)·a; mix = Δs·(mean charted level, against the overall one); what
    is left within a slice is split by `split`, both periods under the old version.

    - same: no upgrade, so both are the same version's answers.
    - bridged: the labels of period 2 are matched with the old version's answers.
    - bridged_new_labels: they are matched with the new version's only; the truth then moves the chart through period
      1's confusion, and drift is what remains.
    - unbridged: old and new version have nothing in common; all change of confusion is the upgrade's.
    """
    linked = mode in ("bridged", "bridged_new_labels")
    old = np.einsum("...sjkb,...skb->...sjb", world.back, world.q2) if linked else world.q2
    q1, q2, old, p1, p2, stays = _completed(world, old)
    level_1, level_2, level_old = (np.einsum("...skb,k->...s", q, scores) for q in (q1, q2, old))
    mean_size = (world.s1 + world.s2) / 2
    overall = (np.sum(world.s1 * level_1 + world.s2 * level_2, axis=-1) / 2)[..., None]
    mix = (world.s2 - world.s1) * ((level_1 + level_old) / 2 - overall)
    upgrade = world.s2 * (level_2 - level_old)
    joint_1 = q1[..., None, :, :] * p1
    joint_2 = (q2 if mode == "bridged_new_labels" else old)[..., None, :, :] * p2
    gold_1, gold_2 = joint_1.sum(axis=(-2, -1)), joint_2.sum(axis=(-2, -1))
    truth = world.s2 * (gold_2 @ scores) - world.s1 * (gold_1 @ scores)
    if mode == "bridged_new_labels":
        customers = np.where(stays, _customers_by_first(joint_1, joint_2, scores), 0.0)
        transcription, drift = np.zeros_like(customers), level_old - level_1 - customers
    else:
        customers, transcription, drift = split(joint_1, joint_2, scores)
    customers, transcription, drift = (mean_size * part for part in (customers, transcription, drift))
    if mode == "unbridged":
        upgrade, drift = drift, np.zeros_like(drift)
    return Parts(customers, upgrade, drift, mix, transcription, truth)


def _completed(world: World, old: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats, NDArray[np.bool_]]:
    """q1, q2, q2 by the old version, p1, p2, and whether a slice occurs in both periods.

    A slice that came or went takes its other period for the missing one: all that it moves is the mix.
    """
    new, gone = world.s1 <= 0, world.s2 <= 0
    q1 = np.where(new[..., None, None], old, world.q1)
    q2, old = (np.where(gone[..., None, None], q1, q) for q in (world.q2, old))
    p1 = np.where(new[..., None, None, None], world.p2, world.p1)
    p2 = np.where(gone[..., None, None, None], p1, world.p2)
    return q1, q2, old, p1, p2, ~(new | gone)


def _customers_by_first(joint_1: Floats, joint_2: Floats, scores: Floats) -> Floats:
    """Σ ΔG·M with period 1's confusion; a category new in period 2 takes the confusion it has there."""
    gold_1, gold_2 = joint_1.sum(axis=(-2, -1)), joint_2.sum(axis=(-2, -1))
    charted_1 = np.einsum("...gkb,k->...g", joint_1, scores)
    charted_2 = np.einsum("...gkb,k->...g", joint_2, scores)
    mean, _ = _either(charted_1, gold_1, charted_2, gold_2)
    moved: Floats = ((gold_2 - gold_1) * mean).sum(axis=-1)
    return moved


def _either(top_1: Floats, bottom_1: Floats, top_2: Floats, bottom_2: Floats) -> tuple[Floats, Floats]:
    """Two ratios; one that does not exist is the other one (0 where neither does)."""
    some_1, some_2 = bottom_1 > 0, bottom_2 > 0
    ratio_1 = top_1 / np.where(some_1, bottom_1, 1.0)
    ratio_2 = top_2 / np.where(some_2, bottom_2, 1.0)
    known_1 = np.where(some_1, ratio_1, np.where(some_2, ratio_2, 0.0))
    return known_1, np.where(some_2, ratio_2, known_1)


def _checked(*counts: Floats) -> None:
    for values in counts:
        if not np.isfinite(values).all() or np.any(values < 0) or not math.isfinite(values.sum()) or not values.sum():
            raise StatisticsError("counts are finite, not negative and not all zero")
