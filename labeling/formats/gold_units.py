"""Gold in the formats of other tools: each item a conversation with the one answer that was settled on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from labeling.formats import argilla, doccano, langfuse, openai_chat, phoenix
from labeling.formats.gold import GoldItem, Manifest, in_order
from labeling.formats.shapes import Format, Unit

FORMATS: dict[str, Format] = {
    one.name: one for one in (doccano.FORMAT, argilla.FORMAT, openai_chat.FORMAT, langfuse.FORMAT, phoenix.FORMAT)
}
NOT_CARRIED: dict[str, tuple[str, ...]] = {
    "doccano": (),
    "argilla": (),
    "openai-chat": ("votes", "stratum", "inclusion_probability", "attributes"),
    "langfuse": (),
    "phoenix": ("turns",),
}
"""What of a gold item has no place in a format."""


def chunks(items: Iterable[GoldItem], manifest: Manifest, format: str) -> Iterator[bytes]:
    """The bytes of a gold set. The dataset's name and hash stand in every record, since these formats have no header."""
    return FORMATS[format].writes["labels"](_units(items, manifest, format), "labels")


def _units(items: Iterable[GoldItem], manifest: Manifest, format: str) -> Iterator[Unit]:
    for item in items:
        yield Unit(_conversation(item), labels=[_label(item)], about=_about(item, manifest, format))


def _conversation(item: GoldItem) -> dict[str, Any]:
    row = {"id": item.conversation, "channel": item.channel, "cohort": item.cohort, "turns": item.turns}
    return row | ({"attributes": in_order(item.attributes)} if item.attributes else {})


def _label(item: GoldItem) -> dict[str, Any]:
    return {
        "conversation": item.conversation, "turn": item.turn, "signal": item.signal, "annotator": "gold",
        "value": item.value,
    }  # fmt: skip


def _about(item: GoldItem, manifest: Manifest, format: str) -> dict[str, Any]:
    about: dict[str, Any] = {"dataset": manifest.name, "dataset_sha256": manifest.sha256}
    if format == "openai-chat":
        return about | {"values": list(manifest.values)}
    votes: Any = in_order(item.votes)
    if format == "argilla":  # metadata of Argilla are single values
        votes = ", ".join(f"{value}: {count}" for value, count in votes.items())
    return about | {
        "votes": votes,
        "decided_by": item.decided_by,
        "stratum": item.stratum,
        "inclusion_probability": item.inclusion_probability,
        "text_sha256": item.text_sha256,
    }
