"""Agreement statistics of gold against a classifier, as functions of the table of shares.

Every chance-corrected statistic is 1 - factor * Do / De: the observed disagreement over the disagreement expected by
chance. `Parts` holds these terms with the influence function, from which every standard error follows. All functions
work on one table [K, K] or on a stack of tables [..., K, K].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from calibration.stats.estimate import StatisticsError
from calibration.stats.tables import Array, Flags

Measure = Callable[[Array, Array], "Parts"]
CELLS = (-2, -1)


class Parts(NamedTuple):
    """A statistic taken apart: value = 1 - factor * observed / expected wherever `defined`."""

    value: Array
    observed: Array
    expected: Array
    factor: Array
    influence: Array
    defined: Flags


def disagreement(kind: str, size: int, scores: Sequence[float] | None = None) -> Array:
    """Disagreement weights 0..1 of every pair of categories: `identity`, `linear` or `quadratic`.

    Linear and quadratic distances are taken over the categories' scores, or over their positions without scores.
    """
    if kind == "identity":
        return 1.0 - np.eye(size)
    positions = np.arange(size, dtype=np.float64) if scores is None else np.array(scores, dtype=np.float64)
    if positions.shape != (size,) or not np.isfinite(positions).all():
        raise StatisticsError(f"{size} categories need {size} finite scores")
    distance = np.abs(positions[:, None] - positions[None, :])
    scaled = distance / (distance.max() or 1.0)
    if kind == "linear":
        return scaled
    if kind == "quadratic":
        return scaled**2
    raise StatisticsError(f"unknown agreement weights {kind!r}")


def custom_disagreement(agreement: ArrayLike) -> Array:
    """Disagreement weights from a matrix of agreement weights 0..1 with 1 on its diagonal."""
    weights = np.array(agreement, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise StatisticsError("agreement weights must be a square matrix")
    if not ((weights >= 0) & (weights <= 1)).all() or (np.diag(weights) != 1).any():
        raise StatisticsError("agreement weights must lie within 0..1, with 1 on the diagonal")
    return np.asarray(1.0 - weights)


def _divide(numerator: Array, denominator: Array) -> Array:
    """Quotient, 0 where the denominator is 0."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.zeros(shape), where=np.asarray(denominator) > 0)


def cell_sum(values: Array) -> Array:
    """The sum over the cells of each table. For many small tables einsum is several times as fast as `sum`."""
    return np.asarray(np.einsum("...ij->...", values))


def margins(values: Array) -> tuple[Array, Array]:
    """The sums of each row and of each column."""
    return np.einsum("...ij->...i", values), np.einsum("...ij->...j", values)


def _wide(values: Array) -> Array:
    """A statistic per table, ready to be combined with its cells."""
    return np.asarray(values)[..., None, None]


def _centred(gradient: Array, shares: Array) -> Array:
    """Influence of one label: the gradient in its cell minus the mean gradient."""
    return gradient - _wide(cell_sum(shares * gradient))


def _pairwise(rows: Array, columns: Array) -> Array:
    """x_i + y_j in every cell (i, j)."""
    return rows[..., :, None] + columns[..., None, :]


def _ratio(
    observed: Array, expected: Array, d_observed: Array, d_expected: Array, shares: Array, factor: Array
) -> Parts:
    """Parts of 1 - factor * Do / De from both terms and their gradients."""
    defined = expected > 0
    value = np.where(defined, 1 - factor * _divide(observed, expected), 0.0)
    slope = _divide(d_observed, _wide(expected)) - _divide(_wide(observed) * d_expected, _wide(expected) ** 2)
    return Parts(value, observed, expected, factor, -_wide(factor) * _centred(slope, shares), defined)


def _ones(shares: Array) -> Array:
    return np.ones(shares.shape[:-2])


def accuracy() -> Measure:
    """Share of labels on the diagonal."""

    def parts(shares: Array, n: Array) -> Parts:
        return mean_similarity(1.0 - np.eye(shares.shape[-1]))(shares, n)

    return parts


def mean_similarity(weights: Array) -> Measure:
    """Observed agreement without correction for chance: 1 minus the mean disagreement."""

    def parts(shares: Array, n: Array) -> Parts:
        apart = np.broadcast_to(weights, shares.shape)
        observed = cell_sum(apart * shares)
        return Parts(1 - observed, observed, _ones(shares), _ones(shares), -_centred(apart, shares), n > 0)

    return parts


def kappa(weights: Array) -> Measure:
    """Cohen's kappa (1960) and, with other than identity weights, weighted kappa (1968)."""

    def parts(shares: Array, n: Array) -> Parts:
        rows, columns = margins(shares)
        weighted = columns @ weights.T
        expected = (rows * weighted).sum(-1)
        gradient = _pairwise(weighted, rows @ weights)
        return _ratio(cell_sum(weights * shares), expected, weights, gradient, shares, _ones(shares))

    return parts


def gwet(weights: Array) -> Measure:
    """Gwet's AC1 (2008) and, with other than identity weights, AC2 (2014); defined wherever K > 1."""
    size = len(weights)
    spread = (1.0 - weights).sum() / (size * (size - 1)) if size > 1 else 0.0

    def parts(shares: Array, n: Array) -> Parts:
        rows, columns = margins(shares)
        q = (rows + columns) / 2
        expected = 1 - spread * (q * (1 - q)).sum(-1)
        expected = np.where((n > 0) & (size > 1), expected, 0.0)
        gradient = -spread * (1 - _pairwise(q, q))
        return _ratio(cell_sum(weights * shares), expected, weights, gradient, shares, _ones(shares))

    return parts


