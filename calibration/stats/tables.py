"""Tables of gold against classifier: all that the statistics ever see, whatever the number of labels behind them.

Rows are gold, columns the classifier. Each cell has the count `n` and, for labels drawn with unequal probability, the
sum `s1` and the sum of squares `s2` of their weights (1 / inclusion probability). Tables of disjoint slices add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.stats.estimate import StatisticsError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Codes = NDArray[np.integer[Any]]

# Labels counted at a time (their cell numbers, as bytes, fill an eighth of a usual second-level cache, and the bins to add up
# after each block are few beside them), and the numbers a byte holds.
BLOCK, BYTE = 1 << 17, 256
# Counts beyond this could not be added up without losing units in double precision.
LARGEST_COUNT = 2**52


def _finite(values: ArrayLike, what: str) -> Array:
    """The values as float64; refused when not numbers, not finite or negative."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"{what} must be a rectangular array of numbers") from error
    if not np.isfinite(array).all():
        raise StatisticsError(f"{what} must be finite")
    if (array < 0).any():
        raise StatisticsError(f"{what} must not be negative")
    return array


def _whole(values: ArrayLike, what: str) -> Counts:
    array = _finite(values, what)
    if (array > LARGEST_COUNT).any():
        raise StatisticsError(f"{what} must be below 2**52")
    counts = array.astype(np.int64)
    if (counts != array).any():
        raise StatisticsError(f"{what} must be whole numbers")
    return counts


def _check_weights(n: Counts, s1: Array, s2: Array) -> None:
    """Weights are positive, so a cell has weight exactly where it has labels, and s1**2 <= n * s2 (Cauchy, Schwarz)."""
    occupied = n > 0
    if (occupied != (s1 > 0)).any() or (occupied != (s2 > 0)).any():
        raise StatisticsError("a cell must have weight exactly where it has labels")
    if (s1 * s1 > n * s2 * (1 + 1e-6)).any():
        raise StatisticsError("sums of weights and of their squares contradict each other")


def _check_categories(categories: Sequence[str], shape: tuple[int, ...], dimensions: int) -> tuple[str, ...]:
    names = tuple(categories)
    if len(set(names)) != len(names):
        raise StatisticsError("categories must differ from each other")
    if shape != (len(names),) * dimensions or not names:
        raise StatisticsError(f"a table of {len(names)} categories cannot have the shape {shape}")
    return names


def _names(categories: Sequence[str] | None, size: int) -> tuple[str, ...]:
    """The given categories, or the codes as text."""
    return tuple(categories) if categories is not None else tuple(str(code) for code in range(size))


def _codes(values: ArrayLike, what: str) -> Codes:
    """Codes as an integer array; anything else is refused."""
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise StatisticsError(f"{what} must be a list of whole-number codes")
    return np.ascontiguousarray(array)


def _checked(codes: Codes, size: int, what: str) -> Codes:
    # Seen as unsigned, a negative code is a very large one: one pass finds both kinds.
    if codes.view(f"u{codes.dtype.itemsize}").max() >= size:
        raise StatisticsError(f"{what} must lie within 0..{size - 1}")
    return codes


def _flat(axes: Sequence[Codes], size: int) -> NDArray[Any]:
    """The cell number of each label, in the smallest integers that hold it: bytes are read eight times as fast as words."""
    kind: type[np.integer[Any]] = np.uint8 if size ** len(axes) <= BYTE else np.int64
    flat: NDArray[Any] = axes[0].astype(kind)
    for codes in axes[1:]:
        np.multiply(flat, kind(size), out=flat)
        np.add(flat, codes.astype(kind, copy=False), out=flat)
    return flat


def _pairs_of_bytes(flat: NDArray[Any], size: int) -> Counts:
    """How often each two cells follow each other, [size, 256]: two bytes are counted at once, as one number of 16 bits."""
    return np.bincount(flat.view(np.uint16), minlength=size * BYTE).reshape(size, BYTE)


