"""Agreement over HTTP: the report, the labels still needed, reports that were kept."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import classifiers
from calibration.evidence import comparing, planning, reports
from calibration.models import AgreementReport
from labeling import references

DATASET = OpenApiParameter("dataset", str, required=True, description="gold@3, or gold for its newest version")
CLASSIFIER = OpenApiParameter("classifier", str, required=True, description="judge@2026-03, or judge for all versions")
BY = OpenApiParameter("by", str, description="comma-separated: channel, cohort, names of attributes")


class ReportQuery(serializers.Serializer[Any]):
    """What a report is asked for."""

    dataset = serializers.CharField()
    classifier = serializers.CharField()
    by = serializers.CharField(required=False, default="", allow_blank=True)


class PlanQuery(ReportQuery):
    half_width = serializers.FloatField(required=False, default=planning.HALF_WIDTH)


class CompareQuery(serializers.Serializer[Any]):
    dataset = serializers.CharField()
    a = serializers.CharField()
    b = serializers.CharField()
    by = serializers.CharField(required=False, default="", allow_blank=True)
    margin = serializers.FloatField(required=False, default=None)


def asked(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The query's fields, `by` as a list; a missing one is a 400 that names it."""
    query = kind(data=request.query_params)
    query.is_valid(raise_exception=True)
    found: dict[str, Any] = dict(query.validated_data)
    return found | {"by": [name.strip() for name in found["by"].split(",") if name.strip()]}


class Agreement(APIView):
    """The agreement report; POST keeps it under a permanent address."""

    scopes: ClassVar = {"GET": "read", "POST": "ingest"}

    @extend_schema(
        operation_id="agreement_read",
        summary="Agreement of a classifier with a gold dataset version",
        parameters=[DATASET, CLASSIFIER, BY],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        return Response(reports.from_references(**asked(ReportQuery, request)))

    @extend_schema(
        operation_id="agreement_keep",
        summary="Keep an agreement report under a permanent address",
        request=ReportQuery,
        responses={201: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request) -> Response:
        query = ReportQuery(data=request.data)
        query.is_valid(raise_exception=True)
        given: dict[str, Any] = dict(query.validated_data)
        by = [name.strip() for name in given.pop("by").split(",") if name.strip()]
        reports.prepare(**given)
        kept = reports.save(**given, by=by)
        return Response({"id": kept.id, "url": f"/reports/{kept.id}/", "document": kept.document}, status=201)


class Plan(APIView):
    """Labels still needed per slice."""

    scope = "read"

    @extend_schema(
        operation_id="plan_read",
        summary="Labels still needed per slice",
        parameters=[DATASET, CLASSIFIER, BY, OpenApiParameter("half_width", float)],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        given = asked(PlanQuery, request)
        return Response(
            planning.plan(
                dataset_version=references.dataset_version(given["dataset"]),
                version=classifiers.version_named(given["classifier"]),
                half_width=given["half_width"],
                by=given["by"],
            )
        )


class Comparison(APIView):
    """Two versions on the same gold, paired."""

    scope = "read"

    @extend_schema(
        operation_id="comparison_read",
        summary="Two classifier versions on the same gold, paired",
        parameters=[
            DATASET,
            OpenApiParameter("a", str, required=True),
            OpenApiParameter("b", str, required=True),
            BY,
            OpenApiParameter("margin", float, description="how much worse b may be and still be called not worse"),
        ],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        given = asked(CompareQuery, request)
        return Response(
            comparing.compare(
                dataset_version=references.dataset_version(given["dataset"]),
                a=classifiers.version_named(given["a"]),
                b=classifiers.version_named(given["b"]),
                by=given["by"],
                margin=given["margin"],
            )
        )


class KeptReport(APIView):
    """A report as it was given: the same bytes for ever."""

    scope = "read"

    @extend_schema(operation_id="reports_read", summary="A kept agreement report", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, report_id: int) -> HttpResponse:
        kept = get_object_or_404(AgreementReport, id=report_id)
        response = HttpResponse(reports.as_bytes(kept), content_type="application/json")
        response["ETag"] = f'"{kept.input_sha256}"'
        return response
