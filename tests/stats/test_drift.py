"""Drift monitors: the guarantee holds, changes are found and dated, and nothing overflows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stats.betting import capped, e_monitor, e_process
from calibration.stats.drift import (
    AGREEMENT_BETS,
    Block,
    Cell,
    Day,
    Drift,
    agreement_floor,
    agreement_monitor,
    canary_monitor,
    e_bh,
    mix_monitor,
    population_stability,
)
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import wilson

CALIBRATED = wilson(340, 400)


def weeks(agreement: list[float], *, labels: int = 40, seed: int = 1) -> list[Block]:
    rng = np.random.default_rng(seed)
    return [Block.of(f"w{n:02}", labels, int(rng.binomial(labels, p))) for n, p in enumerate(agreement)]


# --- the engine ---------------------------------------------------------------------------------------------------


def test_wealth_is_the_mean_of_the_products_of_each_bet() -> None:
    found = np.exp(e_process([1, 0, 0], floor=0.8, bets=(0.5, 1.0)))
    expected = [np.mean([1 - 0.1, 1 - 0.2]), np.mean([0.9 * 1.4, 0.8 * 1.8]), np.mean([0.9 * 1.4**2, 0.8 * 1.8**2])]
    assert found == pytest.approx(expected)


def test_a_light_label_moves_little() -> None:
    found = np.exp(e_process([0, 1], floor=0.8, bets=(1.0,), weights=[1, 4], heaviest=4))
    assert found == pytest.approx([1 + 0.8 / 4, (1 + 0.8 / 4) * 0.8])


def test_the_edges_of_what_is_allowed() -> None:
    assert np.exp(e_process([0], floor=0.0, bets=(1.0,))) == pytest.approx([1.0])
    assert np.exp(e_process([1], floor=1.0, bets=(1.0,))) == pytest.approx([1.0])
    assert np.exp(e_monitor(np.log(np.array([[1.5], [0.5]])), horizon=1)) == pytest.approx([1.5, 0.5])


def test_no_labels_no_evidence() -> None:
    assert len(e_process([], floor=0.8, bets=(1.0,))) == 0


@settings(max_examples=60)
@given(
    floor=st.floats(0.05, 0.99),
    x=st.lists(st.integers(0, 1), min_size=1, max_size=12),
    weights=st.lists(st.floats(0.1, 10), min_size=12, max_size=12),
)
def test_a_fair_next_label_leaves_the_expected_wealth_as_it_is(
    floor: float, x: list[int], weights: list[float]
) -> None:
    """The law that makes it an e-process: E[e after | e before] = e before when agreement is exactly m0."""
    used = weights[: len(x)]

    def wealth(last: int) -> float:
        return math.exp(e_process([*x[:-1], last], floor=floor, bets=(0.2, 0.8), weights=used, heaviest=10)[-1])

    before = (
        math.exp(e_process(x[:-1], floor=floor, bets=(0.2, 0.8), weights=used[:-1], heaviest=10)[-1]) if x[:-1] else 1
    )
    assert floor * wealth(1) + (1 - floor) * wealth(0) == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize(
    "keywords",
    [
        {"agrees": [2], "floor": 0.8},
        {"agrees": [1], "floor": 1.2},
        {"agrees": [1], "floor": math.nan},
        {"agrees": [1], "floor": 0.8, "weights": [1, 2]},
        {"agrees": [1], "floor": 0.8, "weights": [3], "heaviest": 2},
        {"agrees": [1], "floor": 0.8, "weights": [0]},
        {"agrees": [1], "floor": 0.8, "bets": ()},
        {"agrees": [1], "floor": 0.8, "bets": (-1.0,)},
        {"agrees": [1], "floor": 0.8, "bets": (0.0,)},
    ],
)
def test_nonsense_is_refused(keywords: dict[str, object]) -> None:
    with pytest.raises(StatisticsError):
        e_process(**({"bets": (1.0,)} | keywords))


def test_bets_are_capped_so_that_no_label_ruins() -> None:
    assert capped((0.1, 8.0), 0.5) == pytest.approx([0.1, 1.8])
    assert capped((0.1, 8.0), 0.0) == pytest.approx([0.1, 8.0])


def test_the_monitor_begins_anew_after_its_horizon() -> None:
    increments = np.log(np.array([[1.5], [0.7], [1.5], [0.7]]))
    found = e_monitor(increments, horizon=2)
    assert found[:2] == pytest.approx(found[2:])
    with pytest.raises(StatisticsError):
        e_monitor(increments, horizon=0)


@settings(max_examples=40)
@given(factors=st.lists(st.floats(0.2, 5), min_size=1, max_size=30), horizon=st.integers(30, 60))
def test_the_recursion_is_the_average_over_all_starts(factors: list[float], horizon: int) -> None:
    found = np.exp(e_monitor(np.log(np.array(factors))[:, None], horizon=horizon))[-1]
    starts = [math.prod(factors[start:]) for start in range(len(factors))]
    assert found == pytest.approx((sum(starts) + horizon - len(factors)) / horizon)


# --- agreement ----------------------------------------------------------------------------------------------------


def test_floor_is_the_one_sided_ninety_percent_limit() -> None:
    assert agreement_floor(CALIBRATED) == pytest.approx(wilson(340, 400, 0.8).low)
    assert agreement_floor(CALIBRATED) == pytest.approx(0.8258, abs=1e-3)
    assert agreement_floor(Estimate(0.85, n=400, effective_n=100.0)) < agreement_floor(CALIBRATED)
    assert agreement_floor(Estimate.undefined("no_items")) is None
    assert agreement_floor(Estimate(0.9)) is None


def test_a_fall_is_found_and_dated() -> None:
    found = agreement_monitor(weeks([0.85] * 15 + [0.65] * 15), calibrated=CALIBRATED, subject="voice")
    assert found.alarmed
    assert found.since is not None and abs(int(found.since[1:]) - 15) <= 2
    assert "w15" <= (found.alarmed_at or "") <= "w20"
    assert (found.warned_at or "") <= (found.alarmed_at or "")
    assert found.recent.value == pytest.approx(0.65, abs=0.05)
    assert found.e_value == found.e_values[-1] > 20
    assert "5 % of unchanged streams in 52 weeks" in found.guarantee


def test_weeks_without_labels_date_no_fall() -> None:
    empty = [Block.of(f"w{n:02}", 0, 0) for n in range(10)]
    fallen = [Block.of(f"w{n}", 40, 20) for n in range(10, 14)]
    assert agreement_monitor(empty + fallen, calibrated=CALIBRATED).since == "w10"
    gap = [Block.of(f"w{n}", 40, 38) for n in range(10)] + [Block.of(f"w{n}", 0, 0) for n in range(10, 15)]
    later = [Block.of(f"w{n}", 40, 20) for n in range(15, 20)]
    assert agreement_monitor(gap + later, calibrated=CALIBRATED).since == "w15"


def test_a_quiet_year_stays_quiet_and_pools_all_weeks() -> None:
    found = agreement_monitor(weeks([0.85] * 52), calibrated=CALIBRATED)
    assert (found.alarmed, found.alarmed_at, found.since) == (False, None, None)
    assert found.recent.n == 52 * 40
    assert max(found.e_values) < 20


def test_false_alarms_stay_below_five_percent_even_at_the_very_floor() -> None:
    floor = agreement_floor(CALIBRATED)
    assert floor is not None
    alarms = sum(
        agreement_monitor(weeks([floor] * 52, seed=seed), calibrated=CALIBRATED).alarmed for seed in range(300)
    )
    assert alarms / 300 <= 0.05


@settings(max_examples=40)
@given(grades=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_graded_agreements_are_bounded_from_below(grades: list[float]) -> None:
    """A block holds only the sum of graded agreements; its e-value never exceeds the one of the single grades."""
    floor = agreement_floor(CALIBRATED)
    assert floor is not None
    exact = np.exp(np.log1p(np.outer(AGREEMENT_BETS, floor - np.array(grades))).sum(axis=1)).mean()
    block = Block("w0", (Cell(len(grades), min(math.fsum(grades), len(grades))),))
    found = agreement_monitor([block], calibrated=CALIBRATED, horizon=1)
    assert found.e_value <= exact * (1 + 1e-9)


def test_uneven_weeks_are_weighted() -> None:
    """Hard items drawn eight times as often agree less; weighted, nothing has changed; unweighted it seems so."""
    cells = (Cell(32, 16, 1.0), Cell(8, 8, 8.0))
    even = [Block(f"w{n}", (Cell(40, 24),)) for n in range(30)]
    uneven = [Block(f"w{n}", cells, heaviest=8.0) for n in range(30)]
    assert agreement_monitor(even, calibrated=CALIBRATED).alarmed
    found = agreement_monitor(uneven, calibrated=CALIBRATED)
    assert not found.alarmed
    assert found.recent.value == pytest.approx((16 + 64) / (32 + 64))
    assert found.recent.effective_n == pytest.approx(30 * 96**2 / (32 + 8 * 64))


def test_a_landslide_stays_finite() -> None:
    found = agreement_monitor(weeks([0.0] * 30, labels=5000), calibrated=CALIBRATED)
    assert found.log_e[-1] > 10_000
    assert math.isfinite(found.e_value)
    assert json.loads(json.dumps(found.as_dict()))["evidence"]["e_value"] == found.e_value


def test_nothing_calibrated_or_seen() -> None:
    found = agreement_monitor(weeks([0.5]), calibrated=Estimate.undefined("too_few_items"))
    assert (found.reason, found.log_e, found.e_value, found.limit) == ("too_few_items", (), 1.0, None)
    assert agreement_monitor([], calibrated=Estimate(0.9)).reason == "no_items"
    empty = agreement_monitor([], calibrated=CALIBRATED)
    assert (empty.e_value, empty.recent.reason, empty.reason) == (1.0, "no_items", None)
    gap = agreement_monitor([Block("w0", ())], calibrated=CALIBRATED)
    assert gap.e_values == pytest.approx([1.0])


def test_a_perfect_calibration_of_thousands_still_works() -> None:
    assert agreement_monitor(weeks([0.9] * 9), calibrated=wilson(9000, 9000)).alarmed


@pytest.mark.parametrize(
    "block",
    [Block.of("w", 3, 4), Block.of("w", 3, -1), Block("w", (Cell(1, 1, 0.0),)), Block("w", (Cell(1, 1, 2.0),), 1.0)],
)
def test_a_block_that_cannot_be_is_refused(block: Block) -> None:
    with pytest.raises(StatisticsError):
        agreement_monitor([block], calibrated=CALIBRATED)


# --- canaries -----------------------------------------------------------------------------------------------------


def test_a_silent_change_is_found_in_two_rounds() -> None:
    quiet = [Block.of(f"w{n}", 200, 198) for n in range(10)]
    changed = [Block.of(f"w{n}", 200, 176) for n in range(10, 13)]
    found = canary_monitor(quiet + changed, flips_at_pinning=6, answers_at_pinning=600)
    assert found.alarmed_at in ("w10", "w11")
    assert found.since == "w10"
    assert found.recent.value == pytest.approx(0.12)
    assert found.as_dict()["evidence"]["flips"]["value"] == pytest.approx(0.12)
    assert not canary_monitor(quiet, flips_at_pinning=6, answers_at_pinning=600).alarmed


def test_a_version_that_never_flipped_may_flip_a_little() -> None:
    assert canary_monitor([Block.of("w0", 200, 198)], flips_at_pinning=0, answers_at_pinning=600).e_value < 20
    nothing = canary_monitor([Block.of("w0", 200, 100)], flips_at_pinning=0, answers_at_pinning=0)
    assert nothing.reason == "no_items"


# --- predicted shares ---------------------------------------------------------------------------------------------


def make_days(shares: list[list[float]], *, volume: int = 400, spread: float = 80.0, seed: int = 3) -> list[Day]:
    """Days whose true shares themselves vary around the given ones (Dirichlet)."""
    rng = np.random.default_rng(seed)
    days = []
    for number, share in enumerate(shares):
        drawn = rng.multinomial(volume, rng.dirichlet(np.array(share) * spread))
        days.append(Day(f"d{number:03}", tuple(int(count) for count in drawn)))
    return days


REFERENCE = (0.3, 0.5, 0.2)
CATEGORIES = ("negative", "neutral", "positive")


def test_overdispersed_quiet_days_raise_no_alarm() -> None:
    found = mix_monitor(make_days([list(REFERENCE)] * 365), categories=CATEGORIES, reference=REFERENCE)
    assert (found.alarmed_at, found.since, found.leading) == (None, None, None)
    assert len(found.sides) == 6
    assert {side.alarm_at for side in found.sides} == {20 * 6}
    assert len(found.psi) == 52


def test_a_moved_mix_is_found_on_its_side_and_dated() -> None:
    shares = [list(REFERENCE)] * 60 + [[0.45, 0.4, 0.15]] * 90
    found = mix_monitor(make_days(shares), categories=CATEGORIES, reference=REFERENCE)
    assert found.leading is not None and found.leading.subject == "negative up"
    assert "d060" < (found.alarmed_at or "") <= "d110"
    assert abs(int((found.since or "d0")[1:]) - 60) <= 5
    assert found.leading.recent.value == pytest.approx(0.45, abs=0.03)
    assert found.leading.limit == pytest.approx(0.32)
    assert any(notice.noticed for notice in found.psi[9:])


def test_days_without_predictions_and_categories_at_the_edge() -> None:
    days = [Day("a", (0, 0)), Day("b", (0, 5)), Day("c", (0, 9))]
    found = mix_monitor(days, categories=("x", "y"), reference=(0.0, 1.0))
    assert found.sides[0].keys == ("b", "c")
    assert found.sides[0].recent.high is not None
    one = mix_monitor(days[:2], categories=("x", "y"), reference=(0.5, 0.5))
    assert (one.sides[0].recent.value, one.sides[0].recent.low) == (0.0, None)
    assert mix_monitor([], categories=("x",), reference=(1.0,)).sides[0].recent.reason == "no_items"


@pytest.mark.parametrize(
    ("days", "reference"),
    [
        ([], (0.5, 0.4)),
        ([], (1.0,)),
        ([], (1.5, -0.5)),
        ([Day("a", (1,))], (0.5, 0.5)),
        ([Day("a", (1, -1))], (0.5, 0.5)),
    ],
)
def test_a_mix_that_cannot_be_is_refused(days: list[Day], reference: tuple[float, ...]) -> None:
    with pytest.raises(StatisticsError):
        mix_monitor(days, categories=("x", "y"), reference=reference)


def test_stability_index() -> None:
    assert population_stability([50, 50], [0.5, 0.5]) == 0
    p, q = np.array([60.5, 40.5]) / 101, np.array([0.5, 0.5])
    assert population_stability([60, 40], [0.5, 0.5]) == pytest.approx(float(np.sum((p - q) * np.log(p / q))))
    with pytest.raises(StatisticsError):
        population_stability([0, 0], [0.5, 0.5])


# --- several slices -----------------------------------------------------------------------------------------------


def test_many_slices_need_more_evidence_and_share_it() -> None:
    assert e_bh({"a": 30.0, "b": 1.0}).flagged == ()
    assert e_bh({"a": 40.0, "b": 1.0}).flagged == ("a",)
    together = e_bh({"a": 25.0, "b": 22.0, "c": 21.0})
    assert together.flagged == ("a", "b", "c")
    waiting = e_bh({"a": 50.0, "b": 50.0, "c": 1.0})
    assert (waiting.flagged, waiting.alarm_at) == (("a", "b"), 20.0)
    assert "5 % are unchanged" in waiting.guarantee
    assert (e_bh({}).flagged, e_bh({}).alarm_at) == ((), 20.0)


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.floats(0, 1e4), max_size=12))
def test_joint_flags_are_the_largest_values_and_pass_their_own_bar(e_values: dict[str, float]) -> None:
    found = e_bh(e_values)
    count = len(found.flagged)
    for name in found.flagged:
        assert e_values[name] >= 20 * len(e_values) / count
    assert all(e_values[name] < found.alarm_at for name in set(e_values) - set(found.flagged))


def test_a_result_is_plain_json() -> None:
    found = agreement_monitor(weeks([0.85] * 5 + [0.5] * 5), calibrated=CALIBRATED, subject="voice")
    assert isinstance(found, Drift)
    answer = json.loads(json.dumps(found.as_dict()))
    assert answer["subject"] == "voice"
    assert answer["evidence"]["alarm_at"] == 20
    assert answer["evidence"]["agreement"]["low"] < answer["evidence"]["calibrated"]["low"]
