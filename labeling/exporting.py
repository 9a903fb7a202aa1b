"""Gold sets on their way out: one stream per format, the same hash from each."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from labeling import gold
from labeling.errors import Refused
from labeling.formats import gold as formats
from labeling.formats import gold_csv, gold_label_studio, gold_parquet, gold_units, hugging_face
from labeling.models import DatasetVersion
from labeling.personal import Mask
from labeling.privacy import NOTHING

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


def masked(items: Iterable[formats.GoldItem], mask: Mask) -> Iterator[formats.GoldItem]:
    """Gold as it may leave: texts masked, and each text's hash that of the text that goes out, since the hash of the
    original would tell a masked number to whoever tries them all. Values, votes, slices and probabilities stay."""
    for item in items:
        if mask.kinds:
            turns = [mask.turn(turn) for turn in item.turns]
            item = replace(
                item,
                turns=turns,
                attributes=mask.data(item.attributes),
                text_sha256=formats.text_sha256(turns, item.turn),
            )
        yield item


def stream(*, version: DatasetVersion, format: str, mask: Mask = NOTHING) -> Iterator[bytes]:
    """The bytes of a version in one of the streamed formats; raises Refused for another."""
    if format not in STREAMED:
        raise Refused("unknown_format", f"{format!r} is not one of {', '.join(STREAMED)}", field="format")
    items, manifest = masked(gold.items(version), mask), manifest_of(version, mask)
    if format == "csv":
        return gold_csv.chunks(items, manifest)
    if format == "label-studio":
        return gold_label_studio.chunks(items, manifest)
    if format in gold_units.FORMATS:
        return gold_units.chunks(items, manifest, format)
    if format == "parquet":
        return _parquet(version, mask)
    return (formats.canonical(item) for item in items)


def _parquet(version: DatasetVersion, mask: Mask) -> Iterator[bytes]:
    """Parquet ends with its index: it is written to a file first, then sent."""
    with TemporaryFile() as file:
        gold_parquet.write(masked(gold.items(version), mask), manifest_of(version, mask), file)
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece


def manifest_of(version: DatasetVersion, mask: Mask) -> formats.Manifest:
    """What the export says of the version; a masked one says so."""
    return replace(gold.manifest(version), masked=mask.kinds)


def write(*, version: DatasetVersion, format: str, path: Path, mask: Mask = NOTHING) -> None:
    """Write a file, or for `hf` a folder, so that a stop in the middle leaves nothing half under the final name."""
    beside = path.with_name(f".{path.name}.part")
    if format == "hf":
        shutil.rmtree(beside, ignore_errors=True)
        hugging_face.write(masked(gold.items(version), mask), manifest_of(version, mask), beside, card=version.card)
        shutil.rmtree(path, ignore_errors=True)
        beside.rename(path)
        return
    chunks = stream(version=version, format=format, mask=mask)
    with beside.open("wb") as file:
        copy(chunks, file)
    beside.replace(path)


def copy(chunks: Iterator[bytes], sink: BinaryIO) -> None:
    for chunk in chunks:
        sink.write(chunk)


def etag(*, version: DatasetVersion, format: str, mask: Mask = NOTHING) -> str:
    """A strong tag: the same version in the same format is the same bytes, today and in a year."""
    masks = f"-masked-{'-'.join(mask.kinds)}-{mask.region}" if mask.kinds else ""
    return f'"{version.sha256}-{format}{masks}"'
