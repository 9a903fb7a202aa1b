"""The two forms that every evaluator shares: what it reads and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from labeling.models import WHOLE


@dataclass(frozen=True, slots=True)
class Text:
    """What an evaluator may see of a unit: the turns, and which one is asked (WHOLE for the conversation)."""

    turns: Sequence[dict[str, Any]]
    turn: int = WHOLE
    channel: str = ""

    def transcript(self) -> str:
        """One line a turn, `role: text`."""
        return "\n".join(f"{turn.get('role', '')}: {turn.get('text', '')}" for turn in self.turns)

    def of_customer(self) -> str:
        """What is judged: the asked turn, else all that the customer said, else all that anybody said."""
        if self.turn != WHOLE:
            return str(self.turns[self.turn].get("text", ""))
        said = [str(turn.get("text", "")) for turn in self.turns if turn.get("role") == "customer"]
        return "\n".join(said or [str(turn.get("text", "")) for turn in self.turns])


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
    """Something that scores one unit; an answer it cannot give is an Answer with a status, not an exception."""

    def score(self, text: Text) -> Answer: ...
