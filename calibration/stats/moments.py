"""Agreement on an interval scale from sums of powers: bias, errors, correlation, Lin's coefficient, alpha.

Gold x and answer y enter only through Σw·xᵃ·yᵇ up to the fourth power, and the same with w². Every statistic here is a
smooth function of the means of x, y, x², y² and xy; its influence is a polynomial of second degree, so that its
variance needs no more than the fourth powers. However many labels there are, a slice is some thirty numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from calibration.stats import intervals
from calibration.stats.agreement import Parts
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.scores import fisher_limited
from calibration.stats.tables import Array, kish

MOMENTS = "linearised from moments, t"
FISHER = "fisher z of the linearised error"
# Errors below this share of the scale's range are the rounding of none.
NO_ERROR = 1e-7
TRANSFERRED = "linearised from moments, transferred wilson"
# The functions of one pair whose means everything is made of: x, y, x², y², xy.
BASIS = ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1))


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the pairs of one slice; `s1[a, b]` is Σw·xᵃ·yᵇ, `s2[a, b]` is Σw²·xᵃ·yᵇ, for a + b ≤ 4.

    x and y are counted from `centre`. `absolute` is Σw·|x−y|, `span` the range of the scale where it has one.
    """

    n: int
    s1: Array
    s2: Array
    absolute: float
    centre: float = 0.0
    span: float | None = None

    def __post_init__(self) -> None:
        for array in (self.s1, self.s2):
            if array.shape != (5, 5) or not np.isfinite(array).all():
                raise StatisticsError("moments must be finite, up to the fourth power")

    @classmethod
    def from_sums(cls, n: int, s1: float, s2: float, sums: Mapping[str, float], span: float | None = None) -> Moments:
        """From sums named "ab" and "wab", as the database adds them up."""
        powers, squares = np.zeros((5, 5)), np.zeros((5, 5))
        powers[0, 0], squares[0, 0] = s1, s2
        for a in range(5):
            for b in range(5 - a):
                if a + b:
                    powers[a, b], squares[a, b] = sums[f"{a}{b}"], sums[f"w{a}{b}"]
        return cls(n, powers, squares, sums["abs"], sums["centre"], span)

    @classmethod
    def from_pairs(
        cls, x: Array, y: Array, weights: Array | None = None, centre: float = 0.0, span: float | None = None
    ) -> Moments:
        """From the pairs themselves."""
        w = np.ones(len(x)) if weights is None else weights
        u, v = x - centre, y - centre
        powers, squares = np.zeros((5, 5)), np.zeros((5, 5))
        for a in range(5):
            for b in range(5 - a):
                product = u**a * v**b
                powers[a, b], squares[a, b] = (w * product).sum(), (w * w * product).sum()
        return cls(len(x), powers, squares, float((w * np.abs(x - y)).sum()), centre, span)

    def __add__(self, other: Moments) -> Moments:
        if self.centre != other.centre:
            raise StatisticsError("moments around different centres do not add up")
        sums = (self.s1 + other.s1, self.s2 + other.s2, self.absolute + other.absolute)
        return Moments(self.n + other.n, *sums, self.centre, self.span)

    @property
    def effective_n(self) -> float:
        """Kish's effective number of labels."""
        return kish(self.n, float(self.s1[0, 0]), float(self.s2[0, 0]))

    @property
    def means(self) -> Array:
        """Weighted means of x, y, x², y², xy."""
        return np.array([self.s1[power] for power in BASIS]) / (self.s1[0, 0] or 1.0)


@dataclass(frozen=True, slots=True)
class IntervalSummary:
    """Every statistic of one slice by name, and the constant answer that errs least."""

    estimates: dict[str, Estimate]
    constant: float | None
    constant_rmse: float | None
    n: int
    effective_n: float


