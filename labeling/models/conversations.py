"""Conversations as they came in."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

WHOLE = -1
"""The `turn` of everything that is said of a conversation as a whole; a number, since unique constraints skip nulls."""


class Conversation(models.Model):
    """Turns by customer, agent, system or tool, in one channel, by one customer of one cohort.

    `turns` is a list of `{"role", "text", "at"?, "start"?, "end"?}`; fields that the contract does not know are kept in
    `metadata`. `content_sha256` is over the canonical form, so that loading the same again changes nothing.
    """

    external_id = models.CharField(max_length=200, unique=True)
    source = models.CharField(max_length=100, blank=True)
    channel = models.CharField(max_length=60, default="unknown")
    cohort = models.CharField(max_length=200, default="unknown")
    customer = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    turns = models.JSONField(default=list)
    turn_count = models.PositiveIntegerField(default=0)
    attributes = models.JSONField(default=dict)
    asr = models.JSONField(null=True, blank=True)
    summary = models.TextField(blank=True)
    audio = models.CharField(max_length=1000, blank=True)
    metadata = models.JSONField(default=dict)
    content_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["started_at", "id"], name="conversation_started"),
            models.Index(fields=["channel", "cohort", "id"], name="conversation_slice"),
            models.Index(fields=["source", "id"], name="conversation_source"),
            models.Index(fields=["customer", "started_at"], condition=~Q(customer=""), name="conversation_journey"),
        ]

    def __str__(self) -> str:
        return self.external_id
