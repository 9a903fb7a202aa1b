"""Gold as CSV for spreadsheets, with nothing in it that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from labeling.formats.gold import GoldItem, Manifest, in_order

COLUMNS = (
    "id", "conversation", "turn", "signal", "value", "votes", "annotators", "decided_by", "channel", "cohort", "attributes",
    "stratum", "inclusion_probability", "text_sha256", "text", "dataset", "dataset_sha256",
)  # fmt: skip
PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")


def chunks(items: Iterable[GoldItem], manifest: Manifest) -> Iterator[bytes]:
    """Header and rows, one at a time. Dataset and hash stand in every row, since CSV has no place for metadata."""
    yield _line(COLUMNS)
    for item in items:
        yield _line(_cells(item, manifest))


def _cells(item: GoldItem, manifest: Manifest) -> list[Any]:
    value = "|".join(item.value) if isinstance(item.value, list) else item.value
    cells = [
        item.id, item.conversation, item.turn, item.signal, None, _json(item.votes), item.annotators, item.decided_by,
        item.channel, item.cohort, _json(item.attributes), item.stratum, item.inclusion_probability, item.text_sha256,
        item.text(), manifest.name, manifest.sha256,
    ]  # fmt: skip
    safely = [safe(cell) for cell in cells]
    # A category that is a plain number, such as -2, is no formula, and has to come back as it is.
    plain = isinstance(value, str) and PLAIN_NUMBER.fullmatch(value)
    safely[COLUMNS.index("value")] = value if plain else safe(value)
    return safely


def safe(cell: Any) -> Any:
    """A text that a spreadsheet could take for a formula gets an apostrophe before it (OWASP, CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(DANGEROUS) else cell


def _json(value: Any) -> str:
    return json.dumps(in_order(value), ensure_ascii=False)


def _line(cells: Iterable[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(["" if cell is None else cell for cell in cells])
    return line.getvalue().encode("utf-8", "backslashreplace")
