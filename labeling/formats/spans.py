"""OpenInference spans in files: OTLP/JSON requests, flat spans, spans as Phoenix and OpenTelemetry write them.

A session's spans lie all over a file, so they are held until its end; what they say is what the trace receiver would
have made of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from labeling.errors import RowError
from labeling.formats import entries, otlp, traces
from labeling.formats.jsonl import Record
from labeling.formats.otlp import Span
from labeling.formats.rows import FieldRefused, parsed_moment
from labeling.formats.shapes import (
    CARRIED,
    Entries,
    Format,
    Options,
    Unit,
    answer,
    carried,
    line,
    mapped,
    openai_role,
    renamed,
    restored,
    word,
)

WHOLE = f"{CARRIED}.conversation"
"""The attribute in which a conversation that became a span takes itself along."""
HEX = re.compile(r"^(0x)?[0-9a-fA-F]+$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sessions:
    """The spans of a file by the conversation that they belong to, with the line where each began."""

    def __init__(self, found: Entries, options: Options) -> None:
        self.errors: list[RowError] = []
        self.by_key: dict[str, list[Span]] = {}
        self._lines: dict[str, int] = {}
        self._options = options
        by_trace: dict[str, dict[str, Span]] = defaultdict(dict)
        lines: dict[str, int] = {}
        for entry in found:
            if isinstance(entry, RowError):
                self.errors.append(entry)
                continue
            try:
                for span in spans(renamed(entry.data, options.renamed)):
                    by_trace[span.trace_id][span.span_id] = span
                    lines.setdefault(span.trace_id, entry.line)
            except FieldRefused as refused:
                self.errors.append(RowError(entry.line, refused.field, refused.message))
        for trace_id, mine in by_trace.items():
            key = self._key(trace_id, list(mine.values()))
            self.by_key.setdefault(key, []).extend(mine.values())
            self._lines[key] = min(lines[trace_id], self._lines.get(key, lines[trace_id]))

    def _key(self, trace_id: str, mine: list[Span]) -> str:
        for span in mine:
            beside = _whole(span)
            if beside.get("id"):
                return self._options.reference(str(beside["id"]))
        session = traces.context(mine).session
        project = next((span.project for span in mine if span.project), "") or "unknown"
        return self._options.reference(f"{project}:{session or trace_id}"[:200])

    def conversations(self) -> Iterator[Record]:
        """A row for each session that has words."""
        for key, mine in self.by_key.items():
            by_trace: dict[str, list[Span]] = defaultdict(list)
            for span in mine:
                by_trace[span.trace_id].append(span)
            row = traces.conversation(key, mine[0].project, by_trace)
            beside = next((found for found in map(_whole, mine) if found), {})
            if beside:
                row = restored({"id": key, "turns": beside.pop("said")}, {k: v for k, v in beside.items() if k != "id"})
            if row["turns"]:
                yield Record(self._lines[key], row)

    def predictions(self) -> Iterator[Record]:
        """A row for each evaluation among the spans, the last of each evaluator and version."""
        for key, mine in self.by_key.items():
            last: dict[tuple[str, str], dict[str, Any]] = {}
            for found in traces.evaluations(mine):
                slug = re.sub(r"[^a-z0-9_.-]+", "-", found.name.strip().lower()).strip("-")
                signal = self._options.given.get("signal") or slug
                several = self._options.scales.get(signal) == "multilabel"
                label = found.labels if several and found.label is not None else found.label
                given = label if label is not None else found.score
                row = {
                    "conversation": key, "turn": None, "classifier": slug, "version": found.version.replace(" ", "-"),
                    "signal": signal, "value": answer(given, signal, self._options, "gen_ai.evaluation"),
                    "rationale": found.explanation,
                }  # fmt: skip
                last[slug, found.version] = row | ({} if found.score is None else {"score": found.score})
            yield from (Record(self._lines[key], row) for row in last.values())


def conversations(found: Entries, options: Options) -> Entries:
    sessions = Sessions(found, options)
    yield from sessions.errors
    yield from sessions.conversations()


def predictions(found: Entries, options: Options) -> Entries:
    sessions = Sessions(found, options)
    yield from sessions.errors
    yield from sessions.predictions()


def spans(entry: Mapping[str, Any]) -> list[Span]:
    """The spans of one entry, in any of the forms in which files have them; raises FieldRefused."""
    try:
        if "resourceSpans" in entry or "resource_spans" in entry:
            return list(otlp.from_json(entry))
        if "context" in entry or "context.span_id" in entry or "context.trace_id" in entry:
            return [_span(entry)]
        if "trace_id" in entry and "span_id" in entry:
            return [otlp.flat(entry, 1)]
    except otlp.Undecodable as error:
        raise FieldRefused("span", str(error).removeprefix("span 1: ")) from error
    raise FieldRefused("context", "is required: the entry is no span, it has neither context nor trace_id and span_id")


def _span(entry: Mapping[str, Any]) -> Span:
    """A span as OpenTelemetry's console exporter and Phoenix have it, nested or as the columns of a data frame."""
    context = mapped(entry.get("context"), "context")
    attributes = _flat(mapped(entry.get("attributes"), "attributes"))
    attributes |= _flat({name.removeprefix("attributes."): value for name, value in entry.items()
                         if name.startswith("attributes.") and value is not None})  # fmt: skip
    kind = word(entry.get("span_kind"), "span_kind")
    if kind:
        attributes.setdefault("openinference.span.kind", kind)
    resource = mapped(entry.get("resource"), "resource")
    resource = mapped(resource.get("attributes", resource), "resource")
    status = entry.get("status_code") or mapped(entry.get("status"), "status").get("status_code") or ""
    return Span(
        trace_id=_hex(context.get("trace_id", entry.get("context.trace_id")), "context.trace_id"),
        span_id=_hex(context.get("span_id", entry.get("context.span_id")), "context.span_id"),
        parent_id=_hex(entry.get("parent_id"), "parent_id") if entry.get("parent_id") else "",
        name=word(entry.get("name"), "name"),
        start_ns=_ns(entry.get("start_time"), "start_time"),
        end_ns=_ns(entry.get("end_time"), "end_time"),
        project=str(
            entry.get("project_name")
            or resource.get("openinference.project.name")
            or resource.get("service.name")
            or ""
        ),
        attributes=attributes,
        resource=resource,
        events=[one for one in entry.get("events") or [] if isinstance(one, dict)],
        status=str(status).lower(),
    )


