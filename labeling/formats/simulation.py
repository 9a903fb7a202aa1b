"""Reports of simulated conversations: agent-simulate (0.1) and agent-learning-kit (0.3), whose runs a gate can judge."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labeling.formats import entries
from labeling.formats.openai_chat import words
from labeling.formats.rows import FieldRefused
from labeling.formats.shapes import (
    CARRIED,
    Format,
    Options,
    Unit,
    answer,
    carried,
    dialogue,
    each,
    listed,
    mapped,
    openai_role,
    restored,
    without,
    word,
)

SPOKEN = re.compile(r"^([A-Za-z_][\w .-]{0,39}): ?(.*)$")
# In the transcript of a call the roles are the simulated customer's own: what it says is the `assistant`.
SEEN_BY_CUSTOMER = {"assistant": "customer", "user": "agent"}
UNPINNED = "unpinned"


def conversations(case: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """What was said in one test case; a case that failed before anybody spoke is refused by its status."""
    result, about = _result(case), mapped(case.get("metadata"), "metadata")
    persona = mapped(mapped(result.get("persona", case.get("persona")), "persona"), "persona")
    turns = _turns(result, options)
    audio = next((result[name] for name in ("audio_combined_path", "audio_stereo_path") if result.get(name)), "")
    who = mapped(persona.get("persona"), "persona.persona")
    metadata = without(
        {"persona": who, "situation": persona.get("situation"), "outcome": persona.get("outcome"),
         "run": about or mapped(result.get("metadata"), "metadata"), "tool_calls": result.get("tool_calls") or None},
    )  # fmt: skip
    beside = mapped(result.get("metadata"), "metadata").get(CARRIED)
    row: dict[str, Any] = {"id": _id(case, options), "turns": turns}
    if beside is None:
        row |= {"source": "simulation", "metadata": metadata}
    if audio:
        row |= {"audio": word(audio, "audio_combined_path"), "channel": options.given.get("channel") or "voice"}
    if who.get("name"):
        row["customer"] = word(who["name"], "persona.name")
    if isinstance(case.get("started_at"), str):
        row["started_at"] = case["started_at"]
    known = mapped(beside, CARRIED)
    yield restored(row, {name: value for name, value in known.items() if name != "evaluation"})


def predictions(case: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A prediction for each evaluation: its template is the classifier, and the signal of the same name."""
    result = _result(case)
    beside = mapped(mapped(result.get("metadata"), "metadata").get(CARRIED), CARRIED)
    known = mapped(beside.get("evaluation"), CARRIED)
    for template, found in mapped(result.get("evaluation"), "evaluation").items():
        found = mapped(found, f"evaluation.{template}")
        if template in known:
            yield {**mapped(known[template], CARRIED), "conversation": _id(case, options)}
            continue
        slug = re.sub(r"[^a-z0-9_.-]+", "-", template.strip().lower()).strip("-")
        signal = options.given.get("signal") or slug
        row: dict[str, Any] = {
            "conversation": _id(case, options), "turn": None, "classifier": options.given.get("classifier") or slug,
            "version": options.given.get("version") or UNPINNED, "signal": signal, "value": None,
        }  # fmt: skip
        if "error" in found:
            yield row | {"status": "error", "rationale": word(found["error"], "error")}
            continue
        said = found.get("output")
        said = found.get("score") if said is None else said
        if said is None:
            yield row | {"status": "missing"}
            continue
        row["value"] = answer(said, signal, options, f"evaluation.{template}.output")
        score = found.get("score")
        row |= {"score": score} if isinstance(score, int | float) and not isinstance(score, bool) else {}
        yield row | {"rationale": word(found.get("reason"), f"evaluation.{template}.reason")}


