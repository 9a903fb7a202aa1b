"""`voice measure`: count the word errors of calls whose content is new."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from calibration import voice
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Count word and character errors of calls with a reference transcript, once for each content."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["measure"])
        parser.add_argument("--again", action="store_true", help="every call, also those that are measured already")

    def run(self, **options: Any) -> int | None:
        done = voice.measure(again=options["again"])
        self.stdout.write(f"{done} calls measured")
        return None
