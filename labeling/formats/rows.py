"""Objects of the file contract → typed rows; each refusal names the field at fault."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

WHOLE = -1
"""The `turn` of a row about the whole conversation, as the database has it."""

YEARS = range(1900, 2200)
"""Times beyond are what a system writes for one that it does not know, such as 0001-01-01; one such day would stretch
every chart over millennia."""

ROLES = ("customer", "agent", "system", "tool")

CONVERSATION_FIELDS = frozenset(
    [
        "id",
        "source",
        "channel",
        "cohort",
        "customer",
        "started_at",
        "turns",
        "attributes",
        "asr",
        "summary",
        "audio",
        "metadata",
    ]
)
LABEL_FIELDS = frozenset(
    ["conversation", "turn", "signal", "annotator", "value", "at", "seconds", "comment", "confidence", "metadata"]
)


class FieldRefused(ValueError):
    """A field that cannot be taken as it is."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A conversation as the contract has it; JSON parts are kept as canonical text too, ready to be stored."""

    id: str
    source: str
    channel: str
    cohort: str
    customer: str
    started_at: datetime | None
    turns: list[dict[str, Any]]
    attributes: dict[str, Any]
    asr: dict[str, Any] | None
    summary: str
    audio: str
    metadata: dict[str, Any]
    content_sha256: str


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One annotator's answer; `value` is still as it was given, since only the signal knows its canonical text."""

    conversation: str
    turn: int
    signal: str
    annotator: str
    value: Any
    at: datetime | None
    seconds: float | None
    comment: str
    confidence: float | None
    metadata: str


def conversation(data: Mapping[str, Any]) -> ConversationRow:
    """Raises FieldRefused."""
    found: dict[str, Any] = {
        "id": text(data, "id", required=True, limit=200),
        "source": text(data, "source", limit=100),
        "channel": text(data, "channel", limit=60).strip() or "unknown",
        "cohort": text(data, "cohort", limit=200).strip() or "unknown",
        "customer": text(data, "customer", limit=200),
        "started_at": moment(data, "started_at"),
        "turns": turns(data),
        "attributes": mapping(data, "attributes"),
        "asr": mapping(data, "asr") or None,
        "summary": text(data, "summary"),
        "audio": text(data, "audio", limit=1000),
        "metadata": metadata(data, CONVERSATION_FIELDS),
    }
    return ConversationRow(**found, content_sha256=content_sha256(found))


def content_sha256(found: Mapping[str, Any]) -> str:
    """The hash of a conversation's canonical form: equal content has the equal hash, whatever the order of its keys."""
    started_at = found["started_at"]
    plain = {**found, "started_at": started_at.isoformat() if started_at else None}
    try:
        canonical = json_text(plain, None, ordered=True)
    except FieldRefused:
        for field in ("turns", "attributes", "asr", "metadata"):
            json_text(plain[field], field)  # the one at fault names itself
        raise
    return hashlib.sha256(canonical.encode()).hexdigest()


def label(data: Mapping[str, Any]) -> LabelRow:
    """Raises FieldRefused."""
    if data.get("value") is None:
        raise FieldRefused("value", "is required: it is missing")
    return LabelRow(
        conversation=text(data, "conversation", required=True),
        turn=turn(data),
        signal=text(data, "signal", required=True),
        annotator=text(data, "annotator", required=True, limit=150),
        value=data["value"],
        at=moment(data, "at"),
        seconds=number(data, "seconds", low=0),
        comment=text(data, "comment"),
        confidence=number(data, "confidence", low=0, high=1),
        metadata=metadata_text(data, LABEL_FIELDS),
    )


def text(data: Mapping[str, Any], field: str, *, required: bool = False, limit: int | None = None) -> str:
    value = data.get(field)
    if value is None:
        if required:
            raise FieldRefused(field, "is required: it is missing")
        return ""
    if not isinstance(value, str):
        raise FieldRefused(field, f"must be a string, is {shown(value)}")
    if required and not value.strip():
        raise FieldRefused(field, "is required: it is empty")
    if limit is not None and len(value) > limit:
        raise FieldRefused(field, f"is too long: {len(value)} characters, at most {limit} can be kept")
    return value


def turn(data: Mapping[str, Any]) -> int:
    value = data.get("turn")
    if value is None:
        return WHOLE
    if type(value) is not int or value < 0:
        raise FieldRefused("turn", f"must be a 0-based index, or null for the whole conversation; is {shown(value)}")
    return value


