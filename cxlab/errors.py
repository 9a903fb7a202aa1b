"""The one place where what the verbs refuse becomes an answer: a problem document for programs, a page for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from labeling.errors import NotFound, Refused

PROBLEM = "application/problem+json"


def document(refused: Refused) -> dict[str, Any]:
    """RFC 9457, extended by `errors`, each with the line or field at fault."""
    errors = [row.as_dict() for row in refused.errors]
    if not errors:
        errors = [{"field": refused.field, "message": refused.message}]
    return {
        "type": "about:blank",
        "title": refused.message,
        "status": refused.status,
        "code": refused.code,
        "errors": errors,
    }


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every error of the API leaves as a problem document."""
    if isinstance(error, Refused):
        return Response(document(error), status=error.status, content_type=PROBLEM)
    response = exception_handler(error, context)
    if response is None:
        return None
    detail = error.detail if isinstance(error, exceptions.APIException) else response.data.get("detail", "")
    response.data = {
        "type": "about:blank",
        "title": _title(error, response.status_code),
        "status": response.status_code,
        "code": "not_found" if response.status_code == 404 else getattr(error, "default_code", "error"),
        "errors": list(_fields(_no_model(detail))),
    }
    response.content_type = PROBLEM
    return response


def _no_model(detail: Any) -> Any:
    """What Django says where an object is missing, without the name of its class."""
    missing = re.fullmatch(r"No (\w+) matches the given query\.", detail) if isinstance(detail, str) else None
    return f"There is no such {re.sub(r'(?<!^)(?=[A-Z])', ' ', missing[1]).lower()}." if missing else detail


def _title(error: Exception, status: int) -> str:
    if isinstance(error, exceptions.ValidationError):
        return "The request has fields that cannot be used."
    if isinstance(error, Http404):
        return "Not found."
    if isinstance(error, PermissionDenied):
        return str(error) or "You do not have permission to do this."
    return str(getattr(error, "detail", "")) or f"Error {status}"


def _fields(detail: Any, field: str | None = None) -> Any:
    """Flatten DRF's nested details into `{"field", "message"}` entries with dotted names."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _fields(inner, name if field is None else f"{field}.{name}")
    elif isinstance(detail, list):
        for inner in detail:
            yield from _fields(inner, field)
    else:
        yield {"field": field, "message": str(detail)}


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address that does not exist: a problem document below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse(document(NotFound("not_found", "Not found.")), status=404, content_type=PROBLEM)
    return render(request, "404.html", status=404)


class RefusedMiddleware:
    """Answers what a page's verb refused with the same words, as a page or, for htmx, as a short alert."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path or "%00" in request.META["QUERY_STRING"]:
            # PostgreSQL does not even compare it, and every look-up would have to know that.
            return self._answer(request, Refused("nul_character", "the address has a NUL character", status=400))
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return self._answer(request, error) if isinstance(error, Refused) else None

    def _answer(self, request: HttpRequest, error: Refused) -> HttpResponse:
        if request.path.startswith("/api/"):
            return JsonResponse(document(error), status=error.status, content_type=PROBLEM)
        template = "_refused.html" if getattr(request, "htmx", False) else "refused.html"
        return render(request, template, {"refused": error}, status=error.status)
