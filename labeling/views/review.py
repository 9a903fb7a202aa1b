"""Adjudication: the queues with open disagreements, and one disagreement at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from labeling import access, adjudication, advice, aside, guidelines, privacy, requeueing
from labeling.access import person, role_required
from labeling.adjudication import Case, Disagreement, Scope, Unit
from labeling.advice import Advice
from labeling.errors import Refused
from labeling.models import WHOLE, Item, Queue, Ruling, Signal, Submission, User
from labeling.personal import Mask

ASIDE_SHOWN = 50
UNDO_DEPTH = 10
Act = Callable[[HttpRequest, Scope], HttpResponse]


def act(do: Act) -> Callable[..., HttpResponse]:
    """Something that a reviewer does on a review page. What is refused stands on that page, beside the item and what was
    typed: one who decides a hundred items is not led away from them."""

    @login_required
    @require_POST
    @wraps(do)
    def done(request: HttpRequest, kind: str, slug: str) -> HttpResponse:
        scope = _scope(request, kind, slug)
        try:
            return do(request, scope)
        except Refused as refused:
            return _page(request, _scope(request, kind, slug), refused=refused)

    return done


@role_required("reviewer")
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    rows = adjudication.overview()
    return render(request, "labeling/reviews.html", {"rows": rows, "open": sum(row.open for row in rows)})


@login_required
@require_safe
def queue(request: HttpRequest, slug: str) -> HttpResponse:
    return _page(request, _scope(request, "queue", slug))


@role_required("reviewer")
@require_safe
def signal(request: HttpRequest, slug: str) -> HttpResponse:
    return _page(request, _scope(request, "signal", slug))


def _scope(request: HttpRequest, kind: str, slug: str) -> Scope:
    return access.review_scope(person(request), kind, slug)


def _page(request: HttpRequest, scope: Scope, *, refused: Refused | None = None) -> HttpResponse:
    waiting = adjudication.disagreements(scope)
    asked = request.POST.get("unit") if refused else request.GET.get("unit")
    status = refused.status if refused else 200
    unit = adjudication.unit_from_key(asked or "")
    shown = adjudication.case(scope, unit) if unit else None
    if asked and shown is None and refused is None:
        raise Http404("There is no such unit.")
    if shown is None and waiting:
        shown = adjudication.case(scope, waiting[0].unit)
    advised = advice.of(scope, waiting)
    last = _last(request, scope)
    context: dict[str, Any] = {
        "scope": scope,
        "waiting": waiting,
        "open": len(waiting),
        "base": scope.address,
        "ties": len(advice.wanting(advised)),
        "outdated": requeueing.outdated(scope.queue) if scope.queue else [],
        "aside": aside.acts(scope.queue).count() if scope.queue else 0,
        "closed": scope.queue is not None and scope.queue.state == Queue.State.CLOSED,
        "keeps_queues": person(request).may("engineer"),
        "refused": refused,
        "last": last,
        "last_unit": last and Unit(last.conversation_id, last.turn, last.signal_id).key,
    }
    if shown is None:
        context["ruled"] = len(adjudication.disagreements(scope, ruled=True))
        return render(request, "labeling/review_done.html", context, status=status)
    unit = shown.unit
    typed = request.POST if refused else QueryDict()
    context |= _case(shown, scope) | _filled(shown, person(request), typed) | _neighbours(waiting, unit)
    if shown.item is not None and shown.ruling is None:
        context |= _asking(shown.item, advised.get(unit))
    return render(request, "labeling/review.html", context, status=status)


def _asking(item: Item, advised: Advice | None) -> dict[str, Any]:
    """Whether one more person can be asked for the item, and what speaks for or against it."""
    hindrance = advice.in_the_way(queue=item.queue, item=item)
    told = dict.fromkeys([advised.why if advised else "", hindrance])
    return {
        "advised": advised,
        "can_ask": not hindrance,
        "hints": [hint for hint in told if hint not in ("", advice.CLOSED)],
        "queue_closed": item.queue if hindrance == advice.CLOSED else None,
    }


def _filled(shown: Case, reviewer: User, typed: QueryDict) -> dict[str, Any]:
    """What stands in the forms: what was typed and refused, else the ruling to correct."""
    mended = {"text": typed.get("text"), "why": typed.get("note")} if "text" in typed else None
    filled: dict[str, Any]
    if ruling := shown.to_correct(reviewer):
        note = privacy.in_force().text(ruling.note)
        filled = {"chosen": _members(shown, ruling.value), "reason": ruling.reason, "note": note}
    else:
        last = Ruling.objects.filter(reviewer=reviewer).order_by("-id").values_list("reason", flat=True).first()
        filled = {"chosen": [], "reason": last or Ruling.Reason.SLIP, "note": ""}
    if "reason" in typed:
        chosen = typed.getlist("value") or filled["chosen"]
        filled = {"chosen": chosen, "reason": typed["reason"], "note": typed.get("note")}
    return filled | {"mended": mended}


def _case(shown: Case, scope: Scope) -> dict[str, Any]:
    """The unit for the page. Before the decision names are letters, where the queue says so, in the HTML too."""
    hidden = scope.hides_names and shown.ruling is None
    mask = privacy.in_force()
    conversation = privacy.shown(shown.conversation, mask)
    categories = list(shown.signal.categories.all())
    labels = {category.value: category.label for category in categories}
    counts: dict[str, int] = {}
    for label in shown.labels:
        if not label.late:
            for value in _members(shown, label.value):
                counts[value] = counts.get(value, 0) + 1
    choices = [
        {"value": c.value, "label": c.label, "key": c.key or str(c.position + 1)[-1:], "count": counts.get(c.value, 0)}
        for c in categories
    ]
    return {
        "case": shown,
        "conversation": conversation,
        "masked": bool(mask.kinds),
        "unit": shown.unit.key,
        "turn": None if shown.turn == WHOLE else shown.turn,
        "votes": _votes(shown, labels, hidden=hidden, mask=mask),
        "choices": choices,
        "sentence": _sentence(shown, labels, counts),
        "decided": answer_text(shown, shown.ruling.value, labels) if shown.ruling else None,
        "ruled_note": mask.text(shown.ruling.note) if shown.ruling else "",
        "earlier": [{"said": answer_text(shown, one.value, labels), "ruling": one} for one in shown.earlier],
        "reasons": Ruling.Reason.choices,
        "guideline": shown.signal.guidelines.first(),
    }


def _votes(shown: Case, labels: dict[str, str], *, hidden: bool, mask: Mask) -> list[dict[str, Any]]:
    """The answers side by side: each with who gave it and what they wrote, the most frequent first."""
    by_value: dict[str, list[dict[str, Any]]] = {}
    for number, label in enumerate(shown.labels):
        comment = mask.text(label.comment or (label.submission.comment if label.submission else ""))
        name = f"Annotator {_letters(number)}" if hidden else label.annotator.username
        by_value.setdefault(label.value, []).append({"name": name, "label": label, "comment": comment})
    answers = [{"said": answer_text(shown, value, labels), "by": votes} for value, votes in by_value.items()]
    return sorted(answers, key=lambda answer: -len(answer["by"]))


def _letters(number: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(65 + number % 26)


def _sentence(shown: Case, labels: dict[str, str], counts: dict[str, int]) -> str:
    """What the reviewer came for, in one line: who said what, or what was decided."""
    if shown.ruling is not None:
        return f"Decided: {answer_text(shown, shown.ruling.value, labels)}."
    told = sorted(counts.items(), key=lambda pair: -pair[1])
    return (
        "; ".join(f"{count} say{'s' if count == 1 else ''} {labels.get(value, value)}" for value, count in told) + "."
    )


def _members(shown: Case, value: str) -> list[str]:
    decoded = shown.scale.decode(value)
    return [str(member) for member in decoded] if isinstance(decoded, list) else [str(decoded)]


def answer_text(shown: Case, value: str, labels: dict[str, str]) -> str:
    """An answer as people read it."""
    return ", ".join(labels.get(member, member) for member in _members(shown, value)) or "none of them"


def _neighbours(waiting: list[Disagreement], unit: Unit) -> dict[str, Any]:
    keys = [one.key for one in waiting]
    place = keys.index(unit.key) if unit.key in keys else None
    after = (place + 1) if place is not None else 0
    return {
        "place": None if place is None else place + 1,
        "next": keys[after] if after < len(keys) else None,
        "previous": keys[place - 1] if place else None,
    }


def _posted(request: HttpRequest, scope: Scope) -> Case:
    unit = adjudication.unit_from_key(request.POST.get("unit", ""))
    shown = adjudication.case(scope, unit) if unit else None
    if shown is None:
        raise Http404("There is no such unit.")
    return shown


def _following(request: HttpRequest, scope: Scope) -> HttpResponse:
    """On to the item after the one that was acted on."""
    following = request.POST.get("next", "")
    return redirect(scope.address + (f"?unit={following}" if adjudication.unit_from_key(following) else ""))


@act
def decide(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Rule on a unit and go on to the next one."""
    shown = _posted(request, scope)
    note = request.POST.get("note", "").strip()
    if before := shown.to_correct(person(request)):
        note = privacy.in_force().unmasked(note, before.note)
    ruling = adjudication.rule(
        reviewer=person(request),
        signal=shown.signal,
        conversation=shown.conversation,
        turn=shown.turn,
        item=shown.item,
        value=_answer(request, shown.signal),
        reason=request.POST.get("reason", ""),
        note=note,
        now=timezone.now(),
    )
    labels = {category.value: category.label for category in shown.signal.categories.all()}
    messages.success(request, f"{shown.conversation.external_id}: {answer_text(shown, ruling.value, labels)}", "ruled")
    made = [*request.session.get("rulings", []), [scope.address, ruling.id]]
    request.session["rulings"] = made[-UNDO_DEPTH:]
    return _following(request, scope)


