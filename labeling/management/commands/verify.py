"""`verify DATASET@N`: recompute the hash of a frozen version; exit 1 when it differs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from labeling import gold, references
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Recompute the hash of a frozen dataset version; exit 1 if it differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", metavar="DATASET@N")

    def run(self, **options: Any) -> int | None:
        version = references.dataset_version(options["dataset"])
        if not gold.verify(version=version):
            self.stderr.write(f"{version} does NOT give sha256:{version.sha256} any more")
            return 1
        self.stdout.write(f"{version} sha256:{version.sha256} items={version.item_count} verified")
        return None
