"""The canaries of a classifier: each version with its state, its rounds, and what changed; and the buttons for them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from calibration import classifiers
from calibration.drift import canaries, canary_watch
from calibration.models import CanaryAnswer, CanarySet, Classifier, ClassifierVersion
from labeling import blindness
from labeling.access import person, role_required
from labeling.errors import Refused
from labeling.models import User
from labeling.values import Scale

MOST_CHANGED = 60
MOST_ROUNDS = 52


@role_required("engineer")
@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """Versions with canaries, the newest first, one of them in full."""
    classifier = get_object_or_404(Classifier.objects.select_related("signal"), slug=slug, signal__measured=False)
    versions = list(classifier.versions.select_related("classifier__signal").order_by("-created_at", "-id"))
    sets = {
        found.version_id: found for found in CanarySet.objects.filter(version__in=versions, retired_at__isnull=True)
    }
    asked = request.GET.get("version")
    chosen = next((one for one in versions if one.version == asked), None) if asked else None
    chosen = chosen or next((one for one in versions if one.id in sets), versions[0] if versions else None)
    context: dict[str, Any] = {
        "classifier": classifier,
        "versions": [{"version": one, "pinned": one.id in sets} for one in versions],
        "version": chosen,
        "size": canaries.SIZE,
    }
    if chosen is not None:
        context |= {"can_run": canaries.can_run(chosen)} | _shown(sets.get(chosen.id), chosen, person(request))
    return render(request, "calibration/canaries.html", context)


@role_required("engineer")
@require_POST
def change(request: HttpRequest, slug: str) -> HttpResponse:
    """Pin, renew, score or retire, named by the button."""
    version = classifiers.version_named(f"{slug}@{request.POST.get('version', '')}")
    action, now = request.POST.get("action", ""), timezone.now()
    if action in ("pin", "renew"):
        size, every = (_number(request, name) for name in ("size", "every_days"))
        canaries.pin(version=version, now=now, size=size, every_days=every, renew=action == "renew", by=person(request))
        told = (
            "The canaries are chosen." if action == "pin" else "What the version says now is what it is held against."
        )
    elif action == "score":
        row = canaries.open_round(canary_set=canaries.in_use(version), now=now)
        told = f"Round {row.number} is being scored."
    elif action == "retire":
        canaries.retire(canary_set=canaries.in_use(version), now=now)
        told = "These canaries are asked no longer."
    else:
        raise Refused("unknown_action", f"{action!r} cannot be done with canaries", field="action")
    messages.success(request, told)
    address = redirect("canaries", slug)
    address["Location"] += f"?version={version.version}"
    return address


def _number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    if not text.isdigit():
        raise Refused("no_number", f"{text!r} is no number", field=name)
    return int(text)


def _shown(found: CanarySet | None, version: ClassifierVersion, reader: User) -> dict[str, Any]:
    """The set's state, its rounds and the newest changed answers; `sentence` says how it stands."""
    if found is None:
        return {"canary_set": None, "sentence": f"{version} has no canaries yet."}
    found.version = version
    state = canary_watch.state(found)
    rounds = list(found.rounds.order_by("-number")[:MOST_ROUNDS])
    watched = state["watched"]
    return {
        "canary_set": found,
        "state": state,
        "sentence": canary_watch.sentence(found, state),
        "rounds": [{"round": row, "pinning": row.number <= canaries.PINNING} for row in rounds],
        "series": list(watched.e_values) if watched else [],
        "alarm_at": watched.alarm_at if watched else None,
        "changed": _changed(found, state["last"], reader) if state["last"] else [],
    }


def _changed(found: CanarySet, last: Any, reader: User) -> list[dict[str, Any]]:
    """Canaries that the newest round answers unlike the first; answers are hidden from who may still label the unit."""
    signal = found.version.classifier.signal
    scale, width = Scale.of(signal), canaries.width_of(signal, found)
    first = CanaryAnswer.objects.filter(round__canary_set=found, round__number=1)
    pinned = {answer.canary_id: answer for answer in first}
    said = last.said.select_related("canary__conversation").order_by("canary__position")
    moved = [a for a in said if a.canary_id in pinned and canaries.moved(scale, width, pinned[a.canary_id], a)]
    moved = moved[:MOST_CHANGED]
    closed = blindness.open_questions(reader=reader, conversations=[a.canary.conversation_id for a in moved])
    return [
        {
            "conversation": answer.canary.conversation,
            "turn": answer.canary.turn,
            "hidden": (answer.canary.conversation_id, signal.id) in closed,
            "was": canary_watch.words_of(pinned[answer.canary_id]),
            "now": canary_watch.words_of(answer),
        }
        for answer in moved
    ]
