"""What a recogniser says of itself: its confidence where no reference exists, and how well that tells the word errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.db.models import F

from calibration.models import Transcription
from calibration.stats.estimate import Estimate
from calibration.stats.outcomes import LEAST_ITEMS
from calibration.stats.scores import spearman

DRAWS = 400
SEED = 20260301


@dataclass(frozen=True, slots=True)
class Confidence:
    """Calls whose transcript carries `asr.confidence`, from 0 to 1.

    `alone` have no reference, with `mean` confidence; `both` have one, and there `rank` is Spearman's correlation of
    confidence and word error rate: -1 where less confidence always means more errors. `expected` is the word error rate of
    those alone, by the line through the others, weighted by their words; undefined with fewer than 30 of them.
    """

    alone: int
    mean: float | None
    both: int
    rank: Estimate
    expected: Estimate


def read() -> Confidence | None:
    """None where no call carries a confidence."""
    fresh = Transcription.objects.filter(
        content_sha256=F("conversation__content_sha256"), conversation__asr__has_key="confidence"
    )
    columns = ("conversation__asr__confidence", "words", "substitutions", "insertions", "deletions")
    rows = [row for row in fresh.order_by("conversation_id").values_list(*columns) if _believable(row[0])]
    if not rows:
        return None
    alone = np.array([row[0] for row in rows if not row[1]], dtype=float)
    both = np.array([(row[0], sum(row[2:]) / row[1], row[1]) for row in rows if row[1]], dtype=float).reshape(-1, 3)
    mean = float(alone.mean()) if len(alone) else None
    if len(both) < LEAST_ITEMS or both[:, 0].min() == both[:, 0].max():
        undefined = Estimate.undefined("too_few_items" if len(both) < LEAST_ITEMS else "zero_variance", n=len(both))
        return Confidence(len(alone), mean, len(both), undefined, undefined)
    expected = Estimate.undefined("no_items") if mean is None else _expected(both, mean)
    return Confidence(len(alone), mean, len(both), spearman(both[:, 0], both[:, 1]), expected)


def _believable(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _expected(both: np.ndarray[tuple[int, int], np.dtype[np.float64]], mean: float) -> Estimate:
    """The weighted line at the mean confidence; its interval redraws calls with a fixed seed."""
    rng = np.random.default_rng(SEED)
    value = _line(both, mean)
    drawn = [_line(both[rng.integers(0, len(both), len(both))], mean) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value), "weighted line, calls redrawn", len(both))


def _line(both: np.ndarray[tuple[int, int], np.dtype[np.float64]], at: float) -> float:
    confidence, rate, words = both.T
    weight = words / words.sum()
    centre = float(weight @ confidence)
    spread = float(weight @ (confidence - centre) ** 2)
    slope = float(weight @ ((confidence - centre) * rate)) / spread if spread else 0.0
    return max(float(weight @ rate) + slope * (at - centre), 0.0)
