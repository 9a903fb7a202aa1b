"""Designs: sizes, probabilities and reproducibility; probabilities are checked against simulated draws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.design import (
    ConfidenceStrata,
    DesignError,
    Draw,
    Scored,
    Unit,
    allocate,
    confidence_strata,
    draw,
    inclusion_probabilities,
    kappa_gaps,
    next_round,
    top_up,
)

POPULATIONS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 60), min_size=1, max_size=8)


def make_frame(sizes: dict[str, int], *, measure: Callable[[int], float] | None = None) -> list[Unit]:
    return [
        Unit(f"{name}-{index:04}", name, None if measure is None else measure(index))
        for name, size in sizes.items()
        for index in range(size)
    ]


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def simulated(units: list[Unit], sample: Callable[[np.random.Generator], Draw], *, rounds: int) -> dict[str, float]:
    """How often each unit is drawn, in standard errors away from what the draws themselves state."""
    generator = rng(11)
    seen: Counter[str] = Counter()
    stated: dict[str, float] = {}
    for _ in range(rounds):
        for pick in sample(generator).picks:
            seen[pick.key] += 1
            stated[pick.key] = pick.inclusion_probability
    assert set(stated) == {unit.key for unit in units}, "every unit must have a chance"
    return {
        key: (seen[key] / rounds - chance) / math.sqrt(max(chance * (1 - chance), 1e-12) / rounds)
        for key, chance in stated.items()
    }


# --- allocation ---------------------------------------------------------------------------------------------------


def test_proportional_allocation_returns_whole_shares_unchanged() -> None:
    assert allocate({"voice": 500, "chat": 300, "mail": 200}, size=50) == {"voice": 25, "chat": 15, "mail": 10}


def test_equal_allocation_hands_on_what_a_small_stratum_cannot_take() -> None:
    assert allocate({"a": 3, "b": 100, "c": 100}, size=43, method="equal") == {"a": 3, "b": 20, "c": 20}


def test_neyman_allocation_is_the_integer_optimum() -> None:
    populations, spreads = {"a": 9, "b": 14, "c": 30}, {"a": 3.0, "b": 1.0, "c": 0.4}
    found = allocate(populations, size=12, method="neyman", spreads=spreads, minimum=1)

    def variance(a: int, b: int, c: int) -> float:
        return sum((populations[h] * spreads[h]) ** 2 / n for h, n in zip("abc", (a, b, c), strict=True))

    best = min(
        ((a, b, 12 - a - b) for a in range(1, 10) for b in range(1, 12 - a) if b <= 14),
        key=lambda sizes: variance(*sizes),
    )
    assert (found["a"], found["b"], found["c"]) == best


def test_a_stratum_without_spread_is_served_last_but_served() -> None:
    found = allocate({"a": 5, "b": 50}, size=30, method="neyman", spreads={"a": 1.0, "b": 0.0})
    assert found == {"a": 5, "b": 25}


@given(populations=POPULATIONS, method=st.sampled_from(["proportional", "equal", "neyman"]), data=st.data())
def test_an_allocation_is_exact_and_within_its_bounds(populations: dict[str, int], method: str, data: st.DataObject):
    total = sum(populations.values())
    minimum = data.draw(st.integers(0, 4))
    least = sum(min(minimum, population) for population in populations.values())
    size = data.draw(st.integers(least, total + 5))
    spreads = {name: data.draw(st.floats(0, 10)) for name in populations}
    found = allocate(populations, size=size, method=method, spreads=spreads, minimum=minimum)
    assert sum(found.values()) == min(size, total)
    assert all(min(minimum, populations[name]) <= seats <= populations[name] for name, seats in found.items())


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"size": 3, "minimum": 2}, "4 units are needed"),
        ({"size": -1}, "negative"),
        ({"size": 4, "method": "neyman"}, "spread of stratum"),
        ({"size": 4, "method": "neyman", "spreads": {"a": math.nan, "b": 1.0}}, "spread of stratum"),
        ({"size": 4, "method": "best"}, "unknown allocation"),
    ],
)
def test_an_impossible_allocation_is_refused(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        allocate({"a": 10, "b": 10}, **keywords)


# --- drawing ------------------------------------------------------------------------------------------------------


def test_uniform_draw_reports_strata_and_equal_chances() -> None:
    sample = draw(make_frame({"voice": 30, "chat": 10}), size=8, strategy="uniform", rng=rng())
    assert len(sample.picks) == 8
    assert {pick.inclusion_probability for pick in sample.picks} == {0.2}
    assert [(plan.name, plan.population) for plan in sample.strata] == [("chat", 10), ("voice", 30)]
    assert sum(plan.allocated for plan in sample.strata) == 8


def test_stratified_draw_keeps_its_plan() -> None:
    sample = draw(make_frame({"a": 100, "b": 50, "c": 2}), size=30, strategy="stratified", rng=rng(), minimum=4)
    assert [(plan.name, plan.allocated) for plan in sample.strata] == [("a", 19), ("b", 9), ("c", 2)]
    chances = {pick.stratum: pick.inclusion_probability for pick in sample.picks}
    assert chances == {"a": 0.19, "b": 0.18, "c": 1.0}


@pytest.mark.parametrize("strategy", ["uniform", "stratified", "unequal"])
def test_same_seed_and_frame_in_any_order_draw_the_same(strategy: str) -> None:
    units = make_frame({"a": 40, "b": 25, "c": 9}, measure=lambda index: index % 5)
    shuffled = [units[index] for index in rng(3).permutation(len(units))]
    first = draw(units, size=20, strategy=strategy, rng=rng(5))
    assert draw(shuffled, size=20, strategy=strategy, rng=rng(5)) == first
    assert draw(units, size=20, strategy=strategy, rng=rng(6)).picks != first.picks


@pytest.mark.parametrize("strategy", ["uniform", "stratified", "unequal"])
def test_a_size_beyond_the_frame_takes_all_of_it_for_certain(strategy: str) -> None:
    sample = draw(make_frame({"a": 3, "b": 2}, measure=lambda index: index), size=9, strategy=strategy, rng=rng())
    assert len(sample.picks) == 5
    assert {pick.inclusion_probability for pick in sample.picks} == {1.0}


@pytest.mark.parametrize("size", [4, 25])
@pytest.mark.parametrize("allocation", ["proportional", "equal"])
def test_stratified_chances_are_what_simulation_finds_also_with_fewer_units_than_strata(
    size: int, allocation: str
) -> None:
    units = make_frame({"a": 12, "b": 7, "c": 3, "d": 4, "e": 1, "f": 9})
    off = simulated(
        units,
        lambda generator: draw(units, size=size, strategy="stratified", rng=generator, allocation=allocation),
        rounds=3000,
    )
    assert max(abs(z) for z in off.values()) < 4


def test_with_fewer_picks_than_strata_a_proportional_draw_is_an_even_one() -> None:
    sample = draw(make_frame({"a": 12, "b": 7, "c": 1}), size=2, strategy="stratified", rng=rng())
    assert [pick.inclusion_probability for pick in sample.picks] == pytest.approx([0.1, 0.1])
    equal = draw(make_frame({"a": 12, "b": 6, "c": 2}), size=2, strategy="stratified", rng=rng(), allocation="equal")
    expected = {"a": 2 / 3 / 12, "b": 2 / 3 / 6, "c": 2 / 3 / 2}
    assert all(pick.inclusion_probability == pytest.approx(expected[pick.stratum]) for pick in equal.picks)


def test_unequal_chances_are_what_simulation_finds() -> None:
    units = make_frame({"a": 20, "b": 15}, measure=lambda index: 40.0 if index == 0 else index % 4)
    off = simulated(units, lambda generator: draw(units, size=10, strategy="unequal", rng=generator), rounds=4000)
    assert max(abs(z) for z in off.values()) < 4
    certain = [p for p in draw(units, size=10, strategy="unequal", rng=rng()).picks if p.inclusion_probability == 1]
    assert {pick.key for pick in certain} == {"a-0000", "b-0000"}


def test_weighted_totals_of_an_unequal_sample_are_unbiased() -> None:
    units = make_frame({"a": 60}, measure=lambda index: (index % 10) ** 2)
    truth = {unit.key: float(index % 7 + (unit.measure or 0)) for index, unit in enumerate(units)}
    generator = rng(2)
    totals = [
        sum(
            truth[pick.key] / pick.inclusion_probability
            for pick in draw(units, size=15, strategy="unequal", rng=generator).picks
        )
        for _ in range(3000)
    ]
    error = np.std(totals) / math.sqrt(len(totals))
    assert abs(np.mean(totals) - sum(truth.values())) < 4 * error


def test_even_share_bounds_the_weights_and_no_measure_at_all_is_an_even_draw() -> None:
    units = make_frame({"a": 50}, measure=lambda index: 100.0 if index < 2 else 0.0)
    sample = draw(units, size=10, strategy="unequal", rng=rng(), even_share=0.5)
    assert min(pick.inclusion_probability for pick in sample.picks) >= 0.5 * 10 / 50
    flat = draw(make_frame({"a": 50}, measure=lambda _: 0.0), size=10, strategy="unequal", rng=rng())
    assert {round(pick.inclusion_probability, 12) for pick in flat.picks} == {0.2}


@settings(max_examples=150)
@given(
    measures=st.lists(st.floats(0, 1e6), min_size=1, max_size=60),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_an_unequal_draw_has_its_size_and_its_chances_sum_to_it(
    measures: list[float], seed: int, data: st.DataObject
) -> None:
    units = [Unit(f"{index:03}", f"s{index % 3}", measure) for index, measure in enumerate(measures)]
    size = data.draw(st.integers(1, len(units)))
    sample = draw(units, size=size, strategy="unequal", rng=rng(seed))
    assert len({pick.key for pick in sample.picks}) == size
    chances = inclusion_probabilities(np.array(measures) + 1.0, size)
    assert math.isclose(chances.sum(), size, rel_tol=1e-9)
    assert chances.max() <= 1


@pytest.mark.parametrize(
    ("units", "keywords", "message"),
    [
        ([], {"size": 1, "strategy": "uniform"}, "nothing to draw"),
        ([Unit("a"), Unit("a")], {"size": 1, "strategy": "uniform"}, "twice"),
        ([Unit("a")], {"size": 0, "strategy": "uniform"}, "at least one"),
        ([Unit("a")], {"size": 1, "strategy": "clever"}, "unknown strategy"),
        ([Unit("a")], {"size": 1, "strategy": "unequal"}, "measure of every unit"),
        ([Unit("a", measure=-1.0)], {"size": 1, "strategy": "unequal"}, "not negative"),
        ([Unit("a", measure=math.nan)], {"size": 1, "strategy": "unequal"}, "finite"),
        ([Unit("a", measure=1.0)], {"size": 1, "strategy": "unequal", "even_share": 2.0}, "even share"),
        (
            [Unit("a", measure=1.0), Unit("b", measure=0.0)],
            {"size": 2, "strategy": "unequal", "even_share": 0.0},
            "2 units",
        ),
    ],
)
def test_a_bad_frame_or_plan_is_refused(units: list[Unit], keywords: dict[str, object], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        draw(units, rng=rng(), **keywords)


def test_probabilities_refuse_measures_that_are_none() -> None:
    with pytest.raises(DesignError, match="finite"):
        inclusion_probabilities(np.array([1.0, np.inf]), 1)


# --- prediction and confidence ------------------------------------------------------------------------------------


def make_scored(count: int = 400) -> list[Scored]:
    confidences = rng(4).beta(5, 2, size=count)
    return [
        Scored(f"k{index:04}", "negative" if index % 8 == 0 else "positive", float(confidence), "voice")
        for index, confidence in enumerate(confidences)
    ]


def test_confidence_strata_name_prediction_and_band() -> None:
    items = [Scored("a", "no", 0.5), Scored("b", "no", 0.97), Scored("c", "yes", 1.0, "chat"), Scored("d", "yes", 0.0)]
    strata = confidence_strata(items)
    assert [unit.stratum for unit in strata.units] == [
        "no · 50%-75%",
        "no · 97%-100%",
        "chat · yes · 97%-100%",
        "yes · 0%-50%",
    ]
    assert [unit.measure for unit in strata.units] == [0.5, pytest.approx(0.03), 0.0, 1.0]


def test_unsure_bands_and_rare_predictions_get_more_labels_than_their_share() -> None:
    strata = confidence_strata(make_scored(4000))
    sample = draw(
        strata.units, size=200, strategy="stratified", rng=rng(), allocation="neyman", spreads=strata.spreads, minimum=4
    )
    chance = {pick.stratum: pick.inclusion_probability for pick in sample.picks}
    assert chance["voice · negative · 50%-75%"] > 1.5 * chance["voice · positive · 50%-75%"]
    assert chance["voice · positive · 50%-75%"] > 1.2 * chance["voice · positive · 90%-97%"]
    assert all(plan.allocated >= min(4, plan.population) for plan in sample.strata)


def test_gap_is_the_difference_of_the_influence_of_a_hit_and_a_miss() -> None:
    """The derivative of kappa when mass moves off the diagonal within a column, both margins being the same."""
    items = [Scored(str(i), "b" if i < 20 else "a", 0.9) for i in range(100)]
    gaps = kappa_gaps(items)
    pe = 0.8**2 + 0.2**2
    assert gaps["a"] == pytest.approx(1 / (1 - pe) - 0.1 / (1 - pe) ** 2 * 0.6)
    assert gaps["b"] == pytest.approx(1 / (1 - pe) + 0.1 / (1 - pe) ** 2 * 0.6)


def test_one_category_and_a_useless_classifier_still_have_positive_gaps() -> None:
    assert kappa_gaps([Scored("a", "x", 0.9)]) == {"x": 1.0}
    assert min(kappa_gaps([Scored(str(i), "a" if i else "b", 0.0) for i in range(9)]).values()) > 0
    assert confidence_strata([]) == ConfidenceStrata((), {})


def test_a_confidence_outside_0_to_1_is_refused() -> None:
    with pytest.raises(DesignError, match="confidence"):
        confidence_strata([Scored("a", "x", 1.2)])


# --- top-up -------------------------------------------------------------------------------------------------------


def test_top_up_of_an_even_sample_pools_to_one_even_sample() -> None:
    units = make_frame({"a": 40, "b": 20})
    first = draw(units, size=12, strategy="stratified", rng=rng(1))
    earlier = {pick.key: pick.inclusion_probability for pick in first.picks}
    more = top_up(units, earlier=earlier, size=18, rng=rng(2))
    assert not {pick.key for pick in more.picks} & set(earlier)
    assert {pick.key for pick in more.revised} == set(earlier)
    assert {pick.inclusion_probability for pick in (*more.picks, *more.revised)} == {0.5}
    assert [(plan.name, plan.allocated) for plan in more.strata] == [("a", 12), ("b", 6)]


@pytest.mark.parametrize("first_strategy", ["uniform", "stratified", "unequal"])
def test_pooled_totals_after_a_top_up_are_unbiased(first_strategy: str) -> None:
    units = make_frame({"a": 30, "b": 30}, measure=lambda index: 1.0 + index % 5)
    truth = {unit.key: float(unit.measure or 0) ** 2 + (unit.stratum == "b") for unit in units}
    generator = rng(9)
    totals = []
    for _ in range(3000):
        first = draw(units, size=12, strategy=first_strategy, rng=generator)
        earlier = {pick.key: pick.inclusion_probability for pick in first.picks}
        more = top_up(units, earlier=earlier, size=12, rng=generator)
        totals.append(sum(truth[pick.key] / pick.inclusion_probability for pick in (*more.picks, *more.revised)))
    error = np.std(totals) / math.sqrt(len(totals))
    assert abs(np.mean(totals) - sum(truth.values())) < max(4 * error, 0.004 * sum(truth.values()))


def test_top_up_aims_at_the_pooled_allocation() -> None:
    units = make_frame({"a": 50, "b": 50})
    earlier = {f"a-{index:04}": 0.2 for index in range(10)}
    more = top_up(units, earlier=earlier, size=10, rng=rng())
    assert {pick.stratum for pick in more.picks} == {"b"}
    assert {pick.inclusion_probability for pick in more.picks} == {0.2}


def test_top_up_to_the_whole_frame_makes_everything_certain_and_leaves_strangers_alone() -> None:
    units = make_frame({"a": 6})
    more = top_up(units, earlier={"a-0001": 0.3, "a-0002": 0.9, "gone": 0.5}, size=99, rng=rng())
    assert len(more.picks) == 4
    assert {pick.key for pick in more.revised} == {"a-0001", "a-0002"}
    assert {pick.inclusion_probability for pick in (*more.picks, *more.revised)} == {1.0}


def test_top_up_without_anything_new_in_a_stratum_keeps_its_uneven_chances() -> None:
    units = make_frame({"a": 6, "b": 100})
    more = top_up(units, earlier={"a-0001": 0.25, "a-0002": 0.5}, size=3, rng=rng())
    kept = {pick.key: pick.inclusion_probability for pick in more.revised}
    assert kept == {"a-0001": pytest.approx(0.25), "a-0002": pytest.approx(0.5)}


@pytest.mark.parametrize(("earlier", "size", "message"), [({}, 0, "at least one"), ({"a-0000": 0.0}, 1, "probability")])
def test_a_bad_top_up_is_refused(earlier: dict[str, float], size: int, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        top_up(make_frame({"a": 4}), earlier=earlier, size=size, rng=rng())


def test_rounds_grow_by_two_fifths_where_the_verdict_is_open() -> None:
    labels = {"settled": 90, "new": 0, "thin": 60, "wide": 55, "large": 400}
    found = next_round(labels, unsettled=["new", "thin", "wide", "large"])
    assert found == {"new": 50, "thin": 24, "wide": 22, "large": 160}
    assert next_round({"a": 50}, unsettled=["a"]) == {"a": 20}
    assert next_round(labels, unsettled=[]) == {}
    with pytest.raises(DesignError, match="not fewer"):
        next_round({"a": -1}, unsettled=["a"])
