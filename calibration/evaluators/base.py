"""What every evaluator shares: what it reads, what it answers, how fast it may ask, and which keys it may use."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from labeling.errors import Refused
from labeling.models import WHOLE

READS = {
    "customer": "the asked turn, or all that the customer said",
    "transcript": "every turn with its speaker",
    "reference": "the reference transcript of a call",
    "summary": "the summary",
}
"""What a version may read of a conversation: the same judge on another step of the chain tells what that step cost."""
KEY_NAME = re.compile(r"^[A-Z][A-Z0-9_]*_API_KEY$")


class EvaluatorUnavailable(RuntimeError):
    """It cannot be asked at all now (no key, no connection, quota): the run stops and can be resumed."""


@dataclass(frozen=True, slots=True)
class Text:
    """What an evaluator may see of a unit: the turns, which one is asked (WHOLE for the conversation), and what other
    steps of the chain made of it."""

    turns: Sequence[dict[str, Any]]
    turn: int = WHOLE
    channel: str = ""
    summary: str = ""
    asr: Mapping[str, Any] = field(default_factory=dict)

    def transcript(self) -> str:
        """One line a turn, `role: text`."""
        return "\n".join(f"{turn.get('role', '')}: {turn.get('text', '')}" for turn in self.turns)

    def of_customer(self) -> str:
        """What is judged: the asked turn, else all that the customer said, else all that anybody said."""
        if self.turn != WHOLE:
            return str(self.turns[self.turn].get("text", ""))
        said = [str(turn.get("text", "")) for turn in self.turns if turn.get("role") == "customer"]
        return "\n".join(said or [str(turn.get("text", "")) for turn in self.turns])

    def read(self, what: str) -> str:
        """The text under one of READS; empty where the conversation does not have it."""
        if what == "summary":
            return self.summary
        if what == "reference":
            return self.said()
        return self.transcript() if what == "transcript" else self.of_customer()

    def said(self) -> str:
        """What was really said, by the reference transcript."""
        return str(self.asr.get("reference") or "")

    def heard(self) -> str:
        """What the machine heard: its hypothesis, else the turns of a call."""
        return str(self.asr.get("hypothesis") or "") or "\n".join(str(turn.get("text", "")) for turn in self.turns)

    def instructions(self) -> str:
        """What the agent was told before it spoke, by the system's turns."""
        return "\n".join(str(turn.get("text", "")) for turn in self.turns if turn.get("role") == "system")

    def as_document(self) -> dict[str, Any]:
        """The same in the form of the file, without who it was or where it came from."""
        found: dict[str, Any] = {"channel": self.channel, "turns": [dict(turn) for turn in self.turns]}
        return found | {name: value for name, value in (("summary", self.summary), ("asr", dict(self.asr))) if value}


@dataclass(frozen=True, slots=True)
class Answer:
    """An evaluator's answer in the contract's form, or a `status` that says why there is none."""

    value: Any = None
    status: str = "ok"
    score: float | None = None
    probabilities: dict[str, float] | None = None
    rationale: str = ""
    seconds: float | None = None
    cost: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class Evaluator(Protocol):
    """Something that scores one unit; an answer it cannot give is an Answer with a status, not an exception.

    It raises EvaluatorUnavailable where another unit would fail alike.
    """

    def score(self, text: Text) -> Answer: ...


@runtime_checkable
class Hurried(Protocol):
    """An evaluator that asks elsewhere and can be told how long somebody waits."""

    def hurried(self, seconds: float) -> None: ...


@dataclass(slots=True)
class Pace:
    """At most `per_minute` calls, spread evenly; raises EvaluatorUnavailable rather than wait longer than `most` seconds.

    `sleep` and `clock` can be replaced in tests.
    """

    per_minute: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    free_at: float = 0.0
    most: float = float("inf")

    def wait(self) -> None:
        now = self.clock()
        if self.free_at - now > self.most:
            raise EvaluatorUnavailable(f"the rate limit of {self.per_minute:g} calls a minute is reached")
        if now < self.free_at:
            self.sleep(self.free_at - now)
        self.free_at = max(now, self.free_at) + 60 / self.per_minute


def key_named(variable: Any) -> str:
    """The name of an environment variable that may hold an evaluator's key.

    Only names that end in _API_KEY: whoever may register a version must not be able to send other secrets of the
    server to an address of their own.
    """
    if not isinstance(variable, str) or not KEY_NAME.match(variable):
        raise Refused(
            "bad_key_name",
            f"api_key_env is {variable!r}: it must be upper case and end in _API_KEY",
            field="parameters",
        )
    return variable
