"""`manage.py drift [CLASSIFIER]`: look at the monitors now and list the flags."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from calibration import slices
from calibration.drift import flag_words, flags, monitoring
from calibration.models import DriftFlag
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Evaluate the drift monitors now and list the active flags."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("classifier", nargs="?", help="one classifier; all of them without it")
        parser.add_argument("--format", choices=("table", "json"), default="table")

    def run(self, **options: Any) -> None:
        classifier = flags.classifier_named(options["classifier"]) if options["classifier"] else None
        done = monitoring.evaluate(now=timezone.now(), classifier=classifier)
        found = flags.active(classifier=classifier)
        if options["format"] == "json":
            self.stdout.write(json.dumps([flags.document(flag) for flag in found], ensure_ascii=False, indent=1))
            return
        for flag in found:
            self.stdout.write(line(flag))
        self.stdout.write(
            f"{len(found)} active flags, {len(done.raised)} new; {done.monitors} monitors, {done.streams} streams watched"
        )


def line(flag: DriftFlag) -> str:
    parts = [
        f"#{flag.id}",
        flag.state,
        str(flag.version),
        slices.words(flag.slice),
        flag_words.headline(flag),
        flag_words.timing(flag),
        flag_words.cost(flag),
    ]
    return "  ".join(part for part in parts if part)
