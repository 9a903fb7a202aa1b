"""Spans of one session → one conversation in the contract's form, and the evaluations among them.

Pure, and a function of all spans known so far, in whatever order they came: run again when more arrive, the same spans
give the same conversation. What cannot be resolved is `unknown`, never dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labeling.formats.otlp import Span

CHANNEL = ("channel", "customer.channel", "gen_ai.voice.channel_type")
COHORT = ("cohort", "customer.cohort", "segment")
SESSION = ("session.id", "gen_ai.conversation.id", "conversation.id", "lk.room_name")
USER = ("user.id", "lk.pii.participant_identity")
KIND = ("gen_ai.span.kind", "fi.span.kind", "openinference.span.kind")
OPERATIONS = {
    "chat": "LLM",
    "text_completion": "LLM",
    "generate_content": "LLM",
    "execute_tool": "TOOL",
    "embeddings": "EMBEDDING",
}
MESSAGES = {
    "in": ("gen_ai.input.messages", "llm.input_messages"),
    "out": ("gen_ai.output.messages", "llm.output_messages"),
}
INPUT = ("input.value", "raw.input", "lk.pii.user_input", "lk.user_input", "lk.user_transcript", "input")
OUTPUT = ("output.value", "raw.output", "lk.pii.response.text", "lk.response.text", "output")
ASKED = ("query", "question", "q", "query_str", "input", "user_input", "message", "text", "prompt", "content")
ANSWERED = ("response", "answer", "output", "text", "result", "content", "message")
ROLES = {"user": "customer", "human": "customer", "customer": "customer", "assistant": "agent", "ai": "agent", "agent": "agent",
         "model": "agent", "system": "system", "developer": "system", "tool": "tool", "function": "tool"}  # fmt: skip
UNPINNED = "unpinned"
"""The version of an evaluator that does not say which model or prompt answered: reports call it out."""
NO_VERSION = re.compile(r"[\s@/]+")
MOST_TURNS = 2000
SEPARATORS = re.compile(r"[,;|]")
NUMBERED = re.compile(r"\.(\d+)\.message\.(role|content)$")
YEARS = (2000, 2090)


@dataclass(frozen=True, slots=True)
class Context:
    """What a trace says of where it belongs; None where it does not say."""

    channel: str | None = None
    cohort: str | None = None
    session: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluator's span: what it said of which span, and its pin as far as it is known."""

    name: str
    label: str | None
    score: float | None
    explanation: str
    target_span: str
    model: str
    prompt_version: str

    @property
    def labels(self) -> list[str]:
        """The labels one by one: of a list as JSON or as Python writes it, or with commas, semicolons or | between them."""
        if self.label is None:
            return []
        document = _json(self.label)
        parts = document if isinstance(document, list) else SEPARATORS.split(self.label.strip(" []()"))
        named = dict.fromkeys(name for part in parts if (name := str(part).strip(" '\"")))
        return list(named) or ([] if self.label.strip().startswith("[") else [self.label])

    @property
    def version(self) -> str:
        """The pin as a version name, which has no spaces, @ or /; `unpinned` when model or prompt is missing."""
        if not self.model or not self.prompt_version:
            return UNPINNED
        return NO_VERSION.sub("-", f"{self.model}+{self.prompt_version}")[:120]


def context(spans: Sequence[Span]) -> Context:
    """Channel, cohort, session and user of one trace: explicit attribute, then metadata of any span, then of the resource,
    then tags `k:v`; the earliest span that says it counts."""
    ordered = sorted(spans, key=lambda span: (span.start_ns, span.span_id))
    sources = [span.attributes for span in ordered]
    metadata = [_mapping(span.attributes.get("metadata")) for span in ordered]
    resources = [_mapping(span.resource.get("metadata")) | dict(span.resource) for span in ordered]
    tags = [dict(_tags(span.attributes.get("tag.tags"))) for span in ordered]
    everywhere: list[Mapping[str, Any]] = [*sources, *metadata, *resources, *tags]
    return Context(
        channel=_first(everywhere, CHANNEL),
        cohort=_first(everywhere, COHORT),
        session=_first(everywhere, SESSION),
        user=_first(everywhere, USER),
    )


