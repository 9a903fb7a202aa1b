"""Queues of sampled items, and the slots that keep two people from taking the same one."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.conversations import WHOLE, Conversation
from labeling.models.signals import Signal


class Queue(models.Model):
    """A sample to be labelled for one or more signals of one unit, by its members, `overlap` labels an item."""

    class State(models.TextChoices):
        OPEN = "open"
        PAUSED = "paused"
        CLOSED = "closed"

    slug = models.SlugField(max_length=80, unique=True)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    state = models.CharField(max_length=6, choices=State, default=State.OPEN)
    overlap = models.PositiveSmallIntegerField(default=1)
    priority = models.SmallIntegerField(default=0)
    lease_seconds = models.PositiveIntegerField(default=900)
    shows_cohort = models.BooleanField(
        default=False, help_text="Cohort and customer bend judgement: hidden unless asked."
    )
    hides_names = models.BooleanField(default=True, help_text="Reviewers see votes without names until they decide.")
    # How it was drawn, so that anyone can draw it again.
    strategy = models.CharField(max_length=20, default="uniform")
    by = models.JSONField(default=list)
    seed = models.BigIntegerField(default=0)
    design = models.JSONField(default=dict, help_text="Strata with population and allocation, frame filters, method.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    signals = models.ManyToManyField(Signal, through="QueueSignal", related_name="queues")
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="QueueMember", related_name="queues")

    class Meta:
        ordering: ClassVar = ["-priority", "-created_at"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=["open", "paused", "closed"]), name="queue_state_known"),
            models.CheckConstraint(condition=Q(overlap__gte=1) & Q(overlap__lte=50), name="queue_overlap_in_range"),
            models.CheckConstraint(condition=Q(lease_seconds__gte=10), name="queue_lease_long_enough"),
        ]

    def __str__(self) -> str:
        return self.slug


class QueueSignal(models.Model):
    """A signal asked in a queue, in the order of the questions."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="queue_signals")
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["queue", "signal"], name="queue_signal_once")]


class QueueMember(models.Model):
    """Somebody who may label a queue. `lane` spreads members over the slots of an item, so that they rarely collide."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    lane = models.PositiveSmallIntegerField(default=0)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["queue", "user"], name="queue_member_once")]


class Item(models.Model):
    """One sampled unit of a queue, with the chance that the design had of picking it, kept for ever."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="items")
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="items")
    turn = models.IntegerField(default=WHOLE)
    position = models.PositiveIntegerField()
    stratum = models.CharField(max_length=400, blank=True)
    inclusion_probability = models.FloatField(default=1.0)

    class Meta:
        ordering: ClassVar = ["queue", "position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["queue", "conversation", "turn"], name="item_unit_once"),
            models.UniqueConstraint(fields=["queue", "position"], name="item_position_once"),
            models.CheckConstraint(condition=Q(turn__gte=WHOLE), name="item_turn_in_range"),
            models.CheckConstraint(
                condition=Q(inclusion_probability__gt=0) & Q(inclusion_probability__lte=1),
                name="item_inclusion_probability",
            ),
        ]


class Slot(models.Model):
    """Room for one answer on one item. A lease is a conditional UPDATE on a free or expired slot; nothing else counts.

    `queue` and `position` repeat the item's, so that the next free slot is one step in one index.
    """

    class State(models.TextChoices):
        FREE = "free"
        LEASED = "leased"
        DONE = "done"
        SKIPPED = "skipped"

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="slots")
    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="slots")
    number = models.PositiveSmallIntegerField(help_text="0-based, below the overlap: the lane it lies in.")
    position = models.PositiveIntegerField()
    state = models.CharField(max_length=7, choices=State, default=State.FREE)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="slots"
    )
    leased_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["item", "number"], name="slot_number_once"),
            models.UniqueConstraint(fields=["item", "annotator"], name="slot_annotator_once"),
            models.CheckConstraint(
                condition=(
                    Q(state="free", annotator__isnull=True, leased_until__isnull=True)
                    | Q(state="leased", annotator__isnull=False, leased_until__isnull=False)
                    | Q(state="done", annotator__isnull=False)
                    | Q(state="skipped", annotator__isnull=False)
                ),
                name="slot_state_is_whole",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["queue", "number", "position"], condition=Q(state="free"), name="slot_next_free"),
            models.Index(fields=["queue", "leased_until"], condition=Q(state="leased"), name="slot_next_expired"),
            models.Index(fields=["annotator", "queue", "state"], name="slot_of_annotator"),
        ]
