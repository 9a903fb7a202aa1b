"""What can score a conversation: a pinned version in, answers out."""

from __future__ import annotations

from collections.abc import Callable

from calibration.errors import NotComparable
from calibration.evaluators.base import Answer, Evaluator, EvaluatorUnavailable, Text
from calibration.evaluators.custom import Plugin, Service
from calibration.evaluators.judge import Judge
from calibration.evaluators.lexicons import Afinn, Vader
from calibration.evaluators.trained import Trained
from calibration.models import ClassifierVersion
from labeling.values import Scale

KINDS: dict[str, Callable[[ClassifierVersion, Scale], Evaluator]] = {
    "vader": Vader.pinned,
    "afinn": Afinn.pinned,
    "openai": Judge.pinned,
    "trained": Trained.pinned,
    "python": Plugin.pinned,
    "http": Service.pinned,
}


def make(version: ClassifierVersion) -> Evaluator:
    """The evaluator that `version.kind` names; raises NotComparable for versions whose predictions are only loaded."""
    build = KINDS.get(version.kind)
    if build is None:
        known = ", ".join(sorted(KINDS))
        raise NotComparable(
            "cannot_run",
            f"{version} is of the kind {version.kind or 'loaded'!r}; cxlab can run {known}",
            field="version",
        )
    return build(version, Scale.of(version.classifier.signal))


__all__ = ["KINDS", "Answer", "Evaluator", "EvaluatorUnavailable", "Text", "make"]
