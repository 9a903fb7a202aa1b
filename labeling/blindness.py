"""Who must not see answers yet: people who may still label a unit see neither a model's answer nor anyone else's."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Exists, OuterRef

from labeling.models import Item, Label, Queue, User


def open_questions(*, reader: User, conversations: Iterable[int]) -> set[tuple[int, int]]:
    """(conversation, signal) of every question that `reader` may still answer in a queue of theirs.

    A question stays open until they have answered it themselves; a paused queue may open again.
    """
    answered = Label.objects.filter(
        item=OuterRef("pk"),
        signal=OuterRef("queue__queue_signals__signal"),
        annotator=reader,
        superseded_at__isnull=True,
    )
    items = Item.objects.filter(
        queue__memberships__user=reader,
        queue__state__in=[Queue.State.OPEN, Queue.State.PAUSED],
        conversation__in=list(conversations),
    )
    waiting = items.filter(~Exists(answered)).order_by()
    return set(waiting.values_list("conversation", "queue__queue_signals__signal").distinct())


def in_open_queues(*, reader: User, conversations: Iterable[int]) -> set[tuple[int, int]]:
    """(conversation, signal) of every question of the open and paused queues of `reader`, answered or not."""
    items = Item.objects.filter(
        queue__memberships__user=reader,
        queue__state__in=[Queue.State.OPEN, Queue.State.PAUSED],
        conversation__in=list(conversations),
    ).order_by()
    return set(items.values_list("conversation", "queue__queue_signals__signal").distinct())
