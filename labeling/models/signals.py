"""What is measured: signals, their categories, and the versions of their guideline."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q


class Signal(models.Model):
    """A property of a conversation or a turn that people and models judge, on one scale."""

    class Scale(models.TextChoices):
        BINARY = "binary"
        NOMINAL = "nominal"
        ORDINAL = "ordinal"
        INTERVAL = "interval"
        MULTILABEL = "multilabel"

    class Unit(models.TextChoices):
        CONVERSATION = "conversation"
        TURN = "turn"

    class Statistic(models.TextChoices):
        KAPPA = "kappa"
        WEIGHTED_KAPPA = "weighted_kappa"
        ACCURACY = "accuracy"
        ALPHA = "alpha"
        AC1 = "ac1"

    slug = models.SlugField(max_length=80, unique=True)
    title = models.CharField(max_length=200)
    scale = models.CharField(max_length=10, choices=Scale)
    unit = models.CharField(max_length=12, choices=Unit, default=Unit.CONVERSATION)
    minimum = models.FloatField(null=True, blank=True)
    maximum = models.FloatField(null=True, blank=True)
    trust_statistic = models.CharField(max_length=14, choices=Statistic, default=Statistic.KAPPA)
    trust_at_least = models.FloatField(default=0.6)
    measured = models.BooleanField(
        default=False, help_text="Computed from what is there, such as a word error rate: people are not asked for it."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(scale__in=["binary", "nominal", "ordinal", "interval", "multilabel"]),
                name="signal_scale_known",
            ),
            models.CheckConstraint(condition=Q(unit__in=["conversation", "turn"]), name="signal_unit_known"),
            models.CheckConstraint(
                condition=Q(minimum__isnull=True) | Q(maximum__isnull=True) | Q(minimum__lt=F("maximum")),
                name="signal_range_is_one",
            ),
            models.CheckConstraint(
                condition=Q(trust_at_least__gte=-1) & Q(trust_at_least__lte=1), name="signal_bar_in_range"
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def is_categorical(self) -> bool:
        """One category an answer: binary, nominal or ordinal."""
        return self.scale in (self.Scale.BINARY, self.Scale.NOMINAL, self.Scale.ORDINAL)


class Category(models.Model):
    """One answer of a signal, in the order of the scale."""

    signal = models.ForeignKey(Signal, on_delete=models.CASCADE, related_name="categories")
    position = models.PositiveSmallIntegerField()
    value = models.CharField(max_length=100)
    label = models.CharField(max_length=200)
    key = models.CharField(max_length=1, blank=True)
    score = models.FloatField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["signal", "position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["signal", "value"], name="category_value_once"),
            models.UniqueConstraint(fields=["signal", "position"], name="category_position_once"),
            models.UniqueConstraint(fields=["signal", "key"], condition=~Q(key=""), name="category_key_once"),
        ]

    def __str__(self) -> str:
        return self.value


class Guideline(models.Model):
    """One version of the instructions of a signal; labels say which one their annotator had before them."""

    signal = models.ForeignKey(Signal, on_delete=models.CASCADE, related_name="guidelines")
    version = models.PositiveIntegerField()
    text = models.TextField()
    note = models.CharField(max_length=300, blank=True, help_text="Why it was changed.")
    created_by = models.ForeignKey("User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["signal", "-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["signal", "version"], name="guideline_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.signal.slug} guideline {self.version}"
