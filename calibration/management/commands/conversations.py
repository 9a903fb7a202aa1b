"""`conversations --from-traces --since DAY`: work off what waits, and build conversations anew from their spans."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from calibration import tracing
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Build conversations and predictions anew from the spans that came in since a day; the result is the same again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from-traces", action="store_true", required=True, help="what they are built from")
        parser.add_argument("--since", metavar="DAY", help="a day or a time in ISO 8601, UTC; without it, all spans")
        parser.add_argument("--retry", action="store_true", help="take requests that failed once more first")

    def run(self, **options: Any) -> int | None:
        if options["retry"]:
            self.stdout.write(f"{tracing.retry_failed()} failed requests taken once more")
        done, wrong = tracing.rebuild_since(since=_moment(options["since"]))
        self.stdout.write(f"{done} conversations built")
        for line in wrong:
            self.stderr.write(line)
        return 1 if wrong else None


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime(1970, 1, 1, tzinfo=UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(
            "bad_time", f"{text!r} is no day or time in ISO 8601, as in 2026-03-31", field="--since"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