def number(data: Mapping[str, Any], field: str, *, low: float | None = None, high: float | None = None) -> float | None:
    value = data.get(field)
    if value is None:
        return None
    return finite(value, field, low=low, high=high)


def finite(value: Any, field: str, *, low: float | None = None, high: float | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldRefused(field, f"must be a number, is {shown(value)}")
    try:
        found = float(value)
    except OverflowError as error:
        raise FieldRefused(field, "must be a finite number") from error
    if not math.isfinite(found):
        raise FieldRefused(field, "must be a finite number")
    if (low is not None and found < low) or (high is not None and found > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise FieldRefused(field, f"must be {bounds}, is {shown(value)}")
    return found


def moment(data: Mapping[str, Any], field: str) -> datetime | None:
    """A time in UTC; one without an offset is meant as UTC."""
    value = data.get(field)
    if value is None:
        return None
    return parsed_moment(value, field)


def parsed_moment(value: Any, field: str) -> datetime:
    if not isinstance(value, str):
        raise FieldRefused(field, f"must be a date and time in ISO 8601, is {shown(value)}")
    try:
        found = datetime.fromisoformat(value)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise FieldRefused(
            field, f"{shown(value)} is not a date and time in ISO 8601, as in 2026-03-02T09:15:00Z: {error}"
        ) from error
    if found.year not in YEARS:
        raise FieldRefused(
            field,
            f"{shown(value)} stands for no time: years go from {YEARS[0]} to {YEARS[-1]}; leave out what is not known",
        )
    return found


def turns(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    value = data.get("turns")
    if value is None:
        raise FieldRefused("turns", "is required: it is missing")
    if not isinstance(value, list):
        raise FieldRefused("turns", f"must be a list, is {shown(value)}")
    for index, entry in enumerate(value):
        _check_turn(entry, index)
    return value


def _check_turn(entry: Any, index: int) -> None:
    if not isinstance(entry, dict):
        raise FieldRefused("turns", f"turn {index} must be an object, is {shown(entry)}")
    role = entry.get("role")
    if role not in ROLES:
        what = "has no role" if role is None else f"has the role {shown(role)}"
        raise FieldRefused("turns", f"turn {index} {what}: it must be one of {', '.join(ROLES)}")
    if not isinstance(entry.get("text"), str):
        raise FieldRefused("turns", f"turn {index} must have a text, a string; is {shown(entry.get('text'))}")
    try:
        moment(entry, "at")
        number(entry, "start")
        number(entry, "end")
    except FieldRefused as refused:
        raise FieldRefused("turns", f"turn {index}: {refused.field} {refused.message}") from refused


def mapping(data: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = data.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FieldRefused(field, f"must be an object, is {shown(value)}")
    return value


def metadata(data: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """`metadata` and every field that the contract does not know: nothing is dropped."""
    given = mapping(data, "metadata")
    unknown = data.keys() - known
    if not unknown:
        return given
    merged = dict(given)
    for field in sorted(unknown):
        if field in given and given[field] != data[field]:
            raise FieldRefused(field, "is given twice, here and in metadata, with different content")
        merged[field] = data[field]
    return merged


def metadata_text(data: Mapping[str, Any], known: frozenset[str]) -> str:
    found = metadata(data, known)
    return json_text(found, "metadata", ordered=True) if found else "{}"


# Made once: json.dumps would make an encoder for every call.
_AS_GIVEN = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_ORDERED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True)


def json_text(value: Any, field: str | None, *, ordered: bool = False) -> str:
    """JSON as it is stored; refuses numbers that overflow to infinity, which are no JSON."""
    try:
        return (_ORDERED if ordered else _AS_GIVEN).encode(value)
    except ValueError as error:
        raise FieldRefused(field, "has a number too large to be kept") from error
    except RecursionError as error:
        raise FieldRefused(field, "is nested too deeply") from error


def shown(value: Any) -> str:
    """`value` as JSON, cut short: what a message quotes."""
    try:
        found = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError, TypeError):
        found = str(type(value).__name__)
    return found if len(found) <= 60 else found[:57] + "…"


def moment_text(at: datetime | None) -> str | None:
    """A time as files have it: UTC with a Z, fractions only where there are some."""
    if at is None:
        return None
    at = at.astimezone(UTC)
    precision = "seconds" if at.microsecond == 0 else "milliseconds" if at.microsecond % 1000 == 0 else "microseconds"
    return at.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
