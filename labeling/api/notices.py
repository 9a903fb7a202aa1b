"""Webhooks and mail for what happens, over HTTP; for admins."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling.models import Delivery, Subscription, User
from labeling.notices import delivering


class SubscriptionSerializer(serializers.ModelSerializer[Subscription]):
    events = serializers.ListField(child=serializers.ChoiceField(choices=Subscription.Event.choices))

    class Meta:
        model = Subscription
        fields = ("id", "kind", "target", "events", "active", "created_at")


class SecretSerializer(SubscriptionSerializer):
    """With the secret that signs: shown when it is made, this once."""

    class Meta(SubscriptionSerializer.Meta):
        fields = (*SubscriptionSerializer.Meta.fields, "secret")  # type: ignore[assignment]


class NewSubscriptionSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=Subscription.Kind.choices, default=Subscription.Kind.WEBHOOK)
    target = serializers.CharField(max_length=500, help_text="https://… or name@host")
    events = serializers.ListField(child=serializers.CharField())


class ChangeSerializer(serializers.Serializer[Any]):
    events = serializers.ListField(child=serializers.CharField(), required=False)
    active = serializers.BooleanField(required=False)


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    event = serializers.CharField(source="notice.event", read_only=True)
    at = serializers.DateTimeField(source="notice.at", read_only=True)

    class Meta:
        model = Delivery
        fields = ("id", "event", "at", "state", "attempts", "next_at")


class Subscriptions(generics.ListAPIView[Subscription]):
    """Who is told of what; POST subscribes, and answers with the secret of a webhook, once."""

    scope = "admin"
    serializer_class = SubscriptionSerializer
    queryset = Subscription.objects.order_by("id")

    @extend_schema(request=NewSubscriptionSerializer, responses={201: SecretSerializer})
    def post(self, request: Request) -> Response:
        asked = NewSubscriptionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        by = request.user if isinstance(request.user, User) else None
        made = delivering.subscribe(**asked.validated_data, by=by)
        return Response(SecretSerializer(made).data, status=201)


class OneSubscription(APIView):
    scope = "admin"

    @extend_schema(operation_id="subscription_read", responses=SubscriptionSerializer)
    def get(self, request: Request, number: int) -> Response:
        return Response(SubscriptionSerializer(get_object_or_404(Subscription, id=number)).data)

    @extend_schema(operation_id="subscription_change", request=ChangeSerializer, responses=SubscriptionSerializer)
    def patch(self, request: Request, number: int) -> Response:
        """Other events, or a pause."""
        asked = ChangeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        found = delivering.change(subscription=get_object_or_404(Subscription, id=number), **asked.validated_data)
        return Response(SubscriptionSerializer(found).data)

    @extend_schema(operation_id="subscription_remove", responses={204: None})
    def delete(self, request: Request, number: int) -> Response:
        """Remove it with its log."""
        get_object_or_404(Subscription, id=number).delete()
        return Response(status=204)


class Test(APIView):
    """Send a test, on its way like any other."""

    scope = "admin"

    @extend_schema(operation_id="subscription_test", request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, number: int) -> Response:
        row = delivering.test(subscription=get_object_or_404(Subscription, id=number))
        return Response(DeliverySerializer(row).data, status=202)


class Rotate(APIView):
    """A new secret; for a day the old one signs as well."""

    scope = "admin"

    @extend_schema(operation_id="subscription_rotate", request=None, responses=SecretSerializer)
    def post(self, request: Request, number: int) -> Response:
        found = delivering.rotate(subscription=get_object_or_404(Subscription, id=number), now=timezone.now())
        return Response(SecretSerializer(found).data)


class Deliveries(generics.ListAPIView[Delivery]):
    """The log: what was sent, every attempt with what came back, and when the next one is due."""

    scope = "admin"
    serializer_class = DeliverySerializer
    queryset = Delivery.objects.none()

    def get_queryset(self) -> Any:
        of = get_object_or_404(Subscription, id=self.kwargs["number"])
        return of.deliveries.select_related("notice").order_by("id")
