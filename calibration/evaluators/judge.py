"""A judge behind any OpenAI-compatible endpoint: prompt template, JSON-constrained answer, retries, a rate limit."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import openai

from calibration.errors import NotComparable
from calibration.evaluators.base import READS, Answer, EvaluatorUnavailable, Pace, Text, key_named
from calibration.models import ClassifierVersion
from labeling.errors import Refused
from labeling.models import WHOLE, Guideline, Signal
from labeling.values import Scale, ValueRefused

PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
DEFAULT_PROMPT = """Read the conversation and judge one thing: {{ signal }}.

{{ guideline }}

Conversation ({{ channel }}):
{{ transcript }}
{{ asked }}
Answer as JSON with the fields "value" ({{ answers }}) and "rationale" (one sentence)."""
STEPS = ("summary", "reference", "hypothesis", "instructions")
"""Places that not every conversation can fill: where one is empty, there is nothing to judge."""
MOST_SAMPLES = 15
NUMBERS = ("temperature", "max_tokens", "seed", "requests_per_minute", "timeout", "max_retries", "samples", "input_price",
           "output_price")  # fmt: skip


def pinned_content(content: dict[str, Any], signal: Signal, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """A judge's content with all that its answers depend on: the prompt itself, and the guideline that it quotes.

    `known` are the parameters of the version that exists already under that name: it keeps the guideline that it has.
    Raises Refused for parameters that are none.
    """
    prompt = content.get("prompt") or DEFAULT_PROMPT
    parameters = dict(content.get("parameters") or {})
    for name in NUMBERS:
        value = parameters.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused("bad_parameter", f"parameters.{name} must be a number, is {value!r}", field="parameters")
    if not 1 <= parameters.get("samples", 1) <= MOST_SAMPLES:
        raise Refused("bad_parameter", f"parameters.samples must lie from 1 to {MOST_SAMPLES}", field="parameters")
    if parameters.get("requests_per_minute", 1) <= 0:
        raise Refused("bad_parameter", "parameters.requests_per_minute must be above 0", field="parameters")
    if parameters.get("reads", "transcript") not in READS:
        raise Refused("bad_parameter", f"parameters.reads is none of {', '.join(READS)}", field="parameters")
    if "api_key_env" in parameters:
        key_named(parameters["api_key_env"])
    if "guideline" in PLACE.findall(prompt) and "guideline" not in parameters:
        parameters |= _guideline(signal, known or {})
    return content | {"prompt": prompt, "parameters": parameters}


def _guideline(signal: Signal, known: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: known[name] for name in ("guideline", "guideline_sha256") if name in known}
    if kept:
        return kept
    newest = signal.guidelines.first()
    return {} if newest is None else {"guideline": newest.version, "guideline_sha256": _sha256(newest.text)}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def guideline_of(version: ClassifierVersion) -> str:
    """The text of the guideline that a version is pinned to; of one without, the newest when it was registered."""
    signal = version.classifier.signal
    number = version.parameters.get("guideline")
    if number is None:
        found = signal.guidelines.filter(created_at__lte=version.created_at).first()
        return found.text if found else ""
    pinned = Guideline.objects.filter(signal=signal, version=number).first()
    if pinned is None or version.parameters.get("guideline_sha256") not in (None, _sha256(pinned.text)):
        raise NotComparable(
            "other_guideline", f"{version} is pinned to guideline {number} of {signal.slug}, which is not here as it was",
            field="version",
        )  # fmt: skip
    return pinned.text


@dataclass(slots=True)
class Judge:
    """Asks a chat model for one unit at a time.

    `parameters` of the version: `base_url`, `temperature`, `max_tokens`, `seed`, `requests_per_minute`, `timeout`,
    `max_retries`, `api_key_env` (the environment variable that holds the key: keys are never stored), `input_price` and
    `output_price` per million tokens, `samples` (ask so often and take the answer given most, self-consistency), `reads`
    (what stands at {{ transcript }}, one of READS).
    """

    client: openai.OpenAI
    model: str
    prompt: str
    fields: dict[str, str]
    scale: Scale
    options: dict[str, Any]
    pace: Pace
    prices: tuple[float, float] = (0.0, 0.0)
    samples: int = 1
    reads: str = "transcript"
    timeout: float = 60.0
    constrained: bool = field(default=True)

    @classmethod
    def pinned(cls, version: ClassifierVersion, scale: Scale) -> Judge:
        given = version.parameters
        variable = key_named(given.get("api_key_env", "OPENAI_API_KEY"))
        key = os.environ.get(variable, "")
        if not key and not given.get("base_url"):
            raise NotComparable("no_api_key", f"{version} needs the environment variable {variable}")
        client = openai.OpenAI(
            api_key=key or "none",
            base_url=given.get("base_url"),
            timeout=float(given.get("timeout", 60)),
            max_retries=int(given.get("max_retries", 5)),
        )
        return cls(
            client=client,
            model=version.model,
            prompt=version.prompt or DEFAULT_PROMPT,
            fields={"signal": version.classifier.signal.title, "guideline": guideline_of(version)},
            scale=scale,
            options={name: given[name] for name in ("temperature", "max_tokens", "seed") if name in given},
            pace=Pace(float(given.get("requests_per_minute", 600))),
            prices=(float(given.get("input_price", 0)), float(given.get("output_price", 0))),
            samples=int(given.get("samples", 1)),
            reads=str(given.get("reads", "transcript")),
            timeout=float(given.get("timeout", 60)),
        )

    def hurried(self, seconds: float) -> None:
        """Answer within about so many seconds, or not at all: somebody waits."""
        self.client = self.client.with_options(timeout=min(seconds, self.timeout), max_retries=0)
        self.pace.most = seconds

    def score(self, text: Text) -> Answer:
        """The answer given most among `samples`, the earliest among equals; the share of each stands in `probabilities`.

        Raises EvaluatorUnavailable where another unit would fail alike; all else becomes a status on this unit.
        """
        missing = [name for name in STEPS if name in PLACE.findall(self.prompt) and not self._fill(text)[name].strip()]
        if missing or not text.read(self.reads).strip():
            return Answer(
                status="missing", rationale=f"the conversation has no {(missing or [self.reads])[0]} to judge"
            )
        if self.samples == 1:
            return self._once(text, 0)
        return self._agreed([self._once(text, number) for number in range(self.samples)])

    def _agreed(self, found: Sequence[Answer]) -> Answer:
        usable = [answer for answer in found if answer.status == "ok"]
        keys = [self.scale.encode(answer.value)[0] for answer in usable]
        cost = (
            sum(answer.cost for answer in found if answer.cost is not None) if any(one.cost for one in found) else None
        )
        seconds = sum(answer.seconds or 0.0 for answer in found)
        told = {"samples": [self.scale.encode(one.value)[0] if one.status == "ok" else None for one in found]}
        if not usable:
            first = found[0]
            return Answer(status=first.status, rationale=first.rationale, seconds=seconds, cost=cost, metadata=told)
        counts = Counter(keys)
        chosen = max(counts, key=lambda key: (counts[key], -keys.index(key)))
        answer = usable[keys.index(chosen)]
        shares = None
        if self.scale.kind not in ("interval", "multilabel"):
            shares = {value: round(counts[value] / len(usable), 6) for value in self.scale.values if counts[value]}
        return Answer(
            answer.value, probabilities=shares, rationale=answer.rationale, seconds=seconds, cost=cost, metadata=told
        )

    def _once(self, text: Text, number: int) -> Answer:
        self.pace.wait()
        start = time.perf_counter()
        try:
            reply = self._ask(self.render(text), number)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EvaluatorUnavailable(f"the endpoint refuses: {error}") from error
        except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
            raise EvaluatorUnavailable(f"the endpoint does not answer, after retries: {error}") from error
        except openai.APIStatusError as error:
            return Answer(status="refused", rationale=str(error)[:1000], seconds=time.perf_counter() - start)
        except (openai.APIError, ValueError) as error:  # something came back, but no completion
            why = f"no answer of a chat model: {error}"[:1000]
            return Answer(status="unparsable", rationale=why, seconds=time.perf_counter() - start)
        return self._read(reply, time.perf_counter() - start)

    def render(self, text: Text) -> str:
        """The prompt with its places filled; a place that is not known stays as it was written."""
        known = self._fill(text)
        return PLACE.sub(lambda match: known.get(match.group(1), match.group(0)), self.prompt)

    def _fill(self, text: Text) -> dict[str, str]:
        asked = "" if text.turn == WHOLE else f"Judge turn {text.turn + 1} only: {text.of_customer()}"
        return self.fields | {
            "transcript": text.read(self.reads),
            "channel": text.channel,
            "asked": asked,
            "answers": self._answers(),
            "summary": text.summary,
            "reference": text.said(),
            "hypothesis": text.heard(),
            "instructions": text.instructions(),
        }

    def _answers(self) -> str:
        if self.scale.kind == "interval":
            return f"a number from {self.scale.minimum} to {self.scale.maximum}"
        listed = ", ".join(json.dumps(value) for value in self.scale.values)
        return f"a list of {listed}" if self.scale.kind == "multilabel" else f"one of {listed}"

    def _ask(self, prompt: str, number: int) -> Any:
        asked: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": prompt}], **self.options}
        if number and "seed" in asked:  # the same seed again would be the same answer again
            asked["seed"] = asked["seed"] + number
        if self.constrained:
            try:
                return self._create(**asked, response_format=self._schema())
            except openai.BadRequestError as error:
                if "response_format" not in str(error):
                    raise
                self.constrained = False  # this endpoint cannot constrain: the prompt asks for JSON anyway
        return self._create(**asked)

    def _create(self, **asked: Any) -> Any:
        create: Any = self.client.chat.completions.create
        return create(**asked)

    def _schema(self) -> dict[str, Any]:
        one: dict[str, Any] = {"type": "string", "enum": list(self.scale.values)}
        value = {"interval": {"type": "number"}, "multilabel": {"type": "array", "items": one}}.get(
            self.scale.kind, one
        )
        schema = {
            "type": "object",
            "properties": {"value": value, "rationale": {"type": "string"}},
            "required": ["value", "rationale"],
            "additionalProperties": False,
        }
        return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}

    def _read(self, reply: Any, seconds: float) -> Answer:
        choices = getattr(reply, "choices", None)  # an endpoint that answers with a text gives the text itself
        if not choices:
            said = reply if isinstance(reply, str) else "an empty answer"
            return Answer(status="unparsable", rationale=f"no answer of a chat model: {said}"[:1000], seconds=seconds)
        cost = self._cost(reply)
        message = choices[0].message
        if message is None or getattr(message, "refusal", None):
            why = getattr(message, "refusal", "") or "an empty answer"
            return Answer(status="refused", rationale=str(why)[:1000], seconds=seconds, cost=cost)
        content = message.content or ""
        try:
            found = json.loads(_object_in(content))
            self.scale.encode(found["value"])
        except (ValueError, KeyError, TypeError, ValueRefused) as error:
            return Answer(status="unparsable", rationale=f"{error}: {content}"[:1000], seconds=seconds, cost=cost)
        rationale = str(found.get("rationale", ""))[:4000]
        return Answer(found["value"], rationale=rationale, seconds=seconds, cost=cost)

    def _cost(self, reply: Any) -> float | None:
        usage = getattr(reply, "usage", None)
        if usage is None or self.prices == (0.0, 0.0):
            return None
        return float(usage.prompt_tokens * self.prices[0] + usage.completion_tokens * self.prices[1]) / 1e6


def _object_in(content: str) -> str:
    """The JSON object in an answer that may have prose or a code fence around it."""
    start, end = content.find("{"), content.rfind("}")
    if start < 0 or end < start:
        raise ValueError("no JSON object in the answer")
    return content[start : end + 1]
