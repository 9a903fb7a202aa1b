"""The alternative annotator test: who passes, who does not, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.stats.alt_test import alternative_annotator
from calibration.stats.estimate import StatisticsError


def make_answers(rng: np.random.Generator, truth: np.ndarray, right: float) -> np.ndarray:
    return np.where(rng.random(len(truth)) < right, truth, (truth + rng.integers(1, 3, len(truth))) % 3)


def make_people(*, judge: float, items: int = 300, seed: int = 2) -> tuple[list[list[float | None]], list[float]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, items)
    people = [make_answers(rng, truth, 0.85).tolist() for _ in range(4)]
    return people, make_answers(rng, truth, judge).tolist()


def test_a_judge_as_good_as_people_passes_and_a_bad_one_does_not() -> None:
    good = alternative_annotator(*make_people(judge=0.92))
    assert good.passes and good.winning_rate == 1.0 and (good.mean_advantage or 0) > 0.8
    bad = alternative_annotator(*make_people(judge=0.6))
    assert bad.passes is False and bad.winning_rate == 0.0
    assert (bad.epsilon, bad.level) == (0.1, 0.05)


def test_a_lenient_epsilon_lets_a_worse_judge_pass() -> None:
    people = make_people(judge=0.72)
    assert not alternative_annotator(*people).passes
    assert alternative_annotator(*people, epsilon=0.5).passes


def test_missing_labels_are_left_out() -> None:
    people, judge = make_people(judge=0.9)
    holed = [row[:] for row in people]
    holed[0][:100] = [None] * 100
    found = alternative_annotator(holed, judge)
    assert found.items == (200, 300, 300, 300)


def test_numbers_are_compared_by_distance() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(3, 1, 200)
    people = [(truth + rng.normal(0, 0.5, 200)).tolist() for _ in range(3)]
    close, far = (truth + rng.normal(0, 0.1, 200)).tolist(), (truth + 3).tolist()
    assert alternative_annotator(people, close, distance=True).passes
    assert not alternative_annotator(people, far, distance=True).passes


def test_agreeing_throughout_needs_no_variance() -> None:
    same = [[1.0] * 60] * 3
    tied = alternative_annotator(same, [1.0] * 60)
    assert (tied.p_values, tied.advantage, tied.passes) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), True)
    found = alternative_annotator(same, [2.0] * 60)
    assert (found.p_values, found.passes) == ((1.0, 1.0, 1.0), False)


def test_too_few() -> None:
    assert alternative_annotator([[1.0] * 60] * 2, [1.0] * 60).reason == "too_few_annotators"
    assert alternative_annotator([], []).reason == "too_few_annotators"
    few = alternative_annotator([[1.0] * 20] * 3, [1.0] * 20)
    assert (few.reason, few.passes, few.items) == ("too_few_items", None, (20, 20, 20))


@pytest.mark.parametrize(("ratings", "judge"), [([[1.0]] * 3, [1.0, 2.0]), ([[1.0]] * 3, [float("nan")])])
def test_nonsense_is_refused(ratings: list[list[float | None]], judge: list[float]) -> None:
    with pytest.raises(StatisticsError):
        alternative_annotator(ratings, judge)
