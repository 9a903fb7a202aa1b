"""Recalibration maps: fitted where there is enough gold, better on what they have not seen, the same after JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.map_fits import LEAST_LABELS, Gold, brier_change, cross_fit, fit, improves
from calibration.stats.maps import (
    Confusion,
    Isotonic,
    Platt,
    Temperature,
    Thresholds,
    from_dict,
    softmax,
    to_dict,
)

KINDS = sorted(LEAST_LABELS)


def make_gold(n: int = 800, *, seed: int = 3, heat: float = 2.5, apart: float = 0.0) -> Gold:
    """Three categories; the classifier is `heat` times too sure, in channel b `apart` for the first."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.2, (n, 3))
    honest = softmax(true)
    gold = (honest.cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
    channels = ["a" if value < 0.5 else "b" for value in rng.random(n)]
    shift = np.array([[apart if channel == "b" else 0.0, 0.0, 0.0] for channel in channels])
    return Gold.of(softmax(heat * true + shift), gold, channels=channels)


def test_temperature_finds_how_much_too_sure_the_classifier_is() -> None:
    found = fit("temperature", make_gold(4000)).calibration
    assert isinstance(found, Temperature)
    assert found.temperature == pytest.approx(2.5, rel=0.1)


def test_platt_by_channel_finds_each_channels_offset() -> None:
    found = fit("platt_by_channel", make_gold(4000, apart=2.0)).calibration
    assert isinstance(found, Platt)
    offsets = {name: own[0] - own[2] for name, _, own in found.channels}
    assert offsets["a"] - offsets["b"] == pytest.approx(2.0 / 2.5, abs=0.2)
    assert found.slope == pytest.approx(1 / 2.5, rel=0.2)


def test_ridge_pulls_thin_channels_to_the_pooled_map() -> None:
    gold = make_gold(200, apart=2.0)
    free, firm = (fit("platt_by_channel", gold, ridge=ridge).calibration for ridge in (0.0, 1e6))
    assert isinstance(free, Platt) and isinstance(firm, Platt)
    assert firm.channels[0][1] == pytest.approx(firm.slope, abs=1e-3)
    assert abs(free.channels[0][2][0] - free.channels[1][2][0]) > 0.3


@pytest.mark.parametrize("kind", ["temperature", "platt", "platt_by_channel", "isotonic"])
def test_maps_of_a_too_sure_classifier_improve_held_out_gold(kind: str) -> None:
    found = cross_fit(kind, make_gold(2000), rng=np.random.default_rng(1))
    assert improves(found.brier_change)
    assert found.probabilities.sum(axis=1) == pytest.approx(1)


def test_a_map_of_an_honest_classifier_is_not_sold_as_progress() -> None:
    found = cross_fit("isotonic", make_gold(900, heat=1.0), rng=np.random.default_rng(1))
    assert not improves(found.brier_change)


def test_cross_fitting_is_reproducible_and_refused_like_the_fit() -> None:
    gold = make_gold(200)
    first, again = (cross_fit("temperature", gold, rng=np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.probabilities, again.probabilities)
    thin = cross_fit("isotonic", gold, rng=np.random.default_rng(7))
    assert (thin.reason, thin.brier_change.reason) == ("too_few_items", "too_few_items")
    with pytest.raises(StatisticsError):
        cross_fit("temperature", gold, rng=np.random.default_rng(7), folds=1)


def test_thresholds_raise_kappa_where_the_rare_category_is_never_said() -> None:
    rng = np.random.default_rng(2)
    rare = rng.random(1000) < 0.15
    p = np.clip(np.where(rare, 0.35, 0.12) + rng.normal(0, 0.06, 1000), 0.01, 0.49)
    gold = Gold.of(np.stack([1 - p, p], axis=1), rare.astype(int))
    found = fit("thresholds", gold).calibration
    assert isinstance(found, Thresholds)
    said = found.apply(gold.probabilities).argmax(axis=1)
    assert found.weights[1] > 1.5
    assert (said == rare).mean() > 0.95


def test_thresholds_of_a_good_decision_change_nothing() -> None:
    gold = Gold.of(np.eye(2)[[0, 1] * 80], [0, 1] * 80)
    assert fit("thresholds", gold).calibration == Thresholds((1.0, 1.0))
    stuck = Gold.of(np.array([[1.0, 0.0]] * 160), [0, 1] * 80)
    assert isinstance(fit("thresholds", stuck).calibration, Thresholds)


def test_confusion_gives_each_answer_its_truth_by_channel() -> None:
    answers = np.eye(2)[[0] * 100 + [1] * 100]
    gold = [0] * 80 + [1] * 20 + [1] * 90 + [0] * 10
    found = fit("confusion", Gold.of(answers, gold)).calibration
    assert isinstance(found, Confusion)
    assert found.channels == ()
    assert found.apply([[0.9, 0.1]])[0] == pytest.approx([81 / 101, 20 / 101])
    channels = ["a", "b"] * 100
    by_channel = fit("confusion", Gold.of(answers, gold, channels=channels)).calibration
    assert isinstance(by_channel, Confusion) and len(by_channel.channels) == 2
    mixed = by_channel.apply([[0.9, 0.1], [0.9, 0.1]], ["a", "elsewhere"])
    assert mixed[1] == pytest.approx(by_channel.columns[0])
    assert mixed[0] != pytest.approx(by_channel.columns[0])


def test_weights_are_used() -> None:
    answers, gold = np.eye(2)[[0] * 100], [0] * 50 + [1] * 50
    weighted = Gold.of(answers, gold, weights=[3.0] * 50 + [1.0] * 50)
    found = fit("confusion", weighted).calibration
    assert isinstance(found, Confusion)
    assert found.columns[0][0] == pytest.approx((75 + 1) / 101)


def test_isotonic_curves_rise_and_repeat_no_step() -> None:
    found = fit("isotonic", make_gold(900)).calibration
    assert isinstance(found, Isotonic)
    for curve in found.knots:
        levels = [y for _, y in curve]
        assert levels == sorted(levels)
        assert max(levels.count(level) for level in levels) <= 2
    assert np.isfinite(found.apply([[1.0, 0.0, 0.0]])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_survives_json(kind: str) -> None:
    gold = make_gold(800, apart=1.0)
    found = fit(kind, gold).calibration
    assert found is not None
    again = from_dict(json.loads(json.dumps(to_dict(found), allow_nan=False)))
    assert again == found
    assert np.array_equal(
        again.apply(gold.probabilities, gold.channels), found.apply(gold.probabilities, gold.channels)
    )


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).filter(lambda row: sum(row) > 0.01), max_size=8
    ),
    kind=st.sampled_from(KINDS),
)
def test_every_map_answers_every_probability_with_probabilities(rows: list[tuple[float, ...]], kind: str) -> None:
    found = fit(kind, FITTED).calibration
    assert found is not None
    p = np.array([[value / sum(row) for value in row] for row in rows]).reshape(len(rows), 3)
    for channels in (None, ["a"] * len(rows), ["new"] * len(rows)):
        q = found.apply(p, channels)
        assert q.shape == p.shape
        assert np.all((q >= 0) & (q <= 1)) and q.sum(axis=1) == pytest.approx(np.ones(len(rows)))


