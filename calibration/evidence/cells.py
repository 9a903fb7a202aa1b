"""What pairing yields: units counted by slice, gold and answer, with the sums of their weights; cells add up over slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from calibration.models import Prediction
from calibration.stats.paired import Sums

OK, MISSING = Prediction.Status.OK.value, Prediction.Status.MISSING.value


@dataclass(frozen=True, slots=True)
class Cell:
    """Units of one slice with the same gold, answer and status: their number, Σw and Σw², w = 1/inclusion probability.

    `key` has the slice's values in the order of `Pairs.by`. Interval signals have no categories: their gold and answer
    are empty, and `moments` has Σw·gᵃ·pᵇ under "ab", Σw²·gᵃ·pᵇ under "wab" and Σw·|g−p| under "abs", with g and p
    counted from `centre`, which keeps high powers exact.
    """

    key: tuple[str, ...]
    gold: str
    predicted: str
    status: str
    n: int
    s1: float
    s2: float
    moments: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Stratum:
    """A stratum of the design: units of the frame, gold units (answered or not), and the weight that each of them has."""

    population: int
    labels: int
    weight: float


@dataclass(frozen=True, slots=True)
class Sample:
    """The strata by which all of the gold was drawn; `position` is where a cell's key names its own."""

    position: int
    strata: dict[str, Stratum]


@dataclass(frozen=True, slots=True)
class Pairs:
    """All cells of one dataset version × one classifier version, by the dimensions `by`; `sample` where strata drew them."""

    by: tuple[str, ...]
    cells: tuple[Cell, ...]
    fingerprint: str
    sample: Sample | None = None

    @property
    def answered(self) -> tuple[Cell, ...]:
        """The cells of units that the version answered."""
        return tuple(cell for cell in self.cells if cell.status == OK)

    @property
    def paired(self) -> int:
        return sum(cell.n for cell in self.cells if cell.status == OK)

    @property
    def missing(self) -> int:
        """Gold units without a usable answer: none arrived, or it failed."""
        return sum(cell.n for cell in self.cells if cell.status != OK)

    @property
    def failed(self) -> int:
        """Those among the missing for which something came back that is no answer."""
        return sum(cell.n for cell in self.cells if cell.status not in (OK, MISSING))


@dataclass(frozen=True, slots=True)
class VoteGroup:
    """Units of one slice on which equally many people voted alike."""

    key: tuple[str, ...]
    votes: dict[str, int]
    annotators: int
    units: int


@dataclass(frozen=True, slots=True)
class JointCell:
    """Units of one slice with the same gold and the same answers of two versions."""

    key: tuple[str, ...]
    gold: str
    a: str
    b: str
    n: int
    s1: float
    s2: float


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """How far two versions' numbers are from people's in one slice: sums of each absolute error and of their difference
    (that of b minus that of a)."""

    key: tuple[str, ...]
    a: Sums
    b: Sums
    difference: Sums

    @property
    def n(self) -> int:
        """Units that both versions answered."""
        return self.difference.n


def merged(cells: Iterable[Cell]) -> list[Cell]:
    """Cells with the same slice and answer as one."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.key, cell.gold, cell.predicted, cell.status), []).append(cell)
    return [_sum(group) for group in groups.values()]


def _sum(group: list[Cell]) -> Cell:
    first = group[0]
    if len(group) == 1:
        return first
    return Cell(
        first.key,
        first.gold,
        first.predicted,
        first.status,
        sum(cell.n for cell in group),
        sum(cell.s1 for cell in group),
        sum(cell.s2 for cell in group),
        add_moments([cell.moments for cell in group if cell.moments is not None]),
    )


def add_moments(moments: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Sums of powers of disjoint slices add up; they share their centre."""
    if not moments:
        return None
    added = {name: sum(sums[name] for sums in moments) for name in moments[0]}
    return added | {"centre": moments[0]["centre"]}
