"""Gold datasets: named sets whose versions are frozen, hashed, and unchangeable in the database itself."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.conversations import WHOLE, Conversation
from labeling.models.queues import Queue
from labeling.models.signals import Guideline, Signal


class Dataset(models.Model):
    """A named gold set of one signal."""

    slug = models.SlugField(max_length=80, unique=True)
    title = models.CharField(max_length=200)
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="datasets")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["slug"]

    def __str__(self) -> str:
        return self.slug


class DatasetVersion(models.Model):
    """A frozen snapshot, written `name@number`. Rows come while `frozen_at` is null, in one transaction; then never again."""

    class Aggregation(models.TextChoices):
        MAJORITY = "majority"
        ADJUDICATED = "adjudicated"
        DAWID_SKENE = "dawid-skene"
        SINGLE = "single"
        MEAN = "mean"
        MEDIAN = "median"

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    aggregation = models.CharField(max_length=11, choices=Aggregation)
    min_labels = models.PositiveSmallIntegerField(default=1)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    guideline = models.ForeignKey(Guideline, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    queues = models.ManyToManyField(Queue, related_name="dataset_versions", blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    item_count = models.PositiveIntegerField(default=0)
    unresolved_count = models.PositiveIntegerField(default=0)
    label_count = models.PositiveIntegerField(default=0)
    card = models.JSONField(
        default=dict, help_text="Counts per slice, human alpha, design, method version, what changed."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    frozen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["dataset", "-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "number"], name="dataset_version_once"),
            models.CheckConstraint(
                condition=Q(frozen_at__isnull=True) | Q(sha256__regex=r"^[0-9a-f]{64}$"), name="dataset_version_hashed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.slug}@{self.number}"


class GoldRow(models.Model):
    """One unit of a dataset version with everything that its export needs, copied, so that nothing later can change it.

    Units that stay unresolved (ties, too few labels) are kept with `value` null: they are not gold and not exported,
    but the human agreement of the slice counts them. `votes` is value → number of annotators, `ratings` annotator → value.
    """

    class DecidedBy(models.TextChoices):
        MAJORITY = "majority"
        ADJUDICATION = "adjudication"
        DAWID_SKENE = "dawid-skene"
        SINGLE = "single"
        MEAN = "mean"
        MEDIAN = "median"
        UNRESOLVED = "unresolved"

    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="rows")
    position = models.PositiveIntegerField(help_text="The fixed order: by conversation id, then turn.")
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="gold_rows")
    external_id = models.CharField(max_length=200)
    turn = models.IntegerField(default=WHOLE)
    value = models.TextField(null=True, blank=True)
    number = models.FloatField(null=True, blank=True)
    votes = models.JSONField(default=dict)
    ratings = models.JSONField(default=dict)
    annotators = models.PositiveSmallIntegerField(default=0)
    decided_by = models.CharField(max_length=12, choices=DecidedBy)
    channel = models.CharField(max_length=60)
    cohort = models.CharField(max_length=200)
    attributes = models.JSONField(default=dict)
    stratum = models.CharField(max_length=400, blank=True)
    inclusion_probability = models.FloatField(default=1.0)
    labeled_at = models.DateTimeField(null=True, blank=True, help_text="When its last label came in.")
    text_sha256 = models.CharField(max_length=64)
    turns = models.JSONField(default=list)

    class Meta:
        ordering: ClassVar = ["version", "position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "conversation", "turn"], name="gold_row_unit_once"),
            models.UniqueConstraint(fields=["version", "position"], name="gold_row_position_once"),
            models.CheckConstraint(
                condition=Q(decided_by="unresolved", value__isnull=True)
                | (~Q(decided_by="unresolved") & Q(value__isnull=False)),
                name="gold_row_resolved_or_not",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["version", "channel", "cohort"], name="gold_row_slice")]
