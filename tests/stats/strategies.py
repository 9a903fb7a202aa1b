"""Random tables for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from calibration.stats.tables import ConfusionTable

STATISTICS = ("accuracy", "kappa", "weighted_kappa", "alpha", "ac1", "ac2", "scott_pi", "mcc", "macro_f1")
SCALES = ("nominal", "ordinal", "interval")


@st.composite
def tables(draw: st.DrawFn, *, weighted: bool = False, at_least: int = 0) -> ConfusionTable:
    """A table of 1 to 5 categories with small, large and empty cells."""
    size = draw(st.integers(1, 5))
    cell = st.one_of(st.just(0), st.integers(0, 12), st.integers(0, 10**6))
    counts = np.array(draw(st.lists(cell, min_size=size * size, max_size=size * size))).reshape(size, size)
    if counts.sum() < at_least:
        counts[0, 0] += at_least
    if not weighted:
        return ConfusionTable.from_counts(counts)
    means = st.floats(1.0, 50.0)
    mean = np.array(draw(st.lists(means, min_size=size * size, max_size=size * size))).reshape(size, size)
    spread = np.array(draw(st.lists(st.floats(1.0, 3.0), min_size=size * size, max_size=size * size)))
    s1 = counts * mean
    return ConfusionTable(
        tuple("abcde"[:size]), counts, s1, counts * mean**2 * np.where(counts > 1, spread.reshape(size, size), 1.0)
    )
