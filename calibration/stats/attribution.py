"""What moved? The change of a charted number between two periods, told apart into customers and classifier.

customers: the truth changed, seen through the classifier's confusion as it is. mix: slices of another level grew.
upgrade: another version answers the same conversations differently (measured on a bridge). silent_drift: the same
version errs differently at the same truth. transcription: a different share of conversations in bands of transcript
quality. The parts add up to the observed change exactly; their errors come from redrawn labels, bridges and counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.stats.blame import (
    CLASSIFIER,
    CUSTOMERS,
    FIRST_LABELS,
    Group,
    Verdict,
    labels_needed,
    leading,
    sentence,
    verdict,
)
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.intervals import normal_quantile
from calibration.stats.movement import Floats, Mode, World, decompose
from calibration.stats.redraws import columns, drawn_bridge, drawn_columns, drawn_counts, generating
from calibration.stats.tables import ConfusionTable

PARTS = ("customers", "upgrade", "silent_drift", "mix", "transcription")
REDRAWS, CHUNK = 200, 50
LEAST_LABELS, LEAST_BRIDGE = 30, 100
IGNORED_MASS = 0.01
"""Predicted categories without any label are taken at their word up to this share of the volume."""


@dataclass(frozen=True, slots=True)
class PeriodSlice:
    """A slice's period, for each band of transcript quality (one, where transcripts play no role).

    `predicted[band][category]` are the answers of the version in service to all conversations, `labels[band]` its
    table of gold × predicted.
    """

    predicted: tuple[tuple[int, ...], ...]
    labels: tuple[ConfusionTable, ...]


@dataclass(frozen=True, slots=True)
class SliceMovement:
    """A slice in both periods. After an upgrade, `bridge[band][old answer][new answer]` counts conversations of the
    later period scored by both versions, and `labels_old[band]` is its gold × the old version's answers."""

    slice: Mapping[str, str]
    before: PeriodSlice
    after: PeriodSlice
    bridge: tuple[tuple[tuple[int, ...], ...], ...] | None = None
    labels_old: tuple[ConfusionTable, ...] | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """A period's name and its versions, the one in service first."""

    period: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The question. `scores` is what each category adds to the chart: 1 and 0 for a share, its score for a mean."""

    signal: str
    classifier: str
    measure: str
    categories: tuple[str, ...]
    scores: tuple[float, ...]
    before: Period
    after: Period
    slices: tuple[SliceMovement, ...]

    @property
    def upgraded(self) -> bool:
        return self.before.versions[:1] != self.after.versions[:1]

    @property
    def unit(self) -> float:
        """The range of the scores, 1 for a share."""
        return max(self.scores) - min(self.scores) or 1.0


@dataclass(frozen=True, slots=True)
class SliceParts:
    """What one slice contributes to each part."""

    slice: Mapping[str, str]
    parts: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answer: parts that add up to the observed change, a verdict, and the sentence that says it."""

    comparison: Comparison
    volumes: tuple[int, int]
    labels: tuple[int, int]
    observed: Estimate
    true_change: Estimate
    parts: dict[str, Estimate]
    verdict: Verdict
    leading: tuple[str, ...]
    sentence: str
    labels_needed: int | None
    """None where no labels of these periods would decide it."""
    slices: tuple[SliceParts, ...] = ()
    bridge: int = 0
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The attribution as the API gives it."""
        asked = self.comparison
        ends = zip((asked.before, asked.after), self.volumes, self.labels, strict=True)
        before, after = (
            {"period": end.period, "versions": list(end.versions), "n": volume, "labels": labels}
            for end, volume, labels in ends
        )
        return {
            "signal": asked.signal,
            "classifier": asked.classifier,
            "measure": asked.measure,
            "from": before,
            "to": after,
            "observed": self.observed.as_dict(),
            "true_change": self.true_change.as_dict(),
            "parts": {name: part.as_dict() for name, part in self.parts.items()},
            "verdict": self.verdict,
            "leading": list(self.leading),
            "sentence": self.sentence,
            "labels_needed": self.labels_needed,
            "bridge": self.bridge,
            "notes": list(self.notes),
            "slices": [
                {"slice": dict(part.slice), "parts": {name: value.as_dict() for name, value in part.parts.items()}}
                for part in self.slices
            ],
        }


def attribute(
    comparison: Comparison, *, rng: np.random.Generator, confidence: float = 0.95, redraws: int = REDRAWS
) -> Attribution:
    """Tell the movement apart. The generator redraws labels, bridges and counts; the values do not depend on it."""
    counts = _Counts.of(comparison)
    scores = np.asarray(comparison.scores, dtype=float)
    change = _observed(counts, scores, confidence)
    reason = counts.reason()
    if reason:
        return _undecided(comparison, counts, change, reason)
    value = decompose(counts.world(), scores, counts.mode).stacked()
    by_labels, by_counts = (_redrawn(counts, scores, rng, redraws, labels=labels) - value for labels in (True, False))
    sums = (by_labels.sum(axis=1), by_counts.sum(axis=1))
    totals = _estimates(value.sum(axis=0), *sums, counts.total_labels, confidence)
    parts = _withheld(dict(zip(PARTS, totals, strict=False)), counts)
    groups = [_group(value.sum(axis=0), *sums, names) for names in (CUSTOMERS, CLASSIFIER)]
    observed = change.value or 0.0
    found = verdict(observed, *groups, unit=comparison.unit)
    needed = labels_needed(observed, *groups, labels=counts.total_labels, unit=comparison.unit)
    if needed is not None and needed > sum(counts.volumes) - counts.total_labels:
        needed = None  # more than both periods hold
    leaders = leading(found, parts)
    slices = tuple(
        SliceParts(
            part.slice,
            _withheld(
                dict(zip(PARTS, _estimates(value[h], by_labels[:, h], by_counts[:, h], 0, confidence), strict=False)),
                counts,
            ),
        )
        for h, part in enumerate(comparison.slices)
    )
    text = _sentence(comparison, change, parts, found, leaders, needed)
    return Attribution(
        comparison,
        counts.volumes,
        counts.labels,
        change,
        totals[5],
        parts,
        found,
        leaders,
        text,
        needed,
        slices,
        counts.bridged,
        counts.notes(),
    )


def upgrade(
    comparison: Comparison, *, rng: np.random.Generator, confidence: float = 0.95, redraws: int = REDRAWS
) -> Estimate:
    """The upgrade's part alone. It takes a bridge and no labels: the same conversations under both versions."""
    counts = _Counts.of(comparison)
    if counts.mode not in ("bridged", "bridged_new_labels"):
        return Estimate.undefined("no_bridge", n=counts.bridged)
    scores = np.asarray(comparison.scores, dtype=float)
    value = float(decompose(counts.world(), scores, counts.mode).upgrade.sum())
    draws = _redrawn(counts, scores, rng, redraws, labels=False)[..., PARTS.index("upgrade")].sum(axis=1)
    return _normal(value, float(draws.var()), counts.bridged, confidence, "redrawn bridge and counts")


