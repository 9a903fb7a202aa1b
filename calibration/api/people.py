"""A person's evidence over HTTP, through the same door as the page."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import annotators
from labeling import access
from labeling.formats.rows import moment_text
from labeling.models import User


class Person(APIView):
    """Pace, test–retest, agreement with gold checks and rulings: for the person and for engineers."""

    scope = "label"

    @extend_schema(summary="What is known of a person's labels", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, name: str) -> Response:
        reader: Any = request.user
        assert isinstance(reader, User)
        found = annotators.read(person=access.person_to_read(reader, name), reader=reader, now=timezone.now())
        return Response(
            {
                "person": found.person.username,
                "checks_until": moment_text(found.until),
                "signals": [one.as_dict() for one in found.signals],
                "practice": [
                    {
                        "queue": one.queue.slug,
                        "asked": one.asked,
                        "correct": one.correct,
                        "passed": one.passed,
                        "at": moment_text(one.finished_at),
                    }
                    for one in found.practice
                ],
            }
        )