def summarise(moments: Moments, confidence: float = 0.95) -> IntervalSummary:
    """Bias and limits of agreement, mean absolute and root mean square error, Pearson, Lin, ICC and Krippendorff's alpha."""
    if moments.n == 0:
        names = ("bias", "limit_low", "limit_high", "mae", "rmse", "pearson", "lin", "icc", "alpha")
        return IntervalSummary({name: Estimate.undefined("no_items") for name in names}, None, None, 0, 0.0)
    x, _, xx, _, _ = moments.means
    estimates = {
        "bias": bias(moments, confidence),
        "limit_low": limit_of_agreement(moments, -1, confidence),
        "limit_high": limit_of_agreement(moments, 1, confidence),
        "mae": mean_absolute_error(moments, confidence),
        "rmse": root_mean_square_error(moments, confidence),
        "pearson": pearson(moments, confidence),
        "lin": lin(moments, confidence),
        "icc": icc(moments, confidence),
        "alpha": alpha(moments, confidence),
    }
    spread = float(np.sqrt(max(xx - x * x, 0.0)))
    return IntervalSummary(estimates, float(x + moments.centre), spread, moments.n, moments.effective_n)


def bias(moments: Moments, confidence: float = 0.95) -> Estimate:
    """Mean of answer minus gold."""
    x, y, *_ = moments.means
    return _estimate(moments, float(y - x), np.array([-1.0, 1, 0, 0, 0]), confidence)


def limit_of_agreement(moments: Moments, side: int, confidence: float = 0.95) -> Estimate:
    """Bias − or + 1.96 standard deviations of answer minus gold: 95 % of differences lie between (Bland and Altman 1986).

    `side` is −1 for the lower limit and 1 for the upper one.
    """
    x, y, *_ = moments.means
    gap, squared = float(y - x), _squared_error(moments)
    spread, reach = max(squared - gap**2, 0.0), side * intervals.normal_quantile(0.95)
    correction = moments.n / max(moments.n - 1, 1)
    gradient = np.array([-1.0, 1, 0, 0, 0])
    if spread > intervals.ROUNDING * max(squared, 1e-300):
        slope = reach * np.sqrt(correction) / (2 * np.sqrt(spread))
        gradient += slope * np.array([2 * gap, -2 * gap, 1, 1, -2])
    return _estimate(moments, gap + reach * float(np.sqrt(correction * spread)), gradient, confidence)


def root_mean_square_error(moments: Moments, confidence: float = 0.95) -> Estimate:
    """Root of the mean squared error."""
    squared = _squared_error(moments)
    if squared <= 0:
        return _estimate(moments, 0.0, np.zeros(5), confidence, floor=0.0)
    root = float(np.sqrt(squared))
    return _estimate(moments, root, np.array([0.0, 0, 1, 1, -2]) / (2 * root), confidence, floor=0.0)


def mean_absolute_error(moments: Moments, confidence: float = 0.95) -> Estimate:
    """Mean absolute error; its variance is that of |x−y|, whose square is (x−y)²."""
    weight = moments.s1[0, 0]
    value = moments.absolute / weight
    squared = _squared_error(moments)
    variance = max(squared - value**2, 0.0) / max(moments.effective_n - 1, 1.0)
    error = float(np.sqrt(variance))
    half = _half_width(moments, error, confidence)
    low, high = max(value - half, 0.0), value + half
    return Estimate(value, low, high, MOMENTS, moments.n, moments.effective_n, confidence, None, error)


def pearson(moments: Moments, confidence: float = 0.95) -> Estimate:
    """Pearson's correlation."""
    x, y, xx, yy, xy = moments.means
    vx, vy, c = xx - x * x, yy - y * y, xy - x * y
    if not _varies(moments, vx) or not _varies(moments, vy):
        return Estimate.undefined("one_category", n=moments.n)
    root = float(np.sqrt(vx * vy))
    r = float(c / root)
    by_vx, by_vy, by_c = -r / (2 * vx), -r / (2 * vy), 1 / root
    gradient = np.array([-2 * x * by_vx - y * by_c, -2 * y * by_vy - x * by_c, by_vx, by_vy, by_c])
    return _correlation(moments, r, gradient, confidence)