def _tally(named: Mapping[str, Codes], size: int, weights: ArrayLike | None) -> tuple[Counts, Array, Array]:
    """Counts, weights and squared weights of each cell, in blocks that stay in the processor's cache while worked on."""
    axes, shape = list(named.values()), (size,) * len(named)
    length, cells = len(axes[0]), size ** len(named)
    w = None if weights is None else _finite(weights, "weights")
    if w is not None and (w.shape != (length,) or (w <= 0).any()):
        raise StatisticsError("weights must be positive, one for each pair")
    bytewise = cells <= BYTE
    n, s1, s2 = np.zeros(cells, np.int64), np.zeros(cells), np.zeros(cells)
    pairs = np.zeros((cells, BYTE) if bytewise else 0, np.int64)
    # A block has more labels than there are bins to add up after it.
    block = max(BLOCK, 4 * pairs.size, 4 * cells)
    for start in range(0, length, block):
        part = slice(start, start + block)
        flat = _flat([_checked(codes[part], size, what) for what, codes in named.items()], size)
        if bytewise:
            even = len(flat) - len(flat) % 2
            pairs += _pairs_of_bytes(flat[:even], cells)
            n[flat[even:]] += 1
        else:
            n += np.bincount(flat, minlength=cells)
        if w is not None:
            s1 += np.bincount(flat, weights=w[part], minlength=cells)
            s2 += np.bincount(flat, weights=w[part] ** 2, minlength=cells)
    if bytewise:
        n += pairs.sum(1) + pairs.sum(0)[:cells]
    n = n.reshape(shape)
    return (n, n.astype(np.float64), n.astype(np.float64)) if w is None else (n, s1.reshape(shape), s2.reshape(shape))


