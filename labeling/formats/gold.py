"""Gold as it leaves: the item and the manifest that every export format is made of, and the canonical line and hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TURN_FIELDS = ("role", "text", "at", "start", "end")

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class GoldItem:
    """One resolved unit in the contract's form: `turn` is None for a whole conversation, `value` a code, list or number."""

    id: str
    conversation: str
    turn: int | None
    signal: str
    value: Any
    votes: dict[str, int]
    annotators: int
    decided_by: str
    channel: str
    cohort: str
    attributes: dict[str, Any]
    stratum: str
    inclusion_probability: float
    text_sha256: str
    turns: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The contract's object, its keys in the contract's order and those of free-form parts sorted."""
        return {
            "id": self.id,
            "conversation": self.conversation,
            "turn": self.turn,
            "signal": self.signal,
            "value": self.value,
            "votes": in_order(self.votes),
            "annotators": self.annotators,
            "decided_by": self.decided_by,
            "channel": self.channel,
            "cohort": self.cohort,
            "attributes": in_order(self.attributes),
            "stratum": self.stratum,
            "inclusion_probability": self.inclusion_probability,
            "text_sha256": self.text_sha256,
            "turns": [_turn(turn) for turn in self.turns],
        }

    def text(self) -> str:
        """The turns as one readable text."""
        return "\n".join(f"{turn.get('role', '')}: {turn.get('text', '')}" for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is said of a dataset version in the metadata of every format; nothing in it depends on when it is exported."""

    dataset: str
    number: int
    title: str
    signal: str
    scale: str
    unit: str
    values: tuple[str, ...]
    sha256: str
    items: int
    frozen_at: str
    aggregation: str
    masked: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.dataset}@{self.number}"

    def as_dict(self, *, not_carried: Iterable[str] = ()) -> dict[str, Any]:
        return {
            "dataset": self.name,
            "sha256": self.sha256,
            "title": self.title,
            "signal": self.signal,
            "scale": self.scale,
            "unit": self.unit,
            "values": list(self.values),
            "items": self.items,
            "aggregation": self.aggregation,
            "frozen_at": self.frozen_at,
            "not_carried": list(not_carried),
        } | ({"masked": list(self.masked)} if self.masked else {})


def unit_id(conversation: str, turn: int | None) -> str:
    """The id of a unit: the conversation's, with `#index` for a turn of it."""
    return conversation if turn is None else f"{conversation}#{turn}"


def canonical(item: GoldItem) -> bytes:
    """The line over which the hash goes. A lone surrogate, which UTF-8 does not have, stays the JSON escape that it was."""
    return (_encode(item.as_dict()) + "\n").encode("utf-8", "backslashreplace")


def sha256(items: Iterable[GoldItem]) -> str:
    """The hash of a dataset version: over its canonical lines, one after the other."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(canonical(item))
    return digest.hexdigest()


def text_sha256(turns: list[dict[str, Any]], turn: int | None) -> str:
    """The hash of what was judged: the texts of all turns, one a line, or the text of the one turn."""
    asked = turns if turn is None else turns[turn : turn + 1]
    text = "\n".join(str(each.get("text", "")) for each in asked)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def batches(items: Iterable[GoldItem], size: int) -> Iterator[list[GoldItem]]:
    """`items` in lists of `size`, so that a writer holds one of them at a time."""
    batch: list[GoldItem] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def in_order(value: Any) -> Any:
    """The same value with the keys of every object sorted: a database may hand them back in an order of its own."""
    if isinstance(value, Mapping):
        return {key: in_order(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [in_order(each) for each in value]
    return value


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    known = {field: turn[field] for field in TURN_FIELDS if field in turn}
    if len(known) < len(turn):
        known |= in_order({key: each for key, each in turn.items() if key not in known})
    return known
