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
VOICED = ("lk.pii.user_input", "lk.user_input", "lk.pii.response.text", "lk.response.text")
"""Turns of a call, which are said whatever kind of span has them."""
INPUT = ("input.value", "raw.input", "lk.pii.user_input", "lk.user_input", "input")
OUTPUT = ("output.value", "raw.output", "lk.pii.response.text", "lk.response.text", "output")
TRANSCRIPT = ("transcript", "lk.user_transcript")
ALOUD = ("text",)
ASKED = ("query", "question", "q", "query_str", "input", "user_input", "message", "text", "prompt", "content")
ANSWERED = ("response", "answer", "output", "text", "result", "content", "message")
ROLES = {"user": "customer", "human": "customer", "customer": "customer", "assistant": "agent", "ai": "agent", "agent": "agent",
         "model": "agent", "system": "system", "developer": "system", "tool": "tool", "function": "tool"}  # fmt: skip
SILENT = ("EVALUATOR", "EMBEDDING", "TOOL", "RETRIEVER", "RERANKER", "GUARDRAIL", "VECTOR_DB", "PROMPT")
"""Kinds of spans whose input and output pass between machines."""
SPEAKERS = ("LLM", "AGENT")
UNPINNED = "unpinned"
"""The version of an evaluator that does not say which model or prompt answered: reports call it out."""
NO_VERSION = re.compile(r"[\s@/]+")
MOST_TURNS = 2000
SEPARATORS = re.compile(r"[,;|]")
NUMBERED = re.compile(r"\.(\d+)\.message\.(role|content)$")
WORD = re.compile(r"\w+")
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


