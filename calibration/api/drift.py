"""Drift flags over HTTP: the list, a look now, and what people do with a flag."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration.drift import causes, flags, monitoring, recalibration
from calibration.models import DriftFlag
from labeling.models import User
from labeling.sampling import people_named


class FlagSerializer(serializers.ModelSerializer[DriftFlag]):
    """A flag, with its evidence and the guarantee that it was raised under."""

    classifier = serializers.CharField(source="version.classifier.slug", read_only=True)
    version = serializers.CharField(source="version.version", read_only=True)
    assigned_to = serializers.CharField(source="assigned_to.username", default=None, read_only=True)

    class Meta:
        model = DriftFlag
        fields = (
            "id", "kind", "classifier", "version", "slice", "since", "raised_at", "evidence", "severity", "state",
            "guarantee", "assigned_to", "snoozed_until",
        )  # fmt: skip


class OneFlagSerializer(FlagSerializer):
    """A flag with its history, its recalibration, and those of it that were given up."""

    history = serializers.SerializerMethodField()
    causes = serializers.SerializerMethodField()
    consequences = serializers.SerializerMethodField()
    recalibration = serializers.SerializerMethodField()
    given_up = serializers.SerializerMethodField()

    class Meta(FlagSerializer.Meta):
        fields = (*FlagSerializer.Meta.fields, "causes", "consequences", "history", "recalibration", "given_up")  # type: ignore[assignment]

    def get_history(self, flag: DriftFlag) -> list[dict[str, Any]]:
        return flags.history(flag)

    def get_causes(self, flag: DriftFlag) -> list[dict[str, Any]]:
        return [cause.as_dict() for cause in causes.of(flag)]

    def get_consequences(self, flag: DriftFlag) -> list[int]:
        return [other.id for other in causes.consequences(flag)]

    def get_recalibration(self, flag: DriftFlag) -> dict[str, Any] | None:
        found = recalibration.of(flag)
        return recalibration.document(found) if found else None

    def get_given_up(self, flag: DriftFlag) -> list[dict[str, Any]]:
        return [recalibration.document(found) for found in recalibration.given_up(flag)]


class EvaluateSerializer(serializers.Serializer[Any]):
    classifier = serializers.CharField(required=False, allow_blank=True, default="")


class EvaluationSerializer(serializers.Serializer[Any]):
    monitors = serializers.IntegerField()
    streams = serializers.IntegerField()
    raised = FlagSerializer(many=True)


class NoteSerializer(serializers.Serializer[Any]):
    note = serializers.CharField(required=False, allow_blank=True, default="")


class ResolveSerializer(NoteSerializer):
    following = serializers.ListField(
        child=serializers.IntegerField(), default=list, help_text="flags that follow from it and end with it"
    )


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, default="")


class RecalibrateSerializer(serializers.Serializer[Any]):
    step = serializers.ChoiceField(
        choices=("open", "fit", "choose", "more", "validate", "promote", "abandon"),
        default="open",
        help_text="open draws the top-up queue; the others go on from there, more goes back to its labels",
    )
    size = serializers.IntegerField(
        min_value=0,
        max_value=100_000,
        required=False,
        help_text=f"for open: items to label, {recalibration.SIZE} without it; for more: items on top, {recalibration.MORE} without it, 0 for none",
    )
    members = serializers.ListField(child=serializers.CharField(), default=list)
    slices = serializers.ListField(
        child=serializers.JSONField(),
        default=list,
        help_text='for open: the slices to recalibrate, like {"channel": "voice"}; without any the flagged one',
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="")
    version = serializers.CharField(
        required=False, default="", help_text="for choose: classifier@version that stands instead of a map"
    )


class Flags(generics.ListAPIView[DriftFlag]):
    """Active flags; `?state=dismissed` or `?state=all` for others, `?classifier=` for one classifier's."""

    scope = "read"
    serializer_class = FlagSerializer

    def get_queryset(self) -> Any:
        rows = DriftFlag.objects.select_related("version__classifier", "assigned_to").order_by("id")
        if getattr(self, "swagger_fake_view", False):
            return rows
        asked = self.request.query_params
        state = asked.get("state", "")
        rows = rows if state == "all" else rows.filter(state__in=[state] if state else DriftFlag.ACTIVE)
        return rows.filter(version__classifier__slug=asked["classifier"]) if asked.get("classifier") else rows


