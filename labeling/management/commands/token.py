"""`manage.py token NAME --scopes a,b`: an API token for a person, alone on standard output."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from labeling import tokens
from labeling.errors import NotFound, Refused
from labeling.management.base import VerbCommand
from labeling.models import ApiToken, User


class Command(VerbCommand):
    help = (
        "Make an API token. Its secret is printed once, alone on standard output. Scopes above the person's role are "
        "left out with a word on standard error; refused if none is left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the person that the token acts for")
        parser.add_argument("--scopes", required=True, help=f"some of {','.join(ApiToken.Scope.values)}")
        parser.add_argument("--expires", help="after how long: 12h, 30d, 8w; default never")
        parser.add_argument("--title", default="command line", help="what it is for")

    def run(self, **options: Any) -> None:
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            raise NotFound("unknown_person", f"there is no person {options['name']!r}", field="name")
        if not user.is_active:
            raise Refused("inactive_person", f"{user.username} cannot sign in, nor can a token of theirs", field="name")
        scopes = [scope.strip() for scope in options["scopes"].split(",") if scope.strip()]
        # One script makes tokens for people of every role: what theirs does not reach is said, and is not in the token.
        above = {scope for scope in scopes if scope in ApiToken.Scope.values} - tokens.ROLE_SCOPES[user.role]
        if above and set(scopes) - above:
            scopes = [scope for scope in scopes if scope not in above]
            self.stderr.write(
                f"without {', '.join(sorted(above))}: {user.username} is {user.role}, and no token reaches further than its person"
            )
        expires_at = tokens.expiry(options["expires"], now=timezone.now()) if options["expires"] else None
        _, secret = tokens.make(user=user, name=options["title"], scopes=scopes, expires_at=expires_at)
        self.stdout.write(secret)
