"""The annotator's pages: my queues, the desk, and what a shift came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from labeling import aside, guidelines, keymap, labels, leasing, pacing, practice, queries, questions
from labeling.access import person, queue_to_label
from labeling.models import Queue, User
from labeling.questions import Question


@login_required
@require_GET
def my_queues(request: HttpRequest) -> HttpResponse:
    queues = queries.my_queues(person(request))
    first = queries.first_open(queues)
    practise = next((row for row in queues if row.practice_due and row.queue.state == Queue.State.OPEN), None)
    return render(request, "labeling/my_queues.html", {"queues": queues, "first": first, "practise": practise})


@login_required
@require_http_methods(["GET", "POST"])
def desk(request: HttpRequest, slug: str) -> HttpResponse:
    """POST takes an item and shows it; GET shows what is in hand already, and its script asks for an item if nothing is."""
    annotator = person(request)
    queue = queue_to_label(annotator, slug)
    waits = queue.practice_size and practice.standing(annotator=annotator, queue=queue).needed
    if waits and queue.state == Queue.State.OPEN:
        return redirect("practice", slug=queue.slug)
    if request.method == "POST":
        slot = leasing.lease(annotator=annotator, queue=queue, now=timezone.now())
        return redirect("label-desk" if slot else "label-done", slug=queue.slug)
    if queue.state != queue.State.OPEN:
        return redirect("label-done", slug=queue.slug)
    asked = questions.asked(queue.id)
    state = _state(annotator, queue, asked)
    badges = keymap.shown(annotator)
    context = {
        "queue": queue,
        "state": state,
        "questions": asked,
        "guidelines": guidelines.to_read(queue, reader=annotator),
        "badges": badges,
        "commands": [(name, words, badges[name]) for name, words in keymap.WORDS.items()],
        "count_width": len(_count(state["progress"])),
        "flags": [(reason, aside.flag_in_words(reason)) for reason in labels.FLAG_REASONS],
        "skips": [(reason, reason) for reason in labels.SKIP_REASONS],
    }
    return render(request, "labeling/desk.html", context)


@login_required
@require_GET
def guideline(request: HttpRequest, slug: str) -> HttpResponse:
    """The guidelines of a queue with their examples and their history; for the desk's drawer only what is in force."""
    annotator = person(request)
    queue = queue_to_label(annotator, slug)
    context: dict[str, Any] = {"queue": queue, "guidelines": guidelines.to_read(queue, reader=annotator)}
    if "drawer" in request.GET:
        return render(request, "labeling/_guidelines.html", context)
    context["histories"] = [guidelines.history(one.signal_id) for one in context["guidelines"]]
    return render(request, "labeling/guideline.html", context)


@login_required
@require_GET
def done(request: HttpRequest, slug: str) -> HttpResponse:
    queue, annotator = queue_to_label(person(request), slug), person(request)
    context = {
        "queue": queue,
        "shift": queries.shift(annotator=annotator, queue=queue, now=timezone.now()),
        "empty": leasing.why_empty(annotator=annotator, queue=queue, now=timezone.now()),
        "progress": queries.progress_of(annotator, queue),
    }
    return render(request, "labeling/done.html", context)


def _count(progress: Mapping[str, Any]) -> str:
    """The longest text that the count comes to: room for it is there from the start, so that nothing beside it moves."""
    whole = progress["done"] + progress["left"]
    return f"{whole} of {whole}{'+' if progress['more'] else ''}"


def _state(annotator: User, queue: Queue, asked: Sequence[Question]) -> dict[str, Any]:
    """All that the desk's script starts from."""
    held = queries.in_hand(annotator=annotator, queue=queue, now=timezone.now())
    return {
        "queue": queue.slug,
        "person": annotator.id,
        "lease_seconds": queue.lease_seconds,
        "item": held and queries.served(held, shows_cohort=queue.shows_cohort, shows_date=queue.shows_date),
        "signals": [question.as_dict() for question in asked],
        "progress": queries.progress_of(annotator, queue),
        "pace": pacing.own(annotator).seconds_in(queue),
        "keys": keymap.keys_of(annotator),
        "usual_keys": keymap.COMMANDS,
    }
