"""Verified outcomes: surveys, whom they leave out, and what transcription errors cost.

A survey speaks for those who answered. Everything here says how many that were, and how far the rest could move it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import normal_quantile, wilson
from calibration.stats.scores import mean_estimate, spearman

Floats = NDArray[np.float64]

NPS_PSEUDO = 0.75
"""Pseudo-answers given to promoters and to detractors for the interval, twice as many to the others (adjusted Wald)."""
LEAST_ITEMS = 30
RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Survey:
    """A survey's score, and of whom it speaks: `asked` and `answered`."""

    score: Estimate
    answered: int
    asked: int | None

    @property
    def response_rate(self) -> float | None:
        """The share of those asked who answered; None where nobody knows how many were asked."""
        return self.answered / self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class ResponseBias:
    """A share among responders, the limits that silence leaves open, and the same reweighted by the proxy."""

    among_responders: Estimate
    low: float
    high: float
    reweighted: Estimate


@dataclass(frozen=True, slots=True)
class Transcription:
    """Agreement as a function of word error rate. `z` > 0 would mean that agreement rises with it.

    `falls_below_at` is the word error rate at which the fitted curve passes the bar; None where it never does between
    0 and the worst one seen. `curve` are the intercept and slope of the logistic fit.
    """

    agreement: Estimate
    z: float | None
    p_value: float | None
    curve: tuple[float, float] | None
    falls_below_at: float | None
    reason: str | None = None


def nps(answers: ArrayLike, *, asked: int | None = None, confidence: float = 0.95) -> Survey:
    """Net promoter score in points: 100·(share of 9 and 10 − share of 0 to 6).

    The standard error is 100·√(Σ(s − s̄)²)/n with s = 1, 0, −1. The interval is an adjusted Wald one with three
    pseudo-answers: unlike the plain one it is no point where all answers agree.
    """
    values = _answers(answers, 0, 10)
    n = len(values)
    if not n:
        return Survey(Estimate.undefined("no_items"), 0, _asked(asked, 0))
    signs = np.where(values >= 9, 1.0, np.where(values <= 6, -1.0, 0.0))
    mean, error = float(signs.mean()), float(np.sqrt(signs.var() / n))
    total = n + 4 * NPS_PSEUDO
    promoters, detractors = float((signs > 0).sum()) + NPS_PSEUDO, float((signs < 0).sum()) + NPS_PSEUDO
    centre = (promoters - detractors) / total
    reach = normal_quantile(confidence) * math.sqrt(((promoters + detractors) / total - centre**2) / total)
    low, high = max(min(centre - reach, mean), -1.0), min(max(centre + reach, mean), 1.0)
    score = Estimate(100 * mean, 100 * low, 100 * high, "adjusted wald", n, float(n), confidence, None, 100 * error)
    return Survey(score, n, _asked(asked, n))


def csat(answers: ArrayLike, *, asked: int | None = None, confidence: float = 0.95) -> Survey:
    """The share of answers 4 and 5 on a scale of 1 to 5."""
    values = _answers(answers, 1, 5)
    return Survey(wilson(int((values >= 4).sum()), len(values), confidence), len(values), _asked(asked, len(values)))


def ces(answers: ArrayLike, *, scale: int = 7, asked: int | None = None, confidence: float = 0.95) -> Survey:
    """The mean effort on a scale of 1 to `scale`."""
    values = _answers(answers, 1, scale)
    return Survey(mean_estimate(values, confidence, 1.0, float(scale)), len(values), _asked(asked, len(values)))


def proxy_correlation(proxy: ArrayLike, outcome: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """How well a proxy ranks customers as their own answers do: Spearman, limits of Bonett and Wright (2000)."""
    return spearman(proxy, outcome, confidence)


def response_bias(
    outcome: ArrayLike, proxy: ArrayLike, proxy_of_all: ArrayLike, *, confidence: float = 0.95, groups: int = 5
) -> ResponseBias:
    """What the silent could change. `outcome` (0/1) and `proxy` are of responders, `proxy_of_all` of everyone asked.

    `low` and `high` let the silent all answer one way (Manski bounds). `reweighted` gives each quintile of the proxy
    its share of everyone: it repairs only as much as the proxy knows. A quintile without responders is left to the
    others.
    """
    y, x, everyone = (np.asarray(values, dtype=float) for values in (outcome, proxy, proxy_of_all))
    if len(y) != len(x) or len(everyone) < len(y) or not np.isin(y, (0, 1)).all():
        raise StatisticsError("outcomes are 0 or 1, each with its proxy, and responders are among all")
    if not (np.isfinite(x).all() and np.isfinite(everyone).all()):
        raise StatisticsError("proxies are finite numbers")
    among = wilson(int(y.sum()), len(y), confidence)
    if not len(y):
        return ResponseBias(among, 0.0, 1.0, among)
    silent = (len(everyone) - len(y)) / len(everyone)
    low = (1 - silent) * float(y.mean())
    edges = np.unique(np.quantile(everyone, np.linspace(0, 1, groups + 1)[1:-1]))
    responders = np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1)
    positive = np.bincount(np.searchsorted(edges, x, side="right"), weights=y, minlength=len(edges) + 1)
    population = np.bincount(np.searchsorted(edges, everyone, side="right"), minlength=len(edges) + 1)
    share = np.where(responders > 0, population, 0) / population[responders > 0].sum()
    rate = positive / np.maximum(responders, 1)
    value = float(share @ rate)
    smoothed = (positive + 2 * value) / (responders + 2)
    variance = float((share**2 * smoothed * (1 - smoothed) / np.maximum(responders, 1)).sum())
    size = value * (1 - value) / variance if 0 < value < 1 else float(len(y))
    limits = wilson(value * size, size, confidence)
    method = f"reweighted by {len(edges) + 1} groups of the proxy"
    reweighted = Estimate(value, limits.low, limits.high, method, len(y), size, confidence, None, math.sqrt(variance))
    return ResponseBias(among, low, low + silent, reweighted)


