"""Pages of evidence about classifiers: the list, the report, its conversations, two versions compared, kept reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from calibration import overviews, running
from calibration.drift import canary_watch, flag_words, recognisers
from calibration.evidence import charts, comparing, history, items, planning, presenting, printing, reports, standing
from calibration.models import AgreementReport, Classifier, ClassifierVersion, DriftFlag
from labeling import access, references
from labeling.access import role_required
from labeling.errors import Refused
from labeling.models import DatasetVersion

DEFAULT_BY = "channel,cohort"
MOST_VERSIONS = 8
"""The newest so many versions stand side by side."""


@role_required("engineer")
def report(request: HttpRequest, slug: str) -> HttpResponse:
    """The agreement report of one version, with the others beside it."""
    classifier = get_object_or_404(Classifier.objects.select_related("signal"), slug=slug)
    gold, choices = _gold(request, classifier)
    versions = list(classifier.versions.select_related("classifier__signal"))
    if gold is None or not versions:
        return render(request, "calibration/report_empty.html", {"classifier": classifier, "versions": versions})
    by = request.GET.get("by", DEFAULT_BY)
    asked = request.GET.get("version")
    if asked and asked not in {one.version for one in versions}:
        raise Http404(f"{slug} has no version {asked}")
    shown_versions = [one for one in versions[-MOST_VERSIONS:] if one.version != asked]
    shown_versions += [one for one in versions if one.version == asked]
    shown_versions.sort(key=versions.index)
    document = reports.build(dataset_version=gold, classifier=classifier, versions=shown_versions, by=by.split(","))
    document, version = presenting.answered(document, asked)
    export = EXPORTS.get(request.GET.get("export", ""))
    if export is not None:
        return export(document, version)
    query = {"dataset": str(gold), "version": version, "by": by}
    shown = presenting.page(document, version=version, address=reverse("report", args=[slug]), query=query)
    context = {
        "classifier": classifier,
        "gold": gold,
        "choices": choices,
        "document": document,
        "version": version,
        "all_versions": versions,
        "by": by,
        "others": presenting.comparable(document, version),
        "drifted": _open_flags(classifier, version),
    }
    return render(request, "calibration/report.html", context | shown)


def _open_flags(classifier: Classifier, version: str) -> list[tuple[DriftFlag, str]]:
    """What says that a verdict on the gold may not hold for what the version answers today, each with its sentence."""
    active = DriftFlag.objects.filter(
        version__classifier=classifier, version__version=version, state__in=DriftFlag.ACTIVE
    )
    return [(flag, flag_words.sentence(flag)) for flag in active.select_related("version__classifier")]


def _gold(request: HttpRequest, classifier: Classifier) -> tuple[DatasetVersion | None, list[DatasetVersion]]:
    """The gold asked for, or the one that stands for the classifier's signal; and what else could be asked for."""
    frozen = DatasetVersion.objects.select_related("dataset__signal", "parent").filter(
        dataset__signal=classifier.signal, frozen_at__isnull=False
    )
    choices = list(frozen.order_by("-frozen_at"))
    asked = request.GET.get("dataset")
    if not asked:
        return standing.of(classifier.signal), choices
    name, number = references.split(asked)
    if number is None:
        return references.dataset_version(asked), choices
    return access.dataset_version(name, int(number) if number.isdigit() else -1), choices


@role_required("engineer")
def running_figures(request: HttpRequest, slug: str) -> HttpResponse:
    """What running a version took, as a fragment of its report: it reads every answer, so that the report does not wait."""
    versions = ClassifierVersion.objects.select_related("classifier__signal")
    version = get_object_or_404(versions, classifier__slug=slug, version=request.GET.get("version", ""))
    return render(request, "calibration/_running.html", {"figures": running.of(version)})


@role_required("engineer")
def classifiers(request: HttpRequest) -> HttpResponse:
    """Every classifier with its version in service and what that is worth on the newest gold."""
    context = {
        "entries": overviews.classifiers(),
        "canaries": canary_watch.words_by_classifier(),
        "recognisers": recognisers.newest(),
    }
    return render(request, "calibration/classifiers.html", context)


