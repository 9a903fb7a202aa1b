"""Gold sets on their way out: one stream per format, the same hash from each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from labeling import gold
from labeling.errors import Refused
from labeling.formats import gold as formats
from labeling.formats import gold_csv, gold_label_studio, gold_parquet, gold_units, hugging_face
from labeling.models import DatasetVersion

STREAMED = {
    "jsonl": ("application/x-ndjson", "jsonl"),
    "csv": ("text/csv; charset=utf-8", "csv"),
    "parquet": ("application/vnd.apache.parquet", "parquet"),
    "label-studio": ("application/json", "json"),
    **{name: (one.content_type, one.ending) for name, one in gold_units.FORMATS.items()},
}
"""Format → content type and file ending."""
FORMATS = (*STREAMED, "hf")
NOT_CARRIED: dict[str, tuple[str, ...]] = {
    "csv": ("turns apart from each other",),
    "parquet": ("turn fields beyond role, text, at, start, end",),
    "label-studio": ("turn fields beyond role and text",),
    **gold_units.NOT_CARRIED,
}
"""What of a gold item has no place in a format."""
PIECE = 256 * 1024


def stream(*, version: DatasetVersion, format: str) -> Iterator[bytes]:
    """The bytes of a version in one of the streamed formats; raises Refused for another."""
    if format not in STREAMED:
        raise Refused("unknown_format", f"{format!r} is not one of {', '.join(STREAMED)}", field="format")
    items, manifest = gold.items(version), gold.manifest(version)
    if format == "csv":
        return gold_csv.chunks(items, manifest)
    if format == "label-studio":
        return gold_label_studio.chunks(items, manifest)
    if format in gold_units.FORMATS:
        return gold_units.chunks(items, manifest, format)
    if format == "parquet":
        return _parquet(version)
    return (formats.canonical(item) for item in items)


def _parquet(version: DatasetVersion) -> Iterator[bytes]:
    """Parquet ends with its index: it is written to a file first, then sent."""
    with TemporaryFile() as file:
        gold_parquet.write(gold.items(version), gold.manifest(version), file)
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece


def write(*, version: DatasetVersion, format: str, path: Path) -> None:
    """Write a file, or for `hf` a folder, so that a stop in the middle leaves nothing half under the final name."""
    beside = path.with_name(f".{path.name}.part")
    if format == "hf":
        shutil.rmtree(beside, ignore_errors=True)
        hugging_face.write(gold.items(version), gold.manifest(version), beside, card=version.card)
        shutil.rmtree(path, ignore_errors=True)
        beside.rename(path)
        return
    chunks = stream(version=version, format=format)
    with beside.open("wb") as file:
        copy(chunks, file)
    beside.replace(path)


def copy(chunks: Iterator[bytes], sink: BinaryIO) -> None:
    for chunk in chunks:
        sink.write(chunk)


def etag(*, version: DatasetVersion, format: str) -> str:
    """A strong tag: the same version in the same format is the same bytes, today and in a year."""
    return f'"{version.sha256}-{format}"'
