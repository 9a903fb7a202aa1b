"""`fit DATASET@N CLASSIFIER@VERSION`: fit a classifier of the house on a gold dataset version, pinned by what it learned."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from calibration import training
from calibration.evaluators.base import READS
from calibration.evaluators.trained import Settings
from labeling import references
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Fit TF-IDF and logistic regression on a gold dataset version; what is held out measures the new version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", metavar="DATASET@N")
        parser.add_argument("version", metavar="CLASSIFIER@VERSION", help="the name that the new version gets")
        parser.add_argument(
            "--held-out", type=float, default=0.25, help="share of the conversations kept for measuring"
        )
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--analyzer", default="word", choices=["word", "char"])
        parser.add_argument("--strength", type=float, default=1.0, help="C of the regression: higher fits closer")
        parser.add_argument("--reads", default="customer", choices=sorted(READS))

    def run(self, **options: Any) -> int | None:
        slug, version = references.split(options["version"])
        if not version:
            raise Refused("bad_version", f"{options['version']!r}: write CLASSIFIER@VERSION", field="version")
        done = training.fit(
            dataset_version=references.dataset_version(options["dataset"]),
            classifier=slug,
            version=version,
            held_out=options["held_out"],
            seed=options["seed"],
            settings=Settings(analyzer=options["analyzer"], strength=options["strength"]),
            reads=options["reads"],
        )
        self.stdout.write(
            f"{done.version} sha256:{done.version.content_sha256} fitted={done.units} held_out={done.held_out}"
        )
        return None
