"""What each version was calibrated on: the gold, until when its labels reach, and how well the version agreed there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, F, Max

from calibration.evidence import pairing
from calibration.evidence.cells import OK, Cell
from calibration.models import ClassifierVersion, Monitor, Prediction, Recalibration
from calibration.stats import summary
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from calibration.stats.tables import ConfusionTable, kish
from calibration.streams import Said, Unit, place
from labeling.models import DatasetVersion, GoldRow, Signal

LEAST_PAIRS = 30
"""Fewer gold units than this are no calibration: they bear no verdict either."""
EARLY_SHARE, LEAST_SPAN = 0.4, timedelta(days=28)
"""Where gold itself spans months and nothing was labelled since, its earliest labels calibrate the later ones."""
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A version's gold, sliced by what its monitor watches. `until` is when the last of the gold's labels came in."""

    version: ClassifierVersion
    dataset_version: DatasetVersion
    until: datetime
    by: tuple[str, ...]
    cells: Mapping[Place, tuple[Cell, ...]]
    labels: int
    used: frozenset[Unit] | None = None

    @property
    def name(self) -> str:
        """The gold, and which part of it."""
        return f"{self.dataset_version}, its first {self.labels} labels" if self.used else str(self.dataset_version)

    def coarser(self, length: int) -> Calibration:
        """The same by the first `length` dimensions only."""
        if length == len(self.by):
            return self
        cells: dict[Place, tuple[Cell, ...]] = {}
        for key, rows in self.cells.items():
            cells[key[:length]] = cells.get(key[:length], ()) + rows
        return replace(self, by=self.by[:length], cells=cells)

    def units(self) -> Set[Unit]:
        """The units of the calibration: what is labelled again later says nothing new of the version."""
        if self.used is not None:
            return self.used
        rows = GoldRow.objects.filter(version=self.dataset_version, value__isnull=False)
        return set(rows.values_list("conversation_id", "turn").iterator(chunk_size=5000))

    def agreement(self, place: Place) -> Estimate:
        """Agreement of one slice, weighted by 1 / inclusion probability; for numbers how close they are, 0 to 1."""
        cells = self.cells.get(place, ())
        signal = self.dataset_version.dataset.signal
        if signal.scale == Signal.Scale.INTERVAL:
            return _closeness(cells, span(self.dataset_version))
        return agreement_of(cells)


def of_versions(versions: Sequence[ClassifierVersion], *, monitor: Monitor) -> dict[int, Calibration]:
    """version id → its calibration: the monitor's own gold, else that of the recalibration which made the version, else
    the first frozen gold that has enough units which the version scored."""
    gold = _first_gold(versions, monitor=monitor)
    return {version.id: _read(version, gold[version.id], monitor.by) for version in versions if version.id in gold}


def early(whole: Calibration, said: Mapping[Unit, Said]) -> Calibration | None:
    """The earliest labels of the gold as a calibration of their own; None where they span too little time."""
    rows = GoldRow.objects.filter(version=whole.dataset_version, value__isnull=False, labeled_at__isnull=False)
    columns = ("conversation_id", "turn", "channel", "cohort", "attributes", "value", "number", "inclusion_probability")
    found = [row for row in rows.order_by("labeled_at", "id").values_list("labeled_at", *columns) if row[1:3] in said]
    first = int(len(found) * EARLY_SHARE)
    if first < LEAST_PAIRS or found[-1][0] - found[0][0] < LEAST_SPAN:
        return None
    until = found[first - 1][0]
    cells: dict[Place, list[Cell]] = {}
    used = set()
    for at, conversation, turn, channel, cohort, attributes, value, number, chance in found:
        if at > until:
            break
        key = place(whole.by, channel, cohort, attributes)
        spoken, weight = said[conversation, turn], 1 / chance
        moments = None if number is None else {"abs": weight * abs(number - (spoken.number or 0.0))}
        gold, predicted = (str(value), spoken.value) if number is None else ("", "")
        cells.setdefault(key, []).append(Cell(key, gold, predicted, OK, 1, weight, weight**2, moments))
        used.add((conversation, turn))
    sliced = {key: tuple(found) for key, found in cells.items()}
    return replace(whole, until=until, cells=sliced, labels=len(used), used=frozenset(used))


