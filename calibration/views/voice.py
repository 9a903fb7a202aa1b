"""What machines mishear, as a page."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from calibration import confidence, hearing
from calibration import voice as transcriptions
from labeling.access import role_required


@role_required("engineer")
def voice(request: HttpRequest) -> HttpResponse:
    """Error rates per recogniser and slice, the words most often wrong, and what mishearing costs the classifiers."""
    found = hearing.read()
    context = {"report": transcriptions.cached(), "hearing": found, "consequence": hearing.sentence(found)}
    context["confidence"] = confidence.read()
    return render(request, "calibration/voice.html", context)


@require_POST
@role_required("engineer")
def measure(request: HttpRequest) -> HttpResponse:
    """Count the errors of calls that wait now, instead of at the scheduler's next turn."""
    done = transcriptions.measure()
    messages.success(request, f"{done:,} call{'' if done == 1 else 's'} measured.")
    return redirect("voice")
