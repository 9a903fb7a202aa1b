"""Attribution: the laws (parts add up, an unchanged classifier gets no blame), known worlds, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stats.attribution import (
    PARTS,
    Attribution,
    Comparison,
    Period,
    PeriodSlice,
    SliceMovement,
    attribute,
)
from calibration.stats.blame import Group, labels_needed, leading, sentence, verdict
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.movement import confusion_split, kitagawa, split
from calibration.stats.redraws import columns, drawn_bridge
from calibration.stats.tables import ConfusionTable

CATEGORIES = ("bad", "good")
V1 = np.array([[0.8, 0.2], [0.1, 0.9]])
WORSE = np.array([[0.9, 0.1], [0.3, 0.7]])
EXACT = 1e-9


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def make_table(joint: np.ndarray, categories: tuple[str, ...] = CATEGORIES) -> ConfusionTable:
    return ConfusionTable.from_counts(np.rint(joint).astype(int), categories)


def make_period(share: float, confusion: np.ndarray, *, volume: int = 4000, labels: int = 400) -> PeriodSlice:
    """A period exactly as its parameters say, without noise."""
    joint = np.array([share, 1 - share])[:, None] * confusion
    predicted = np.rint(volume * joint.sum(axis=0)).astype(int)
    return PeriodSlice((tuple(predicted.tolist()),), (make_table(labels * joint),))


def make_comparison(slices: list[SliceMovement], *, upgraded: bool = False, **more: object) -> Comparison:
    given = {
        "signal": "resolution",
        "classifier": "judge",
        "measure": "share of bad",
        "categories": CATEGORIES,
        "scores": (1.0, 0.0),
        "before": Period("2026-01", ("v1",)),
        "after": Period("2026-02", ("v2",) if upgraded else ("v1",)),
        "slices": tuple(slices),
    }
    return Comparison(**(given | more))


def make_upgrade(
    share: float = 0.3, *, new: np.ndarray = WORSE, bridged: int = 4000, old_labels: int = 400
) -> SliceMovement:
    """Nothing but an upgrade: the same truth, other answers; the two versions err independently of each other."""
    joint = share * np.outer(V1[0], new[0]) + (1 - share) * np.outer(V1[1], new[1])
    bridge = tuple(tuple(int(n) for n in row) for row in np.rint(bridged * joint))
    old = make_period(share, V1, labels=old_labels).labels
    return SliceMovement({}, make_period(share, V1), make_period(share, new), (bridge,), old)


def summed(found: Attribution) -> float:
    return sum(part.value for part in found.parts.values() if part.value is not None)


# --- the laws -----------------------------------------------------------------------------------------------------

COUNTS = st.lists(st.integers(0, 300), min_size=3, max_size=3)
TABLES = st.lists(st.integers(0, 40), min_size=9, max_size=9)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    names, bands = ("a", "b", "c"), draw(st.integers(1, 2))
    upgraded = draw(st.booleans())
    slices = []
    for number in range(draw(st.integers(1, 3))):

        def tables() -> tuple[ConfusionTable, ...]:
            return tuple(make_table(np.array(draw(TABLES)).reshape(3, 3), names) for _ in range(bands))

        def period() -> PeriodSlice:
            return PeriodSlice(tuple(tuple(draw(COUNTS)) for _ in range(bands)), tables())

        bridge = old = None
        if upgraded and draw(st.booleans()):
            bridge = tuple(tuple(tuple(draw(COUNTS)) for _ in range(3)) for _ in range(bands))
            old = tables() if draw(st.booleans()) else None
        slices.append(SliceMovement({"channel": str(number)}, period(), period(), bridge, old))
    return make_comparison(
        slices, upgraded=upgraded, categories=names, scores=draw(st.sampled_from([(1.0, 0, 0), (-1.0, 0, 1)]))
    )


@settings(max_examples=120)
@given(comparison=comparisons(), seed=st.integers(0, 99))
def test_parts_add_up_exactly_whatever_the_data(comparison: Comparison, seed: int) -> None:
    found = attribute(comparison, rng=rng(seed), redraws=8)
    if found.parts["customers"].value is None:
        assert found.verdict == "not enough evidence" and found.labels_needed
        return
    assert summed(found) == pytest.approx(found.observed.value, abs=EXACT)
    for name in PARTS:
        slices = [part.parts[name].value for part in found.slices]
        assert (found.parts[name].value is None) == (slices[0] is None)
        if slices[0] is not None:
            assert sum(slices) == pytest.approx(found.parts[name].value, abs=EXACT)
    json.dumps(found.as_dict(), allow_nan=False)


@settings(max_examples=80)
@given(
    first=st.lists(st.floats(0, 1), min_size=12, max_size=12),
    second=st.lists(st.floats(0, 1), min_size=12, max_size=12),
)
def test_the_split_of_two_joints_is_exact(first: list[float], second: list[float]) -> None:
    a = np.array([1.0, -2.0])
    joints = [np.array(values).reshape(3, 2, 2) / (sum(values) or 1.0) for values in (first, second)]
    whole = sum(float(part) for part in split(*joints, a))
    levels = [float(np.einsum("gkb,k->", joint, a)) for joint in joints]
    assert whole == pytest.approx(levels[1] - levels[0], abs=1e-12)


@settings(max_examples=60)
@given(share_1=st.floats(0.05, 0.95), share_2=st.floats(0.05, 0.95))
def test_errors_that_stay_as_they_were_get_none_of_the_blame(share_1: float, share_2: float) -> None:
    joints = [np.array([share, 1 - share])[:, None] * V1 for share in (share_1, share_2)]
    found = confusion_split(*joints, [1, 0])
    assert found.classifier == pytest.approx(0, abs=1e-12)
    assert found.customers == pytest.approx((share_2 - share_1) * 0.7)


def test_a_shift_of_slices_alone_is_mix_and_a_new_slice_too() -> None:
    assert kitagawa([1, 1], [0.2, 0.4], [1, 3], [0.2, 0.4]).mix == pytest.approx(0.05)
    high, low = make_period(0.6, V1), make_period(0.1, V1)
    nothing = PeriodSlice(((0, 0),), ())
    came = make_comparison([SliceMovement({"c": "a"}, low, low), SliceMovement({"c": "b"}, nothing, high)])
    went = make_comparison([SliceMovement({"c": "a"}, low, low), SliceMovement({"c": "b"}, high, nothing)])
    for comparison, sign in ((came, 1), (went, -1)):
        found = attribute(comparison, rng=rng())
        assert found.parts["mix"].value == pytest.approx(found.observed.value, abs=3e-3)
        assert (found.observed.value or 0) * sign > 0.1
        assert found.parts["customers"].value == pytest.approx(0, abs=3e-3)
        assert (found.verdict, found.leading) == ("customers", ("mix",))


# --- known worlds -------------------------------------------------------------------------------------------------


def test_customers_moved() -> None:
    slices = [SliceMovement({}, make_period(0.3, V1), make_period(0.45, V1))]
    found = attribute(make_comparison(slices), rng=rng())
    assert (found.verdict, found.leading) == ("customers", ("customers",))
    assert found.parts["customers"].value == pytest.approx(0.15 * 0.7, abs=2e-3)
    assert found.parts["silent_drift"].value == pytest.approx(0, abs=2e-3)
    assert found.true_change.value == pytest.approx(0.15, abs=3e-3)
    assert found.parts["upgrade"].value == 0
    assert found.labels_needed == 0
    assert "rose by 10.5 points; this is the customers, not the classifier" in found.sentence


def test_silent_drift() -> None:
    slices = [SliceMovement({}, make_period(0.3, V1), make_period(0.3, WORSE))]
    found = attribute(make_comparison(slices), rng=rng())
    assert (found.verdict, found.leading) == ("classifier", ("silent_drift",))
    assert found.parts["customers"].value == pytest.approx(0, abs=2e-3)
    assert found.true_change.low < 0 < found.true_change.high
    assert "silent drift of the classifier" in found.sentence


def test_an_upgrade_is_told_from_drift_by_its_bridge() -> None:
    found = attribute(make_comparison([make_upgrade()], upgraded=True), rng=rng())
    assert (found.verdict, found.leading, found.bridge) == ("classifier", ("upgrade",), 4000)
    assert found.parts["upgrade"].value == pytest.approx(found.observed.value, abs=2e-3)
    assert found.parts["silent_drift"].value == pytest.approx(0, abs=3e-3)
    assert found.parts["upgrade"].half_width < 0.03
    assert "the upgrade from v1 to v2 (+" in found.sentence
    small = attribute(make_comparison([make_upgrade(bridged=400)], upgraded=True), rng=rng())
    assert small.parts["upgrade"].half_width > found.parts["upgrade"].half_width


def test_without_labels_of_the_old_version_drift_is_what_remains() -> None:
    found = attribute(make_comparison([make_upgrade(old_labels=0)], upgraded=True), rng=rng())
    assert found.parts["upgrade"].value == pytest.approx(found.observed.value, abs=2e-3)
    assert found.parts["customers"].value == pytest.approx(0, abs=3e-3)
    assert found.notes == ("labels of the later period are matched with the new version only",)
    assert summed(found) == pytest.approx(found.observed.value)


def test_without_a_bridge_the_upgrade_carries_drift() -> None:
    part = make_upgrade()
    alone = SliceMovement({}, part.before, part.after)
    found = attribute(make_comparison([alone], upgraded=True), rng=rng())
    assert found.parts["silent_drift"].reason == "no_bridge"
    assert found.slices[0].parts["silent_drift"].reason == "no_bridge"
    assert (found.verdict, found.leading) == ("classifier", ("upgrade",))
    assert summed(found) == pytest.approx(found.observed.value)


def test_worse_transcripts_are_neither_drift_nor_customers() -> None:
    """The classifier reads clean and noisy transcripts as it always did; there are more noisy ones."""

    def period(noisy: float) -> PeriodSlice:
        clean_part, noisy_part = make_period(0.3, V1), make_period(0.3, WORSE)
        weights = (1 - noisy, noisy)
        predicted = tuple(
            tuple(round(weight * n) for n in part.predicted[0])
            for weight, part in zip(weights, (clean_part, noisy_part), strict=True)
        )
        tables = tuple(
            make_table(weight * 500 * np.array([0.3, 0.7])[:, None] * c)
            for weight, c in zip(weights, (V1, WORSE), strict=True)
        )
        return PeriodSlice(predicted, tables)

    found = attribute(make_comparison([SliceMovement({}, period(0.2), period(0.8))]), rng=rng())
    assert (found.verdict, found.leading) == ("classifier", ("transcription",))
    assert found.parts["transcription"].value == pytest.approx(found.observed.value, abs=0.01)
    assert summed(found) == pytest.approx(found.observed.value)


def test_transcription_is_withheld_where_it_cannot_be_told() -> None:
    part = make_upgrade(old_labels=0)
    twice = SliceMovement(
        {}, PeriodSlice(part.before.predicted * 2, part.before.labels * 2),
        PeriodSlice(part.after.predicted * 2, part.after.labels * 2), (part.bridge or ()) * 2,
    )  # fmt: skip
    found = attribute(make_comparison([twice], upgraded=True), rng=rng())
    assert found.parts["transcription"].reason == "no_labels_of_the_old_version"
    one = attribute(make_comparison([part], upgraded=True), rng=rng())
    assert one.parts["transcription"].reason == "no_transcript_quality"


def test_both_moved_and_nothing_moved() -> None:
    both = [SliceMovement({}, make_period(0.3, V1), make_period(0.45, WORSE))]
    found = attribute(make_comparison(both), rng=rng())
    assert (found.verdict, set(found.leading)) == ("both", {"customers", "silent_drift"})
    assert " and " in found.sentence
    calm = make_period(0.3, V1, volume=40_000, labels=4000)
    still = attribute(make_comparison([SliceMovement({}, calm, calm)]), rng=rng())
    assert (still.verdict, still.leading) == ("nothing moved", ())
    assert "hardly moved" in still.sentence


def test_few_labels_do_not_decide_and_say_how_many_would() -> None:
    thin = [SliceMovement({}, make_period(0.3, V1, labels=30), make_period(0.42, V1, labels=30))]
    found = attribute(make_comparison(thin), rng=rng())
    assert (found.verdict, found.leading) == ("not enough evidence", ())
    assert found.labels_needed is not None and 0 < found.labels_needed < 5000
    assert f"about {found.labels_needed} more labels" in found.sentence
    again = [
        SliceMovement(
            {}, make_period(0.3, V1, labels=found.labels_needed), make_period(0.42, V1, labels=found.labels_needed)
        )
    ]
    assert attribute(make_comparison(again), rng=rng()).verdict == "customers"


def test_a_mean_score_is_told_in_its_own_unit() -> None:
    slices = [SliceMovement({}, make_period(0.3, V1), make_period(0.5, V1))]
    found = attribute(make_comparison(slices, scores=(-1.0, 1.0), measure="mean score"), rng=rng())
    assert found.comparison.unit == 2
    assert "mean score fell by 0.28" in found.sentence
    assert found.true_change.value == pytest.approx(-0.4, abs=0.01)


def test_same_generator_same_answer_and_values_do_not_depend_on_it() -> None:
    comparison = make_comparison([make_upgrade(bridged=400)], upgraded=True)
    first, again, other = (attribute(comparison, rng=rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert {n: p.value for n, p in first.parts.items()} == {n: p.value for n, p in other.parts.items()}
    assert first.parts != other.parts


def test_intervals_cover_the_truth() -> None:
    generator, inside = rng(3), []
    for _ in range(120):
        slices = []
        for share_1, share_2 in ((0.3, 0.4), (0.5, 0.55)):
            ends = []
            for share, confusion in ((share_1, V1), (share_2, V1)):
                cells = generator.multinomial(3000, (np.array([share, 1 - share])[:, None] * confusion).ravel())
                table = generator.multivariate_hypergeometric(cells, 100).reshape(2, 2)
                ends.append(PeriodSlice((tuple(cells.reshape(2, 2).sum(axis=0).tolist()),), (make_table(table),)))
            slices.append(SliceMovement({}, *ends))
        found = attribute(make_comparison(slices), rng=generator, redraws=100)
        for name, truth in (("customers", 0.075 * 0.7), ("silent_drift", 0.0)):
            inside.append(found.parts[name].low <= truth <= found.parts[name].high)
    assert np.mean(inside) > 0.9


# --- too little, and nonsense -------------------------------------------------------------------------------------


def test_nothing_to_tell_apart() -> None:
    nothing = PeriodSlice(((0, 0),), ())
    found = attribute(make_comparison([SliceMovement({}, nothing, nothing)]), rng=rng())
    assert (found.observed.reason, found.parts["mix"].reason) == ("no_items", "no_items")
    assert "no predictions" in found.sentence
    unlabelled = PeriodSlice(((100, 300),), ())
    told = attribute(make_comparison([SliceMovement({}, make_period(0.3, V1), unlabelled)]), rng=rng())
    assert {part.reason for part in told.parts.values()} == {"too_few_items"}
    assert told.observed.value is not None
    assert told.as_dict()["to"] == {"period": "2026-02", "versions": ["v1"], "n": 400, "labels": 0}


def test_a_predicted_category_that_nobody_labelled_is_told_unless_it_is_tiny() -> None:
    blind = PeriodSlice(((1000, 1000),), (make_table(np.array([[50, 0], [20, 0]])),))
    found = attribute(make_comparison([SliceMovement({}, blind, blind)]), rng=rng())
    assert found.parts["customers"].reason == "predicted_category_without_labels"
    tiny = PeriodSlice(((1995, 5),), blind.labels)
    assert attribute(make_comparison([SliceMovement({}, tiny, tiny)]), rng=rng()).parts["customers"].value == 0


@pytest.mark.parametrize(
    "change",
    [
        {"slices": ()},
        {"scores": (1.0,)},
        {"scores": (1.0, float("nan"))},
        {"slices": (SliceMovement({}, PeriodSlice(((1,),), ()), PeriodSlice(((1, 2),), ())),)},
        {"slices": (SliceMovement({}, PeriodSlice(((1, -2),), ()), PeriodSlice(((1, 2),), ())),)},
        {"slices": (SliceMovement({}, PeriodSlice(((1, 2),), ()), PeriodSlice(((1, 2),), ()), (((1, 2),),)),)},
        {
            "slices": (
                SliceMovement(
                    {}, PeriodSlice(((1, 2),), (make_table(np.eye(3), ("a", "b", "c")),)), PeriodSlice(((1, 2),), ())
                ),
            )
        },
    ],
)
def test_a_comparison_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(StatisticsError):
        attribute(make_comparison(**({"slices": [make_upgrade()]} | change)), rng=rng())


@pytest.mark.parametrize(
    "arguments", [([0], [1], [1], [1]), ([1], [1, 2], [1], [1]), ([-1], [1], [1], [1]), ([1], [float("inf")], [1], [1])]
)
def test_kitagawa_refuses_nonsense(arguments: tuple[list[float], ...]) -> None:
    with pytest.raises(StatisticsError):
        kitagawa(*arguments)


@pytest.mark.parametrize(("first", "scores"), [([[1, 2]], [1, 0]), ([[1, 2], [3, 4]], [1]), ([1, 2], [1, 0])])
def test_confusion_split_refuses_nonsense(first: list[object], scores: list[float]) -> None:
    with pytest.raises(StatisticsError):
        confusion_split(first, [[1, 2], [3, 4]], scores)


# --- the rules ----------------------------------------------------------------------------------------------------


def test_a_bridge_errs_as_its_sample_does_and_a_whole_one_not_at_all() -> None:
    bridge = np.array([[[[60.0], [10.0]], [[20.0], [110.0]]]])
    volume = bridge.sum(axis=1)
    whole = drawn_bridge(bridge, volume, 50, rng())
    assert np.allclose(whole, columns(bridge)[None])
    part = drawn_bridge(bridge, volume * 1000, 4000, rng())
    assert part.sum(axis=2) == pytest.approx(np.ones((4000, 1, 2, 1)))
    known = columns(bridge)[0, 0, 0, 0]
    assert part[:, 0, 0, 0, 0].mean() == pytest.approx(known, abs=0.01)
    assert part[:, 0, 0, 0, 0].std() == pytest.approx(np.sqrt(known * (1 - known) / 80), rel=0.1)
    half = drawn_bridge(bridge, volume * 2, 4000, rng())
    assert half[:, 0, 0, 0, 0].std() == pytest.approx(part[:, 0, 0, 0, 0].std() * np.sqrt(0.5), rel=0.05)


def test_the_sentence_gives_each_part_with_its_interval() -> None:
    parts = {"upgrade": Estimate(0.051, 0.03, 0.072), "mix": Estimate(-0.01, -0.02, -0.001)}
    told = sentence(
        "share of bad",
        Estimate(0.041),
        parts,
        "both",
        ("upgrade", "mix"),
        more_labels=0,
        versions=("a", "b"),
        points=True,
    )
    assert told == (
        "The share of bad rose by 4.1 points; customers and classifier both moved: the upgrade from a to b (+5.1 points, "
        "+3.0 to +7.2) and the mix of slices (−1.0 points, −2.0 to −0.1)."
    )


def test_the_decision_rule() -> None:
    sharp, calm, blurred = Group(0.1, 1e-4, 0.0), Group(0.005, 1e-5, 0.0), Group(0.03, 1e-3, 0.0)
    assert verdict(0.1, sharp, calm) == "customers"
    assert verdict(0.1, calm, sharp) == "classifier"
    assert verdict(0.2, sharp, sharp) == "both"
    assert verdict(0.01, calm, calm) == "nothing moved"
    assert verdict(0.13, sharp, blurred) == "not enough evidence"
    assert verdict(0.13, blurred, sharp) == "not enough evidence"


def test_labels_needed_knows_when_labels_do_not_help() -> None:
    by_counts = Group(0.03, 0.0, 1e-3)
    assert labels_needed(0.13, Group(0.1, 1e-4, 0.0), by_counts, labels=100, unit=1.0) is None
    assert labels_needed(0.2, Group(0.1, 1e-4, 0.0), Group(0.1, 1e-4, 0.0), labels=100, unit=1.0) == 0


def test_leading_names_what_moved_and_at_least_one_of_each_side() -> None:
    def part(value: float, reach: float) -> Estimate:
        return Estimate(value, value - reach, value + reach)

    parts = {
        "customers": part(0.01, 0.02), "mix": part(-0.05, 0.01), "upgrade": part(0.02, 0.03),
        "silent_drift": Estimate.undefined("no_bridge"), "transcription": Estimate.undefined("x"),
    }  # fmt: skip
    assert leading("customers", parts) == ("mix",)
    assert leading("both", parts) == ("mix", "upgrade")
    assert leading("nothing moved", parts) == ()


def test_the_sentence_of_more_conversations() -> None:
    thin = [SliceMovement({}, make_period(0.3, V1, volume=60, labels=60), make_period(0.33, V1, volume=60, labels=60))]
    found = attribute(make_comparison(thin), rng=rng())
    assert found.labels_needed is None
    assert found.sentence.endswith("no labels of these periods would decide it, longer periods may.")


def test_no_more_labels_are_asked_for_than_the_periods_hold() -> None:
    thin = {volume: make_period(0.3, V1, volume=volume, labels=30) for volume in (100, 2000)}
    later = {volume: make_period(0.42, V1, volume=volume, labels=30) for volume in thin}
    few, many = (
        attribute(make_comparison([SliceMovement({}, thin[volume], later[volume])]), rng=rng()) for volume in thin
    )
    assert few.labels_needed is None and "longer periods may." in few.sentence
    assert many.labels_needed is not None and 140 < many.labels_needed < 3940


def test_a_bridge_is_a_way_out_only_between_versions() -> None:
    told = sentence(
        "share of bad",
        Estimate(0.1),
        {},
        "not enough evidence",
        (),
        more_labels=None,
        versions=("v1", "v2"),
        points=True,
    )
    assert told.endswith("longer periods may, or with more conversations that both versions scored.")
