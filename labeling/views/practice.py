"""The practice round as pages: one known item at a time, and what is known of it right after the answer."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from labeling import practice, privacy, questions
from labeling.access import person, queue_to_label
from labeling.errors import Refused
from labeling.models import WHOLE, PracticeItem, Queue
from labeling.questions import Question


@login_required
@require_safe
def start(request: HttpRequest, slug: str) -> HttpResponse:
    """What the round is, how the last one went, or the item that is open."""
    queue = queue_to_label(person(request), slug)
    standing = practice.standing(annotator=person(request), queue=queue)
    if standing.place is not None:
        return _item(request, queue, standing.place)
    passes = practice.needed(queue.practice_size, queue.practice_pass)
    return render(request, "labeling/practice.html", {"queue": queue, "standing": standing, "passes": passes})


@login_required
@require_POST
def begin(request: HttpRequest, slug: str) -> HttpResponse:
    queue = queue_to_label(person(request), slug)
    practice.begin(annotator=person(request), queue=queue, now=timezone.now())
    return redirect("practice", slug)


@login_required
@require_POST
def answer(request: HttpRequest, slug: str, place: int) -> HttpResponse:
    """Keep the answer; the page that follows says what is known."""
    queue = queue_to_label(person(request), slug)
    asked = questions.asked(queue.id)
    try:
        answers = practice.answers_of(request.POST, asked)
        practice.answer(annotator=person(request), place_id=place, answers=answers, now=timezone.now())
    except Refused as refused:
        if refused.status != 422:
            raise
        found = practice.place_of(annotator=person(request), place_id=place)
        return _item(request, queue, found, refused=refused)
    return redirect("practice-told", slug, place)


@login_required
@require_safe
def told(request: HttpRequest, slug: str, place: int) -> HttpResponse:
    """The answer that was given beside the known one."""
    queue = queue_to_label(person(request), slug)
    found = practice.place_of(annotator=person(request), place_id=place)
    if found.answered_at is None:
        return redirect("practice", slug)
    asked = questions.asked(queue.id)
    labels = {
        question.slug: (question.title, {one["value"]: one["label"] for one in question.choices}) for question in asked
    }
    rows = [_row(one, *labels[one["signal"]]) for one in practice.feedback(found, asked)]
    context = _shown(queue, found) | {
        "rows": rows,
        "right": all(row["correct"] for row in rows),
        "finished": found.practice_round.finished_at is not None,
    }
    return render(request, "labeling/practice_told.html", context)


def _row(one: dict[str, Any], title: str, labels: dict[str, str]) -> dict[str, Any]:
    def words(value: Any) -> str:
        if isinstance(value, list):
            return ", ".join(labels.get(str(member), str(member)) for member in value) or "none of them"
        return labels.get(str(value), str(value))

    return one | {"title": title, "said": words(one["value"]), "gold": words(one["known"])}


def _shown(queue: Queue, place: PracticeItem) -> dict[str, Any]:
    turn, mask = place.known_item.turn, privacy.in_force()
    return {
        "queue": queue,
        "place": place,
        "number": place.position + 1,
        "of": place.practice_round.places.count(),
        "conversation": privacy.shown(place.known_item.conversation, mask),
        "explanation": mask.text(place.known_item.explanation),
        "turn": None if turn == WHOLE else turn,
    }


def _item(request: HttpRequest, queue: Queue, place: PracticeItem, refused: Refused | None = None) -> HttpResponse:
    asked = questions.asked(queue.id)
    context = _shown(queue, place) | {
        "questions": [_question(one) for one in asked],
        "guidelines": questions.guidelines(queue),
        "refused": refused,
        "one": len(asked) == 1 and asked[0].scale.kind in ("binary", "nominal", "ordinal"),
    }
    return render(request, "labeling/practice_item.html", context, status=422 if refused else 200)


def _question(question: Question) -> dict[str, Any]:
    """A question with a key for each of its first ten answers, as on the labelling page."""
    spare = [key for key in "1234567890" if key not in {one["key"] for one in question.choices}]
    many = len(question.choices) > 10
    choices = [one | {"key": one["key"] or ("" if many or not spare else spare.pop(0))} for one in question.choices]
    return question.as_dict() | {"categories": choices}
