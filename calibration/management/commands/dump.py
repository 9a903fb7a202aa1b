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
from labeling.formats import catalogue
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Write conversations, labels, predictions or outcomes in any format: what went in comes out, and what does not is said."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=sorted(dumping.KINDS))
        parser.add_argument("--signal", default="", help="labels and predictions of one signal")
        parser.add_argument("--source", default="", help="conversations of one source, and what belongs to them")
        parser.add_argument(
            "--format", default="jsonl", choices=list(catalogue.FORMATS), help="docs/formats.md says what each drops"
        )
        parser.add_argument("--output", metavar="PATH", help="gzipped when it ends in .gz; standard output by default")

    def run(self, **options: Any) -> int | None:
        chunks = dumping.stream(
            kind=options["kind"], format=options["format"], signal=options["signal"], source=options["source"]
        )
        if not options["output"]:
            out: Any = getattr(self.stdout, "_out", self.stdout)
            binary = getattr(out, "buffer", None)
            for chunk in chunks:
                if binary is None:
                    self.stdout.write(chunk.decode("utf-8"), ending="")
                else:
                    binary.write(chunk)
            return None
        size = 0
        with _written(Path(options["output"])) as file:
            for chunk in chunks:
                size += file.write(chunk)
        self.stderr.write(f"{options['kind']}: {size} bytes in {options['output']}")
        if dropped := catalogue.FORMATS[options["format"]].drops.get(options["kind"]):
            self.stderr.write(f"does not come back from {options['format']}: {dropped}")
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