def lin(moments: Moments, confidence: float = 0.95) -> Estimate:
    """Lin's concordance coefficient (1989): 1 only where every answer equals its gold."""
    x, y, xx, yy, xy = moments.means
    covariance, total = xy - x * y, xx - x * x + yy - y * y + (x - y) ** 2
    if not _varies(moments, total):
        return Estimate.undefined("one_category", n=moments.n)
    value = float(2 * covariance / total)
    d_covariance = np.array([-y, -x, 0.0, 0.0, 1.0])
    d_total = np.array([-2 * y, -2 * x, 1.0, 1.0, 0.0])
    gradient = 2 * d_covariance / total - value * d_total / total
    return _correlation(moments, value, gradient, confidence)


def icc(moments: Moments, confidence: float = 0.95) -> Estimate:
    """Intraclass correlation ICC(A,1): two-way, absolute agreement, one rating each (McGraw and Wong 1996).

    Of two raters it is Lin's coefficient but for terms of 1/n: 2·s_xy / (s_xx + s_yy + gap² − s_dd/n) with s the moments of
    divisor n − 1, whose limits are therefore Lin's, moved by as much.
    """
    found = lin(moments, confidence)
    if found.value is None or moments.n < 2:
        return found if found.value is None else Estimate.undefined("too_few_items", n=moments.n)
    x, y, xx, yy, xy = moments.means
    covariance, gap = float(xy - x * y), float(y - x)
    unbiased = moments.n / (moments.n - 1)
    spread = max(_squared_error(moments) - gap**2, 0.0)
    total = unbiased * float(xx - x * x + yy - y * y) + gap**2 - unbiased * spread / moments.n
    if total <= 0:
        return Estimate.undefined("one_category", n=moments.n)
    value = min(2 * unbiased * covariance / total, 1.0)
    low, high = ((limit or 0.0) + value - found.value for limit in (found.low, found.high))
    return replace(found, value=value, low=min(max(low, -1.0), value), high=max(min(high, 1.0), value))


def alpha(moments: Moments, confidence: float = 0.95) -> Estimate:
    """Krippendorff's alpha at the interval level, gold and classifier as the two raters.

    Observed disagreement is E(x−y)², expected that of any two of the 2n ratings; the factor (2n−1)/(2n) makes the
    second free of pairing a rating with itself. The interval is Wilson's on the observed disagreement as a share of the
    greatest one possible, at the size that the linearised variance stands for.
    """
    frame = _frame(moments)
    if frame is None:
        return Estimate.undefined("one_category", n=moments.n)
    critical = intervals.t_quantile(confidence, np.asarray(moments.n - 1.0))
    shares = intervals.wilson_limits(np.asarray(frame.observed), np.asarray(frame.size), critical)
    least, most = (1 - frame.factor * float(share) / frame.expected for share in shares)
    low, high = max(most, -1.0), min(least, 1.0)
    if moments.n < 2:
        low, high = -1.0, 1.0
    bounds = min(low, frame.value), max(high, frame.value)
    return Estimate(frame.value, *bounds, TRANSFERRED, moments.n, moments.effective_n, confidence, None, frame.error)


def trust_p(moments: Moments, bar: float) -> float:
    """One-sided p of "alpha is at most the bar", matching alpha's lower limit at any confidence."""
    frame = _frame(moments)
    if frame is None or moments.n < 2:
        return 1.0
    terms = (np.asarray(t) for t in (frame.value, frame.observed, frame.expected, frame.factor, 0.0, True))
    size, freedom = np.asarray(frame.size), np.asarray(moments.n - 1.0)
    return float(intervals.clearing_p(Parts(*terms), size, freedom, bar))


class _Frame(NamedTuple):
    """Alpha taken apart: both disagreements as shares of the greatest possible, and the size behind the observed."""

    value: float
    observed: float
    expected: float
    factor: float
    error: float
    size: float


