"""Agreement among people over HTTP: two by two, and over time."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import concord
from labeling import access
from labeling.errors import Refused


class ReviewAgreement(APIView):
    """Who agrees with whom, with intervals, and alpha over time; for reviewers and above."""

    scope = "label"

    @extend_schema(
        summary="Agreement among the people of a queue",
        parameters=[
            OpenApiParameter("queue", str, description="the queue"),
            OpenApiParameter("signal", str, description="or all labels of a signal"),
        ],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        reader: Any = request.user
        queue, signal = request.query_params.get("queue"), request.query_params.get("signal")
        if not (queue or signal):
            raise Refused("no_scope", "name a queue or a signal: ?queue= or ?signal=", field="queue")
        scope = access.review_scope(reader, "queue" if queue else "signal", queue or signal or "")
        return Response({"signals": [one.as_dict() for one in concord.read(scope)]})
