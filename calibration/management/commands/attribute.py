"""`manage.py attribute SIGNAL --from A..B --to C..D`: what moved: customers, classifier, mix, transcription."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from calibration.drift import flags
from calibration.moves import attribution, periods
from labeling.management.base import VerbCommand
from labeling.sampling import signals_named


class Command(VerbCommand):
    help = "Tell a change between two periods apart: customers, upgrade, silent drift, mix, transcription."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("signal")
        parser.add_argument("--from", dest="before", required=True, metavar="A..B", help="days, both included")
        parser.add_argument("--to", dest="after", required=True, metavar="C..D")
        parser.add_argument("--classifier", help="without it the one that scored most")
        parser.add_argument("--value", default="", help="a category, or mean")
        parser.add_argument("--by", default="channel,cohort", help="slices whose mix may have changed")
        parser.add_argument("--format", choices=("table", "json"), default="table")

    def run(self, **options: Any) -> None:
        found = attribution.attribute(
            signal=signals_named([options["signal"]])[0],
            before=periods.read(options["before"], field="from"),
            after=periods.read(options["after"], field="to"),
            classifier=flags.classifier_named(options["classifier"]) if options["classifier"] else None,
            value=options["value"],
            by=[name.strip() for name in options["by"].split(",") if name.strip()],
        )
        if options["format"] == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False, indent=1))
            return
        self.stdout.write(found["sentence"])
        for name, part in [("observed", found["observed"]), *found["parts"].items(), ("truth", found["true_change"])]:
            self.stdout.write(f"{name.replace('_', ' '):14} {told(part)}")
        self.stdout.write(f"verdict: {found['verdict']}")


def told(part: dict[str, Any]) -> str:
    if part["value"] is None:
        return f"– ({part['reason'].replace('_', ' ')})"
    return f"{part['value']:+.4f}  [{part['low']:+.4f}, {part['high']:+.4f}]"
