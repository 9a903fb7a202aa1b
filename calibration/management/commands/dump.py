"""`dump KIND`: what `load` takes, as it stands, in a fixed order."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandParser

from calibration import dumping
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Write conversations, labels, predictions or outcomes as JSON Lines: what went in comes out."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=sorted(dumping.KINDS))
        parser.add_argument("--signal", default="", help="labels and predictions of one signal")
        parser.add_argument("--source", default="", help="conversations of one source, and what belongs to them")
        parser.add_argument("--output", metavar="PATH", help="gzipped when it ends in .gz; standard output by default")

    def run(self, **options: Any) -> int | None:
        rows = dumping.rows(kind=options["kind"], signal=options["signal"], source=options["source"])
        if not options["output"]:
            for row in rows:
                self.stdout.write(dumping.line(row), ending="")
            return None
        count = 0
        with _written(Path(options["output"])) as file:
            for row in rows:
                file.write(dumping.line(row).encode())
                count += 1
        self.stderr.write(f"{options['kind']}: {count} rows in {options['output']}")
        return None


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there when all of it is; gzip without a time stamp, so that equal rows give equal bytes."""
    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
                    yield file  # type: ignore[misc]
            else:
                yield raw
        draft.replace(path)
    except OSError as error:
        raise Refused("unwritable", f"{path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