def _result(case: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a case: agent-simulate's is the case itself, agent-learning-kit's report wraps it."""
    if "test_case_id" in case and case.get("result") is None:
        status = word(case.get("status"), "status") or "unknown"
        raise FieldRefused("result", f"is missing: the case ended as {status}")
    return mapped(case["result"], "result") if "result" in case else dict(case)


def _id(case: Mapping[str, Any], options: Options) -> str:
    result = mapped(case.get("result"), "result") or case
    metadata = mapped(result.get("metadata"), "metadata")
    found = word(
        metadata.get("conversation") or case.get("test_case_id") or metadata.get("test_case_id"), "test_case_id"
    )
    # A report of agent-simulate has no ids: its place in the file is one, and the file's name keeps reports apart.
    found = found or f"{options.stem or 'simulation'}-{case['number']}"
    return options.reference(found)


def _turns(result: Mapping[str, Any], options: Options) -> list[dict[str, Any]]:
    said = []
    for message in listed(result.get("messages"), "messages"):
        message = mapped(message, "messages")
        text = words(message.get("content", message.get("text")))
        if text or message.get("content") == "":
            said.append((word(message.get("role"), "role"), text))
    if any(text for _, text in said):
        return dialogue(said, options, first="customer")
    transcript = result.get("transcript")
    if not isinstance(transcript, str) or not transcript.strip():
        raise FieldRefused("transcript", "is required: neither messages nor a transcript with words are there")
    lines: list[tuple[str, str]] = []
    for one in transcript.split("\n"):
        spoken = SPOKEN.match(one)
        if spoken:
            lines.append((spoken.group(1), spoken.group(2)))
        elif lines:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]}\n{one}")
        else:
            raise FieldRefused("transcript", f"has no speaker before its first words: {one[:60]!r}")
    named = options.given.get("customers") or options.given.get("agents")
    seen = lines if named else [(SEEN_BY_CUSTOMER.get(who.lower(), who), text) for who, text in lines]
    return dialogue(seen, options, first="agent")


def numbered(stream: Any, options: Options) -> Any:
    """The cases of a report with their numbers."""
    for entry in entries.objects("results", "test_cases")(stream, options):
        if not hasattr(entry, "message"):
            entry.data.setdefault("number", entry.line)
        yield entry


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """A report as agent-learning-kit has it: a case for each conversation, its predictions as evaluations."""
    yield b'{"results": [\n'
    between = b""
    for unit in units:
        yield between + json.dumps(_case(unit), ensure_ascii=False).encode("utf-8", "backslashreplace")
        between = b",\n"
    yield b"\n]}\n"


def _case(unit: Unit) -> dict[str, Any]:
    messages = [{"role": openai_role(str(t.get("role", ""))), "content": str(t.get("text", ""))} for t in unit.turns]
    evaluation, kept = {}, {}
    for row in unit.predictions:
        if row.get("turn") is not None or row.get("value") is None:
            continue
        name = f"{row['classifier']}@{row['version']}"
        evaluation[name] = {"output": row["value"], "reason": row.get("rationale"), "score": row.get("score")}
        kept[name] = without(row, "conversation", "turn", "value") | {"turn": None, "value": row["value"]}
    about = unit.conversation.get("metadata") or {}
    persona = {
        "persona": about.get("persona") or {},
        "situation": about.get("situation") or "",
        "outcome": about.get("outcome") or "",
    }
    beside = carried(unit.conversation) | ({"evaluation": kept} if kept else {})
    return {
        "persona": persona,
        "transcript": "\n".join(f"{one['role']}: {one['content']}" for one in messages),
        "messages": messages,
        "metadata": {"conversation": unit.id, CARRIED: beside},
        "evaluation": evaluation or None,
    }


FORMAT = Format(
    name="simulation",
    title="Simulation reports",
    version="agent-simulate 0.1.3 TestReport; agent-learning-kit 0.3.3 TestReport and simulation-report.v1",
    ending="json",
    content_type="application/json",
    entries=numbered,
    reads={"conversations": each(conversations), "predictions": each(predictions)},
    writes={"conversations": write, "predictions": write},
    fields=("transcript", "messages", "evaluation"),
    needs={"conversations": ("channel",), "predictions": ("version",)},
    drops={
        "conversations": "nothing; a conversation without a word is refused",
        "predictions": "predictions of single turns, and those that failed",
    },
)
