"""A judge behind any OpenAI-compatible endpoint: prompt template, JSON-constrained answer, retries, a rate limit."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import openai

from calibration.errors import NotComparable
from calibration.evaluators.base import Answer, Text
from calibration.models import ClassifierVersion
from labeling.models import WHOLE
from labeling.values import Scale, ValueRefused

PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
DEFAULT_PROMPT = """Read the conversation and judge one thing: {{ signal }}.

{{ guideline }}

Conversation ({{ channel }}):
{{ transcript }}
{{ asked }}
Answer as JSON with the fields "value" ({{ answers }}) and "rationale" (one sentence)."""


class JudgeUnavailable(RuntimeError):
    """The endpoint cannot be used at all now (no key, no connection, quota): the run stops and can be resumed."""


@dataclass(slots=True)
class Pace:
    """At most `per_minute` calls, spread evenly; `sleep` and `clock` can be replaced in tests."""

    per_minute: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    free_at: float = 0.0

    def wait(self) -> None:
        now = self.clock()
        if now < self.free_at:
            self.sleep(self.free_at - now)
        self.free_at = max(now, self.free_at) + 60 / self.per_minute


@dataclass(slots=True)
class Judge:
    """Asks a chat model for one unit at a time.

    `parameters` of the version: `base_url`, `temperature`, `max_tokens`, `seed`, `requests_per_minute`, `timeout`,
    `max_retries`, `api_key_env` (the environment variable that holds the key: keys are never stored), `input_price` and
    `output_price` per million tokens.
    """

    client: openai.OpenAI
    model: str
    prompt: str
    fields: dict[str, str]
    scale: Scale
    options: dict[str, Any]
    pace: Pace
    prices: tuple[float, float] = (0.0, 0.0)
    constrained: bool = field(default=True)

    @classmethod
    def pinned(cls, version: ClassifierVersion, scale: Scale) -> Judge:
        given = version.parameters
        key = os.environ.get(given.get("api_key_env", "OPENAI_API_KEY"), "")
        if not key and not given.get("base_url"):
            raise NotComparable(
                "no_api_key", f"{version} needs the environment variable {given.get('api_key_env', 'OPENAI_API_KEY')}"
            )
        client = openai.OpenAI(
            api_key=key or "none",
            base_url=given.get("base_url"),
            timeout=float(given.get("timeout", 60)),
            max_retries=int(given.get("max_retries", 5)),
        )
        signal = version.classifier.signal
        guideline = signal.guidelines.first()
        return cls(
            client=client,
            model=version.model,
            prompt=version.prompt or DEFAULT_PROMPT,
            fields={"signal": signal.title, "guideline": guideline.text if guideline else ""},
            scale=scale,
            options={name: given[name] for name in ("temperature", "max_tokens", "seed") if name in given},
            pace=Pace(float(given.get("requests_per_minute", 600))),
            prices=(float(given.get("input_price", 0)), float(given.get("output_price", 0))),
        )

    def score(self, text: Text) -> Answer:
        """Raises JudgeUnavailable where another unit would fail alike; all else becomes a status on this unit."""
        self.pace.wait()
        start = time.perf_counter()
        try:
            reply = self._ask(self.render(text))
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise JudgeUnavailable(f"the endpoint refuses: {error}") from error
        except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
            raise JudgeUnavailable(f"the endpoint does not answer, after retries: {error}") from error
        except openai.APIStatusError as error:
            return Answer(status="refused", rationale=str(error)[:1000], seconds=time.perf_counter() - start)
        return self._read(reply, time.perf_counter() - start)

    def render(self, text: Text) -> str:
        """The prompt with its places filled; a place that is not known stays as it was written."""
        asked = "" if text.turn == WHOLE else f"Judge turn {text.turn + 1} only: {text.of_customer()}"
        known = self.fields | {
            "transcript": text.transcript(),
            "channel": text.channel,
            "asked": asked,
            "answers": self._answers(),
        }
        return PLACE.sub(lambda match: known.get(match.group(1), match.group(0)), self.prompt)

    def _answers(self) -> str:
        if self.scale.kind == "interval":
            return f"a number from {self.scale.minimum} to {self.scale.maximum}"
        listed = ", ".join(json.dumps(value) for value in self.scale.values)
        return f"a list of {listed}" if self.scale.kind == "multilabel" else f"one of {listed}"

    def _ask(self, prompt: str) -> Any:
        asked: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": prompt}], **self.options}
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
        cost = self._cost(reply)
        message = reply.choices[0].message if reply.choices else None
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
