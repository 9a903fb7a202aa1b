"""Classifiers and their pinned versions over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from calibration import classifiers
from calibration.models import Classifier, ClassifierVersion


class ClassifierVersionSerializer(serializers.ModelSerializer[ClassifierVersion]):
    parent: Any = serializers.SlugRelatedField[ClassifierVersion](slug_field="version", read_only=True)

    class Meta:
        model = ClassifierVersion
        fields = (
            "version", "kind", "model", "prompt", "parameters", "code", "note", "parent", "content_sha256", "created_at",
        )  # fmt: skip


class ClassifierSerializer(serializers.ModelSerializer[Classifier]):
    signal = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    versions: Any = ClassifierVersionSerializer(many=True)

    class Meta:
        model = Classifier
        fields = ("slug", "title", "signal", "versions")


class Classifiers(generics.ListAPIView[Classifier]):
    """The classifiers; POST creates them with versions in the form of `classifiers apply`, one or a list, and answers alike."""

    scopes: ClassVar = {"GET": "read", "POST": "ingest"}
    serializer_class = ClassifierSerializer
    queryset = Classifier.objects.select_related("signal").prefetch_related("versions__parent").order_by("id")

    @extend_schema(request=OpenApiTypes.OBJECT, responses={201: ClassifierSerializer})
    def post(self, request: Request) -> Response:
        document = request.data if isinstance(request.data, list) else [request.data]
        done = classifiers.apply(document=document)
        slugs = [entry["slug"] for entry in document]
        rows = self.get_queryset().filter(slug__in=slugs)
        told = ClassifierSerializer(rows, many=True).data
        return Response(told if isinstance(request.data, list) else told[0], status=201 if done.created else 200)


class Versions(generics.ListAPIView[ClassifierVersion]):
    """The pinned versions of a classifier; POST registers one, and refuses another content under the same name."""

    scopes: ClassVar = {"GET": "read", "POST": "ingest"}
    serializer_class = ClassifierVersionSerializer
    queryset = ClassifierVersion.objects.none()

    def get_queryset(self) -> Any:
        classifier = get_object_or_404(Classifier, slug=self.kwargs["slug"])
        return classifier.versions.select_related("parent").order_by("id")

    @extend_schema(request=OpenApiTypes.OBJECT, responses={201: ClassifierVersionSerializer})
    def post(self, request: Request, slug: str) -> Response:
        classifier = get_object_or_404(Classifier.objects.select_related("signal"), slug=slug)
        entry: dict[str, Any] = {
            "slug": slug,
            "title": classifier.title,
            "signal": classifier.signal.slug,
            "versions": [request.data],
        }
        done = classifiers.apply(document=[entry])
        row = classifier.versions.get(version=entry["versions"][0]["version"])
        return Response(ClassifierVersionSerializer(row).data, status=201 if done.created else 200)
