"""Whole files over HTTP: the body is read as a stream, stored all or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration.ingest import conversations, outcomes, predictions
from labeling.errors import Refused
from labeling.formats import jsonl
from labeling.ingest import labels
from labeling.loading import Loaded

LIMIT = 2 * 1024 * 1024 * 1024
"""Unpacked bytes of one request; more comes in parts."""

Counts = inline_serializer(
    "Counts",
    {name: serializers.IntegerField() for name in ("created", "updated", "unchanged")},
)


class Body:
    """The request's body as it arrives, past Django's limit for bodies that are read into memory.

    A body that ends before the length that was announced is refused: its last rows would be missing unnoticed.
    """

    def __init__(self, request: Request) -> None:
        environ = request._request.META
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise Refused("unknown_encoding", f"Content-Encoding {encoding}: use gzip, or none", status=415)
        self._left: int | None = None
        self._stream: jsonl.ByteStream = request._request
        if environ.get("CONTENT_LENGTH"):
            self._left = int(environ["CONTENT_LENGTH"])
        elif environ.get("wsgi.input_terminated"):
            self._stream = environ["wsgi.input"]  # chunked: the server knows where it ends
        else:
            raise Refused("length_required", "the request has no Content-Length", status=411)

    def read(self, size: int, /) -> bytes:
        chunk = bytes(self._stream.read(size))
        if self._left is not None:
            self._left -= len(chunk)
            if not chunk and self._left > 0:
                raise Refused(
                    "body_cut_off", f"the body ended {self._left} bytes early; nothing was stored", status=400
                )
        return chunk


class Bulk(APIView):
    """JSON Lines or a JSON array, plain or gzipped; idempotent by the rows' own ids."""

    scope = "ingest"
    parser_classes: Any = []  # noqa: RUF012 (the body is read as a stream)
    verb: ClassVar[Callable[..., Loaded]]

    def load(self, request: Request) -> Response:
        partial = request.query_params.get("partial", "").lower() in ("1", "true", "yes")
        loaded = type(self).verb(records=jsonl.records(Body(request), total_limit=LIMIT), partial=partial)
        answer: dict[str, Any] = loaded.as_dict()
        if partial:
            answer |= {"refused": loaded.refused, "errors": [error.as_dict() for error in loaded.errors]}
        return Response(answer)


def _documented(what: str) -> Callable[..., Any]:
    return extend_schema(
        summary=f"Store {what}",
        parameters=[OpenApiParameter("partial", bool, description="Store the rows that are right, tell of the others")],
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