@dataclass(frozen=True, slots=True)
class _Counts:
    """The comparison as arrays: predicted [S, K, B], labels [S, G, K, B] (Kish sizes), bridge [S, K, K, B]."""

    n1: Floats
    n2: Floats
    l1: Floats
    l2: Floats
    bridge: Floats
    mode: Mode
    labels: tuple[int, int]

    @classmethod
    def of(cls, comparison: Comparison) -> _Counts:
        size = len(comparison.categories)
        if not comparison.slices or len(comparison.scores) != size or not np.isfinite(comparison.scores).all():
            raise StatisticsError("a comparison has slices, and a finite score for each category")
        bands = len(comparison.slices[0].before.predicted)
        n1, n2 = (
            np.stack([_predicted(end.predicted, size, bands) for end in ends])
            for ends in ([part.before for part in comparison.slices], [part.after for part in comparison.slices])
        )
        bridge = np.stack([_bridge(part.bridge, size, bands) for part in comparison.slices])
        old = [part.labels_old or () for part in comparison.slices]
        new = [part.after.labels for part in comparison.slices]
        mode = _mode(comparison.upgraded, float(bridge.sum()), _total(old), _total(new))
        before, after = [part.before.labels for part in comparison.slices], old if mode == "bridged" else new
        l1, l2 = (np.stack([_labels(t, comparison.categories, bands) for t in tables]) for tables in (before, after))
        return cls(n1, n2, l1, l2, bridge, mode, (_total(before), _total(after)))

    @property
    def volumes(self) -> tuple[int, int]:
        return int(self.n1.sum()), int(self.n2.sum())

    @property
    def total_labels(self) -> int:
        return sum(self.labels)

    @property
    def bridged(self) -> int:
        return int(self.bridge.sum())

    @property
    def with_bands(self) -> bool:
        return int(self.n1.shape[-1]) > 1

    def reason(self) -> str | None:
        """Why nothing can be told apart, if so."""
        if not all(self.volumes):
            return "no_items"
        if min(self.labels) < LEAST_LABELS:
            return "too_few_items"
        for counts, labels in ((self.n1, self.l1), (self.n2, self.l2)):
            unseen = counts.sum(axis=(0, 2)) * (labels.sum(axis=(0, 1, 3)) == 0)
            if unseen.sum() > IGNORED_MASS * counts.sum():
                return "predicted_category_without_labels"
        return None

    def notes(self) -> tuple[str, ...]:
        """What the reader should know about how the parts were told apart."""
        told = {
            "unbridged": "without a bridge the upgrade carries any silent drift as well",
            "bridged_new_labels": "labels of the later period are matched with the new version only",
        }
        return (told[self.mode],) if self.mode in told else ()

    def world(
        self, *, n1: Floats | None = None, n2: Floats | None = None, l1: Floats | None = None, l2: Floats | None = None,
        back: Floats | None = None,
    ) -> World:  # fmt: skip
        """Shares and columns, from these counts or from redrawn ones."""
        n1, n2 = self.n1 if n1 is None else n1, self.n2 if n2 is None else n2
        l1, l2 = self.l1 if l1 is None else l1, self.l2 if l2 is None else l2
        (s1, q1), (s2, q2) = _shares(n1), _shares(n2)
        p1, p2 = columns(l1, fallback=l2), columns(l2, fallback=l1)
        return World(s1, s2, q1, q2, p1, p2, columns(self.bridge) if back is None else back)


