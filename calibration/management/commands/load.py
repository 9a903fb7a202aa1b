"""`load KIND FILE`: conversations, labels, predictions or outcomes, all of a file or nothing."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from tqdm import tqdm

from calibration.importing import KINDS
from labeling.errors import Refused
from labeling.formats import jsonl
from labeling.management.base import VerbCommand, row_line


class Command(VerbCommand):
    help = "Load a file; with anything wrong in it, nothing is stored and the first 100 errors are printed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=sorted(KINDS))
        parser.add_argument("file", metavar="FILE", help="JSON Lines, plain or gzipped, or - for standard input")
        parser.add_argument("--format", default="jsonl", choices=["jsonl"])
        parser.add_argument(
            "--partial", action="store_true", help="store the rows that are right; exit 1 if some were not"
        )

    def run(self, **options: Any) -> int | None:
        with ExitStack() as stack:
            stream, size = opened(options["file"], stack)
            bar = stack.enter_context(
                tqdm(total=size, unit="B", unit_scale=True, desc=options["kind"], file=self.stderr, disable=None)
            )
            records = jsonl.records(stream, progress=bar.update)
            loaded = KINDS[options["kind"]](records=records, partial=options["partial"])
        for error in loaded.errors:
            self.stderr.write(row_line(options["file"], error.line, error.field, error.message))
        self.stdout.write(
            f"{options['kind']}: created={loaded.created} updated={loaded.updated} unchanged={loaded.unchanged}"
            + (f" refused={loaded.refused}" if loaded.refused else "")
        )
        return 1 if loaded.refused else None


def opened(name: str, stack: ExitStack) -> tuple[jsonl.ByteStream, int | None]:
    """The bytes of a file and their number, unknown for standard input."""
    if name == "-":
        return sys.stdin.buffer, None
    try:
        path = Path(name)
        return stack.enter_context(path.open("rb")), path.stat().st_size
    except OSError as error:
        raise Refused("unreadable", f"{name}: {error.strerror}") from error
