"""What is masked in this workspace, and who has read the original all the same."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.people import User

MOST_WHAT = 260


class Privacy(models.Model):
    """The workspace's one row: kinds of personal data that are masked, and the role that may read the original."""

    masks = models.JSONField(default=list)
    region = models.CharField(max_length=2, blank=True)
    originals_role = models.CharField(max_length=10, choices=User.Role, default=User.Role.ENGINEER)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="privacy_is_one"),
            models.CheckConstraint(
                condition=Q(originals_role__in=["annotator", "reviewer", "engineer", "admin"]),
                name="privacy_role_known",
            ),
        ]


class OriginalReading(models.Model):
    """Somebody read what is masked for others: what, and where. Nobody for the command line, which has no sign-in."""

    reader = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="original_readings"
    )
    what = models.CharField(max_length=MOST_WHAT, help_text="conversation ID or dataset NAME@N")
    via = models.CharField(max_length=10, help_text="page, api or command")
    read_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-read_at", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(via__in=["page", "api", "command"]), name="reading_via_known")
        ]
        indexes: ClassVar = [models.Index(fields=["-read_at", "-id"], name="reading_newest")]
