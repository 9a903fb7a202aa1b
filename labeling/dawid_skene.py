"""Dawid and Skene's model (1979): who errs how, and what each item then most likely is. Pure.

Nobody knows the truth in it, so that the errors of an annotator's accuracy are more than those of a count: whose errors
they are is uncertain, too. They come from leaving out a part of the items at a time. Where the labels cannot tell
annotators apart, the model says why instead.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Unit = TypeVar("Unit", bound=Hashable)
Array = NDArray[np.float64]

ROUNDS = 60
LEAST_PER_PERSON = 20
LEAST_SHARED = 20
"""Units that two annotators must both have labelled to say anything about each other."""
PARTS, AGAIN = 20, 20
"""Parts of the items of which one is left out at a time, and the rounds of each fit, which begins at the whole's."""


@dataclass(frozen=True, slots=True)
class Annotator:
    """How often one annotator is right, by the model: value, standard error, and the number of their labels."""

    name: str
    accuracy: float
    standard_error: float
    labels: int


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Parallel codes, one entry a label: who labelled which unit as what."""

    who: NDArray[np.int64]
    what: NDArray[np.int64]
    said: NDArray[np.int64]

    def of_units(self, kept: NDArray[np.bool_]) -> Labels:
        """The labels of some units, which keep their numbers."""
        chosen = kept[self.what]
        return Labels(self.who[chosen], self.what[chosen], self.said[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class DawidSkene:
    """The fitted model: `posterior` (units × classes), `prevalence` (classes), `confusion` (annotators × true × said)."""

    annotators: tuple[str, ...]
    posterior: Array
    prevalence: Array
    confusion: Array
    labels: NDArray[np.int64]
    given: Labels
    reason: str = ""

    @property
    def identified(self) -> bool:
        """Whether the labels can tell the annotators apart (see `reason`)."""
        return not self.reason

    def accuracies(self) -> tuple[Annotator, ...]:
        """Each annotator's accuracy over the true classes, with its standard error.

        The error is a jackknife over 20 parts of the units, √(19/20·Σ(a₍₋ₚ₎ − mean)²) (Efron and Stein 1981), each part's
        model begun at the whole one's; never less than that of as many labels whose truth is known. Meaningless where
        the model is not identified.
        """
        value = _right(self.prevalence, self.confusion)
        units = len(self.posterior)
        parts = min(PARTS, units)
        left_out = []
        for part in range(parts):
            kept = np.arange(units) % parts != part
            prevalence, confusion, _ = _em(self.given.of_units(kept), self.posterior, kept, len(self.annotators), AGAIN)
            left_out.append(_right(prevalence, confusion))
        again = np.array(left_out)
        spread = np.sqrt((parts - 1) / parts * ((again - again.mean(axis=0)) ** 2).sum(axis=0))
        counted = np.sqrt(np.maximum(value * (1 - value), 1e-12) / np.maximum(self.labels, 1))
        errors = np.maximum(spread, counted)
        return tuple(
            Annotator(name, float(value[place]), float(errors[place]), int(self.labels[place]))
            for place, name in enumerate(self.annotators)
        )


def _right(prevalence: Array, confusion: Array) -> Array:
    """How often each annotator is right."""
    found: Array = np.diagonal(confusion, axis1=1, axis2=2) @ prevalence
    return found


def fit(
    annotator: Sequence[int], unit: Sequence[int], said: Sequence[int], *, names: Sequence[str], classes: int
) -> DawidSkene:
    """EM from the majority vote, 60 rounds, with the prior (2·I + ½)/K on each row of each annotator's confusion.

    `annotator`, `unit` and `said` are parallel codes, one entry a label. Source: Dawid and Skene 1979, Applied Statistics
    28; the prior keeps annotators with few labels from being trusted or distrusted for nothing.
    """
    given = Labels(*(np.asarray(codes, dtype=np.int64) for codes in (annotator, unit, said)))
    votes = np.zeros((int(given.what.max()) + 1, classes))
    np.add.at(votes, (given.what, given.said), 1.0)
    start = votes / votes.sum(axis=1, keepdims=True)
    everything = np.ones(len(votes), dtype=bool)
    prevalence, confusion, posterior = _em(given, start, everything, len(names), ROUNDS)
    labels = np.bincount(given.who, minlength=len(names))
    return DawidSkene(tuple(names), posterior, prevalence, confusion, labels, given, _reason(given, labels))


def _em(
    given: Labels, posterior: Array, kept: NDArray[np.bool_], people: int, rounds: int
) -> tuple[Array, Array, Array]:
    """Prevalence, confusion and posterior after so many rounds on the units in `kept`."""
    classes = posterior.shape[1]
    prior = (2.0 * np.eye(classes) + 0.5) / classes
    units = int(kept.sum())
    # One entry a label, at its unit and at what its annotator said: both sums over labels are products with it.
    places = (given.what, given.who * classes + given.said)
    heard = sparse.csr_array((np.ones(len(given.what)), places), shape=(len(posterior), people * classes))
    for _ in range(rounds):
        counts = (heard.T @ posterior).reshape(people, classes, classes).transpose(0, 2, 1)
        confusion = counts + prior
        confusion /= confusion.sum(axis=2, keepdims=True)
        prevalence = (posterior[kept].sum(axis=0) + 1.0 / classes) / (units + 1.0)
        said = np.log(confusion).transpose(0, 2, 1).reshape(people * classes, classes)
        logs = np.log(prevalence) + heard @ said
        logs -= logs.max(axis=1, keepdims=True)
        posterior = np.exp(logs)
        posterior /= posterior.sum(axis=1, keepdims=True)
    return prevalence, confusion, posterior


def _reason(given: Labels, labels: NDArray[Any]) -> str:
    """Why the labels cannot tell annotators apart, if so.

    Two who share items tell how often they differ, not who errs; it takes a third who shares items with both, for every
    one of them: three answers of their own to the same truth.
    """
    if len(labels) < 3:
        return "too_few_annotators"
    if int(labels.min()) < LEAST_PER_PERSON:
        return "too_few_labels"
    present = np.zeros((int(given.what.max()) + 1, len(labels)))
    present[given.what, given.who] = 1.0
    near = (present.T @ present >= LEAST_SHARED) & ~np.eye(len(labels), dtype=bool)
    triangles = np.diagonal(near.astype(np.int64) @ near.astype(np.int64) @ near.astype(np.int64))
    return "" if bool((triangles > 0).all()) else "too_few_shared_units"


def of_ratings(ratings: Mapping[Unit, Mapping[str, str]], *, values: Sequence[str]) -> tuple[list[Unit], DawidSkene]:
    """The model of `ratings` (unit → annotator → value), and the units in the order of its posterior."""
    units = list(ratings)
    names = sorted({name for given in ratings.values() for name in given})
    people = {name: place for place, name in enumerate(names)}
    codes = {value: code for code, value in enumerate(values)}
    triples = [
        (people[name], place, codes[value])
        for place, unit in enumerate(units)
        for name, value in sorted(ratings[unit].items())
    ]
    who, what, which = zip(*triples, strict=True)
    return units, fit(who, what, which, names=names, classes=len(values))


def estimate_classes(ratings: Mapping[Unit, Mapping[str, str]], *, values: Sequence[str]) -> dict[Unit, str]:
    """The most likely class of each unit; a unit whose two best classes are equally likely is left out."""
    given = {unit: answers for unit, answers in ratings.items() if answers}
    if not given:
        return {}
    units, model = of_ratings(given, values=values)
    best = np.sort(model.posterior, axis=1)
    decided = best[:, -1] - best[:, -2] > 1e-9
    winner = model.posterior.argmax(axis=1)
    return {unit: values[int(winner[place])] for place, unit in enumerate(units) if decided[place]}
