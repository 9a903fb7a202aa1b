"""Langfuse (3): traces and sessions, scores, and dataset items, as its API, its page and its blob storage export them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from labeling.errors import RowError
from labeling.formats import entries, spans
from labeling.formats.gold import unit_id
from labeling.formats.jsonl import Record
from labeling.formats.openai_chat import words
from labeling.formats.rows import FieldRefused, parsed_moment
from labeling.formats.shapes import (
    CARRIED,
    Entries,
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
    renamed,
    restored,
    without,
    word,
)

PEOPLE = "ANNOTATION"
UNPINNED = "unpinned"
ASKED = ("messages", "input", "question", "query", "prompt", "text", "message", "content")
ANSWERED = ("messages", "output", "answer", "response", "text", "content", "result")


def conversations(found: Entries, options: Options) -> Entries:
    """Dataset items one by one; the traces of a session, which lie all over a file, as one conversation at its end."""
    sessions: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for entry in found:
        if isinstance(entry, RowError):
            yield entry
            continue
        row = dict(renamed(entry.data, options.renamed))
        try:
            if _is_item(row):
                yield Record(entry.line, _item(row, options))
                continue
            for trace in listed(row["traces"], "traces") if "traces" in row else [row]:
                trace = mapped(trace, "traces")
                if "traces" in row:
                    trace = trace | {"sessionId": row.get("id")}
                sessions[_place(trace, options)].append((entry.line, trace))
        except FieldRefused as refused:
            yield RowError(entry.line, refused.field, refused.message)
    for key, traces in sessions.items():
        try:
            yield Record(traces[0][0], _session(key, traces, options))
        except FieldRefused as refused:
            yield RowError(traces[0][0], refused.field, refused.message)


def labels(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """Scores by people; of dataset items the expected output."""
    if _is_item(row):
        yield from _expected(row, options)
        return
    for score, about in _scores(row, options):
        if _source(score) == PEOPLE:
            beside = mapped(about.pop("metadata"), "metadata")
            annotator = (
                beside.get("annotator") or _get(score, "authorUserId") or options.given.get("annotator") or "langfuse"
            )
            known = {"annotator": word(annotator, "authorUserId"), "comment": word(score.get("comment"), "comment")}
            yield about | known | mapped(beside.get(CARRIED), CARRIED)


def predictions(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """Scores by evaluators and by programs; `classifier@version` in the metadata, or else the evaluator's name."""
    if _is_item(row):
        return
    for score, about in _scores(row, options):
        if _source(score) == PEOPLE:
            continue
        beside = mapped(about.pop("metadata"), "metadata")
        pin = {
            "classifier": word(beside.get("classifier"), "metadata")
            or options.given.get("classifier")
            or about["signal"],
            "version": word(beside.get("version"), "metadata") or options.given.get("version") or UNPINNED,
        }
        yield about | pin | {"rationale": word(score.get("comment"), "comment")} | mapped(beside.get(CARRIED), CARRIED)


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """Conversations as dataset items; labels and predictions as scores on the trace that stands for the conversation."""
    for unit in units:
        if kind == "conversations":
            beside = {"id": unit.id, **_slices(unit), CARRIED: carried(unit.conversation)}
            yield line({"id": unit.id, "input": _messages(unit.turns), "expectedOutput": None, "metadata": beside})
        elif unit.about:
            yield from _gold(unit)
        else:
            for number, row in enumerate(unit.labels if kind == "labels" else unit.predictions):
                if row.get("value") is not None:
                    yield line(_score(unit, row, kind, number))


def _is_item(row: Mapping[str, Any]) -> bool:
    return "expectedOutput" in row or "expected_output" in row


def _get(row: Mapping[str, Any], name: str) -> Any:
    """A field in the API's spelling or that of the blob storage export."""
    snake = "".join(f"_{one.lower()}" if one.isupper() else one for one in name)
    return row.get(name, row.get(snake))


def _place(row: Mapping[str, Any], options: Options) -> str:
    """The conversation of a trace or score: its session, else the trace."""
    session = word(_get(row, "sessionId"), "sessionId")
    trace = word(_get(row, "traceId") or row.get("id"), "traceId")
    if not session and not trace:
        raise FieldRefused("traceId", "is required: the entry names neither a session nor a trace")
    return options.reference(session) if session else options.reference(options.whose(trace))


