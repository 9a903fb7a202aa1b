"""`canaries pin|score|load|show|retire CLASSIFIER@VERSION`: the fixed conversations that a version answers again and again."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from calibration import classifiers
from calibration.drift import canaries, canary_rows
from calibration.management.commands.load import opened
from calibration.models import CanaryRound
from labeling.errors import Refused
from labeling.formats import jsonl, rows
from labeling.formats.rows import FieldRefused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Pin, score, load or show the canaries of a classifier version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("pin", "score", "load", "show", "retire"))
        parser.add_argument("version", metavar="CLASSIFIER@VERSION")
        parser.add_argument("file", nargs="?", help="load: one round of answers, JSON Lines, or - for standard input")
        parser.add_argument("--size", type=int, default=canaries.SIZE, help="pin: how many conversations are drawn")
        parser.add_argument("--seed", type=int, default=0, help="pin: the same seed draws the same ones")
        parser.add_argument("--every", type=int, default=7, metavar="DAYS", help="pin: days between rounds, 0 for none")
        parser.add_argument("--conversation", action="append", default=[], help="pin: this one, instead of a draw")
        parser.add_argument("--renew", action="store_true", help="pin: start afresh from what the version says now")
        parser.add_argument("--at", help="load: when the answers were given (ISO 8601); now without it")

    def run(self, **options: Any) -> int | None:
        version = classifiers.version_named(options["version"])
        now = timezone.now()
        if options["action"] == "pin":
            found = canaries.pin(
                version=version,
                now=now,
                size=options["size"],
                seed=options["seed"],
                every_days=options["every"],
                conversations=options["conversation"],
                renew=options["renew"],
            )
            if canaries.can_run(version):
                self._told(canaries.work(canary_set=found))
            self.stdout.write(f"{version} canaries={found.canaries.count()}")
            return None
        found = canaries.in_use(version)
        if options["action"] == "retire":
            canaries.retire(canary_set=found, now=now)
        elif options["action"] == "score":
            canaries.open_round(canary_set=found, now=now)
            return self._told(canaries.work(canary_set=found))
        elif options["action"] == "load":
            if not options["file"]:
                raise CommandError("load needs a FILE, or - for standard input")
            with ExitStack() as stack:
                stream, _ = opened(options["file"], stack)
                row = canary_rows.load(canary_set=found, records=jsonl.records(stream), at=_moment(options["at"], now))
            return self._told(row)
        else:
            self.stdout.write(json.dumps(canary_rows.document(found), ensure_ascii=False, indent=1))
        return None

    def _told(self, row: CanaryRound | None) -> int | None:
        if row is None:
            return None
        self.stdout.write(
            f"round {row.number} {row.state}: {row.answers} answers, {row.flips:g} unlike the first round"
        )
        if row.state == CanaryRound.State.FAILED:
            self.stderr.write(f"stopped: {row.error}")
            return 1
        return None


def _moment(text: str | None, now: datetime) -> datetime:
    if not text:
        return now
    try:
        return rows.parsed_moment(text, "--at")
    except FieldRefused as refused:
        raise Refused("bad_moment", refused.message, field="--at") from refused
