"""Adaptive overlap: a further annotator only where the first ones leave a tie.

Who changes the labels of an item of such a queue holds the item's row first, so that of two last answers at once the second
sees the first, and the item gets exactly one more slot.
"""

from __future__ import annotations

from collections import defaultdict

from labeling import questions
from labeling.aggregation import Rule
from labeling.models import Item, Label, Slot
from labeling.questions import Question
from labeling.values import Scale


def hold(slot: Slot) -> None:
    """Take the item's row for this transaction, where its queue is adaptive."""
    if slot.item_id is not None and slot.queue.overlap_most is not None:
        Item.objects.select_for_update().only("id").get(id=slot.item_id)


def settle(slot: Slot) -> None:
    """Give the item of `slot` a further slot where its labels are all there and leave a tie; take back a further one that
    nobody has begun where they no longer do. Only in adaptive queues; the caller holds the item."""
    queue = slot.queue
    if slot.item_id is None or queue.overlap_most is None:
        return
    slots = list(Slot.objects.filter(item=slot.item_id).exclude(state=Slot.State.SKIPPED).order_by("number"))
    done = [one for one in slots if one.state == Slot.State.DONE]
    open_ones = [one for one in slots if one.state != Slot.State.DONE]
    if tied(slot.item_id, questions.asked(queue.id)):
        if not open_ones and len(done) < queue.overlap_most:
            numbers = Slot.objects.filter(item=slot.item_id).order_by("-number").values_list("number", flat=True)
            Slot.objects.create(item_id=slot.item_id, queue=queue, number=numbers[0] + 1, position=slot.position)
        return
    surplus = len(slots) - max(queue.overlap, len(done))
    if surplus > 0:
        beyond = [one.id for one in reversed(slots) if one.number >= queue.overlap and one.state == Slot.State.FREE]
        unused = Slot.objects.filter(id__in=beyond[:surplus], state=Slot.State.FREE, submissions__isnull=True)
        Slot.objects.filter(id__in=list(unused.values_list("id", flat=True)), state=Slot.State.FREE).delete()


def tied(item_id: int, asked: tuple[Question, ...]) -> bool:
    """Whether some signal of an item has two labels or more and no answer that most people gave; for numbers: whether two
    labels lie apart."""
    said: dict[int, dict[str, str]] = defaultdict(dict)
    current = Label.objects.filter(item=item_id, superseded_at__isnull=True, late=False)
    for signal, person, value in current.values_list("signal_id", "annotator_id", "value"):
        said[signal][str(person)] = value
    return any(_leave_a_tie(question.scale, said[question.signal_id]) for question in asked)


def _leave_a_tie(scale: Scale, ratings: dict[str, str]) -> bool:
    if len(ratings) < 2:
        return False
    if scale.kind != "interval":
        return Rule("majority", scale.kind, scale.values).decide(ratings).reason == "tie"
    # A third number settles it: their mean, or their middle, is as good as it gets.
    return len(ratings) == 2 and not scale.same(*ratings.values())
