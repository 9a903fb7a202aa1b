"""A customer's journey as a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from calibration import journeys
from labeling.access import person, role_required


@role_required("reviewer")
def journey(request: HttpRequest, customer: str) -> HttpResponse:
    """Contacts, surveys and events in order; answers to questions that the reader may still be asked stay hidden."""
    told = journeys.read(customer=customer, reader=person(request))
    return render(request, "calibration/journey.html", {"journey": told})
