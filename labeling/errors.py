"""What the verbs of labelling refuse, as one small family; `cxlab.errors` turns it into an answer in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowError:
    """One thing wrong with one row of input: `line` is 1-based, None for the whole file."""

    line: int | None
    field: str | None
    message: str

    def as_dict(self) -> dict[str, object]:
        return {"line": self.line, "field": self.field, "message": self.message}


class Refused(Exception):
    """A request that cannot be carried out as asked; nothing was stored.

    `code` is a stable word for programs, `message` a sentence for people, `field` the input at fault, `status` the
    HTTP status, `errors` the rows at fault where the input had rows.
    """

    status = 422

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        status: int | None = None,
        errors: Sequence[RowError] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.errors = list(errors)
        if status is not None:
            self.status = status


class Conflict(Refused):
    """The state has moved on: the lease is gone, the version is frozen, the name is taken."""

    status = 409


class Forbidden(Refused):
    """Somebody who may see the place, but not do this there."""

    status = 403


class NotFound(Refused):
    """No such thing, or not for this person: a stranger cannot tell the two apart."""

    status = 404