@role_required("engineer")
def report_history(request: HttpRequest, slug: str) -> HttpResponse:
    """Agreement over time: a fragment of the report, and a page of its own."""
    classifier = get_object_or_404(Classifier.objects.select_related("signal"), slug=slug)
    gold, _ = _gold(request, classifier)
    context: dict[str, Any] = {"classifier": classifier, "gold": gold}
    if gold is not None:
        series = history.read(dataset_version=gold, classifier=classifier, preferred=request.GET.get("version"))
        rows = history.rows(series)
        if request.GET.get("export") in FIGURES:
            return FIGURES[request.GET["export"]](_time_chart(series, rows), rows, slug)
        context |= {"series": series, "rows": rows, "query": request.GET.urlencode()}
        if len(rows) > 1:
            context["picture"] = charts.on_page(lambda colours: _time_chart(series, rows, colours))
    htmx = getattr(request, "htmx", False)
    template = "calibration/_history.html" if htmx else "calibration/history.html"
    return render(request, template, context)


def _time_chart(
    series: history.History, rows: list[dict[str, Any]], colours: dict[str, str] | None = None
) -> charts.Spec:
    title = f"{series.statistic} per {series.period}"
    return charts.over_time(
        rows, bar=series.bar, boundaries=series.boundaries, flags=series.flags, title=title, colours=colours
    )


@role_required("engineer")
def conversations_behind(request: HttpRequest, slug: str) -> HttpResponse:
    """The units of a slice or of a cell of the confusion, disagreements first, both answers side by side."""
    classifier = get_object_or_404(Classifier.objects.select_related("signal"), slug=slug)
    gold, _ = _gold(request, classifier)
    if gold is None:
        return redirect("report", slug)
    version = get_object_or_404(ClassifierVersion, classifier=classifier, version=request.GET.get("version", ""))
    found = items.read(dataset_version=gold, version=version, query=request.GET.dict(), reader=access.person(request))
    address = reverse("report", args=[slug])
    return render(
        request,
        "calibration/items.html",
        {"classifier": classifier, "gold": gold, "version": version, "found": found, "address": address},
    )


@role_required("engineer")
def compare(request: HttpRequest, slug: str) -> HttpResponse:
    """Two versions on the same gold, paired."""
    classifier = get_object_or_404(Classifier.objects.select_related("signal"), slug=slug)
    gold, choices = _gold(request, classifier)
    versions = list(classifier.versions.select_related("classifier__signal"))
    context: dict[str, Any] = {"classifier": classifier, "gold": gold, "choices": choices, "versions": versions}
    if gold is not None and len(versions) > 1:
        a, b = (
            get_object_or_404(classifier.versions.select_related("classifier__signal"), version=name)
            for name in (request.GET.get("a", versions[-2].version), request.GET.get("b", versions[-1].version))
        )
        by = [name for name in request.GET.get("by", "channel").split(",") if name]
        asked = request.GET.get("margin", "")
        context |= {"a": a, "b": b, "by": ",".join(by), "margin": asked}
        try:
            document = comparing.compare(dataset_version=gold, a=a, b=b, by=by, margin=float(asked) if asked else None)
        except ValueError:
            context["refused"] = f"{asked!r} is not a number"
        except Refused as refused:
            context["refused"] = refused.message
        if "refused" in context:
            return render(request, "calibration/compare.html", context, status=422)
        context |= {
            "document": document,
            "lines": presenting.comparison(document),
            "margin": asked or document["margin"],
        }
        context["flipped"] = presenting.flips(
            document, reverse("report", args=[slug]), {"dataset": str(gold), "version": b.version, "against": a.version}
        )
    return render(request, "calibration/compare.html", context)


