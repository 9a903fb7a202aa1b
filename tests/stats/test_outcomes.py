"""Surveys, whom they leave out, and what transcription errors cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from calibration.stats.estimate import StatisticsError
from calibration.stats.outcomes import (
    ces,
    csat,
    nps,
    proxy_correlation,
    response_bias,
    transcription_trend,
    word_error_rate,
)


def test_net_promoter_score_and_its_interval() -> None:
    found = nps([10] * 50 + [8] * 30 + [3] * 20, asked=400)
    assert found.score.value == pytest.approx(30)
    assert found.score.low < 30 < found.score.high
    assert found.score.high - found.score.low == pytest.approx(2 * 1.96 * 7.8, rel=0.06)
    assert found.response_rate == 0.25
    assert nps([9]).response_rate is None


def test_net_promoter_interval_covers() -> None:
    rng = np.random.default_rng(2)
    scale = np.arange(11)
    for shares, size in (((0.6, 0.25, 0.15), 50), ((0.85, 0.1, 0.05), 30), ((0.1, 0.2, 0.7), 200)):
        chances = np.r_[np.full(7, shares[2] / 7), np.full(2, shares[1] / 2), np.full(2, shares[0] / 2)]
        truth = 100 * (shares[0] - shares[2])
        hits = [
            found.low <= truth <= found.high
            for found in (nps(rng.choice(scale, size=size, p=chances)).score for _ in range(800))
        ]
        assert 0.925 < np.mean(hits) < 0.985


def test_unanimous_promoters_still_leave_doubt() -> None:
    found = nps([10] * 20).score
    assert (found.value, found.high) == (100, 100)
    assert 60 < found.low < 100


def test_satisfaction_and_effort() -> None:
    assert csat([5, 4, 3, 1]).score.value == 0.5
    assert csat([]).score.reason == "no_items"
    assert ces([1, 2, 3, 2], asked=8).score.value == 2
    assert ces([1, 1, 1]).score.low == 1.0
    assert nps([]).score.reason == "no_items"
    for call in (
        lambda: nps([11]),
        lambda: csat([0]),
        lambda: ces([8]),
        lambda: csat([math.nan]),
        lambda: nps([9], asked=0),
    ):
        with pytest.raises(StatisticsError):
            call()


def test_a_proxy_is_judged_by_rank() -> None:
    found = proxy_correlation([0.1, 0.2, 0.3, 0.9, 0.5, 0.6], [1, 2, 2, 5, 4, 5])
    assert found.value is not None and found.value > 0.9
    assert -1 <= found.low < found.value < found.high <= 1


def test_angry_responders_bias_the_score_and_the_proxy_repairs_a_part() -> None:
    rng = np.random.default_rng(5)
    happy = rng.random(20_000) < 0.65
    proxy = happy + rng.normal(0, 1.0, len(happy))
    answers = rng.random(len(happy)) < np.where(happy, 0.08, 0.2)
    found = response_bias(happy[answers], proxy[answers], proxy)
    naive = found.among_responders.value or 0
    assert naive < 0.46
    assert naive + 0.02 < (found.reweighted.value or 0) < 0.65
    assert found.low <= 0.65 <= found.high
    reach = 1.96 * (found.reweighted.standard_error or 0)
    assert found.reweighted.half_width == pytest.approx(reach, rel=0.02)
    assert found.high - found.low == pytest.approx(1 - answers.mean())


def test_nobody_or_everybody_answered() -> None:
    nobody = response_bias([], [], [0.1, 0.2])
    assert (nobody.among_responders.reason, nobody.low, nobody.high) == ("no_items", 0.0, 1.0)
    everybody = response_bias([1, 1, 1], [0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (everybody.low, everybody.high, everybody.reweighted.value) == (1.0, 1.0, 1.0)
    assert everybody.reweighted.low is not None and everybody.reweighted.low < 1
    blind = response_bias([1, 0], [5.0, 5.0], [5.0, 5.0, 1.0, 1.0, 1.0])
    assert blind.reweighted.value == 0.5
    assert blind.reweighted.standard_error == pytest.approx(math.sqrt(0.25 / 2))


@pytest.mark.parametrize(
    ("outcome", "proxy", "everyone"),
    [([2], [1], [1]), ([1], [], [1]), ([1], [1], []), ([1], [math.nan], [1]), ([1], [1], [math.inf])],
)
def test_a_survey_that_cannot_be_is_refused(outcome: list[float], proxy: list[float], everyone: list[float]) -> None:
    with pytest.raises(StatisticsError):
        response_bias(outcome, proxy, everyone)


def test_word_errors_cluster_in_conversations() -> None:
    errors, words = [2, 0, 1, 0, 30, 1], [100, 80, 120, 90, 110, 100]
    found = word_error_rate(errors, words, rng=np.random.default_rng(1))
    assert found.value == pytest.approx(34 / 600)
    assert found.low < 0.02 and found.high > 0.1
    again = word_error_rate(errors, words, rng=np.random.default_rng(1))
    assert again == found


def test_word_errors_of_little() -> None:
    rng = np.random.default_rng(1)
    assert word_error_rate([], [], rng=rng).reason == "no_items"
    assert word_error_rate([0, 1], [0, 0], rng=rng).reason == "no_items"
    assert word_error_rate([1], [10], rng=rng).low is None
    assert word_error_rate([1, 0], [10, 0], rng=rng, draws=2).value == pytest.approx(0.1)
    for errors, words in (([1], [1, 2]), ([-1], [3]), ([math.nan], [3])):
        with pytest.raises(StatisticsError):
            word_error_rate(errors, words, rng=rng)


def make_calls(slope: float, *, items: int = 400, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    wer = rng.uniform(0, 0.4, items)
    return wer, (rng.random(items) < special.expit(2.0 + slope * wer)).astype(int)


def test_agreement_falls_with_word_errors_and_passes_the_bar() -> None:
    found = transcription_trend(*make_calls(-8.0, items=4000), bar=0.7)
    assert found.z is not None and found.z < -5 and (found.p_value or 1) < 1e-6
    assert found.curve == pytest.approx((2.0, -8.0), rel=0.15)
    assert found.falls_below_at == pytest.approx((2.0 - special.logit(0.7)) / 8, abs=0.02)


def test_no_trend_no_crossing() -> None:
    flat = transcription_trend(*make_calls(0.0), bar=0.7)
    assert flat.p_value is not None and flat.p_value > 0.01
    rising = transcription_trend(*make_calls(8.0), bar=0.7)
    assert (rising.z or 0) > 0 and rising.falls_below_at is None
    assert transcription_trend(*make_calls(-8.0)).falls_below_at is None
    assert transcription_trend(*make_calls(-8.0), bar=0.001).falls_below_at is None


def test_the_trend_test_holds_its_size() -> None:
    rng = np.random.default_rng(9)
    rejected = []
    for _ in range(600):
        wer = rng.beta(1, 8, 100)
        rejected.append((transcription_trend(wer, rng.random(100) < 0.8).p_value or 1) < 0.05)
    assert np.mean(rejected) < 0.075


def test_perfect_separation_stays_finite() -> None:
    wer = np.linspace(0, 1, 60)
    found = transcription_trend(wer, (wer < 0.5).astype(int), bar=0.5)
    assert found.falls_below_at == pytest.approx(0.5, abs=0.02)


def test_trends_of_little() -> None:
    assert transcription_trend([], []).reason == "no_items"
    assert transcription_trend([0.1] * 9, [1] * 9).reason == "too_few_items"
    assert transcription_trend([0.1] * 40, [1, 0] * 20).reason == "zero_variance"
    assert transcription_trend(np.linspace(0, 1, 40), [1] * 40).reason == "zero_variance"
    for wer, agrees in (([0.1], [2]), ([-0.1], [1]), ([0.1], [1, 0]), ([math.nan], [1])):
        with pytest.raises(StatisticsError):
            transcription_trend(wer, agrees)
