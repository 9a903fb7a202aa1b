"""Dawid and Skene's model (1979): who errs how, and what each item then most likely is. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Unit = TypeVar("Unit", bound=Hashable)
Array = NDArray[np.float64]

ROUNDS = 60
LEAST_PER_PERSON = 20


@dataclass(frozen=True, slots=True)
class Annotator:
    """How often one annotator is right, by the model: value, standard error, and the number of their labels."""

    name: str
    accuracy: float
    standard_error: float
    labels: int


@dataclass(frozen=True, slots=True)
class DawidSkene:
    """The fitted model: `posterior` (units × classes), `prevalence` (classes), `confusion` (annotators × true × said)."""

    annotators: tuple[str, ...]
    posterior: Array
    prevalence: Array
    confusion: Array
    labels: NDArray[np.int64]
    reason: str = ""

    @property
    def identified(self) -> bool:
        """Whether the labels can tell the annotators apart: three of them, each with enough labels."""
        return not self.reason

    def accuracies(self) -> tuple[Annotator, ...]:
        """Each annotator's accuracy over the true classes, with the binomial standard error of the expected counts."""
        found = []
        for place, name in enumerate(self.annotators):
            right = float(np.sum(self.prevalence * np.diagonal(self.confusion[place])))
            count = int(self.labels[place])
            error = float(np.sqrt(max(right * (1 - right), 1e-12) / max(count, 1)))
            found.append(Annotator(name, right, error, count))
        return tuple(found)


def fit(
    annotator: Sequence[int], unit: Sequence[int], said: Sequence[int], *, names: Sequence[str], classes: int
) -> DawidSkene:
    """EM from the majority vote, 60 rounds, with the prior (2·I + ½)/K on each row of each annotator's confusion.

    `annotator`, `unit` and `said` are parallel codes, one entry a label. Source: Dawid and Skene 1979, Applied Statistics
    28; the prior keeps annotators with few labels from being trusted or distrusted for nothing.
    """
    who, what, which = (np.asarray(codes, dtype=np.int64) for codes in (annotator, unit, said))
    units, people = int(what.max()) + 1, len(names)
    votes = np.zeros((units, classes))
    np.add.at(votes, (what, which), 1.0)
    posterior = votes / votes.sum(axis=1, keepdims=True)
    prior = (2.0 * np.eye(classes) + 0.5) / classes
    prevalence = np.full(classes, 1.0 / classes)
    confusion = np.zeros((people, classes, classes))
    for _ in range(ROUNDS):
        counts = np.zeros((people, classes, classes))
        np.add.at(counts.transpose(0, 2, 1), (who, which), posterior[what])
        confusion = counts + prior
        confusion /= confusion.sum(axis=2, keepdims=True)
        prevalence = (posterior.sum(axis=0) + 1.0 / classes) / (units + 1.0)
        logs = np.tile(np.log(prevalence), (units, 1))
        np.add.at(logs, what, np.log(confusion[who, :, which]))
        logs -= logs.max(axis=1, keepdims=True)
        posterior = np.exp(logs)
        posterior /= posterior.sum(axis=1, keepdims=True)
    labels = np.bincount(who, minlength=people)
    return DawidSkene(tuple(names), posterior, prevalence, confusion, labels, _reason(labels))


def _reason(labels: NDArray[Any]) -> str:
    if len(labels) < 3:
        return "too_few_annotators"
    if int(labels.min()) < LEAST_PER_PERSON:
        return "too_few_labels"
    return ""


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
