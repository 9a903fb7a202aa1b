"""`manage.py attribute SIGNAL --from A..B --to C..D`: what moved: customers, classifier, mix, transcription."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from calibration.drift import flags
from calibration.moves import attribution, periods, settling
from labeling.management.base import VerbCommand
from labeling.sampling import signals_named


class Command(VerbCommand):
    help = "Tell a change between two periods apart: customers, upgrade, silent drift, mix, transcription."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("signal")
        parser.add_argument("--from", dest="before", required=True, metavar="A..B", help="days, both included")
        parser.add_argument("--to", dest="after", required=True, metavar="C..D")
        parser.add_argument(
            "--from-version", default="", help="as this version scored it; without it the one in service"
        )
        parser.add_argument("--to-version", default="", help="the same for the later period")
        parser.add_argument("--classifier", help="without it the one that scored most")
        parser.add_argument("--value", default="", help="a category, or mean")
        parser.add_argument("--by", default="channel,cohort", help="slices whose mix may have changed")
        parser.add_argument("--format", choices=("table", "json"), default="table")

    def run(self, **options: Any) -> None:
        before, after = periods.read(options["before"], field="from"), periods.read(options["after"], field="to")
        found = attribution.attribute(
            signal=signals_named([options["signal"]])[0],
            before=before,
            after=after,
            classifier=flags.classifier_named(options["classifier"]) if options["classifier"] else None,
            value=options["value"],
            by=[name.strip() for name in options["by"].split(",") if name.strip()],
            chosen_versions=(options["from_version"], options["to_version"]),
        )
        if options["format"] == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False, indent=1))
            return
        self.stdout.write(found["sentence"])
        for name, part in [("observed", found["observed"]), *found["parts"].items(), ("truth", found["true_change"])]:
            self.stdout.write(f"{name.replace('_', ' '):14} {told(part)}")
        self.stdout.write(f"verdict: {found['verdict']}")
        for step in settling.steps(found, before=before, after=after):
            self.stdout.write(f"would settle it: {step_told(step)}")


def told(part: dict[str, Any]) -> str:
    if part["value"] is None:
        return f"– ({part['reason'].replace('_', ' ')})"
    return f"{part['value']:+.4f}  [{part['low']:+.4f}, {part['high']:+.4f}]"


def step_told(step: dict[str, Any]) -> str:
    """A step as the command that takes it."""
    days = f"{step['since']}..{step['until']}"
    if step["action"] == settling.LABEL:
        return f"{step['labels']} more labels of {days}"
    return f"{step['conversations']} conversations of {days} scored by {step['version']} too"
