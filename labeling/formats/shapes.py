"""What every foreign format is made of: entries of a file → rows of the contract, and units of the contract → bytes.

A format that has room for them carries the contract's further fields beside its own, under the name `cxlab`, so that
what was written comes back as it was; a file that a tool wrote itself has none and is read by the tool's own fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from labeling.errors import RowError
from labeling.formats.jsonl import ByteStream, Record
from labeling.formats.rows import FieldRefused, shown

CARRIED = "cxlab"
KINDS = ("conversations", "labels", "predictions", "outcomes")
GIVEN = {
    "conversations": ("source", "channel", "cohort", "customer"),
    "labels": ("signal", "annotator"),
    "predictions": ("signal", "classifier", "version"),
    "outcomes": ("kind", "customer"),
}
"""Kind → the fields that may be given once for all rows that lack them."""
SPEAKERS = {
    "customer": ("customer", "user", "human", "client", "caller", "visitor", "buyer", "patient", "guest"),
    "agent": ("agent", "assistant", "ai", "bot", "model", "helpdesk", "operator", "representative", "rep", "advisor",
              "support", "chatbot", "gpt"),
    "system": ("system", "developer"),
    "tool": ("tool", "function"),
}  # fmt: skip
_ROLES = {name: role for role, names in SPEAKERS.items() for name in names}
_OPENAI = {"customer": "user", "agent": "assistant", "system": "system", "tool": "tool"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a person says about a file that the file does not say itself.

    `name` is the file's name, `given` fields for rows that lack them, `renamed` the file's own name (or dotted path)
    for a field that the format knows by another, `scales` the scale of each signal, `whose` the conversation of a span
    or trace id.
    """

    name: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, str] = field(default_factory=dict)
    whose: Callable[[str], str] = str

    @property
    def stem(self) -> str:
        """The file's name without folders and endings."""
        name = PurePath(self.name).name
        return name.removesuffix(".gz").rsplit(".", 1)[0] if "." in name else name

    def reference(self, name: str) -> str:
        """The id of a conversation: as the file has it, behind the prefix that was asked for."""
        return self.given.get("prefix", "") + name


@dataclass(frozen=True, slots=True)
class Unit:
    """One conversation on its way out with the labels and predictions that go with it; `about` says more of it."""

    conversation: Mapping[str, Any]
    labels: Sequence[Mapping[str, Any]] = ()
    predictions: Sequence[Mapping[str, Any]] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.conversation["id"])

    @property
    def turns(self) -> list[dict[str, Any]]:
        return list(self.conversation.get("turns") or [])

    def by_turn(self) -> list[tuple[int | None, list[Mapping[str, Any]], list[Mapping[str, Any]]]]:
        """(turn, its labels, its predictions): the whole conversation first, then the turns that are spoken of."""
        asked = {row.get("turn") for row in (*self.labels, *self.predictions)} or {None}
        return [
            (turn, [row for row in self.labels if row.get("turn") == turn],
             [row for row in self.predictions if row.get("turn") == turn])
            for turn in sorted(asked, key=lambda turn: -1 if turn is None else turn)
        ]  # fmt: skip


