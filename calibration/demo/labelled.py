"""The labelled past of the demo: slots that were taken, answered and done, by annotators of known quality.

Written in bulk, since the demo has thousands of them; the rows are the same that the labelling page writes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from django.db import transaction

from calibration.demo.world import Touchpoint, labelled_by
from labeling.models import CheckAnswer, Guideline, KnownAnswer, Label, Queue, Ruling, Signal, Slot, Submission, User

REPEATS, KNOWN = 60, 50


@transaction.atomic
def label(
    *,
    queue: Queue,
    points: Mapping[str, Touchpoint],
    people: Sequence[User],
    rng: np.random.Generator,
    until: datetime,
    share: float = 1.0,
) -> int:
    """Answer the first `share` of a queue's items, each slot by another of `people` and none after `until`; returns the
    number of labels."""
    signals = [row.signal for row in queue.queue_signals.select_related("signal")]
    values = {signal.slug: [category.value for category in signal.categories.all()] for signal in signals}
    guidelines = {signal.slug: signal.guidelines.first() for signal in signals}
    items = list(queue.items.select_related("conversation").prefetch_related("slots").order_by("position"))
    submissions: list[Submission] = []
    labels: list[Label] = []
    slots: list[Slot] = []
    for item in items[: round(len(items) * share)]:
        point = points[item.conversation.external_id]
        order = rng.permutation(len(people))
        for slot, who in zip(sorted(item.slots.all(), key=lambda slot: slot.number), order, strict=False):
            annotator = people[int(who)]
            at = min(_when(point, rng), until)
            submission = _submission(slot, annotator, at, rng)
            slot.state, slot.annotator, slot.leased_until = Slot.State.DONE, annotator, None
            slots.append(slot)
            submissions.append(submission)
            for signal in signals:
                said = labelled_by(annotator.username, point.truth(signal.slug), values[signal.slug], rng)
                labels.append(_label(slot, submission, signal, guidelines[signal.slug], said, at))
    Submission.objects.bulk_create(submissions, batch_size=500)
    Label.objects.bulk_create(labels, batch_size=500)
    Slot.objects.bulk_update(slots, ["state", "annotator", "leased_until"], batch_size=300)
    return len(labels)


def _when(point: Touchpoint, rng: np.random.Generator) -> datetime:
    """One to three days after the conversation, in working hours."""
    began = datetime.fromisoformat(point.row["started_at"])
    day = (began + timedelta(days=float(rng.uniform(1, 3)))).replace(hour=9, minute=0, second=0, microsecond=0)
    return day + timedelta(minutes=float(rng.uniform(0, 8 * 60)))


def _submission(slot: Slot, annotator: User, at: datetime, rng: np.random.Generator) -> Submission:
    submission = Submission(
        key=str(uuid.UUID(bytes=rng.bytes(16))),
        kind=Submission.Kind.ANSWER,
        annotator=annotator,
        item_id=slot.item_id,
        slot=slot,
        seconds=round(float(rng.lognormal(2.1, 0.5)), 1),
    )
    submission.created_at = at
    return submission


def _label(
    slot: Slot, submission: Submission, signal: Signal, guideline: Guideline | None, value: str, at: datetime
) -> Label:
    return Label(
        conversation_id=slot.unit.conversation_id,
        turn=slot.unit.turn,
        signal=signal,
        annotator=submission.annotator,
        item_id=slot.item_id,
        submission=submission,
        value=value,
        seconds=submission.seconds,
        guideline=guideline,
        labeled_at=at,
    )


@transaction.atomic
def check(
    *, queue: Queue, points: Mapping[str, Touchpoint], people: Sequence[User], rng: np.random.Generator, until: datetime
) -> int:
    """Hidden repeats and gold checks of a queue's past: each of `people` is asked again REPEATS of their items and KNOWN of
    the known items that they have not labelled; returns the number of answers."""
    signal = queue.queue_signals.select_related("signal")[0].signal
    values = [category.value for category in signal.categories.all()]
    answers: list[CheckAnswer] = []
    for annotator in people:
        for slot, first, known in _checks_of(queue, annotator, rng):
            point = points[slot.unit.conversation.external_id]
            at = min(_when(point, rng) + timedelta(days=1), until)
            act = _submission(slot, annotator, at, rng)
            answers.append(
                CheckAnswer(
                    submission=act,
                    slot=slot,
                    annotator=annotator,
                    signal=signal,
                    value=labelled_by(annotator.username, point.truth(signal.slug), values, rng),
                    seconds=act.seconds,
                    first=first,
                    known=known,
                    answered_at=at,
                )
            )
    Slot.objects.bulk_create((one.slot for one in answers), batch_size=500)
    Submission.objects.bulk_create([one.submission for one in answers], batch_size=500)
    CheckAnswer.objects.bulk_create(answers, batch_size=500)
    return len(answers)


def _checks_of(
    queue: Queue, annotator: User, rng: np.random.Generator
) -> Iterator[tuple[Slot, Label | None, KnownAnswer | None]]:
    own = Label.objects.filter(annotator=annotator, superseded_at__isnull=True)
    firsts = list(own.filter(item__queue=queue).select_related("item__conversation").order_by("id"))
    for at in rng.permutation(len(firsts))[:REPEATS]:
        first = firsts[at]
        yield Slot(queue=queue, annotator=annotator, state=Slot.State.DONE, asks_again=first.item), first, None
    fresh = KnownAnswer.objects.filter(known_item__queue=queue).select_related("known_item__conversation")
    knowns = list(fresh.exclude(known_item__conversation__in=own.values("conversation")).order_by("id"))
    for at in rng.permutation(len(knowns))[:KNOWN]:
        known = knowns[at]
        yield Slot(queue=queue, annotator=annotator, state=Slot.State.DONE, known_item=known.known_item), None, known


@transaction.atomic
def rule(
    *,
    queue: Queue,
    points: Mapping[str, Touchpoint],
    reviewer: User,
    rng: np.random.Generator,
    share: float = 1.0,
) -> int:
    """Decide a share of the items on which the labels of a queue disagree, as the truth has it."""
    said: dict[tuple[int, int], set[str]] = {}
    for item, signal, value in Label.objects.filter(item__queue=queue).values_list("item_id", "signal_id", "value"):
        said.setdefault((item, signal), set()).add(value)
    open_ones = sorted(key for key, values in said.items() if len(values) > 1)
    items = {item.id: item for item in queue.items.select_related("conversation")}
    signals = {row.signal_id: row.signal for row in queue.queue_signals.select_related("signal")}
    reasons = [Ruling.Reason.SLIP, Ruling.Reason.GUIDELINE_GAP, Ruling.Reason.AMBIGUOUS]
    rulings = [
        Ruling(
            conversation_id=items[item].conversation_id,
            turn=items[item].turn,
            signal=signals[signal],
            item_id=item,
            reviewer=reviewer,
            value=points[items[item].conversation.external_id].truth(signals[signal].slug),
            reason=str(rng.choice(reasons, p=(0.6, 0.25, 0.15))),
        )
        for item, signal in open_ones
        if rng.random() < share
    ]
    Ruling.objects.bulk_create(rulings, batch_size=500)
    return len(rulings)
