"""Evaluations on demand: a client names an evaluator and sends a text, the pinned version of that name answers.

Nothing is stored: the client keeps what it asked for. An evaluation that cannot be made is an error with its reason,
never an empty result that a gate could take for a pass.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calibration import evaluators
from calibration.evaluators import Answer, Text
from calibration.evaluators.base import EvaluatorUnavailable, Hurried
from calibration.evaluators.judge import PLACE
from calibration.models import Classifier, ClassifierVersion, Prediction
from labeling.errors import NotFound, Refused
from labeling.formats.traces import ROLES
from labeling.models import WHOLE, Signal

CONVERSATION, OUTPUT, INPUT = "conversation", "output", "input"
SUMMARY, INSTRUCTIONS = "summary", "system_prompt"
KEYS = (CONVERSATION, OUTPUT, INPUT, "text", "transcript", "generated_transcript")
"""Under which keys a text may come; the first that is given is read."""
BESIDE = {"summary": SUMMARY, "instructions": INSTRUCTIONS}
"""Places of a prompt that are filled by an input beside the text."""
OF_ONE_TEXT = {"tone"}
"""Evaluators to which clients send one text as their output, whatever the unit of the signal here."""
SPOKEN = re.compile(r"^\s*(user|human|customer|assistant|ai|agent|bot|model|system|tool)\s*:\s*", re.IGNORECASE)
MOST_TEXTS = 100
PASS_WORDS = ({"pass", "fail"}, {"passed", "failed"})
PATIENCE = 45.0
"""Seconds that a request may take in all: it holds a thread of the web server."""
MOST_AT_ONCE = 4
"""Evaluations of one process at once, so that the other threads stay free for people."""
ASKING = threading.BoundedSemaphore(MOST_AT_ONCE)
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "cxlab/evaluation")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a version answered to one text."""

    version: ClassifierVersion
    answer: Answer
    output_type: str
    id: str

    def as_dict(self, name: str) -> dict[str, Any]:
        """The form that clients of `new-eval` read; labels stay labels and are never turned into scores."""
        return {
            "name": name,
            "reason": self.answer.rationale,
            "runtime": round(1000 * (self.answer.seconds or 0.0)),  # whole milliseconds: clients take no fraction
            "output": self.answer.value,
            "output_type": self.output_type,
            "eval_id": self.id,
            "model": str(self.version),
        }


def listing() -> list[dict[str, Any]]:
    """The evaluators that can be run, by name, each with the key under which it wants its text."""
    runnable = Classifier.objects.filter(versions__kind__in=evaluators.KINDS).select_related("signal").distinct()
    return [
        {
            "name": classifier.slug,
            "eval_id": classifier.slug,
            "description": classifier.title,
            "config": {"required_keys": required_keys(classifier), "output_type": output_type(classifier.signal)},
        }
        for classifier in runnable.order_by("slug")
    ]


def named(name: str) -> Classifier:
    """The classifier that an evaluator's name means, `_` and `-` alike; raises NotFound."""
    wanted = _plain(name)
    slugs = {slug: _plain(slug) for slug in Classifier.objects.values_list("slug", flat=True)}
    found = name if name in slugs else next((slug for slug, plain in sorted(slugs.items()) if plain == wanted), None)
    if found is None:
        raise NotFound("unknown_eval", f"there is no classifier {name!r} to evaluate with", field="eval_name")
    return Classifier.objects.select_related("signal").get(slug=found)


def evaluate(*, name: str, inputs: Mapping[str, Any], model: str = "") -> list[Evaluation]:
    """What the evaluator says of each text in `inputs`.

    The newest runnable version answers, unless `model` names another one by its version or its model.
    """
    classifier = named(name)
    version = _version(classifier, model)
    texts = list(read(inputs, wanted=required_key(classifier)))
    summary = _beside(inputs, SUMMARY, len(texts))
    kind = output_type(classifier.signal)
    by_turn = classifier.signal.unit == Signal.Unit.TURN
    if not ASKING.acquire(blocking=False):
        raise Refused("busy", f"{MOST_AT_ONCE} evaluations are being made already: come back in a moment", status=503)
    try:
        evaluator = evaluators.make(version)
        until = time.monotonic() + PATIENCE
        found: list[Evaluation] = []
        for turns in texts:
            left = until - time.monotonic()
            if left <= 0:
                raise Refused(
                    "too_slow", f"{len(found)} of {len(texts)} texts were answered in {PATIENCE:g} seconds: send fewer at once",
                    status=503,
                )  # fmt: skip
            if isinstance(evaluator, Hurried):
                evaluator.hurried(left)
            found.append(
                Evaluation(
                    version,
                    _answer(evaluator, version, turns, by_turn, summary),
                    kind,
                    _identity(version, turns, summary),
                )
            )
        return found
    finally:
        ASKING.release()


def required_key(classifier: Classifier) -> str:
    """`conversation` for signals of whole conversations, `output` for signals of a turn."""
    alone = classifier.slug in OF_ONE_TEXT or classifier.signal.unit == Signal.Unit.TURN
    return OUTPUT if alone else CONVERSATION


def required_keys(classifier: Classifier) -> list[str]:
    """All that the version which would answer needs: the text, and what its prompt reads beside it."""
    places = PLACE.findall(_version(classifier, "").prompt)
    return [required_key(classifier), *(key for place, key in BESIDE.items() if place in places)]


def output_type(signal: Signal) -> str:
    """How an answer on the signal's scale is to be read: a number is a score, everything else a choice."""
    if signal.scale == Signal.Scale.INTERVAL:
        return "score"
    values = {category.value.lower() for category in signal.categories.all()}
    return "Pass/Fail" if values in PASS_WORDS else "choices"


