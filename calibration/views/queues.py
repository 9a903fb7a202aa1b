"""Queues: the list, drawing one with a preview, and its life: progress, members, pause, more items."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from calibration import classifiers, rounds, sampling
from calibration.errors import NotComparable
from calibration.evidence import expectations
from calibration.forms import NewQueueForm, QueueForm
from labeling import checks, pacing, privacy, references
from labeling import queues as verbs
from labeling import sampling as drawing
from labeling.access import person, role_required
from labeling.errors import NotFound, Refused
from labeling.models import WHOLE, DatasetVersion, KnownAnswer, KnownItem, Queue, User

KNOWN_SHOWN = 20
"""Known answers on a page, so that it can be read on a phone."""


@role_required("engineer")
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    queues = list(Queue.objects.prefetch_related("queue_signals__signal"))
    progress = verbs.progress(queues)
    rows = [{"queue": queue, "progress": progress[queue.id]} for queue in queues]
    begun = [progress[queue.id] for queue in queues if queue.state == Queue.State.OPEN]
    left = sum(one.wanted - one.done for one in begun)
    template = "calibration/_queue_rows.html" if request.htmx else "calibration/queues.html"  # type: ignore[attr-defined]
    return render(request, template, {"rows": rows, "left": left})


@role_required("engineer")
def new(request: HttpRequest) -> HttpResponse:
    """GET is the form, filled from the address, and for htmx its preview; POST draws the queue."""
    if request.method == "POST":
        form = NewQueueForm(request.POST)
        if form.is_valid():
            try:
                return redirect("queue", _draw(form, person(request)).slug)
            except Refused as refused:
                form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        return render(request, "calibration/queue_new.html", {"form": form}, status=422)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "calibration/_queue_preview.html", _preview(request))
    asked = {name: request.GET.getlist(name) for name in request.GET}
    form = NewQueueForm(initial=_initial(asked))
    return render(request, "calibration/queue_new.html", {"form": form, "preview_of": request.GET.urlencode()})


def _initial(asked: dict[str, list[str]]) -> dict[str, Any]:
    """Form values from the address: lists stay lists where the form wants several."""
    several = ("signal", "channel", "cohort", "source", "role", "member")
    return {name: values if name in several else ",".join(values) for name, values in asked.items()}


def _draw(form: NewQueueForm, creator: User) -> Queue:
    wanted, told = form.wanted(), form.cleaned_data
    return sampling.draw_queue(
        slug=form.slug(),
        title=told["title"],
        signals=wanted.signals,
        size=wanted.size,
        aim=wanted.aim,
        frame=wanted.frame,
        seed=wanted.seed,
        overlap=told["overlap"],
        overlap_most=told["overlap_most"],
        members=list(told["member"]),
        created_by=creator,
        description=told["description"],
        shows_cohort=told["shows_cohort"],
        hides_names=told["hides_names"],
        gold=[references.dataset_version(name) for name in told["gold"]],
        settings=form.mixed_in(),
    )


def _preview(request: HttpRequest) -> dict[str, Any]:
    form = QueueForm(request.GET)
    if not form.is_valid():
        wrong = [f"{form.fields[name].label or name}: {text}" for name, texts in form.errors.items() for text in texts]
        return {"wrong": wrong}
    try:
        wanted = form.wanted()
        seen = sampling.preview(
            signals=wanted.signals, size=wanted.size, aim=wanted.aim, frame=wanted.frame, seed=wanted.seed or 0
        )
    except Refused as refused:
        return {"wrong": [refused.message]}
    expected = [expectations.width(signal, size=seen.size, population=seen.population) for signal in wanted.signals]
    return {"seen": seen, "grid": _grid(seen), "asked": wanted.size, "expected": expected}


def _grid(seen: drawing.Preview) -> dict[str, Any]:
    """Channel × cohort with what would be drawn of what there is."""
    cohorts = sorted({cohort for _, cohort, _, _ in seen.cells})
    cells = {(channel, cohort): (taken, there) for channel, cohort, there, taken in seen.cells}
    channels = sorted({channel for channel, _, _, _ in seen.cells})
    rows = [{"channel": name, "cells": [cells.get((name, cohort)) for cohort in cohorts]} for name in channels]
    return {"cohorts": cohorts, "rows": rows}


@role_required("engineer")
@require_safe
def one(request: HttpRequest, slug: str) -> HttpResponse:
    queue = get_object_or_404(Queue.objects.prefetch_related("queue_signals__signal"), slug=slug)
    people = verbs.members(queue)
    progress = verbs.progress([queue])[queue.id]
    context: dict[str, Any] = {
        "queue": queue,
        "progress": progress,
        "people": people,
        "pace": pacing.read(queue, progress=progress, now=timezone.now()),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "calibration/_queue_progress.html", context)
    present = [row.user.id for row in people if row.member]
    context["others"] = User.objects.filter(is_active=True).exclude(id__in=present).order_by("username")
    return render(request, "calibration/queue.html", context | _mix_of(queue) | {"round": _round(queue)})


def _mix_of(queue: Queue) -> dict[str, Any]:
    """What is mixed in, in per cent, and the frozen gold that could be."""
    golds = DatasetVersion.objects.filter(
        dataset__signal__in=queue.signals.all(), frozen_at__isnull=False, item_count__gt=0
    )
    shares = {"repeat": queue.repeat_share, "gold": queue.gold_share, "pass": queue.practice_pass}
    return {
        "golds": list(golds.select_related("dataset").order_by("dataset__slug", "-number")[:40]),
        "mix": {name: f"{100 * share:.6g}" for name, share in shares.items()} | {"known": queue.known_items.count()},
    }


@role_required("reviewer")
@require_safe
def known(request: HttpRequest, slug: str) -> HttpResponse:
    """The units of known answer and why they are so, a page at a time, those without a word first."""
    queue = get_object_or_404(Queue, slug=slug)
    items = queue.known_items.select_related("conversation").prefetch_related(
        "answers__row", "answers__signal__categories"
    )
    page = Paginator(items.order_by("explanation", "id"), KNOWN_SHOWN).get_page(request.GET.get("page"))
    mask = privacy.in_force()
    rows = [
        {
            "known": one,
            "why": mask.text(one.explanation),
            "turn": None if one.turn == WHOLE else one.turn,
            "answers": [
                (answer.signal.title, _in_words(answer), answer.row.decided_by) for answer in one.answers.all()
            ],
        }
        for one in page
    ]
    unexplained = queue.known_items.filter(explanation="").count()
    context = {"queue": queue, "rows": rows, "page": page, "unexplained": unexplained}
    return render(request, "calibration/queue_known.html", context)


def _in_words(answer: KnownAnswer) -> str:
    """A known answer as its question puts it."""
    labels = {category.value: category.label for category in answer.signal.categories.all()}
    return labels.get(answer.row.value or "", answer.row.value or "")


@role_required("reviewer")
@require_POST
def explain(request: HttpRequest, slug: str, known_id: int) -> HttpResponse:
    item = get_object_or_404(KnownItem, queue__slug=slug, id=known_id)
    checks.explain(known_item=item, text=request.POST.get("explanation", ""), by=person(request))
    messages.success(request, f"{item.conversation.external_id} is explained.")
    return redirect(f"{reverse('queue-known', args=[slug])}?page={quote(request.POST.get('page', '1'))}")


def _round(queue: Queue) -> dict[str, Any] | None:
    """The next round for the slices without a verdict, on the newest gold of the queue; None where there is none to say."""
    gold = queue.dataset_versions.filter(frozen_at__isnull=False).order_by("-frozen_at").first()
    if gold is None:
        return None
    try:
        version = sampling.versions_named(
            tuple(queue.design.get("basis", {}).get("versions", [])), signals=[gold.dataset.signal], count=1
        )[0]
        wanted = rounds.next_round(queue=queue, dataset_version=gold, version=version)
    except (Refused, NotFound, NotComparable):
        return None
    return {"gold": str(gold), "version": str(version), "wanted": wanted}


@role_required("engineer")
@require_POST
def change(request: HttpRequest, slug: str) -> HttpResponse:
    """One change of a queue, named by the button that was pressed."""
    queue = get_object_or_404(Queue, slug=slug)
    action = request.POST.get("action", "")
    if action not in CHANGES:
        raise Refused("unknown_action", f"{action!r} is not a change of a queue", field="action")
    messages.success(request, CHANGES[action](queue, request))
    return redirect("queue", queue.slug)


def _state(queue: Queue, request: HttpRequest) -> str:
    state = request.POST.get("state", "")
    verbs.change_state(queue=queue, state=state)
    return {"open": "The queue is open.", "paused": "The queue is paused.", "closed": "The queue is closed."}[state]


def _priority(queue: Queue, request: HttpRequest) -> str:
    verbs.change_priority(queue=queue, priority=_number(request, "priority"))
    return "The priority is changed."


def _overlap(queue: Queue, request: HttpRequest) -> str:
    added = verbs.widen_overlap(queue=queue, labels=_number(request, "overlap"))
    return f"{added} more labels are wanted."


def _add(queue: Queue, request: HttpRequest) -> str:
    names = request.POST.getlist("member")
    verbs.add_members(queue=queue, members=drawing.people_named(names))
    return f"{', '.join(names)} may label this queue." if names else "Nobody was chosen."


def _remove(queue: Queue, request: HttpRequest) -> str:
    member = get_object_or_404(User, username=request.POST.get("name"))
    verbs.remove_member(queue=queue, member=member)
    return f"{member.username} gets no more items of this queue."


def _more(queue: Queue, request: HttpRequest) -> str:
    added = sampling.top_up(queue=queue, size=_number(request, "size"))
    return f"{added} items were added; the probabilities are those of one sample."


def _aimed(queue: Queue, request: HttpRequest) -> str:
    added = rounds.top_up(
        queue=queue,
        dataset_version=references.dataset_version(request.POST.get("gold", "")),
        version=classifiers.version_named(request.POST.get("version", "")),
    )
    told = ", ".join(f"{count} in {name}" for name, count in added.items())
    return f"{sum(added.values())} items were added where the verdict is open: {told}."


def _number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    if not text.lstrip("-").isdigit():
        raise Refused("not_a_number", f"{text!r} is not a whole number", field=name)
    return int(text)


def _mix(queue: Queue, request: HttpRequest) -> str:
    """Adaptive overlap, repeats, gold checks and practice; shares are typed as per cent."""
    most = request.POST.get("overlap_most", "").strip()
    whole = ("repeat_after_items", "repeat_after_minutes", "practice_size")
    shares = ("repeat_share", "gold_share", "practice_pass")
    verbs.change(
        queue=queue,
        gold=[references.dataset_version(name) for name in request.POST.getlist("gold")],
        settings={
            "overlap_most": _number(request, "overlap_most") if most else None,
            "gold_feedback": "gold_feedback" in request.POST,
            **{name: _number(request, name) for name in whole},
            **{name: _percent(request, name) / 100 for name in shares},
        },
    )
    return "What is mixed in is set."


def _percent(request: HttpRequest, name: str) -> float:
    text = request.POST.get(name, "").strip().replace(",", ".")
    try:
        return float(text)
    except ValueError:
        raise Refused("not_a_number", f"{text!r} is not a number", field=name) from None


CHANGES = {
    "mix": _mix,
    "state": _state,
    "priority": _priority,
    "overlap": _overlap,
    "add": _add,
    "remove": _remove,
    "more": _more,
    "round": _aimed,
}
