"""Scoring runs and fits over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import classifiers, scoring, training
from calibration.evaluators.base import READS
from calibration.evaluators.trained import Settings
from calibration.models import ScoringRun
from labeling import references


class ScoringRunSerializer(serializers.ModelSerializer[ScoringRun]):
    retest: Any = serializers.SerializerMethodField(
        help_text="test-retest kappa of a judge that was asked several times"
    )

    class Meta:
        model = ScoringRun
        fields = (
            "id", "frame", "state", "total", "done", "failed", "cost", "budget", "error", "created_at",
            "finished_at", "retest",
        )  # fmt: skip

    def to_representation(self, instance: ScoringRun) -> dict[str, Any]:
        return super().to_representation(instance) | {"version": str(instance.version)}

    def get_retest(self, run: ScoringRun) -> dict[str, Any] | None:
        found = scoring.retest(run=run)
        return None if found is None else found.as_dict()


class StartSerializer(serializers.Serializer[Any]):
    version = serializers.CharField(help_text="judge@2026-03")
    dataset = serializers.CharField(required=False, help_text="gold@3")
    queue = serializers.CharField(required=False)
    since = serializers.CharField(required=False, help_text="a day; with `until`, both included")
    until = serializers.CharField(required=False)
    budget = serializers.FloatField(required=False)


class ResumeSerializer(serializers.Serializer[Any]):
    budget = serializers.FloatField(required=False)


class Runs(generics.ListAPIView[ScoringRun]):
    """Scoring runs, oldest first; POST starts one, which a worker takes up."""

    scopes: ClassVar = {"GET": "read", "POST": "ingest"}
    serializer_class = ScoringRunSerializer
    queryset = ScoringRun.objects.select_related("version__classifier__signal").order_by("id")

    @extend_schema(request=StartSerializer, responses={201: ScoringRunSerializer})
    def post(self, request: Request) -> Response:
        asked = StartSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        names = {"dataset": "dataset", "queue": "queue", "since": "from", "until": "to"}
        frame = {key: given[name] for name, key in names.items() if name in given}
        version = classifiers.version_named(given["version"])
        run = scoring.start(version=version, frame=frame, budget=given.get("budget"))
        return Response(ScoringRunSerializer(run).data, status=201)


class OneRun(generics.RetrieveAPIView[ScoringRun]):
    """One scoring run: where it stands, what it cost, and how a judge agrees with itself."""

    scope = "read"
    serializer_class = ScoringRunSerializer
    queryset = Runs.queryset


class Resume(APIView):
    """Let a run that failed or stopped go on, with a higher budget where it had one."""

    scope = "ingest"

    @extend_schema(request=ResumeSerializer, responses=ScoringRunSerializer)
    def post(self, request: Request, pk: int) -> Response:
        run = get_object_or_404(Runs.queryset, id=pk)
        asked = ResumeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response(ScoringRunSerializer(scoring.resume(run=run, budget=asked.validated_data.get("budget"))).data)


class FitSerializer(serializers.Serializer[Any]):
    dataset = serializers.CharField(help_text="gold@3")
    classifier = serializers.CharField()
    version = serializers.CharField()
    held_out = serializers.FloatField(default=0.25)
    seed = serializers.IntegerField(default=1)
    analyzer = serializers.CharField(default="word", help_text="word or char")
    strength = serializers.FloatField(default=1.0)
    reads = serializers.CharField(default="customer", help_text=", ".join(READS))


class FittedSerializer(serializers.Serializer[Any]):
    version = serializers.CharField()
    content_sha256 = serializers.CharField()
    units = serializers.IntegerField()
    held_out = serializers.IntegerField()


class Fits(APIView):
    """Fit a classifier of the house on a gold dataset version; what is held out measures the new version."""

    scope = "ingest"

    @extend_schema(request=FitSerializer, responses={201: FittedSerializer})
    def post(self, request: Request) -> Response:
        asked = FitSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = dict(asked.validated_data)
        settings = Settings(analyzer=given.pop("analyzer"), strength=given.pop("strength"))
        gold = references.dataset_version(given.pop("dataset"))
        done = training.fit(dataset_version=gold, settings=settings, most=training.MOST_UNITS, **given)
        told = {"version": str(done.version), "content_sha256": done.version.content_sha256, "units": done.units}
        return Response(told | {"held_out": done.held_out}, status=201)
