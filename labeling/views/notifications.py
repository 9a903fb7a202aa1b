"""Settings of notifications: webhooks and mail addresses, what each is told of, and the log of each."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from labeling.access import person, role_required
from labeling.errors import Refused
from labeling.models import Delivery, Subscription
from labeling.notices import delivering

MOST_DELIVERIES = 100


@role_required("admin")
def index(request: HttpRequest) -> HttpResponse:
    """Everybody who is told; POST adds one and shows a webhook's secret, this once."""
    context: dict[str, Any] = {}
    status = 200
    if request.method == "POST":
        try:
            made = delivering.subscribe(
                kind=request.POST.get("kind", ""),
                target=request.POST.get("target", "").strip(),
                events=request.POST.getlist("event"),
                by=person(request),
            )
            context["made"] = made
        except Refused as refused:
            given = {"kind": request.POST.get("kind"), "target": request.POST.get("target", "")}
            context, status = (
                {"refused": refused, "given": given | {"events": request.POST.getlist("event")}},
                refused.status,
            )
    waiting = Count("deliveries", filter=Q(deliveries__state=Delivery.State.WAITING))
    failed = Count("deliveries", filter=Q(deliveries__state=Delivery.State.GIVEN_UP))
    context |= {
        "subscriptions": Subscription.objects.annotate(waiting=waiting, failed=failed),
        "events": Subscription.Event.choices,
        "private": settings.WEBHOOKS_PRIVATE,
        "mail_to_files": "filebased" in settings.EMAIL_BACKEND,
    }
    return render(request, "labeling/settings_notifications.html", context, status=status)


@role_required("admin")
@require_safe
def one(request: HttpRequest, number: int) -> HttpResponse:
    """One subscription with its log."""
    return _page(request, get_object_or_404(Subscription, id=number))


@role_required("admin")
@require_POST
def change(request: HttpRequest, number: int) -> HttpResponse:
    """What its buttons do."""
    found, action = get_object_or_404(Subscription, id=number), request.POST.get("action", "")
    if action == "remove":
        found.delete()
        messages.success(request, f"{found.target} is told no longer.")
        return redirect("settings-notifications")
    if action == "rotate":
        made = delivering.rotate(subscription=found, now=timezone.now())
        return _page(request, made, {"made": made})
    if action == "test":
        delivering.test(subscription=found)
        told = "A test is on its way: its outcome appears in the log."
    elif action == "events":
        delivering.change(subscription=found, events=request.POST.getlist("event"))
        told = "The events are stored."
    elif action in ("pause", "resume"):
        delivering.change(subscription=found, active=action == "resume")
        told = "It is told again." if action == "resume" else "It is told nothing until it is resumed."
    elif action == "again":
        row = get_object_or_404(found.deliveries, id=request.POST.get("delivery", "0") or "0")
        delivering.again(delivery=row, now=timezone.now())
        told = "It is sent once more."
    else:
        raise Refused("unknown_action", f"{action!r} cannot be done here", field="action")
    messages.success(request, told)
    return redirect("settings-notification", number)


def _page(request: HttpRequest, found: Subscription, more: dict[str, Any] | None = None) -> HttpResponse:
    rows = found.deliveries.select_related("notice")[:MOST_DELIVERIES]
    context: dict[str, Any] = {"one": found, "deliveries": rows, "events": Subscription.Event.choices}
    context |= {"count": found.deliveries.count(), "delivered": found.deliveries.filter(state="delivered").count()}
    return render(request, "labeling/settings_notification.html", context | (more or {}))
