"""Whole files over HTTP: the body is read as a stream, stored all or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration.ingest import conversations, outcomes, predictions
from labeling.formats import jsonl
from labeling.ingest import labels
from labeling.loading import Loaded

LIMIT = 2 * 1024 * 1024 * 1024
"""Unpacked bytes of one request; more comes in parts."""

Counts = inline_serializer(
    "Counts",
    {name: serializers.IntegerField() for name in ("created", "updated", "unchanged")},
)


class _Body:
    """The request's body as it arrives, past Django's limit for bodies that are read into memory."""

    def __init__(self, request: Request) -> None:
        self._stream = request._request

    def read(self, size: int, /) -> bytes:
        return bytes(self._stream.read(size))


class Bulk(APIView):
    """JSON Lines or a JSON array, plain or gzipped; idempotent by the rows' own ids."""

    scope = "ingest"
    parser_classes: Any = []  # noqa: RUF012 (the body is read as a stream)
    verb: ClassVar[Callable[..., Loaded]]

    def load(self, request: Request) -> Response:
        loaded = type(self).verb(records=jsonl.records(_Body(request), total_limit=LIMIT))
        return Response(loaded.as_dict())


def _documented(what: str) -> Callable[..., Any]:
    return extend_schema(
        summary=f"Store {what}",
        request={"application/x-ndjson": OpenApiTypes.STR, "application/json": OpenApiTypes.OBJECT},
        responses={200: Counts, 422: OpenApiResponse(description="Row errors; nothing was stored")},
    )


class BulkConversations(Bulk):
    verb = staticmethod(conversations)

    @_documented("conversations")
    def post(self, request: Request) -> Response:
        return self.load(request)


class BulkLabels(Bulk):
    verb = staticmethod(labels)

    @_documented("labels")
    def post(self, request: Request) -> Response:
        return self.load(request)


class BulkPredictions(Bulk):
    verb = staticmethod(predictions)

    @_documented("predictions")
    def post(self, request: Request) -> Response:
        return self.load(request)


class BulkOutcomes(Bulk):
    verb = staticmethod(outcomes)

    @_documented("outcomes")
    def post(self, request: Request) -> Response:
        return self.load(request)
