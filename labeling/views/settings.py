"""Settings: signals and their guidelines, people, one's own tokens and password."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from labeling import access, guidelines, people, tokens
from labeling import signals as verbs
from labeling.access import person, role_required
from labeling.errors import Refused
from labeling.forms import SignalForm
from labeling.models import ApiToken, Signal, User


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return redirect("settings-signals" if person(request).may("reviewer") else "settings-profile")


@role_required("reviewer")
@require_safe
def signals(request: HttpRequest) -> HttpResponse:
    judged = Signal.objects.filter(measured=False).prefetch_related("categories")
    rows = judged.annotate(newest=Max("guidelines__version")).order_by("slug")
    return render(request, "labeling/settings_signals.html", {"signals": rows})


@role_required("engineer")
def signal(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    """One signal as a form, or a new one. What the verb refuses stands beside the input at fault."""
    stored = None if slug is None else access.signal(slug)
    if request.method != "POST":
        form = SignalForm.of(stored)
        return render(request, "labeling/settings_signal.html", {"form": form, "signal": stored})
    form = SignalForm.posted(request.POST, slug=slug)
    try:
        document = form.document()
        verbs.apply(document=[document], by=person(request))
    except Refused as refused:
        form.refuse(refused)
        return render(request, "labeling/settings_signal.html", {"form": form, "signal": stored}, status=422)
    messages.success(request, f"{document['title']} is stored.")
    return redirect("settings-signals")


@role_required("engineer")
def signals_text(request: HttpRequest) -> HttpResponse:
    """Signals as YAML, pasted; errors name the entry and the field, and then nothing is changed."""
    text = request.POST.get("text", "")
    if request.method != "POST":
        return render(request, "labeling/settings_signals_text.html", {})
    try:
        done = verbs.apply(document=verbs.read(text), by=person(request))
    except Refused as refused:
        return render(request, "labeling/settings_signals_text.html", {"text": text, "refused": refused}, status=422)
    messages.success(
        request, f"{len(done.created)} created, {len(done.updated)} changed, {len(done.unchanged)} as they were."
    )
    return redirect("settings-signals")


@role_required("reviewer")
def guideline(request: HttpRequest, slug: str) -> HttpResponse:
    """The guideline's text, its history, and what changed between two versions (`?old=1&new=2`)."""
    of = access.signal(slug)
    if request.method == "POST":
        text, note = request.POST.get("text", ""), request.POST.get("note", "")
        made = guidelines.publish(signal=of, text=text, note=note, by=person(request))
        messages.success(request, f"The guideline is version {made.version}.")
        return redirect("settings-guideline", of.slug)
    # Grouping drops the order of the rows' own Meta.
    versions = list(of.guidelines.select_related("created_by").annotate(uses=Count("labels")).order_by("-version"))
    context: dict[str, Any] = {"signal": of, "versions": versions, "newest": versions[0] if versions else None}
    return render(request, "labeling/settings_guideline.html", context | _difference(request, versions))


def _difference(request: HttpRequest, versions: list[Any]) -> dict[str, Any]:
    by_number = {version.version: version for version in versions}
    numbers = [request.GET.get(name, "") for name in ("old", "new")]
    if not all(number.isdigit() for number in numbers):
        return {}
    old, new = (by_number.get(int(number)) for number in numbers)
    if old is None or new is None:
        raise Http404("There is no such version.")
    return {"old": old, "new": new, "difference": list(guidelines.difference(old.text, new.text))}


@role_required("admin")
def members(request: HttpRequest) -> HttpResponse:
    """Everybody; POST creates a person and shows a made-up password once."""
    context: dict[str, Any] = {}
    status = 200
    if request.method == "POST":
        try:
            name = request.POST.get("name", "").strip()
            if User.objects.filter(username=name, is_active=True).exists():
                raise Refused("name_taken", f"there is somebody called {name!r} already", field="name", status=409)
            context["made"] = people.register(
                username=name,
                role=request.POST.get("role", ""),
                password=_password(request.POST.get("password", "")),
            )
        except Refused as refused:
            context, status = {"refused": refused}, refused.status
    return _people_page(request, context, status)


def _people_page(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    rows = User.objects.annotate(label_count=Count("labels")).order_by("-is_active", "username")
    return render(
        request, "labeling/settings_people.html", context | {"people": rows, "roles": User.Role.choices}, status=status
    )


def _password(text: str) -> str | None:
    """A password that somebody chose for another; None to make one up."""
    for sentence in people.weaknesses(text) if text else []:
        raise Refused("weak_password", sentence, field="password")
    return text or None


@role_required("admin")
@require_POST
def change_member(request: HttpRequest, name: str) -> HttpResponse:
    """Another role, or the account put to sleep or woken."""
    user = get_object_or_404(User, username=name)
    action = request.POST.get("action")
    if action == "role":
        people.change_role(user=user, role=request.POST.get("role", ""))
        messages.success(request, f"{name} is {request.POST['role']} now.")
    elif action == "deactivate":
        people.deactivate(user=user, by=person(request))
        messages.success(request, f"{name} can no longer sign in.")
    elif action == "activate":
        return _people_page(request, {"made": people.activate(user=user)})
    else:
        raise Refused("unknown_action", f"{action!r} is not a change of a person", field="action")
    return redirect("settings-people")


@login_required
def own_tokens(request: HttpRequest) -> HttpResponse:
    """One's own tokens; POST makes one and shows its secret, this once."""
    user = person(request)
    context: dict[str, Any] = {}
    status = 200
    if request.method == "POST":
        try:
            days = request.POST.get("expires", "")
            token, secret = tokens.make(
                user=user,
                name=request.POST.get("name", "").strip()[:100] or "token",
                scopes=request.POST.getlist("scope"),
                expires_at=tokens.expiry(days, now=timezone.now()) if days else None,
            )
            context = {"made": token, "secret": secret}
        except Refused as refused:
            context, status = {"refused": refused}, refused.status
    rows = user.api_tokens.filter(revoked_at__isnull=True).order_by("-created_at")
    scopes = [scope for scope in ApiToken.Scope.values if scope in tokens.ROLE_SCOPES[user.role]]
    context |= {"tokens": rows, "scopes": scopes, "now": timezone.now()}
    return render(request, "labeling/settings_tokens.html", context, status=status)


@login_required
@require_POST
def revoke_token(request: HttpRequest, token: int) -> HttpResponse:
    tokens.revoke(token=get_object_or_404(person(request).api_tokens, id=token), now=timezone.now())
    messages.success(request, "The token no longer works.")
    return redirect("settings-tokens")


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """Who one is here, and one's password."""
    if request.method != "POST":
        return render(request, "labeling/settings_profile.html", {})
    user = person(request)
    try:
        new = request.POST.get("new", "")
        if new != request.POST.get("again", ""):
            raise Refused("not_the_same", "the new password and its repetition differ", field="again")
        people.change_password(user=user, old=request.POST.get("old", ""), new=new)
    except Refused as refused:
        return render(request, "labeling/settings_profile.html", {"refused": refused}, status=refused.status)
    update_session_auth_hash(request, user)
    messages.success(request, "The password is changed.")
    return redirect("settings-profile")
