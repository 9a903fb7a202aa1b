"""`signals apply FILE`: create or update signals from YAML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling import signals
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Create or update signals from a YAML file; refuses a change that would orphan labels."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["apply"])
        parser.add_argument("file", metavar="FILE", help="YAML, or - for standard input")

    def run(self, **options: Any) -> int | None:
        done = signals.apply(document=signals.read(read_text(options["file"])))
        for word in ("created", "updated", "unchanged"):
            for slug in getattr(done, word):
                self.stdout.write(f"{word} {slug}")
        return None


def read_text(name: str) -> str:
    """A whole file as text; raises Refused naming what is wrong with it."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Refused("bad_encoding", f"{name} is not UTF-8 at byte {error.start + 1}") from error
    except OSError as error:
        raise Refused("unreadable", f"{name}: {error.strerror}") from error
