"""Which disagreements one more label may settle, and which need a ruling whatever a further person says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count

from labeling import adjudication
from labeling.adjudication import Disagreement, Scope, Unit
from labeling.errors import Conflict
from labeling.models import Item, Queue, Slot

MOST_LABELS = 4
"""A tie of so many people is not settled by another."""
OFTEN, PAIRS = 0.25, 10
"""Two answers are mixed up for a reason when that share of at least so many pairs of people differ: then a further vote is
another toss of the same coin, and the guideline is what to mend."""
TO_COME, ALL_HAD_IT = "A label is still to come.", "Every member has had it."
CLOSED = "The queue is closed; for further labels an engineer can open it."


@dataclass(frozen=True, slots=True)
class Advice:
    """`label`: ask one more person; else `why` a ruling is the shorter way."""

    label: bool
    why: str


def of(scope: Scope, found: Sequence[Disagreement]) -> dict[Unit, Advice]:
    """Advice on every open disagreement of a queue; none for labels from files, where nobody can be asked."""
    if scope.queue is None or not found:
        return {}
    items, left = _people_left(scope.queue)
    mixed = _often_mixed(scope)
    closed = scope.queue.state == Queue.State.CLOSED
    return {one.unit: _advise(one, left.get(items.get(one.unit[:2], 0), 0), mixed, closed) for one in found}


def _advise(one: Disagreement, left: int, mixed: set[tuple[int, str, str]], closed: bool) -> Advice:
    first, second = sorted(one.votes.items(), key=lambda vote: (-vote[1], vote[0]))[:2]
    pair = (one.unit.signal, *sorted((first[0], second[0])))
    if one.pending:
        return Advice(False, TO_COME)
    if first[1] != second[1]:
        return Advice(False, "Most people are of one mind already.")
    if sum(one.votes.values()) >= MOST_LABELS:
        return Advice(False, f"{sum(one.votes.values())} people have not settled it.")
    if not left:
        return Advice(False, ALL_HAD_IT)
    if pair in mixed:
        return Advice(False, "These two are often mixed up here: the guideline decides, not another vote.")
    if closed:
        return Advice(False, CLOSED)
    return Advice(True, "A tie that one more person may settle.")


def _people_left(queue: Queue) -> tuple[dict[tuple[int, ...], int], dict[int, int]]:
    """Item by conversation and turn, and how many active members have not had it."""
    items: dict[tuple[int, ...], int] = {
        (conversation, turn): item
        for item, conversation, turn in queue.items.values_list("id", "conversation_id", "turn").iterator(
            chunk_size=5000
        )
    }
    active = set(queue.memberships.filter(user__is_active=True).values_list("user_id", flat=True))
    had = Slot.objects.filter(item__queue=queue, annotator__in=active).order_by().values_list("item_id")
    counts = {item: count for item, count in had.annotate(count=Count("id")) if item is not None}
    return items, {item: len(active) - counts.get(item, 0) for item in items.values()}


def _often_mixed(scope: Scope) -> set[tuple[int, str, str]]:
    votes = adjudication.votes_of(scope)
    return {
        (signal, *sorted((one.first, one.second)))  # type: ignore[misc]
        for signal in {unit.signal for unit in votes}
        for one in adjudication.mixed_up(votes, signal=signal)
        if one.share >= OFTEN and one.pairs >= PAIRS
    }


def in_the_way(*, queue: Queue, item: Item) -> str:
    """Why one more label of the item cannot be asked for, as a reviewer reads it; empty where it can."""
    words = {"queue_closed": CLOSED, "label_to_come": TO_COME, "nobody_left": ALL_HAD_IT}
    refused = adjudication.in_the_way(queue=queue, item=item)
    return "" if refused is None else words[refused.code]


def wanting(advice: Mapping[Unit, Advice]) -> list[Unit]:
    """The units that should get one more label rather than a ruling."""
    return [unit for unit, one in advice.items() if one.label]


@transaction.atomic
def ask_further(*, queue: Queue, units: Sequence[Unit]) -> int:
    """One more label for each of the units' items; what has changed meanwhile is left out. Returns how many were asked for.

    Raises Conflict for a closed queue: there nobody can be asked.
    """
    if Queue.objects.select_for_update().get(id=queue.id).state == Queue.State.CLOSED:
        raise adjudication.queue_closed(queue)
    asked = 0
    for conversation, turn in {unit[:2]: None for unit in units}:
        item = Item.objects.filter(queue=queue, conversation=conversation, turn=turn).first()
        if item is None:
            continue
        try:
            with transaction.atomic():
                adjudication.one_more_label(item=item)
        except Conflict:
            continue
        asked += 1
    return asked
