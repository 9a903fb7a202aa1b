"""Whole files over HTTP: the body is read as a stream, stored all or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.db import transaction
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import dumping, importing
from calibration.ingest import conversations, outcomes, predictions
from labeling import privacy
from labeling.api.datasets import AnyFormat
from labeling.errors import Refused
from labeling.formats import catalogue, jsonl
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
    content_negotiation_class = AnyFormat
    parser_classes: Any = []  # noqa: RUF012 (the body is read as a stream)
    kind: ClassVar[str]
    verb: ClassVar[Callable[..., Loaded]]

    def load(self, request: Request) -> Response:
        partial = request.query_params.get("partial", "").lower() in ("1", "true", "yes")
        if set(request.query_params) & {"format", "set", "map", "name"}:
            loaded = self._in_format(request, partial)
        else:
            loaded = type(self).verb(records=jsonl.records(Body(request), total_limit=LIMIT), partial=partial)
        answer: dict[str, Any] = loaded.as_dict()
        if partial:
            answer |= {"refused": loaded.refused, "errors": [error.as_dict() for error in loaded.errors]}
        return Response(answer)

    def _in_format(self, request: Request, partial: bool) -> Loaded:
        """A body in another format, with what the file does not say of itself in the query."""
        query = request.query_params
        format = importing.format_named(query.get("format", "jsonl"), self.kind)
        said = importing.options(
            kind=self.kind,
            name=query.get("name", ""),
            given=importing.pairs(query.getlist("set"), "set"),
            renamed=importing.pairs(query.getlist("map"), "map"),
        )
        body = _Limited(Body(request))
        return importing.load(stream=body, kind=self.kind, format=format, options=said, partial=partial)


class Dump(APIView):
    """What is stored, as a file in any format: `?format=`, `&signal=`, `&source=`. Masked like everything that leaves;
    `&originals=true` takes what went in."""

    scope = "export"
    content_negotiation_class = AnyFormat

    @extend_schema(
        summary="Take rows out",
        parameters=[
            OpenApiParameter("format", str, enum=list(catalogue.FORMATS)),
            OpenApiParameter("signal", str),
            OpenApiParameter("source", str),
            OpenApiParameter(
                "originals",
                bool,
                description="Nothing masked, for those who may, as a backup needs it; the reading is kept.",
            ),
        ],
        responses={
            200: OpenApiResponse(
                OpenApiTypes.BINARY,
                "Masked where the workspace masks: `X-Masked` names the kinds, the file's name says so",
            ),
            403: OpenApiResponse(description="The originals are for a higher role"),
        },
    )
    def get(self, request: Request, kind: str) -> HttpResponseBase:
        return dumped(request._request, kind, via="api")


def dumped(request: HttpRequest, kind: str, *, via: str) -> HttpResponseBase:
    """A dump as a download, masked unless its originals are asked for; page and API share it."""
    name = request.GET.get("format", "jsonl")
    reader: Any = request.user
    what = ", ".join(
        [
            f"take-out of {kind} as {name}",
            *(f"{of} {request.GET[of]}" for of in ("signal", "source") if request.GET.get(of)),
        ]
    )
    with transaction.atomic():  # what is refused was not read
        mask = privacy.mask_of(originals=privacy.wants_originals(request.GET), reader=reader, what=what, via=via)
        chunks = dumping.stream(
            kind=kind,
            format=name,
            signal=request.GET.get("signal", ""),
            source=request.GET.get("source", ""),
            reader=reader,
            mask=mask,
        )
    format = catalogue.FORMATS[name]
    answer = StreamingHttpResponse(chunks, content_type=format.content_type)
    masked = "-masked" if mask.kinds else ""  # nobody should take it for a backup
    answer["Content-Disposition"] = f'attachment; filename="{kind}{masked}.{format.ending}"'
    if mask.kinds:
        answer["X-Masked"] = ", ".join(mask.kinds)
    if dropped := format.drops.get(kind):
        answer["X-Not-Carried"] = dropped.encode("ascii", "replace").decode()
    return answer


class _Limited:
    """A body, unpacked, up to the limit of a request."""

    def __init__(self, stream: jsonl.ByteStream) -> None:
        self._chunks, self._rest, self._left = jsonl.unpacked(stream), b"", LIMIT

    def read(self, size: int, /) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._left -= len(chunk)
            if self._left < 0:
                raise jsonl.Unreadable("the input is larger than the limit of 2048 MB: send it in parts")
            self._rest = chunk
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def _documented(what: str) -> Callable[..., Any]:
    return extend_schema(
        summary=f"Store {what}",
        parameters=[
            OpenApiParameter("partial", bool, description="Store the rows that are right, tell of the others"),
            OpenApiParameter("format", str, enum=list(catalogue.FORMATS), description="The body's format"),
            OpenApiParameter("set", str, many=True, description="FIELD=VALUE for rows that lack it"),
            OpenApiParameter("map", str, many=True, description="FIELD=NAME: the file's name for a field"),
            OpenApiParameter("name", str, description="The file's name, where the format has no ids"),
        ],
        request={"application/x-ndjson": OpenApiTypes.STR, "application/json": OpenApiTypes.OBJECT},
        responses={200: Counts, 422: OpenApiResponse(description="Row errors; nothing was stored")},
    )


class BulkConversations(Bulk):
    kind = "conversations"
    verb = staticmethod(conversations)

    @_documented("conversations")
    def post(self, request: Request) -> Response:
        return self.load(request)


class BulkLabels(Bulk):
    kind = "labels"
    verb = staticmethod(labels)

    @_documented("labels")
    def post(self, request: Request) -> Response:
        return self.load(request)


class BulkPredictions(Bulk):
    kind = "predictions"
    verb = staticmethod(predictions)

    @_documented("predictions")
    def post(self, request: Request) -> Response:
        return self.load(request)


class BulkOutcomes(Bulk):
    kind = "outcomes"
    verb = staticmethod(outcomes)

    @_documented("outcomes")
    def post(self, request: Request) -> Response:
        return self.load(request)