def kish(n: int, s1: float, s2: float) -> float:
    """The number of equally weighted labels that would be worth as much (Kish 1965); exactly n for equal weights."""
    if n == 0:
        return 0.0
    effective = s1 * s1 / s2
    return float(n) if abs(effective - n) <= 1e-9 * n else effective


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Counts and sums of weights over gold and one or more predictions, validated once; the arrays are read-only."""

    categories: tuple[str, ...]
    n: Counts
    s1: Array
    s2: Array

    dimensions: ClassVar[int]

    def __post_init__(self) -> None:
        n, s1, s2 = _whole(self.n, "counts"), _finite(self.s1, "weights"), _finite(self.s2, "squared weights")
        categories = _check_categories(self.categories, n.shape, self.dimensions)
        if s1.shape != n.shape or s2.shape != n.shape:
            raise StatisticsError("counts and weights must have the same shape")
        _check_weights(n, s1, s2)
        for name, array in (("n", n), ("s1", s1), ("s2", s2)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "categories", categories)

    def __add__(self, other: Self) -> Self:
        if self.categories != other.categories:
            raise StatisticsError("tables of different categories do not add up")
        return type(self)(self.categories, self.n + other.n, self.s1 + other.s1, self.s2 + other.s2)

    @property
    def size(self) -> int:
        """The number of categories."""
        return len(self.categories)

    @property
    def total(self) -> int:
        """The number of labels."""
        return int(self.n.sum())

    @property
    def population(self) -> float:
        """The sum of weights: how many items the labels stand for."""
        return float(self.s1.sum())

    @property
    def effective_n(self) -> float:
        """Kish's effective number of labels."""
        return kish(self.total, self.population, float(self.s2.sum()))

    @property
    def shares(self) -> Array:
        """Weighted shares of the cells, summing to 1 (all zero without labels)."""
        return self.s1 / (self.population or 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionTable(Cells):
    """Gold (rows) against classifier (columns)."""

    dimensions: ClassVar[int] = 2

    @classmethod
    def from_counts(cls, table: ArrayLike, categories: Sequence[str] | None = None) -> ConfusionTable:
        """A table of equally weighted labels."""
        n = _whole(table, "counts")
        if n.ndim != 2 or n.shape[0] != n.shape[1]:
            raise StatisticsError(f"a confusion table must be square, not {n.shape}")
        names = _names(categories, len(n))
        return cls(names, n, n.astype(np.float64), n.astype(np.float64))

    @classmethod
    def from_cells(
        cls, categories: Sequence[str], cells: Iterable[tuple[str, str, int, float, float]]
    ) -> ConfusionTable:
        """A table from (gold, predicted, n, sum of w, sum of w**2); cells that occur several times add up."""
        position = {category: index for index, category in enumerate(categories)}
        sums = np.zeros((3, len(position), len(position)))
        for gold, predicted, *numbers in cells:
            if gold not in position or predicted not in position:
                raise StatisticsError(f"({gold!r}, {predicted!r}) is not a pair of the categories {list(categories)}")
            sums[:, position[gold], position[predicted]] += numbers
        return cls(tuple(categories), _whole(sums[0], "counts"), sums[1], sums[2])

    @classmethod
    def from_pairs(
        cls,
        gold: ArrayLike,
        predicted: ArrayLike,
        size: int,
        weights: ArrayLike | None = None,
        categories: Sequence[str] | None = None,
    ) -> ConfusionTable:
        """A table from codes 0..size-1, one pair for each item, with a weight each or none at all."""
        rows, columns = _codes(gold, "gold codes"), _codes(predicted, "predicted codes")
        if rows.shape != columns.shape:
            raise StatisticsError("gold and predicted codes must be equally many")
        n, s1, s2 = _tally({"gold codes": rows, "predicted codes": columns}, size, weights)
        names = _names(categories, size)
        return cls(names, n, s1, s2)

    @property
    def gold_counts(self) -> Counts:
        """Labels for each gold category."""
        return np.asarray(self.n.sum(axis=1))

    @property
    def predicted_counts(self) -> Counts:
        """Labels for each predicted category."""
        return np.asarray(self.n.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Stratum:
    """A stratum that was sampled evenly: how many items it has, and the table of those labelled."""

    population: int
    table: ConfusionTable
    name: str = ""


@dataclass(frozen=True, slots=True)
class StratifiedTable:
    """Simple random samples from strata of known size."""

    strata: tuple[Stratum, ...]

    def __post_init__(self) -> None:
        if not self.strata:
            raise StatisticsError("a stratified table needs a stratum")
        if len({stratum.table.categories for stratum in self.strata}) > 1:
            raise StatisticsError("tables of different categories do not add up")
        for stratum in self.strata:
            if stratum.population < stratum.table.total:
                raise StatisticsError(f"stratum {stratum.name!r} has more labels than items")
            if stratum.population > 0 and stratum.table.total == 0:
                raise StatisticsError(f"stratum {stratum.name!r} has items but no label: merge it with another")

    @property
    def table(self) -> ConfusionTable:
        """All strata in one table, each label weighted by population / labels of its stratum."""
        size = self.strata[0].table.size
        n, s1, s2 = np.zeros((size, size), np.int64), np.zeros((size, size)), np.zeros((size, size))
        for stratum in self.strata:
            weight = stratum.population / max(stratum.table.total, 1)
            n += stratum.table.n
            s1 += stratum.table.n * weight
            s2 += stratum.table.n * weight**2
        return ConfusionTable(self.strata[0].table.categories, n, s1, s2)


@dataclass(frozen=True, slots=True, eq=False)
class PairedTable(Cells):
    """Two versions on the same gold: joint[gold][a][b]."""

    dimensions: ClassVar[int] = 3

    @classmethod
    def from_counts(cls, joint: ArrayLike, categories: Sequence[str] | None = None) -> PairedTable:
        """A joint table of equally weighted labels."""
        n = _whole(joint, "counts")
        if n.ndim != 3:
            raise StatisticsError(f"a paired table must have three dimensions, not {n.ndim}")
        names = _names(categories, len(n))
        return cls(names, n, n.astype(np.float64), n.astype(np.float64))

    @classmethod
    def from_triples(
        cls,
        gold: ArrayLike,
        a: ArrayLike,
        b: ArrayLike,
        size: int,
        weights: ArrayLike | None = None,
        categories: Sequence[str] | None = None,
    ) -> PairedTable:
        """A joint table from codes 0..size-1, one (gold, a, b) for each item."""
        g, first, second = (_codes(values, what) for values, what in ((gold, "gold"), (a, "a"), (b, "b")))
        if not g.shape == first.shape == second.shape:
            raise StatisticsError("gold and both predictions must be equally many")
        n, s1, s2 = _tally({"gold": g, "a": first, "b": second}, size, weights)
        names = _names(categories, size)
        return cls(names, n, s1, s2)

    @property
    def a(self) -> ConfusionTable:
        """Gold against the first version."""
        return ConfusionTable(self.categories, self.n.sum(2), self.s1.sum(2), self.s2.sum(2))

    @property
    def b(self) -> ConfusionTable:
        """Gold against the second version."""
        return ConfusionTable(self.categories, self.n.sum(1), self.s1.sum(1), self.s2.sum(1))
