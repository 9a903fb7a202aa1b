"""The inbox of drift flags, a flag with its recalibration, and what people do with both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from calibration import slices
from calibration.drift import causes, choosing, flag_words, flags, monitoring, recalibration
from calibration.models import DriftFlag, Monitor, Recalibration
from calibration.moves.periods import Days
from labeling import queues as queue_verbs
from labeling.access import person, role_required
from labeling.errors import Refused
from labeling.models import User
from labeling.sampling import people_named

GUARANTEE = "false alarms on at most 5 % of unchanged streams a year, however often one looks"
MOST_QUIET = 12
LEAST_DAYS, MOST_DAYS = 7, 31


@role_required("engineer")
@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """Active flags, then what is watched besides; snoozed and closed flags on demand."""
    now = timezone.now()
    active = flags.active()
    shown = [flag for flag in active if flag.snoozed_until is None or flag.snoozed_until <= now]
    led = causes.led(shown)
    monitors = list(Monitor.objects.filter(enabled=True).select_related("classifier"))
    watched = [stream for monitor in monitors for stream in monitor.streams]
    context = {
        "sentence": flag_words.inbox(shown, watched=len(monitors), following=len(shown) - len(led)),
        "rows": _rows(led),
        "snoozed": [flag_words.row(flag) for flag in active if flag not in shown],
        "closed": _rows(causes.led(_closed())) if request.GET.get("closed") else [],
        "monitors": len(monitors),
        "streams": len(watched),
        "guarantee": GUARANTEE,
        "evaluated_at": max((m.evaluated_at for m in monitors if m.evaluated_at), default=None),
        "quiet": _quiet(watched, active),
    }
    template = "calibration/_drift.html" if request.htmx else "calibration/drift.html"  # type: ignore[attr-defined]
    return render(request, template, context)


@role_required("engineer")
@require_POST
def look(request: HttpRequest) -> HttpResponse:
    """Evaluate the monitors now."""
    done = monitoring.evaluate(now=timezone.now())
    news = f"{len(done.raised)} new flag{'' if len(done.raised) == 1 else 's'}" if done.raised else "nothing new"
    messages.success(request, f"Looked at {done.streams} streams of {done.monitors} monitors: {news}.")
    return redirect("drift")


@role_required("engineer")
@require_safe
def flag_page(request: HttpRequest, flag_id: int) -> HttpResponse:
    return render(request, "calibration/flag.html", _flag_context(flags.get(flag_id)))


@role_required("engineer")
@require_POST
def change(request: HttpRequest, flag_id: int) -> HttpResponse:
    """One change of a flag, named by the button; htmx gets the line of the inbox anew, others the flag's page.

    What is refused is told there, beside what can be done instead.
    """
    flag, action = flags.get(flag_id), request.POST.get("action", "")
    if action not in CHANGES:
        raise Refused("unknown_action", f"{action!r} is not a change of a flag", field="action")
    try:
        told = CHANGES[action](flag, request)
    except Refused as refused:
        if request.htmx:  # type: ignore[attr-defined]
            raise
        context = _flag_context(flags.get(flag_id)) | {"refused": refused.message}
        return render(request, "calibration/flag.html", context, status=refused.status)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "calibration/_flag_row.html", {"row": _row(flags.get(flag_id)), "told": told})
    messages.success(request, told)
    return redirect("flag", flag_id)


def _acknowledge(flag: DriftFlag, request: HttpRequest) -> str:
    flags.acknowledge(flag=flag, by=person(request), note=request.POST.get("note", ""))
    return "Acknowledged."


def _dismiss(flag: DriftFlag, request: HttpRequest) -> str:
    flags.dismiss(flag=flag, by=person(request), reason=request.POST.get("reason", ""))
    return "Dismissed: only new evidence raises it again."


def _snooze(flag: DriftFlag, request: HttpRequest) -> str:
    now, asked = timezone.now(), request.POST.get("until", "")
    try:
        until = datetime.combine(date.fromisoformat(asked), time(), UTC) if asked else now + timedelta(days=7)
    except ValueError as error:
        raise Refused("bad_day", f"{asked!r} is not a day like 2026-03-31", field="until") from error
    flags.snooze(flag=flag, until=until, by=person(request), now=now)
    return f"Out of the inbox until {until:%-d %B %Y}."


def _resolve(flag: DriftFlag, request: HttpRequest) -> str:
    asked = request.POST.getlist("following")
    if not all(one.isdecimal() for one in asked):
        raise Refused("bad_flag", "a flag that follows is named by its number", field="following")
    note, following = request.POST.get("note", ""), [int(one) for one in asked]
    flags.resolve(flag=flag, by=person(request), note=note, following=following)
    return f"Resolved, and {len(following)} that followed from it." if following else "Resolved."


def _assign(flag: DriftFlag, request: HttpRequest) -> str:
    chosen = people_named([request.POST.get("person", "")])[0]
    flags.assign(flag=flag, to=chosen, by=person(request))
    return f"{chosen.username} looks after it."


def _recalibrate(flag: DriftFlag, request: HttpRequest) -> str:
    asked = choosing.read(request.POST.getlist("slice"))
    if not asked and "choosing" in request.POST:
        raise Refused("no_slice", "choose at least one slice", field="slice")
    row = recalibration.open_for(flag=flag, by=person(request), slices=asked)
    return f"The top-up queue {row.queue.slug if row.queue else ''} is open."


STEPS_DONE = {
    "fit": "Frozen and fitted.",
    "choose": "Frozen and chosen.",
    "more": "Back to the labels.",
    "validate": "Validated: it passed.",
    "promote": "Promoted.",
    "abandon": "The recalibration is given up; the flag is still open.",
}


def _step(name: str) -> Callable[[DriftFlag, HttpRequest], str]:
    def act(flag: DriftFlag, request: HttpRequest) -> str:
        row = recalibration.step(
            flag=flag,
            recalibration=recalibration.of(flag),
            step=name,
            by=person(request),
            now=timezone.now(),
            reason=request.POST.get("reason", ""),
            version=request.POST.get("version", ""),
            size=_items(request.POST.get("size", "")),
        )
        if name == "validate" and flag_words.failed(row):
            return f"Validated: it did not pass, {'; '.join(flag_words.failed(row))}."
        return STEPS_DONE[name]

    return act


def _items(asked: str) -> int | None:
    if not asked:
        return None
    if not asked.isdecimal():
        raise Refused("bad_size", f"{asked!r} is not a number of items", field="size")
    return int(asked)


CHANGES: dict[str, Callable[[DriftFlag, HttpRequest], str]] = {
    "acknowledge": _acknowledge,
    "dismiss": _dismiss,
    "snooze": _snooze,
    "resolve": _resolve,
    "assign": _assign,
    "recalibrate": _recalibrate,
    **{name: _step(name) for name in STEPS_DONE},
}


def _flag_context(flag: DriftFlag) -> dict[str, Any]:
    row = recalibration.of(flag)
    ended = recalibration.given_up(flag)
    progress = queue_verbs.progress([one.queue for one in (row, *ended) if one and one.queue])
    consequences = [(other, slices.words(other.slice)) for other in causes.consequences(flag)]
    people = User.objects.filter(is_active=True, role__in=["engineer", "admin"]).order_by("username")
    return {
        "flag": flag,
        "row": flag_words.row(flag),
        "sentence": flag_words.sentence(flag),
        "events": flag.events.select_related("actor"),
        "recalibration": row,
        "steps": _steps(flag, row, progress),
        "failed": flag_words.failed(row),
        "given_up": [(one, _steps(flag, one, progress)) for one in ended],
        "more": recalibration.MORE,
        "people": people,
        "offers": [] if row or flag.state not in DriftFlag.ACTIVE else choosing.offered(flag),
        "others": recalibration.others(row) if row else [],
        "seen": flag_words.seen(flag.evidence),
        "causes": causes.of(flag),
        "consequences": consequences,
        "ending_with_it": [(other, place) for other, place in consequences if other.state in ("open", "acknowledged")],
        "active": flag.state in DriftFlag.ACTIVE,
        "where": slices.words(flag.slice),
        "moved": _what_moved(flag),
    }


def _steps(flag: DriftFlag, row: Recalibration | None, progress: Mapping[int, Any]) -> list[dict[str, Any]]:
    return flag_words.steps(flag, row, progress[row.queue.id] if row and row.queue else None)


def _what_moved(flag: DriftFlag) -> str:
    """The page that tells customers and classifier apart, for the days since the change against as many before it."""
    if flag.kind in (DriftFlag.Kind.ASR, DriftFlag.Kind.HUMAN, DriftFlag.Kind.EXPIRED) or flag.since is None:
        return ""
    last = flag.raised_at.date() - timedelta(days=1)
    length = max(LEAST_DAYS, min((last - flag.since).days + 1, MOST_DAYS))
    after = Days(flag.since, flag.since + timedelta(days=length - 1))
    before = Days(flag.since - timedelta(days=length), flag.since - timedelta(days=1))
    classifier = flag.version.classifier
    query = {"from": str(before), "to": str(after), "classifier": classifier.slug}
    query |= {"value": flag.severity["category"]} if flag.severity.get("category") else {}
    return f"{reverse('moved', args=[classifier.signal.slug])}?{urlencode(query)}"


def _rows(led: list[tuple[DriftFlag, list[DriftFlag]]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    return [(_row(flag), [flag_words.row(other) for other in others]) for flag, others in led]


def _row(flag: DriftFlag) -> dict[str, Any]:
    """A line with what the flag may follow from, where that leads no line of the same list: it has been mended, say."""
    return flag_words.row(flag) | {"cause": next(iter(causes.of(flag)), None)}


def _closed() -> list[DriftFlag]:
    rows = DriftFlag.objects.exclude(state__in=DriftFlag.ACTIVE)
    return list(rows.select_related("version__classifier", "assigned_to").prefetch_related("recalibrations")[:50])


def _quiet(watched: list[dict[str, Any]], active: list[DriftFlag]) -> list[dict[str, Any]]:
    """What is watched and calm, the least calm first."""
    flagged = {(flag.kind, str(flag.version), slices.key(flag.slice)) for flag in active}
    calm = [
        stream
        for stream in watched
        if stream.get("e_values")
        and stream["e_value"] < stream["alarm_at"]  # what a coarser slice’s flag speaks for is not calm
        and (stream["kind"], stream["version"], slices.key(stream["slice"])) not in flagged
    ]
    ranked = sorted(calm, key=lambda stream: -stream["e_value"] / stream["alarm_at"])
    return [
        stream
        | {
            "words": slices.words(stream["slice"]),
            "seen": flag_words.seen(stream),
            "watched": flag_words.watched(stream),
        }
        for stream in ranked[:MOST_QUIET]
    ]
