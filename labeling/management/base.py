"""What every management command shares: a refusal is a clean exit 1 with its reasons on stderr, never a traceback."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from labeling.errors import Refused


class VerbCommand(BaseCommand):
    """A face of one verb. Subclasses write `run(**options)`; what it returns, if anything, is the exit code.

    `refused_exit` is the exit code of a refusal; `input_name(options)` names the file at fault before each row error.
    """

    refused_exit = 1

    def run(self, **options: Any) -> int | None:
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def input_name(self, options: dict[str, Any]) -> str:
        return str(options.get("file") or "input")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = self.run(**options)
        except Refused as refused:
            for line in refusal_lines(refused, self.input_name(options)):
                self.stderr.write(line)
            sys.exit(self.refused_exit)
        if code:
            sys.exit(code)


def refusal_lines(refused: Refused, name: str) -> list[str]:
    """One line for each row at fault, `FILE:LINE: field: what is wrong`, or the sentence alone."""
    if not refused.errors:
        return [f"{refused.field}: {refused.message}" if refused.field else refused.message]
    lines = [row_line(name, error.line, error.field, error.message) for error in refused.errors]
    return [*lines, refused.message]


def row_line(name: str, line: int | None, field: str | None, message: str) -> str:
    place = name if line is None else f"{name}:{line}"
    return f"{place}: {field}: {message}" if field else f"{place}: {message}"
