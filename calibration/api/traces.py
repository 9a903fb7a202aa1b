"""Where OpenTelemetry exporters post: OTLP/HTTP, and the older flat spans. Accepting is cheap; the work is done apart."""

from __future__ import annotations

import zlib
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from calibration import tracing
from labeling.formats import otlp

LIMIT = 32 * 1024 * 1024
CHUNK = 256 * 1024


class TooLarge(Exception):
    """The body, decompressed, is over the limit."""


@extend_schema(exclude=True)
class Traces(APIView):
    """`POST /v1/traces` and its aliases; answers in the content type of the request, errors as google.rpc.Status."""

    scope = "ingest"
    parser_classes: Any = []  # noqa: RUF012 (the body is read as a stream)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Answers come in the content type of the request, whatever else is said to be accepted."""
        return super().perform_content_negotiation(request, force=True)

    def handle_exception(self, error: Exception) -> Any:
        """What is refused before the body is looked at (401, 403, 405) is an OTLP error too."""
        refused = super().handle_exception(error)
        response = _refuse(refused.status_code, str(refused.data["title"]), _content_type(self.request))
        for name in ("WWW-Authenticate", "Allow"):
            if name in refused:
                response[name] = refused[name]
        return response

    def post(self, request: Request) -> HttpResponse:
        content_type = _content_type(request)
        if content_type not in (otlp.PROTOBUF, otlp.JSON):
            return _refuse(415, f"send {otlp.PROTOBUF} or {otlp.JSON}, not {content_type or 'nothing'}", content_type)
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("gzip", "deflate", "identity", ""):
            return _refuse(415, f"Content-Encoding {encoding} is not understood; send gzip", content_type)
        if tracing.overloaded():
            return _refuse(429, "too many requests wait to be worked off", content_type, retry_after=5)
        try:
            tracing.accept(body=_read(request, encoding), content_type=content_type)
        except TooLarge:
            return _refuse(413, f"more than {LIMIT // 1024 // 1024} MB of spans in one request", content_type)
        except (otlp.Undecodable, zlib.error, EOFError) as error:
            return _refuse(400, str(error), content_type)
        return HttpResponse(otlp.accepted(content_type), content_type=content_type)


def _content_type(request: Request) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()


def _read(request: Request, encoding: str) -> bytes:
    """The body, decompressed piece by piece and never beyond the limit: a gzip bomb stays small."""
    stream = request._request
    unpack = zlib.decompressobj(wbits=47) if encoding in ("gzip", "deflate") else None
    parts: list[bytes] = []
    size = 0
    while piece := stream.read(CHUNK):
        plain = unpack.decompress(piece, LIMIT + 1 - size) if unpack else piece
        size += len(plain)
        if size > LIMIT:
            raise TooLarge
        parts.append(plain)
    if unpack and not unpack.eof:
        raise EOFError("the compressed body ends too early")
    return b"".join(parts)


def _refuse(status: int, message: str, content_type: str, *, retry_after: int | None = None) -> HttpResponse:
    binary = content_type == otlp.PROTOBUF
    body = _status(message) if binary else otlp.status_json(message)
    response = HttpResponse(body, status=status, content_type=otlp.PROTOBUF if binary else otlp.JSON)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def _status(message: str) -> bytes:
    """google.rpc.Status with its message alone (field 2, a string)."""
    text = message.encode()[:1000]
    size = bytes([len(text)]) if len(text) < 128 else bytes([len(text) & 127 | 128, len(text) >> 7])
    return b"\x12" + size + text
