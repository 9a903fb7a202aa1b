"""Gold as Parquet: typed columns, a row group at a time, the manifest in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from labeling.formats.gold import GoldItem, Manifest, batches, in_order

GROUP = 2000
TURN = pa.struct(
    [("role", pa.string()), ("text", pa.string()), ("at", pa.string()), ("start", pa.float64()), ("end", pa.float64())]
)
VALUE = {"interval": pa.float64(), "multilabel": pa.list_(pa.string())}


def write(items: Iterable[GoldItem], manifest: Manifest, sink: BinaryIO) -> None:
    """Write the whole file to `sink`; memory holds one row group of 2,000 items."""
    schema = _schema(manifest)
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches(items, GROUP):
            rows = [_row(item) for item in batch]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _schema(manifest: Manifest) -> Any:
    fields = [
        ("id", pa.string()),
        ("conversation", pa.string()),
        ("turn", pa.int32()),
        ("signal", pa.string()),
        ("value", VALUE.get(manifest.scale, pa.string())),
        ("votes", pa.map_(pa.string(), pa.int32())),
        ("annotators", pa.int32()),
        ("decided_by", pa.string()),
        ("channel", pa.string()),
        ("cohort", pa.string()),
        ("attributes", pa.string()),
        ("stratum", pa.string()),
        ("inclusion_probability", pa.float64()),
        ("text_sha256", pa.string()),
        ("turns", pa.list_(TURN)),
    ]
    document = manifest.as_dict(not_carried=["turn fields beyond role, text, at, start, end"])
    metadata = {b"cxlab": json.dumps(document, ensure_ascii=False).encode(), b"sha256": manifest.sha256.encode()}
    return pa.schema([pa.field(name, kind) for name, kind in fields], metadata=metadata)


def _row(item: GoldItem) -> dict[str, Any]:
    row = item.as_dict()
    row["value"] = float(item.value) if isinstance(item.value, int | float) else item.value
    row["votes"] = list(row["votes"].items())
    row["attributes"] = json.dumps(in_order(item.attributes), ensure_ascii=False)
    row["turns"] = [{name: turn.get(name) for name in ("role", "text", "at", "start", "end")} for turn in item.turns]
    return row
