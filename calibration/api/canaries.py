"""Canaries over HTTP: pin a set, read it with its state, score a round, or load one that was answered elsewhere."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import classifiers
from calibration.api.bulk import Body
from calibration.api.drift import given, who
from calibration.drift import canaries, canary_rows
from labeling.errors import Refused
from labeling.formats import jsonl, rows
from labeling.formats.rows import FieldRefused

ROUND_LIMIT = 64 * 1024 * 1024


class PinSerializer(serializers.Serializer[Any]):
    size = serializers.IntegerField(min_value=1, max_value=canaries.LARGEST, default=canaries.SIZE)
    seed = serializers.IntegerField(min_value=0, max_value=2**62, default=0)
    every_days = serializers.IntegerField(min_value=0, max_value=365, default=7)
    conversations = serializers.ListField(child=serializers.CharField(), default=list, help_text="instead of a draw")
    renew = serializers.BooleanField(default=False, help_text="start afresh from what the version says now")


class RoundSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    state = serializers.CharField()
    answers = serializers.IntegerField()
    flips = serializers.FloatField()


class CanarySetSerializer(serializers.Serializer[Any]):
    version = serializers.CharField()
    state = serializers.CharField(help_text="pinning, waiting, calm or changed")
    every_days = serializers.IntegerField()
    noise = serializers.JSONField(help_text="answers that changed among the first rounds, with their interval")
    e_value = serializers.FloatField(allow_null=True)
    alarm_at = serializers.FloatField(allow_null=True)
    guarantee = serializers.CharField(allow_null=True)
    rounds = RoundSerializer(many=True)
    canaries = serializers.JSONField(help_text="what is to be answered: conversation and turn")


class Canaries(APIView):
    """The canaries of a version; POST pins them, and refuses where there are some unless it renews them."""

    scopes: ClassVar = {"GET": "read", "POST": "ingest"}

    @extend_schema(operation_id="canaries_read", responses=CanarySetSerializer)
    def get(self, request: Request, slug: str, version: str) -> Response:
        found = canaries.in_use(classifiers.version_named(f"{slug}@{version}"))
        return Response(canary_rows.document(found))

    @extend_schema(operation_id="canaries_pin", request=PinSerializer, responses={201: CanarySetSerializer})
    def post(self, request: Request, slug: str, version: str) -> Response:
        asked = given(PinSerializer, request)
        named = classifiers.version_named(f"{slug}@{version}")
        found = canaries.pin(version=named, now=timezone.now(), by=who(request), **asked)
        return Response(canary_rows.document(found), status=201)


class Score(APIView):
    """Score the canaries once more, by a worker; the round that is under way, where there is one."""

    scope = "ingest"

    @extend_schema(operation_id="canaries_score", request=None, responses={202: RoundSerializer})
    def post(self, request: Request, slug: str, version: str) -> Response:
        found = canaries.in_use(classifiers.version_named(f"{slug}@{version}"))
        row = canaries.open_round(canary_set=found, now=timezone.now())
        return Response(RoundSerializer(row).data, status=202)


class Rounds(APIView):
    """One round of answers given elsewhere, as JSON Lines or an array: `conversation`, `turn`, and `value` or `status`."""

    scope = "ingest"
    parser_classes: Any = []  # noqa: RUF012 (the body is read as a stream)

    @extend_schema(
        operation_id="canaries_load",
        parameters=[OpenApiParameter("at", str, description="When the answers were given (ISO 8601); now without it")],
        request={"application/x-ndjson": OpenApiTypes.STR, "application/json": OpenApiTypes.OBJECT},
        responses={200: RoundSerializer, 422: OpenApiResponse(description="Row errors; nothing was stored")},
    )
    def post(self, request: Request, slug: str, version: str) -> Response:
        found = canaries.in_use(classifiers.version_named(f"{slug}@{version}"))
        records = jsonl.records(Body(request), total_limit=ROUND_LIMIT)
        try:
            asked = request.query_params.get("at")
            at = rows.parsed_moment(asked, "at") if asked else timezone.now()
        except FieldRefused as refused:
            raise Refused("bad_moment", refused.message, field="at") from refused
        return Response(RoundSerializer(canary_rows.load(canary_set=found, records=records, at=at)).data)
