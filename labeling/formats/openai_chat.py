"""OpenAI's chat lines, `{"messages": [...]}`: conversations in and out, gold out as examples for fine-tuning or evals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labeling.formats import entries
from labeling.formats.gold import unit_id
from labeling.formats.rows import FieldRefused
from labeling.formats.shapes import (
    CARRIED,
    Format,
    Options,
    Unit,
    carried,
    content_id,
    dialogue,
    each,
    line,
    listed,
    mapped,
    openai_role,
    restored,
    transcript,
    word,
)

METADATA = 512
"""Characters that a value of OpenAI's `metadata` may have."""


def conversations(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """One conversation a line. Calls of tools are kept with their turn; a message without words is none."""
    said, beside = [], []
    for message in listed(row.get("messages"), "messages"):
        message = mapped(message, "messages")
        text = words(message.get("content"))
        more = {name: value for name, value in message.items() if name not in ("role", "content") and value is not None}
        if text or more or message.get("content") == "":
            said.append((word(message.get("role"), "role"), text))
            beside.append(more)
    if not said:
        raise FieldRefused("messages", "is required: a list of messages with role and content")
    turns = dialogue(said, options, first="customer")
    turns = [
        turn | {name: value for name, value in more.items() if name not in turn}
        for turn, more in zip(turns, beside, strict=True)
    ]
    metadata = mapped(row.get("metadata"), "metadata")
    known = {name: metadata[name] for name in ("channel", "cohort", "customer") if isinstance(metadata.get(name), str)}
    rest = {name: value for name, value in metadata.items() if name not in ("id", CARRIED, *known)}
    found = {"id": _id(row, metadata, options), **known, "turns": turns} | ({"metadata": rest} if rest else {})
    yield restored(found, metadata.get(CARRIED))


def words(content: Any) -> str:
    """The text of a message whose content is text, or parts of which some are text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(
        str(part.get("text")) for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def _id(row: Mapping[str, Any], metadata: Mapping[str, Any], options: Options) -> str:
    found = row.get("id", metadata.get("id"))
    if found not in (None, ""):
        return options.reference(word(found, "id"))
    return options.reference(content_id(row.get("messages")))


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """Conversations as they were said; labels as examples: instruction, transcript, and the answer that is right."""
    for unit in units:
        if kind == "conversations":
            yield line({"messages": _messages(unit), "metadata": _metadata(unit)})
            continue
        for turn, given, _ in unit.by_turn():
            for row in given:
                yield line({"messages": _example(unit, turn, row), "metadata": _about(unit, turn, row)})


def _messages(unit: Unit) -> list[dict[str, Any]]:
    return [
        {"role": openai_role(str(turn.get("role", ""))), "content": str(turn.get("text", ""))} for turn in unit.turns
    ]


def _metadata(unit: Unit) -> dict[str, Any]:
    """The id and everything that the messages do not say; single texts, as OpenAI wants them."""
    beside = carried(unit.conversation)
    return {"id": unit.id} | ({CARRIED: json.dumps(beside, ensure_ascii=False)} if beside else {})


def _example(unit: Unit, turn: int | None, row: Mapping[str, Any]) -> list[dict[str, str]]:
    what = unit.about.get("instruction") or f"Judge the {row['signal']} of the conversation."
    values = unit.about.get("values")
    choice = f" Answer with one of: {', '.join(values)}." if values else ""
    asked = transcript(unit.turns) if turn is None else _marked(unit, turn)
    value = row["value"]
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [
        {"role": "system", "content": f"{what}{choice}"},
        {"role": "user", "content": asked},
        {"role": "assistant", "content": said},
    ]


def _marked(unit: Unit, turn: int) -> str:
    """The transcript up to the turn that is asked of, with that turn named."""
    return f"{transcript(unit.turns[: turn + 1])}\n\nJudge the last turn."


def _about(unit: Unit, turn: int | None, row: Mapping[str, Any]) -> dict[str, str]:
    known = {"id": unit_id(unit.id, turn), "signal": str(row["signal"]), "annotator": str(row.get("annotator", ""))}
    dataset = {name: str(unit.about[name]) for name in ("dataset", "dataset_sha256") if unit.about.get(name)}
    return {name: value[:METADATA] for name, value in (known | dataset).items()}


FORMAT = Format(
    name="openai-chat",
    title="OpenAI chat lines",
    version="chat JSONL of OpenAI's fine-tuning and evals (messages of the Chat Completions API)",
    ending="jsonl",
    entries=entries.objects(),
    reads={"conversations": each(conversations)},
    writes={"conversations": write, "labels": write},
    fields=("id", "messages"),
    drops={
        "conversations": "nothing by itself; OpenAI refuses metadata longer than 512 characters, and then only the messages stay",
        "labels": "it is one way: examples do not load as labels again",
    },
)
