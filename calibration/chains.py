"""The spans of a conversation as steps: what ran inside what, how long it took, and what was said of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from calibration import sessions
from calibration.models import Span
from labeling.formats import otlp, traces
from labeling.personal import Mask

MOST_STEPS = 200
WORDS = {"LLM": "model", "TOOL": "tool", "RETRIEVER": "retrieval", "EMBEDDING": "embedding", "AGENT": "agent",
         "CHAIN": "chain", "GUARDRAIL": "guardrail", "RERANKER": "reranking", "STT": "speech to text",
         "TTS": "text to speech", "SERVER": "server", "UNKNOWN": "step"}  # fmt: skip
EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an evaluator's span said; `note` says why it is no prediction, where it is none."""

    name: str
    version: str
    label: str
    explanation: str
    note: str

    @property
    def unpinned(self) -> bool:
        return self.version == traces.UNPINNED


@dataclass(frozen=True, slots=True)
class Step:
    """One span: its depth in the tree, when it began after the first, how long it took, what it gave."""

    depth: int
    kind: str
    name: str
    model: str
    after: float | None
    seconds: float | None
    failed: bool
    gave: str
    verdicts: list[Verdict]


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps in order, where they began, and how many there are in all."""

    steps: list[Step]
    began: datetime | None
    total: int
    loose: list[Verdict]

    @property
    def indented(self) -> bool:
        return any(step.depth for step in self.steps)


def of_conversation(key: str, *, mask: Mask) -> Chain | None:
    """The chain of a conversation that came as traces, its texts masked; None for others."""
    return _chain(Span.objects.filter(conversation_key=key), mask)


def of_trace(trace_id: str, *, mask: Mask) -> Chain | None:
    """The chain of one trace, whether or not it became a conversation; its texts masked."""
    return _chain(Span.objects.filter(trace_id=trace_id), mask)


def _chain(found: Any, mask: Mask) -> Chain | None:
    rows = [sessions.plain(row) for row in found.order_by("start_ns", "trace_id", "span_id")[: 2 * MOST_STEPS]]
    if not rows:
        return None
    judged: dict[str, list[Verdict]] = defaultdict(list)
    acts = [row for row in rows if traces.kind(row) != "EVALUATOR"]
    known = {row.span_id for row in acts}
    loose = []
    for evaluation in traces.evaluations(rows):
        verdict = _verdict(evaluation, mask)
        if evaluation.target_span in known:
            judged[evaluation.target_span].append(verdict)
        else:
            loose.append(verdict)
    began = traces.started_at(rows)
    first = int(began.timestamp() * 1e9) if began else None
    steps = [_step(row, depth, first, judged[row.span_id], mask) for row, depth in _in_tree(acts)][:MOST_STEPS]
    return Chain(steps, began, found.count(), loose)


def _in_tree(rows: Sequence[otlp.Span]) -> Iterable[tuple[otlp.Span, int]]:
    """Each span after the one that it ran in, in order of time; one whose parent never came is a root."""
    known = {(row.trace_id, row.span_id) for row in rows}
    children: dict[tuple[str, str], list[otlp.Span]] = defaultdict(list)
    roots: list[otlp.Span] = []
    for row in rows:
        parent = (row.trace_id, row.parent_id)
        (children[parent] if parent in known and row.parent_id != row.span_id else roots).append(row)
    stack = [(row, 0) for row in reversed(roots)]
    seen: set[tuple[str, str]] = set()
    while stack:
        row, depth = stack.pop()
        if (row.trace_id, row.span_id) in seen:
            continue
        seen.add((row.trace_id, row.span_id))
        yield row, depth
        stack += [(child, depth + 1) for child in reversed(children[row.trace_id, row.span_id])]


def _step(row: otlp.Span, depth: int, first: int | None, verdicts: list[Verdict], mask: Mask) -> Step:
    kind = traces.kind(row)
    timed = traces.started_at([row]) is not None and row.end_ns >= row.start_ns
    model = row.attributes.get("gen_ai.response.model") or row.attributes.get("gen_ai.request.model")
    return Step(
        depth=min(depth, 6),
        kind=WORDS.get(kind, kind.lower().replace("_", " ")),
        name=mask.text(row.name),
        model=str(model or row.attributes.get("llm.model_name") or ""),
        after=(row.start_ns - first) / 1e9 if timed and first is not None else None,
        seconds=(row.end_ns - row.start_ns) / 1e9 if timed else None,
        failed=row.status == "error",
        gave=_gave(row, mask),
        verdicts=verdicts,
    )


def _gave(row: otlp.Span, mask: Mask) -> str:
    """What a step answered, cut short; what was heard, of a step that only listens. Masked first: half a number is none."""
    heard, answered = traces.messages(row)
    said = traces.answer(row)
    texts = (
        [text for _, text in answered]
        or ([said] if said else [text for _, text in heard[-1:]])
        or [text for _, text in heard[-1:]]
    )
    if not any(texts):  # a tool gives data, not words
        given = row.attributes.get("output.value") or row.attributes.get("raw.output") or ""
        texts = [given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)]
    text = mask.text(" ".join(" ".join(texts).split()))
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…"


def _verdict(evaluation: traces.Evaluation, mask: Mask) -> Verdict:
    signal, value = sessions.answered(evaluation)
    note = ""
    if signal is None:
        note = f"no signal or classifier is called {sessions.slug_of(evaluation)}"
    elif value is None:
        note = f"the scale of {signal.slug} does not have this answer"
    label = evaluation.label or ("" if evaluation.score is None else f"{evaluation.score:g}")
    return Verdict(evaluation.name, evaluation.version, mask.text(label), mask.text(evaluation.explanation), note)
