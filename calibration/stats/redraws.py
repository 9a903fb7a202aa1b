"""Columns of tables, shrunk where labels are few, and the same tables drawn anew to see how far the answer moves.

Shapes: slices S, rows (gold, or the old version's answers), columns (predictions, or the new version's), bands B; axes
in front of them are redraws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PSEUDO_LABELS = 2.0


def columns(labels: Floats, *, fallback: Floats | None = None) -> Floats:
    """P(row | column) of each slice and band, with two pseudo-labels of the column of all slices together.

    A column that no slice knows in this band is taken from all bands, then from the other period, and at last at its
    word. Rows are axis -3, columns -2, slices -4.
    """
    own = labels.sum(axis=-4, keepdims=True)
    known = _shared(own, _shared(own.sum(axis=-1, keepdims=True), _word(labels, fallback)))
    size = labels.sum(axis=-3, keepdims=True)
    shares: Floats = (labels + PSEUDO_LABELS * known) / (size + PSEUDO_LABELS)
    return shares


def generating(labels: Floats, other: Floats) -> Floats:
    """The columns that labels are redrawn from: one more pseudo-label of the gold shares, so that none is certain."""
    gold = labels.sum(axis=(-4, -2, -1))
    margin = (gold / gold.sum())[:, None, None]
    size = labels.sum(axis=-3, keepdims=True)
    softened: Floats = (size * columns(labels, fallback=other) + margin) / (size + 1)
    return softened


def drawn_columns(labels: Floats, known: Floats, many: int, rng: np.random.Generator) -> Floats:
    """Label tables of the same column sizes, drawn anew: [redraw, S, rows, columns, B]."""
    size = labels.sum(axis=-3)
    whole = np.maximum(np.rint(size), size > 0).astype(np.int64)
    chances = np.moveaxis(known, -3, -1)
    chances = chances / chances.sum(axis=-1, keepdims=True)
    drawn = rng.multinomial(whole, chances, size=(many, *whole.shape)).astype(np.float64)
    scale: Floats = np.where(whole > 0, size / np.maximum(whole, 1), 0.0)
    return np.moveaxis(drawn * scale[..., None], -1, -3)


def drawn_counts(counts: Floats, many: int, rng: np.random.Generator) -> Floats:
    """All counts of a period drawn anew, as if the same customers had called on other days."""
    total = counts.sum()
    return rng.multinomial(int(total), (counts / total).ravel(), size=many).reshape(many, *counts.shape).astype(float)


def drawn_bridge(bridge: Floats, volume: Floats, many: int, rng: np.random.Generator) -> Floats:
    """Bridge columns drawn anew; a bridge over all conversations of the period has no error."""
    known = columns(bridge)
    drawn = columns(drawn_columns(bridge, known, many, rng))
    size = bridge.sum(axis=-3)
    part = np.minimum(np.where(volume > 0, size / np.maximum(volume, 1), 0.0), 1.0)
    moved: Floats = known + np.sqrt(1 - part)[:, None] * (drawn - known)
    return moved


def _word(labels: Floats, fallback: Floats | None) -> Floats:
    """The column of the other period, where it has one; else the prediction itself."""
    word = np.eye(labels.shape[-2])[:, :, None]
    return word if fallback is None else _shared(fallback.sum(axis=(-4, -1), keepdims=True), word)


def _shared(counts: Floats, otherwise: Floats) -> Floats:
    """Column shares, and `otherwise` where a column is empty."""
    size = counts.sum(axis=-3, keepdims=True)
    shares: Floats = np.where(size > 0, counts / np.where(size > 0, size, 1.0), otherwise)
    return shares
