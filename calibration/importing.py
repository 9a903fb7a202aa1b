"""A file that somebody brings to the import page: kept on disk, understood in part, then loaded whole."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import transaction

from calibration import ingest
from labeling import ingest as labeling_ingest
from labeling.errors import NotFound, RowError
from labeling.formats import jsonl
from labeling.loading import Loaded
from labeling.models import User

KINDS: dict[str, Callable[..., Loaded]] = {
    "conversations": ingest.conversations,
    "labels": labeling_ingest.labels,
    "predictions": ingest.predictions,
    "outcomes": ingest.outcomes,
}
# What a person sees of a row in the preview; what else it has is named in the last column.
COLUMNS = {
    "conversations": ("id", "channel", "cohort", "customer", "started_at", "turns"),
    "labels": ("conversation", "turn", "signal", "annotator", "value"),
    "predictions": ("conversation", "turn", "classifier", "version", "value", "probabilities"),
    "outcomes": ("conversation", "customer", "kind", "value", "at"),
}
PREVIEWED = 10
KEPT_SECONDS = 24 * 3600
SALT = "cxlab.import"


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One row as it was understood: its line, its cells, the names of its further fields."""

    line: int
    cells: list[str]
    more: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of a file, and what is wrong with them."""

    columns: tuple[str, ...]
    rows: list[PreviewRow]
    errors: list[RowError]


def keep(*, chunks: Iterable[bytes], name: str, user: User) -> str:
    """Write an upload to disk as it comes; gives the key with which its owner finds it again for a day."""
    folder = Path(settings.VAR) / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    _forget_old(folder)
    stored = uuid.uuid4().hex
    with (folder / stored).open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return signing.dumps([stored, user.id, name[:200]], salt=SALT)


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - KEPT_SECONDS:
            path.unlink(missing_ok=True)


def kept(*, key: str, user: User) -> tuple[Path, str]:
    """The file behind a key and the name it came with; NotFound for strangers, after a day, and once it was loaded."""
    try:
        stored, owner, name = signing.loads(key, salt=SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature:
        stored, owner, name = "", None, ""
    path = Path(settings.VAR) / "uploads" / str(stored)
    if owner != user.id or not path.is_file():
        raise NotFound("unknown_upload", "the file is not here any more: choose it again", field="file")
    return path, str(name)


def preview(*, path: Path, kind: str) -> Preview:
    """The first ten rows as `load` understands them: they are loaded and taken back."""
    with path.open("rb") as stream:
        first = list(islice(jsonl.records(stream), PREVIEWED))
    with transaction.atomic():
        loaded = KINDS[kind](records=first, partial=True)
        transaction.set_rollback(True)
    rows = [_row(record, COLUMNS[kind]) for record in first if isinstance(record, jsonl.Record)]
    return Preview(COLUMNS[kind], rows, loaded.errors)


def _row(record: jsonl.Record, columns: tuple[str, ...]) -> PreviewRow:
    cells = [_cell(name, record.data.get(name)) for name in columns]
    return PreviewRow(record.line, cells, ", ".join(name for name in record.data if name not in columns))


def _cell(name: str, value: Any) -> str:
    if name == "turn" and value is None:
        return "whole"
    if name == "turns" and isinstance(value, list):
        first = value[0].get("text", "") if value and isinstance(value[0], dict) else ""
        return f"{len(value)}: {str(first)[:80]}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())[:120]
    if isinstance(value, list):
        return ", ".join(map(str, value))[:120]
    return "" if value is None else str(value)[:120]


def load(*, path: Path, kind: str) -> Loaded:
    """Load the file, all of it or nothing, and let go of it once it is stored."""
    with path.open("rb") as stream:
        loaded = KINDS[kind](records=jsonl.records(stream))
    path.unlink(missing_ok=True)
    return loaded