def _redrawn(counts: _Counts, scores: Floats, rng: np.random.Generator, redraws: int, *, labels: bool) -> Floats:
    """Parts [redraw, slice, part] with either the labels drawn anew, or the counts and the bridge."""
    found = []
    for start in range(0, redraws, CHUNK):
        many = min(CHUNK, redraws - start)
        if labels:
            l1, l2 = (
                drawn_columns(own, generating(own, other), many, rng)
                for own, other in ((counts.l1, counts.l2), (counts.l2, counts.l1))
            )
            world = counts.world(l1=l1, l2=l2)
        else:
            n1, n2 = (drawn_counts(n, many, rng) for n in (counts.n1, counts.n2))
            world = counts.world(n1=n1, n2=n2, back=drawn_bridge(counts.bridge, counts.n2, many, rng))
        found.append(decompose(world, scores, counts.mode).stacked())
    return np.concatenate(found)


def _shares(counts: Floats) -> tuple[Floats, Floats]:
    """The slices' shares of the volume, and the shares of each answer within a slice."""
    size = counts.sum(axis=(-2, -1))
    total = size.sum(axis=-1, keepdims=True)
    return size / total, counts / np.where(size > 0, size, 1.0)[..., None, None]


def _observed(counts: _Counts, scores: Floats, confidence: float) -> Estimate:
    """The charted change, with the error of two independent samples of conversations."""
    means, variance = [], 0.0
    for n in (counts.n1, counts.n2):
        total, level = float(n.sum()), n.sum(axis=(0, 2))
        if not total:
            return Estimate.undefined("no_items")
        mean = float(level @ scores) / total
        variance += float(level @ (scores - mean) ** 2) / total**2
        means.append(mean)
    return _normal(means[1] - means[0], variance, sum(counts.volumes), confidence, "difference of charted means")


def _normal(value: float, variance: float, n: int, confidence: float, method: str) -> Estimate:
    error = float(np.sqrt(variance))
    reach = normal_quantile(confidence) * error
    return Estimate(value, value - reach, value + reach, method, n, None, confidence, None, error)


def _estimates(value: Floats, by_labels: Floats, by_counts: Floats, n: int, confidence: float) -> list[Estimate]:
    """Values [part] with the spread of their redraws [redraw, part]."""
    variance = by_labels.var(axis=0) + by_counts.var(axis=0)
    return [
        _normal(float(x), float(v), n, confidence, "redrawn labels and counts")
        for x, v in zip(value, variance, strict=True)
    ]


