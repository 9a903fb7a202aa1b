"""Trends, attribution and gates over HTTP."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import tasks
from calibration.api.drift import given, who
from calibration.drift import flags
from calibration.evidence import gates
from calibration.models import GateRun
from calibration.moves import attribution, bridges, periods, settling, trends
from labeling.models import Queue
from labeling.sampling import signals_named

SIGNAL = OpenApiParameter("signal", str, required=True)
CLASSIFIER = OpenApiParameter("classifier", str, description="without it the one that scored most")
VALUE = OpenApiParameter("value", str, description="a category, or mean; the first category without it")
BY = OpenApiParameter("by", str, description="comma-separated: channel, cohort")
FROM_VERSION, TO_VERSION = (
    OpenApiParameter(
        f"{end}_version", str, description="read that period as this version scored it, not as the one in service"
    )
    for end in ("from", "to")
)


class TrendQuery(serializers.Serializer[Any]):
    signal = serializers.CharField()
    classifier = serializers.CharField(required=False, default="", allow_blank=True)
    value = serializers.CharField(required=False, default="", allow_blank=True)
    by = serializers.CharField(required=False, default="", allow_blank=True)
    period = serializers.CharField(required=False, default="week")
    since = serializers.DateField(required=False, default=None)
    until = serializers.DateField(required=False, default=None)


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object"}]})
class PolicyField(serializers.CharField):
    """The YAML text of a policy, or the same as an object: JSON is YAML."""

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(json.dumps(data) if isinstance(data, dict) else data)


class GateSerializer(serializers.Serializer[Any]):
    policy = PolicyField(help_text="the YAML text, or an object", trim_whitespace=False)
    dataset = serializers.CharField(help_text="gold@3")
    candidate = serializers.CharField(help_text="judge@2026-03")
    baseline = serializers.CharField(required=False, default="", allow_blank=True)
    scenario = serializers.CharField(required=False, default="", allow_blank=True, help_text="a simulated run")


class GateRunSerializer(serializers.ModelSerializer[GateRun]):
    dataset = serializers.CharField(source="dataset_version")
    candidate = serializers.CharField()
    baseline = serializers.CharField(allow_null=True)
    sentence = serializers.CharField(source="document.sentence")
    checks = serializers.ListField(source="document.checks", child=serializers.DictField())

    class Meta:
        model = GateRun
        fields = ("id", "passed", "sentence", "dataset", "candidate", "baseline", "policy", "checks", "created_at")


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


class Trends(APIView):
    """Raw and corrected series with intervals, versions marked."""

    scope = "read"

    @extend_schema(
        operation_id="trends_read",
        parameters=[SIGNAL, CLASSIFIER, VALUE, BY, OpenApiParameter("period", str, enum=trends.PERIODS),
                    OpenApiParameter("since", OpenApiTypes.DATE), OpenApiParameter("until", OpenApiTypes.DATE)],
        responses=OpenApiTypes.OBJECT,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = TrendQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked: dict[str, Any] = dict(query.validated_data)
        classifier = flags.classifier_named(asked.pop("classifier")) if asked["classifier"] else None
        asked.pop("classifier", None)
        signal = signals_named([asked.pop("signal")])[0]
        return Response(trends.read(signal=signal, classifier=classifier, **asked | {"by": names(asked["by"])}))


class VersionChanges(APIView):
    """What each change of versions in a trend did to it by itself, by conversations that both versions scored."""

    scope = "read"

    @extend_schema(
        operation_id="trends_versions", parameters=[SIGNAL, CLASSIFIER, VALUE], responses=OpenApiTypes.OBJECT
    )
    def get(self, request: Request) -> Response:
        query = TrendQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        classifier = flags.classifier_named(asked["classifier"]) if asked["classifier"] else None
        signal = signals_named([asked["signal"]])[0]
        return Response(bridges.read(signal=signal, classifier=classifier, value=asked["value"]))


class Attribution(APIView):
    """What moved between two periods: customers, upgrade, silent drift, mix, transcription."""

    scope = "read"

    @extend_schema(
        operation_id="attribution_read",
        parameters=[SIGNAL, OpenApiParameter("from", str, required=True, description="2026-01-01..2026-01-31"),
                    OpenApiParameter("to", str, required=True), CLASSIFIER, VALUE, BY, FROM_VERSION, TO_VERSION],
        responses=OpenApiTypes.OBJECT,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        asked = request.query_params
        missing = {name: ["This field is required."] for name in ("signal", "from", "to") if not asked.get(name)}
        if missing:
            raise serializers.ValidationError(missing)
        found = attribution.attribute(
            signal=signals_named([asked["signal"]])[0],
            before=periods.read(asked["from"], field="from"),
            after=periods.read(asked["to"], field="to"),
            classifier=flags.classifier_named(asked["classifier"]) if asked.get("classifier") else None,
            value=asked.get("value", ""),
            by=names(asked.get("by", "channel,cohort")),
            chosen_versions=(asked.get("from_version", ""), asked.get("to_version", "")),
        )
        days = {name: periods.read(asked[field], field=field) for name, field in (("before", "from"), ("after", "to"))}
        return Response(found | {"settle": settling.steps(found, **days)})


class SettleSerializer(serializers.Serializer[Any]):
    signal = serializers.CharField()
    action = serializers.ChoiceField(choices=[settling.LABEL, settling.SCORE])
    since = serializers.DateField()
    until = serializers.DateField()
    labels = serializers.IntegerField(required=False, default=0, help_text="how many to draw, for `label`")
    version = serializers.CharField(required=False, default="", help_text="judge@2026-01, for `score`")


class SettledSerializer(serializers.Serializer[Any]):
    queue = serializers.CharField(allow_null=True)
    scoring_run = serializers.IntegerField(allow_null=True)
    items = serializers.IntegerField()


class Settle(APIView):
    """Take one of the steps that `attribution/` names under `settle`: draw the queue, or start the scoring."""

    scope = "admin"

    @extend_schema(operation_id="attribution_settle", request=SettleSerializer, responses={201: SettledSerializer})
    def post(self, request: Request) -> Response:
        told = given(SettleSerializer, request)
        done = settling.act(
            signal=signals_named([told["signal"]])[0],
            action=told["action"],
            days=periods.read(f"{told['since']}..{told['until']}", field="since"),
            labels=told["labels"],
            version=told["version"],
            by=who(request),
        )
        answer: dict[str, Any]
        if isinstance(done, Queue):
            answer = {"queue": done.slug, "scoring_run": None, "items": done.items.count()}
        else:
            tasks.work_scoring_run.delay(done.id)
            answer = {"queue": None, "scoring_run": done.id, "items": done.total}
        return Response(SettledSerializer(answer).data, status=201)


class Gates(generics.ListAPIView[GateRun]):
    """Gates that were run; POST runs one."""

    scopes: ClassVar = {"GET": "read", "POST": "read"}
    serializer_class = GateRunSerializer
    queryset = GateRun.objects.select_related(
        "dataset_version__dataset", "candidate__classifier", "baseline__classifier"
    ).order_by("id")

    @extend_schema(operation_id="gates_run", request=GateSerializer, responses={201: GateRunSerializer})
    def post(self, request: Request) -> Response:
        done = gates.run(**given(GateSerializer, request), by_whom=who(request))
        return Response(GateRunSerializer(done).data, status=201)
