"""Argilla's records (2.x) as its `to_list` and `to_json` write them, flat or nested: fields, responses, suggestions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from labeling.formats import entries
from labeling.formats.gold import unit_id
from labeling.formats.rows import FieldRefused
from labeling.formats.shapes import (
    CARRIED,
    Format,
    Options,
    Unit,
    answer,
    carried,
    dialogue,
    document,
    each,
    line,
    listed,
    mapped,
    openai_role,
    restored,
    without,
    word,
)

KEPT = ("id", "status", "_server_id", "inserted_at", "updated_at", "score", CARRIED)
UNPINNED = "unpinned"


def conversations(record: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """The chat field of a record as turns; without one, its text fields as turns of the customer."""
    beside = _beside(record)
    if "of" in beside:
        return
    fields, metadata = _fields(record), _metadata(record)
    chat = next((value for value in map(document, fields.values()) if _is_chat(value)), None)
    if chat is not None:
        turns = dialogue([(str(one.get("role", "")), one["content"]) for one in chat], options, first="customer")
    else:
        wanted = options.renamed.get("text")
        texts = {
            name: value for name, value in fields.items() if isinstance(value, str) and wanted in (None, name, "text")
        }
        turns = [{"role": "customer", "text": value} for value in texts.values()]
    if not turns:
        raise FieldRefused("fields", "has neither a chat nor a text")
    if beside:
        yield restored({"id": _id(record, options), "turns": turns}, beside.get("conversation"))
    else:
        yield {"id": _id(record, options), "turns": turns} | ({"metadata": metadata} if metadata else {})


def labels(record: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A label for each submitted response; drafts and discarded ones are none."""
    known = {
        (one.get("signal"), one.get("annotator")): one
        for one in (mapped(one, CARRIED) for one in listed(_beside(record).get("labels"), CARRIED))
    }
    for question, value, user, status in _responses(record):
        if status not in (None, "submitted"):
            continue
        row = {
            "conversation": _id(record, options),
            "turn": _beside(record).get("turn"),
            "signal": question,
            "annotator": user,
            "value": answer(value, question, options, f"{question}.responses"),
        }
        yield row | {name: inner for name, inner in known.get((question, user), {}).items() if name not in row}


