"""JSON Lines, plain or gzipped, or one JSON array: bytes → numbered objects and errors, in constant memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from labeling.errors import RowError

LINE_LIMIT = 4 * 1024 * 1024
CHUNK = 256 * 1024
# A line this many times over the limit is no slip: reading stops, so that a compressed bomb does not keep us busy.
HOPELESS = 64
GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"


class ByteStream(Protocol):
    """Anything that gives its next bytes: a file, standard input, the body of a request."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Record:
    """One object of the input with its place: the line, or in a JSON array the element's number, 1-based."""

    line: int
    data: dict[str, Any]


class Unreadable(Exception):
    """The rest of the input cannot be read; `line` is where, if that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def records(
    stream: ByteStream,
    *,
    line_limit: int = LINE_LIMIT,
    total_limit: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Record | RowError]:
    """The objects of `stream` in order; what is wrong with one line comes in its place as a RowError.

    `total_limit` bounds the unpacked bytes; `progress` is told the number of (packed) bytes after each read.
    """
    try:
        chunks = _within(unpacked(stream, progress=progress), total_limit)
        first = _beginning(chunks, line_limit)
        if first.lstrip()[:1] == b"[":
            yield from _elements(_joined(first, chunks), line_limit)
        else:
            yield from _lines(_joined(first, chunks), line_limit)
    except Unreadable as error:
        yield RowError(error.line, None, str(error))


def _beginning(chunks: Iterator[bytes], limit: int) -> bytes:
    """The first bytes without their byte order mark, enough of them to see what they are: chunks may be tiny, or space."""
    first = b""
    while len(first) < limit and (len(first) < len(BOM) or first.removeprefix(BOM).isspace()):
        chunk = next(chunks, None)
        if chunk is None:
            break
        first += chunk
    return first.removeprefix(BOM)


def unpacked(stream: ByteStream, *, progress: Callable[[int], object] | None = None) -> Iterator[bytes]:
    """The bytes of `stream` in chunks, unzipped when they begin like gzip."""
    raw = _chunks(stream, progress)
    first = next(raw, b"")
    while len(first) < len(GZIP_MAGIC):
        more = next(raw, b"")
        if not more:
            break
        first += more
    joined = _joined(first, raw)
    return _unzipped(joined) if first.startswith(GZIP_MAGIC) else joined


def _chunks(stream: ByteStream, progress: Callable[[int], object] | None) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        if progress is not None:
            progress(len(chunk))
        yield chunk


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _unzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Members of a gzip stream, at most CHUNK unpacked bytes at a time, however well they were packed."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        for packed in chunks:
            data = packed
            while data:
                if unzip.eof:
                    unzip = zlib.decompressobj(wbits=31)
                yield unzip.decompress(data, CHUNK)
                data = unzip.unconsumed_tail or unzip.unused_data
    except zlib.error as error:
        raise Unreadable(f"the gzip data are damaged: {error}") from error
    if not unzip.eof:
        raise Unreadable("the gzip data are truncated: the compressed file ended before its end-of-stream mark")


def _within(chunks: Iterator[bytes], limit: int | None) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if limit is not None and total > limit:
            raise Unreadable(f"the input is larger than the limit of {_size(limit)}: send it in parts")
        yield chunk


def _lines(chunks: Iterator[bytes], limit: int) -> Iterator[Record | RowError]:
    number, tail, skipped = 1, b"", 0
    for chunk in chunks:
        pieces = chunk.split(b"\n")
        for piece in pieces[:-1]:
            if skipped or len(tail) + len(piece) > limit:
                yield _too_long(number, limit)
            else:
                yield from _parsed(tail + piece if tail else piece, number)
            number, tail, skipped = number + 1, b"", 0
        if skipped or len(tail) + len(pieces[-1]) > limit:
            skipped += len(tail) + len(pieces[-1])
            tail = b""
            if skipped > HOPELESS * limit:
                yield _too_long(number, limit)
                raise Unreadable(f"reading stopped in line {number}, which has no end")
        else:
            tail += pieces[-1]
    if skipped:
        yield _too_long(number, limit)
    else:
        yield from _parsed(tail, number)


def _too_long(number: int, limit: int) -> RowError:
    return RowError(number, None, f"the line is too long: longer than the limit of {_size(limit)}")


def _size(limit: int) -> str:
    return f"{limit // 1024 // 1024} MB" if limit >= 1024 * 1024 else f"{limit} bytes"


def _parsed(line: bytes, number: int) -> Iterator[Record | RowError]:
    """Nothing for an empty line."""
    if not line or line.isspace():
        return
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        yield RowError(number, None, f"is not UTF-8: the encoding is broken at byte {error.start + 1} of the line")
        return
    try:
        yield _checked(decoder.decode(text), number, _suspicious(text))
    except (ValueError, RecursionError) as error:
        yield RowError(number, None, _json_message(error))


def _json_message(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is not valid JSON: {error.msg} at character {error.pos + 1}"
    if isinstance(error, RecursionError):
        return "is not usable JSON: it is nested too deeply"
    return f"is not usable JSON: {error}"


class NotJson(float):
    """NaN or an infinity, which Python reads though JSON has no such number."""


decoder = json.JSONDecoder(parse_constant=NotJson)


def _suspicious(text: str) -> bool:
    """Whether a closer look is due: escapes for NUL or lone surrogates, NaN, Infinity, NUL itself."""
    return "\\u0000" in text or "\\ud" in text or "\\uD" in text or "NaN" in text or "Infinity" in text


def _checked(value: Any, number: int, closely: bool) -> Record | RowError:
    if not isinstance(value, dict):
        return RowError(number, None, f"must be a JSON object, is {_kind(value)}")
    if closely:
        for field, inner in value.items():
            reason = _unstorable(field) or _unstorable(inner)
            if reason:
                return RowError(number, str(field).replace("\0", "\\u0000"), reason)
    return Record(number, value)


def checked(value: Any, number: int) -> Record | RowError:
    """An entry that was not read line by line, as a record; a RowError where it is no object or cannot be stored."""
    return _checked(value, number, True)


def _unstorable(value: Any) -> str | None:
    """Why a database cannot keep `value`, if so."""
    if isinstance(value, str):
        if "\0" in value:
            return "has a NUL character (\\u0000), which cannot be stored"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "has half of a surrogate pair, which is no character"
    elif isinstance(value, NotJson):
        return f"has {float(value)}, which is not a JSON number: it must be finite"
    elif isinstance(value, dict):
        return next((why for pair in value.items() for part in pair if (why := _unstorable(part))), None)
    elif isinstance(value, list):
        return next((why for part in value if (why := _unstorable(part))), None)
    return None


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "a truth value", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), "something else")


def _elements(chunks: Iterator[bytes], limit: int) -> Iterator[Record | RowError]:
    """The elements of a JSON array, one at a time; the buffer holds about the element at hand."""
    decode = _Utf8(chunks)
    buffer = decode.more(1).lstrip()[1:]
    number = 0
    while True:
        buffer = decode.until_content(buffer)
        if number and buffer[:1] == ",":
            buffer = decode.until_content(buffer[1:])
            if buffer[:1] == "]":
                raise Unreadable(
                    f"is not valid JSON: a comma stands after the last element, {number}, of the array", number
                )
        elif number and buffer[:1] != "]":
            raise Unreadable(f"is not valid JSON: a comma or ] is missing after element {number} of the array", number)
        if buffer[:1] == "]":
            break
        number += 1
        value, buffer = _element(buffer, decode, number, limit)
        yield value
    if decode.until_content(buffer[1:]):
        yield RowError(None, None, "is not valid JSON: there is more after the end of the array")


def _element(buffer: str, decode: _Utf8, number: int, limit: int) -> tuple[Record | RowError, str]:
    while True:
        try:
            value, end = decoder.raw_decode(buffer)
        except (ValueError, RecursionError) as error:
            more = decode.more(max(len(buffer), 1)) if len(buffer) <= limit else ""
            if more:
                buffer += more
                continue
            if len(buffer) > limit:
                raise Unreadable(
                    f"element {number} of the array is broken or longer than {_size(limit)}", number
                ) from error
            raise Unreadable(f"element {number} of the array {_json_message(error)}", number) from error
        if end > limit:
            return RowError(number, None, f"the element is longer than the limit of {_size(limit)}"), buffer[end:]
        return _checked(value, number, _suspicious(buffer[:end])), buffer[end:]


class _Utf8:
    """Text from chunks of bytes; a character cut by a chunk's end waits for its rest."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def more(self, at_least: int) -> str:
        """The next characters, about `at_least` or more; fewer only at the end."""
        parts: list[str] = []
        got = 0
        while got < at_least:
            chunk = next(self._chunks, None)
            if chunk is None:
                if self._rest:
                    raise Unreadable("is not UTF-8: the encoding is broken at the end")
                break
            text = self._decoded(self._rest + chunk)
            parts.append(text)
            got += len(text)
        return "".join(parts)

    def until_content(self, buffer: str) -> str:
        """`buffer` without leading space, read on until there is something; empty at the end."""
        buffer = buffer.lstrip(" \t\r\n")
        while not buffer:
            text = self.more(1)
            if not text:
                return ""
            buffer = text.lstrip(" \t\r\n")
        return buffer

    def _decoded(self, data: bytes) -> str:
        try:
            self._rest = b""
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            if len(data) - error.start > 3 or error.reason != "unexpected end of data":
                raise Unreadable(f"is not UTF-8: the encoding is broken ({error.reason})") from error
            self._rest = data[error.start :]
            return data[: error.start].decode("utf-8")