def _item(row: Mapping[str, Any], options: Options) -> dict[str, Any]:
    metadata = document(row.get("metadata"))
    metadata = metadata if isinstance(metadata, dict) else {}
    said = _said(row.get("input"), ASKED, "user")
    if not said:
        raise FieldRefused("input", "has no messages and no text")
    known = {name: metadata[name] for name in ("channel", "cohort", "customer") if isinstance(metadata.get(name), str)}
    rest = {name: value for name, value in metadata.items() if name not in ("id", CARRIED, *known)}
    found: dict[str, Any] = {
        "id": _item_id(row, metadata, options),
        **known,
        "turns": dialogue(said, options, first="customer"),
    }
    return restored(found | ({"metadata": rest} if rest else {}), metadata.get(CARRIED))


def _item_id(row: Mapping[str, Any], metadata: Mapping[str, Any], options: Options) -> str:
    found = word(metadata.get("conversation") or _get(row, "sourceTraceId") or row.get("id"), "id")
    if not found:
        raise FieldRefused("id", "is required: the item has none")
    return options.reference(found)


def _session(key: str, traces: Sequence[tuple[int, Mapping[str, Any]]], options: Options) -> dict[str, Any]:
    """The traces of a session, in order of time, without what each repeats of the history."""
    ordered = sorted((trace for _, trace in traces), key=lambda trace: str(trace.get("timestamp") or ""))
    said: list[tuple[str, str]] = []
    for trace in ordered:
        heard = _said(document(trace.get("input")), ASKED, "user")
        answered = _said(document(trace.get("output")), ANSWERED, "assistant")
        both = [*heard, *answered]
        overlap = next((size for size in range(min(len(said), len(both)), 0, -1) if said[-size:] == both[:size]), 0)
        said += both[overlap:]
    if not said:
        raise FieldRefused("input", "has no messages and no text, nor has the output")
    metadata: dict[str, Any] = {}
    for trace in ordered:
        more = document(trace.get("metadata"))
        metadata |= more if isinstance(more, dict) else {}
    tags = dict(
        tag.split(":", 1) for trace in ordered for tag in trace.get("tags") or [] if isinstance(tag, str) and ":" in tag
    )
    row: dict[str, Any] = {"id": key, "turns": dialogue(said, options, first="customer")}
    for name in ("channel", "cohort"):
        if found := metadata.get(name) or tags.get(name):
            row[name] = str(found)
    customer = next((word(user, "userId") for trace in ordered if (user := _get(trace, "userId"))), "")
    started = ordered[0].get("timestamp")
    if started:
        row["started_at"] = parsed_moment(str(started).replace(" ", "T", 1), "timestamp").isoformat()
    return row | ({"customer": customer} if customer else {}) | ({"metadata": metadata} if metadata else {})


def _said(given: Any, keys: Sequence[str], speaker: str) -> list[tuple[str, str]]:
    """(speaker, text) in an input or output: text, a message, a list of messages, or an object around any of them."""
    if isinstance(given, str):
        return [(speaker, given)] if given.strip() else []
    if isinstance(given, list):
        return [pair for one in given for pair in (_said(one, keys, speaker) if isinstance(one, dict | str) else [])]
    if not isinstance(given, dict):
        return []
    if "role" in given and "content" in given:
        text = words(given["content"])
        return [(str(given["role"]), text)] if text or given["content"] == "" else []
    return next((found for name in keys if (found := _said(given.get(name), keys, speaker))), [])


def _source(score: Mapping[str, Any]) -> str:
    return word(score.get("source"), "source").upper()


def _scores(row: Mapping[str, Any], options: Options) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """The scores of an entry: itself, or those of a trace or session, each with what label and prediction share."""
    if "traces" in row:
        inner = [mapped(one, "traces") | {"sessionId": row.get("id")} for one in listed(row["traces"], "traces")]
    elif "name" in row and "source" in row:
        inner = [{"scores": [row]}]
    else:
        inner = [dict(row)]
    for trace in inner:
        for score in listed(trace.get("scores"), "scores"):
            score = mapped(score, "scores")
            around = {"sessionId": _get(trace, "sessionId"), "traceId": trace.get("id")}
            place = {name: value for name, value in around.items() if value and not _get(score, name)}
            yield score, _about(score, {**score, **place}, options)


