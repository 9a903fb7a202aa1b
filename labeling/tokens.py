"""API tokens: made once, shown once, stored as a hash; and the two classes through which the API asks them."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from labeling.errors import Refused
from labeling.models import ApiToken, User

if TYPE_CHECKING:  # rest_framework.views reads the settings that name this module
    from rest_framework.views import APIView

# What a person signed in through the browser may do over the API, by role: the same as a token of theirs could.
ROLE_SCOPES = {
    "annotator": {"label"},
    "reviewer": {"label", "read"},
    "engineer": {"label", "read", "ingest", "export"},
    "admin": {"label", "read", "ingest", "export", "admin"},
}


def make(*, user: User, name: str, scopes: list[str], expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """A new token for `user` and its secret text, which is not stored and cannot be shown again."""
    allowed = ROLE_SCOPES[user.role]
    for scope in scopes:
        if scope not in ApiToken.Scope.values:
            raise Refused(
                "unknown_scope", f"{scope!r} is not one of {', '.join(ApiToken.Scope.values)}", field="scopes"
            )
        if scope not in allowed:
            raise Refused(
                "scope_above_role",
                f"a token of {user.username} ({user.role}) cannot have {scope!r}: "
                f"the role reaches {', '.join(s for s in ApiToken.Scope.values if s in allowed)}",
                field="scopes",
            )
    if not scopes:
        raise Refused("no_scopes", "name at least one scope", field="scopes")
    secret = f"cx_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=secret[:9],
        digest=digest(secret),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    return token, secret


def expiry(text: str, *, now: datetime) -> datetime:
    """The moment `12h`, `30d` or `8w` from now."""
    match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text.strip())
    if match is None:
        raise Refused("bad_expiry", f"{text!r} is no time: write 12h, 30d or 8w", field="expires")
    unit = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[match[2]]
    return now + int(match[1]) * unit


def revoke(*, token: ApiToken, now: datetime) -> None:
    """The token stops working at once; its row stays, for the record."""
    ApiToken.objects.filter(id=token.id, revoked_at__isnull=True).update(revoked_at=now)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Token …` or `Bearer …`; also `X-Api-Key`, which trace exporters send."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        secret = _secret(request)
        if secret is None:
            return None
        token = ApiToken.objects.select_related("user").filter(digest=digest(secret), revoked_at__isnull=True).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed("The token is not known.")
        if token.expires_at is not None and token.expires_at <= timezone.now():
            raise AuthenticationFailed("The token has expired.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _secret(request: Request) -> str | None:
    parts = get_authorization_header(request).split()
    if len(parts) == 2 and parts[0].lower() in (b"token", b"bearer"):
        return str(parts[1].decode("latin-1"))
    key: str | None = request.headers.get("X-Api-Key")
    return key or None


class HasScope(BasePermission):
    """A view names its scope: `scope = "read"`, or `scopes = {"GET": "read", "POST": "admin"}` by method.

    The person's role bounds what any of their tokens can do, also when the role was lowered after it was made.
    """

    message = "This token, or your role, does not reach that far."

    def has_permission(self, request: Request, view: APIView) -> bool:
        user: Any = request.user
        if not user or not user.is_authenticated:
            return False
        needed = getattr(view, "scopes", {}).get(request.method) or getattr(view, "scope", "admin")
        if needed not in ROLE_SCOPES[user.role]:
            return False
        token: Any = request.auth
        return token is None or needed in token.scopes