def agreement_of(cells: Iterable[Cell]) -> Estimate:
    """Weighted accuracy of cells of answers."""
    cells = tuple(cells)
    categories = sorted({cell.gold for cell in cells} | {cell.predicted for cell in cells})
    if not categories:
        return Estimate.undefined("no_items")
    rows = ((cell.gold, cell.predicted, cell.n, cell.s1, cell.s2) for cell in cells)
    return summary.estimate("accuracy", ConfusionTable.from_cells(categories, rows))


def span(dataset_version: DatasetVersion) -> float:
    """The range of an interval signal: what it may be, or what the gold shows where no limits are set."""
    signal = dataset_version.dataset.signal
    if signal.minimum is not None and signal.maximum is not None:
        return signal.maximum - signal.minimum
    numbers = [
        n for n in GoldRow.objects.filter(version=dataset_version).values_list("number", flat=True) if n is not None
    ]
    return (max(numbers) - min(numbers) if numbers else 0.0) or 1.0


def closeness(gold: float, predicted: float, width: float) -> float:
    """1 where two numbers are equal, 0 where they are the whole range apart."""
    return max(0.0, 1.0 - abs(gold - predicted) / width)


def _closeness(cells: Sequence[Cell], width: float) -> Estimate:
    n, s1, s2 = (sum(getattr(cell, name) for cell in cells) for name in ("n", "s1", "s2"))
    if not n:
        return Estimate.undefined("no_items")
    error = sum(cell.moments["abs"] for cell in cells if cell.moments) / s1
    size = kish(n, s1, s2)
    return wilson(max(0.0, 1.0 - error / width) * size, size)


def _first_gold(versions: Sequence[ClassifierVersion], *, monitor: Monitor) -> dict[int, DatasetVersion]:
    """One grouped count over gold rows joined with the versions' usable answers."""
    rows = GoldRow.objects.filter(
        version__dataset__signal=monitor.classifier.signal,
        version__frozen_at__isnull=False,
        value__isnull=False,
        conversation__predictions__version__in=versions,
        conversation__predictions__turn=F("turn"),
        conversation__predictions__status=Prediction.Status.OK,
    )
    made_by = dict(Recalibration.objects.filter(promoted__in=versions).values_list("promoted_id", "dataset_version_id"))
    counted = rows.order_by("version__frozen_at", "version_id").values_list(
        "version_id", "conversation__predictions__version_id"
    )
    found: dict[int, int] = {}
    for gold, version, units in counted.annotate(units=Count("id")):
        wanted = monitor.dataset_version_id or made_by.get(version)
        if units >= LEAST_PAIRS and wanted in (None, gold):
            found.setdefault(version, gold)
    rows_of = DatasetVersion.objects.select_related("dataset__signal").in_bulk(set(found.values()))
    return {version: rows_of[gold] for version, gold in found.items()}


def _read(version: ClassifierVersion, gold: DatasetVersion, by: Sequence[str]) -> Calibration:
    pairs = pairing.read(dataset_version=gold, version=version, by=by)
    positions = [pairs.by.index(name) for name in by]
    cells: dict[Place, list[Cell]] = {}
    for cell in pairs.cells:
        if cell.status == OK:
            cells.setdefault(tuple(cell.key[i] for i in positions), []).append(cell)
    last = GoldRow.objects.filter(version=gold).aggregate(at=Max("labeled_at"))["at"]
    until = last or gold.frozen_at or gold.created_at
    sliced = {place: tuple(rows) for place, rows in cells.items()}
    labels = sum(cell.n for rows in cells.values() for cell in rows)
    return Calibration(version, gold, until, tuple(by), sliced, labels)