def _frame(moments: Moments) -> _Frame | None:
    """Alpha's frame; None where nothing varies."""
    x, y, xx, yy, _ = moments.means
    mean = (x + y) / 2
    expected = float(xx + yy - 2 * mean**2)
    if moments.n == 0 or not _varies(moments, expected):
        return None
    observed, factor = _squared_error(moments), 1 - 1 / (2 * moments.n)
    d_observed = np.array([0.0, 0, 1, 1, -2])
    d_expected = np.array([-2 * mean, -2 * mean, 1, 1, 0])
    variance = _variance(moments, -factor * (d_observed / expected - observed * d_expected / expected**2))
    scale = max(_span(moments) ** 2, observed)
    share, chance, effective = observed / scale, expected / scale, moments.effective_n
    usable = share * (1 - share) > intervals.ROUNDING and variance * effective > intervals.ROUNDING
    size = share * (1 - share) / (variance * chance**2) if usable else effective
    return _Frame(1 - factor * observed / expected, share, chance, factor, float(np.sqrt(variance)), size)


def _squared_error(moments: Moments) -> float:
    _, _, xx, yy, xy = moments.means
    return float(max(xx + yy - 2 * xy, 0.0))


def _span(moments: Moments) -> float:
    """The range of the scale; where it has none, six standard deviations of all ratings, or what the errors need."""
    if moments.span:
        return moments.span
    x, y, xx, yy, _ = moments.means
    pooled = (xx + yy) / 2 - ((x + y) / 2) ** 2
    return float(max(6 * np.sqrt(max(pooled, 0.0)), np.sqrt(_squared_error(moments)))) or 1.0


def _varies(moments: Moments, spread: float) -> bool:
    """Whether a variance is more than the rounding of its terms."""
    _, _, xx, yy, _ = moments.means
    return bool(spread > 1e-12 * max(xx + yy, 1e-300))


def _variance(moments: Moments, gradient: Array) -> float:
    """Linearised variance n/(n−1)·Σw²·IF²/(Σw)², with IF the gradient times (the basis minus its means)."""
    constant = -float(gradient @ moments.means)
    powers, factors = [(0, 0), *BASIS], [constant, *gradient.tolist()]
    squares = sum(
        f * g * moments.s2[p[0] + q[0], p[1] + q[1]]
        for p, f in zip(powers, factors, strict=True)
        for q, g in zip(powers, factors, strict=True)
    )
    correction = moments.n / max(moments.n - 1, 1)
    return max(float(correction * squares / moments.s1[0, 0] ** 2), 0.0)


def _critical(moments: Moments, confidence: float) -> float:
    return float(intervals.t_quantile(confidence, np.asarray(moments.n - 1.0)))


def _half_width(moments: Moments, error: float, confidence: float) -> float:
    """Student's limit; where no label errs at all, 3 / n of them may, by as much as the scale allows."""
    if error <= NO_ERROR * _span(moments):
        return 3.0 / moments.n * _span(moments)
    return _critical(moments, confidence) * error


def _estimate(
    moments: Moments, value: float, gradient: Array, confidence: float, floor: float | None = None
) -> Estimate:
    error = float(np.sqrt(_variance(moments, gradient)))
    half = _half_width(moments, error, confidence)
    low = value - half if floor is None else max(value - half, floor)
    return Estimate(value, low, value + half, MOMENTS, moments.n, moments.effective_n, confidence, None, error)


def _correlation(moments: Moments, value: float, gradient: Array, confidence: float) -> Estimate:
    """A coefficient within -1..1, its limits by Fisher's z; a perfect one has no width to transform."""
    error = float(np.sqrt(_variance(moments, gradient)))
    value = float(np.clip(value, -1.0, 1.0))
    slope = 1 - value**2
    if moments.n < 4:
        return Estimate(value, -1.0, 1.0, FISHER, moments.n, moments.effective_n, confidence, None, error)
    if slope < NO_ERROR or error < NO_ERROR:
        return fisher_limited(value, float(1 / np.sqrt(moments.n - 3)), moments.n, confidence)
    half = _critical(moments, confidence) * error / slope
    low, high = (float(np.tanh(np.arctanh(value) + side * half)) for side in (-1, 1))
    return Estimate(value, low, high, FISHER, moments.n, moments.effective_n, confidence, None, error)
