"""Periods as people write them: `2026-01-01..2026-01-31`, both days included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from labeling.errors import Refused


@dataclass(frozen=True, slots=True)
class Days:
    """A period of whole days."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first.isoformat()}..{self.last.isoformat()}"

    def __contains__(self, day: date | None) -> bool:
        return day is not None and self.first <= day <= self.last

    @property
    def words(self) -> str:
        """`January 2026` for a whole month, else `3 January to 9 February 2026`."""
        after = self.last + timedelta(days=1)
        if self.first.day == 1 and after.day == 1 and (self.last - self.first).days < 31:
            return f"{self.first:%B %Y}"
        year = "" if self.first.year == self.last.year else f" {self.first.year}"
        return f"{self.first.day} {self.first:%B}{year} to {self.last.day} {self.last:%B %Y}"


def read(text: str, *, field: str) -> Days:
    """The period that a text names; refused with the field at fault."""
    first, dots, last = text.partition("..")
    try:
        found = Days(date.fromisoformat(first.strip()), date.fromisoformat((last if dots else first).strip()))
    except ValueError as error:
        raise Refused(
            "bad_period", f"{text!r} is not a period: write 2026-01-01..2026-01-31", field=field, status=400
        ) from error
    if found.last < found.first:
        raise Refused("empty_period", f"{text!r} ends before it begins", field=field, status=400)
    return found
