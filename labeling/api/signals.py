"""Signals over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from labeling import signals
from labeling.access import signal as signal_or_404
from labeling.models import Category, Signal, User


class CategorySerializer(serializers.ModelSerializer[Category]):
    class Meta:
        model = Category
        fields = ("value", "label", "key", "score")


class SignalSerializer(serializers.ModelSerializer[Signal]):
    """A signal in the form of the YAML contract, with the version of its guideline."""

    categories = CategorySerializer(many=True)
    trust = serializers.SerializerMethodField()
    guideline = serializers.SerializerMethodField()
    guideline_version = serializers.SerializerMethodField()
    min = serializers.FloatField(source="minimum", allow_null=True)
    max = serializers.FloatField(source="maximum", allow_null=True)

    class Meta:
        model = Signal
        fields = (
            "slug", "title", "scale", "unit", "categories", "min", "max", "trust", "guideline", "guideline_version",
        )  # fmt: skip

    def get_trust(self, signal: Signal) -> dict[str, Any]:
        return {"statistic": signal.trust_statistic, "at_least": signal.trust_at_least}

    def get_guideline(self, signal: Signal) -> str:
        newest = next(iter(signal.guidelines.all()), None)
        return newest.text if newest else ""

    def get_guideline_version(self, signal: Signal) -> int | None:
        newest = next(iter(signal.guidelines.all()), None)
        return newest.version if newest else None


class Signals(generics.ListAPIView[Signal]):
    """The signals of the workspace; POST creates or updates in the form of the YAML contract, one or a list, and answers
    alike."""

    scopes: ClassVar = {"GET": "read", "POST": "ingest"}
    serializer_class = SignalSerializer
    queryset = Signal.objects.prefetch_related("categories", "guidelines").order_by("id")

    @extend_schema(request=OpenApiTypes.OBJECT, responses={201: SignalSerializer})
    def post(self, request: Request) -> Response:
        document = request.data if isinstance(request.data, list) else [request.data]
        by = request.user if isinstance(request.user, User) else None
        done = signals.apply(document=document, by=by)
        rows = self.get_queryset().filter(slug__in=[*done.created, *done.updated, *done.unchanged])
        told = SignalSerializer(rows, many=True).data
        return Response(told if isinstance(request.data, list) else told[0], status=201 if done.created else 200)


class OneSignal(generics.RetrieveAPIView[Signal]):
    """One signal."""

    scope = "read"
    serializer_class = SignalSerializer

    def get_object(self) -> Signal:
        return signal_or_404(self.kwargs["slug"])
