"""Checks: units of known answer, what people said to them and to hidden repeats, and practice rounds.

Answers to checks are no labels: they are rows of their own, so that no gold, no vote and no report can count them.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.conversations import WHOLE, Conversation
from labeling.models.gold import GoldRow
from labeling.models.labels import Label, Submission
from labeling.models.queues import Queue, Slot
from labeling.models.signals import Guideline, Signal


class KnownItem(models.Model):
    """A unit of a queue whose answer is known: asked in the practice round and as a gold check."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="known_items")
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="known_items")
    turn = models.IntegerField(default=WHOLE)
    explanation = models.TextField(blank=True, help_text="Why the answer is what it is, for those who learn.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["queue", "conversation", "turn"], name="known_item_once"),
            models.CheckConstraint(condition=Q(turn__gte=WHOLE), name="known_item_turn_in_range"),
        ]


class KnownAnswer(models.Model):
    """The answer of a known item for one signal: a row of frozen gold, which cannot change."""

    known_item = models.ForeignKey(KnownItem, on_delete=models.CASCADE, related_name="answers")
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="+")
    row = models.ForeignKey(GoldRow, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["known_item", "signal"], name="known_answer_once"),
        ]


class CheckAnswer(models.Model):
    """What somebody said to a hidden repeat or a gold check, for one signal. Append-only, like a label, and never one.

    `first` is the person's own label that a repeat is compared with, `known` the answer that a gold check is; both are
    null where there was none for this signal. `value` and `number` are as in a label.
    """

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="check_answers")
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="check_answers")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="check_answers")
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="+")
    value = models.TextField()
    number = models.FloatField(null=True, blank=True)
    confidence = models.FloatField(null=True, blank=True)
    comment = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True)
    guideline = models.ForeignKey(Guideline, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    first = models.ForeignKey(Label, on_delete=models.PROTECT, null=True, blank=True, related_name="repeats")
    known = models.ForeignKey(KnownAnswer, on_delete=models.PROTECT, null=True, blank=True, related_name="given")
    answered_at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["slot", "signal"], condition=Q(superseded_at__isnull=True), name="check_answer_once"
            ),
            models.CheckConstraint(
                condition=Q(first__isnull=True) | Q(known__isnull=True), name="check_answer_compares_once"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["annotator", "signal", "answered_at"], name="check_answer_of_person")]


class PracticeRound(models.Model):
    """A round of known items with explanations, before a queue opens to a member. It can be taken again."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="practice_rounds")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="practice_rounds")
    items: models.ManyToManyField[KnownItem, PracticeItem] = models.ManyToManyField(
        KnownItem, through="PracticeItem", related_name="+"
    )
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    correct = models.PositiveSmallIntegerField(default=0)
    asked = models.PositiveSmallIntegerField(default=0)
    passed = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["queue", "annotator"], condition=Q(finished_at__isnull=True), name="practice_round_one_open"
            ),
        ]


class PracticeItem(models.Model):
    """A place in a practice round, answered once `answered_at` is set."""

    practice_round = models.ForeignKey(PracticeRound, on_delete=models.CASCADE, related_name="places")
    known_item = models.ForeignKey(KnownItem, on_delete=models.PROTECT, related_name="practised")
    position = models.PositiveSmallIntegerField()
    answered_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["practice_round", "position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["practice_round", "position"], name="practice_place_once"),
            models.UniqueConstraint(fields=["practice_round", "known_item"], name="practice_item_once"),
        ]


class PracticeAnswer(models.Model):
    """What was said to one signal of a practice item, beside what is known."""

    place = models.ForeignKey(PracticeItem, on_delete=models.CASCADE, related_name="answers")
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="+")
    value = models.TextField()
    number = models.FloatField(null=True, blank=True)
    known = models.ForeignKey(KnownAnswer, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    correct = models.BooleanField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["place", "signal"], name="practice_answer_once"),
        ]