def _pooled(weights: Array, shares: Array, factor: Array) -> Parts:
    """Parts of alpha and of Scott's pi, which take chance from the pooled margins."""
    rows, columns = margins(shares)
    q = (rows + columns) / 2
    weighted = q @ weights
    gradient = _pairwise(weighted, weighted)
    return _ratio(cell_sum(weights * shares), (q * weighted).sum(-1), weights, gradient, shares, factor)


def small_sample_factor(n: Array) -> Array:
    """(2n - 1) / (2n), by which alpha differs from Scott's pi."""
    return np.asarray(1 - _divide(np.ones(np.shape(n)), 2.0 * n))


def alpha(weights: Array) -> Measure:
    """Krippendorff's alpha (2011) of gold and classifier as two raters, for a metric that is fixed beforehand."""
    return lambda shares, n: _pooled(weights, shares, small_sample_factor(n))


def scott(weights: Array) -> Measure:
    """Scott's pi (1955), weighted where the weights are."""
    return lambda shares, n: _pooled(weights, shares, _ones(shares))


def alpha_ordinal() -> Measure:
    """Krippendorff's alpha at the ordinal level: its metric is the squared difference of the categories' mean ranks.

    The ranks depend on the margins, so their gradient enters the influence function.
    """

    def parts(shares: Array, n: Array) -> Parts:
        size = shares.shape[-1]
        rows, columns = margins(shares)
        q = (rows + columns) / 2
        below = np.tril(np.ones((size, size)), -1) + np.eye(size) / 2
        ranks = q @ below.T
        metric = (ranks[..., :, None] - ranks[..., None, :]) ** 2
        used = (q[..., :, None] > 0) & (q[..., None, :] > 0)
        scale = np.where(used, metric, 0.0).max(CELLS)
        both = shares + np.swapaxes(shares, -1, -2)
        d_observed_rank = 2 * (2 * q * ranks - (both @ ranks[..., None])[..., 0])
        d_expected_rank = 4 * q * (ranks - (q * ranks).sum(-1)[..., None])
        half_observed = d_observed_rank @ below / 2
        half_expected = (2 * (metric @ q[..., None])[..., 0] + d_expected_rank @ below) / 2
        observed, expected = cell_sum(metric * shares), cell_sum(metric * q[..., :, None] * q[..., None, :])
        d_observed = metric + _pairwise(half_observed, half_observed)
        d_expected = _pairwise(half_expected, half_expected)
        raw = _ratio(observed, expected, d_observed, d_expected, shares, small_sample_factor(n))
        return raw._replace(observed=_divide(observed, scale), expected=_divide(expected, scale))

    return parts


def mcc() -> Measure:
    """Matthews correlation for K categories (Gorodkin 2004), placed on kappa's chance agreement for its interval."""

    def parts(shares: Array, n: Array) -> Parts:
        rows, columns = margins(shares)
        vary_rows, vary_columns = ((m * (1 - m)).sum(-1) for m in (rows, columns))
        many = ((rows > 0).sum(-1) > 1) & ((columns > 0).sum(-1) > 1)
        spread = np.where(many, vary_rows * vary_columns, 0.0)
        same = np.eye(shares.shape[-1])
        covariance = cell_sum(same * shares) - (rows * columns).sum(-1)
        value = np.clip(_divide(covariance, np.sqrt(spread)), -1.0, 1.0)  # rounding can leave the range
        d_covariance = same - _pairwise(columns, rows)
        d_spread = _pairwise(_divide(rows, vary_rows[..., None]), _divide(columns, vary_columns[..., None]))
        gradient = _divide(d_covariance, _wide(np.sqrt(spread))) + _wide(value) * d_spread
        expected = 1 - (rows * columns).sum(-1)
        observed = np.clip((1 - value) * expected, 0.0, 1.0)
        return Parts(value, observed, expected, _ones(shares), _centred(gradient, shares), spread > 0)

    return parts


def macro_f1() -> Measure:
    """Mean F1 over the categories that occur in gold or predictions."""

    def parts(shares: Array, n: Array) -> Parts:
        rows, columns = margins(shares)
        sums = rows + columns
        wrong = shares * (1.0 - np.eye(shares.shape[-1]))
        lost = _divide(wrong.sum(-1) + wrong.sum(-2), sums)
        scores = np.where(sums > 0, 1 - lost, 0.0)
        present = np.maximum((sums > 0).sum(-1), 1)
        observed = lost.sum(-1) / present
        loss = _divide(scores, sums)
        gradient = 2 * np.eye(shares.shape[-1]) * _divide(np.ones(sums.shape), sums)[..., None, :] - _pairwise(
            loss, loss
        )
        influence = _centred(gradient / _wide(present), shares)
        return Parts(1 - observed, observed, _ones(shares), _ones(shares), influence, n > 0)

    return parts


def standard_error(parts: Parts, shares: Array, n: float) -> float:
    """Large-sample standard error of one table (multinomial delta method, divisor n)."""
    return float(np.sqrt((shares * parts.influence**2).sum() / n))
