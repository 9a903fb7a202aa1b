"""The model of annotators: who is right how often, with honest errors, and when it cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from labeling.dawid_skene import DawidSkene, estimate_classes, fit, of_ratings

RIGHT = (0.95, 0.85, 0.75, 0.65)


def labels(rng: np.random.Generator, units: int, right: tuple[float, ...] = RIGHT, classes: int = 3) -> DawidSkene:
    """Every annotator labels every unit; errors are even."""
    truth = rng.integers(classes, size=units)
    rows = []
    for person, accuracy in enumerate(right):
        wrong = (truth + rng.integers(1, classes, units)) % classes
        said = np.where(rng.random(units) < accuracy, truth, wrong)
        rows += [(person, unit, int(value)) for unit, value in enumerate(said)]
    who, what, which = zip(*rows, strict=True)
    return fit(who, what, which, names=[f"p{k}" for k in range(len(right))], classes=classes)


def test_it_works() -> None:
    model = labels(np.random.default_rng(1), 600)
    found = model.accuracies()
    assert model.identified and [one.name for one in found] == ["p0", "p1", "p2", "p3"]
    assert [one.accuracy for one in found] == pytest.approx(RIGHT, abs=0.06)
    assert all(one.labels == 600 and 0.005 < one.standard_error < 0.05 for one in found)


def test_the_interval_holds_the_truth_where_a_count_of_known_truth_would_not() -> None:
    """Accuracies of three people who are right two times in three: their truth is a guess, and the error says so."""
    rng, right = np.random.default_rng(3), (0.7, 0.7, 0.7)
    held, counted = [], []
    for _ in range(30):
        for one in labels(rng, 250, right, 2).accuracies():
            off = abs(one.accuracy - 0.7)
            held.append(off <= 1.96 * one.standard_error)
            counted.append(off <= 1.96 * (0.7 * 0.3 / 250) ** 0.5)
    assert np.mean(held) > 0.85 > 0.75 > np.mean(counted)


def test_it_says_why_annotators_cannot_be_told_apart() -> None:
    assert labels(np.random.default_rng(1), 100, (0.9, 0.8)).reason == "too_few_annotators"
    assert labels(np.random.default_rng(1), 15).reason == "too_few_labels"
    # Everybody labels a part with one other: pairs, of whom nobody knows who errs.
    pairs = [(person, unit, unit % 2) for unit in range(120) for person in ((0, 1), (1, 2), (2, 3))[unit // 40]]
    who, what, which = zip(*pairs, strict=True)
    assert fit(who, what, which, names="abcd", classes=2).reason == "too_few_shared_units"


def test_ratings_come_by_name_and_ties_are_left_out() -> None:
    ratings = {"u1": {"ann": "a", "ben": "a", "cat": "b"}, "u2": {"ann": "b", "ben": "b", "cat": "b"}, "u3": {}}
    assert estimate_classes(ratings, values=("a", "b")) == {"u1": "a", "u2": "b"}
    assert estimate_classes({"u3": {}}, values=("a", "b")) == {}
    assert estimate_classes({"u1": {"ann": "a", "ben": "b"}}, values=("a", "b")) == {}
    units, model = of_ratings({key: told for key, told in ratings.items() if told}, values=("a", "b"))
    assert units == ["u1", "u2"] and model.annotators == ("ann", "ben", "cat") and not model.identified