Words = list[tuple[str, str]]
"""(role, text) in the order in which they were said."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What one span was given and answered, as far as it counts, and when that is placed among the others."""

    span: Span
    moment: int
    heard: Words
    answer: Words


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn with its place in time: at the same moment the agent answers what is asked."""

    role: str
    text: str
    moment: int
    at_ns: int

    @property
    def place(self) -> tuple[int, bool]:
        return self.moment, self.role == "agent"

    def row(self) -> dict[str, Any]:
        at = _moment(self.at_ns)
        return {"role": self.role, "text": self.text} | ({"at": at.isoformat()} if at else {})


def turns(traces: Sequence[Sequence[Span]]) -> list[dict[str, Any]]:
    """What was said, in order of time, without what each call resends of the history; at most the first MOST_TURNS."""
    said: list[_Turn] = []
    for spans in traces:
        for exchange in _exchanges(spans):
            if len(said) < MOST_TURNS:
                _extend(said, exchange)
    _speak(said, [voice for spans in traces for voice in _voices(spans)])
    return [turn.row() for turn in said[:MOST_TURNS]]


def _exchanges(spans: Sequence[Span]) -> list[_Exchange]:
    """What counts of the words of one trace, in order of time.

    An answer of a span that does not say what it was asked waits for what was heard inside of it.
    """
    above = _above(spans)
    by_id = {span.span_id: span for span in spans}
    calls = {name: messages(span) for name, span in by_id.items() if kind(span) not in ("EVALUATOR", "EMBEDDING")}
    plain = {name: _plain(span) for name, span in by_id.items() if kind(span) not in SILENT and not all(calls[name])}
    heard, answers = (_side(by_id, above, _of(calls, side), _of(plain, side)) for side in (0, 1))
    moments = {span.span_id: span.start_ns for span in spans}
    starts = dict(moments)
    for span in spans:
        if span.span_id in heard or _text(span.attributes, TRANSCRIPT, ASKED):
            for over in above[span.span_id]:
                if over not in heard:
                    moments[over] = max(moments[over], starts[span.span_id])
    found = [
        _Exchange(span, moments[span.span_id], heard.get(span.span_id, []), answers.get(span.span_id, []))
        for span in spans
        if span.span_id in heard or span.span_id in answers
    ]
    return sorted(found, key=lambda one: (one.moment, not one.heard, one.span.span_id))


def _above(spans: Sequence[Span]) -> dict[str, list[str]]:
    """Of each span the spans that it ran in, as far as they are known; one that is said to run in itself is a root."""
    parents = {span.span_id: span.parent_id for span in spans}
    found: dict[str, list[str]] = {}
    for span in spans:
        chain: dict[str, None] = {}
        over = span.parent_id
        while over in parents and over != span.span_id and over not in chain:
            chain[over] = None
            over = parents[over]
        found[span.span_id] = [] if over == span.span_id else list(chain)
    return found


def _of(pairs: Mapping[str, tuple[Words, Words]], side: int) -> dict[str, Words]:
    return {name: pair[side] for name, pair in pairs.items() if pair[side]}


def _side(
    by_id: Mapping[str, Span],
    above: Mapping[str, Sequence[str]],
    called: Mapping[str, Words],
    plain: Mapping[str, Words],
) -> dict[str, Words]:
    """The words that count of all that was heard, or of all that was answered: messages of calls; else those of the topmost
    spans that have any, so that a chain and the model in it do not say the same twice.

    Every rule leaves the words of another span where it takes some away: more spans never silence a trace.
    """
    framing = {over for name in called for over in above[name]}
    weighed = {name: words for name, words in plain.items() if not called or name in framing or _speaks(by_id[name])}
    top = {
        name: words
        for name, words in weighed.items()
        if name not in called
        and name not in framing
        and not any(over in weighed or over in called for over in above[name])
    }
    outside = {
        name: words for name, words in top.items() if not any(kind(by_id[over]) in SILENT for over in above[name])
    }
    return {**called, **(outside or ({} if called else top))}


def _speaks(span: Span) -> bool:
    """Whether its own words count beside the messages of other calls: those of chains and steps are what they pass on."""
    return kind(span) in SPEAKERS or any(name in span.attributes for name in VOICED)


def messages(span: Span) -> tuple[Words, Words]:
    """(role, text) of what a call was given and what it answered, in any of the forms in use."""
    return _messages(span.attributes, MESSAGES["in"]), _messages(span.attributes, MESSAGES["out"])


def _messages(attributes: Mapping[str, Any], names: Sequence[str]) -> Words:
    for name in names:
        whole = attributes.get(name)
        if isinstance(whole, str):
            whole = _json(whole)
        if isinstance(whole, list):
            return _all_messages(whole)
        numbered: dict[int, dict[str, Any]] = {}
        for attribute, value in attributes.items():
            if attribute.startswith(f"{name}.") and (match := NUMBERED.search(attribute)):
                numbered.setdefault(int(match.group(1)), {})[match.group(2)] = value
        if numbered:
            return _all_messages([entry for _, entry in sorted(numbered.items())])
    return []


def _all_messages(entries: Iterable[Any]) -> Words:
    return [found for entry in entries if isinstance(entry, dict) and (found := _message(entry)) is not None]


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


def _plain(span: Span) -> tuple[Words, Words]:
    """What a span was given and gave where no messages say it. A step within a chain that takes or gives a list works on
    data: it splits or looks up."""
    values = [_first_text(span.attributes, names) for names in (INPUT, OUTPUT)]
    heard, answer = _said(values[0], ASKED, "customer"), _said(values[1], ANSWERED, "agent")
    if span.parent_id and not _speaks(span) and any(map(_is_data, values)):
        return [], []
    return heard, answer


def _is_data(value: str) -> bool:
    document = _json(value)
    return isinstance(document, list) and not _conversed(document)


def _conversed(document: Sequence[Any]) -> bool:
    """Whether a list is one of messages, which say who speaks."""
    return any(isinstance(entry, dict) and "role" in entry for entry in document)


def _voices(spans: Sequence[Span]) -> Iterator[_Turn]:
    """What was heard in speech, and what was said aloud."""
    for span in spans:
        if kind(span) in SILENT:
            continue
        transcript = _text(span.attributes, TRANSCRIPT, ASKED)
        text = transcript or _text(span.attributes, ALOUD, ANSWERED)
        if text:
            yield _Turn("customer" if transcript else "agent", text, span.start_ns, span.start_ns)


def answer(span: Span) -> str:
    """What a span gave: its output, or what was heard or said in it."""
    return _text(span.attributes, OUTPUT, ANSWERED) or _text(span.attributes, (*TRANSCRIPT, *ALOUD), ANSWERED)


def _text(attributes: Mapping[str, Any], names: Sequence[str], keys: Sequence[str]) -> str:
    return "\n".join(text for _, text in _said(_first_text(attributes, names), keys, ""))


def _first_text(attributes: Mapping[str, Any], names: Sequence[str]) -> str:
    given = (attributes.get(name) for name in names)
    return next((value for value in given if isinstance(value, str) and value.strip()), "")


def _said(value: str, keys: Sequence[str], role: str) -> Words:
    """The words in a value that may be plain text, a JSON string, a JSON object around them, or a list of messages; other
    data is no speech."""
    document = _json(value)
    if isinstance(document, list):
        return _all_messages(entry for entry in document if isinstance(entry, dict) and "role" in entry)
    if isinstance(document, dict):
        text = next((document[key] for key in keys if isinstance(document.get(key), str)), "")
    else:
        text = document if isinstance(document, str) else value
    return [(role, text)] if text.strip() else []


def _extend(said: list[_Turn], exchange: _Exchange) -> None:
    """Add what is new in one call: its history ends where what was said so far begins to repeat."""
    heard, answer, span = exchange.heard, exchange.answer, exchange.span
    spoken = [(turn.role, turn.text) for turn in said]
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
        at_ns = span.end_ns if (role, text) in answer else span.start_ns
        said.append(_Turn(role, text, exchange.moment, at_ns))


def _speak(said: list[_Turn], voices: Iterable[_Turn]) -> None:
    """Add in its place what was spoken and stands nowhere in what was written.

    A model's answer is said aloud sentence by sentence, and what a customer says in pieces is one message to it: each part
    of a turn is taken for it once, and equal turns before parts.
    """
    left = sorted(voices, key=lambda voice: (voice.place, voice.text))
    unspoken = [(turn.role, _words(turn.text)) for turn in said]
    for whole in (True, False):
        left = [voice for voice in left if not _stands_in(unspoken, voice, whole=whole)]
    for voice in left:
        after = next((number for number in range(len(said), 0, -1) if said[number - 1].place <= voice.place), 0)
        if not after or (said[after - 1].role, said[after - 1].text) != (voice.role, voice.text):
            said.insert(after, voice)


def _stands_in(unspoken: list[tuple[str, str]], voice: _Turn, *, whole: bool) -> bool:
    """Whether a turn has this among its words that nobody spoke yet; then they are spoken."""
    words = _words(voice.text)
    for number, (role, rest) in enumerate(unspoken):
        if role == voice.role and (words == rest if whole else words in rest):
            unspoken[number] = role, rest[rest.index(words) + len(words) - 1 :]
            return True
    return False


def _words(text: str) -> str:
    """A text as its words alone, a space around each: speech has neither marks nor capitals."""
    return f" {' '.join(WORD.findall(text.casefold())) or text.strip()} "


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
