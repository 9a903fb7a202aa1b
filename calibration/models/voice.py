"""What the machine misheard, counted once per content of a conversation."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from labeling.models import Conversation


class Transcription(models.Model):
    """Word and character errors of a call's hypothesis against its reference; without both, `words` is 0.

    Counts belong to the content whose hash they carry: when the conversation has another one, they are stale and are
    counted anew. `mistakes` are `[said, heard, how often]`, one of the two empty for words left out or made up.
    """

    conversation = models.OneToOneField(Conversation, on_delete=models.CASCADE, related_name="transcription")
    content_sha256 = models.CharField(max_length=64)
    provider = models.CharField(max_length=200, blank=True)
    words = models.PositiveIntegerField(default=0)
    substitutions = models.PositiveIntegerField(default=0)
    insertions = models.PositiveIntegerField(default=0)
    deletions = models.PositiveIntegerField(default=0)
    characters = models.PositiveIntegerField(default=0)
    character_errors = models.PositiveIntegerField(default=0)
    mistakes = models.JSONField(default=list)
    measured_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["provider"], condition=models.Q(words__gt=0), name="transcription_provider")
        ]

    @property
    def errors(self) -> int:
        return self.substitutions + self.insertions + self.deletions
