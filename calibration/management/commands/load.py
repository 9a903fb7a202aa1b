"""`load KIND FILE`: conversations, labels, predictions or outcomes, all of a file or nothing."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from tqdm import tqdm

from calibration import importing
from calibration.importing import KINDS
from labeling.errors import Refused
from labeling.formats import catalogue, jsonl
from labeling.management.base import VerbCommand, row_line


class Command(VerbCommand):
    help = "Load a file; with anything wrong in it, nothing is stored and the first 100 errors are printed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=sorted(KINDS))
        parser.add_argument("file", metavar="FILE", help="plain or gzipped, or - for standard input")
        parser.add_argument("--format", default="jsonl", choices=list(catalogue.FORMATS))
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help="for rows that lack it, as in channel=voice",
        )
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="FIELD=NAME",
            help="the file's name for a field, as in text=body",
        )
        parser.add_argument(
            "--partial", action="store_true", help="store the rows that are right; exit 1 if some were not"
        )

    def run(self, **options: Any) -> int | None:
        kind, format = options["kind"], importing.format_named(options["format"], options["kind"])
        said = importing.options(
            kind=kind,
            name="" if options["file"] == "-" else options["file"],
            given=importing.pairs(options["set"], "--set"),
            renamed=importing.pairs(options["map"], "--map"),
        )
        with ExitStack() as stack:
            stream, size = opened(options["file"], stack)
            bar = stack.enter_context(
                tqdm(total=size, unit="B", unit_scale=True, desc=kind, file=self.stderr, disable=None)
            )
            watched = importing.Watched(stream, bar.update)
            loaded = importing.load(stream=watched, kind=kind, format=format, options=said, partial=options["partial"])
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
