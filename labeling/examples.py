"""Examples of a signal's categories, taken from what reviewers have decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from labeling import blindness, privacy
from labeling.models import WHOLE, Category, Ruling, Signal, User
from labeling.personal import Mask
from labeling.privacy import NOTHING
from labeling.values import Scale

PER_CATEGORY = 2
NEWEST = 300
"""Rulings of a signal that are looked through, the newest first."""
LONGEST = 180


@dataclass(frozen=True, slots=True)
class Example:
    """What was said, and why the reviewer decided so, where they wrote it."""

    text: str
    note: str
    channel: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A category with its examples."""

    label: str
    examples: Sequence[Example]


def of(signals: Iterable[int], *, reader: User) -> dict[int, list[Shown]]:
    """Signal → its categories that have examples, in the order of the scale; two queries a signal at most.

    Nothing that the reader may still be asked, or be asked again, is an example: a conversation of an open queue of
    theirs that asks the signal is left out, answered or not. Broken data and truly ambiguous cases teach nothing.
    """
    found: dict[int, list[Shown]] = {}
    mask = privacy.in_force()
    for signal in Signal.objects.filter(id__in=list(signals)).exclude(scale=Signal.Scale.INTERVAL):
        rulings = list(_decided(signal))
        asked = blindness.in_open_queues(reader=reader, conversations={one.conversation_id for one in rulings})
        chosen = _by_category(
            Scale.of(signal), [one for one in rulings if (one.conversation_id, signal.id) not in asked]
        )
        categories = Category.objects.filter(signal=signal).order_by("position") if chosen else []
        found[signal.id] = [
            Shown(one.label, [_example(ruling, mask) for ruling in chosen[one.value]])
            for one in categories
            if one.value in chosen
        ]
    return found


def _decided(signal: Signal) -> Iterable[Ruling]:
    teaching = Ruling.objects.filter(signal=signal, superseded_at__isnull=True).exclude(
        reason__in=[Ruling.Reason.BROKEN_DATA, Ruling.Reason.AMBIGUOUS]
    )
    words = teaching.select_related("conversation").defer("conversation__metadata", "conversation__asr")
    return words.order_by("-decided_at", "-id")[:NEWEST]


def _by_category(scale: Scale, rulings: Iterable[Ruling]) -> dict[str, list[Ruling]]:
    """A set of labels is an example of a category when it is the only one in it."""
    chosen: dict[str, list[Ruling]] = defaultdict(list)
    for ruling in rulings:
        value = scale.decode(ruling.value)
        members = value if isinstance(value, list) else [value]
        if len(members) == 1 and len(chosen[str(members[0])]) < PER_CATEGORY and _quote(ruling):
            chosen[str(members[0])].append(ruling)
    return {value: rulings for value, rulings in chosen.items() if rulings}


def _example(ruling: Ruling, mask: Mask) -> Example:
    return Example(_quote(ruling, mask), mask.text(ruling.note), ruling.conversation.channel)


def _quote(ruling: Ruling, mask: Mask = NOTHING) -> str:
    """The asked turn; of a whole conversation what the customer said first and last."""
    turns: list[dict[str, Any]] = privacy.shown(ruling.conversation, mask).turns
    if ruling.turn != WHOLE:
        return _short(str(turns[ruling.turn].get("text", ""))) if ruling.turn < len(turns) else ""
    said = [str(turn.get("text", "")) for turn in turns if turn.get("role") == "customer"] or [
        str(turn.get("text", "")) for turn in turns
    ]
    said = [text for text in said if text.strip()]
    return " … ".join(_short(text) for text in dict.fromkeys(said[:1] + said[-1:]))


def _short(text: str) -> str:
    text = " ".join(text[: 4 * LONGEST].split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
