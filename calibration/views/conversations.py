"""Conversations as pages: a list with filters, and the whole trace of one."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST

from calibration import browsing, chains, reading
from labeling import privacy
from labeling.access import person, role_required
from labeling.models import Conversation
from labeling.personal import Mask


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
    return _page(request, found, privacy.in_force())


@role_required("reviewer")
@require_POST
def original(request: HttpRequest, external_id: str) -> HttpResponse:
    """The same page with nothing masked, for those who may; that they read it is kept."""
    found = get_object_or_404(Conversation, external_id=external_id)
    privacy.record_reading(reader=person(request), what=f"conversation {external_id}", via="page")
    return _page(request, found, privacy.NOTHING)


def _page(request: HttpRequest, conversation: Conversation, mask: Mask) -> HttpResponse:
    told = reading.read(conversation=conversation, reader=person(request), mask=mask)
    # Spans carry answers as they came: they are shown only where none is hidden.
    chain = None if told.asked else chains.of_conversation(conversation.external_id, mask=mask)
    context = {
        "told": told,
        "conversation": privacy.shown(conversation, mask),
        "chain": chain,
    }
    masking = privacy.told(mask, reader=person(request))
    return render(request, "calibration/conversation.html", context | masking)
