"""Real conversations with real labels and predictions through every format, without a database."""

from __future__ import annotations

import gzip
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from labeling.errors import RowError
from labeling.formats import catalogue
from labeling.formats.shapes import Options, Unit
from tests.labeling.test_formats import LOSSLESS, plain, rows

REAL = ("harpervalley", "empathy", "tdeval", "alttest_cebab", "airline", "stc3")
TAKEN = 40
"""Conversations of a real set that the tests take, spread over all of it."""


def real_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Conversations spread over a real set, and what was said of them."""
    known: dict[str, list[dict[str, Any]]] = {}
    for kind in ("conversations", "labels", "predictions"):
        with gzip.open(folder / f"{kind}.jsonl.gz", "rt", encoding="utf-8") as file:
            known[kind] = [json.loads(line) for line in file]
    every = known["conversations"]
    taken = {row["id"] for row in every[:: max(len(every) // TAKEN, 1)]}
    return {
        kind: [row for row in rows if row.get("conversation", row.get("id")) in taken] for kind, rows in known.items()
    }


@pytest.mark.parametrize("name", REAL)
def test_real_data_come_back(name: str, shared: Path) -> None:
    """Of a real set through every format; what a format says that it drops is left out of the comparison."""
    folder = shared / "data" / name
    scales = {one["slug"]: one["scale"] for one in yaml.safe_load((folder / "signals.yaml").read_text())}
    known = real_rows(folder)
    home = {row["id"]: row for row in known["conversations"]}
    for format_name, kind in LOSSLESS:
        format = catalogue.FORMATS[format_name]
        mine: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in known[kind]:
            if not (format_name == "simulation" and row.get("turn") is not None):
                mine[row.get("conversation", row.get("id"))].append(row)
        units = [Unit(home[key], **({} if kind == "conversations" else {kind: its})) for key, its in mine.items()]
        body = b"".join(format.writes[kind](units, kind))
        said = Options(name=f"x.{format.ending}", scales=scales)
        found = list(catalogue.read(io.BytesIO(body), format=format, kind=kind, options=said))
        wrong = [one for one in found if isinstance(one, RowError)]
        assert wrong == [], (format_name, kind)
        want = sorted(plain(row) for its in mine.values() for row in its)
        assert sorted(plain(one.data) for one in found) == want, (format_name, kind)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", REAL)
def test_real_data_keep_their_words_as_subtitles(name: str, shared: Path) -> None:
    """SRT has no place for more than ids, roles, words and times; those come back, and a turn without words is a dash."""
    known = real_rows(shared / "data" / name)["conversations"]
    body = b"".join(catalogue.FORMATS["srt"].writes["conversations"](map(Unit, known), "conversations"))
    found = {row["id"]: row for row in rows(body, "srt", "conversations", file="x.zip")}
    assert {key: _words_of(row) for key, row in found.items()} == {row["id"]: _words_of(row) for row in known}


def _words_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn["role"], " ".join(turn["text"].split()) or "–") for turn in row["turns"]]
