"""Trends, what moved between two periods, and release gates as pages."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Exists, OuterRef, Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from calibration import tasks, volumes
from calibration.drift import flags
from calibration.errors import EvidenceRefused
from calibration.evidence import gate_records, gates
from calibration.models import Classifier, ClassifierVersion, DriftFlag, GateRun, PredictionRollup
from calibration.moves import attribution, bridges, move_pages, move_words, periods, settling, trends
from calibration.moves.periods import Days
from labeling import access
from labeling.access import person, role_required
from labeling.errors import NotFound, Refused
from labeling.models import DatasetVersion, Queue, Signal

WINDOW = timedelta(days=28)
MOST_GATES = 50
MOVED = ("from", "to", "from_version", "to_version", "classifier", "value", "by")
"""What a link to a movement carries."""
EXAMPLE = """# every rule must hold; all tests together are one family (Holm)
by: [channel]
rules:
  - {statistic: kappa, at_least: 0.5}
  - {slice: {channel: voice}, statistic: kappa, at_least: 0.6}
max_missing: 0.02
# no_worse_than_baseline: {margin: 0.05}
"""


@role_required("engineer")
@require_safe
def trend_index(request: HttpRequest) -> HttpResponse:
    """The trend of the signal that is scored most."""
    first = volumes.most_scored()
    return render(request, "calibration/trend_empty.html") if first is None else redirect("trend", first.slug)


@role_required("engineer")
@require_safe
def trend(request: HttpRequest, slug: str) -> HttpResponse:
    """The whole first; slices below; two periods to be compared."""
    signal = access.signal(slug)
    asked = {name: request.GET.get(name, "") for name in ("classifier", "value", "by", "period")}
    context = _choices(signal) | {"signal": signal, "asked": asked}
    try:
        document = _document(signal, asked)
    except (EvidenceRefused, NotFound) as refused:
        return render(request, "calibration/trend.html", context | {"refused": refused})
    if not document["series"][0]["points"]:
        return render(request, "calibration/trend.html", context)
    figures = move_pages.figures(document)
    if request.GET.get("export"):
        return _figure_file(request, figures, f"{signal.slug}-trend")
    share = document["value"] != attribution.MEAN
    before, after = _windows(document)
    query = {name: value for name, value in asked.items() if value}
    outcomes = move_pages.outcomes(document, figures, query)
    context |= {
        "document": document,
        "share": share,
        "sentence": move_words.trend(document, title=signal.title, share=share),
        "pictures": [
            one | {"outcomes": [beside for beside in outcomes if beside["slice"] == one["slice"]]}
            for one in move_pages.pictures(document, figures, query)
        ],
        "gaps": move_pages.gap_rows(document, share=share),
        "failures": move_pages.failure_table(document),
        "version_now": document["versions"][-1]["version"],
        "labels": sum(point["labels"] for point in document["series"][0]["points"]),
        "newest": document["series"][0]["points"][-1]["start"],
        "before": before,
        "after": after,
    }
    return render(request, "calibration/trend.html", context)


@role_required("engineer")
@require_safe
def version_changes(request: HttpRequest, slug: str) -> HttpResponse:
    """What each change of versions did by itself: a fragment of the trend, and a page of its own."""
    signal = access.signal(slug)
    name, value = (request.GET.get(key, "") for key in ("classifier", "value"))
    found = bridges.read(signal=signal, classifier=flags.classifier_named(name) if name else None, value=value)
    share = found["value"] != attribution.MEAN
    for one in found["changes"]:
        since = date.fromisoformat(one["since"])
        before = Days(since - WINDOW, since - timedelta(days=1))
        query = {"from": str(before), "to": str(Days(since, since + WINDOW - timedelta(days=1)))}
        query |= {name: found[name] for name in ("classifier", "value")}
        one |= {
            "told": move_words.change_of_version(one, found["value"], share),
            "query": urlencode(query),
            "at": since,
            "words": periods.read(one["period"], field="period").words,
        }
    template = "calibration/_bridges.html" if getattr(request, "htmx", False) else "calibration/bridges.html"
    return render(request, template, {"signal": signal, "found": found})


def _figure_file(request: HttpRequest, figures: dict[str, move_pages.Figure], name: str) -> HttpResponse:
    """One of a page's charts as SVG, PNG or CSV."""
    asked, kind = request.GET.get("figure", "0"), request.GET["export"]
    made = move_pages.file(figures[asked], kind) if asked in figures else None
    if made is None:
        raise Http404(f"there is no {kind} of the figure {asked!r}")
    return _download(*made, f"{name}-{asked}.{kind}")


