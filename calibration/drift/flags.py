"""What people do with a flag: acknowledge, assign, snooze, dismiss, resolve. Each change of state is an event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from calibration.drift import causes, flag_words
from calibration.models import Classifier, DriftFlag, FlagEvent
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import User
from labeling.notices import announcing

State = DriftFlag.State
STANDING = (State.OPEN, State.ACKNOWLEDGED)
"""Active, and nobody recalibrates it."""


def get(flag_id: int) -> DriftFlag:
    """A flag with what every page of it needs; raises NotFound."""
    flags = DriftFlag.objects.select_related("version__classifier__signal", "assigned_to")
    flag = flags.filter(id=flag_id).first()
    if flag is None:
        raise NotFound("unknown_flag", f"there is no drift flag {flag_id}")
    return flag


def classifier_named(slug: str) -> Classifier:
    """A classifier by its slug; raises NotFound naming it."""
    found = Classifier.objects.select_related("signal").filter(slug=slug).first()
    if found is None:
        raise NotFound("unknown_classifier", f"there is no classifier {slug!r}", field="classifier")
    return found


def active(*, classifier: Classifier | None = None) -> list[DriftFlag]:
    """Open, acknowledged and recalibrating flags, newest first."""
    flags = DriftFlag.objects.select_related("version__classifier__signal", "assigned_to").prefetch_related(
        "recalibrations"
    )
    flags = flags.filter(state__in=DriftFlag.ACTIVE)
    return list(flags.filter(version__classifier=classifier) if classifier else flags)


def document(flag: DriftFlag) -> dict[str, Any]:
    """A flag in the contract's form."""
    return {
        "id": flag.id,
        "kind": flag.kind,
        "classifier": flag.version.classifier.slug,
        "version": flag.version.version,
        "slice": flag.slice,
        "since": flag.since.isoformat() if flag.since else None,
        "raised_at": flag.raised_at.isoformat(),
        "evidence": flag.evidence,
        "severity": flag.severity,
        "state": flag.state,
        "guarantee": flag.guarantee,
        "assigned_to": flag.assigned_to.username if flag.assigned_to else None,
        "snoozed_until": flag.snoozed_until.isoformat() if flag.snoozed_until else None,
    }


def history(flag: DriftFlag) -> list[dict[str, Any]]:
    """Who did what, in order."""
    return [
        {
            "action": event.action,
            "by": event.actor.username if event.actor else None,
            "note": event.note,
            "at": event.at.isoformat(),
        }
        for event in flag.events.select_related("actor")
    ]


def acknowledge(*, flag: DriftFlag, by: User | None, note: str = "") -> DriftFlag:
    """Somebody has seen it and will act; again by anybody changes nothing."""
    return move(flag=flag, to=State.ACKNOWLEDGED, allowed=[State.OPEN], action="acknowledged", by=by, note=note)


def dismiss(*, flag: DriftFlag, by: User | None, reason: str) -> DriftFlag:
    """It is no problem, and why; only new evidence can raise it again. Refused while somebody recalibrates it."""
    reason = reason.strip()
    if not reason:
        raise Refused("no_reason", "say why the flag is dismissed", field="reason")
    return move(flag=flag, to=State.DISMISSED, allowed=STANDING, action="dismissed", by=by, note=reason)


@transaction.atomic
def resolve(*, flag: DriftFlag, by: User | None, note: str, following: Collection[int] = ()) -> DriftFlag:
    """What it told of has been mended, and how; with it, by their numbers, flags that may follow from it.

    Refused while somebody recalibrates it: that resolves it at its end, or is given up first.
    """
    note = note.strip()
    if not note:
        raise Refused("no_note", "say how it was mended", field="note")
    may_follow = {other.id: other for other in causes.consequences(flag)}
    for number in sorted(following):
        if number not in may_follow:
            raise Refused("does_not_follow", f"flag {number} does not follow from flag {flag.id}", field="following")
        with_it = f"with flag {flag.id}: {note}"
        move(flag=may_follow[number], to=State.RESOLVED, allowed=STANDING, action="resolved", by=by, note=with_it)
    return move(flag=flag, to=State.RESOLVED, allowed=STANDING, action="resolved", by=by, note=note)


@transaction.atomic
def assign(*, flag: DriftFlag, to: User, by: User | None) -> DriftFlag:
    """Somebody's to look after; refused for people who cannot act on it."""
    if not to.may("engineer"):
        raise Refused("not_an_engineer", f"{to.username} cannot act on flags", field="person")
    if flag.assigned_to_id != to.id:
        DriftFlag.objects.filter(id=flag.id).update(assigned_to=to)
        FlagEvent.objects.create(flag=flag, actor=by, action="assigned", note=to.username)
    return get(flag.id)


@transaction.atomic
def snooze(*, flag: DriftFlag, until: datetime, by: User | None, now: datetime) -> DriftFlag:
    """Out of the inbox until then; it stays active."""
    if until <= now:
        raise Refused("in_the_past", "a flag can be snoozed until a later time only", field="until")
    if DriftFlag.objects.filter(id=flag.id, state__in=DriftFlag.ACTIVE).update(snoozed_until=until):
        FlagEvent.objects.create(flag=flag, actor=by, action="snoozed", note=f"until {until:%Y-%m-%d %H:%M}")
        return get(flag.id)
    raise _moved_on(flag, "snoozed")


@transaction.atomic
def move(
    *, flag: DriftFlag, to: str, allowed: Sequence[str], action: str, by: User | None, note: str = ""
) -> DriftFlag:
    """One conditional update; the row count says whether the flag was still where it could move from.

    A flag that is there already is left alone, whoever moved it.
    """
    moved = DriftFlag.objects.filter(id=flag.id, state__in=allowed).update(state=to, snoozed_until=None)
    if not moved:
        found = get(flag.id)
        if found.state != to:
            raise _moved_on(flag, action)
        return found
    FlagEvent.objects.create(flag=flag, actor=by, action=action, note=note)
    moved_flag = get(flag.id)
    if to in (State.RESOLVED, State.DISMISSED):
        announce(moved_flag, announcing.Event.FLAG_RESOLVED)
    return moved_flag


def announce(flag: DriftFlag, event: str) -> None:
    """Tell whoever asked for it that a flag was opened, resolved or dismissed."""
    did = "is raised" if event == announcing.Event.FLAG_OPENED else f"is {flag.state}"
    announcing.announce(
        event=event,
        key=str(flag.id),
        sentence=f"A flag {did}: {flag_words.sentence(flag)} {flag.version}",
        address=f"/drift/{flag.id}/",
        flag=flag.id,
        kind=flag.kind,
        classifier=flag.version.classifier.slug,
        version=flag.version.version,
        slice=flag.slice,
        since=flag.since.isoformat() if flag.since else None,
        severity=flag.severity,
        state=flag.state,
    )


def note(*, flag: DriftFlag, action: str, by: User | None, text: str) -> None:
    """Something worth remembering happened to the flag, its state unchanged."""
    FlagEvent.objects.create(flag=flag, actor=by, action=action, note=text)


def _moved_on(flag: DriftFlag, action: str) -> Conflict:
    state = DriftFlag.objects.values_list("state", flat=True).get(id=flag.id)
    if state == State.RECALIBRATING:
        why = f"flag {flag.id} is being recalibrated: give the recalibration up before it is {action}"
        return Conflict("flag_recalibrating", why)
    return Conflict("flag_moved_on", f"the flag is {state}: it cannot be {action} any more")