def _about(score: Mapping[str, Any], placed: Mapping[str, Any], options: Options) -> dict[str, Any]:
    metadata = document(score.get("metadata"))
    metadata = metadata if isinstance(metadata, dict) else {}
    signal = options.given.get("signal") or word(score.get("name"), "name")
    text, value = _get(score, "stringValue"), score.get("value")
    kind = word(_get(score, "dataType"), "dataType").upper()
    found = metadata.get("values", text if kind in ("CATEGORICAL", "BOOLEAN", "TEXT") and text is not None else value)
    if found is None:
        raise FieldRefused("value", "is required: it is missing")
    found = found.lower() if kind == "BOOLEAN" and isinstance(found, str) else found
    named = word(metadata.get("conversation"), "metadata")
    row = {
        "conversation": options.reference(named) if named else _place(placed, options),
        "turn": metadata.get("turn"),
        "signal": signal,
        "value": answer(found, signal, options, "value"),
        "metadata": metadata,
    }
    at = score.get("timestamp")
    return row | ({"at": parsed_moment(str(at).replace(" ", "T", 1), "timestamp").isoformat()} if at else {})


def _expected(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """The expected output of a dataset item: an object of signals, or the one answer to the signal that is given."""
    expected = document(_get(row, "expectedOutput"))
    if expected is None:
        return
    metadata = document(row.get("metadata"))
    metadata = metadata if isinstance(metadata, dict) else {}
    signal = options.given.get("signal", "")
    if not isinstance(expected, dict):
        if not signal:
            raise FieldRefused(
                "signal", "is required: the expected output does not say what was asked; give it for the file"
            )
        expected = {signal: expected}
    for name, value in expected.items():
        yield {
            "conversation": _item_id(row, metadata, options),
            "turn": metadata.get("turn"),
            "signal": name,
            "annotator": options.given.get("annotator") or "langfuse",
            "value": answer(value, name, options, f"expectedOutput.{name}"),
        }


def _messages(turns: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{"role": openai_role(str(turn.get("role", ""))), "content": str(turn.get("text", ""))} for turn in turns]


def _slices(unit: Unit) -> dict[str, Any]:
    return {name: unit.conversation[name] for name in ("channel", "cohort", "customer") if unit.conversation.get(name)}


def _gold(unit: Unit) -> Iterator[bytes]:
    """Gold as dataset items: the conversation up to what was judged, and the answer that is right."""
    for turn, given, _ in unit.by_turn():
        turns = unit.turns if turn is None else unit.turns[: turn + 1]
        metadata = {"conversation": unit.id, "turn": turn, **_slices(unit), **unit.about}
        expected = {row["signal"]: row["value"] for row in given}
        yield line(
            {"id": unit_id(unit.id, turn), "input": _messages(turns), "expectedOutput": expected, "metadata": metadata}
        )


def _score(unit: Unit, row: Mapping[str, Any], kind: str, number: int) -> dict[str, Any]:
    value = row["value"]
    people = kind == "labels"
    metadata: dict[str, Any] = {"conversation": unit.id, "turn": row.get("turn")}
    metadata |= {name: row[name] for name in (("annotator",) if people else ("classifier", "version"))}
    if isinstance(value, list):
        metadata["values"] = value
    taken = ("conversation", "turn", "signal", "value", "annotator", "classifier", "version", "comment", "rationale")
    beside = without(row, *taken)
    if beside:
        metadata[CARRIED] = beside
    numeric = isinstance(value, int | float)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    said = {"value": value, "dataType": "NUMERIC"} if numeric else {"stringValue": text, "dataType": "CATEGORICAL"}
    comment = row.get("comment" if people else "rationale")
    trace = spans.trace_id(unit.id)
    return {
        "id": f"{trace}-{kind}-{number}", "traceId": trace, "name": row["signal"], **said,
        "source": PEOPLE if people else "EVAL", "comment": comment or None, "metadata": metadata,
    }  # fmt: skip


FORMAT = Format(
    name="langfuse",
    title="Langfuse traces, scores and dataset items",
    version="Langfuse 3: public API, download as JSON, blob storage export",
    ending="jsonl",
    entries=entries.objects("data"),
    reads={"conversations": conversations, "labels": each(labels), "predictions": each(predictions)},
    writes={"conversations": write, "labels": write, "predictions": write},
    fields=("id", "traceId", "name", "value", "input", "output"),
    drops={"predictions": "predictions that failed, since a score has to have a value"},
)
