"""Traces as pages: what waits or failed, and the steps of one trace."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from calibration import chains, tracing
from calibration.models import Span
from labeling import blindness, privacy
from labeling.access import person, role_required
from labeling.models import Conversation
from labeling.personal import Mask


@role_required("engineer")
def traces(request: HttpRequest) -> HttpResponse:
    """Requests that wait or failed, and traces in which nothing was said."""
    return render(request, "calibration/traces.html", {"inbox": tracing.inbox(mask=privacy.in_force())})


@require_POST
@role_required("engineer")
def retry(request: HttpRequest) -> HttpResponse:
    """Take every failed request once more; a task works them off."""
    count = tracing.retry_failed()
    messages.success(request, f"{count} request{'' if count == 1 else 's'} will be worked off again.")
    return redirect("traces")


@role_required("engineer")
def trace(request: HttpRequest, trace_id: str) -> HttpResponse:
    """One trace step by step, masked where the workspace says so."""
    return _page(request, trace_id, privacy.in_force())


@require_POST
@role_required("engineer")
def original(request: HttpRequest, trace_id: str) -> HttpResponse:
    """The same page with nothing masked, for those who may; that they read it is kept."""
    return _page(request, trace_id, privacy.NOTHING)


def _page(request: HttpRequest, trace_id: str, mask: Mask) -> HttpResponse:
    """Hidden while its reader may still label the conversation that it is part of."""
    first = Span.objects.filter(trace_id=trace_id).first()
    if first is None:
        raise Http404("no such trace")
    home = Conversation.objects.filter(external_id=first.conversation_key).first()
    if home is not None and blindness.open_questions(reader=person(request), conversations=[home.id]):
        return redirect("conversation", home.external_id)
    masking = privacy.told(mask, reader=person(request))
    if masking["original"]:
        privacy.record_reading(reader=person(request), what=f"trace {trace_id}", via="page")
    context = {
        "chain": chains.of_trace(trace_id, mask=mask),
        "trace_id": trace_id,
        "home": home.external_id if home else "",
    }
    return render(request, "calibration/trace.html", context | masking)