def read(inputs: Mapping[str, Any], *, wanted: str) -> Iterator[list[dict[str, str]]]:
    """The turns of each text in `inputs`; a list of texts is as many evaluations. Refused where there is no text."""
    key = wanted if inputs.get(wanted) else next((key for key in KEYS if inputs.get(key)), None)
    if key is None:
        others = ", ".join(other for other in KEYS if other != wanted)
        raise Refused(
            "missing_input", f"inputs.{wanted} is missing: the text to evaluate ({others} are read as well)",
            field=f"inputs.{wanted}", status=400,
        )  # fmt: skip
    given = inputs[key]
    several = isinstance(given, list) and all(isinstance(one, str) for one in given)
    told = _beside(inputs, INSTRUCTIONS, len(given) if several else 1)
    first = [{"role": "system", "text": told}] if told else []
    if several and len(given) > MOST_TEXTS:
        raise Refused("too_many_texts", f"at most {MOST_TEXTS} texts in one request", field=f"inputs.{key}", status=400)
    for one in given if several else [given]:
        turns = _turns(one, asked=inputs.get(INPUT) if key == OUTPUT else None)
        if not turns:
            raise Refused(
                "unreadable_input", f"inputs.{key} must be a text, or a list of messages with role and content",
                field=f"inputs.{key}", status=400,
            )  # fmt: skip
        yield first + turns


def _beside(inputs: Mapping[str, Any], key: str, texts: int) -> str:
    """A text that belongs to the one conversation beside it; empty where there is none."""
    given = inputs.get(key) or ""
    if not isinstance(given, str) or (given and texts != 1):
        raise Refused(
            "unreadable_input",
            f"inputs.{key} must be a text, beside one conversation",
            field=f"inputs.{key}",
            status=400,
        )
    return given


def _turns(given: Any, *, asked: Any) -> list[dict[str, str]]:
    """Turns of a conversation as JSON, as messages, as lines with their speakers, or a text of one customer alone."""
    if isinstance(given, str) and given.lstrip().startswith(("[", "{")):
        with contextlib.suppress(ValueError):  # a plain text may begin with a bracket, too
            given = json.loads(given)
    if isinstance(given, dict):
        given = given.get("messages") or given.get("turns") or [given]
    if isinstance(given, list):
        return [turn for message in given if (turn := _turn(message)) is not None]
    if not isinstance(given, str) or not given.strip():
        return []
    spoken = _lines(given)
    if spoken:
        return spoken
    said = {"role": "customer", "text": given}
    if isinstance(asked, str) and asked.strip():  # an answer together with its question: the agent's
        return [{"role": "customer", "text": asked}, {"role": "agent", "text": given}]
    return [said]


def _turn(message: Any) -> dict[str, str] | None:
    if isinstance(message, str):
        return {"role": "customer", "text": message} if message.strip() else None
    if not isinstance(message, Mapping):
        return None
    text = message.get("content", message.get("text", ""))
    if isinstance(text, list):
        text = "\n".join(str(part.get("text", "")) for part in text if isinstance(part, Mapping))
    role = ROLES.get(str(message.get("role", "customer")).lower(), "agent")
    return {"role": role, "text": text} if isinstance(text, str) and text.strip() else None


def _lines(text: str) -> list[dict[str, str]]:
    """`User: hi` and `Agent: hello`, line by line; empty where the first line names no speaker."""
    turns: list[dict[str, str]] = []
    for line in text.strip().splitlines():
        speaker = SPOKEN.match(line)
        if speaker is not None:
            role = ROLES.get(speaker[1].lower(), "agent")
            turns.append({"role": role, "text": line[speaker.end() :].strip()})
        elif not turns:
            return []
        else:
            turns[-1]["text"] += "\n" + line.strip()
    return turns


def _version(classifier: Classifier, model: str) -> ClassifierVersion:
    runnable = [one for one in classifier.versions.order_by("id") if one.kind in evaluators.KINDS]
    if not runnable:
        known = ", ".join(sorted(evaluators.KINDS))
        raise Refused(
            "cannot_run", f"no version of {classifier.slug} can be run: cxlab runs the kinds {known}", field="eval_name"
        )
    chosen = [one for one in runnable if model and model in (one.version, one.model)]
    version = (chosen or runnable)[-1]
    version.classifier = classifier
    return version


def _answer(
    evaluator: evaluators.Evaluator,
    version: ClassifierVersion,
    turns: Sequence[dict[str, str]],
    by_turn: bool,
    summary: str,
) -> Answer:
    mine = [number for number, turn in enumerate(turns) if turn["role"] == "customer"]
    turn = (mine or [len(turns) - 1])[-1] if by_turn else WHOLE
    try:
        answer = evaluator.score(Text(turns=turns, turn=turn, summary=summary))
    except EvaluatorUnavailable as error:
        raise Refused("judge_unavailable", f"{version} cannot be asked now: {error}", status=503) from error
    if answer.status != Prediction.Status.OK:
        raise Refused(f"answer_{answer.status}", f"{version} gave no answer ({answer.status}): {answer.rationale}")
    return answer


def _identity(version: ClassifierVersion, turns: Sequence[dict[str, str]], summary: str) -> str:
    """The same version and the same text are the same evaluation."""
    told = [version.content_sha256, list(turns), *([summary] if summary else [])]
    return str(uuid.uuid5(NAMESPACE, json.dumps(told, ensure_ascii=False)))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace("/", "-")
