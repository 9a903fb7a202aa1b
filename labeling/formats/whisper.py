"""Transcripts of Whisper, WhisperX and whisper.cpp as JSON: segments, words with their confidence, speakers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labeling.errors import RowError
from labeling.formats import archives, entries, jsonl
from labeling.formats.jsonl import Record
from labeling.formats.rows import FieldRefused, finite
from labeling.formats.shapes import (
    CARRIED,
    Entries,
    Format,
    Options,
    Unit,
    carried,
    each,
    listed,
    mapped,
    restored,
    role,
    without,
    word,
)

CONFIDENCE = ("probability", "score", "confidence", "p")


def parse(text: str, options: Options) -> Entries:
    """The transcript in one file; its name is the conversation's where the transcript has none."""
    try:
        found = jsonl.decoder.decode(text)
    except json.JSONDecodeError as error:
        yield RowError(error.lineno, None, f"is not valid JSON: {error.msg} at character {error.colno}")
        return
    except (ValueError, RecursionError) as error:
        yield RowError(None, None, f"is not usable JSON: {error}")
        return
    several = found if isinstance(found, list) and not _is_segments(found) else [found]
    for number, one in enumerate(several, 1):
        one = {"segments": one} if isinstance(one, list) else one
        checked = jsonl.checked(one, number)
        if isinstance(checked, Record):
            name = options.stem if len(several) == 1 else f"{options.stem}-{number}"
            checked.data.setdefault("id", name)
        yield checked


def _is_segments(found: list[Any]) -> bool:
    return bool(found) and all(isinstance(one, dict) and "text" in one and "segments" not in one for one in found)


def conversations(document: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A segment is a turn. Speakers are told apart by name; without any, all is the customer's."""
    segments = document.get("segments", document.get("transcription"))
    if segments is None:
        raise FieldRefused("segments", "is required: a list of segments with start, end and text")
    turns = [_turn(mapped(one, "segments"), options) for one in listed(segments, "segments")]
    _roles(turns, options)
    name = options.given.get("conversation") or word(document.get("id"), "id")
    if not name:
        raise FieldRefused("id", "is required: the transcript has none, and the file has no name")
    heard = "\n".join(turn["text"] for turn in turns)
    found: dict[str, Any] = {
        "id": options.reference(name),
        "channel": options.given.get("channel") or "voice",
        "turns": turns,
    }
    beside = document.get(CARRIED)
    if beside is None:
        found["asr"] = {"hypothesis": heard, "provider": options.given.get("provider") or "whisper"}
        language = document.get("language") or mapped(document.get("result"), "result").get("language")
        if language:
            found["attributes"] = {"language": word(language, "language")}
    yield restored(found, beside)


def _turn(segment: Mapping[str, Any], options: Options) -> dict[str, Any]:
    text = segment.get("text")
    if not isinstance(text, str):
        raise FieldRefused("segments", "has a segment without a text")
    turn: dict[str, Any] = {"role": "", "text": text if "role" in segment else text.strip()}
    offsets = mapped(segment.get("offsets"), "offsets")
    for name, other in (("start", "from"), ("end", "to")):
        if segment.get(name) is not None:
            turn[name] = _seconds(segment[name], f"segments.{name}")
        elif offsets.get(other) is not None:
            turn[name] = _seconds(offsets[other], f"offsets.{other}") / 1000
    if segment.get("speaker") not in (None, ""):
        turn["speaker"] = word(segment["speaker"], "speaker")
    if isinstance(segment.get("role"), str):
        turn["role"] = segment["role"]
    words = [_word(mapped(one, "words")) for one in listed(segment.get("words"), "words")]
    return turn | ({"words": words} if words else {})


def _seconds(value: Any, name: str) -> Any:
    finite(value, name)
    return value


def _word(one: Mapping[str, Any]) -> dict[str, Any]:
    """A word with its times and the recogniser's confidence; a word that could not be aligned has no times."""
    found: dict[str, Any] = {"word": word(one.get("word", one.get("text")), "word").strip()}
    found |= {name: _seconds(one[name], f"words.{name}") for name in ("start", "end") if one.get(name) is not None}
    confidence = next((one[name] for name in CONFIDENCE if one.get(name) is not None), None)
    return found | ({} if confidence is None else {"confidence": finite(confidence, "words.score")})


def _roles(turns: list[dict[str, Any]], options: Options) -> None:
    """Who answers a call speaks first: of speakers without a telling name, the first is the agent."""
    unknown: str | None = None
    for turn in turns:
        if turn["role"]:
            continue
        speaker = turn.get("speaker", "")
        found = role(speaker, options, otherwise="") if speaker else "customer"
        if not found:
            unknown = speaker if unknown is None else unknown
            found = "agent" if speaker == unknown else "customer"
        turn["role"] = found


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """A ZIP archive with a transcript for each conversation."""
    return archives.zipped((archives.name(unit.id, "json"), _document(unit)) for unit in units)


def _document(unit: Unit) -> bytes:
    segments = []
    for number, turn in enumerate(unit.turns):
        words = turn.get("words")
        segments.append(
            {"id": number, "text": turn.get("text", ""), "role": turn.get("role", "")}
            | without(turn, "role", "text", "words")
            | ({"words": words} if isinstance(words, list) else {})
        )
    native = ("start", "end", "speaker", "words")
    more = [{name: value for name, value in turn.items() if name not in native} for turn in unit.turns]
    beside = carried({**unit.conversation, "turns": more})
    text = " ".join(str(turn.get("text", "")) for turn in unit.turns)
    language = (unit.conversation.get("attributes") or {}).get("language")
    document = {"id": unit.id, "text": text, "language": language, "segments": segments, CARRIED: beside}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")


FORMAT = Format(
    name="whisper",
    title="Whisper and WhisperX transcripts",
    version="JSON of openai-whisper 2025, WhisperX 3, whisper.cpp (-oj), and the API's verbose_json",
    ending="zip",
    content_type="application/zip",
    entries=entries.documents(parse),
    reads={"conversations": each(conversations)},
    writes={"conversations": write},
    fields=("segments",),
    drops={"conversations": "fields of a word beyond its times and confidence"},
)
