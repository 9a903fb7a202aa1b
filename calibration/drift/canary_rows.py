"""Canaries outside: a round of answers that was given elsewhere, and a set with its state, as documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from calibration.drift import canaries, canary_watch
from calibration.models import Canary, CanaryAnswer, CanaryRound, CanarySet, Prediction
from labeling.errors import Refused, RowError
from labeling.formats import rows
from labeling.formats.jsonl import Record
from labeling.formats.rows import FieldRefused
from labeling.models import WHOLE
from labeling.values import Scale, ValueRefused

MOST_ERRORS = 100


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One canary's answer as it is given: `value` in the contract's form, or a status that says why there is none."""

    conversation: str
    turn: int
    value: Any
    status: str


def load(*, canary_set: CanarySet, records: Iterable[Record | RowError], at: datetime) -> CanaryRound:
    """Store one round: an answer for every canary, or nothing with an error for each row at fault."""
    scale = Scale.of(canary_set.version.classifier.signal)
    known = {
        (canary.conversation.external_id, canary.turn): canary
        for canary in canary_set.canaries.select_related("conversation")
    }
    answers: dict[int, tuple[Canary, CanaryAnswer]] = {}
    errors: list[RowError] = []
    for record in records:
        if isinstance(record, RowError):
            errors.append(record)
            continue
        try:
            canary, answer = _answer(record.data, known, scale)
        except FieldRefused as refused:
            errors.append(RowError(record.line, refused.field, refused.message))
            continue
        if canary.id in answers:
            errors.append(RowError(record.line, "conversation", "is a duplicate: this canary was answered above"))
        answers[canary.id] = (canary, answer)
    missing = [name for (name, _), canary in known.items() if canary.id not in answers]
    if missing and not errors:
        told = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        why = f"{len(missing)} of {len(known)} canaries have no answer ({told}): give each a value or a status"
        errors.append(RowError(None, "conversation", why))
    if errors:
        raise Refused("bad_rows", "nothing was stored", errors=errors[:MOST_ERRORS])
    return canaries.store_round(canary_set=canary_set, at=at, answers=list(answers.values()))


def _answer(
    data: Mapping[str, Any], known: Mapping[tuple[str, int], Canary], scale: Scale
) -> tuple[Canary, CanaryAnswer]:
    status = rows.text(data, "status") or Prediction.Status.OK
    if status not in Prediction.Status.values:
        raise FieldRefused("status", f"must be one of {', '.join(Prediction.Status.values)}")
    row = AnswerRow(rows.text(data, "conversation", required=True), rows.turn(data), data.get("value"), status)
    canary = known.get((row.conversation, row.turn))
    if canary is None:
        raise FieldRefused("conversation", f"{row.conversation!r} is no canary of this version")
    if (row.value is None) == (status == Prediction.Status.OK):
        raise FieldRefused("value", "is required where the status is ok, and must be null where it is not")
    try:
        value, number = scale.encode(row.value) if status == Prediction.Status.OK else (None, None)
    except ValueRefused as refused:
        raise FieldRefused("value", str(refused)) from refused
    return canary, CanaryAnswer(canary=canary, status=status, value=value, number=number)


def document(canary_set: CanarySet) -> dict[str, Any]:
    """A set with its state, its rounds, and which conversations are to be answered."""
    told = canary_watch.state(canary_set)
    watched = told["watched"]
    units = canary_set.canaries.order_by("position").values_list("conversation__external_id", "turn")
    return {
        "version": str(canary_set.version),
        "state": told["word"],
        "every_days": canary_set.every_days,
        "noise": told["noise"],
        "e_value": watched.e_value if watched else None,
        "alarm_at": watched.alarm_at if watched else None,
        "guarantee": watched.guarantee if watched else None,
        "rounds": [
            {
                "number": row.number,
                "at": row.at.isoformat(),
                "state": row.state,
                "pinning": row.number <= canaries.PINNING,
                "answers": row.answers,
                "flips": row.flips,
                "cost": row.cost,
                "error": row.error,
            }
            for row in canary_set.rounds.order_by("number")
        ],
        "canaries": [{"conversation": name, "turn": None if turn == WHOLE else turn} for name, turn in units],
    }
