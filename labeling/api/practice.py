"""The practice round over HTTP: begin or go on with it, answer, hear what is known."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from labeling import practice, queries, questions
from labeling.access import queue_to_label
from labeling.api.labelling import Labelling, answers_in, seconds_in
from labeling.formats.rows import moment_text
from labeling.models import PracticeRound


class Practice(Labelling):
    @extend_schema(summary="Begin a practice round, or go on with it", request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, slug: str) -> HttpResponse:
        """`item` is the next one to answer; null once the round is finished and passed."""
        annotator = self.annotator(request)
        queue = queue_to_label(annotator, slug)
        standing = practice.begin(annotator=annotator, queue=queue, now=timezone.now())
        item = None
        if standing.place is not None:
            known = standing.place.known_item
            item = {
                "practice": standing.place.id,
                **queries.shown(known.conversation, known.turn, shows_cohort=queue.shows_cohort),
                "signals": [question.as_dict() for question in questions.asked(queue.id)],
            }
        told = {"needed": standing.needed, "number": standing.number, "size": queue.practice_size, "item": item}
        return JsonResponse(told | {"last": standing.last and round_told(standing.last)})


class PracticeAnswer(Labelling):
    @extend_schema(summary="Answer a practice item", request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, place: int) -> HttpResponse:
        """`{"labels": [{"signal", "value"}]}`; the answer tells what is known of the item, and why."""
        body = self.body(request)
        told = practice.answer(
            annotator=self.annotator(request),
            place_id=place,
            answers=answers_in(body),
            now=timezone.now(),
            seconds=seconds_in(body),
        )
        finished = None if told.finished is None else round_told(told.finished)
        return JsonResponse({"practice": told.place.id, "feedback": list(told.feedback), "finished": finished})


def round_told(one: PracticeRound) -> dict[str, Any]:
    return {"asked": one.asked, "correct": one.correct, "passed": one.passed, "at": moment_text(one.finished_at)}