def _last(request: HttpRequest, scope: Scope) -> Ruling | None:
    """What undo takes back: the newest ruling of this session on this page that still holds."""
    made = [ruling for address, ruling in request.session.get("rulings", []) if address == scope.address]
    return Ruling.objects.filter(id__in=made, superseded_at__isnull=True).order_by("-id").first() if made else None


@act
def withdraw(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Open a decided unit again, and show it with what was decided filled in: undo, and what is offered on every decided unit."""
    shown = _posted(request, scope)
    ruling = request.POST.get("ruling", "")
    adjudication.withdraw(
        by=person(request),
        signal=shown.signal,
        conversation=shown.conversation,
        turn=shown.turn,
        ruling=int(ruling) if ruling.isdecimal() else None,
        now=timezone.now(),
    )
    messages.success(request, f"{shown.conversation.external_id} is open again.")
    return redirect(f"{scope.address}?unit={shown.unit.key}")


def _answer(request: HttpRequest, signal: Signal) -> Any:
    if signal.scale == Signal.Scale.MULTILABEL:
        return request.POST.getlist("value")
    text = request.POST.get("value", "")
    if signal.scale != Signal.Scale.INTERVAL:
        return text
    try:
        return float(text)
    except ValueError:
        raise Refused("bad_value", f"{text!r} is not a number", field="value") from None


@act
def one_more(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Ask a further member instead of deciding."""
    shown = _posted(request, scope)
    if shown.item is None:
        raise Refused("not_in_a_queue", "these labels came from a file: nobody can be asked for another")
    adjudication.one_more_label(item=shown.item)
    messages.success(request, f"One more label is asked for {shown.conversation.external_id}.")
    return _following(request, scope)


@login_required
@require_safe
def set_aside(request: HttpRequest, slug: str) -> HttpResponse:
    """What people skipped and flagged in a queue, and why."""
    queue = access.queue_to_review(person(request), slug)
    acts = aside.acts(queue).order_by("kind", "-id")
    page = Paginator(acts, ASIDE_SHOWN).get_page(request.GET.get("page"))
    mask = privacy.in_force()
    rows = [
        {
            "act": act,
            "turn": None if act.item is None or act.item.turn == WHOLE else act.item.turn,
            "reason": mask.text(aside.reason_in_words(act)),
            "comment": mask.text(act.comment),
        }
        for act in page
    ]
    flags = acts.filter(kind=Submission.Kind.FLAG).count()
    counts = {"flags": flags, "skips": page.paginator.count - flags}
    return render(request, "labeling/review_aside.html", {"queue": queue, "page": page, "rows": rows} | counts)


@act
def further(request: HttpRequest, scope: Scope) -> HttpResponse:
    """One more label for every tie that one more person may settle."""
    assert scope.queue is not None
    ties = advice.wanting(advice.of(scope, adjudication.disagreements(scope)))
    asked = advice.ask_further(queue=scope.queue, units=ties)
    messages.success(request, f"{asked} item{'' if asked == 1 else 's'} got room for one more label.")
    return redirect(scope.address)


@act
def requeue(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Ask again what was labelled under an older guideline."""
    assert scope.queue is not None
    asked = requeueing.requeue(
        queue=scope.queue,
        signal=access.signal(request.POST.get("signal", "")),
        by=person(request),
        now=timezone.now(),
        only_split="split" in request.POST,
    )
    messages.success(
        request, f"{asked} answer{'' if asked == 1 else 's'} are asked for again, under the new guideline."
    )
    return redirect(scope.address)


@act
def mend(request: HttpRequest, scope: Scope) -> HttpResponse:
    """A new version of the guideline, written beside the item that called for it."""
    shown = _posted(request, scope)
    made = guidelines.publish(
        signal=shown.signal,
        text=request.POST.get("text", ""),
        note=request.POST.get("note", "") or f"after {shown.conversation.external_id}",
        by=person(request),
    )
    messages.success(request, f"The guideline of {shown.signal.title} is now version {made.version}.")
    return redirect(f"{scope.address}?unit={request.POST['unit']}")
