"""`demo [--story] [--reset]`: load the demo workspace, or the story of half a year in it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandParser
from django.db import connection, transaction
from django.utils import timezone

from calibration.demo import story
from calibration.demo.load import PASSWORD, PEOPLE, Demo, load
from labeling import triggers
from labeling.errors import Conflict
from labeling.management.base import VerbCommand
from labeling.models import Conversation, Signal, User

SEED = 20260302
STORY_SEED = 7


class Command(VerbCommand):
    help = "Load the demo workspace: a generated world with conversations, labels, gold, versions and a planted drift."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reset", action="store_true", help="empty the database first: EVERYTHING in it goes")
        parser.add_argument(
            "--story",
            action="store_true",
            help="instead: January to June of four planted troubles, each found, explained and worked off",
        )
        parser.add_argument("--if-empty", action="store_true", help="do nothing where there is something already")

    def run(self, **options: Any) -> int | None:
        if options["reset"]:
            empty()
        if Conversation.objects.exists() or Signal.objects.exists() or User.objects.exists():
            if options["if_empty"]:
                self._sign_ins()
                return None
            raise Conflict("not_empty", "the workspace is not empty: --reset empties it first, with everything in it")
        if options["story"]:
            self._tell()
            return None
        began = time.monotonic()
        with transaction.atomic():
            load(Demo.of(end=_monday(timezone.now()), seed=SEED, say=self.stdout.write))
        self.stdout.write(f"The demo workspace is ready after {time.monotonic() - began:.0f} s.\n")
        call_command("agreement", "gold-sentiment@2", "sentiment-judge@v2", by="channel,cohort", stdout=self.stdout)
        call_command("drift", stdout=self.stdout)
        call_command("voice", "measure", stdout=self.stdout)
        self._sign_ins()
        return None

    def _tell(self) -> None:
        began, now = time.monotonic(), timezone.now()
        year = now.year if now.month > len(story.MONTHS) else now.year - 1
        with transaction.atomic():
            story.tell(story.Story(year, STORY_SEED, self.stdout.write))
        self.stdout.write(f"The story of {year} is told after {time.monotonic() - began:.0f} s.\n")
        call_command("agreement", "gold-sentiment@2", story.CLASSIFIER, by="channel", stdout=self.stdout)
        call_command("drift", stdout=self.stdout)
        self._sign_ins()

    def _sign_ins(self) -> None:
        known = [f"{name} ({role})" for name, role in PEOPLE.items() if User.objects.filter(username=name).exists()]
        if known:
            self.stdout.write(f"\nSign in as {', '.join(known)}; the password is {PASSWORD}")


def empty() -> None:
    """Take everything out of the database. On SQLite that is a DELETE, for which the triggers step aside."""
    guarded = connection.vendor == "sqlite"
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in triggers.down("sqlite") if guarded else ():
            cursor.execute(statement)
        call_command("flush", interactive=False, verbosity=0)
        # Down once more: who has put them up while flushing has done no harm.
        for statement in (*triggers.down("sqlite"), *triggers.up("sqlite")) if guarded else ():
            cursor.execute(statement)


def _monday(now: datetime) -> datetime:
    """The last midnight before a Monday: the end of the demo's half year."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=midnight.weekday())
