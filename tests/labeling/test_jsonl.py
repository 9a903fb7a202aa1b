"""JSON Lines in constant memory, whatever somebody sends."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.errors import RowError
from labeling.formats import jsonl
from labeling.formats.jsonl import Record


class Generated:
    """A stream made while it is read, so that the test itself holds nothing."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts

    def read(self, size: int, /) -> bytes:
        return next(self.parts, b"")


class Dripping(io.BytesIO):
    """One byte a read: every place is a chunk's end once."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1)


def read(data: bytes, **limits: Any) -> list[Record | RowError]:
    return list(jsonl.records(io.BytesIO(data), **limits))


def places(found: list[Record | RowError]) -> list[tuple[str, int | None]]:
    return [(type(one).__name__, one.line) for one in found]


def test_it_works() -> None:
    assert read(b'{"a": 1}\r\n\n  {"b": "\xc3\xa9"}') == [Record(1, {"a": 1}), Record(3, {"b": "é"})]


def test_bad_lines_are_told_in_their_place_and_the_rest_is_read() -> None:
    found = read(b'{"a": 1}\n{broken\n[1]\n"\xff"\n{"a": NaN}\n{"a": {"b": ["\\u0000"]}}\n{"a": "\\ud800"}\n{"a": 2}\n')
    assert places(found) == [("Record", 1), *(("RowError", line) for line in range(2, 8)), ("Record", 8)]
    assert [one.field for one in found[1:7]] == [None, None, None, "a", "a", "a"]


def test_an_escaped_backslash_is_no_nul() -> None:
    assert read(b'{"a": "\\\\u0000", "b": "NaN"}') == [Record(1, {"a": "\\u0000", "b": "NaN"})]


def test_a_line_over_the_limit_is_told_and_skipped() -> None:
    long = b'{"a": "' + b"x" * 200 + b'"}'
    assert places(read(long + b'\n{"a": 1}\n' + long, line_limit=100)) == [
        ("RowError", 1),
        ("Record", 2),
        ("RowError", 3),
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_200_megabytes_is_never_in_memory(packed: bool) -> None:
    piece = b"x" * 1024 * 1024
    compressor = __import__("zlib").compressobj(wbits=31)

    def parts() -> Iterator[bytes]:
        whole = [b'{"a": "', *(piece for _ in range(200)), b'"}\n{"a": 1}\n']
        if not packed:
            yield from whole
            return
        for part in whole:
            if squeezed := compressor.compress(part):
                yield squeezed
        yield compressor.flush()

    tracemalloc.start()
    found = list(jsonl.records(Generated(parts())))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert places(found) == [("RowError", 1), ("Record", 2)]
    assert peak < 24 * 1024 * 1024


def test_a_bomb_is_given_up() -> None:
    found = read(gzip.compress(b"[" * 100_000), line_limit=1000)
    assert isinstance(found[-1], RowError)
    found = read(gzip.compress(b'{"a' + b" " * 100_000), line_limit=1000)
    assert found[-1].line is None
    assert "larger than the limit" in read(gzip.compress(b"\n" * 100_000), total_limit=50_000)[-1].message


def test_gzip_members_damage_and_truncation() -> None:
    two = gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"a": 2}\n')
    assert places(read(two)) == [("Record", 1), ("Record", 2)]
    assert places(read(two[:-6]))[-1] == ("RowError", None)
    assert "truncated" in read(gzip.compress(b'{"a": 1}\n' * 50)[:-9])[-1].message
    damaged = bytearray(gzip.compress(json.dumps({"a": list(range(500))}).encode()))
    damaged[60] ^= 0xFF
    assert read(bytes(damaged))[-1].line is None


def test_a_json_array_is_read_by_elements() -> None:
    assert read(b' [ {"a": 1} ,\n{"a": 2}]\n') == [Record(1, {"a": 1}), Record(2, {"a": 2})]
    assert places(read(b'[{"a": 1}, 5, {"a": 3}]')) == [("Record", 1), ("RowError", 2), ("Record", 3)]
    for broken in (b"[", b'[{"a": 1}', b'[{"a": 1} {"a": 2}]', b'[{"a": 1},]', b'[{"a": 1}] x', b'[{"a": 1}, {"a"'):
        assert isinstance(read(broken)[-1], RowError), broken
    assert read(b"[]") == read(b"") == []


_JSON = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20) | st.none(), max_size=4)


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


@given(
    rows=st.lists(
        _JSON.filter(lambda row: all(_storable(str(part)) for pair in row.items() for part in pair)), max_size=6
    ),
    array=st.booleans(),
    packed=st.booleans(),
    dripping=st.booleans(),
    escaped=st.booleans(),
)
def test_what_is_written_is_read_however_it_is_cut(
    rows: list[dict[str, Any]], array: bool, packed: bool, dripping: bool, escaped: bool
) -> None:
    parts = [json.dumps(row, ensure_ascii=escaped) for row in rows]
    data = (f"[{', '.join(parts)}]" if array else "\n".join(parts)).encode()
    data = gzip.compress(data) if packed else data
    stream = Dripping(data) if dripping else io.BytesIO(data)
    assert list(jsonl.records(stream)) == [Record(number, row) for number, row in enumerate(rows, 1)]
