"""Imports against the bare database's bulk load of the same rows."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

from django.db import connection, models, transaction

from bench.measure import Measure
from calibration import ingest
from calibration.models import Prediction
from labeling import ingest as labeling_ingest
from labeling import signals
from labeling.formats import jsonl
from labeling.models import Conversation, Label

CONVERSATIONS = 4000
ANNOTATORS = 10
VALUES = ("negative", "neutral", "positive")


class _Undone(Exception):
    """Takes everything back that a benchmark stored."""


def run() -> list[Measure]:
    """Rows a second through the verb, and through one bare bulk load of the rows that it stored."""
    measures: list[Measure] = []
    try:
        with transaction.atomic():
            signals.apply(document=[_signal()])
            for name, model, verb, rows in _kinds():
                data = "".join(json.dumps(row) + "\n" for row in rows).encode()
                measures.append(_measured(name, model, verb, data, len(rows)))
            raise _Undone
    except _Undone:
        return measures


def _measured(name: str, model: type[models.Model], verb: Callable[..., Any], data: bytes, count: int) -> Measure:
    newest = model._default_manager.aggregate(id=models.Max("id"))["id"] or 0
    start = time.perf_counter()
    loaded = verb(records=jsonl.records(io.BytesIO(data)))
    ours = count / (time.perf_counter() - start)
    assert loaded.created == count
    return Measure(f"import of {name}", ours, count / _bare(model, newest), "rows/s", _door(), "low multiples")


def _bare(model: type[models.Model], newest: int) -> float:
    """Seconds to store the rows above `newest` anew through the database's own bulk load, in a savepoint."""
    table = model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields if field.column != "id"]
    names = ", ".join(connection.ops.quote_name(column) for column in columns)
    with connection.cursor() as cursor:
        cast = "::text" if connection.vendor == "postgresql" else ""
        selected = ", ".join(f'"{column}"{cast}' for column in columns)
        cursor.execute(f'SELECT {selected} FROM "{table}" WHERE id > %s', [newest])
        rows = cursor.fetchall()
        cursor.execute(f'CREATE TEMPORARY TABLE bare AS SELECT {names} FROM "{table}" WHERE id < 0')
        for index, fields in enumerate(_indexes(model)):
            cursor.execute(f"CREATE INDEX bare_{index} ON bare ({fields})")
        start = time.perf_counter()
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY bare ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            cursor.executemany(f"INSERT INTO bare VALUES ({', '.join(['%s'] * len(columns))})", rows)
        seconds = time.perf_counter() - start
        cursor.execute("DROP TABLE bare")
    return seconds


def _indexes(model: type[models.Model]) -> list[str]:
    """The columns of every index that the real table keeps, for the bare one to keep as well."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, model._meta.db_table)
    indexed = {
        tuple(column for column in one["columns"] if column != "id")
        for one in found.values()
        if one["index"] or one["unique"]
    }
    return [", ".join(f'"{column}"' for column in columns) for columns in sorted(indexed) if columns]


def _door() -> str:
    return "COPY" if connection.vendor == "postgresql" else "executemany"


def _signal() -> dict[str, Any]:
    return {"slug": "bench-sentiment", "scale": "ordinal", "categories": list(VALUES)}


def _kinds() -> list[tuple[str, type[models.Model], Callable[..., Any], list[dict[str, Any]]]]:
    names = [f"bench-{number}" for number in range(CONVERSATIONS)]
    turns = [{"role": role, "text": "My invoice is wrong and nobody answers"} for role in ("customer", "agent") * 3]
    fields = {"channel": "chat", "cohort": "trial", "started_at": "2026-03-02T09:15:00Z", "turns": turns}
    about = [{"conversation": name, "turn": None, "signal": "bench-sentiment"} for name in names]
    labels = [
        row | {"annotator": f"bench-{number}", "value": VALUES[number % 3]}
        for row in about
        for number in range(ANNOTATORS)
    ]
    chances = {"negative": 0.8, "neutral": 0.15, "positive": 0.05}
    predictions = [
        row | {"classifier": "bench-judge", "version": f"v{number}", "value": "negative", "probabilities": chances}
        for row in about
        for number in range(ANNOTATORS)
    ]
    return [
        ("conversations", Conversation, ingest.conversations, [{"id": name} | fields for name in names]),
        ("labels", Label, labeling_ingest.labels, labels),
        ("predictions", Prediction, ingest.predictions, predictions),
    ]
