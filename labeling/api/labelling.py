"""Labelling over HTTP: the next item, and what is done with it. The hot path of cxlab: few queries, no serializers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling import labels, leasing, queries
from labeling.access import queue_to_label
from labeling.errors import Conflict, NotFound, Refused
from labeling.formats.rows import moment_text
from labeling.models import Queue, User


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


def next_item(*, annotator: User, queue: Queue, now: datetime, holding: Any = ()) -> dict[str, Any] | None:
    """The next item of a queue in the contract's form; None when nothing is left for this person."""
    held = [key for key in holding if isinstance(key, int)] if isinstance(holding, list | tuple) else []
    slot = leasing.lease(annotator=annotator, queue=queue, now=now, holding=held)
    if slot is None:
        return None
    asked = labels.asked_signals(queue)
    return queries.served(slot, queue=queue, asked=asked) | {
        "signals": [queries.question(one) for one in asked],
        "progress": queries.progress(annotator=annotator, queue=queue),
    }


class NextItem(Labelling):
    @extend_schema(
        summary="Lease the next item",
        request=OpenApiTypes.OBJECT,
        responses={200: OpenApiTypes.OBJECT, 204: OpenApiResponse(description="Nothing is left for this annotator")},
    )
    def post(self, request: Request, slug: str) -> Response:
        annotator = self.annotator(request)
        queue = queue_to_label(annotator, slug)
        holding = self.body(request).get("holding", [])
        item = next_item(annotator=annotator, queue=queue, now=timezone.now(), holding=holding)
        return Response(status=204) if item is None else Response(item)


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
    def post(self, request: Request, assignment: int) -> Response:
        annotator, body = self.annotator(request), self.body(request)
        now = timezone.now()
        answers = body.get("labels")
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            raise Refused("bad_labels", "is required: a list of {signal, value}", field="labels")
        outcome = labels.submit(
            annotator=annotator,
            slot_id=assignment,
            answers=answers,
            key=_key(body),
            now=now,
            seconds=_seconds(body),
            comment=str(body.get("comment") or ""),
            guidelines=_guidelines(body),
        )
        if outcome.submission.late:
            raise Conflict("late", "the item was full when your answer came; it is kept, and shown to the reviewer")
        answer = _acknowledged(outcome)
        if body.get("next"):
            queue = Queue.objects.get(id=outcome.submission.slot.queue_id)
            holding = body.get("holding", [])
            answer["next"] = next_item(annotator=annotator, queue=queue, now=now, holding=holding)
        return Response(answer, status=201 if outcome.created else 200)


class Skip(Labelling):
    @extend_schema(summary="Leave an item to others", request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, assignment: int) -> Response:
        body = self.body(request)
        reason = str(body.get("reason") or "")
        outcome = labels.skip(
            annotator=self.annotator(request), slot_id=assignment, reason=reason, key=_key(body), now=timezone.now()
        )
        return Response(_acknowledged(outcome))


class Flag(Labelling):
    @extend_schema(
        summary="Say that something is wrong with an item", request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT
    )
    def post(self, request: Request, assignment: int) -> Response:
        body = self.body(request)
        outcome = labels.flag(
            annotator=self.annotator(request),
            slot_id=assignment,
            reason=str(body.get("reason") or ""),
            comment=str(body.get("comment") or ""),
            key=_key(body),
            now=timezone.now(),
        )
        return Response(_acknowledged(outcome))


class Undo(Labelling):
    @extend_schema(summary="Take an act back", request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, assignment: int) -> Response:
        annotator = self.annotator(request)
        queue = leasing.slot_of(annotator, assignment).queue
        item = undone(annotator=annotator, queue=queue, now=timezone.now(), slot_id=assignment)
        if item is None:
            raise NotFound("nothing_to_undo", "there is nothing to take back on this assignment")
        return Response(item)


def undone(*, annotator: User, queue: Queue, now: datetime, slot_id: int | None = None) -> dict[str, Any] | None:
    """The item of the last act, leased again, with the answers that it had; None when there is nothing to take back."""
    back = labels.undo(annotator=annotator, queue=queue, now=now, slot_id=slot_id)
    if back is None:
        return None
    slot, answers = back
    asked = labels.asked_signals(queue)
    return queries.served(slot, queue=queue, asked=asked, answers=answers) | {
        "signals": [queries.question(one) for one in asked],
        "progress": queries.progress(annotator=annotator, queue=queue),
    }


class Renew(Labelling):
    @extend_schema(summary="Extend a lease", request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, assignment: int) -> Response:
        until = leasing.renew(annotator=self.annotator(request), slot_id=assignment, now=timezone.now())
        return Response({"assignment": assignment, "lease_expires_at": moment_text(until)})


class Release(Labelling):
    @extend_schema(summary="Give back an item that was not used", request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, assignment: int) -> Response:
        released = leasing.release(annotator=self.annotator(request), slot_id=assignment)
        return Response({"assignment": assignment, "released": released})


def _key(body: dict[str, Any]) -> str:
    key = body.get("key")
    if not isinstance(key, str):
        raise Refused("bad_key", "is required: your own id of this act, the same when it is sent again", field="key")
    return key


def _seconds(body: dict[str, Any]) -> float | None:
    seconds = body.get("seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
        raise Refused("bad_seconds", "must be a number of seconds, 0 or more", field="seconds")
    return float(seconds)


def _guidelines(body: dict[str, Any]) -> dict[str, int]:
    given = body.get("guidelines") or {}
    if not isinstance(given, dict) or not all(isinstance(version, int) for version in given.values()):
        raise Refused("bad_guidelines", "must be {signal: version}", field="guidelines")
    return given


def _acknowledged(outcome: labels.Outcome) -> dict[str, Any]:
    """What the client is told, the same when it asks again with the same key."""
    submission = outcome.submission
    return {
        "submission": submission.id,
        "assignment": submission.slot_id,
        "kind": submission.kind,
        "at": moment_text(submission.created_at),
    }
