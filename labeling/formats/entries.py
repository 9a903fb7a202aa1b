"""How the bytes of a file fall into entries: lines, arrays, one document, a table, an archive of documents."""

from __future__ import annotations

import codecs
import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labeling.errors import RowError
from labeling.formats import jsonl
from labeling.formats.jsonl import ByteStream, Unreadable
from labeling.formats.shapes import Entries, Options

DOCUMENT_LIMIT = 64 * 1024 * 1024
MEMBERS = 100_000
ZIP_MAGIC, PARQUET_MAGIC = b"PK\x03\x04", b"PAR1"
ROWS = 1000


class Rewound:
    """A stream whose first bytes were looked at, from its beginning again."""

    def __init__(self, first: bytes, rest: ByteStream) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int, /) -> bytes:
        if not self._first:
            return self._rest.read(size)
        piece, self._first = self._first[:size], self._first[size:]
        return piece


def beginning(stream: ByteStream, size: int) -> tuple[bytes, ByteStream]:
    """The first `size` bytes, fewer where there are no more, and the stream from its beginning."""
    first = b""
    while len(first) < size and (piece := stream.read(size - len(first))):
        first += piece
    return first, Rewound(first, stream)


def objects(*wrappers: str) -> Callable[[ByteStream, Options], Entries]:
    """JSON Lines or an array, streamed; or one document in which one of `wrappers` names the list, or which is the entry."""

    def read(stream: ByteStream, options: Options) -> Entries:
        first, whole = beginning(stream, 64 * 1024)
        if _one_document(first, wrappers):
            yield from _in_document(whole, wrappers)
        else:
            yield from jsonl.records(whole)

    return read


def _one_document(first: bytes, wrappers: tuple[str, ...]) -> bool:
    """Whether an object goes on after its first line, or wraps a list of the entries."""
    if first.startswith(jsonl.GZIP_MAGIC):
        first = b"".join(some_unzipped(first))
    text = first.removeprefix(jsonl.BOM).lstrip()
    if not text.startswith(b"{"):
        return False
    head, newline, _ = text.partition(b"\n")
    try:
        found = json.loads(head)
    except (ValueError, RecursionError):
        # A first line longer than what was read is a long entry, one that breaks off sooner is an indented document.
        return bool(newline) and not head.rstrip().endswith(b"}")
    return isinstance(found, dict) and any(isinstance(found.get(name), list) for name in wrappers)


def some_unzipped(first: bytes) -> Iterator[bytes]:
    """As much of the beginning of a file as can be unzipped; all of it where it is not gzipped."""
    try:
        yield from jsonl.unpacked(io.BytesIO(first))
    except Unreadable:
        return


def _in_document(stream: ByteStream, wrappers: tuple[str, ...]) -> Entries:
    found = document(stream)
    if isinstance(found, RowError):
        yield found
        return
    listed = next(
        (found[name] for name in wrappers if isinstance(found, dict) and isinstance(found.get(name), list)), None
    )
    for number, entry in enumerate([found] if listed is None else listed, 1):
        yield jsonl.checked(entry, number)


def document(stream: ByteStream) -> Any:
    """The whole of a JSON file; a RowError where it is none, or larger than 64 MB."""
    body = text(stream)
    if isinstance(body, RowError):
        return body
    try:
        return jsonl.decoder.decode(body)
    except json.JSONDecodeError as error:
        return RowError(error.lineno, None, f"is not valid JSON: {error.msg} at character {error.colno}")
    except (ValueError, RecursionError) as error:
        return RowError(None, None, f"is not usable JSON: {error or 'it is nested too deeply'}")


def text(stream: ByteStream) -> Any:
    """The whole of a text file in UTF-8 without its byte order mark; a RowError where it is none, or larger than 64 MB."""
    pieces, size = [], 0
    try:
        for piece in jsonl.unpacked(stream):
            size += len(piece)
            if size > DOCUMENT_LIMIT:
                return RowError(None, None, f"the file is larger than the limit of {DOCUMENT_LIMIT // 1024 // 1024} MB")
            pieces.append(piece)
    except Unreadable as error:
        return RowError(None, None, str(error))
    body = b"".join(pieces)
    try:
        found = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        return RowError(line, None, f"is not UTF-8: the encoding is broken at byte {error.start + 1} of the file")
    if "\0" in found:
        line = found.count("\n", 0, found.index("\0")) + 1
        return RowError(line, None, "has a NUL character, which cannot be stored")
    return found


