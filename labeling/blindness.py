"""Who must not see answers yet: people who may still label a unit see neither a model's answer nor anyone else's."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q

from labeling.models import CheckAnswer, Item, KnownItem, Label, Queue, Slot, User

ASKED_AGAIN = Q(queue__repeat_share__gt=0)


def open_questions(*, reader: User, conversations: Iterable[int]) -> set[tuple[int, int]]:
    """(conversation, signal) of every question that `reader` may still answer in a queue of theirs.

    A question stays open until they have answered it themselves; where the queue asks again, until it has done so too. A
    unit of known answer is open until it was asked as a check. A paused queue may open again.
    """
    told = list(conversations)
    theirs = {
        "queue__memberships__user": reader,
        "queue__state__in": [Queue.State.OPEN, Queue.State.PAUSED],
        "conversation__in": told,
    }
    signal = OuterRef("queue__queue_signals__signal")
    labelled = Label.objects.filter(item=OuterRef("pk"), signal=signal, annotator=reader, superseded_at__isnull=True)
    again = Slot.objects.filter(asks_again=OuterRef("pk"), annotator=reader, state=Slot.State.DONE)
    waiting = Item.objects.filter(~Exists(labelled) | (ASKED_AGAIN & ~Exists(again)), **theirs).order_by()
    checked = CheckAnswer.objects.filter(
        slot__known_item=OuterRef("pk"), signal=signal, annotator=reader, superseded_at__isnull=True
    )
    unasked = KnownItem.objects.filter(
        ~Exists(checked), Q(queue__gold_share__gt=0) | Q(queue__practice_size__gt=0), **theirs
    ).order_by()
    columns = ("conversation", "queue__queue_signals__signal")
    return set(waiting.values_list(*columns).distinct()) | set(unasked.values_list(*columns).distinct())


def in_open_queues(*, reader: User, conversations: Iterable[int]) -> set[tuple[int, int]]:
    """(conversation, signal) of every question of the open and paused queues of `reader`, answered or not."""
    theirs = {
        "queue__memberships__user": reader,
        "queue__state__in": [Queue.State.OPEN, Queue.State.PAUSED],
        "conversation__in": list(conversations),
    }
    columns = ("conversation", "queue__queue_signals__signal")
    asked = Item.objects.filter(**theirs).order_by().values_list(*columns).distinct()
    return set(asked) | set(KnownItem.objects.filter(**theirs).order_by().values_list(*columns).distinct())