@role_required("engineer")
def plan(request: HttpRequest, slug: str) -> HttpResponse:
    """Labels that each slice still wants for an interval or a verdict, beside what random sampling would want."""
    classifier = get_object_or_404(Classifier.objects.select_related("signal"), slug=slug)
    gold, choices = _gold(request, classifier)
    versions = list(classifier.versions.select_related("classifier__signal"))
    by, width = request.GET.get("by", DEFAULT_BY), request.GET.get("half_width", "")
    context: dict[str, Any] = {"classifier": classifier, "gold": gold, "choices": choices, "versions": versions}
    context |= {"by": by, "half_width": width or planning.HALF_WIDTH}
    if gold is None or not versions:
        return render(request, "calibration/plan.html", context)
    asked = request.GET.get("version", versions[-1].version)
    version = get_object_or_404(
        ClassifierVersion.objects.select_related("classifier__signal"), classifier=classifier, version=asked
    )
    try:
        half = float(width) if width else planning.HALF_WIDTH
        document = planning.plan(dataset_version=gold, version=version, half_width=half, by=by.split(","))
    except ValueError:
        context |= {"version": version, "refused": f"{width!r} is not a number"}
        return render(request, "calibration/plan.html", context, status=422)
    except Refused as refused:
        context |= {"version": version, "refused": refused.message}
        return render(request, "calibration/plan.html", context, status=422)
    finest = [row for row in document["rows"] if len(row["slice"]) == len(document["by"])]
    context |= {"version": version, "document": document, "rows": finest}
    context["planned"] = any(row["further"] is not None for row in finest)
    return render(request, "calibration/plan.html", context)


@require_POST
@role_required("engineer")
def keep(request: HttpRequest, slug: str) -> HttpResponse:
    """Keep the report as it stands under a permanent address."""
    dataset, by = request.POST.get("dataset", ""), request.POST.get("by", "").split(",")
    reports.prepare(dataset=dataset, classifier=slug)
    kept = reports.save(dataset=dataset, classifier=slug, by=by)
    return redirect("kept-report", kept.id)


@role_required("engineer")
def kept_report(request: HttpRequest, report_id: int) -> HttpResponse:
    """A report as it was given; `?export=json` gives the same bytes for ever."""
    kept = get_object_or_404(
        AgreementReport.objects.select_related("dataset_version__dataset", "classifier"), id=report_id
    )
    export = EXPORTS.get(request.GET.get("export", ""))
    document = kept.document
    version = request.GET.get("version") or presenting.answered(document, None)[1]
    if version not in kept.versions:
        raise Http404(f"report {kept.id} is not about a version {version}")
    if request.GET.get("export") == "json":
        return _download(reports.as_bytes(kept), "application/json", f"report-{kept.id}.json")
    if export is not None:
        return export(document, version)
    query = {"dataset": document["dataset"], "version": version}
    shown = presenting.page(
        document, version=version, address=reverse("report", args=[kept.classifier.slug]), query=query
    )
    context = {"kept": kept, "document": document, "version": version, "classifier": kept.classifier}
    return render(request, "calibration/kept_report.html", context | shown)


def _download(content: str | bytes, kind: str, name: str) -> HttpResponse:
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _file_name(document: dict[str, Any], ending: str) -> str:
    return f"{document['classifier']}-{document['dataset'].replace('@', '-')}.{ending}"


def _json(document: dict[str, Any], version: str) -> HttpResponse:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return _download(text, "application/json", _file_name(document, "json"))


def _csv(document: dict[str, Any], version: str) -> HttpResponse:
    return _download(printing.as_csv(document), "text/csv; charset=utf-8", _file_name(document, "csv"))


def _png(document: dict[str, Any], version: str) -> HttpResponse:
    return _download(charts.png(presenting.forest_chart(document, version)), "image/png", _file_name(document, "png"))


def _svg(document: dict[str, Any], version: str) -> HttpResponse:
    spec = presenting.forest_chart(document, version)
    return _download(charts.svg(spec), "image/svg+xml", _file_name(document, "svg"))


EXPORTS: dict[str, Callable[[dict[str, Any], str], HttpResponse]] = {
    "json": _json, "csv": _csv, "png": _png, "svg": _svg,
}  # fmt: skip
FIGURES: dict[str, Callable[[charts.Spec, list[dict[str, Any]], str], HttpResponse]] = {
    "svg": lambda spec, rows, slug: _download(charts.svg(spec), "image/svg+xml", f"{slug}-over-time.svg"),
    "png": lambda spec, rows, slug: _download(charts.png(spec), "image/png", f"{slug}-over-time.png"),
    "csv": lambda spec, rows, slug: _download(
        printing.rows_csv(rows), "text/csv; charset=utf-8", f"{slug}-over-time.csv"
    ),
}
