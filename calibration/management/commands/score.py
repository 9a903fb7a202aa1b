"""`score CLASSIFIER@VERSION (--dataset D@N | --queue Q | --from A..B | --all) [--resume]`: run a classifier, store predictions."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from calibration import classifiers, scoring
from calibration.models import ScoringRun
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Run a classifier version over conversations and store its predictions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version", metavar="CLASSIFIER@VERSION")
        frame = parser.add_mutually_exclusive_group()
        frame.add_argument("--dataset", metavar="D@N", help="the units of a gold dataset version")
        frame.add_argument("--queue", metavar="Q", help="the items of a queue")
        frame.add_argument("--from", dest="period", metavar="A..B", help="conversations of these days, both included")
        frame.add_argument("--all", action="store_true", help="every conversation there is")
        parser.add_argument(
            "--resume", action="store_true", help="go on with the last run; failed units are tried again"
        )

        parser.add_argument(
            "--budget", type=float, metavar="AMOUNT", help="stop when so much is spent, by the version's prices"
        )

    def run(self, **options: Any) -> int | None:
        version = classifiers.version_named(options["version"])
        run = self._resumed(version) if options["resume"] else None
        if run is not None and options["budget"] is not None:
            run = scoring.resume(run=run, budget=options["budget"])
        if run is None:
            run = scoring.start(version=version, frame=_frame(options), budget=options["budget"])
        with tqdm(total=run.total, unit=" units", file=self.stderr, disable=None) as bar:

            def show(current: ScoringRun) -> None:
                bar.total = current.total
                bar.update(current.done - bar.n)

            run = scoring.work(run=run, again=options["resume"], on_progress=show)
        self.stdout.write(f"{version} scored={run.done} failed={run.failed} total={run.total} cost={run.cost:.4f}")
        told = scoring.retest(run=run)
        if told is not None and told.value is not None:
            self.stdout.write(f"test-retest kappa={told.value:.3f} low={told.low:.3f} high={told.high:.3f} n={told.n}")
        if run.state in (ScoringRun.State.FAILED, ScoringRun.State.STOPPED):
            self.stderr.write(f"stopped: {run.error}\ngo on with: score {version} --resume")
            return 1
        return None

    def _resumed(self, version: Any) -> ScoringRun | None:
        return ScoringRun.objects.filter(version=version).select_related("version__classifier__signal").last()


def _frame(options: dict[str, Any]) -> dict[str, str]:
    if options["dataset"]:
        return {"dataset": options["dataset"]}
    if options["queue"]:
        return {"queue": options["queue"]}
    if options["period"]:
        since, dots, until = options["period"].partition("..")
        if not dots:
            raise Refused(
                "bad_period", f"{options['period']!r} is not a period like 2026-01-01..2026-01-31", field="--from"
            )
        return {"from": since, "to": until}
    if options["all"]:
        return {}
    # Left out, it would be everything, which costs money where a judge is paid for.
    raise CommandError("say what is scored: --dataset D@N, --queue Q, --from A..B, or --all", returncode=2)
