"""Slices by name: `{"channel": "voice"}` as a key in the database and as words for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeVar

FIRST = ("channel", "cohort")
Key = TypeVar("Key", str, tuple[str, ...])


def slice_of(by: Sequence[str], place: Sequence[str]) -> dict[str, str]:
    """The slice at a place: dimension → value."""
    return dict(zip(by, place, strict=True))


def key(part: Mapping[str, str]) -> str:
    """The canonical text of a slice, the same however it was written."""
    return json.dumps(dict(sorted(part.items())), ensure_ascii=False, separators=(",", ":"))[:400] if part else ""


def overlap(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a conversation can lie in both."""
    return all(other.get(name, value) == value for name, value in one.items())


def largest(sizes: Mapping[Key, int], most: int) -> list[Key]:
    """The keys of the largest sizes, in order of the keys; of equal ones the first come first."""
    return sorted(sorted(sizes, key=lambda key: (-sizes[key], key))[:most])


def words(part: Mapping[str, str], everything: str = "all conversations") -> str:
    """`voice, trial`: channel and cohort first, in whatever order a database gives a mapping back."""
    order = sorted(part, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return ", ".join(str(part[name]) for name in order) or everything


def all_words(parts: Sequence[Mapping[str, str]]) -> str:
    """Several slices: `voice, trial; chat`."""
    return "; ".join(words(part) for part in parts)
