"""`export DATASET@N --format F --output PATH`: stream a gold set out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling import exporting, privacy, references
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Write a frozen dataset version in a format that your tools read; what a format cannot hold is said."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", metavar="DATASET@N")
        parser.add_argument("--format", default="jsonl", choices=exporting.FORMATS)
        parser.add_argument(
            "--output", required=True, metavar="PATH", help="a file, for hf a folder; - for standard output"
        )

        parser.add_argument("--originals", action="store_true", help="mask nothing; that it was read is kept")

    def run(self, **options: Any) -> int | None:
        version = references.dataset_version(options["dataset"])
        mask = privacy.mask_of(originals=options["originals"], reader=None, what=f"dataset {version}", via="command")
        if options["output"] == "-":
            if options["format"] == "hf":
                raise Refused("not_a_stream", "a Hugging Face export is a folder: name one", field="--output")
            exporting.copy(exporting.stream(version=version, format=options["format"], mask=mask), sys.stdout.buffer)
            return None
        try:
            exporting.write(version=version, format=options["format"], path=Path(options["output"]), mask=mask)
        except OSError as error:
            raise Refused("unwritable", f"{options['output']}: {error.strerror}", field="--output") from error
        self.stderr.write(f"{version} sha256:{version.sha256} items={version.item_count} → {options['output']}")
        if mask.kinds:
            self.stderr.write(f"masked: {', '.join(mask.kinds)}; the hash is that of the frozen originals")
        if lost := exporting.NOT_CARRIED.get(options["format"]):
            self.stderr.write(f"not in this format: {', '.join(lost)}")
        return None
