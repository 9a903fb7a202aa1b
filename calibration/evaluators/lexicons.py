"""Two lexicons that score sentiment offline: honest starting points, not good judges."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import afinn
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from calibration.errors import NotComparable
from calibration.evaluators.base import Answer, Text
from calibration.models import ClassifierVersion
from labeling.values import Scale

POLARITIES = ("negative", "neutral", "positive")


def _categories(version: ClassifierVersion, scale: Scale) -> dict[str, str]:
    """Which category of the signal each polarity is; `parameters.categories` renames them."""
    names = {polarity: polarity for polarity in POLARITIES} | dict(version.parameters.get("categories", {}))
    unknown = [name for name in names.values() if name not in scale.values]
    if unknown:
        raise NotComparable(
            "other_categories",
            f"{version} answers {', '.join(unknown)}, which the signal does not have; map them in parameters.categories",
            field="parameters",
        )
    return names


@dataclass(frozen=True, slots=True)
class Vader:
    """VADER (Hutto and Gilbert 2014): compound score, neutral within ± `threshold`."""

    categories: dict[str, str]
    threshold: float = 0.05
    analyzer: Any = field(default_factory=SentimentIntensityAnalyzer)

    @classmethod
    def pinned(cls, version: ClassifierVersion, scale: Scale) -> Vader:
        return cls(_categories(version, scale), float(version.parameters.get("threshold", 0.05)))

    def score(self, text: Text) -> Answer:
        start = time.perf_counter()
        compound = float(self.analyzer.polarity_scores(text.of_customer())["compound"])
        polarity = (
            "positive" if compound >= self.threshold else "negative" if compound <= -self.threshold else "neutral"
        )
        return Answer(self.categories[polarity], score=compound, seconds=time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class Afinn:
    """AFINN-165 (Nielsen 2011) with emoticons: the sign of the summed word scores."""

    categories: dict[str, str]
    analyzer: Any = field(default_factory=lambda: afinn.Afinn(emoticons=True))

    @classmethod
    def pinned(cls, version: ClassifierVersion, scale: Scale) -> Afinn:
        return cls(_categories(version, scale))

    def score(self, text: Text) -> Answer:
        start = time.perf_counter()
        total = float(self.analyzer.score(text.of_customer()))
        polarity = "positive" if total > 0 else "negative" if total < 0 else "neutral"
        return Answer(self.categories[polarity], score=total, seconds=time.perf_counter() - start)
