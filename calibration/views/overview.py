"""Where everybody arrives: annotators at their queues, engineers at the overview."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from labeling.access import person


@login_required
def home(request: HttpRequest) -> HttpResponse:
    if not person(request).may("engineer"):
        return redirect("/label/")
    return render(request, "calibration/overview.html", {})
