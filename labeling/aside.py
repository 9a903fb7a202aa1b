"""What people set aside in a queue: skipped with a reason, or flagged as wrong in itself. Told to reviewers; never a vote."""

from __future__ import annotations

from django.db.models import QuerySet

from labeling.models import Queue, Submission


def acts(queue: Queue) -> QuerySet[Submission]:
    """Skips and flags that hold, with their items. Checks are left out: that something was one stays hidden."""
    found = Submission.objects.filter(
        item__queue=queue, kind__in=[Submission.Kind.SKIP, Submission.Kind.FLAG], undone_at__isnull=True
    )
    return found.select_related("annotator", "item__conversation")


def flag_in_words(reason: str) -> str:
    """A reason to flag as people read it: it is stored as a code, that of a skip in words."""
    return reason.replace("_", " ").capitalize()


def reason_in_words(act: Submission) -> str:
    return flag_in_words(act.reason) if act.kind == Submission.Kind.FLAG else act.reason
