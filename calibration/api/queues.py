"""Queues over HTTP: the list, drawing one, and how far it is."""

from __future__ import annotations

from typing import Any, ClassVar

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from calibration import sampling
from labeling import checks, references
from labeling import queues as verbs
from labeling.frames import Frame
from labeling.models import Queue, User
from labeling.sampling import people_named, signals_named


class ProgressSerializer(serializers.Serializer[Any]):
    items = serializers.IntegerField()
    finished = serializers.IntegerField(help_text="items that have all their labels")
    wanted = serializers.IntegerField(help_text="labels wanted")
    done = serializers.IntegerField(help_text="labels given")
    held = serializers.IntegerField(help_text="items in somebody's hands")


class QueueSerializer(serializers.ModelSerializer[Queue]):
    """A queue with its design: everything that is needed to draw it again and to weigh its items."""

    signals = serializers.SerializerMethodField()
    members = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()

    class Meta:
        model = Queue
        fields = (
            "slug", "title", "description", "state", "signals", "members", "overlap", "overlap_most", "priority", "lease_seconds",
            "shows_cohort", "hides_names", "strategy", "by", "seed", "design", "created_at", "progress",
            *checks.SETTINGS,
        )  # fmt: skip

    def get_signals(self, queue: Queue) -> list[str]:
        return [row.signal.slug for row in queue.queue_signals.all()]

    def get_members(self, queue: Queue) -> list[str]:
        return sorted(member.username for member in queue.members.all())

    @extend_schema(responses=ProgressSerializer)
    def get_progress(self, queue: Queue) -> dict[str, int]:
        found = self.context.get("progress") or verbs.progress([queue])
        return dict(ProgressSerializer(found[queue.id]).data)


class FrameSerializer(serializers.Serializer[Any]):
    channel = serializers.ListField(child=serializers.CharField(), default=list)
    cohort = serializers.ListField(child=serializers.CharField(), default=list)
    # `source` is an attribute of every serializer; declared under another name and renamed below.
    since = serializers.DateField(required=False, allow_null=True, default=None)
    until = serializers.DateField(required=False, allow_null=True, default=None)
    attributes = serializers.DictField(child=serializers.CharField(), default=dict)
    role = serializers.ListField(child=serializers.CharField(), default=list)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"source": serializers.ListField(child=serializers.CharField(), default=list)}

    def to_internal_value(self, data: Any) -> Any:
        """Refuses a filter that there is not: passed over, it would draw from everything."""
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict) else []
        if unknown:
            raise serializers.ValidationError({name: f"is not one of {', '.join(self.fields)}" for name in unknown})
        return super().to_internal_value(data)


class MixSerializer(serializers.Serializer[Any]):
    """What is mixed into a queue."""

    gold = serializers.ListField(
        child=serializers.CharField(), default=list, help_text="dataset@version whose units are asked as known items"
    )
    repeat_share = serializers.FloatField(required=False)
    repeat_after_items = serializers.IntegerField(required=False)
    repeat_after_minutes = serializers.IntegerField(required=False)
    gold_share = serializers.FloatField(required=False)
    gold_feedback = serializers.BooleanField(required=False)
    practice_size = serializers.IntegerField(required=False)
    practice_pass = serializers.FloatField(required=False)


class SettingsSerializer(MixSerializer):
    """What can be set as a queue is drawn and changed later."""

    lease_seconds = serializers.IntegerField(
        min_value=verbs.SHORTEST_LEASE,
        max_value=verbs.LONGEST_LEASE,
        required=False,
        help_text="how long an item is somebody's without a sign of life",
    )


