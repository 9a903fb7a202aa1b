"""`classifiers apply FILE`: create classifiers and register pinned versions from JSON or YAML."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from calibration import classifiers
from labeling import signals
from labeling.management.base import VerbCommand
from labeling.management.commands.signals import read_text


class Command(VerbCommand):
    help = "Create classifiers and register their versions; a version that exists with another content is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["apply"])
        parser.add_argument("file", metavar="FILE", help="JSON or YAML, or - for standard input")

    def run(self, **options: Any) -> int | None:
        done = classifiers.apply(document=signals.read(read_text(options["file"])))
        for word in ("created", "updated", "unchanged"):
            for name in getattr(done, word):
                self.stdout.write(f"{word} {name}")
        return None
