"""Import: drop a file, see its first rows as they were understood, load it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from calibration import importing
from labeling.access import person, role_required
from labeling.errors import Refused


@role_required("engineer")
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    return _answer(request, {})


@role_required("engineer")
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    upload, kind = request.FILES.get("file"), request.POST.get("kind", "")
    try:
        if kind not in importing.KINDS:
            raise Refused("unknown_kind", "choose what the file holds", field="kind")
        if upload is None:
            raise Refused("no_file", "choose a file", field="file")
        key = importing.keep(chunks=upload.chunks(), name=upload.name or "file", user=person(request))
        path, name = importing.kept(key=key, user=person(request))
        found = importing.preview(path=path, kind=kind)
    except Refused as refused:
        return _answer(request, {"refused": refused, "kind": kind})
    return _answer(request, {"preview": found, "kind": kind, "key": key, "name": name})


@role_required("engineer")
@require_POST
def load(request: HttpRequest) -> HttpResponse:
    kind, name = request.POST.get("kind", ""), ""
    try:
        if kind not in importing.KINDS:
            raise Refused("unknown_kind", "choose what the file holds", field="kind")
        path, name = importing.kept(key=request.POST.get("key", ""), user=person(request))
        loaded = importing.load(path=path, kind=kind)
    except Refused as refused:
        return _answer(request, {"refused": refused, "kind": kind, "name": name})
    return _answer(request, {"loaded": loaded, "kind": kind, "name": name})


def _answer(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """The page, or for htmx the part of it that changes, which is swapped in whatever it says."""
    context["kinds"] = list(importing.KINDS)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "calibration/_import.html", context)
    return render(request, "calibration/import.html", context, status=422 if "refused" in context else 200)
