"""Queues of sampled items, and the slots that keep two people from taking the same one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from labeling.models.conversations import WHOLE, Conversation
from labeling.models.signals import Signal

if TYPE_CHECKING:
    from labeling.models.checks import KnownItem

MOST_CHECKS = 0.5
"""No more than every second item is a check."""


def random_id() -> int:
    """An assignment's id, of which JavaScript keeps every digit. Ids in a row would tell a hidden repeat, made late, from
    an item that was drawn with the queue."""
    return secrets.randbelow(2**53 - 1) + 1


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
    overlap_most = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Adaptive overlap: up to so many labels where the first ones leave a tie."
    )
    priority = models.SmallIntegerField(default=0)
    lease_seconds = models.PositiveIntegerField(default=900)
    shows_cohort = models.BooleanField(
        default=False, help_text="Cohort and customer bend judgement: hidden unless asked."
    )
    hides_names = models.BooleanField(default=True, help_text="Reviewers see votes without names until they decide.")
    # What is mixed in among the items, as shares of what a person gets, and the round before the first one.
    repeat_share = models.FloatField(default=0.0, help_text="Items asked again of the same person.")
    repeat_after_items = models.PositiveIntegerField(default=20)
    repeat_after_minutes = models.PositiveIntegerField(default=0)
    gold_share = models.FloatField(default=0.0, help_text="Units of known answer.")
    gold_feedback = models.BooleanField(default=False, help_text="Tell the known answer right after a gold check.")
    practice_size = models.PositiveSmallIntegerField(
        default=0, help_text="Units of a practice round; 0: there is none."
    )
    practice_pass = models.FloatField(default=0.8, help_text="Share of a practice round's answers that must be right.")
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
            models.CheckConstraint(
                condition=Q(overlap_most__isnull=True) | Q(overlap_most__gte=F("overlap"), overlap_most__lte=50),
                name="queue_overlap_most_in_range",
            ),
            models.CheckConstraint(
                condition=Q(repeat_share__gte=0) & Q(gold_share__gte=0), name="queue_shares_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(repeat_share__lte=MOST_CHECKS - F("gold_share")), name="queue_mostly_items"
            ),
            models.CheckConstraint(
                condition=Q(practice_pass__gte=0) & Q(practice_pass__lte=1), name="queue_practice_pass_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def shows_date(self) -> bool:
        """Whether annotators see when a conversation took place: gold checks are often of another time, and would be known by it."""
        return self.gold_share == 0


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
    practiced_at = models.DateTimeField(null=True, blank=True, help_text="When they passed the practice round.")

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
    """Room for one answer. A lease is a conditional UPDATE on a free or expired slot; nothing else counts.

    Most slots are of an `item`, and whoever comes takes them. A hidden repeat (`asks_again`) and a gold check
    (`known_item`) have slots of their own, which belong to one person from the start and are never free: one that was given
    back is *waiting* until it is due again.
    `queue` and `position` repeat the item's, so that the next free slot is one step in one index.
    """

    class State(models.TextChoices):
        FREE = "free"
        LEASED = "leased"
        DONE = "done"
        SKIPPED = "skipped"
        WAITING = "waiting"

    id = models.BigIntegerField(primary_key=True, default=random_id, editable=False)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, null=True, blank=True, related_name="slots")
    asks_again = models.ForeignKey(Item, on_delete=models.CASCADE, null=True, blank=True, related_name="repeats")
    known_item = models.ForeignKey("KnownItem", on_delete=models.PROTECT, null=True, blank=True, related_name="slots")
    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="slots")
    number = models.PositiveSmallIntegerField(default=0, help_text="0-based, below the overlap: the lane it lies in.")
    position = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=7, choices=State, default=State.FREE)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="slots"
    )
    leased_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["item", "number"], name="slot_number_once"),
            models.UniqueConstraint(fields=["item", "annotator"], name="slot_annotator_once"),
            models.UniqueConstraint(fields=["asks_again", "annotator"], name="slot_repeat_once"),
            models.UniqueConstraint(fields=["known_item", "annotator"], name="slot_known_once"),
            models.CheckConstraint(
                condition=(
                    Q(item__isnull=False, asks_again__isnull=True, known_item__isnull=True)
                    | Q(item__isnull=True, asks_again__isnull=False, known_item__isnull=True)
                    | Q(item__isnull=True, asks_again__isnull=True, known_item__isnull=False)
                ),
                name="slot_asks_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(item__isnull=False) | Q(annotator__isnull=False), name="slot_check_is_somebodys"
            ),
            models.CheckConstraint(
                condition=(
                    Q(state="free", annotator__isnull=True, leased_until__isnull=True)
                    | Q(state="leased", annotator__isnull=False, leased_until__isnull=False)
                    | Q(state="done", annotator__isnull=False)
                    | Q(state="skipped", annotator__isnull=False)
                    | Q(state="waiting", annotator__isnull=False, leased_until__isnull=True, item__isnull=True)
                ),
                name="slot_state_is_whole",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["queue", "number", "position"], condition=Q(state="free"), name="slot_next_free"),
            models.Index(
                fields=["queue", "leased_until"],
                condition=Q(state="leased", item__isnull=False),
                name="slot_next_expired",
            ),
            models.Index(fields=["annotator", "queue", "state"], name="slot_of_annotator"),
        ]

    @property
    def unit(self) -> Item | KnownItem:
        """What is asked about: something with a conversation and a turn."""
        found = self.item or self.asks_again or self.known_item
        assert found is not None
        return found

    @property
    def is_check(self) -> bool:
        return self.item_id is None