def word_error_rate(
    errors: ArrayLike,
    words: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    draws: int = 1000,
) -> Estimate:
    """Errors per reference word over conversations; the interval redraws conversations, in which errors cluster."""
    wrong, said = np.asarray(errors, dtype=float), np.asarray(words, dtype=float)
    if wrong.shape != said.shape or wrong.ndim != 1 or not (np.isfinite(wrong).all() and np.isfinite(said).all()):
        raise StatisticsError("errors and reference words are counted for each conversation")
    if np.any(wrong < 0) or np.any(said < 0):
        raise StatisticsError("counts are not negative")
    n, total = len(said), float(said.sum())
    if not total:
        return Estimate.undefined("no_items", n=n)
    value = float(wrong.sum()) / total
    if n < 2:
        return Estimate(value, method="errors per reference word", n=n, confidence=confidence)
    chosen = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    top, bottom = chosen @ wrong, chosen @ said
    rates = (top[bottom > 0] / bottom[bottom > 0]) if (bottom > 0).any() else np.array([value])
    tail = (1 - confidence) / 2
    low, high = (float(limit) for limit in np.quantile(rates, (tail, 1 - tail)))
    return Estimate(
        value,
        min(low, value),
        max(high, value),
        "bootstrap of conversations",
        n,
        None,
        confidence,
        None,
        float(rates.std()),
    )


def transcription_trend(wer: ArrayLike, agrees: ArrayLike, *, bar: float | None = None) -> Transcription:
    """Does agreement fall with the word error rate, and where does it pass the bar?

    z = Σ(u − ū)x / √(x̄(1 − x̄)Σ(u − ū)²) with u the rate and x = 1 for agreement (Cochran-Armitage over single items);
    the curve is a logistic regression.
    """
    u, x = np.asarray(wer, dtype=float), np.asarray(agrees, dtype=float)
    if u.shape != x.shape or u.ndim != 1 or not np.isfinite(u).all() or np.any(u < 0) or not np.isin(x, (0, 1)).all():
        raise StatisticsError("a word error rate and 0 or 1 are needed for each item")
    agreement = wilson(int(x.sum()), len(x))
    if len(x) < LEAST_ITEMS:
        return Transcription(agreement, None, None, None, None, "too_few_items" if len(x) else "no_items")
    spread, share = u - u.mean(), float(x.mean())
    scale = share * (1 - share) * float(spread @ spread)
    if u.min() == u.max() or scale <= 0:
        return Transcription(agreement, None, None, None, None, "zero_variance")
    z = float(spread @ x) / math.sqrt(scale)
    p_value = float(2 * special.ndtr(-abs(z)))
    curve = _logistic(u, x)
    return Transcription(agreement, z, p_value, curve, _crossing(curve, bar, float(u.max())))


def _logistic(u: Floats, x: Floats) -> tuple[float, float]:
    """Intercept and slope of a logistic curve; a trace of ridge keeps it finite where agreement separates perfectly."""
    centre, width = float(u.mean()), float(u.std())
    v = (u - centre) / width

    def loss(b: Floats) -> tuple[float, Floats]:
        eta = b[0] + b[1] * v
        residual = special.expit(eta) - x
        value = float(np.logaddexp(0, eta).sum() - x @ eta) + RIDGE * len(v) * float(b @ b)
        return value, np.array([residual.sum(), residual @ v]) + 2 * RIDGE * len(v) * b

    found = optimize.minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    slope = float(found[1]) / width
    return float(found[0]) - slope * centre, slope


def _crossing(curve: tuple[float, float], bar: float | None, worst: float) -> float | None:
    """The rate at which a falling curve passes the bar, within what was seen."""
    if bar is None or not 0 < bar < 1 or curve[1] >= 0:
        return None
    at = (float(special.logit(bar)) - curve[0]) / curve[1]
    return at if 0 <= at <= worst else None


def _answers(answers: ArrayLike, lowest: int, highest: int) -> Floats:
    values = np.asarray(answers, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all() or np.any((values < lowest) | (values > highest)):
        raise StatisticsError(f"answers lie within {lowest}..{highest}")
    return values


def _asked(asked: int | None, answered: int) -> int | None:
    if asked is not None and asked < answered:
        raise StatisticsError("more answers than people asked")
    return asked