def _download(content: str | bytes, kind: str, name: str) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@role_required("engineer")
@require_safe
def moved(request: HttpRequest, slug: str) -> HttpResponse:
    """What moved between two periods, in a sentence, then as parts that add up."""
    signal = access.signal(slug)
    asked = {name: request.GET.get(name, "") for name in ("classifier", "value", "by")}
    if not (request.GET.get("from") and request.GET.get("to")):
        return redirect("trend", slug)
    before, after = (periods.read(request.GET[name], field=name) for name in ("from", "to"))
    chosen = request.GET.get("from_version", ""), request.GET.get("to_version", "")
    context = _choices(signal) | {"signal": signal, "asked": asked, "before": before, "after": after, "chosen": chosen}
    try:
        found = attribution.attribute(
            signal=signal,
            before=before,
            after=after,
            classifier=flags.classifier_named(asked["classifier"]) if asked["classifier"] else None,
            value=asked["value"],
            chosen_versions=chosen,
        )
    except EvidenceRefused as refused:
        return render(request, "calibration/moved.html", context | {"refused": refused})
    name = f"{signal.slug}-moved"
    if request.GET.get("export") == "json":
        return _download(json.dumps(found, ensure_ascii=False, allow_nan=False), "application/json", f"{name}.json")
    if request.GET.get("export") == "csv" and "figure" not in request.GET:
        return _download(move_pages.parts_csv(found), move_pages.CSV, f"{name}.csv")
    document, figures = _beside(signal, found, before, after)
    if request.GET.get("export"):
        return _figure_file(request, figures, name)
    query = {key: request.GET[key] for key in MOVED if request.GET.get(key)}
    context |= {
        "found": found,
        "share": found["value"] != attribution.MEAN,
        "parts": move_words.parts(found),
        "rows": move_words.by_slice(found),
        "document": document,
        "picture": move_pages.pictures(document, figures, query)[0],
        "query": urlencode(query),
        "versions": [version.version for version in volumes.versions_of(flags.classifier_named(found["classifier"]))],
        "as_one": _as_one(found, before, query),
        "flag": _flag_of(found, after),
        "steps": [_step(step, found) for step in settling.steps(found, before=before, after=after)],
        "runs": settling.bridges(found["from"]["versions"][:1], found["classifier"], after),
    }
    return render(request, "calibration/moved.html", context)


def _as_one(found: dict[str, Any], before: Days, query: dict[str, str]) -> str:
    """The same question of the later version alone, where it has scored the earlier period too: no upgrade is in it."""
    old, new = (found[end]["versions"][0] for end in ("from", "to"))
    scored = PredictionRollup.objects.filter(version__classifier__slug=found["classifier"], version__version=new)
    if old == new or not scored.filter(day__range=(before.first, before.last)).exists():
        return ""
    return urlencode(query | {"classifier": found["classifier"], "from_version": new, "to_version": new})


