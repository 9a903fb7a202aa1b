"""Personal data over HTTP: what is masked, and who has read an original."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling import personal, privacy
from labeling.api.paging import CursorPages
from labeling.models import OriginalReading, Privacy, User


class PrivacySerializer(serializers.Serializer[Privacy]):
    masks = serializers.ListField(child=serializers.ChoiceField(choices=personal.KINDS))
    region = serializers.CharField(max_length=2, allow_blank=True, default="", help_text="US, DE …, or nothing")
    originals_role = serializers.ChoiceField(choices=User.Role.choices, default=User.Role.ENGINEER)


class PrivacySetting(APIView):
    scope = "admin"

    @extend_schema(summary="What is masked", responses=PrivacySerializer)
    def get(self, request: Request) -> Response:
        return Response(PrivacySerializer(privacy.setting()).data)

    @extend_schema(summary="Choose what is masked", request=PrivacySerializer, responses=PrivacySerializer)
    def put(self, request: Request) -> Response:
        given = PrivacySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        by: Any = request.user
        return Response(PrivacySerializer(privacy.change(by=by, **given.validated_data)).data)


class ReadingSerializer(serializers.ModelSerializer[OriginalReading]):
    reader: Any = serializers.CharField(source="reader.username", default=None)

    class Meta:
        model = OriginalReading
        fields = ("id", "reader", "what", "via", "read_at")
        extra_kwargs: ClassVar = {
            "what": {"help_text": "conversation ID, trace ID, dataset NAME@N, or what was taken out"}
        }


class OriginalReadings(generics.ListAPIView[OriginalReading]):
    """Who has read what is masked for others, oldest first."""

    scope = "admin"
    serializer_class = ReadingSerializer
    queryset = OriginalReading.objects.select_related("reader")
    pagination_class = CursorPages