FITTED = make_gold(520)


@pytest.mark.parametrize("kind", KINDS)
def test_too_little_gold_is_refused_with_its_reason(kind: str) -> None:
    gold = make_gold(LEAST_LABELS[kind] - 1)
    found = fit(kind, gold)
    assert (found.calibration, found.reason, found.least_labels) == (None, "too_few_items", LEAST_LABELS[kind])
    assert fit(kind, Gold.of(np.zeros((0, 3)), np.zeros(0, dtype=int))).reason == "no_items"
    one = Gold.of(np.full((600, 2), 0.5), np.zeros(600, dtype=int))
    assert fit(kind, one).reason == "one_category"


def test_brier_change_of_little() -> None:
    none = Gold.of(np.zeros((0, 2)), np.zeros(0, dtype=int))
    assert brier_change(none, np.zeros((0, 2))).reason == "no_items"
    one = Gold.of([[0.5, 0.5]], [1])
    assert brier_change(one, [[0.2, 0.8]]).reason == "too_few_items"
    two = Gold.of([[0.5, 0.5]] * 2, [1, 0], weights=[2.0, 2.0])
    found = brier_change(two, [[0.2, 0.8], [0.8, 0.2]])
    assert found.value == pytest.approx(2 * 0.04 - 0.5)
    assert not improves(found)
    assert not improves(Estimate(-0.1, n=500))
    with pytest.raises(StatisticsError):
        brier_change(two, [[0.2, 0.8]])


@pytest.mark.parametrize(
    "arguments",
    [
        ([[0.5, 0.6]], [0], None, None),
        ([[0.5, 0.5]], [2], None, None),
        ([[0.5, 0.5]], [0.5], None, None),
        ([[0.5, 0.5]], [0, 1], None, None),
        ([[0.5, 0.5]], [0], ["a", "b"], None),
        ([[0.5, 0.5]], [0], None, [0.0]),
        ([[math.nan, 0.5]], [0], None, None),
        ([[-0.5, 1.5]], [0], None, None),
        ([0.5, 0.5], [0], None, None),
    ],
)
def test_gold_that_cannot_be_is_refused(arguments: tuple[object, ...]) -> None:
    probabilities, gold, channels, weights = arguments
    with pytest.raises(StatisticsError):
        Gold.of(probabilities, gold, channels=channels, weights=weights)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"map": "magic", "format": 1, "parameters": {}},
        {"map": "temperature", "format": 2, "parameters": {"temperature": 1.0}},
        {"map": "temperature", "format": 1, "parameters": {}},
        {"map": "temperature", "format": 1, "parameters": {"temperature": 0}},
        {"map": "temperature", "format": 1},
        {"map": "isotonic", "format": 1, "parameters": {"knots": [[[1, 0], [0, 1]]]}},
        {"map": "isotonic", "format": 1, "parameters": {"knots": [[]]}},
        {"map": "thresholds", "format": 1, "parameters": {"weights": []}},
        {"map": "thresholds", "format": 1, "parameters": {"weights": [1.0, math.nan]}},
        {"map": "platt", "format": 1, "parameters": {"slope": "x", "offsets": [], "channels": {}}},
    ],
)
def test_documents_that_are_no_maps_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(StatisticsError):
        from_dict(document)


def test_a_map_refuses_other_categories_and_unlike_channels() -> None:
    with pytest.raises(StatisticsError):
        Thresholds((1.0, 2.0)).apply([[0.2, 0.3, 0.5]])
    with pytest.raises(StatisticsError):
        Platt(1.0, (0.0, 0.0), (("a", 1.0, (0.0, 0.0)),)).apply([[0.5, 0.5]], ["a", "b"])
    with pytest.raises(StatisticsError):
        fit("magic", FITTED)
