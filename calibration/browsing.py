"""Finding conversations: filters, and pages by cursor, so that a page stays the same while others arrive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from django.db.models import QuerySet
from django.utils.dateparse import parse_date

from labeling import privacy
from labeling.errors import Refused
from labeling.models import Conversation

PAGE = 50
EXACT = ("channel", "cohort", "source", "customer")
COLUMNS = (
    "id",
    "external_id",
    "channel",
    "cohort",
    "customer",
    "source",
    "started_at",
    "turn_count",
    "turns",
    "summary",
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page, and the cursor of the next one ("" at the end)."""

    conversations: list[Conversation]
    next_cursor: str


def read(*, query: Mapping[str, str]) -> Page:
    """The newest loaded first. `query`: channel, cohort, source, customer, since, until, q (an id's beginning), before."""
    check_text(query)
    found = Conversation.objects.only(*COLUMNS).order_by("-id")
    for name in EXACT:
        if query.get(name):
            found = found.filter(**{name: query[name].strip()})
    found = _between(found, _day(query, "since"), _day(query, "until"))
    if query.get("q"):
        found = found.filter(external_id__startswith=query["q"].strip())
    if query.get("before", "").isdigit():
        found = found.filter(id__lt=int(query["before"]))
    mask = privacy.in_force()
    rows = [privacy.shown(row, mask) for row in found[: PAGE + 1]]
    return Page(rows[:PAGE], str(rows[PAGE - 1].id) if len(rows) > PAGE else "")


def check_text(query: Mapping[str, str]) -> None:
    """Refuse what no stored text can contain, and not every database can be asked for."""
    for name, value in query.items():
        if "\x00" in name or "\x00" in value:
            raise Refused("bad_text", "a filter has a NUL character in it", field=name.replace("\x00", ""))


def _between(found: QuerySet[Conversation], since: date | None, until: date | None) -> QuerySet[Conversation]:
    """Both ends included, days in UTC."""
    if since is not None:
        found = found.filter(started_at__gte=datetime.combine(since, time.min, UTC))
    if until is not None:
        found = found.filter(started_at__lte=datetime.combine(until, time.max, UTC))
    return found


def _day(query: Mapping[str, str], name: str) -> date | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise Refused("bad_date", f"{text!r} is no day; write it as 2026-03-31", field=name)
    return day