def _first(sources: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    for source in sources:
        for name in names:
            value = source.get(name)
            if isinstance(value, str | int | float) and str(value).strip():
                return str(value).strip()
    return None


def _mapping(value: Any) -> dict[str, Any]:
    """Metadata comes as a JSON string, or already as a mapping."""
    if isinstance(value, str):
        value = _json(value)
    return value if isinstance(value, dict) else {}


def _tags(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        value = _json(value)
    for tag in value if isinstance(value, list) else []:
        name, colon, rest = str(tag).partition(":")
        if colon:
            yield name.strip(), rest.strip()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def kind(span: Span) -> str:
    """LLM, CHAIN, TOOL, RETRIEVER, AGENT ...; EVALUATOR for a span that carries an evaluation."""
    if "gen_ai.evaluation.name" in span.attributes:
        return "EVALUATOR"
    for name in KIND:
        value = str(span.attributes.get(name, "")).upper()
        if value and value != "UNKNOWN":
            return value
    return OPERATIONS.get(str(span.attributes.get("gen_ai.operation.name", "")), "UNKNOWN")


def conversation(key: str, project: str, traces: Mapping[str, Sequence[Span]]) -> dict[str, Any]:
    """The contract's conversation from the traces of one session (or a single trace), oldest first."""
    ordered = sorted(traces.values(), key=lambda spans: min((span.start_ns, span.span_id) for span in spans))
    every = [span for spans in ordered for span in spans]
    contexts = [context(spans) for spans in ordered]
    started = started_at(every)
    row: dict[str, Any] = {
        "id": key,
        "source": (project or "unknown")[:100],
        "channel": next((found.channel for found in contexts if found.channel), "unknown")[:60],
        "cohort": next((found.cohort for found in contexts if found.cohort), "unknown")[:200],
        "customer": next((found.user for found in contexts if found.user), "")[:200],
        "turns": turns(ordered),
        "metadata": {"traces": sorted(traces)},
    }
    if started is not None:
        row["started_at"] = started.isoformat()
    else:
        row["metadata"]["clock"] = "the spans' clock is outside 2000 to 2090; no time is kept"
    return row


def started_at(spans: Iterable[Span]) -> datetime | None:
    """When the first span with a believable clock began."""
    for start in sorted(span.start_ns for span in spans):
        moment = _moment(start)
        if moment is not None:
            return moment
    return None


def _moment(nanoseconds: int) -> datetime | None:
    try:
        moment = datetime.fromtimestamp(nanoseconds // 1000 / 1e6, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment if YEARS[0] <= moment.year < YEARS[1] else None


def turns(traces: Sequence[Sequence[Span]]) -> list[dict[str, Any]]:
    """What was said, in order of time, without what each call resends of the history; at most the first MOST_TURNS."""
    said: list[dict[str, Any]] = []
    for spans in traces:
        ordered = sorted(spans, key=lambda span: (span.start_ns, span.span_id))
        calls = [(span, *messages(span)) for span in ordered if kind(span) not in ("EVALUATOR", "EMBEDDING")]
        spoken = [(span, heard, answer) for span, heard, answer in calls if heard or answer]
        for span, heard, answer in spoken or list(_plain_exchange(ordered)):
            _extend(said, heard, answer, span)
            if len(said) >= MOST_TURNS:
                return said[:MOST_TURNS]
    return said


def messages(span: Span) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(role, text) of what a call was given and what it answered, in any of the forms in use."""
    return _messages(span.attributes, MESSAGES["in"]), _messages(span.attributes, MESSAGES["out"])


def _messages(attributes: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, str]]:
    for name in names:
        whole = attributes.get(name)
        if isinstance(whole, str):
            whole = _json(whole)
        if isinstance(whole, list):
            return [found for entry in whole if isinstance(entry, dict) and (found := _message(entry)) is not None]
        numbered: dict[int, dict[str, Any]] = {}
        for attribute, value in attributes.items():
            if attribute.startswith(f"{name}.") and (match := NUMBERED.search(attribute)):
                numbered.setdefault(int(match.group(1)), {})[match.group(2)] = value
        if numbered:
            return [found for _, entry in sorted(numbered.items()) if (found := _message(entry)) is not None]
    return []


def _message(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    role = ROLES.get(str(entry.get("role", "")).lower(), "agent")
    text = _content(entry.get("content", entry.get("parts", "")))
    return (role, text) if text.strip() else None


def _content(content: Any) -> str:
    """Text of a message whose content is text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [
        part if isinstance(part, str) else str(part.get("content") or part.get("text") or "") for part in parts if part
    ]
    return "\n".join(text for text in texts if text)


def _plain_exchange(ordered: Sequence[Span]) -> Iterator[tuple[Span, list[tuple[str, str]], list[tuple[str, str]]]]:
    """Where no call carries messages: input and output of the trace's roots, or of its speech spans."""
    speech = [
        span for span in ordered if span.attributes.get("transcript") or span.attributes.get("lk.user_transcript")
    ]
    known = {span.span_id for span in ordered}
    tops = [span for span in ordered if not span.parent_id or span.parent_id not in known]
    for span in speech or [span for span in tops if kind(span) in ("CHAIN", "AGENT", "LLM", "UNKNOWN", "SERVER")]:
        heard = str(span.attributes.get("transcript") or "") or _text(span.attributes, INPUT, ASKED)
        answer = _text(span.attributes, OUTPUT, ANSWERED)
        if heard or answer:
            yield span, [("customer", heard)] if heard else [], [("agent", answer)] if answer else []


def answer(span: Span) -> str:
    """What a span gave: its output, or what was heard in it."""
    return _text(span.attributes, OUTPUT, ANSWERED) or str(span.attributes.get("transcript") or "")


def _text(attributes: Mapping[str, Any], names: Sequence[str], keys: Sequence[str]) -> str:
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str) and value.strip():
            return _said(value, keys)
    return ""


def _said(value: str, keys: Sequence[str]) -> str:
    """The words in a value that may be plain text, a JSON string, or a JSON object around them; data is no speech."""
    document = _json(value)
    if isinstance(document, str):
        return document
    if isinstance(document, dict):
        return next((str(document[key]) for key in keys if isinstance(document.get(key), str)), "")
    return "" if isinstance(document, list) else value


def _extend(
    said: list[dict[str, Any]], heard: Sequence[tuple[str, str]], answer: Sequence[tuple[str, str]], span: Span
) -> None:
    """Add what is new in one call: its history ends where what was said so far begins to repeat."""
    spoken = [(turn["role"], turn["text"]) for turn in said]
    seen = set(spoken)
    prompts = [message for message in heard if message[0] == "system"]
    history = [message for message in heard if message[0] != "system"]
    aloud = [message for message in spoken if message[0] != "system"]
    both = [*history, *answer]
    overlap = next((size for size in range(min(len(aloud), len(both)), 0, -1) if aloud[-size:] == both[:size]), 0)
    fresh = [message for message in prompts if message not in seen]
    if overlap:
        fresh += both[overlap:]
    else:
        fresh += [message for message in history if message not in seen]
        fresh += [message for message in answer if not aloud or aloud[-1] != message]
    for role, text in fresh:
        moment = _moment(span.end_ns if (role, text) in answer else span.start_ns)
        said.append({"role": role, "text": text} | ({"at": moment.isoformat()} if moment else {}))


def _label(given: Any) -> str | None:
    if isinstance(given, list):
        return json.dumps(given, ensure_ascii=False)
    return None if given in (None, "") else str(given)


def evaluations(spans: Iterable[Span]) -> list[Evaluation]:
    """The evaluator spans, in order of time."""
    found = []
    for span in sorted(spans, key=lambda span: (span.start_ns, span.span_id)):
        given = span.attributes
        if "gen_ai.evaluation.name" not in given:
            continue
        score = given.get("gen_ai.evaluation.score.value")
        label = given.get("gen_ai.evaluation.score.label")
        found.append(
            Evaluation(
                name=str(given["gen_ai.evaluation.name"]),
                label=_label(label),
                score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
                explanation=str(given.get("gen_ai.evaluation.explanation", "")),
                target_span=str(given.get("gen_ai.evaluation.target_span_id", "")),
                model=str(given.get("gen_ai.request.model") or given.get("llm.model_name") or ""),
                prompt_version=str(
                    given.get("gen_ai.prompt.template.version") or given.get("llm.prompt_template.version") or ""
                ),
            )
        )
    return found