def _group(value: Floats, by_labels: Floats, by_counts: Floats, names: Sequence[str]) -> Group:
    index = [PARTS.index(name) for name in names]
    spreads = (float(draws[:, index].sum(axis=1).var()) for draws in (by_labels, by_counts))
    return Group(float(value[index].sum()), *spreads)


def _withheld(parts: dict[str, Estimate], counts: _Counts) -> dict[str, Estimate]:
    """Parts that this comparison cannot know, or that cannot have moved, say so; what is left adds up as before."""
    if counts.mode == "unbridged":
        parts["silent_drift"] = Estimate.undefined("no_bridge")
    if not counts.with_bands:
        parts["transcription"] = Estimate.undefined("no_transcript_quality")
    elif counts.mode == "bridged_new_labels":
        parts["transcription"] = Estimate.undefined("no_labels_of_the_old_version")
    return parts


def _undecided(comparison: Comparison, counts: _Counts, observed: Estimate, reason: str) -> Attribution:
    """Nothing can be told apart: every part says why, and how many labels a first answer takes."""
    nothing = Estimate.undefined(reason, n=counts.total_labels)
    parts = dict.fromkeys(PARTS, nothing)
    needed = max(2 * FIRST_LABELS * len(comparison.slices) - counts.total_labels, FIRST_LABELS)
    text = _sentence(comparison, observed, parts, "not enough evidence", (), needed)
    return Attribution(
        comparison,
        counts.volumes,
        counts.labels,
        observed,
        nothing,
        parts,
        "not enough evidence",
        (),
        text,
        needed,
        bridge=counts.bridged,
    )


def _sentence(
    comparison: Comparison,
    observed: Estimate,
    parts: Mapping[str, Estimate],
    found: Verdict,
    leaders: Sequence[str],
    needed: int | None,
) -> str:
    if not observed.defined:
        return f"There are no predictions to compare the {comparison.measure} with."
    versions = (comparison.before.versions[:1] or ("",))[0], (comparison.after.versions[:1] or ("",))[0]
    share = set(comparison.scores) <= {0.0, 1.0}
    return sentence(
        comparison.measure, observed, parts, found, leaders, more_labels=needed, versions=versions, points=share
    )


def _mode(upgraded: bool, bridged: float, old_labels: int, new_labels: int) -> Mode:
    """How far the two versions can be told apart. Labels matched with the old version are best, if there are enough."""
    if not upgraded:
        return "same"
    if bridged < LEAST_BRIDGE:
        return "unbridged"
    return "bridged" if old_labels >= LEAST_LABELS and 2 * old_labels >= new_labels else "bridged_new_labels"


def _total(tables: Sequence[Sequence[ConfusionTable]]) -> int:
    return sum(table.total for bands in tables for table in bands)


def _predicted(counts: Sequence[Sequence[int]], size: int, bands: int) -> Floats:
    """[K, B] counts of one slice."""
    if len(counts) != bands or any(len(band) != size for band in counts):
        raise StatisticsError("predicted counts have one number for each category, in every band")
    array: NDArray[np.float64] = np.array(counts, dtype=float).T
    if not np.isfinite(array).all() or np.any(array < 0):
        raise StatisticsError("predicted counts are not negative")
    return array


def _bridge(bridge: Sequence[Sequence[Sequence[int]]] | None, size: int, bands: int) -> Floats:
    """[K old, K new, B] counts of one slice."""
    array = np.zeros((bands, size, size)) if bridge is None else np.array(bridge, dtype=float)
    if array.shape != (bands, size, size) or not np.isfinite(array).all() or np.any(array < 0):
        raise StatisticsError("a bridge counts old × new answers, in every band")
    return np.moveaxis(array, 0, -1)


def _labels(tables: Sequence[ConfusionTable], categories: tuple[str, ...], bands: int) -> Floats:
    """[G, K, B] labels of one slice, each column scaled to its Kish size; no tables are no labels."""
    if tables and (len(tables) != bands or any(table.categories != categories for table in tables)):
        raise StatisticsError("a table of these categories is needed for each band, or none at all")
    answer = np.zeros((len(categories), len(categories), bands))
    for band, table in enumerate(tables):
        weight, squares = table.s1.sum(axis=0), table.s2.sum(axis=0)
        answer[:, :, band] = table.s1 * np.where(squares > 0, weight / np.where(squares > 0, squares, 1.0), 0.0)
    return answer
