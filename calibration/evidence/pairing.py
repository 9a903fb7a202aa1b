"""The only seam from rows to arrays: gold joined with a version's predictions as weighted cells, and people's votes.

A frozen dataset version and a pinned classifier version have one table of pairs for ever, but for predictions that
still arrive: the fingerprint says which went in. One SQL aggregate makes it, whatever the number of rows; reading never
writes. `store` keeps a table as rows, so that the next reader finds it in every process.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Avg, Max, Sum

from calibration import fitted
from calibration.errors import NotComparable
from calibration.evidence.cells import OK, Cell, ErrorCell, JointCell, Pairs, Sample, Stratum, VoteGroup, merged
from calibration.models import ClassifierVersion, PairCell, PairTable, Prediction, PredictionRollup, VoteCell
from calibration.stats.paired import Sums
from labeling import privacy
from labeling.models import DatasetVersion, GoldRow

CORE = ("channel", "cohort")
STORED = (*CORE, "stratum")
PERIODS = ("day", "week", "month")
"""Dimensions of time: when the conversation took place, or was labelled where that is unknown; weeks begin on Monday."""

UNKNOWN = "unknown"
"""The slice of conversations that lack an attribute."""

EQUAL_WEIGHTS = 1e-6
"""Relative difference of weights below which they are the same number summed in another order."""

POWERS = tuple((a, b) for a in range(5) for b in range(5) if 0 < a + b <= 4)
"""Powers of gold and answer that interval statistics and their variances are made of."""


def read(*, dataset_version: DatasetVersion, version: ClassifierVersion, by: Sequence[str] = ()) -> Pairs:
    """The pairs by channel and cohort, and by the attributes that `by` names besides. Reads only, never stores.

    Where all of the gold was drawn by strata, these are a dimension, too.
    """
    strata = (dataset_version.card.get("design") or {}).get("strata", {})
    dimensions = dimensions_of(("stratum", *by) if strata else by)
    mark = fingerprint(version)
    key = _cache_key("sampled", _identity(dataset_version), version.id, mark, dimensions)
    found: Pairs | None = cache.get(key)
    if found is None:
        found = _stored(dataset_version, version, mark, dimensions) if dimensions in (CORE, STORED) else None
        found = found or compute(dataset_version, version, dimensions, mark)
        found = replace(found, sample=_sample(found, strata)) if strata else found
        cache.set(key, found, timeout=None)
    check_masked(found.by, (cell.key for cell in found.cells))
    return found


def store(*, dataset_version: DatasetVersion, version: ClassifierVersion) -> PairTable:
    """Keep the pairs by channel, cohort and stratum as rows; the same predictions again: the table that is there.

    A table of earlier predictions goes: what rested on it is kept as a report.
    """
    mark = fingerprint(version)
    identity = {"dataset_version": dataset_version, "version": version, "fingerprint": mark}
    found = PairTable.objects.filter(**identity).first()
    if found is not None:
        return found
    pairs = compute(dataset_version, version, STORED, mark)
    with transaction.atomic():
        if not PairTable.objects.filter(dataset_version=dataset_version).exists():
            _store_votes(dataset_version)
        table, created = PairTable.objects.get_or_create(
            **identity, defaults={"paired": pairs.paired, "missing": pairs.missing}
        )
        if created:
            PairTable.objects.filter(dataset_version=dataset_version, version=version).exclude(id=table.id).delete()
            PairCell.objects.bulk_create((_row(table, cell) for cell in pairs.cells), batch_size=1000)
    return table


def store_due(*, most: int = 50) -> int:
    """Keep the pairs that are not kept yet: every dataset's newest version × every version that scored its signal.

    Doing it again does nothing; what is left over is done next time.
    """
    frozen = DatasetVersion.objects.filter(frozen_at__isnull=False).select_related("dataset__signal")
    newest = {version.dataset_id: version for version in frozen.order_by("number")}
    done = 0
    for dataset_version in newest.values():
        scored = ClassifierVersion.objects.filter(classifier__signal=dataset_version.dataset.signal)
        for version in scored.filter(rollups__isnull=False).distinct().select_related("classifier__signal"):
            known = dataset_version.pair_tables.filter(version=version, fingerprint=fingerprint(version))
            if done < most and not known.exists():
                store(dataset_version=dataset_version, version=version)
                done += 1
    return done


def fingerprint(version: ClassifierVersion) -> str:
    """Which predictions a version has: their number by the rollup, and when the newest came or changed."""
    count = PredictionRollup.objects.filter(version=version).aggregate(n=Sum("count"))["n"] or 0
    newest = Prediction.objects.filter(version=version).aggregate(at=Max("stored_at"))["at"]
    return hashlib.sha256(f"{count}|{newest.isoformat() if newest else ''}".encode()).hexdigest()


def dimensions_of(by: Sequence[str]) -> tuple[str, ...]:
    """Channel and cohort, always, since one table serves all their slices; then the attributes."""
    return (*CORE, *(name for name in dict.fromkeys(by) if name not in CORE))


def compute(
    dataset_version: DatasetVersion, version: ClassifierVersion, dimensions: tuple[str, ...], mark: str
) -> Pairs:
    """The one aggregate, from the rows themselves."""
    signal = dataset_version.dataset.signal
    check_comparable(dataset_version, version)
    interval = signal.scale == signal.Scale.INTERVAL
    centre = _centre(dataset_version) if interval else 0.0
    measures = _moment_columns(centre) if interval else _WEIGHTS
    columns = ("COALESCE(p.status, 'missing')",) if interval else _ANSWERS
    slices, parameters = _slice_columns(dimensions)
    timed = "JOIN labeling_conversation c ON c.id = g.conversation_id " if set(dimensions) & set(PERIODS) else ""
    rows = _grouped(
        (*slices, *columns),
        measures,
        f"FROM labeling_goldrow g {timed}"
        "LEFT JOIN calibration_prediction p "
        "ON p.version_id = %s AND p.conversation_id = g.conversation_id AND p.turn = g.turn "
        f"WHERE g.version_id = %s AND g.value IS NOT NULL AND NOT {fitted.SQL}",
        [*parameters, version.id, dataset_version.id, version.id, version.id],
    )
    make = _moment_cell if interval else _plain_cell
    cells = tuple(make(row, len(dimensions), centre) for row in rows)
    check_dimensions(dataset_version, dimensions, (cell.key for cell in cells))
    return Pairs(dimensions, cells, mark)


def votes(*, dataset_version: DatasetVersion, by: Sequence[str] = ()) -> tuple[VoteGroup, ...]:
    """Votes of all units with two labels or more, unresolved ones included, grouped by slice and alike votes."""
    dimensions = dimensions_of(by)
    key = _cache_key("votes", _identity(dataset_version), dimensions)
    found: tuple[VoteGroup, ...] | None = cache.get(key)
    if found is None:
        stored = dimensions == CORE and PairTable.objects.filter(dataset_version=dataset_version).exists()
        found = _stored_votes(dataset_version) if stored else _votes(dataset_version, dimensions)
        cache.set(key, found, timeout=None)
    return found


def _votes(dataset_version: DatasetVersion, dimensions: Sequence[str]) -> tuple[VoteGroup, ...]:
    slices, parameters = _slice_columns(dimensions)
    rows = _grouped(
        (*slices, "g.votes", "g.annotators"),
        "COUNT(*)",
        "FROM labeling_goldrow g WHERE g.version_id = %s AND g.annotators >= 2",
        [*parameters, dataset_version.id],
    )
    return tuple(VoteGroup(tuple(row[:-3]), _object(row[-3]), *row[-2:]) for row in rows)


def _stored_votes(dataset_version: DatasetVersion) -> tuple[VoteGroup, ...]:
    cells = dataset_version.vote_cells.values_list("channel", "cohort", "votes", "annotators", "units")
    return tuple(VoteGroup((channel, cohort), *rest) for channel, cohort, *rest in cells)


def _store_votes(dataset_version: DatasetVersion) -> None:
    """People's votes, with the first table of pairs; whoever comes second finds them there."""
    units: Counter[tuple[str, str, str]] = Counter()
    for group in _votes(dataset_version, CORE):
        # The same votes may be written in another order.
        channel, cohort = group.key
        units[channel, cohort, json.dumps([group.votes, group.annotators], sort_keys=True)] += group.units
    cells = []
    for (channel, cohort, text), count in units.items():
        votes, annotators = json.loads(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        cell = VoteCell(dataset_version=dataset_version, channel=channel, cohort=cohort, digest=digest, units=count)
        cell.votes, cell.annotators = votes, annotators
        cells.append(cell)
    VoteCell.objects.bulk_create(cells, batch_size=1000, ignore_conflicts=True)


def joint(
    *, dataset_version: DatasetVersion, a: ClassifierVersion, b: ClassifierVersion, by: Sequence[str] = ()
) -> tuple[JointCell, ...]:
    """Units that both versions answered and neither was fitted on, by gold and both answers."""
    rows = _joined(dataset_version, a, b, by, grouped=("g.value", "p.value", "q.value"), measures=_WEIGHTS)
    return tuple(JointCell(key, *told) for key, told in rows)


def joint_errors(
    *,
    dataset_version: DatasetVersion,
    a: ClassifierVersion,
    b: ClassifierVersion,
    by: Sequence[str] = (),
    span: float | None = None,
) -> tuple[ErrorCell, ...]:
    """Absolute errors of two versions on an interval signal, on the units of `joint`, added up per slice."""
    first, second = "ABS(g.number - p.number)", "ABS(g.number - q.number)"
    sums = (
        f"SUM({_WEIGHT} * {x}), SUM({_WEIGHT} * {_WEIGHT} * {x}), SUM({_WEIGHT} * {_WEIGHT} * {x} * {x})"
        for x in (first, second, f"({second} - {first})")
    )
    rows = _joined(dataset_version, a, b, by, measures=", ".join([_WEIGHTS, *sums]))
    return tuple(
        ErrorCell(key, *(Sums(n, s1, s2, found[at], found[at + 1], found[at + 2], span) for at in (0, 3, 6)))
        for key, (n, s1, s2, *found) in rows
    )


def _joined(
    dataset_version: DatasetVersion,
    a: ClassifierVersion,
    b: ClassifierVersion,
    by: Sequence[str],
    *,
    grouped: Sequence[str] = (),
    measures: str,
) -> list[tuple[tuple[str, ...], Sequence[Any]]]:
    """(slice, the columns `grouped` and `measures`) over gold `g` and the usable answers `p` of a and `q` of b."""
    for version in (a, b):
        check_comparable(dataset_version, version)
    dimensions = dimensions_of(by)
    slices, parameters = _slice_columns(dimensions)
    on = (
        "ON {0}.version_id = %s AND {0}.conversation_id = g.conversation_id AND {0}.turn = g.turn AND {0}.status = 'ok'"
    )
    size = len(dimensions)
    rows = _grouped(
        (*slices, *grouped),
        measures,
        "FROM labeling_goldrow g "
        f"JOIN calibration_prediction p {on.format('p')} JOIN calibration_prediction q {on.format('q')} "
        f"WHERE g.version_id = %s AND g.value IS NOT NULL AND NOT {fitted.SQL} AND NOT {fitted.SQL}",
        [*parameters, a.id, b.id, dataset_version.id, a.id, a.id, b.id, b.id],
    )
    check_masked(dimensions, (tuple(row[:size]) for row in rows))
    return [(tuple(row[:size]), row[size:]) for row in rows]


def check_comparable(dataset_version: DatasetVersion, version: ClassifierVersion) -> None:
    """Gold and classifier must speak of the same signal."""
    gold, scored = dataset_version.dataset.signal, version.classifier.signal
    if gold.id != scored.id:
        raise NotComparable(
            "other_signal",
            f"{version} scores {scored.slug}, but {dataset_version} is gold of {gold.slug}",
            field="classifier",
        )


def check_dimensions(
    dataset_version: DatasetVersion, dimensions: Sequence[str], keys: Iterable[tuple[str, ...]]
) -> None:
    """Refuse to slice by an attribute that no unit has: most likely it is misspelt."""
    seen = list(keys)
    for position, name in enumerate(dimensions):
        if name in (*STORED, *PERIODS) or not seen or any(key[position] != UNKNOWN for key in seen):
            continue
        names = ", ".join([*CORE, *sorted(attributes_of(dataset_version))])
        raise NotComparable(
            "unknown_slice", f"no conversation has the attribute {name!r}; there are {names}", field="by"
        )


def check_masked(dimensions: Sequence[str], keys: Iterable[tuple[str, ...]]) -> None:
    """Refuse to slice by an attribute whose values are masked: a report would list them."""
    attributes = [(place, name) for place, name in enumerate(dimensions) if name not in (*STORED, *PERIODS)]
    mask = privacy.in_force() if attributes else privacy.NOTHING
    seen = set(keys) if mask.kinds else ()
    for place, name in attributes:
        if any(mask.text(key[place]) != key[place] for key in seen):
            raise NotComparable("masked_slice", f"{name!r} holds personal data, which is masked here", field="by")


def attributes_of(dataset_version: DatasetVersion) -> set[str]:
    """The names that its units have beside channel and cohort."""
    rows = GoldRow.objects.filter(version=dataset_version).order_by().values_list("attributes", flat=True)
    return {name for attributes in rows.distinct() for name in attributes or {}}


_ANSWERS = ("g.value", "COALESCE(p.value, '')", "COALESCE(p.status, 'missing')")
_WEIGHT = "(1.0 / g.inclusion_probability)"
_WEIGHTS = f"COUNT(*), SUM({_WEIGHT}), SUM({_WEIGHT} * {_WEIGHT})"


def _slice_columns(dimensions: Sequence[str]) -> tuple[list[str], list[Any]]:
    """Columns of the gold row, or its attributes as text, in the dialect of the database."""
    columns, parameters = [], []
    for name in dimensions:
        if name in STORED:
            columns.append(f"g.{name}")
        elif name in PERIODS:
            columns.append(f"COALESCE({_period(name)}, '{UNKNOWN}')")
        elif connection.vendor == "sqlite":
            path = "$." + json.dumps(name)
            columns.append(
                "COALESCE(CASE json_type(g.attributes, %s) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
                f"ELSE CAST(json_extract(g.attributes, %s) AS TEXT) END, '{UNKNOWN}')"
            )
            parameters += [path, path]
        else:
            columns.append(f"COALESCE(g.attributes ->> %s, '{UNKNOWN}')")
            parameters.append(name)
    return columns, parameters


def _period(name: str) -> str:
    """The first day of a unit's day, week or month as text."""
    at = "COALESCE(c.started_at, g.labeled_at)"
    if connection.vendor != "sqlite":
        return f"to_char(date_trunc('{name}', {at} AT TIME ZONE 'UTC'), 'YYYY-MM-DD')"
    step = {"day": "", "week": ", 'weekday 0', '-6 days'", "month": ", 'start of month'"}[name]
    return f"date(substr({at}, 1, 10){step})"


def _moment_columns(centre: float) -> str:
    """Counts, weights, and weighted sums of powers of gold and answer, both counted from the centre."""
    gold, answer = f"(g.number - ({centre!r}))", f"(p.number - ({centre!r}))"
    products = [" * ".join([gold] * a + [answer] * b) for a, b in POWERS]
    sums = [f"SUM({_WEIGHT} * {product})" for product in products]
    squares = [f"SUM({_WEIGHT} * {_WEIGHT} * {product})" for product in products]
    return ", ".join([_WEIGHTS, f"SUM({_WEIGHT} * ABS(g.number - p.number))", *sums, *squares])


def _plain_cell(row: Sequence[Any], size: int, centre: float) -> Cell:
    gold, predicted, status, n, s1, s2 = row[size:]
    return Cell(tuple(row[:size]), gold, predicted, status, n, s1, s2)


def _moment_cell(row: Sequence[Any], size: int, centre: float) -> Cell:
    status, n, s1, s2, absolute, *sums = row[size:]
    if status != OK:
        return Cell(tuple(row[:size]), "", "", status, n, s1, s2)
    names = [f"{a}{b}" for a, b in POWERS] + [f"w{a}{b}" for a, b in POWERS]
    moments = dict(zip(names, sums, strict=True)) | {"abs": absolute, "centre": centre}
    return Cell(tuple(row[:size]), "", "", status, n, s1, s2, moments)


def _centre(dataset_version: DatasetVersion) -> float:
    """The middle of the signal's range, or of the gold where the signal has none."""
    signal = dataset_version.dataset.signal
    if signal.minimum is not None and signal.maximum is not None:
        return (signal.minimum + signal.maximum) / 2
    mean = GoldRow.objects.filter(version=dataset_version).aggregate(mean=Avg("number"))["mean"]
    return float(mean or 0.0)


def _sample(pairs: Pairs, populations: Mapping[str, int]) -> Sample | None:
    """The design of the gold; None where the labels of a stratum differ in weight, or it is not one of those drawn."""
    position = pairs.by.index("stratum")
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
    for cell in pairs.cells:
        for place, number in enumerate((cell.n, cell.s1, cell.s2)):
            sums[cell.key[position]][place] += number
    strata = {}
    for name, (n, s1, s2) in sums.items():
        if s1**2 < n * s2 * (1 - EQUAL_WEIGHTS) or not n <= populations.get(name, 0):
            return None
        strata[name] = Stratum(populations[name], int(n), s1 / n)
    return Sample(position, strata) if strata else None


def _stored(
    dataset_version: DatasetVersion, version: ClassifierVersion, mark: str, dimensions: tuple[str, ...]
) -> Pairs | None:
    """The pairs by channel, cohort and, if asked for, stratum from stored rows; without it the strata are added up."""
    table = PairTable.objects.filter(dataset_version=dataset_version, version=version, fingerprint=mark).first()
    if table is None:
        return None
    size = len(dimensions)
    rows = table.cells.values_list(*dimensions, "gold", "predicted", "status", "n", "sum_w", "sum_w2", "moments")
    return Pairs(dimensions, tuple(merged(Cell(tuple(row[:size]), *row[size:]) for row in rows)), mark)


def _row(table: PairTable, cell: Cell) -> PairCell:
    channel, cohort, stratum = cell.key
    return PairCell(
        table=table,
        channel=channel,
        cohort=cohort,
        stratum=stratum,
        gold=cell.gold,
        predicted=cell.predicted,
        status=cell.status,
        n=cell.n,
        sum_w=cell.s1,
        sum_w2=cell.s2,
        moments=cell.moments,
    )


def _fetch(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _grouped(columns: Sequence[str], measures: str, source: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """`measures` of the rows of `source` by `columns`; each row has the columns first.

    SQLite sorts what it groups, and by one text more than twice as fast as by six columns.
    """
    if connection.vendor == "sqlite":
        found = _fetch(f"SELECT json_array({', '.join(columns)}), {measures} {source} GROUP BY 1", parameters)
        return [(*json.loads(key), *sums) for key, *sums in found]
    ordinals = ", ".join(str(position) for position in range(1, len(columns) + 1))
    return _fetch(f"SELECT {', '.join(columns)}, {measures} {source} GROUP BY {ordinals}", parameters)


def _object(value: Any) -> dict[str, int]:
    """A JSON column as it comes from a cursor: text, or already an object."""
    return dict(json.loads(value) if isinstance(value, str) else value)


def _identity(dataset_version: DatasetVersion) -> tuple[Any, ...]:
    """What is the same only for the same frozen rows, also when another database used the number before."""
    return dataset_version.id, dataset_version.sha256, dataset_version.created_at


def _cache_key(kind: str, *parts: Any) -> str:
    digest = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:40]
    return f"{kind}:{digest}"
