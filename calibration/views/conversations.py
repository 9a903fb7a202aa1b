"""Conversations as pages: a list with filters, and the whole trace of one."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from calibration import browsing, chains, reading
from labeling.access import person, role_required
from labeling.models import Conversation


@role_required("reviewer")
def conversations(request: HttpRequest) -> HttpResponse:
    """The newest first, filtered; a page begins where the one before it ended."""
    found = browsing.read(query=request.GET.dict())
    following = urlencode({**request.GET.dict(), "before": found.next_cursor}) if found.next_cursor else ""
    context = {"found": found, "following": following, "filters": request.GET.dict()}
    context["traced"] = person(request).may("engineer")
    template = (
        "calibration/_conversations.html" if getattr(request, "htmx", False) else "calibration/conversations.html"
    )
    return render(request, template, context)


@role_required("reviewer")
def conversation(request: HttpRequest, external_id: str) -> HttpResponse:
    """One conversation; answers to questions that the reader may still be asked stay hidden."""
    found = get_object_or_404(Conversation, external_id=external_id)
    told = reading.read(conversation=found, reader=person(request))
    # Spans may carry answers: they are shown only where none is hidden.
    chain = None if told.asked else chains.of_conversation(external_id)
    return render(request, "calibration/conversation.html", {"told": told, "conversation": found, "chain": chain})
