"""Canaries: a fixed set of conversations which a pinned version answers again and again, apart from its predictions."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from calibration.models.classifiers import ClassifierVersion, Prediction
from labeling.models import WHOLE, Conversation


class CanarySet(models.Model):
    """The canaries of one version. Another choice, or a fresh start after a change that was accepted, is another set."""

    version = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, related_name="canary_sets")
    seed = models.PositiveBigIntegerField(default=0)
    every_days = models.PositiveSmallIntegerField(
        default=7, help_text="Days between two rounds that start by themselves; 0: by hand, or loaded."
    )
    retired_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["version"], condition=Q(retired_at__isnull=True), name="canary_set_in_use_once"
            )
        ]


class Canary(models.Model):
    """One unit of a set. `content_sha256` is of the conversation as it was chosen: a changed one is asked no longer."""

    canary_set = models.ForeignKey(CanarySet, on_delete=models.CASCADE, related_name="canaries")
    position = models.PositiveIntegerField()
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="+")
    turn = models.IntegerField(default=WHOLE)
    content_sha256 = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["canary_set", "conversation", "turn"], name="canary_once")
        ]


class CanaryRound(models.Model):
    """All canaries answered once. The first round is what the version is pinned to, the next three measure its noise."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    canary_set = models.ForeignKey(CanarySet, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    at = models.DateTimeField(help_text="When the canaries were answered, or were to be.")
    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    loaded = models.BooleanField(default=False, help_text="Answered elsewhere.")
    answers = models.PositiveIntegerField(default=0)
    flips = models.FloatField(default=0, help_text="Answers unlike those of the first round; for numbers how far off.")
    cost = models.FloatField(default=0)
    error = models.TextField(blank=True)
    # The worker that holds the round renews this; a round whose holder died is free again when it has passed.
    held_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["canary_set", "number"], name="canary_round_number_once"),
            models.UniqueConstraint(
                fields=["canary_set", "at"], condition=Q(loaded=True), name="canary_round_loaded_once"
            ),
        ]


class CanaryAnswer(models.Model):
    """What the version said of one canary in one round; in the form of a prediction, but none."""

    round = models.ForeignKey(CanaryRound, on_delete=models.CASCADE, related_name="said")
    canary = models.ForeignKey(Canary, on_delete=models.CASCADE, related_name="said")
    status = models.CharField(max_length=10, choices=Prediction.Status, default=Prediction.Status.OK)
    value = models.TextField(null=True, blank=True)
    number = models.FloatField(null=True, blank=True)
    cost = models.FloatField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["round", "canary"], name="canary_answer_once")]
