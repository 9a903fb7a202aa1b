"""Labelling over HTTP: the next item, and what is done with it. The hot path of cxlab: few queries, no serializers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from labeling import checks, guidelines, keymap, labels, leasing, queries, questions
from labeling.access import queue_to_label
from labeling.errors import Conflict, NotFound, Refused
from labeling.formats.rows import moment_text
from labeling.leasing import Place
from labeling.models import Queue, User

ITEM = {
    200: OpenApiTypes.OBJECT,
    204: OpenApiResponse(description="Nothing is left for this annotator"),
}
ACT = {
    200: OpenApiTypes.OBJECT,
    409: OpenApiResponse(description="The item is not this person's any more"),
}


class Labelling(APIView):
    """What every view here shares: the person, and the body as an object."""

    scope = "label"

    def annotator(self, request: Request) -> User:
        user = request.user
        assert isinstance(user, User)
        return user

    def body(self, request: Request) -> dict[str, Any]:
        data = request.data or {}
        if not isinstance(data, dict):
            raise Refused("bad_body", "the body must be a JSON object")
        return data


def next_item(standing: Place, *, now: datetime) -> dict[str, Any] | None:
    """The next item of a queue in the contract's form; None when nothing is left for this person."""
    taken = leasing.lease_at(standing, now=now)
    if taken is None:
        return None
    return queries.served(taken, shows_cohort=standing.shows_cohort, shows_date=not standing.mix.known) | {
        "signals": [question.as_dict() for question in questions.asked(standing.queue_id)],
        "progress": queries.progress(standing),
    }


class NextItem(Labelling):
    @extend_schema(summary="Lease the next item", request=OpenApiTypes.OBJECT, responses=ITEM)
    def post(self, request: Request, slug: str) -> HttpResponse:
        """`{"holding": [assignment, …]}` names the items that the client has already."""
        holding = _holding(self.body(request))
        standing = leasing.place(annotator=self.annotator(request), queue=slug, holding=holding)
        if standing.practice_due:
            raise Conflict("practice_first", f"the queue opens after its practice round: queues/{slug}/practice/")
        item = next_item(standing, now=timezone.now())
        return HttpResponse(status=204) if item is None else JsonResponse(item)


class Submit(Labelling):
    @extend_schema(
        summary="Answer an item",
        request=OpenApiTypes.OBJECT,
        responses={
            201: OpenApiTypes.OBJECT,
            200: OpenApiTypes.OBJECT,
            409: OpenApiResponse(description="The item is full; the answer is kept as a late label"),
        },
    )
    def post(self, request: Request, assignment: int) -> HttpResponse:
        """With `"next": true` the answer brings the next item along, so that a label costs one request."""
        annotator, body = self.annotator(request), self.body(request)
        outcome = labels.submit(
            annotator=annotator,
            slot_id=assignment,
            answers=answers_in(body),
            key=_key(body),
            now=timezone.now(),
            seconds=seconds_in(body),
            comment=_text(body, "comment"),
            guidelines=_guidelines(body),
        )
        if outcome.submission.late:
            raise Conflict("late", "the item was full when your answer came; it is kept, and shown to the reviewer")
        return _acknowledged(outcome, body, annotator, fresh=201)


class Skip(Labelling):
    @extend_schema(summary="Leave an item to others", request=OpenApiTypes.OBJECT, responses=ACT)
    def post(self, request: Request, assignment: int) -> HttpResponse:
        annotator, body = self.annotator(request), self.body(request)
        outcome = labels.skip(
            annotator=annotator,
            slot_id=assignment,
            reason=_text(body, "reason"),
            key=_key(body, str(uuid4())),
            now=timezone.now(),
            seconds=seconds_in(body),
        )
        return _acknowledged(outcome, body, annotator)


class Flag(Labelling):
    @extend_schema(summary="Say that something is wrong with an item", request=OpenApiTypes.OBJECT, responses=ACT)
    def post(self, request: Request, assignment: int) -> HttpResponse:
        annotator, body = self.annotator(request), self.body(request)
        outcome = labels.flag(
            annotator=annotator,
            slot_id=assignment,
            reason=_text(body, "reason"),
            comment=_text(body, "comment"),
            key=_key(body, str(uuid4())),
            now=timezone.now(),
            seconds=seconds_in(body),
        )
        if outcome.submission.late:
            raise Conflict("late", "somebody else has the item by now; your flag is kept, and shown to the reviewer")
        return _acknowledged(outcome, body, annotator)


class Undo(Labelling):
    @extend_schema(summary="Take an act on an assignment back", request=OpenApiTypes.OBJECT, responses=ACT)
    def post(self, request: Request, assignment: int) -> HttpResponse:
        """`{"holding": [assignment, …]}` as for the next item: the first of them stays leased beside the one that comes back,
        the others are free again."""
        annotator, holding = self.annotator(request), _holding(self.body(request))
        queue = leasing.slot_of(annotator, assignment).queue
        return JsonResponse(undone(annotator=annotator, queue=queue, slot_id=assignment, holding=holding))


