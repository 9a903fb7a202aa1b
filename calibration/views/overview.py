"""Where everybody arrives: annotators at their queues, engineers at the overview."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from calibration import overviews
from labeling.access import person


@login_required
def home(request: HttpRequest) -> HttpResponse:
    if not person(request).may("engineer"):
        return redirect("/label/")
    entries = overviews.classifiers()
    context = {
        "entries": overviews.signals(entries),
        "clauses": overviews.sentence(overviews.signals(entries)),
        "tasks": overviews.tasks(overviews.signals(entries)),
    }
    return render(request, "calibration/overview.html", context)