def documents(parse: Callable[[str, Options], Entries]) -> Callable[[ByteStream, Options], Entries]:
    """One document a file, or a ZIP archive of such files; `parse` gets the text of each, with its name as an option."""

    def read(stream: ByteStream, options: Options) -> Entries:
        first, whole = beginning(stream, len(ZIP_MAGIC))
        if first != ZIP_MAGIC:
            yield from _parsed(whole, options, parse)
            return
        with tempfile.TemporaryFile() as file:
            _spool(whole, file)
            yield from _members(file, options, parse)

    return read


def _spool(stream: ByteStream, file: Any) -> None:
    """The whole stream on disk: archives and Parquet have their index at their end."""
    while piece := stream.read(jsonl.CHUNK):
        file.write(piece)


def _parsed(stream: ByteStream, options: Options, parse: Callable[[str, Options], Entries]) -> Entries:
    body = text(stream)
    yield from iter([body]) if isinstance(body, RowError) else parse(body, options)


def _members(file: Any, options: Options, parse: Callable[[str, Options], Entries]) -> Entries:
    try:
        archive = zipfile.ZipFile(file)
        names = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
        if len(names) > MEMBERS:
            raise Unreadable(f"the archive has {len(names)} files: at most {MEMBERS} can be read at once")
        for number, one in enumerate(names, 1):
            inside = Options(one.filename, options.given, options.renamed, options.scales, options.whose)
            with archive.open(one) as member:
                for entry in _parsed(member, inside, parse):
                    if isinstance(entry, RowError):
                        yield RowError(entry.line or number, entry.field, f"{one.filename}: {entry.message}")
                    else:
                        yield entry
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, Unreadable) as error:
        yield RowError(None, None, f"the archive is damaged or not usable: {error}")


def table(stream: ByteStream, options: Options) -> Entries:
    """CSV with a header: each row an entry of texts, empty cells left out; numbered by its first line in the file."""
    lines = _Lines(stream)
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            yield RowError(1, twice[0], "stands twice in the header")
            return
        missing = [path for path in options.renamed.values() if path not in header]
        if missing:
            yield RowError(1, missing[0], f"is no column of this file: it has {', '.join(header)}")
            return
        before = reader.line_num
        for cells in reader:
            number, before = before + 1, reader.line_num
            if not cells:
                continue
            if len(cells) != len(header):
                yield RowError(number, None, f"has {len(cells)} cells, the header has {len(header)}")
                continue
            found = {name: _plain(cell) for name, cell in zip(header, cells, strict=True) if cell != ""}
            yield jsonl.checked(found, number)
    except (csv.Error, Unreadable, UnicodeDecodeError) as error:
        yield RowError(max(reader.line_num, lines.number), None, f"is not usable CSV: {error}")


def _plain(cell: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from running a cell."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", "\t", "\r", "\n") else cell


class _Lines:
    """The lines of a stream as text, each with its end; one longer than the limit is refused."""

    def __init__(self, stream: ByteStream) -> None:
        self.number = 0
        self._lines = self._read(jsonl.unpacked(stream))

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if "\0" in line:
            raise Unreadable("has a NUL character, which cannot be stored")
        return line

    @staticmethod
    def _read(chunks: Iterator[bytes]) -> Iterator[str]:
        decode = codecs.getincrementaldecoder("utf-8-sig")()
        tail = ""
        while True:
            chunk = next(chunks, None)
            try:
                text = decode.decode(chunk or b"", final=chunk is None)
            except UnicodeDecodeError as error:
                raise Unreadable("the encoding is broken: it is not UTF-8") from error
            *whole, tail = (tail + text).split("\n")
            yield from (line + "\n" for line in whole)
            if len(tail) > jsonl.LINE_LIMIT:
                raise Unreadable(f"a line is longer than the limit of {jsonl.LINE_LIMIT // 1024 // 1024} MB")
            if chunk is None:
                if tail:
                    yield tail
                return


def frames(otherwise: Callable[[ByteStream, Options], Entries]) -> Callable[[ByteStream, Options], Entries]:
    """The rows of a Parquet file, or, where it is none, the entries of `otherwise`."""

    def read(stream: ByteStream, options: Options) -> Entries:
        first, whole = beginning(stream, len(PARQUET_MAGIC))
        if first != PARQUET_MAGIC:
            yield from otherwise(whole, options)
            return
        with tempfile.TemporaryFile() as file:
            _spool(whole, file)
            yield from _parquet(file)

    return read


def _parquet(file: Any) -> Entries:
    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS):
            for row in batch.to_pylist():
                number += 1
                yield jsonl.checked(_json(row), number)
    except (pa.ArrowException, OSError, ValueError) as error:
        yield RowError(number or None, None, f"is not usable Parquet: {error}")


def _json(value: Any) -> Any:
    """Values of a data frame as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _json(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple | np.ndarray):
        return [_json(inner) for inner in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
