"""Adjudication over HTTP: the open disagreements, and rulings."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling import access, adjudication, advice, aside, privacy, requeueing
from labeling.adjudication import Disagreement, Scope
from labeling.advice import Advice
from labeling.api.paging import CursorPages
from labeling.errors import Forbidden, NotFound, Refused
from labeling.models import WHOLE, Conversation, Item, Label, Ruling, Signal, Submission, User
from labeling.personal import Mask
from labeling.values import Scale

MOST = 1000


class UnitSerializer(serializers.Serializer[Any]):
    queue = serializers.SlugField(required=False, help_text="the queue of the item, where there is one")
    conversation = serializers.CharField()
    turn = serializers.IntegerField(required=False, allow_null=True, min_value=0)
    signal = serializers.SlugField()


class RulingSerializer(UnitSerializer):
    value: Any = serializers.JSONField(help_text="as in a label")
    reason = serializers.ChoiceField(choices=Ruling.Reason.choices)
    note = serializers.CharField(required=False, allow_blank=True, default="")


class Reviews(APIView):
    """Disagreements that wait for a decision, most informative first; POST decides one. For reviewers and above."""

    scope = "label"

    @extend_schema(
        parameters=[
            OpenApiParameter("queue", str, description="the queue to review"),
            OpenApiParameter("signal", str, description="or all labels of a signal"),
            OpenApiParameter("limit", int, description="how many, at most 1,000"),
        ],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        scope = self._scope(request)
        limit = request.query_params.get("limit", "100")
        if not limit.isdigit() or int(limit) < 1:
            raise Refused("bad_limit", f"{limit!r} is not a number of rows", field="limit")
        found = adjudication.disagreements(scope)
        advised = advice.of(scope, found)
        shown = found[: min(int(limit), MOST)]
        mask = privacy.in_force()
        labels = adjudication.labels_of(scope, [one.unit for one in shown])
        asked = {told[0].signal for told in labels.values()}
        scales = {signal.id: Scale.of(signal) for signal in asked}
        rows = [
            _row(
                one,
                labels[one.unit],
                scales[one.unit.signal],
                hidden=scope.hides_names,
                advice=advised.get(one.unit),
                mask=mask,
            )
            for one in shown
        ]
        return Response({"count": len(found), "results": rows})

    @extend_schema(request=RulingSerializer, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        reviewer = _reviewer(request)
        asked = RulingSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        conversation, turn, item = _unit(reviewer, told)
        ruling = adjudication.rule(
            reviewer=reviewer,
            signal=_signal(told["signal"]),
            conversation=conversation,
            turn=turn,
            item=item,
            value=told["value"],
            reason=told["reason"],
            note=told["note"],
            now=timezone.now(),
        )
        return Response({"id": ruling.id, **_told(ruling)}, status=status.HTTP_201_CREATED)

    def _scope(self, request: Request) -> Scope:
        reviewer = _reviewer(request)
        queue, signal = request.query_params.get("queue"), request.query_params.get("signal")
        if queue:
            return Scope(queue=access.queue_to_review(reviewer, queue), signal=_signal(signal) if signal else None)
        if signal:
            return Scope(signal=_signal(signal))
        raise Refused("no_scope", "name a queue or a signal: ?queue= or ?signal=", field="queue")


class WithdrawSerializer(UnitSerializer):
    ruling = serializers.IntegerField(
        required=False, help_text="its id: with it, what somebody has decided since is not withdrawn"
    )


class Withdraw(APIView):
    """Withdraw the ruling that holds on a unit, which is open again; the ruling is kept, with who withdrew it and when.
    For reviewers and above; refused (409) where there is none. Frozen gold stays what it was."""

    scope = "label"

    @extend_schema(summary="Withdraw a ruling", request=WithdrawSerializer, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        reviewer = _reviewer(request)
        asked = WithdrawSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        conversation, turn, _ = _unit(reviewer, told)
        ruling = adjudication.withdraw(
            by=reviewer,
            signal=_signal(told["signal"]),
            conversation=conversation,
            turn=turn,
            ruling=told.get("ruling"),
            now=timezone.now(),
        )
        ended = {"withdrawn_by": reviewer.username, "withdrawn_at": ruling.superseded_at}
        return Response({"id": ruling.id, **_told(ruling), **ended})


class OneMoreSerializer(serializers.Serializer[Any]):
    queue = serializers.SlugField()
    conversation = serializers.CharField(required=False, help_text="without it: every tie that one more may settle")
    turn = serializers.IntegerField(required=False, allow_null=True, min_value=0)


class OneMore(APIView):
    """One more label instead of a ruling: of one item, or of every tie that one more person may settle."""

    scope = "label"

    @extend_schema(summary="Ask for one more label", request=OneMoreSerializer, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        asked = OneMoreSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        queue = access.queue_to_review(_reviewer(request), told["queue"])
        if "conversation" not in told:
            scope = Scope(queue=queue)
            ties = advice.wanting(advice.of(scope, adjudication.disagreements(scope)))
            return Response({"asked": advice.ask_further(queue=queue, units=ties)})
        turn = WHOLE if told.get("turn") is None else told["turn"]
        item = Item.objects.filter(queue=queue, conversation__external_id=told["conversation"], turn=turn).first()
        if item is None:
            raise NotFound("unknown_item", f"{queue.slug} has no such item", field="conversation")
        adjudication.one_more_label(item=item)
        return Response({"asked": 1})


class RequeueSerializer(serializers.Serializer[Any]):
    signal = serializers.SlugField(help_text="whose guideline was mended")
    only_split = serializers.BooleanField(default=False, help_text="only items on which people differ")


class Requeue(APIView):
    """Ask again what was labelled under an older guideline."""

    scope = "label"

    @extend_schema(
        summary="Ask again after a mended guideline", request=RequeueSerializer, responses=OpenApiTypes.OBJECT
    )
    def post(self, request: Request, slug: str) -> Response:
        reviewer = _reviewer(request)
        asked = RequeueSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        again = requeueing.requeue(
            queue=access.queue_to_review(reviewer, slug),
            signal=_signal(told["signal"]),
            by=reviewer,
            now=timezone.now(),
            only_split=told["only_split"],
        )
        return Response({"asked_again": again})


class AsideSerializer(serializers.ModelSerializer[Submission]):
    conversation: Any = serializers.CharField(source="item.conversation.external_id")
    turn = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField(help_text="of a flag its code, of a skip its words")
    comment = serializers.SerializerMethodField()
    annotator: Any = serializers.CharField(source="annotator.username")
    at = serializers.DateTimeField(source="created_at")

    class Meta:
        model = Submission
        fields = ("id", "kind", "conversation", "turn", "reason", "comment", "annotator", "late", "at")

    def get_turn(self, act: Submission) -> int | None:
        return None if act.item is None or act.item.turn == WHOLE else act.item.turn

    def get_reason(self, act: Submission) -> str:
        return str(self.context["mask"].text(act.reason))

    def get_comment(self, act: Submission) -> str:
        return str(self.context["mask"].text(act.comment))


class SetAside(generics.ListAPIView[Submission]):
    """What people skipped and flagged in a queue, and why, oldest first. For reviewers and above."""

    scope = "label"
    serializer_class = AsideSerializer
    pagination_class = CursorPages
    queryset = Submission.objects.none()  # for the schema; what is listed depends on the queue

    def get_queryset(self) -> QuerySet[Submission]:
        return aside.acts(access.queue_to_review(_reviewer(self.request), self.kwargs["slug"]))

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "mask": privacy.in_force()}


def _row(
    one: Disagreement, labels: list[Label], scale: Scale, *, hidden: bool, advice: Advice | None, mask: Mask
) -> dict[str, Any]:
    first = labels[0]
    return {
        "conversation": first.conversation.external_id,
        "turn": None if first.turn == WHOLE else first.turn,
        "signal": first.signal.slug,
        "item": first.item_id,
        "spread": one.spread,
        "pending": one.pending,
        "votes": dict(one.votes),
        "advice": None if advice is None else {"one_more_label": advice.label, "why": advice.why},
        "labels": [
            {
                "annotator": None if hidden else label.annotator.username,
                "value": scale.decode(label.value),
                "comment": mask.text(label.comment),
                "late": label.late,
                "at": label.labeled_at,
            }
            for label in labels
        ],
    }


def _told(ruling: Ruling) -> dict[str, Any]:
    return {
        "conversation": ruling.conversation.external_id,
        "turn": None if ruling.turn == WHOLE else ruling.turn,
        "signal": ruling.signal.slug,
        "value": ruling.value,
        "reason": ruling.reason,
        "note": privacy.in_force().text(ruling.note),
        "reviewer": ruling.reviewer.username,
        "decided_at": ruling.decided_at,
    }


def _reviewer(request: Request) -> User:
    user: Any = request.user
    if not user.may("reviewer"):
        raise Forbidden("not_a_reviewer", "reviewing is for reviewers and above")
    return user  # type: ignore[no-any-return]


def _unit(reviewer: User, told: dict[str, Any]) -> tuple[Conversation, int, Item | None]:
    """What a ruling is about: a conversation or one of its turns, and the queue's item where a queue is named."""
    turn = WHOLE if told.get("turn") is None else told["turn"]
    conversation = Conversation.objects.filter(external_id=told["conversation"]).first()
    if conversation is None:
        raise NotFound("unknown_conversation", "there is no such conversation", field="conversation")
    if not told.get("queue"):
        return conversation, turn, None
    queue = access.queue_to_review(reviewer, told["queue"])
    item = Item.objects.filter(queue=queue, conversation=conversation, turn=turn).first()
    if item is None:
        raise NotFound("unknown_item", f"{queue.slug} has no such item", field="conversation")
    return conversation, turn, item


def _signal(slug: str) -> Signal:
    found = Signal.objects.filter(slug=slug).first()
    if found is None:
        raise NotFound("unknown_signal", f"there is no signal {slug!r}", field="signal")
    return found