class OneFlag(APIView):
    scope = "read"

    @extend_schema(operation_id="drift_read", responses=OneFlagSerializer)
    def get(self, request: Request, flag_id: int) -> Response:
        return Response(OneFlagSerializer(flags.get(flag_id)).data)


class Evaluate(APIView):
    """Look at the monitors now; looking twice changes nothing."""

    scope = "ingest"

    @extend_schema(operation_id="drift_evaluate", request=EvaluateSerializer, responses=EvaluationSerializer)
    def post(self, request: Request) -> Response:
        asked = given(EvaluateSerializer, request)
        classifier = flags.classifier_named(asked["classifier"]) if asked["classifier"] else None
        done = monitoring.evaluate(now=timezone.now(), classifier=classifier)
        return Response(EvaluationSerializer(done).data)


class Acknowledge(APIView):
    scope = "ingest"

    @extend_schema(operation_id="drift_acknowledge", request=NoteSerializer, responses=OneFlagSerializer)
    def post(self, request: Request, flag_id: int) -> Response:
        note = given(NoteSerializer, request)["note"]
        return told(flags.acknowledge(flag=flags.get(flag_id), by=who(request), note=note))


class Dismiss(APIView):
    """No problem after all: needs a reason, and only new evidence raises the flag again."""

    scope = "ingest"

    @extend_schema(operation_id="drift_dismiss", request=ReasonSerializer, responses=OneFlagSerializer)
    def post(self, request: Request, flag_id: int) -> Response:
        reason = given(ReasonSerializer, request)["reason"]
        return told(flags.dismiss(flag=flags.get(flag_id), by=who(request), reason=reason))


class SnoozeSerializer(serializers.Serializer[Any]):
    until = serializers.DateTimeField(help_text="out of the inbox until then")


class AssignSerializer(serializers.Serializer[Any]):
    person = serializers.CharField(help_text="who looks after it")


class Snooze(APIView):
    """Out of the inbox until a time; the flag stays active."""

    scope = "ingest"

    @extend_schema(operation_id="drift_snooze", request=SnoozeSerializer, responses=OneFlagSerializer)
    def post(self, request: Request, flag_id: int) -> Response:
        until = given(SnoozeSerializer, request)["until"]
        return told(flags.snooze(flag=flags.get(flag_id), until=until, by=who(request), now=timezone.now()))


class Assign(APIView):
    """Somebody's to look after."""

    scope = "ingest"

    @extend_schema(operation_id="drift_assign", request=AssignSerializer, responses=OneFlagSerializer)
    def post(self, request: Request, flag_id: int) -> Response:
        chosen = people_named([given(AssignSerializer, request)["person"]])[0]
        return told(flags.assign(flag=flags.get(flag_id), to=chosen, by=who(request)))


class Resolve(APIView):
    """What it told of was mended in another way than by a recalibration; needs a note that says how.

    Flags that may follow from it, as `consequences` lists them, are resolved with it where they are named.
    """

    scope = "ingest"

    @extend_schema(operation_id="drift_resolve", request=ResolveSerializer, responses=OneFlagSerializer)
    def post(self, request: Request, flag_id: int) -> Response:
        return told(flags.resolve(flag=flags.get(flag_id), by=who(request), **given(ResolveSerializer, request)))


class Recalibrate(APIView):
    """Open the loop, or take its next step: fit a map or choose another version, validate, promote.

    After a validation that failed: `more` labels and another fit, `choose` another version, or `abandon`, which ends the
    recalibration and not the flag.
    """

    scope = "ingest"

    @extend_schema(operation_id="drift_recalibrate", request=RecalibrateSerializer, responses=OneFlagSerializer)
    def post(self, request: Request, flag_id: int) -> Response:
        asked = given(RecalibrateSerializer, request)
        flag, by = flags.get(flag_id), who(request)
        if asked["step"] == "open":
            members = people_named(asked["members"])
            size = asked.get("size", recalibration.SIZE)
            recalibration.open_for(flag=flag, by=by, size=size, members=members, slices=asked["slices"])
        else:
            recalibration.step(
                flag=flag,
                recalibration=recalibration.of(flag),
                step=asked["step"],
                by=by,
                now=timezone.now(),
                reason=asked["reason"],
                version=asked["version"],
                size=asked.get("size"),
            )
        return told(flags.get(flag_id))


def given(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The body's fields; what cannot be used is a 400 that names it."""
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def who(request: Request) -> User:
    assert isinstance(request.user, User)
    return request.user


def told(flag: DriftFlag) -> Response:
    return Response(OneFlagSerializer(flag).data)