def _step(step: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A step with the fields of its button."""
    fields = {name: step[name] for name in ("action", "since", "until", "labels", "version") if name in step}
    return step | {"fields": fields}


@role_required("engineer")
@require_POST
def settle(request: HttpRequest, slug: str) -> HttpResponse:
    """Draw the queue, or start the scoring, that would settle what moved."""
    signal = access.signal(slug)
    told = request.POST
    days = periods.read(f"{told.get('since', '')}..{told.get('until', '')}", field="since")
    done = settling.act(
        signal=signal,
        action=told.get("action", ""),
        days=days,
        labels=int(told["labels"]) if told.get("labels", "").isdigit() else 0,
        version=told.get("version", ""),
        by=person(request),
    )
    if isinstance(done, Queue):
        messages.success(request, f"{done.items.count()} items wait to be labelled.")
        return redirect("queue", done.slug)
    tasks.work_scoring_run.delay(done.id)
    messages.success(request, f"{done.version} scores {done.total} conversations; look again in a while.")
    back = told.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()})
    return redirect(back if safe else reverse("trend", args=[slug]))


@role_required("engineer")
def gate_list(request: HttpRequest) -> HttpResponse:
    """Gates so far, and a form to run one."""
    form = {name: request.POST.get(name, "") for name in ("policy", "dataset", "candidate", "baseline", "scenario")}
    context: dict[str, Any] = {"form": form if form["policy"] else form | {"policy": EXAMPLE}}
    if request.method == "POST":
        try:
            done = gates.run(**form, by_whom=person(request))
            return redirect("gate", done.id)
        except Refused as refused:
            context["refused"] = refused
    runs = GateRun.objects.select_related("candidate__classifier", "dataset_version__dataset", "created_by")
    golds = DatasetVersion.objects.filter(frozen_at__isnull=False)
    # A recogniser, or a classifier of a signal that nobody has labelled, can be held against nothing.
    measurable = ClassifierVersion.objects.filter(Exists(golds.filter(dataset__signal=OuterRef("classifier__signal"))))
    context |= {
        "runs": runs.order_by("-id")[:MOST_GATES],
        "datasets": golds.select_related("dataset"),
        "versions": measurable.select_related("classifier").order_by("-created_at", "-id"),
    }
    return render(request, "calibration/gates.html", context, status=422 if "refused" in context else 200)


@role_required("engineer")
@require_safe
def gate(request: HttpRequest, run_id: int) -> HttpResponse:
    """One gate, as a page or as a file."""
    runs = GateRun.objects.select_related("candidate__classifier", "dataset_version__dataset", "baseline__classifier")
    run = get_object_or_404(runs, id=run_id)
    export = request.GET.get("export")
    if export == "junit":
        return HttpResponse(gates.junit(run.document), content_type="application/xml")
    if export == "record":
        return JsonResponse(gate_records.record(run), json_dumps_params={"ensure_ascii": False, "indent": 1})
    if export == "markdown":
        return HttpResponse(gates.markdown(run.document), content_type="text/markdown; charset=utf-8")
    rows = [
        check
        | {
            "told": gates.told(check["value"]),
            "p_told": move_words.p_value(check["adjusted_p"]),
        }
        for check in run.document["checks"]
    ]
    return render(request, "calibration/gate.html", {"run": run, "document": run.document, "checks": rows})


def _document(signal: Signal, asked: dict[str, str]) -> dict[str, Any]:
    return trends.read(
        signal=signal,
        classifier=flags.classifier_named(asked["classifier"]) if asked["classifier"] else None,
        value=asked["value"],
        by=[name for name in asked["by"].split(",") if name],
        period=asked["period"] or "week",
    )


def _choices(signal: Signal) -> dict[str, Any]:
    return {
        "classifiers": Classifier.objects.filter(signal=signal),
        "categories": signal.categories.all(),
        "mean": attribution.has_mean(signal),
        "signals": Signal.objects.filter(classifiers__isnull=False, measured=False).distinct().order_by("slug"),
    }


def _windows(document: dict[str, Any]) -> tuple[Days, Days]:
    """Two periods worth comparing at first: the last four weeks with the four before them."""
    last = date.fromisoformat(document["series"][0]["points"][-1]["start"])
    step = {"day": timedelta(0), "week": timedelta(days=6), "month": timedelta(days=27)}[document["period"]]
    end = last + step
    middle = end - WINDOW
    return Days(middle - WINDOW + timedelta(days=1), middle), Days(middle + timedelta(days=1), end)


def _beside(
    signal: Signal, found: dict[str, Any], before: Days, after: Days
) -> tuple[dict[str, Any], dict[str, move_pages.Figure]]:
    """The trend that holds both periods, and its chart with them shaded."""
    first, last = min(before.first, after.first), max(before.last, after.last)
    period = "day" if (last - first).days < 45 else "week"
    document = trends.read(
        signal=signal,
        classifier=flags.classifier_named(found["classifier"]),
        value=found["value"],
        period=period,
        since=first,
        until=last,
    )
    shaded = [(days.first.isoformat(), days.last.isoformat()) for days in (before, after)]
    return document, move_pages.figures(document, shaded)


def _flag_of(found: dict[str, Any], after: Days) -> DriftFlag | None:
    """Where the classifier is to blame: the active flag that tells of it by then, of the recogniser or the version."""
    if found["verdict"] not in ("classifier", "both"):
        return None
    active = DriftFlag.objects.filter(Q(since=None) | Q(since__lte=after.last), state__in=DriftFlag.ACTIVE)
    if "transcription" in found["leading"]:
        return active.filter(kind=DriftFlag.Kind.ASR).first()
    active = active.filter(version__classifier__slug=found["classifier"])
    return active.filter(version__version=found["to"]["versions"][0]).first()
