"""Evaluators as Python objects: `Tone().evaluate("…")` says what the pinned version says, and whether to believe it.

```python
from cxlab.evals import ConversationResolution

result = ConversationResolution().evaluate("User: Where is it?\\nAgent: On its way.", channel="chat")
result.label, result.score, result.reason, result.version, result.trust
```

Django is set up on import where no program has done so. The classifier must be registered
(`calibration/evaluators/ready_made.yaml` has those of the names below).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import django
from django.apps import apps

if not apps.ready:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cxlab.settings")
    django.setup()

from calibration import evals, trust
from calibration.evidence import standing
from labeling.values import Scale


@dataclass(frozen=True, slots=True)
class Trust:
    """The verdict of the latest calibration for a slice: the statistic with its interval, on which gold and labels."""

    verdict: str
    statistic: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    slice: Mapping[str, str] | None = None
    gold: str = ""
    n: int = 0
    reason: str = ""

    def __str__(self) -> str:
        return self.verdict


@dataclass(frozen=True, slots=True)
class Result:
    """What a version answered: the label (a set of labels as a list), the category's score or the number, and its trust."""

    score: float | None
    label: Any
    reason: str
    version: str
    trust: Trust
    seconds: float | None = None
    cost: float | None = None


class Evaluation:
    """One evaluator by the name of its classifier; `version` picks a pinned version, else the newest that can be run."""

    classifier: ClassVar[str] = ""

    def __init__(self, *, classifier: str = "", version: str = "") -> None:
        self.name = classifier or self.classifier
        self.version = version

    def evaluate(
        self,
        conversation: str | Sequence[Any] | Mapping[str, Any],
        *,
        channel: str = "",
        cohort: str = "",
        summary: str = "",
        instructions: str = "",
    ) -> Result:
        """The answer for one conversation: messages, lines such as `User: …`, or a text.

        `channel` and `cohort` say which slice's verdict is asked for; `summary` and `instructions` (what the agent was told)
        are for those evaluators that judge them. Raises labeling.errors.Refused with the reason where
        there is no answer; never an empty result.
        """
        given = list(conversation) if isinstance(conversation, tuple) else conversation
        home = evals.named(self.name)
        beside = {evals.SUMMARY: summary, evals.INSTRUCTIONS: instructions}
        inputs = {evals.required_key(home): given} | {key: text for key, text in beside.items() if text}
        [found] = evals.evaluate(name=home.slug, inputs=inputs, model=self.version)
        answer = found.answer
        scale = Scale.of(home.signal)
        score = answer.value if scale.kind == "interval" else answer.score
        if scale.kind not in ("interval", "multilabel"):
            known = dict(zip(scale.values, scale.scores, strict=True))
            score = known[answer.value] if known[answer.value] is not None else answer.score
        told = trust.of(version=found.version, channel=channel, cohort=cohort, gold=standing.newest())
        label = None if scale.kind == "interval" else answer.value
        return Result(score, label, answer.rationale, str(found.version), Trust(**told), answer.seconds, answer.cost)


def _named(slug: str) -> type[Evaluation]:
    return type("".join(word.capitalize() for word in slug.split("_")), (Evaluation,), {"classifier": slug})


Sentiment = _named("sentiment")
Tone = _named("tone")
Intent = _named("intent")
Effort = _named("effort")
Satisfaction = _named("satisfaction")
ConversationResolution = _named("conversation_resolution")
CustomerAgentConversationQuality = _named("customer_agent_conversation_quality")
CustomerAgentQueryHandling = _named("customer_agent_query_handling")
CustomerAgentLoopDetection = _named("customer_agent_loop_detection")
CustomerAgentContextRetention = _named("customer_agent_context_retention")
CustomerAgentHumanEscalation = _named("customer_agent_human_escalation")
CustomerAgentClarificationSeeking = _named("customer_agent_clarification_seeking")
CustomerAgentTerminationHandling = _named("customer_agent_termination_handling")
CustomerAgentInterruptionHandling = _named("customer_agent_interruption_handling")
CustomerAgentObjectionHandling = _named("customer_agent_objection_handling")
CustomerAgentLanguageHandling = _named("customer_agent_language_handling")
CustomerAgentPromptConformance = _named("customer_agent_prompt_conformance")
ASRAccuracy = _named("asr_stt_accuracy")
SummaryKeeps = _named("summary_keeps")

__all__ = [
    "ASRAccuracy",
    "ConversationResolution",
    "CustomerAgentClarificationSeeking",
    "CustomerAgentContextRetention",
    "CustomerAgentConversationQuality",
    "CustomerAgentHumanEscalation",
    "CustomerAgentInterruptionHandling",
    "CustomerAgentLanguageHandling",
    "CustomerAgentLoopDetection",
    "CustomerAgentObjectionHandling",
    "CustomerAgentPromptConformance",
    "CustomerAgentQueryHandling",
    "CustomerAgentTerminationHandling",
    "Effort",
    "Evaluation",
    "Intent",
    "Result",
    "Satisfaction",
    "Sentiment",
    "SummaryKeeps",
    "Tone",
    "Trust",
]
