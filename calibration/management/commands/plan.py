"""`plan DATASET@N CLASSIFIER@V --half-width 0.05`: labels still needed per slice."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from calibration import classifiers
from calibration.evidence import planning, printing
from labeling import references
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "How many more labels each slice needs for an interval of the wanted half-width, and for a verdict."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", metavar="DATASET@N")
        parser.add_argument("classifier", metavar="CLASSIFIER@VERSION")
        parser.add_argument("--half-width", type=float, default=planning.HALF_WIDTH)
        parser.add_argument("--by", default="", help="comma-separated: channel, cohort, names of attributes")
        parser.add_argument("--format", choices=["table", "json"], default="table")

    def run(self, **options: Any) -> None:
        document = planning.plan(
            dataset_version=references.dataset_version(options["dataset"]),
            version=classifiers.version_named(options["classifier"]),
            half_width=options["half_width"],
            by=options["by"].split(","),
        )
        as_json = options["format"] == "json"
        text = (
            json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) if as_json else printing.plan(document)
        )
        self.stdout.write(text)
