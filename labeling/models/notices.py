"""Who wants to hear of what, what happened, and each delivery of the one to the other."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q


class Subscription(models.Model):
    """A webhook or a mail address, and the kinds of events that it is told of. The secret signs; an old one for a while too."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook"
        MAIL = "mail"

    class Event(models.TextChoices):
        FLAG_OPENED = "flag.opened", "a drift flag is opened"
        FLAG_RESOLVED = "flag.resolved", "a drift flag is resolved or dismissed"
        DATASET_FROZEN = "dataset.frozen", "a gold dataset is frozen"
        GATE_DECIDED = "gate.decided", "a gate is decided"
        QUEUE_DONE = "queue.done", "a queue has all its labels"

    kind = models.CharField(max_length=7, choices=Kind)
    target = models.CharField(max_length=500, help_text="The address: https://… or name@host.")
    events = models.JSONField(default=list)
    secret = models.CharField(max_length=100, blank=True)
    old_secret = models.CharField(max_length=100, blank=True)
    old_secret_until = models.DateTimeField(null=True, blank=True)
    active = models.BooleanField(default=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["id"]


class Notice(models.Model):
    """Something that happened, once: `key` names the happening, so that it cannot be announced twice."""

    key = models.CharField(max_length=120, unique=True)
    event = models.CharField(max_length=30)
    document = models.JSONField()
    at = models.DateTimeField(auto_now_add=True)


class Delivery(models.Model):
    """One notice on its way to one subscription, with every attempt in `attempts`: when, what came back, how long."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        GIVEN_UP = "given_up"

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    attempts = models.JSONField(default=list)
    next_at = models.DateTimeField()
    # The worker that sends it renews this; a delivery whose worker died is free again when it has passed.
    held_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["notice", "subscription"], name="delivery_once")]
        indexes: ClassVar = [
            models.Index(fields=["next_at"], condition=Q(state="waiting"), name="delivery_waiting"),
        ]