def _flat(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes under their dotted names, whether they come so or nested; lists of messages are kept as lists."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if name == "metadata" or not isinstance(value, dict):
            found[name] = [_message(one) for one in value] if isinstance(value, list) else value
        else:
            found |= {f"{name}.{inner}": more for inner, more in _flat(value).items()}
    return found


def _message(one: Any) -> Any:
    """A message of a data frame, `message.role` and `message.content`, in the plain form."""
    if not isinstance(one, dict):
        return one
    inner = one["message"] if isinstance(one.get("message"), dict) else one
    return {str(name).removeprefix("message."): value for name, value in inner.items()}


def _hex(value: Any, name: str) -> str:
    found = word(value, name)
    if not HEX.match(found):
        raise FieldRefused(name, f"must be an id in hex, is {found!r}" if found else "is required: it is missing")
    return found.lower().removeprefix("0x")


def _ns(value: Any, name: str) -> int:
    """Nanoseconds since 1970 of a time in ISO 8601, or of such a number."""
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.replace(" ", "T", 1) if isinstance(value, str) else value
    since = parsed_moment(text, name) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _whole(span: Span) -> dict[str, Any]:
    """The conversation that a span was made of by `write`, if so."""
    given = span.attributes.get(WHOLE)
    try:
        found = json.loads(given) if isinstance(given, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("said"), list) else {}


def trace_id(conversation: str) -> str:
    """The trace that stands for a conversation which came without one."""
    return hashlib.sha256(conversation.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """A span a line: each conversation as one LLM span of its own trace, its session being the conversation."""
    for unit in units:
        yield line(_written(unit))


def _written(unit: Unit) -> dict[str, Any]:
    turns = unit.turns
    heard, said = (turns[:-1], turns[-1:]) if turns and turns[-1].get("role") == "agent" else (turns, [])
    attributes: dict[str, Any] = {"openinference.span.kind": "LLM", "session.id": unit.id}
    if unit.conversation.get("customer"):
        attributes["user.id"] = unit.conversation["customer"]
    for name, messages in (("llm.input_messages", heard), ("llm.output_messages", said)):
        for number, turn in enumerate(messages):
            attributes[f"{name}.{number}.message.role"] = openai_role(str(turn.get("role", "")))
            attributes[f"{name}.{number}.message.content"] = str(turn.get("text", ""))
    slices = {name: unit.conversation[name] for name in ("channel", "cohort") if unit.conversation.get(name)}
    attributes["metadata"] = json.dumps(slices, ensure_ascii=False)
    beside = {"id": unit.id, "said": [{"role": t.get("role"), "text": t.get("text")} for t in turns]}
    attributes[WHOLE] = json.dumps(beside | carried(unit.conversation), ensure_ascii=False)
    at = unit.conversation.get("started_at") or _EPOCH.isoformat()
    trace = trace_id(unit.id)
    return {
        "name": "conversation",
        "context": {"trace_id": trace, "span_id": trace[:16]},
        "span_kind": "LLM",
        "parent_id": None,
        "start_time": at,
        "end_time": at,
        "status_code": "OK",
        "attributes": attributes,
        "project_name": unit.conversation.get("source") or "cxlab",
    }


FORMAT = Format(
    name="openinference",
    title="OpenInference spans",
    version="OpenInference semantic conventions and OpenTelemetry GenAI; OTLP/JSON, flat spans, console exporter's JSON",
    ending="jsonl",
    entries=entries.objects("spans", "data"),
    reads={"conversations": conversations, "predictions": predictions},
    writes={"conversations": write},
    spans=True,
    drops={"conversations": "the spans that a conversation came from: it is written as one span"},
)
