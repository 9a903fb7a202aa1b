"""Guidelines: versions that are only ever added, and what changed between two of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction

from labeling import examples, questions
from labeling.errors import Refused
from labeling.models import Guideline, Queue, Signal, User

LONGEST = 100_000
HISTORY = 30


@dataclass(frozen=True, slots=True)
class ToRead:
    """The instructions of one question as an annotator reads them."""

    signal_id: int
    signal: str
    title: str
    version: int | None
    text: str
    examples: Sequence[examples.Shown]


@dataclass(frozen=True, slots=True)
class Change:
    """A version of a guideline and what it changed, line by line; the first one changed nothing."""

    guideline: Guideline
    lines: Sequence[tuple[str, str]]


def to_read(queue: Queue, *, reader: User) -> list[ToRead]:
    """The guidelines in force of a queue's questions, with examples that tell the reader nothing of their own items."""
    rows = questions.guidelines(queue)
    found = examples.of([row["signal_id"] for row in rows], reader=reader)
    return [ToRead(**row, examples=found.get(row["signal_id"], [])) for row in rows]


def history(signal_id: int) -> list[Change]:
    """The versions of a signal's guideline, the newest first, each with what it changed."""
    versions = list(Guideline.objects.filter(signal=signal_id).select_related("created_by")[: HISTORY + 1])
    before = [*versions[1:], None]
    changes = [
        Change(new, [] if old is None else list(difference(old.text, new.text)))
        for new, old in zip(versions, before, strict=True)
    ]
    return changes[:HISTORY]


@transaction.atomic
def publish(*, signal: Signal, text: str, by: User | None, note: str = "") -> Guideline:
    """Make `text` the guideline of a signal: a new version, unless nothing changed. Labels keep the one they were read with."""
    if not (by is None or by.may("reviewer")):
        raise Refused("not_a_reviewer", "guidelines are written by reviewers and above", status=403)
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise Refused("empty_guideline", "a guideline has words", field="text")
    if len(text) > LONGEST:
        raise Refused("long_guideline", f"a guideline has at most {LONGEST:,} characters", field="text")
    signal = Signal.objects.select_for_update().get(id=signal.id)
    newest = signal.guidelines.first()
    if newest is not None and newest.text == text:
        return newest
    version = 1 if newest is None else newest.version + 1
    return Guideline.objects.create(signal=signal, version=version, text=text, note=note[:300], created_by=by)


def difference(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Lines as ("same" | "old" | "new", text), in the order in which one reads them."""
    words = {" ": "same", "-": "old", "+": "new"}
    for line in difflib.ndiff(old.splitlines(), new.splitlines()):
        if line[0] in words:
            yield words[line[0]], line[2:]
