"""A person's own evidence as a page: for themselves and for engineers; there is no list of people beside each other."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from calibration import annotators
from calibration.annotators import Evidence, SignalEvidence
from labeling import access


@login_required
@require_safe
def myself(request: HttpRequest) -> HttpResponse:
    return redirect("person", access.person(request).username)


@login_required
@require_safe
def one(request: HttpRequest, name: str) -> HttpResponse:
    reader = access.person(request)
    found = annotators.read(person=access.person_to_read(reader, name), reader=reader, now=timezone.now())
    own = reader.id == found.person.id
    context: dict[str, Any] = {
        "found": found,
        "own": own,
        "sentence": sentence(found, own=own),
        "sections": [{"evidence": one, "rows": rows(one)} for one in found.signals],
        "labels": sum(one.labels for one in found.signals),
    }
    return render(request, "calibration/person.html", context)


def sentence(found: Evidence, *, own: bool) -> str:
    """What the reader came for: how steady the answers are, of the signal with most repeats."""
    who, give = ("You", "give") if own else (found.person.username, "gives")
    if not found.signals:
        return f"{who} {'have' if own else 'has'} not labelled anything yet."
    most = max(found.signals, key=lambda one: (one.repeats.n, one.labels))
    if most.repeats.value is None:
        return f"{who} {'have' if own else 'has'} {sum(one.labels for one in found.signals):,} labels; nothing was asked twice yet."
    again = f"{100 * most.repeats.value:.0f} % of the items that came again"
    return f"{who} {give} the same answer to {again} ({most.signal.title})."


def rows(one: SignalEvidence) -> list[dict[str, Any]]:
    """The figures of a signal in the order in which one reads them; what there is nothing of is left out."""
    steady = "kappa" if one.signal.is_categorical else "alpha"
    told = [
        ("Same answer again", "of items that came again, unmarked, after a while", one.repeats, True),
        (f"Test–retest, {steady}", "the same beyond chance", one.retest, False),
        (
            "Right, if slips are by chance",
            "what the repeats imply; a guideline misread every time does not show",
            one.implied,
            True,
        ),
        ("As the gold says", "of gold checks", one.known, True),
        ("As was ruled", "only items on which people differed are ruled on: a hard choice of items", one.rulings, True),
    ]
    return [
        {"name": name, "about": about, "found": annotators.told(found) | {"n": found.n}, "share": share}
        for name, about, found, share in told
        if found.value is not None
    ]
