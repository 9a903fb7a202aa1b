"""`agreement DATASET@N CLASSIFIER[@VERSION]`: the agreement report."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser

from calibration.evidence import printing, reports
from labeling.management.base import VerbCommand

FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {
    "table": printing.table,
    "md": printing.markdown,
    "csv": lambda document: printing.as_csv(document).rstrip("\n"),
    "json": lambda document: json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1),
}


class Command(VerbCommand):
    help = "How well a classifier agrees with a gold dataset version, per slice, with intervals and verdicts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", metavar="DATASET@N")
        parser.add_argument("classifier", metavar="CLASSIFIER[@VERSION]", help="without a version: all of them")
        parser.add_argument("--by", default="", help="comma-separated: channel, cohort, names of attributes")
        parser.add_argument("--format", choices=list(FORMATS), default="table")
        parser.add_argument("--save", action="store_true", help="keep the report under a permanent address")

    def run(self, **options: Any) -> None:
        names = options["by"].split(",")
        references = {"dataset": options["dataset"], "classifier": options["classifier"], "by": names}
        reports.prepare(dataset=options["dataset"], classifier=options["classifier"])
        document = reports.from_references(**references)
        if options["save"]:
            saved = reports.save(**references)
            document |= {"permanent": f"/reports/{saved.id}/"}
            self.stderr.write(f"kept as /reports/{saved.id}/")
        self.stdout.write(FORMATS[options["format"]](document))
