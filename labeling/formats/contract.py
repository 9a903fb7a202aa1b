"""cxlab's own rows: JSON Lines as they are, and CSV tables whose columns are their fields."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labeling.errors import RowError
from labeling.formats import entries
from labeling.formats.gold import in_order
from labeling.formats.gold_csv import safe
from labeling.formats.jsonl import Record
from labeling.formats.rows import FieldRefused
from labeling.formats.shapes import Entries, Format, Options, Unit, answer, each, line, renamed, role

COLUMNS = {
    "conversations": ("id", "source", "channel", "cohort", "customer", "started_at", "turns", "attributes", "asr",
                      "summary", "audio", "metadata"),
    "labels": ("conversation", "turn", "signal", "annotator", "value", "at", "seconds", "comment", "confidence", "metadata"),
    "predictions": ("conversation", "turn", "classifier", "version", "signal", "value", "status", "probabilities", "score",
                    "rationale", "seconds", "cost", "at", "metadata"),
    "outcomes": ("conversation", "customer", "kind", "value", "at", "metadata"),
}  # fmt: skip
NUMBERS = {
    "turn": int,
    "seconds": float,
    "confidence": float,
    "score": float,
    "cost": float,
    "start": float,
    "end": float,
}
DOCUMENTS = ("turns", "attributes", "asr", "metadata", "probabilities")
TURN = ("role", "speaker", "text", "at", "start", "end")


def as_it_is(row: Mapping[str, Any], options: Options) -> Iterator[Mapping[str, Any]]:
    yield row


def rows(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """The rows themselves, a line each."""
    for unit in units:
        for row in _rows(unit, kind):
            yield line(row)


def _rows(unit: Unit, kind: str) -> Iterable[Mapping[str, Any]]:
    return {"conversations": [unit.conversation], "labels": unit.labels, "predictions": unit.predictions}.get(kind, ())


def typed(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """The texts of a table as the contract has them: numbers, objects, and values as the signal's scale says."""
    found: dict[str, Any] = {}
    for name, cell in row.items():
        found[name] = _typed(name, cell)
    if "value" in found:
        found["value"] = _value(found, options)
    yield found


def _typed(name: str, cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    if name in NUMBERS:
        try:
            number = NUMBERS[name](cell)
        except (ValueError, OverflowError) as error:
            raise FieldRefused(name, f"must be a number, is {cell[:60]!r}") from error
        return (
            int(number) if isinstance(number, float) and number.is_integer() and cell.lstrip("-").isdigit() else number
        )
    if name in DOCUMENTS:
        try:
            return json.loads(cell)
        except (ValueError, RecursionError) as error:
            raise FieldRefused(name, f"must be JSON, is {cell[:60]!r}") from error
    return cell


def _value(row: Mapping[str, Any], options: Options) -> Any:
    """`a|b` or a JSON list for several labels; outcomes are numbers."""
    given, signal = row["value"], str(row.get("signal") or options.given.get("signal", ""))
    if "kind" in row or options.given.get("kind"):
        try:
            return float(given)
        except ValueError as error:
            raise FieldRefused("value", f"must be a number, is {given[:60]!r}") from error
    if options.scales.get(signal) == "multilabel":
        return _several(given)
    return answer(given, signal, options, "value")


def _several(given: str) -> list[Any]:
    if given.startswith("["):
        try:
            found = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise FieldRefused("value", f"must be JSON or codes with | between them, is {given[:60]!r}") from error
        return found if isinstance(found, list) else [found]
    return [code.strip() for code in given.split("|")]


def table_conversations(found: Entries, options: Options) -> Entries:
    """A row a conversation, with its `turns` as JSON or one `text`; or a row a turn, those of a conversation together."""
    held: dict[str, Any] | None = None
    first = 0
    seen: set[str] = set()
    for entry in found:
        if isinstance(entry, RowError):
            yield entry
            continue
        try:
            row = next(typed(renamed(entry.data, options.renamed), options))
            row.setdefault("id", row.pop("conversation", ""))
            if "turns" in row or not row["id"]:
                yield Record(entry.line, row)
                continue
            turn = _spoken(row, options)
        except FieldRefused as refused:
            yield RowError(entry.line, refused.field, refused.message)
            continue
        if held is not None and held["id"] == row["id"]:
            held["turns"].append(turn)
            continue
        if held is not None:
            yield Record(first, held)
        if row["id"] in seen:
            yield RowError(
                entry.line,
                "id",
                "is a duplicate: turns of this conversation stand further up already, with others between",
            )
            held = None
            continue
        seen.add(row["id"])
        held, first = {name: value for name, value in row.items() if name not in TURN} | {"turns": [turn]}, entry.line
    if held is not None:
        yield Record(first, held)


def _spoken(row: Mapping[str, Any], options: Options) -> dict[str, Any]:
    text = row.get("text", "")
    speaker = str(row.get("role") or row.get("speaker") or "")
    turn = {"role": role(speaker, options, otherwise="customer"), "text": text}
    turn |= {name: row[name] for name in ("at", "start", "end", "speaker") if name in row}
    return turn


def table(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """A table with a column for each field; objects as JSON, and nothing in it that a spreadsheet would run."""
    yield _line(COLUMNS[kind])
    for unit in units:
        for row in _rows(unit, kind):
            yield _line(_cell(row.get(name)) for name in COLUMNS[kind])


def outcome_table(found: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Outcomes belong to customers too, so they come without conversations."""
    yield _line(COLUMNS["outcomes"])
    for row in found:
        yield _line(_cell(row.get(name)) for name in COLUMNS["outcomes"])


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(in_order(value), ensure_ascii=False)
    return "" if value is None else safe(value)


def _line(cells: Iterable[Any]) -> bytes:
    made = io.StringIO()
    csv.writer(made, lineterminator="\r\n").writerow(cells)
    return made.getvalue().encode("utf-8", "backslashreplace")


EVERY = ("conversations", "labels", "predictions", "outcomes")
JSONL = Format(
    name="jsonl",
    title="cxlab's own rows, JSON Lines",
    version="the contract",
    ending="jsonl",
    entries=entries.objects("items"),
    reads=dict.fromkeys(EVERY, each(as_it_is)),
    writes=dict.fromkeys(EVERY[:3], rows),
)
CSV = Format(
    name="csv",
    title="Table (CSV)",
    version="RFC 4180, UTF-8, with a header",
    ending="csv",
    content_type="text/csv; charset=utf-8",
    entries=entries.table,
    reads={"conversations": table_conversations, **dict.fromkeys(EVERY[1:], each(typed))},
    writes=dict.fromkeys(EVERY[:3], table),
    fields=tuple(
        dict.fromkeys(
            [*COLUMNS["conversations"][:7], "role", "text", *COLUMNS["labels"][:6], "classifier", "version", "kind"]
        )
    ),
)
