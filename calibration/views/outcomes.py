"""Verified outcomes as a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from calibration import outcome_reports
from labeling.access import role_required


@role_required("engineer")
def outcomes(request: HttpRequest) -> HttpResponse:
    """Surveys and events per channel and cohort, and the CSAT proxy beside them."""
    since, until = (outcome_reports.day(request.GET.get(name), name) for name in ("since", "until"))
    report = outcome_reports.read(since=since, until=until)
    return render(request, "calibration/outcomes.html", {"report": report, "filters": request.GET.dict()})
