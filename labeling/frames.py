"""Sampling frames: which conversations, or which of their turns, a queue may be drawn from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

from django.db.models import QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from labeling import privacy
from labeling.errors import Refused
from labeling.models import WHOLE, Conversation, Label, Signal

ROLES = ("customer", "agent", "system", "tool")
COLUMNS = ("channel", "cohort", "source")
UNKNOWN = "unknown"
JOIN = " · "


class FrameUnit(NamedTuple):
    """A conversation, or one turn of it, that could be drawn."""

    conversation: int
    external_id: str
    turn: int
    channel: str
    cohort: str
    stratum: str

    @property
    def key(self) -> str:
        """The unit's name in every database that holds the same data, so that a seed draws the same sample there."""
        return f"{self.external_id}#{self.turn:06d}"


@dataclass(frozen=True, slots=True)
class Frame:
    """What may be drawn. Empty filters let everything pass; `since` and `until` are days, both included.

    `roles` matter for signals of a turn: whose turns are asked. Empty means what `asked_roles` finds.
    """

    channels: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [role for role in self.roles if role not in ROLES]
        if unknown:
            raise Refused("unknown_role", f"{unknown[0]!r} is not one of {', '.join(ROLES)}", field="role")
        if self.since and self.until and self.until < self.since:
            raise Refused("empty_period", f"the period ends {self.until}, before it begins", field="until")

    def as_dict(self) -> dict[str, Any]:
        """The filters in use, for the queue's design."""
        used: dict[str, Any] = {
            "channels": list(self.channels),
            "cohorts": list(self.cohorts),
            "sources": list(self.sources),
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "attributes": dict(self.attributes),
            "roles": list(self.roles),
        }
        return {name: value for name, value in used.items() if value}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Frame:
        """The frame that `as_dict` wrote down."""
        return cls(
            channels=tuple(stored.get("channels", ())),
            cohorts=tuple(stored.get("cohorts", ())),
            sources=tuple(stored.get("sources", ())),
            since=date.fromisoformat(stored["since"]) if stored.get("since") else None,
            until=date.fromisoformat(stored["until"]) if stored.get("until") else None,
            attributes=dict(stored.get("attributes", {})),
            roles=tuple(stored.get("roles", ())),
        )

    def conversations(self) -> QuerySet[Conversation]:
        """The conversations inside the frame."""
        rows = Conversation.objects.all()
        for column, names in (("channel", self.channels), ("cohort", self.cohorts), ("source", self.sources)):
            if names:
                rows = rows.filter(**{f"{column}__in": names})
        if self.since:
            rows = rows.filter(started_at__gte=datetime.combine(self.since, time.min, UTC))
        if self.until:
            rows = rows.filter(started_at__lte=datetime.combine(self.until, time.max, UTC))
        for number, (name, value) in enumerate(self.attributes.items()):
            text = Cast(KeyTextTransform(name, "attributes"), TextField())
            rows = rows.alias(**{f"attribute_{number}": text}).filter(**{f"attribute_{number}": value})
        return rows


def unit_of(signals: Sequence[Signal]) -> str:
    """What is drawn for `signals`: conversations or turns; they must all ask for the same."""
    if not signals:
        raise Refused("no_signal", "a queue asks for at least one signal", field="signal")
    if len({signal.id for signal in signals}) < len(signals):
        raise Refused("signal_twice", "a signal is named twice", field="signal")
    if len({signal.unit for signal in signals}) > 1:
        units = ", ".join(f"{signal.slug} of the {signal.unit}" for signal in signals)
        raise Refused("mixed_units", f"one queue asks either for conversations or for turns: {units}", field="signal")
    return signals[0].unit


def asked_roles(signals: Sequence[Signal]) -> tuple[str, ...]:
    """Whose turns a signal of a turn asks for: those that have been labelled so far, else the customer's."""
    found: set[str] = set()
    for signal in signals:
        labels = Label.objects.filter(signal=signal, turn__gt=WHOLE).order_by("id")
        for turn, turns in labels.values_list("turn", "conversation__turns")[:200]:
            found |= {turns[turn]["role"]} if turn < len(turns) else set()
    return tuple(role for role in ROLES if role in found) or ("customer",)


