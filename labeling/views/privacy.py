"""Settings of personal data: what is masked, who may read the original, and who did."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from labeling import personal, privacy
from labeling.access import person, role_required
from labeling.errors import Refused
from labeling.models import OriginalReading, User

SHOWN = 100
KINDS = (
    ("email", "E-mail addresses"),
    ("phone", "Phone numbers"),
    ("card", "Payment card numbers"),
    ("iban", "IBANs"),
)


@role_required("admin")
def index(request: HttpRequest) -> HttpResponse:
    """The choice as a form, the last readings of originals below it."""
    refused = None
    if request.method == "POST":
        try:
            privacy.change(
                masks=request.POST.getlist("mask"),
                region=request.POST.get("region", ""),
                originals_role=request.POST.get("originals_role", ""),
                by=person(request),
            )
        except Refused as error:
            refused = error
        else:
            messages.success(request, "What is masked is changed.")
            return redirect("settings-privacy")
    context = {
        "setting": privacy.setting(),
        "kinds": KINDS,
        "roles": User.Role.choices,
        "regions": personal.REGIONS,
        "readings": OriginalReading.objects.select_related("reader")[:SHOWN],
        "refused": refused,
    }
    return render(request, "labeling/settings_privacy.html", context, status=refused.status if refused else 200)
