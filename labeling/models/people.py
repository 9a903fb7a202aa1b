"""People and the tokens that act for them."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q


class User(AbstractUser):
    """A person. An annotator known only from loaded labels is a User who is not active and cannot sign in."""

    class Role(models.TextChoices):
        ANNOTATOR = "annotator", "Annotator"
        REVIEWER = "reviewer", "Reviewer"
        ENGINEER = "engineer", "Engineer"
        ADMIN = "admin", "Admin"

    # Each role may do what the ones before it may.
    RANK: ClassVar[dict[str, int]] = {role: rank for rank, role in enumerate(Role.values)}

    role = models.CharField(max_length=10, choices=Role, default=Role.ANNOTATOR)
    keymap = models.JSONField(default=dict, blank=True, help_text="The person's own keys on the labelling page.")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(role__in=["annotator", "reviewer", "engineer", "admin"]), name="user_role_known"
            )
        ]

    def may(self, role: str) -> bool:
        """Whether this person has `role` or one above it."""
        return self.is_active and self.RANK[self.role] >= self.RANK[role]


class ApiToken(models.Model):
    """A program's key to the API, for one person, with scopes. Only its SHA-256 is stored."""

    class Scope(models.TextChoices):
        INGEST = "ingest"
        LABEL = "label"
        READ = "read"
        EXPORT = "export"
        ADMIN = "admin"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, help_text="The first characters, so that people recognise it.")
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