def settled(frame: Frame, *, signals: Sequence[Signal]) -> Frame:
    """The frame with its roles said, where they matter."""
    if unit_of(signals) != Signal.Unit.TURN:
        return replace(frame, roles=())
    return frame if frame.roles else replace(frame, roles=asked_roles(signals))


def read(frame: Frame, *, signals: Sequence[Signal], by: Sequence[str]) -> list[FrameUnit]:
    """All units of the frame, each in its stratum `by` channel, cohort, source or attributes; refuses an empty frame."""
    frame = settled(frame, signals=signals)
    turns = unit_of(signals) == Signal.Unit.TURN
    if len(set(by)) < len(by):
        raise Refused("stratum_twice", "strata name a property twice", field="by")
    attributes = [name for name in by if name not in COLUMNS]
    units = list(_units(frame, by, attributes=bool(attributes), turns=turns))
    if not units:
        raise Refused("empty_frame", _why_empty(frame, turns=turns), field="frame")
    for name in attributes:
        if not frame.conversations().filter(attributes__has_key=name).exists():
            raise Refused("unknown_attribute", f"no conversation of the frame has the attribute {name!r}", field="by")
    mask = privacy.in_force() if attributes else privacy.NOTHING
    if any(mask.text(stratum) != stratum for stratum in {unit.stratum for unit in units}):
        raise Refused("masked_stratum", "the strata hold personal data, which is masked here", field="by")
    return units


def attributes_of(units: Sequence[FrameUnit]) -> dict[int, dict[str, Any]]:
    """Attributes and source of the conversations of `units`, by conversation, for slices by them."""
    wanted = {unit.conversation for unit in units}
    rows = Conversation.objects.values_list("id", "source", "attributes")
    return {
        number: {**attributes, "source": source}
        for number, source, attributes in rows.iterator(chunk_size=5000)
        if number in wanted
    }


def digest(units: Iterable[FrameUnit]) -> str:
    """SHA-256 over the units and their strata: the same frame, the same seed, the same sample."""
    lines = sorted(f"{unit.key}\t{unit.stratum}\n" for unit in units)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def part(row: Mapping[str, Any], name: str) -> str:
    """A conversation's part in the name of its stratum: short, since whole names have an end in the database."""
    value = row[name] if name in COLUMNS else row["attributes"].get(name)
    return str(UNKNOWN if value is None or value == "" else value)[:120]


def _units(frame: Frame, by: Sequence[str], *, attributes: bool, turns: bool) -> Iterator[FrameUnit]:
    fields = ["id", "external_id", "channel", "cohort", "source", "turn_count"]
    fields += ["attributes"] if attributes else []
    fields += ["turns"] if turns else []
    for row in frame.conversations().order_by("id").values(*fields).iterator(chunk_size=2000):
        stratum = JOIN.join(part(row, name) for name in by)
        asked = _asked(row["turns"], frame.roles) if turns else (WHOLE,) if row["turn_count"] else ()
        for turn in asked:
            yield FrameUnit(row["id"], row["external_id"], turn, row["channel"], row["cohort"], stratum)


def _asked(turns: Sequence[Mapping[str, Any]], roles: Sequence[str]) -> list[int]:
    return [index for index, turn in enumerate(turns) if turn.get("role") in roles]


def _why_empty(frame: Frame, *, turns: bool) -> str:
    if not Conversation.objects.exists():
        return "there are no conversations yet: load some first"
    if turns and frame.conversations().exists():
        return f"the conversations of this frame have no turn by {' or '.join(frame.roles)}"
    used = {name: value for name, value in frame.as_dict().items() if name != "roles"}
    told = "; ".join(f"{name} {_told(value)}" for name, value in used.items())
    return f"no conversation lies in this frame ({told})" if told else "no conversation has a turn to be read"


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