Entries = Iterator[Record | RowError]
Reader = Callable[[Entries, Options], Entries]
Writer = Callable[[Iterable[Unit], str], Iterator[bytes]]
Convert = Callable[[Mapping[str, Any], Options], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Format:
    """One format in and out. `drops` says for each kind what a round trip loses; `fields` are the names of its own that
    a file may have under others; `needs` what has to be given for a kind because no such file says it."""

    name: str
    title: str
    version: str
    ending: str
    entries: Callable[[ByteStream, Options], Entries]
    reads: Mapping[str, Reader]
    writes: Mapping[str, Writer] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drops: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/x-ndjson"
    spans: bool = False


def each(convert: Convert) -> Reader:
    """A reader that looks at one entry at a time; what is wrong with one is told with its line."""

    def read(entries: Entries, options: Options) -> Entries:
        for entry in entries:
            if isinstance(entry, RowError):
                yield entry
                continue
            try:
                found = [dict(row) for row in convert(renamed(entry.data, options.renamed), options)]
            except FieldRefused as refused:
                yield RowError(entry.line, refused.field, refused.message)
                continue
            yield from (Record(entry.line, row) for row in found)

    return read


def renamed(entry: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """The entry with the fields that the format expects, taken from where this file has them."""
    if not names:
        return entry
    found = dict(entry)
    for expected, path in names.items():
        value = found.pop(path, None) if path in found else _at(entry, path)
        if value is not None:
            found[expected] = value
    return found


def _at(entry: Mapping[str, Any], path: str) -> Any:
    value: Any = entry
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def filled(row: dict[str, Any], kind: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The row with what was given for all rows, where it lacks it itself."""
    for name in GIVEN[kind]:
        if given.get(name) and row.get(name) in (None, "", "unknown"):
            row[name] = given[name]
    return row


def listed(value: Any, name: str) -> list[Any]:
    """`value` as a list, none for nothing; raises FieldRefused."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise FieldRefused(name, f"must be a list, is {shown(value)}")
    return value


def mapped(value: Any, name: str) -> dict[str, Any]:
    """`value` as an object, empty for nothing; raises FieldRefused."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FieldRefused(name, f"must be an object, is {shown(value)}")
    return value


def word(value: Any, name: str) -> str:
    """A string or number as text, empty for nothing; raises FieldRefused."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FieldRefused(name, f"must be a string, is {shown(value)}")
    return str(value)


def document(value: Any) -> Any:
    """What a JSON text says, and everything else as it is."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def role(speaker: str, options: Options, *, otherwise: str) -> str:
    """The role of a speaker: as `customers=` or `agents=` says, by the speaker's name, else `otherwise`."""
    plain = speaker.strip().lower()
    for side in ("customer", "agent"):
        if plain and plain in [name.strip().lower() for name in options.given.get(f"{side}s", "").split(",")]:
            return side
    return _ROLES.get(plain) or _ROLES.get(plain.rstrip("0123456789 _-#")) or otherwise


def openai_role(name: str) -> str:
    """The role as chat models name it."""
    return _OPENAI.get(name, "user")


def dialogue(messages: Sequence[tuple[str, str]], options: Options, *, first: str) -> list[dict[str, Any]]:
    """(speaker, text) → turns. Of speakers whose name says nothing, the first to speak is `first`, the others are not."""
    other = "customer" if first == "agent" else "agent"
    unknown: str | None = None
    turns = []
    for speaker, text in messages:
        found = role(speaker, options, otherwise="")
        if not found:
            unknown = speaker if unknown is None else unknown
            found = first if speaker == unknown else other
        turn = {"role": found, "text": text}
        if speaker and speaker.strip().lower() not in _ROLES:
            turn["speaker"] = speaker
        turns.append(turn)
    return turns


def carried(conversation: Mapping[str, Any]) -> dict[str, Any]:
    """All of a conversation but its id and who said what: what a format takes along for nothing to be lost."""
    rest = {name: value for name, value in conversation.items() if name not in ("id", "turns")}
    turns = conversation.get("turns") or []
    beside = [{name: value for name, value in turn.items() if name not in ("role", "text")} for turn in turns]
    return rest | ({"turns": beside} if any(beside) else {})


def restored(found: Mapping[str, Any], beside: Any) -> dict[str, Any]:
    """A conversation as its format has it, `found`, with what was carried beside it; the format's own turns count."""
    known = mapped(document(beside), CARRIED)
    turns = [dict(turn) for turn in found["turns"]]
    extra = known.get("turns")
    if isinstance(extra, list) and len(extra) == len(turns):
        turns = [turn | more if isinstance(more, dict) else turn for turn, more in zip(turns, extra, strict=True)]
    return {**found, **known, "turns": turns} if known else {**found, "turns": turns}


def answer(values: Any, signal: str, options: Options, name: str) -> Any:
    """An answer as the signal's scale has it: a code, a list of codes, or a number.

    Tools give one label in a list, and numbers for codes or texts for numbers; raises FieldRefused where several
    labels are given for one.
    """
    scale = options.scales.get(signal, "")
    several = values if isinstance(values, list) else [values]
    if scale == "multilabel":
        return [_code(value) for value in several]
    if len(several) != 1:
        raise FieldRefused(name, f"has {len(several)} values: {signal or 'the signal'} takes one")
    if scale == "interval":
        return _number(several[0])
    return _code(several[0]) if scale else several[0]


def _code(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() and "e" not in value.lower() else number


def transcript(turns: Iterable[Mapping[str, Any]]) -> str:
    """The turns as one readable text."""
    return "\n".join(f"{turn.get('role', '')}: {turn.get('text', '')}" for turn in turns)


def line(value: Any) -> bytes:
    """One JSON object as one line. A lone surrogate, which UTF-8 does not have, stays the escape that it was."""
    return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A row without fields that stand elsewhere already, and without what is empty."""
    return {name: value for name, value in row.items() if name not in names and value not in (None, "", {})}


def content_id(content: Any) -> str:
    """An id for what comes without one: the same content has the same, in every file."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]
