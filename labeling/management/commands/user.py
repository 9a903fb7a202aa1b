"""`manage.py user NAME --role R`: create or change a person."""

from __future__ import annotations

import io
import select
import sys
from typing import Any, TextIO

from django.core.management.base import CommandParser

from labeling import people
from labeling.errors import Refused
from labeling.management.base import VerbCommand
from labeling.models import User


class Command(VerbCommand):
    help = "Create or change a person. Without a password, a new person gets one that is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--role", choices=User.Role.values, help="what the person may do (new people: annotator)")
        parser.add_argument("--password", help="the password; - waits for a line of standard input")

    def run(self, **options: Any) -> None:
        password = options["password"]
        if password is None:
            password = piped_line(sys.stdin)
        elif password == "-":
            password = sys.stdin.readline().rstrip("\r\n")
        if password == "":
            raise Refused("empty_password", "the password is empty", field="password")
        done = people.register(username=options["name"], role=options["role"], password=password)
        if password is not None:
            for sentence in people.weaknesses(password, done.user):
                self.stderr.write(f"note: {sentence}")
        verb = "created" if done.created else "activated" if done.activated else "changed"
        self.stdout.write(f"{done.user.username} {done.user.role} {verb}")
        if done.password is not None:
            self.stdout.write(f"password: {done.password}")


def piped_line(stream: TextIO) -> str | None:
    """The line that was piped in, if any; never waits for a terminal or for a pipe on which nobody speaks."""
    try:
        if stream.isatty() or not select.select([stream], [], [], 0)[0]:
            return None
    except (OSError, ValueError, io.UnsupportedOperation):
        return None
    return stream.readline().rstrip("\r\n") or None
