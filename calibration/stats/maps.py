"""Recalibration maps: what a classifier's probabilities or answers should have been.

A map is a small frozen object that turns probabilities [items, K] (and a channel for each item) into better ones, and
goes to plain JSON and back under a version. How maps are fitted is in `map_fits`; here they are only applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from calibration.stats.estimate import StatisticsError

Floats = NDArray[np.float64]

FORMAT = 1
LEAST_PROBABILITY = 1e-6


class CalibrationMap(Protocol):
    """What every map can do."""

    name: ClassVar[str]

    def apply(self, probabilities: ArrayLike, channels: Sequence[str] | None = None) -> Floats:
        """Recalibrated probabilities [items, K], rows summing to 1."""

    def parameters(self) -> dict[str, Any]:
        """The numbers of the map, as JSON."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """softmax(log p / T): one number that makes a classifier less (T > 1) or more sure of itself; answers stay."""

    temperature: float
    name: ClassVar[str] = "temperature"

    def apply(self, probabilities: ArrayLike, channels: Sequence[str] | None = None) -> Floats:
        return softmax(logits(probabilities) / self.temperature)

    def parameters(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Temperature:
        found = float(given["temperature"])
        if not found > 0:
            raise StatisticsError("a temperature is above 0")
        return cls(found)


@dataclass(frozen=True, slots=True)
class Platt:
    """softmax(a·log p + b), with a slope and K offsets for each channel; an unknown channel takes the pooled ones."""

    slope: float
    offsets: tuple[float, ...]
    channels: tuple[tuple[str, float, tuple[float, ...]], ...] = ()
    name: ClassVar[str] = "platt"

    def apply(self, probabilities: ArrayLike, channels: Sequence[str] | None = None) -> Floats:
        scores = logits(probabilities)
        _fits(scores, len(self.offsets))
        slopes = np.full(len(scores), self.slope)
        offsets = np.tile(np.array(self.offsets), (len(scores), 1))
        for name, slope, own in self.channels:
            here = _members(channels, name, len(scores))
            slopes[here], offsets[here] = slope, own
        return softmax(slopes[:, None] * scores + offsets)

    def parameters(self) -> dict[str, Any]:
        channels = {name: {"slope": slope, "offsets": list(own)} for name, slope, own in self.channels}
        return {"slope": self.slope, "offsets": list(self.offsets), "channels": channels}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Platt:
        channels = tuple(
            (str(name), float(own["slope"]), _numbers(own["offsets"])) for name, own in given["channels"].items()
        )
        return cls(float(given["slope"]), _numbers(given["offsets"]), channels)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising curve for each category against the rest, linear between its knots; rows are scaled to sum to 1."""

    knots: tuple[tuple[tuple[float, float], ...], ...]
    name: ClassVar[str] = "isotonic"

    def apply(self, probabilities: ArrayLike, channels: Sequence[str] | None = None) -> Floats:
        p = checked(probabilities)
        _fits(p, len(self.knots))
        curves = [np.array(knots) for knots in self.knots]
        raw = np.stack([np.interp(p[:, k], curve[:, 0], curve[:, 1]) for k, curve in enumerate(curves)], axis=1)
        return _scaled(np.maximum(raw, LEAST_PROBABILITY))

    def parameters(self) -> dict[str, Any]:
        return {"knots": [[list(knot) for knot in curve] for curve in self.knots]}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Isotonic:
        curves = tuple(tuple((float(x), float(y)) for x, y in curve) for curve in given["knots"])
        if not all(curves) or any(list(curve) != sorted(curve) for curve in curves):
            raise StatisticsError("an isotonic map has a rising curve for each category")
        return cls(curves)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Another decision from the same probabilities: the category with the largest p·weight. Changes answers only."""

    weights: tuple[float, ...]
    name: ClassVar[str] = "thresholds"

    def apply(self, probabilities: ArrayLike, channels: Sequence[str] | None = None) -> Floats:
        p = checked(probabilities)
        _fits(p, len(self.weights))
        return _scaled(np.maximum(p, LEAST_PROBABILITY) * np.array(self.weights))

    def parameters(self) -> dict[str, Any]:
        return {"weights": list(self.weights)}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Thresholds:
        weights = _numbers(given["weights"])
        if not weights or min(weights) <= 0:
            raise StatisticsError("decision weights are above 0")
        return cls(weights)


@dataclass(frozen=True, slots=True)
class Confusion:
    """P(truth | answer), per channel: for a classifier that gives answers without probabilities.

    `columns[answer]` are the shares of the truth. Probabilities are read as the answer that is largest.
    """

    columns: tuple[tuple[float, ...], ...]
    channels: tuple[tuple[str, tuple[tuple[float, ...], ...]], ...] = ()
    name: ClassVar[str] = "confusion"

    def apply(self, probabilities: ArrayLike, channels: Sequence[str] | None = None) -> Floats:
        p = checked(probabilities)
        _fits(p, len(self.columns))
        answers = p.argmax(axis=1)
        result: Floats = np.array(self.columns)[answers]
        for name, own in self.channels:
            here = _members(channels, name, len(p))
            result[here] = np.array(own)[answers[here]]
        return result

    def parameters(self) -> dict[str, Any]:
        return {
            "columns": [list(column) for column in self.columns],
            "channels": {name: [list(column) for column in own] for name, own in self.channels},
        }

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Confusion:
        columns = tuple(_numbers(column) for column in given["columns"])
        channels = tuple((str(n), tuple(_numbers(column) for column in own)) for n, own in given["channels"].items())
        return cls(columns, channels)


KINDS: dict[str, Any] = {kind.name: kind for kind in (Temperature, Platt, Isotonic, Thresholds, Confusion)}


def to_dict(calibration: CalibrationMap) -> dict[str, Any]:
    """The map as JSON, with the version of the format, to be kept with the classifier version it belongs to."""
    return {"map": calibration.name, "format": FORMAT, "parameters": calibration.parameters()}


def from_dict(document: Mapping[str, Any]) -> CalibrationMap:
    """The map that `to_dict` wrote; a format or a kind from the future is refused, never guessed."""
    if document.get("format") != FORMAT or document.get("map") not in KINDS:
        raise StatisticsError(f"no map is known as {document.get('map')!r}, format {document.get('format')!r}")
    try:
        found: CalibrationMap = KINDS[document["map"]].of(document["parameters"])
    except (KeyError, TypeError, ValueError) as error:
        raise StatisticsError(f"the parameters of the {document['map']} map are incomplete: {error}") from error
    return found


def checked(probabilities: ArrayLike) -> Floats:
    """Probabilities [items, K]: finite, not negative, rows summing to 1."""
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or not np.isfinite(p).all() or np.any(p < 0) or np.any(np.abs(p.sum(axis=1) - 1) > 1e-3):
        raise StatisticsError("probabilities are given for each item and category, and sum to 1")
    return p


def logits(probabilities: ArrayLike) -> Floats:
    """Logarithms of probabilities, none below one in a million."""
    logs: Floats = np.log(np.maximum(checked(probabilities), LEAST_PROBABILITY))
    return logs


def softmax(scores: Floats) -> Floats:
    """Probabilities from scores, row by row."""
    shares: Floats = special.softmax(scores, axis=1)
    return shares


def _scaled(values: Floats) -> Floats:
    shares: Floats = values / values.sum(axis=1, keepdims=True)
    return shares


def _members(channels: Sequence[str] | None, name: str, items: int) -> NDArray[np.bool_]:
    """Which items are of this channel; none, where no channels are given."""
    if channels is None:
        return np.zeros(items, dtype=bool)
    if len(channels) != items:
        raise StatisticsError("each item has its channel")
    return np.asarray(np.asarray(channels, dtype=object) == name, dtype=bool)


def _fits(values: Floats, size: int) -> None:
    if values.shape[1] != size:
        raise StatisticsError(f"the map is made for {size} categories, not {values.shape[1]}")


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not np.isfinite(numbers).all():
        raise StatisticsError("a map's parameters are finite")
    return numbers
