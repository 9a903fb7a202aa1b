"""OpenTelemetry traces as they come over HTTP: protobuf, JSON, and the flat spans of older clients → spans, and the answer.

Pure. Identifiers leave as lower-case hex, times as nanoseconds since 1970, attributes as plain values.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Undecodable(ValueError):
    """A body that is not what its content type says."""


@dataclass(frozen=True, slots=True)
class Span:
    """One span with the resource that sent it; `project` is empty when no resource attribute names it."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int
    project: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    status: str = ""


def check(body: bytes, content_type: str) -> None:
    """Raises Undecodable where `spans` would; of protobuf, which most send, without making anything of it."""
    if content_type != PROTOBUF:
        for _ in spans(body, content_type):
            pass
        return
    for resource_spans in _request(body).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if not span.trace_id or not span.span_id:
                    raise Undecodable(f"span {span.name!r} has no trace id or no span id")


def decode(body: bytes, content_type: str) -> list[Span]:
    """The spans of one export request; raises Undecodable with the reason."""
    return list(spans(body, content_type))


def spans(body: bytes, content_type: str) -> Iterator[Span]:
    """The same one by one, so that a large request is never in memory twice."""
    if content_type == PROTOBUF:
        yield from _from_protobuf(body)
        return
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"the body is not JSON: {error}") from error
    if isinstance(document, list):
        for number, entry in enumerate(document, 1):
            yield flat(entry, number)
    elif isinstance(document, dict):
        yield from from_json(document)
    else:
        raise Undecodable("the body is neither an export request nor a list of spans")


def accepted(content_type: str) -> bytes:
    """The empty ExportTraceServiceResponse in the content type of the request."""
    return bytes(ExportTraceServiceResponse().SerializeToString()) if content_type == PROTOBUF else b"{}"


def status_json(message: str) -> bytes:
    """google.rpc.Status as JSON."""
    return json.dumps({"message": message}).encode()


def _request(body: bytes) -> Any:
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise Undecodable(f"the body is not an OTLP trace export: {error}") from error
    return request


def _from_protobuf(body: bytes) -> Iterator[Span]:
    for resource_spans in _request(body).resource_spans:
        resource = {pair.key: _any_value(pair.value) for pair in resource_spans.resource.attributes}
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _checked(
                    Span(
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        name=span.name,
                        start_ns=span.start_time_unix_nano,
                        end_ns=span.end_time_unix_nano,
                        project=_project(resource),
                        attributes={pair.key: _any_value(pair.value) for pair in span.attributes},
                        resource=resource,
                        events=[
                            {
                                "name": event.name,
                                "at": event.time_unix_nano,
                                "attributes": {pair.key: _any_value(pair.value) for pair in event.attributes},
                            }
                            for event in span.events
                        ],
                        status=("", "ok", "error")[span.status.code] if span.status.code < 3 else "",
                    )
                )


def _any_value(value: Any) -> Any:
    """The plain Python value of a protobuf AnyValue."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_any_value(entry) for entry in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _any_value(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


def from_json(document: Mapping[str, Any]) -> Iterator[Span]:
    """The spans of one export request as JSON; raises Undecodable with the reason."""
    try:
        for resource_spans in _either(document, "resourceSpans", "resource_spans", []):
            resource = _pairs(resource_spans.get("resource", {}).get("attributes", []))
            for scope_spans in _either(resource_spans, "scopeSpans", "scope_spans", []):
                for span in scope_spans.get("spans", []):
                    yield _checked(_json_span(span, resource))
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError) as error:
        if isinstance(error, Undecodable):
            raise
        raise Undecodable(f"the body is not an OTLP trace export: {error}") from error


def _json_span(span: Mapping[str, Any], resource: Mapping[str, Any]) -> Span:
    status = span.get("status", {}).get("code", "")
    return Span(
        trace_id=_identifier(_either(span, "traceId", "trace_id", ""), 16),
        span_id=_identifier(_either(span, "spanId", "span_id", ""), 8),
        parent_id=_identifier(_either(span, "parentSpanId", "parent_span_id", "") or "", 8),
        name=str(span.get("name", "")),
        start_ns=int(_either(span, "startTimeUnixNano", "start_time_unix_nano", 0)),
        end_ns=int(_either(span, "endTimeUnixNano", "end_time_unix_nano", 0)),
        project=_project(resource),
        attributes=_pairs(span.get("attributes", [])),
        resource=resource,
        events=[
            {
                "name": event.get("name", ""),
                "at": int(_either(event, "timeUnixNano", "time_unix_nano", 0)),
                "attributes": _pairs(event.get("attributes", [])),
            }
            for event in span.get("events", [])
        ],
        status={"STATUS_CODE_OK": "ok", "STATUS_CODE_ERROR": "error", 1: "ok", 2: "error"}.get(status, ""),
    )


def _either(mapping: Mapping[str, Any], camel: str, snake: str, default: Any) -> Any:
    return mapping.get(camel, mapping.get(snake, default))


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {str(pair["key"]): _json_value(pair.get("value") or {}) for pair in pairs}


def _json_value(value: Mapping[str, Any]) -> Any:
    """The plain value of a JSON AnyValue; 64-bit integers come as text."""
    if not value:
        return None
    kind, inner = next(iter(value.items()))
    if kind in ("arrayValue", "array_value"):
        return [_json_value(entry) for entry in inner.get("values", [])]
    if kind in ("kvlistValue", "kvlist_value"):
        return _pairs(inner.get("values", []))
    return int(inner) if kind in ("intValue", "int_value") else inner


def _identifier(text: str, size: int) -> str:
    """OTLP/JSON writes identifiers in hex; protobuf's own JSON in base64: both are told apart by their length."""
    if not text:
        return ""
    if len(text) == 2 * size:
        return bytes.fromhex(text).hex()
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Undecodable(f"{text!r} is no span or trace id") from error
    return raw.hex()


def flat(entry: Any, number: int) -> Span:
    """A span of traceAI up to 0.1.12: one flat JSON object."""
    if not isinstance(entry, dict):
        raise Undecodable(f"span {number} is not an object")
    try:
        status = entry.get("status") or ""
        return _checked(
            Span(
                trace_id=str(entry["trace_id"]).removeprefix("0x").lower(),
                span_id=str(entry["span_id"]).removeprefix("0x").lower(),
                parent_id=str(entry.get("parent_id") or "").removeprefix("0x").lower(),
                name=str(entry.get("name", "")),
                start_ns=int(entry.get("start_time") or 0),
                end_ns=int(entry.get("end_time") or 0),
                project=str(entry.get("project_name") or ""),
                attributes=dict(entry.get("attributes") or {}),
                resource={
                    name: entry[name]
                    for name in ("project_name", "metadata", "project_version_name")
                    if entry.get(name)
                },
                events=list(entry.get("events") or []),
                status=str(status if isinstance(status, str) else status.get("status_code", "")).lower(),
            )
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Undecodable(f"span {number}: {error}") from error


def _checked(span: Span) -> Span:
    if not span.trace_id or not span.span_id:
        raise Undecodable(f"span {span.name!r} has no trace id or no span id")
    return span


def _project(resource: Mapping[str, Any]) -> str:
    for name in ("project_name", "openinference.project.name", "service.name"):
        if resource.get(name):
            return str(resource[name])
    return ""
