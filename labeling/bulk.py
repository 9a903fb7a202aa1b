"""Many rows into one table through the fastest door that the database has: COPY, or one prepared INSERT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection, models

T = TypeVar("T")


def insert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert `rows` of database values (JSON as text, times through `at`), in the order of `columns`.

    Constraints and foreign keys are the database's to check; nothing is read back.
    """
    table = connection.ops.quote_name(model._meta.db_table)
    names = ", ".join(connection.ops.quote_name(_column(model, column)) for column in columns)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Django translates what `execute` raises; a COPY fails only at its end, past that.
            with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            places = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", list(rows))


def _column(model: type[models.Model], name: str) -> str:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field), name
    return str(field.column)


def at(moment: datetime | None) -> Any:
    """A time as the database driver takes it."""
    if moment is None:
        return None
    if connection.vendor == "postgresql":
        return moment
    return connection.ops.adapt_datetimefield_value(moment)


def parts(values: Iterable[T], size: int = 5000) -> Iterator[list[T]]:
    """`values` in lists of `size`, each short enough for one query."""
    part: list[T] = []
    for value in values:
        part.append(value)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
