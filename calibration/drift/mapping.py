"""Maps at work: what a fit reads from gold and predictions, and the version that a map becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import classifiers, rollups
from calibration.errors import EvidenceRefused
from calibration.models import ClassifierVersion, Prediction, Recalibration
from calibration.stats.map_fits import LEAST_LABELS, Gold, Kind
from calibration.stats.maps import CalibrationMap, Floats
from calibration.stats.tables import PairedTable
from calibration.streams import lies_in
from labeling.models import Conversation, DatasetVersion, GoldRow
from labeling.values import Scale

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Data:
    """Gold units that a version answered, as arrays; `told` when it gave probabilities for all of them."""

    gold: Gold
    told: bool
    rows: tuple[GoldRow, ...]

    def inside(self, part: Mapping[str, str]) -> NDArray[np.bool_]:
        """Which of the units lie in a slice."""
        return np.array([lies_in(part, row.channel, row.cohort, row.attributes) for row in self.rows], dtype=bool)


def read(*, dataset_version: DatasetVersion, version: ClassifierVersion) -> Data:
    """The resolved units of a gold set with the version's answers, weighted by 1 / inclusion probability."""
    scale = Scale.of(dataset_version.dataset.signal)
    if scale.kind in ("interval", "multilabel"):
        raise EvidenceRefused("no_map", f"maps are fitted to one category an answer, not to {scale.kind} signals")
    rows = GoldRow.objects.filter(version=dataset_version, value__isnull=False).order_by("position")
    answers = _answers(version, rows.values("conversation"))
    found = [
        (row, answers[row.conversation_id, row.turn]) for row in rows if (row.conversation_id, row.turn) in answers
    ]
    if not found:
        raise EvidenceRefused("no_items", f"{version} scored none of the labelled units")
    told = all(answer[1] for _, answer in found)
    if not told:  # in part: then answers alone are comparable
        found = [(row, (value, None)) for row, (value, _) in found]
    probabilities = np.array([one_row(scale, *answer) for _, answer in found])
    codes = np.array([scale.values.index(str(row.value)) for row, _ in found])
    weights = [1 / row.inclusion_probability for row, _ in found]
    drawn = tuple(row for row, _ in found)
    return Data(Gold.of(probabilities, codes, channels=[row.channel for row in drawn], weights=weights), told, drawn)


def kind_for(data: Data, *, folds: int) -> Kind:
    """The richest map that the labels carry in every fold."""
    carried = len(data.gold) * (folds - 1) // folds
    if data.told and carried >= LEAST_LABELS["platt_by_channel"]:
        return "platt_by_channel" if len(set(data.gold.channels)) > 1 else "platt"
    return "confusion"


def joint(scale: Scale, gold: Gold, after: Floats) -> PairedTable:
    """Gold × answers before × answers after."""
    before, new = gold.probabilities.argmax(axis=1), after.argmax(axis=1)
    return PairedTable.from_triples(gold.gold, before, new, len(scale.values), gold.weights, scale.values)


def register(*, recalibration: Recalibration) -> ClassifierVersion:
    """The map as a pinned version: the parent's content, and the map among its parameters."""
    parent = recalibration.flag.version
    content = {
        "kind": parent.kind,
        "model": parent.model,
        "prompt": parent.prompt,
        "code": parent.code,
        "parameters": parent.parameters
        | {"calibration_map": recalibration.fit["map"], "calibration_slices": recalibration.slices},
        "note": f"{parent} recalibrated on {recalibration.dataset_version} for drift flag {recalibration.flag_id}",
        "parent": parent.version,
    }
    name = f"{parent.version}-r{recalibration.flag_id}"
    return classifiers.register(classifier=parent.classifier, version=name, content=content)[0]


def store(*, promoted: ClassifierVersion, recalibration: Recalibration, calibration: CalibrationMap) -> int:
    """The parent's predictions in the chosen slices since the change, mapped, as the new version's own."""
    scale = Scale.of(recalibration.flag.version.classifier.signal)
    have = set(Prediction.objects.filter(version=promoted).values_list("conversation_id", "turn"))
    stored = 0
    source = (row for row in _parents(recalibration) if (row.conversation_id, row.turn) not in have)
    while batch := list(islice(source, BATCH)):
        stored += _store_batch(promoted, batch, calibration, scale)
    return stored


def one_row(scale: Scale, value: str, probabilities: dict[str, Any] | None) -> list[float]:
    """Probabilities in the order of the scale; of an answer alone, all on it."""
    if not probabilities:
        return [float(category == value) for category in scale.values]
    row = np.array([max(float(probabilities.get(category) or 0.0), 0.0) for category in scale.values])
    total = float(row.sum())
    return [float(x) for x in row / total] if total > 0 else [float(category == value) for category in scale.values]


def _answers(version: ClassifierVersion, conversations: Any) -> dict[tuple[int, int], tuple[str, Any]]:
    rows = Prediction.objects.filter(
        version=version, status=Prediction.Status.OK, conversation__in=conversations
    ).values_list("conversation_id", "turn", "value", "probabilities")
    return {(conversation, turn): (str(value), told) for conversation, turn, value, told in rows}


def _parents(recalibration: Recalibration) -> Iterator[Prediction]:
    """The parent's predictions of the slices, since the change; nothing before it was wrong."""
    flag, parts = recalibration.flag, recalibration.slices
    rows = Prediction.objects.filter(version=flag.version, status=Prediction.Status.OK).select_related("conversation")
    for name in ("channel", "cohort"):
        if all(name in part for part in parts):
            rows = rows.filter(**{f"conversation__{name}__in": {part[name] for part in parts}})
    for row in rows.order_by("id").iterator(chunk_size=BATCH):
        spoken: Conversation = row.conversation
        moment = row.predicted_at or spoken.started_at
        later = flag.since is None or moment is None or moment.date() >= flag.since
        if later and any(lies_in(part, spoken.channel, spoken.cohort, spoken.attributes) for part in parts):
            yield row


def _store_batch(
    promoted: ClassifierVersion, batch: Sequence[Prediction], calibration: CalibrationMap, scale: Scale
) -> int:
    before = np.array([one_row(scale, str(row.value), row.probabilities) for row in batch])
    after = calibration.apply(before, [row.conversation.channel for row in batch])
    spoken = Conversation.objects.filter(id__in={row.conversation_id for row in batch})
    places = {key: place for key, *place in rollups.held(spoken, "id", "started_at", "channel", "cohort")}
    changes, rows, parent = rollups.Changes(), [], str(promoted.parent)
    for row, shares in zip(batch, after, strict=True):
        mapped = Prediction(
            version=promoted,
            conversation=row.conversation,
            turn=row.turn,
            value=scale.values[int(shares.argmax())],
            probabilities={name: round(float(p), 6) for name, p in zip(scale.values, shares, strict=True)},
            predicted_at=row.predicted_at,
            metadata={"mapped_from": parent},
        )
        started_at, channel, cohort = places[row.conversation_id]
        changes.add(mapped, started_at=started_at, channel=channel, cohort=cohort)
        rows.append(mapped)
    Prediction.objects.bulk_create(rows)
    changes.write()
    return len(rows)