def predictions(record: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A prediction for each suggestion; its agent, `classifier@version`, is the pin."""
    beside = _beside(record)
    if isinstance(beside.get("predictions"), list):
        for one in beside["predictions"]:
            yield {**mapped(one, CARRIED), "conversation": _id(record, options), "turn": beside.get("turn")}
        return
    for question, value, score, agent in _suggestions(record):
        classifier, _, version = agent.rpartition("@")
        row = {
            "conversation": _id(record, options),
            "turn": beside.get("turn"),
            "classifier": classifier or options.given.get("classifier") or agent or question,
            "version": (version if classifier else agent if options.given.get("classifier") else "") or UNPINNED,
            "signal": question,
            "value": answer(value, question, options, f"{question}.suggestion"),
        }
        yield row | ({"score": score} if isinstance(score, int | float) else {})


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """One JSON array of flat records, a record a line: one for each conversation, and for each turn that is asked of."""
    yield b"[\n"
    between = b""
    for unit in units:
        for turn, given, said in unit.by_turn():
            yield between + line(_record(unit, turn, given, said)).rstrip(b"\n")
            between = b",\n"
    yield b"\n]\n"


def _record(
    unit: Unit, turn: int | None, given: Sequence[Mapping[str, Any]], said: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    turns = unit.turns if turn is None else unit.turns[: turn + 1]
    record: dict[str, Any] = {
        "id": unit_id(unit.id, turn),
        "status": "completed" if given else "pending",
        "dialogue": [
            {"role": openai_role(str(one.get("role", ""))), "content": str(one.get("text", ""))} for one in turns
        ],
    }
    for name in ("channel", "cohort"):
        if unit.conversation.get(name):
            record[name] = unit.conversation[name]
    record |= unit.about
    for row in given:
        question = f"{row['signal']}.responses"
        record.setdefault(question, []).append(row["value"])
        record.setdefault(f"{question}.users", []).append(row["annotator"])
        record.setdefault(f"{question}.status", []).append("submitted")
    for row in said:
        if row.get("value") is not None:
            question = f"{row['signal']}.suggestion"
            record[question] = row["value"]
            record[f"{question}.score"] = row.get("score")
            record[f"{question}.agent"] = f"{row['classifier']}@{row['version']}"
    beside: dict[str, Any] = {"turn": turn, "of": unit.id} if turn is not None else {}
    if turn is None:
        beside["conversation"] = carried(unit.conversation)
    if given:
        beside["labels"] = [without(row, "conversation", "turn", "value") for row in given]
    if said:
        beside["predictions"] = [without(row, "conversation", "turn") | {"value": row.get("value")} for row in said]
    # Metadata of Argilla are single values: what is carried is the text of its JSON.
    return record | {CARRIED: json.dumps(beside, ensure_ascii=False)}


def _beside(record: Mapping[str, Any]) -> dict[str, Any]:
    nested = record.get("metadata")
    given = record.get(CARRIED, nested.get(CARRIED) if isinstance(nested, dict) else None)
    found = document(given)
    return found if isinstance(found, dict) else {}


def _id(record: Mapping[str, Any], options: Options) -> str:
    found = word(_beside(record).get("of", record.get("id")), "id")
    if not found:
        raise FieldRefused("id", "is required: the record has none")
    return options.reference(found)


def _is_answer(name: str) -> bool:
    return any(f".{part}" in name for part in ("responses", "suggestion"))


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(record.get("fields"), dict):
        return dict(record["fields"])
    return {name: value for name, value in record.items() if name not in KEPT and not _is_answer(name)}


def _metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is said beside the fields; flat records do not tell the two apart, so their single values are kept as both."""
    if "fields" in record:
        return {name: value for name, value in mapped(record.get("metadata"), "metadata").items() if name != CARRIED}
    return {
        name: value for name, value in _fields(record).items() if not _is_chat(document(value)) and value is not None
    }


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value)
        and all(isinstance(one, dict) and isinstance(one.get("content"), str) for one in value)
    )  # fmt: skip


def _responses(record: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, str | None]]:
    """(question, value, user, status)."""
    if isinstance(record.get("responses"), dict):
        for question, given in record["responses"].items():
            for one in listed(given, f"responses.{question}"):
                one = mapped(one, f"responses.{question}")
                yield question, one.get("value"), word(one.get("user_id"), "user_id"), one.get("status")
        return
    for name in record:
        if not name.endswith(".responses"):
            continue
        values = listed(record[name], name)
        users, states = listed(record.get(f"{name}.users"), f"{name}.users"), listed(record.get(f"{name}.status"), name)
        if len(users) != len(values) or len(states) not in (0, len(values)):
            raise FieldRefused(name, f"has {len(values)} values of {len(users)} users in {len(states)} states")
        for position, value in enumerate(values):
            status = states[position] if states else None
            yield name.removesuffix(".responses"), value, word(users[position], f"{name}.users"), status


def _suggestions(record: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, str]]:
    """(question, value, score, agent)."""
    if isinstance(record.get("suggestions"), dict):
        for question, given in record["suggestions"].items():
            one = mapped(given, f"suggestions.{question}")
            if one.get("value") is not None:
                yield question, one["value"], one.get("score"), word(one.get("agent"), "agent")
        return
    for name, value in record.items():
        if name.endswith(".suggestion") and value is not None:
            agent = word(record.get(f"{name}.agent"), f"{name}.agent")
            yield name.removesuffix(".suggestion"), value, record.get(f"{name}.score"), agent


FORMAT = Format(
    name="argilla",
    title="Argilla records",
    version="records of Argilla 2.8, flat or nested",
    ending="json",
    content_type="application/json",
    entries=entries.objects(),
    reads={"conversations": each(conversations), "labels": each(labels), "predictions": each(predictions)},
    writes={"conversations": write, "labels": write, "predictions": write},
    fields=("id", "text"),
)
