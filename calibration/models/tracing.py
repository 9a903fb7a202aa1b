"""Traces as they came in: each request written down before it is answered, and the spans that were read from it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class TraceBatch(models.Model):
    """One export request, kept as its bytes until its spans are stored; `error` says why it could not be read."""

    class State(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        FAILED = "failed"

    content_type = models.CharField(max_length=60)
    body = models.BinaryField()
    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    error = models.TextField(blank=True)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=models.Q(state="pending"), name="trace_batch_pending"),
        ]


class Span(models.Model):
    """One span, upserted by (trace, span): exporters retry. `conversation_key` is where its trace belongs so far."""

    trace_id = models.CharField(max_length=32)
    span_id = models.CharField(max_length=16)
    parent_id = models.CharField(max_length=16, blank=True)
    project = models.CharField(max_length=200)
    name = models.CharField(max_length=300)
    kind = models.CharField(max_length=40)
    start_ns = models.BigIntegerField()
    end_ns = models.BigIntegerField()
    attributes = models.JSONField(default=dict)
    resource = models.JSONField(default=dict)
    events = models.JSONField(default=list)
    status = models.CharField(max_length=10, blank=True)
    conversation_key = models.CharField(max_length=400, blank=True)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["trace_id", "span_id"], name="span_once")]
        indexes: ClassVar = [
            models.Index(fields=["conversation_key"], name="span_of_conversation"),
            # Annotations from elsewhere name a span alone.
            models.Index(fields=["span_id"], name="span_by_id"),
        ]
