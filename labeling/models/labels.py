"""What people said: submissions, labels, rulings. All append-only."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.conversations import WHOLE, Conversation
from labeling.models.queues import Item, Slot
from labeling.models.signals import Guideline, Signal


class Submission(models.Model):
    """One act of an annotator on one item: an answer, a skip or a flag. `key` comes from the client and makes it happen once."""

    class Kind(models.TextChoices):
        ANSWER = "answer"
        SKIP = "skip"
        FLAG = "flag"

    key = models.CharField(max_length=64, help_text="The client's own id of this act.")
    kind = models.CharField(max_length=6, choices=Kind)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="submissions")
    item = models.ForeignKey(
        Item,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="submissions",
        help_text="Of an answer that counts; a check has none.",
    )
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="submissions")
    reason = models.CharField(max_length=200, blank=True)
    comment = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="Active time: idle and hidden tabs do not count.")
    late = models.BooleanField(default=False, help_text="Came when the lease was gone and the item full.")
    answer = models.JSONField(default=dict, help_text="What the client was told, told again on a repeat.")
    created_at = models.DateTimeField(auto_now_add=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    requeued_at = models.DateTimeField(
        null=True, blank=True, help_text="When its item was asked again of everybody, after the guideline was mended."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["annotator", "key"], name="submission_once"),
            models.CheckConstraint(condition=Q(kind__in=["answer", "skip", "flag"]), name="submission_kind_known"),
        ]
        indexes: ClassVar = [models.Index(fields=["annotator", "-created_at"], name="submission_recent")]


class Label(models.Model):
    """One annotator's answer for one signal of one unit.

    `value` is the canonical text of the answer: a category code; for multilabel a JSON list of codes in the signal's
    order; for interval the shortest decimal. `number` is the number behind an interval answer. Rows are never changed
    but for `superseded_at`, which marks a label that a later one, or an undo, has replaced (triggers hold that).
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="labels")
    turn = models.IntegerField(default=WHOLE)
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="labels")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="labels")
    item = models.ForeignKey(Item, on_delete=models.PROTECT, null=True, blank=True, related_name="labels")
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, null=True, blank=True, related_name="labels")
    value = models.TextField()
    number = models.FloatField(null=True, blank=True)
    confidence = models.FloatField(null=True, blank=True)
    comment = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True)
    guideline = models.ForeignKey(Guideline, on_delete=models.PROTECT, null=True, blank=True, related_name="labels")
    late = models.BooleanField(default=False)
    labeled_at = models.DateTimeField(
        null=True, blank=True, help_text="When the answer was given; unknown for some sources."
    )
    stored_at = models.DateTimeField(auto_now_add=True)
    superseded_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["item", "signal", "annotator"],
                condition=Q(superseded_at__isnull=True, item__isnull=False),
                name="label_current_once_per_item",
            ),
            models.UniqueConstraint(
                fields=["conversation", "turn", "signal", "annotator"],
                condition=Q(superseded_at__isnull=True, item__isnull=True),
                name="label_loaded_once",
            ),
            models.CheckConstraint(condition=Q(turn__gte=WHOLE), name="label_turn_in_range"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["signal", "conversation", "turn"], condition=Q(superseded_at__isnull=True), name="label_by_unit"
            ),
            models.Index(fields=["signal", "labeled_at"], name="label_by_time"),
        ]


class Ruling(models.Model):
    """A reviewer's decision on a unit whose labels disagree: who, what, why.

    It ends at `superseded_at`: when a later one took its place or, `withdrawn_by` somebody, when the unit was opened again.
    An ended one stays as it is (triggers hold that).
    """

    class Reason(models.TextChoices):
        GUIDELINE_GAP = "guideline_gap", "The guideline does not say"
        SLIP = "slip", "A slip"
        AMBIGUOUS = "ambiguous", "Truly ambiguous"
        BROKEN_DATA = "broken_data", "Broken data"

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="rulings")
    turn = models.IntegerField(default=WHOLE)
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="rulings")
    item = models.ForeignKey(Item, on_delete=models.PROTECT, null=True, blank=True, related_name="rulings")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="rulings")
    value = models.TextField()
    number = models.FloatField(null=True, blank=True)
    reason = models.CharField(max_length=14, choices=Reason)
    note = models.TextField(blank=True)
    guideline = models.ForeignKey(Guideline, on_delete=models.PROTECT, null=True, blank=True, related_name="rulings")
    decided_at = models.DateTimeField(auto_now_add=True)
    superseded_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "turn", "signal"], condition=Q(superseded_at__isnull=True), name="ruling_once"
            ),
            models.CheckConstraint(
                condition=Q(reason__in=["guideline_gap", "slip", "ambiguous", "broken_data"]),
                name="ruling_reason_known",
            ),
            models.CheckConstraint(
                condition=Q(withdrawn_by__isnull=True) | Q(superseded_at__isnull=False),
                name="ruling_withdrawn_at_a_time",
            ),
        ]
