"""A customer's journey as a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from calibration import journey_measures, journeys
from labeling.access import person, role_required


@role_required("reviewer")
def journey(request: HttpRequest, customer: str) -> HttpResponse:
    """Contacts, surveys and events in order; answers to questions that the reader may still be asked stay hidden."""
    told = journeys.read(customer=customer, reader=person(request))
    return render(request, "calibration/journey.html", {"journey": told})


@role_required("reviewer")
def cohorts(request: HttpRequest) -> HttpResponse:
    """What the way to a resolution costs, by cohort, and the longest ways to read."""
    context = {"report": journey_measures.read(), "longest": journey_measures.longest_ways()}
    return render(request, "calibration/journeys.html", context)
