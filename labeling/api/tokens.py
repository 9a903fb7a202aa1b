"""Tokens over HTTP: one's own; an admin may make them for others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling import tokens
from labeling.errors import Forbidden, NotFound, Refused
from labeling.models import ApiToken, User


class SignedInOrAdminToken(BasePermission):
    """A signed-in person manages their own tokens; a token does so only with the scope admin, lest it make itself wider."""

    message = "Tokens are made by a signed-in person, or with a token of scope admin."

    def has_permission(self, request: Request, view: APIView) -> bool:
        user: Any = request.user
        token: Any = request.auth
        return bool(user and user.is_authenticated) and (token is None or "admin" in token.scopes)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    user = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=ApiToken.Scope.choices))

    class Meta:
        model = ApiToken
        fields = ("id", "user", "name", "prefix", "scopes", "created_at", "expires_at")


class NewTokenSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, default="token")
    scopes = serializers.ListField(child=serializers.CharField())
    expires = serializers.CharField(required=False, help_text="12h, 30d or 8w; never without it")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="the same as a time")
    user = serializers.CharField(required=False, help_text="whom it is for; others than oneself: admins only")


class MadeTokenSerializer(TokenSerializer):
    token = serializers.CharField(help_text="The secret: shown this once.")

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")  # type: ignore[assignment]


class Tokens(generics.ListAPIView[ApiToken]):
    """The tokens of the person who asks; POST makes one and answers with its secret, once."""

    permission_classes = (SignedInOrAdminToken,)
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.none()

    def get_queryset(self) -> Any:
        user: Any = self.request.user
        return ApiToken.objects.filter(user=user, revoked_at__isnull=True).select_related("user").order_by("id")

    @extend_schema(request=NewTokenSerializer, responses={201: MadeTokenSerializer})
    def post(self, request: Request) -> Response:
        asked = NewTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        token, secret = tokens.make(
            user=self._owner(told.get("user")),
            name=told["name"],
            scopes=told["scopes"],
            expires_at=_end(told, timezone.now()),
        )
        return Response({**TokenSerializer(token).data, "token": secret}, status=status.HTTP_201_CREATED)

    def _owner(self, name: str | None) -> User:
        me: Any = self.request.user
        if name is None or name == me.username:
            return me  # type: ignore[no-any-return]
        if not me.may("admin"):
            raise Forbidden("not_an_admin", "only admins make tokens for others", field="user")
        owner = User.objects.filter(username=name, is_active=True).first()
        if owner is None:
            raise NotFound("unknown_person", f"there is no person {name!r}", field="user")
        return owner


def _end(told: dict[str, Any], now: datetime) -> datetime | None:
    """When the token stops working, given in either way, but in one."""
    at: datetime | None = told.get("expires_at")
    if not told.get("expires"):
        if at is not None and at <= now:
            raise Refused("bad_expiry", "lies in the past: the token would never work", field="expires_at")
        return at
    if at is not None:
        raise Refused("bad_expiry", "is given twice: expires or expires_at", field="expires_at")
    return tokens.expiry(told["expires"], now=now)


class OneToken(APIView):
    """One of one's own tokens."""

    permission_classes = (SignedInOrAdminToken,)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token: int) -> Response:
        """Revoke it: it stops working at once."""
        mine = ApiToken.objects.filter(user=request.user, revoked_at__isnull=True)  # type: ignore[misc]
        tokens.revoke(token=get_object_or_404(mine, id=token), now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)
