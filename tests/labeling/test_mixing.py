"""Where checks lie among a person's acts: the share that was asked for, at places nobody can guess, counted ahead exactly."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.mixing import KNOWN, REPEAT, Mix

SHARES = st.tuples(st.floats(0, 0.25), st.floats(0, 0.25))


def test_it_works() -> None:
    mix = Mix(0.1, 0.05, "7:3")
    due = [mix.due(act) for act in range(2000)]
    assert abs(due.count(REPEAT) - 200) < 30
    assert abs(due.count(KNOWN) - 100) < 30
    assert due.count(None) == 1700


def test_without_a_share_nothing_is_due() -> None:
    mix = Mix(0, 0, "7:3")
    assert not any(mix.due(act) for act in range(100))
    assert mix.acts_for(12, after=5) == 12


def test_two_people_have_other_places_and_one_has_the_same_again() -> None:
    places = [[Mix(0.1, 0, seed).due(act) for act in range(200)] for seed in ("7:3", "7:4", "7:3")]
    assert places[0] != places[1]
    assert places[0] == places[2]


def test_the_distance_from_check_to_check_varies() -> None:
    mix = Mix(0.1, 0, "7:3")
    places = [act for act in range(1000) if mix.due(act)]
    assert len({later - earlier for earlier, later in pairwise(places)}) > 5


@settings(max_examples=50, deadline=None)
@given(SHARES, st.integers(0, 3000), st.text(max_size=5))
def test_what_was_due_before_is_what_was_due(shares: tuple[float, float], act: int, seed: str) -> None:
    mix = Mix(*shares, seed)
    assert mix.before(act) == sum(mix.due(one) is not None for one in range(act))


@settings(max_examples=50, deadline=None)
@given(SHARES, st.integers(0, 500), st.integers(0, 500), st.text(max_size=5))
def test_acts_ahead_hold_exactly_the_items(shares: tuple[float, float], items: int, after: int, seed: str) -> None:
    mix = Mix(*shares, seed)
    acts = mix.acts_for(items, after=after)
    kinds = [mix.due(after + act) for act in range(acts)]
    assert kinds.count(None) == items
    assert not items or kinds[-1] is None