class UndoLast(Labelling):
    @extend_schema(summary="Take the last act in a queue back", request=OpenApiTypes.OBJECT, responses=ACT)
    def post(self, request: Request, slug: str) -> HttpResponse:
        annotator, holding = self.annotator(request), _holding(self.body(request))
        return JsonResponse(undone(annotator=annotator, queue=queue_to_label(annotator, slug), holding=holding))


def undone(*, annotator: User, queue: Queue, slot_id: int | None = None, holding: Sequence[int] = ()) -> dict[str, Any]:
    """The item of the last act, leased again, with the answers that it had."""
    back = labels.undo(annotator=annotator, queue=queue, now=timezone.now(), slot_id=slot_id, holding=holding)
    if back is None:
        raise NotFound("nothing_to_undo", "there is nothing to take back: undo reaches ten items back")
    asked = questions.asked(queue.id)
    return queries.served(back.lease, shows_cohort=queue.shows_cohort, shows_date=queue.shows_date) | {
        "signals": [question.as_dict() for question in asked],
        "progress": queries.progress(leasing.place(annotator=annotator, queue=queue)),
        "answer": queries.own_answer(back, asked),
    }


class Renew(Labelling):
    @extend_schema(summary="Extend a lease", request=None, responses=ACT)
    def post(self, request: Request, assignment: int) -> HttpResponse:
        until = leasing.renew(annotator=self.annotator(request), slot_id=assignment, now=timezone.now())
        return JsonResponse({"assignment": assignment, "lease_expires_at": moment_text(until)})


class Release(Labelling):
    @extend_schema(summary="Give back an item that was not used", request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, assignment: int) -> HttpResponse:
        released = leasing.release(annotator=self.annotator(request), slot_id=assignment, now=timezone.now())
        return JsonResponse({"assignment": assignment, "released": released})


class Guidelines(Labelling):
    @extend_schema(summary="The instructions of a queue's questions", request=None, responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, slug: str) -> HttpResponse:
        """`text` is Markdown; `examples` are what reviewers decided, by category, never of an item of the reader's own."""
        annotator = self.annotator(request)
        rows = [asdict(one) for one in guidelines.to_read(queue_to_label(annotator, slug), reader=annotator)]
        for row in rows:
            del row["signal_id"]
        return JsonResponse({"guidelines": rows})


class Keymap(Labelling):
    @extend_schema(summary="Set one's own keys", request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT)
    def put(self, request: Request) -> HttpResponse:
        """`{"skip": "x", …}`: the commands of the labelling page and their keys; those left out keep their own."""
        return JsonResponse(keymap.save(user=self.annotator(request), keys=self.body(request)))


def _key(body: dict[str, Any], default: str | None = None) -> str:
    key = body.get("key", default)
    if not isinstance(key, str):
        raise Refused("bad_key", "is required: your own id of this act, the same when it is sent again", field="key")
    return key


def _text(body: dict[str, Any], field: str) -> str:
    text = body.get(field) or ""
    if not isinstance(text, str):
        raise Refused(f"bad_{field}", "must be text", field=field)
    return text


def _holding(body: dict[str, Any]) -> list[int]:
    held = body.get("holding") or []
    if not isinstance(held, list) or not all(type(key) is int and 0 < key < 2**63 for key in held) or len(held) > 50:
        raise Refused("bad_holding", "must be a list of assignments, at most 50", field="holding")
    return held


def answers_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    answers = body.get("labels")
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise Refused("bad_labels", "is required: a list of {signal, value}", field="labels")
    return answers


def seconds_in(body: dict[str, Any]) -> float | None:
    seconds = body.get("seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
        raise Refused("bad_seconds", "must be a number of seconds, 0 or more", field="seconds")
    return float(seconds)


def _guidelines(body: dict[str, Any]) -> dict[str, int]:
    given = body.get("guidelines") or {}
    if not isinstance(given, dict) or not all(type(version) is int for version in given.values()):
        raise Refused("bad_guidelines", "must be {signal: version}", field="guidelines")
    return given


def _acknowledged(outcome: labels.Outcome, body: dict[str, Any], annotator: User, *, fresh: int = 200) -> HttpResponse:
    """What the client is told, the same when it asks again with the same key; and the next item where it asked for it."""
    act = outcome.submission
    told: dict[str, Any] = {
        "submission": act.id,
        "assignment": act.slot_id,
        "kind": act.kind,
        "key": act.key,
        "at": moment_text(act.created_at),
        **act.answer,
    }
    told_of = checks.feedback(act)
    if told_of is not None:
        told["feedback"] = told_of
    if body.get("next"):
        standing = leasing.place(annotator=annotator, queue=act.slot.queue_id, holding=_holding(body))
        told["next"] = next_item(standing, now=timezone.now())
    return JsonResponse(told, status=fresh if outcome.created else 200)
