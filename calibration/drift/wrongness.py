"""How wrong a published number is: what a version says of labelled units, minus what people say of the same ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from calibration.stats.intervals import t_quantile
from calibration.streams import Answer, Said
from labeling.models import Signal

Pair = tuple[Answer, Said]


def bias(signal: Signal, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The share that is most wrong, weighted by 1 / inclusion probability: above 0 it is reported too high.

    `{"bias", "low", "high", "category", "labels"}`; for interval signals the mean is meant and `category` is None.
    """
    if not pairs:
        return {}
    if signal.scale == Signal.Scale.INTERVAL:
        errors = [(said.number or 0.0) - (answer.number or 0.0) for answer, said in pairs]
        return _mean(pairs, errors) | {"category": None}
    named = holds(signal)
    found = [
        _mean(pairs, [named(said.value, category) - named(answer.value, category) for answer, said in pairs])
        | {"category": category}
        for category in signal.categories.values_list("value", flat=True)
    ]
    return max(found, key=lambda row: abs(row["bias"]), default={})


def holds(signal: Signal) -> Callable[[str, str], float]:
    """Whether an answer names a category: it is the category, or the set that it is has it."""
    if signal.scale == Signal.Scale.MULTILABEL:
        return lambda value, category: float(category in json.loads(value))
    return lambda value, category: float(value == category)


def _mean(pairs: Sequence[Pair], errors: Sequence[float]) -> dict[str, Any]:
    """Hájek mean of the errors with a t interval."""
    weights = np.array([answer.weight for answer, _ in pairs])
    values = np.array(errors)
    mean = float(weights @ values / weights.sum())
    answer: dict[str, Any] = {"bias": mean, "labels": len(pairs)}
    if len(pairs) > 1:
        spread = float(((weights * (values - mean)) ** 2).sum()) / float(weights.sum()) ** 2
        error = math.sqrt(spread * len(pairs) / (len(pairs) - 1))
        reach = float(t_quantile(0.95, np.asarray(len(pairs) - 1.0))) * error
        answer |= {"low": mean - reach, "high": mean + reach}
    return answer
