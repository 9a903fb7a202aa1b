"""Classifiers, their pinned versions, and what those said."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from labeling.models import WHOLE, Conversation, Signal


class Classifier(models.Model):
    """Something that scores one signal."""

    slug = models.SlugField(max_length=120, unique=True)
    title = models.CharField(max_length=200)
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="classifiers")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["slug"]

    def __str__(self) -> str:
        return self.slug


class ClassifierVersion(models.Model):
    """A pinned build, written `classifier@version`: change anything and it is another version (triggers hold that).

    `content_sha256` is over kind, model, prompt, parameters and code: the pin. `kind` names what runs it: `vader`, `afinn`,
    `openai`, `trained`, `python` and `http` can be run here; any other word describes a version whose predictions are loaded.
    """

    classifier = models.ForeignKey(Classifier, on_delete=models.PROTECT, related_name="versions")
    version = models.CharField(max_length=120)
    kind = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=200, blank=True)
    prompt = models.TextField(blank=True)
    parameters = models.JSONField(default=dict)
    code = models.CharField(max_length=200, blank=True)
    note = models.TextField(blank=True)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    content_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["classifier", "created_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["classifier", "version"], name="classifier_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.classifier.slug}@{self.version}"


class Artefact(models.Model):
    """What a fitted version learned, as bytes under their hash; the version's parameters name it."""

    sha256 = models.CharField(max_length=64, unique=True)
    body = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)


class FittedOn(models.Model):
    """A conversation that a version was fitted on: it is never scored by it, and no report measures it there."""

    version = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, related_name="fitted_on")
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "conversation"], name="fitted_on_conversation_once")
        ]


class Prediction(models.Model):
    """A version's answer for one unit. `value` is canonical as a label's; null when there is none, and `status` says why."""

    class Status(models.TextChoices):
        OK = "ok"
        MISSING = "missing"
        UNPARSABLE = "unparsable"
        REFUSED = "refused"

    version = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, related_name="predictions")
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="predictions")
    turn = models.IntegerField(default=WHOLE)
    value = models.TextField(null=True, blank=True)
    number = models.FloatField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.OK)
    score = models.FloatField(null=True, blank=True, help_text="The raw number behind the category.")
    probabilities = models.JSONField(null=True, blank=True)
    rationale = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True)
    cost = models.FloatField(null=True, blank=True)
    predicted_at = models.DateTimeField(null=True, blank=True)
    stored_at = models.DateTimeField(auto_now_add=True)
    metadata = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "conversation", "turn"], name="prediction_once"),
            models.CheckConstraint(
                condition=Q(status="ok", value__isnull=False) | (~Q(status="ok") & Q(value__isnull=True)),
                name="prediction_value_or_reason",
            ),
        ]
        # The newest row of a version, in one step: it tells which predictions a table of pairs was made of.
        indexes: ClassVar = [models.Index(fields=["version", "stored_at"], name="prediction_newest")]


class PredictionRollup(models.Model):
    """Predictions counted by day, version and slice, kept in the same transaction as they are: trends never read rows.

    `value` is the canonical value, or the status of a failed one with `failed` true; `total` is the sum of `number`.
    Interval values are counted under the empty value. `day` is of `predicted_at`, else of the conversation's start.
    """

    version = models.ForeignKey(ClassifierVersion, on_delete=models.CASCADE, related_name="rollups")
    day = models.DateField(null=True)
    channel = models.CharField(max_length=60)
    cohort = models.CharField(max_length=200)
    value = models.TextField(blank=True)
    failed = models.BooleanField(default=False)
    count = models.PositiveBigIntegerField()
    total = models.FloatField(default=0)
    total_squares = models.FloatField(default=0)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["version", "day"], name="rollup_by_day")]


class Outcome(models.Model):
    """A verified fact: a survey answer, an escalation, a reopened ticket."""

    class Kind(models.TextChoices):
        CSAT = "csat"
        NPS = "nps"
        CES = "ces"
        ESCALATION = "escalation"
        REOPENED = "reopened"

    # sha256 over conversation, customer, kind and time: what makes an outcome the same one when it is loaded again.
    key = models.CharField(max_length=64, unique=True)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.PROTECT, null=True, blank=True, related_name="outcomes"
    )
    customer = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=10, choices=Kind)
    value = models.FloatField()
    at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind__in=["csat", "nps", "ces", "escalation", "reopened"]), name="outcome_kind_known"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "at"], name="outcome_journey")]


class ScoringRun(models.Model):
    """A version at work on a set of units: a row first, then a task that can be killed anywhere and resumed."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        STOPPED = "stopped"

    version = models.ForeignKey(ClassifierVersion, on_delete=models.PROTECT, related_name="scoring_runs")
    frame = models.JSONField(help_text="What is scored: a dataset version, a queue, or a period.")
    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    cost = models.FloatField(default=0)
    budget = models.FloatField(null=True, blank=True, help_text="The run stops when its cost has reached this.")
    error = models.TextField(blank=True)
    # The worker that holds the run renews this; a run whose holder died is free again when it has passed.
    held_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    worked_at = models.DateTimeField(
        default=timezone.now, help_text="When a worker last took it up: others come first."
    )
    finished_at = models.DateTimeField(null=True, blank=True)
