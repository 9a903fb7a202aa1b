"""Laws that hold for every table, whatever its labels."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stats import agreement, intervals
from calibration.stats.estimate import Estimate
from calibration.stats.summary import estimate, measure, summarise, summarise_all
from calibration.stats.tables import ConfusionTable, PairedTable
from tests.stats.strategies import SCALES, STATISTICS, tables

SHARES = ("share", "predicted_share", "precision", "recall", "f1")


def _equal(a: object, b: object) -> bool:
    both = isinstance(a, float) and isinstance(b, float)
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12) if both else a == b  # type: ignore[arg-type]


def _same(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=1e-7, abs_tol=1e-7)


@settings(max_examples=150)
@given(st.one_of(tables(), tables(weighted=True)), st.sampled_from(STATISTICS), st.sampled_from(SCALES))
def test_an_estimate_is_a_number_within_its_limits_or_a_reason(table: ConfusionTable, name: str, scale: str) -> None:
    found = estimate(name, table, scale=scale)
    if found.value is None:
        assert found.reason in ("no_items", "one_category")
        return
    assert found.low is not None and found.high is not None and found.standard_error is not None
    assert all(math.isfinite(x) for x in (found.value, found.low, found.high, found.standard_error))
    assert found.low <= found.value <= found.high <= 1
    assert found.low < found.high, "an interval is never a point"
    floor = 0.0 if name in ("accuracy", "macro_f1") else min(-1.0, found.value)
    assert found.low >= floor


@settings(max_examples=100)
@given(tables(weighted=True), st.sampled_from(STATISTICS), st.randoms(use_true_random=False))
def test_names_of_categories_do_not_matter(table: ConfusionTable, name: str, random: object) -> None:
    order = list(range(table.size))
    if name in ("weighted_kappa", "ac2"):
        order.reverse()
    else:
        random.shuffle(order)  # type: ignore[attr-defined]
    grid = np.ix_(order, order)
    moved = ConfusionTable(tuple(table.categories[k] for k in order), table.n[grid], table.s1[grid], table.s2[grid])
    before, after = estimate(name, table), estimate(name, moved)
    assert _same(before.value, after.value) and _same(before.low, after.low) and _same(before.high, after.high)


@settings(max_examples=60)
@given(tables(at_least=1))
def test_an_unused_category_changes_no_agreement_but_the_one_that_counts_categories(table: ConfusionTable) -> None:
    wider = ConfusionTable.from_counts(np.pad(table.n, (0, 1)))
    for name in ("accuracy", "kappa", "scott_pi", "mcc", "macro_f1"):
        assert _same(estimate(name, table).value, estimate(name, wider).value)
    for scale in ("nominal", "ordinal"):
        values = [estimate("alpha", t, scale=scale).value for t in (table, wider)]
        assert _same(*values)


@settings(max_examples=60)
@given(st.data())
def test_tables_of_slices_add_up(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 4))
    codes = st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1), st.floats(0.5, 20)), max_size=40)
    first, second = data.draw(codes), data.draw(codes)

    def table(rows: list[tuple[int, int, float]]) -> ConfusionTable:
        gold, predicted, weights = ([row[k] for row in rows] for k in range(3))
        return ConfusionTable.from_pairs(gold, predicted, size, weights)

    whole, added = table(first + second), table(first) + table(second)
    assert (whole.n == added.n).all()
    np.testing.assert_allclose(whole.s1, added.s1)
    np.testing.assert_allclose(whole.s2, added.s2)


@settings(max_examples=100)
@given(tables(at_least=2))
def test_kappa_is_one_exactly_on_the_diagonal(table: ConfusionTable) -> None:
    value = estimate("kappa", table).value
    diagonal = table.n.sum() == np.diag(table.n).sum()
    assert value is None or (value == 1.0) == diagonal


@settings(max_examples=100)
@given(tables(at_least=2), st.floats(0.01, 1e4), st.sampled_from(STATISTICS))
def test_equal_weights_are_no_weights(table: ConfusionTable, weight: float, name: str) -> None:
    weighted = ConfusionTable(table.categories, table.n, table.n * weight, table.n * weight**2)
    plain, found = estimate(name, table), estimate(name, weighted)
    assert weighted.effective_n == table.total
    assert _same(plain.value, found.value) and _same(plain.low, found.low) and _same(plain.high, found.high)
    assert plain.method == found.method


@settings(max_examples=60)
@given(tables(at_least=2, weighted=True), st.sampled_from(STATISTICS), st.floats(0.5, 0.9))
def test_more_confidence_is_a_wider_interval(table: ConfusionTable, name: str, confidence: float) -> None:
    narrow, wide = estimate(name, table, confidence=confidence), estimate(name, table, confidence=confidence + 0.09)
    if narrow.value is not None:
        assert wide.low <= narrow.low + 1e-12 and wide.high >= narrow.high - 1e-12  # type: ignore[operator]


@settings(max_examples=60)
@given(tables(at_least=1, weighted=True), st.sampled_from(STATISTICS), st.sampled_from(SCALES))
def test_influence_is_the_derivative(table: ConfusionTable, name: str, scale: str) -> None:
    """A little more weight in one cell moves the value by the influence of that cell."""
    chosen = measure(name, table.size, scale=scale)
    shares, n = table.shares, np.asarray(float(table.total))
    parts = chosen(shares, n)
    i, j = np.unravel_index(int(np.argmax(shares)), shares.shape)
    step = 1e-6
    nudged = shares * (1 - step)
    nudged[i, j] += step
    after = chosen(nudged, n)
    if not parts.defined or abs(parts.expected) < 1e-3 or min(shares[shares > 0]) < 1e-3:
        return
    slope = (after.value - parts.value) / step
    assert math.isclose(slope, parts.influence[i, j], rel_tol=1e-2, abs_tol=1e-3)


@settings(max_examples=30)
@given(st.lists(tables(), min_size=2, max_size=4), st.booleans())
def test_many_tables_at_once_are_the_same_as_one_by_one(several: list[ConfusionTable], again: bool) -> None:
    alike = [table for table in several if table.size == several[0].size] + [several[0]] * again
    together = summarise_all(alike, scale="ordinal")
    for table, found in zip(alike, together, strict=True):
        alone = summarise(table, scale="ordinal")
        assert (alone.n, found.n, found.population) == (table.total, table.total, table.population)
        assert found.effective_n == pytest.approx(table.effective_n, rel=1e-12)
        pairs = [(one, found.estimates[name]) for name, one in alone.estimates.items()]
        for one_row, other_row in zip(alone.per_category, found.per_category, strict=True):
            assert (one_row.category, one_row.support) == (other_row.category, other_row.support)
            pairs += [(getattr(one_row, name), getattr(other_row, name)) for name in SHARES]
        for one, other in pairs:
            assert all(map(_equal, astuple(one), astuple(other)))


def test_estimates_of_many_tables_are_as_frozen_as_any() -> None:
    (found,) = summarise_all([ConfusionTable.from_counts([[3, 1], [0, 2]])], scale="nominal")
    with pytest.raises(FrozenInstanceError):
        found.estimates["kappa"].value = 1.0  # type: ignore[misc]
    assert found.estimates["kappa"] == replace(found.estimates["kappa"])
    assert isinstance(found.per_category[0].recall, Estimate)


def _leave_one_out(chosen: agreement.Measure, table: ConfusionTable) -> float:
    """Jackknife variance: each label left out in turn, cell by cell."""
    n, values, times = table.total, [], []
    for cell in zip(*np.nonzero(table.n), strict=True):
        rest = table.n.copy()
        rest[cell] -= 1
        values.append(float(chosen(rest / (n - 1), np.asarray(n - 1.0)).value))
        times.append(int(table.n[cell]))
    mean = np.average(values, weights=times)
    return float((n - 1) / n * (np.array(times) * (np.array(values) - mean) ** 2).sum())


def test_linearised_variance_agrees_with_leaving_labels_out() -> None:
    rng = np.random.default_rng(7)
    pattern = np.eye(4) * 0.5 + 0.05
    for size in (150, 800):
        table = ConfusionTable.from_counts(rng.multinomial(size, (pattern / pattern.sum()).ravel()).reshape(4, 4))
        for name in ("kappa", "alpha", "mcc", "macro_f1", "ac1"):
            chosen = measure(name, 4, scale="ordinal")
            found = intervals.interval(chosen, table).standard_error
            assert found is not None
            assert math.isclose(found**2, _leave_one_out(chosen, table), rel_tol=8 / size + 0.02), name


@settings(max_examples=40)
@given(st.data())
def test_margins_of_a_paired_table_are_the_tables_of_its_versions(data: st.DataObject) -> None:
    triples = data.draw(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40))
    gold, a, b = (np.array(column) for column in zip(*triples, strict=True))
    table = PairedTable.from_triples(gold, a, b, 3)
    assert (table.a.n == ConfusionTable.from_pairs(gold, a, 3).n).all()
    assert (table.b.n == ConfusionTable.from_pairs(gold, b, 3).n).all()
    assert ((table + table).n == 2 * table.n).all()