class NewQueueSerializer(SettingsSerializer):
    slug = serializers.SlugField(max_length=80)
    title = serializers.CharField(max_length=200, required=False, default="")
    description = serializers.CharField(required=False, default="", allow_blank=True)
    signals = serializers.ListField(child=serializers.CharField(), allow_empty=False, required=False)
    signal = serializers.CharField(required=False, help_text="instead of signals, where it is one")
    size = serializers.IntegerField(min_value=1)
    strategy = serializers.ChoiceField(choices=sampling.STRATEGIES, default="uniform")
    by = serializers.ListField(child=serializers.CharField(), default=list)
    allocation = serializers.ChoiceField(choices=("proportional", "equal", "neyman"), default="proportional")
    pilot = serializers.CharField(required=False, help_text="dataset@version, for a neyman allocation")
    classifiers = serializers.ListField(child=serializers.CharField(), default=list)
    seed = serializers.IntegerField(required=False, min_value=0)
    overlap = serializers.IntegerField(min_value=1, max_value=50, default=1)
    members = serializers.ListField(child=serializers.CharField(), default=list)
    frame = FrameSerializer(required=False)
    priority = serializers.IntegerField(min_value=-100, max_value=100, default=0)
    shows_cohort = serializers.BooleanField(default=False)
    hides_names = serializers.BooleanField(default=True)
    overlap_most = serializers.IntegerField(min_value=1, max_value=50, required=False, allow_null=True, default=None)

    def validate(self, told: dict[str, Any]) -> dict[str, Any]:
        if ("signal" in told) == ("signals" in told):
            raise serializers.ValidationError({"signals": "Name the signals, or one signal."})
        return told | {"signals": told.get("signals") or [told["signal"]]}


class QueueChangeSerializer(SettingsSerializer):
    state = serializers.ChoiceField(choices=Queue.State.choices, required=False)
    priority = serializers.IntegerField(min_value=-100, max_value=100, required=False)
    members = serializers.ListField(child=serializers.CharField(), default=list, help_text="people to add")
    overlap_most = serializers.IntegerField(min_value=1, max_value=50, required=False, allow_null=True)


class Queues(generics.ListAPIView[Queue]):
    """The queues; POST draws one."""

    scopes: ClassVar = {"GET": "read", "POST": "ingest"}
    serializer_class = QueueSerializer
    queryset = Queue.objects.prefetch_related("queue_signals__signal", "members").order_by("id")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        context = {**self.get_serializer_context(), "progress": verbs.progress(list(page))}
        return self.get_paginated_response(QueueSerializer(page, many=True, context=context).data)

    @extend_schema(request=NewQueueSerializer, responses={201: QueueSerializer})
    def post(self, request: Request) -> Response:
        asked = NewQueueSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        queue = sampling.draw_queue(
            slug=told["slug"],
            title=told["title"],
            signals=signals_named(told["signals"]),
            size=told["size"],
            aim=sampling.Aim(
                strategy=told["strategy"],
                by=tuple(told["by"]),
                allocation=told["allocation"],
                pilot=references.dataset_version(told["pilot"]) if told.get("pilot") else None,
                classifiers=tuple(told["classifiers"]),
            ),
            frame=_frame(told.get("frame")),
            seed=told.get("seed"),
            overlap=told["overlap"],
            members=people_named(told["members"]),
            created_by=request.user if isinstance(request.user, User) else None,
            gold=[references.dataset_version(name) for name in told["gold"]],
            settings={name: told[name] for name in ("lease_seconds", *checks.SETTINGS) if name in told},
            **{name: told[name] for name in ("description", "priority", "shows_cohort", "hides_names", "overlap_most")},
        )
        return Response(QueueSerializer(queue).data, status=status.HTTP_201_CREATED)


class OneQueue(generics.RetrieveAPIView[Queue]):
    """One queue with its progress; PATCH changes its state, priority, members, overlap, lease or checks."""

    scopes: ClassVar = {"GET": "read", "PATCH": "ingest"}
    serializer_class = QueueSerializer

    def get_object(self) -> Queue:
        return get_object_or_404(Queue, slug=self.kwargs["slug"])

    @extend_schema(request=QueueChangeSerializer, responses=QueueSerializer)
    def patch(self, request: Request, slug: str) -> Response:
        """Open, pause or close it, reorder it, let more people label it, mix checks in; all of it or nothing."""
        queue = self.get_object()
        asked = QueueChangeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        members = people_named(told["members"])
        verbs.change(
            queue=queue,
            state=told.get("state"),
            priority=told.get("priority"),
            members=members,
            gold=[references.dataset_version(name) for name in told["gold"]],
            settings={name: told[name] for name in ("overlap_most", "lease_seconds", *checks.SETTINGS) if name in told},
        )
        return Response(QueueSerializer(self.get_object()).data)


def _frame(told: dict[str, Any] | None) -> Frame:
    told = told or {}
    return Frame(
        channels=tuple(told.get("channel", ())),
        cohorts=tuple(told.get("cohort", ())),
        sources=tuple(told.get("source", ())),
        since=told.get("since"),
        until=told.get("until"),
        attributes=told.get("attributes", {}),
        roles=tuple(told.get("role", ())),
    )
