"""Conversations over HTTP, in the form of the file."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from django.db.models import Q
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import conversations
from calibration.models import Outcome, Prediction
from labeling import blindness, privacy
from labeling.api.paging import CursorPages
from labeling.errors import Forbidden, Refused
from labeling.models import Conversation, Label, User
from labeling.tokens import ROLE_SCOPES

EXACT = ("source", "channel", "cohort", "customer")
INCLUDES = ("predictions", "labels", "outcomes", "spans")


class Conversations(APIView):
    """A page of conversations, oldest first as they came in."""

    scope = "read"

    @extend_schema(
        operation_id="conversations_list",
        summary="List conversations",
        parameters=[OpenApiParameter(name, str) for name in (*EXACT, "since", "until", "cursor")]
        + [OpenApiParameter("limit", int)],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        found = Conversation.objects.all()
        for name in EXACT:
            if name in request.query_params:
                found = found.filter(**{name: request.query_params[name]})
        if since := request.query_params.get("since"):
            found = found.filter(started_at__gte=moment(since, "since"))
        if until := request.query_params.get("until"):
            found = found.filter(started_at__lte=moment(until, "until", time.max))
        pages = CursorPages()
        page = pages.paginate_queryset(found, request, view=self) or []
        mask = privacy.in_force()
        return pages.get_paginated_response([conversations.as_row(privacy.shown(row, mask)) for row in page])


class OneConversation(APIView):
    """One conversation, with `?include=predictions,labels,outcomes,spans`."""

    scope = "read"

    @extend_schema(
        operation_id="conversations_read",
        summary="Read a conversation",
        parameters=[
            OpenApiParameter("include", str, description=", ".join(INCLUDES)),
            OpenApiParameter("originals", bool, description="Unmasked, for those who may; the reading is kept."),
        ],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request, external_id: str) -> Response:
        conversation = get_object_or_404(Conversation, external_id=external_id)
        wanted = [name for name in request.query_params.get("include", "").split(",") if name]
        unknown = sorted(set(wanted) - set(INCLUDES))
        if unknown:
            raise Refused("unknown_include", f"{unknown[0]!r} is not one of {', '.join(INCLUDES)}", field="include")
        if wanted and not _may_read(request):
            raise Forbidden("scope", "including more needs the scope read")
        reader: Any = request.user
        originals = privacy.wants_originals(request.query_params)
        mask = privacy.mask_of(originals=originals, reader=reader, what=f"conversation {external_id}", via="api")
        row = conversations.as_row(privacy.shown(conversation, mask))
        closed = {signal for _, signal in blindness.open_questions(reader=reader, conversations=[conversation.id])}
        for name in wanted:
            row[name] = [privacy.shown_row(one, mask) for one in _included(name, conversation, reader, closed)]
        return Response(row)


def _included(name: str, conversation: Conversation, reader: User, closed: set[int]) -> list[dict[str, Any]]:
    """What is known of a conversation; answers to the signals in `closed` stay hidden, for the reader may be asked."""
    if name == "predictions":
        said = Prediction.objects.filter(conversation=conversation).exclude(version__classifier__signal__in=closed)
        return list(conversations.prediction_rows(said.order_by("id")))
    if name == "labels":
        current = Label.objects.filter(conversation=conversation, superseded_at__isnull=True)
        return list(
            conversations.label_rows(current.filter(~Q(signal__in=closed) | Q(annotator=reader)).order_by("id"))
        )
    if name == "outcomes":
        own = Outcome.objects.filter(conversation=conversation).select_related("conversation").order_by("id")
        return list(conversations.outcome_rows(own))
    return [] if closed else conversations.span_rows(conversation)


def _may_read(request: Request) -> bool:
    token: Any = request.auth
    user: Any = request.user
    return "read" in (token.scopes if token is not None else ROLE_SCOPES[user.role])


def moment(text: str, field: str, of_day: time = time.min) -> datetime:
    """A time from a query, in UTC where it does not say, or `of_day` of a day; raises Refused naming the parameter."""
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), of_day, tzinfo=UTC)
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Refused("bad_time", f"{text!r} is no day or time in ISO 8601", field=field) from error
