"""Import: drop a file, see its first rows as they were understood, load it; and the same formats on the way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from calibration import dumping, importing
from calibration.api.bulk import dumped
from labeling import privacy
from labeling.access import person, role_required
from labeling.errors import NotFound, Refused
from labeling.formats import catalogue
from labeling.formats.shapes import GIVEN, Format, Options
from labeling.models import Signal

TITLES = {
    "source": "Source", "channel": "Channel", "cohort": "Cohort", "customer": "Customer", "signal": "Signal",
    "annotator": "Annotator", "classifier": "Classifier", "version": "Version", "kind": "Kind of outcome",
    "prefix": "Before each conversation's id", "conversation": "Id of the conversation",
    "customers": "Speakers who are customers", "agents": "Speakers who are agents", "provider": "Speech recogniser",
}  # fmt: skip
SPOKEN = ("whisper", "webvtt", "srt")


@role_required("engineer")
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    return _answer(request, {})


@role_required("engineer")
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """Of a file that is brought, or of one that was brought before and is to be read in another way."""
    upload, said = request.FILES.get("file"), request.POST
    context: dict[str, Any] = {}
    try:
        if upload is None and not said.get("key"):
            raise Refused("no_file", "choose a file", field="file")
        key = said.get("key", "")
        if upload is not None:
            key = importing.keep(chunks=upload.chunks(), name=upload.name or "file", user=person(request))
        path, name = importing.kept(key=key, user=person(request))
        guess = importing.guessed(path=path, name=name)
        format_name, kind = said.get("format") or guess[0], said.get("kind") or guess[1]
        context = {"key": key, "name": name, "kind": kind, "format": format_name}
        format = importing.format_named(format_name, kind)
        options = _options(request, kind, name)
        context |= _choices(request, format, kind)
        mask = privacy.in_force()
        context["preview"] = importing.preview(path=path, kind=kind, format=format, options=options, mask=mask)
    except Refused as refused:
        return _answer(request, context | {"refused": refused})
    return _answer(request, context)


@role_required("engineer")
@require_POST
def load(request: HttpRequest) -> HttpResponse:
    kind, format_name, name = request.POST.get("kind", ""), request.POST.get("format", "jsonl"), ""
    try:
        format = importing.format_named(format_name, kind)
        path, name = importing.kept(key=request.POST.get("key", ""), user=person(request))
        options = _options(request, kind, name)
        loaded = importing.load_kept(path=path, kind=kind, format=format, options=options)
    except Refused as refused:
        return _answer(request, {"refused": refused, "kind": kind, "name": name})
    return _answer(request, {"loaded": loaded, "kind": kind, "name": name})


@role_required("engineer")
@require_safe
def progress(request: HttpRequest) -> HttpResponse:
    """How far the file that is being loaded is read; no content while nothing can be said."""
    try:
        told = importing.progress(key=request.GET.get("key", ""), user=person(request))
    except NotFound:
        return HttpResponse(status=204)
    return render(request, "calibration/_import_progress.html", {"progress": told})


@role_required("engineer")
@require_safe
def take_out(request: HttpRequest) -> HttpResponse:
    """What can be taken out in which format, and what a format loses; with `originals`, by addresses that mask nothing."""
    rows = [
        {"format": one, "kinds": [*one.writes, *(["outcomes"] if one.name in dumping.OUTCOMES else [])],
         "drops": [(kind, lost) for kind, lost in one.drops.items() if kind in one.writes]}
        for one in catalogue.FORMATS.values()
    ]  # fmt: skip
    signals = Signal.objects.order_by("slug").values_list("slug", flat=True)
    masking = privacy.told(privacy.in_force(), reader=person(request))
    originals = masking["may_unmask"] and privacy.wants_originals(request.GET)
    context = {"rows": rows, "signals": signals, "kinds": list(importing.KINDS), "originals": originals}
    return render(request, "calibration/take_out.html", context | masking)


@role_required("engineer")
@require_safe
def taken(request: HttpRequest, kind: str) -> HttpResponseBase:
    return dumped(request, kind, via="page")


def _options(request: HttpRequest, kind: str, name: str) -> Options:
    """The fields `set-…` and `map-…` of the form, those that are filled in."""
    given = _filled(request, "set-")
    allowed = {*GIVEN[kind], *importing.ANYWHERE}
    return importing.options(
        kind=kind,
        name=name,
        given={field: value for field, value in given.items() if field in allowed},
        renamed=_filled(request, "map-"),
    )


def _filled(request: HttpRequest, prefix: str) -> dict[str, str]:
    fields = (
        (name.removeprefix(prefix), str(value).strip())
        for name, value in request.POST.items()
        if name.startswith(prefix)
    )
    return {name: value for name, value in fields if value}


def _choices(request: HttpRequest, format: Format, kind: str) -> dict[str, Any]:
    """What may be said of the file beside what it says itself."""
    spoken = ("conversation", "customers", "agents", "provider") if format.name in SPOKEN else ()
    fields = [*GIVEN[kind], "prefix", *(spoken if kind == "conversations" else ())]
    needed = format.needs.get(kind, ())
    given = [{"name": name, "title": TITLES[name], "value": request.POST.get(f"set-{name}", ""), "needed": name in needed}
             for name in fields]  # fmt: skip
    mapped = [{"name": name, "value": request.POST.get(f"map-{name}", "")} for name in format.fields]
    return {
        "title": format.title,
        "given": given,
        "mapped": mapped,
        "said": [one for one in (*given, *mapped) if one["value"]],
    }


def _answer(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """The page, or for htmx the part of it that changes, which is swapped in whatever it says. What is wrong with a row may
    quote it, and is masked like it."""
    if isinstance(refused := context.get("refused"), Refused):
        mask = privacy.in_force()
        refused.message = mask.text(refused.message)
        refused.errors = [replace(row, message=mask.text(row.message)) for row in refused.errors]
    context |= {"kinds": list(importing.KINDS), "formats": catalogue.FORMATS.values()}
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "calibration/_import.html", context)
    return render(request, "calibration/import.html", context, status=422 if "refused" in context else 200)
