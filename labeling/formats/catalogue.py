"""Every format by its name, reading a file in one, and guessing which one a file is in."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from labeling.errors import RowError
from labeling.formats import (
    argilla,
    captions,
    contract,
    doccano,
    entries,
    label_studio,
    langfuse,
    openai_chat,
    phoenix,
    simulation,
    spans,
    whisper,
)
from labeling.formats.jsonl import ByteStream, Record, Unreadable
from labeling.formats.shapes import Entries, Format, Options, filled

FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        contract.JSONL, contract.CSV, label_studio.FORMAT, doccano.FORMAT, argilla.FORMAT, openai_chat.FORMAT,
        langfuse.FORMAT, phoenix.FORMAT, spans.FORMAT, whisper.FORMAT, captions.WEBVTT, captions.SRT, simulation.FORMAT,
    )
}  # fmt: skip
HEAD = 256 * 1024
SUBRIP = re.compile(r"^\s*\d+\s*\r?\n\s*\d{1,2}:\d{2}:\d{2}[,.]\d{1,3}\s*-->")


def read(stream: ByteStream, *, format: Format, kind: str, options: Options) -> Entries:
    """The rows of one kind in a file, each with its line, in the contract's form; errors come in their place."""
    for entry in format.reads[kind](fallen(stream, format=format, options=options), options):
        yield entry if isinstance(entry, RowError) else Record(entry.line, filled(entry.data, kind, options.given))


def fallen(stream: ByteStream, *, format: Format, options: Options) -> Entries:
    """The entries of a file; where it cannot be read on, that is the last of them."""
    try:
        yield from format.entries(stream, options)
    except Unreadable as error:
        yield RowError(None, None, str(error))


def guess(head: bytes, name: str = "") -> tuple[str, str]:
    """(format, kind) that a file most likely has, from its first bytes and its name; the person may say otherwise."""
    if head.startswith(entries.PARQUET_MAGIC):
        return "phoenix", "conversations"
    if head.startswith(entries.ZIP_MAGIC):
        return _member(head, name), "conversations"
    text = _text(head)
    if text.startswith("WEBVTT"):
        return "webvtt", "conversations"
    if SUBRIP.match(text):
        return "srt", "conversations"
    if text[:1] in ("{", "["):
        return _of_entry(_entry(text))
    header = text.partition("\n")[0]
    if "," not in header and not name.lower().removesuffix(".gz").endswith(".csv"):
        return "jsonl", "conversations"
    return "csv", _kind(dict.fromkeys(header.strip().split(","), ""))


def _text(head: bytes) -> str:
    found, _ = entries.beginning(_Unzipped(head), HEAD)
    return found.decode("utf-8", "ignore").removeprefix("\ufeff").lstrip()


class _Unzipped:
    """The first bytes of a file, unzipped as far as they reach."""

    def __init__(self, head: bytes) -> None:
        self._found = io.BytesIO(b"".join(entries.some_unzipped(head)))

    def read(self, size: int, /) -> bytes:
        return self._found.read(size)


def _member(head: bytes, name: str) -> str:
    """Of an archive, by the names of the files in it."""
    try:
        names = zipfile.ZipFile(io.BytesIO(head)).namelist()
    except zipfile.BadZipFile:  # only its beginning: the first member's name stands in its first header
        names = [head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("utf-8", "replace")]
    endings = {one.rpartition(".")[2].lower() for one in names}
    return "webvtt" if "vtt" in endings else "srt" if "srt" in endings else "whisper"


def _entry(text: str) -> Mapping[str, Any]:
    """The first entry of a JSON file, or, where it does not end within the text, its names with nothing behind them."""
    decode = json.JSONDecoder().raw_decode
    start = text[1:].lstrip() if text.startswith("[") else text
    try:
        found = decode(start)[0]
    except (ValueError, RecursionError):
        return dict.fromkeys(re.findall(r'"([\w.]+)"\s*:', start[:65536]))
    return found if isinstance(found, dict) else {}


def _of_entry(entry: Mapping[str, Any]) -> tuple[str, str]:
    for listed in ("results", "test_cases"):
        if listed in entry:
            return "simulation", "conversations"
    if isinstance(entry.get("data"), list) and entry["data"] and isinstance(entry["data"][0], dict):
        entry = entry["data"][0]
    given = set(entry)
    for name, tell in _TELLTALE:
        if tell(given):
            return name, _kind_of(name, entry)
    return "jsonl", _kind(entry)


_TELLTALE = (
    ("simulation", lambda given: {"persona", "transcript"} <= given),
    ("openinference", lambda given: bool({"resourceSpans", "resource_spans"} & given)),
    ("phoenix", lambda given: "annotator_kind" in given or "context.span_id" in given),
    ("openinference", lambda given: ("context" in given and bool({"attributes", "span_kind"} & given))
        or {"trace_id", "span_id", "attributes"} <= given),
    ("whisper", lambda given: bool({"segments", "transcription"} & given)),
    ("langfuse", lambda given: bool({"traceId", "expectedOutput", "expected_output", "traces", "observations"} & given)
        or {"source", "name", "trace_id"} <= given or {"input", "output", "timestamp"} <= given),
    ("label-studio", lambda given: bool({"annotations", "predictions"} & given) or "data" in given),
    ("argilla", lambda given: any(".responses" in one or ".suggestion" in one for one in given)
        or {"fields", "responses"} <= given or {"_server_id", "status"} <= given or {"dialogue", "status"} <= given),
    ("openai-chat", lambda given: "messages" in given),
    ("doccano", lambda given: "text" in given and not {"turns", "signal"} & given),
)  # fmt: skip


def _kind_of(name: str, entry: Mapping[str, Any]) -> str:
    if name == "phoenix" and "annotator_kind" in entry:
        return "labels" if str(entry["annotator_kind"]).upper() == "HUMAN" else "predictions"
    if name == "langfuse" and "source" in entry and "name" in entry and "input" not in entry:
        return "labels" if str(entry["source"]).upper() == "ANNOTATION" else "predictions"
    return "conversations"


def _kind(entry: Mapping[str, Any]) -> str:
    """The kind of a row of the contract, by its fields."""
    if "classifier" in entry:
        return "predictions"
    if "annotator" in entry or ("signal" in entry and "value" in entry):
        return "labels"
    return "outcomes" if "kind" in entry and "value" in entry else "conversations"
