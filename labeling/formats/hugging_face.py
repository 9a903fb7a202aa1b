"""Gold as a folder that `datasets.load_dataset(path)` loads: JSON Lines, a card, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labeling.formats.gold import GoldItem, Manifest, canonical

DATA = "data/gold.jsonl"


def write(items: Iterable[GoldItem], manifest: Manifest, folder: Path, *, card: dict[str, Any]) -> None:
    """Fill `folder`, which is made when missing; the data file has the canonical bytes, whose hash is the dataset's."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with (folder / DATA).open("wb") as file:
        for item in items:
            file.write(canonical(item))
    text = json.dumps(manifest.as_dict(), ensure_ascii=False, indent=2)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(manifest, card), encoding="utf-8")


def _card(manifest: Manifest, card: dict[str, Any]) -> str:
    """The dataset card: YAML that names the data file, then what a reader has to know."""
    size = next(
        name
        for most, name in ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**12, "100K<n<1M"))
        if manifest.items < most
    )
    header = [
        "---",
        f"pretty_name: {json.dumps(manifest.title, ensure_ascii=False)}",
        f"size_categories: [{json.dumps(size)}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        f"    path: {DATA}",
        "---",
    ]
    slices = [
        f"| {cell['channel']} | {cell['cohort']} | {cell['items']} | {cell['unresolved']} |"
        for cell in card.get("cells", [])
    ]
    body = [
        f"# {manifest.name}",
        "",
        f"{manifest.items} human-labelled items of the signal `{manifest.signal}` ({manifest.scale}, per {manifest.unit}), "
        f"aggregated by {manifest.aggregation}, frozen {manifest.frozen_at}.",
        "",
        f"sha256 of `{DATA}`: `{manifest.sha256}`",
        "",
        "Estimates from this sample need the weights 1 / `inclusion_probability`.",
        "",
        "| channel | cohort | items | left open |",
        "| --- | --- | --- | --- |",
        *slices,
        "",
    ]
    return "\n".join(header + body)
