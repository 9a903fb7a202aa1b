"""Monitors, the flags they raise, and the recalibrations that resolve them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from calibration.models.classifiers import Classifier, ClassifierVersion
from labeling.models import DatasetVersion, Queue


class Monitor(models.Model):
    """What is watched of a classifier: its calibration, and by which slices. One per classifier."""

    classifier = models.OneToOneField(Classifier, on_delete=models.CASCADE, related_name="monitor")
    by = models.JSONField(default=list, help_text="channel, cohort or attribute names; empty watches the whole.")
    dataset_version = models.ForeignKey(
        DatasetVersion,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The calibration; null: the first gold of each version.",
    )
    enabled = models.BooleanField(default=True)
    streams = models.JSONField(default=list, help_text="What was watched at the last look: slices with their evidence.")
    evaluated_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)


class DriftFlag(models.Model):
    """A statistically backed alarm on a slice of a version."""

    class Kind(models.TextChoices):
        AGREEMENT = "agreement", "Agreement fell"
        MIX = "mix", "Answers shifted"
        SILENT_CHANGE = "silent_change", "Changed without an upgrade"
        VERSION = "version", "In service without calibration"
        EXPIRED = "expired", "Calibration expired"
        ASR = "asr", "Transcription worsened"
        HUMAN = "human", "People agree less"

    class State(models.TextChoices):
        OPEN = "open"
        ACKNOWLEDGED = "acknowledged"
        RECALIBRATING = "recalibrating"
        RESOLVED = "resolved"
        DISMISSED = "dismissed"

    ACTIVE: ClassVar = [State.OPEN, State.ACKNOWLEDGED, State.RECALIBRATING]

    kind = models.CharField(max_length=13, choices=Kind)
    version = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, related_name="flags")
    slice = models.JSONField(default=dict)
    slice_key = models.CharField(max_length=400, blank=True, help_text="The slice as canonical text.")
    since = models.DateField(null=True, blank=True, help_text="When the change most likely began.")
    raised_at = models.DateTimeField()
    evidence = models.JSONField(default=dict)
    severity = models.JSONField(default=dict)
    guarantee = models.CharField(max_length=300)
    state = models.CharField(max_length=13, choices=State, default=State.OPEN)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    snoozed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-raised_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "version", "slice_key"],
                condition=Q(state__in=["open", "acknowledged", "recalibrating"]),
                name="drift_flag_active_once",
            ),
        ]


class FlagEvent(models.Model):
    """Who did what to a flag, when and why."""

    flag = models.ForeignKey(DriftFlag, on_delete=models.CASCADE, related_name="events")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    action = models.CharField(max_length=40)
    note = models.TextField(blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["at", "id"]


class Recalibration(models.Model):
    """The loop that resolves a flag: slices, top-up queue, labels, fit, validation, promotion. Each step leaves its mark.

    A flag has one at a time; those that were given up stay beside it.
    """

    class State(models.TextChoices):
        LABELLING = "labelling"
        FITTED = "fitted"
        VALIDATED = "validated"
        PROMOTED = "promoted"
        ABANDONED = "abandoned"

    flag = models.ForeignKey(DriftFlag, on_delete=models.PROTECT, related_name="recalibrations")
    queue = models.ForeignKey(Queue, on_delete=models.PROTECT, null=True, blank=True, related_name="recalibrations")
    dataset_version = models.ForeignKey(
        DatasetVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=10, choices=State, default=State.LABELLING)
    slices = models.JSONField(default=list)
    fit = models.JSONField(default=dict, help_text="The fitted map, its method and data.")
    validation = models.JSONField(default=dict)
    tries = models.JSONField(default=list, help_text="Fits that were validated and put aside, the first first.")
    promoted = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    mapped_until = models.DateField(
        null=True,
        blank=True,
        help_text="The last day whose scores were mapped on promotion; what comes later was scored.",
    )
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    opened_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["flag"], condition=~Q(state="abandoned"), name="recalibration_once_a_flag")
        ]
