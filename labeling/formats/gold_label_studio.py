"""Gold as Label Studio tasks: the dialogue, and the gold value as a ground-truth annotation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from labeling.formats.gold import GoldItem, Manifest, in_order


def chunks(items: Iterable[GoldItem], manifest: Manifest) -> Iterator[bytes]:
    """One JSON array of tasks, a task a line."""
    yield b"[\n"
    between = b""
    for item in items:
        yield between + json.dumps(_task(item, manifest), ensure_ascii=False).encode("utf-8", "backslashreplace")
        between = b",\n"
    yield b"\n]\n"


def _task(item: GoldItem, manifest: Manifest) -> dict[str, Any]:
    data = {
        "id": item.id,
        "dialogue": [{"author": turn.get("role", ""), "text": turn.get("text", "")} for turn in item.turns],
        "turn": item.turn,
        "channel": item.channel,
        "cohort": item.cohort,
        "attributes": in_order(item.attributes),
        "votes": in_order(item.votes),
        "decided_by": item.decided_by,
        "stratum": item.stratum,
        "inclusion_probability": item.inclusion_probability,
        "text_sha256": item.text_sha256,
        "dataset": manifest.name,
        "dataset_sha256": manifest.sha256,
    }
    return {"data": data, "annotations": [{"ground_truth": True, "was_cancelled": False, "result": [_result(item)]}]}


def _result(item: GoldItem) -> dict[str, Any]:
    """Choices for categories, a number for interval scales; an answer on one turn is tied to its paragraph."""
    kind = "choices"
    value: dict[str, Any] = {"choices": item.value if isinstance(item.value, list) else [item.value]}
    if isinstance(item.value, int | float):
        kind, value = "number", {"number": item.value}
    if item.turn is not None:
        length = len(str(item.turns[item.turn].get("text", "")))
        value |= {"start": str(item.turn), "end": str(item.turn), "startOffset": 0, "endOffset": length}
    return {"from_name": item.signal, "to_name": "dialogue", "type": kind, "value": value}
