"""What an annotator does with an item: answer, skip, flag, undo. An acknowledged act is in the database, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from labeling.errors import Conflict, Refused
from labeling.leasing import slot_of
from labeling.models import WHOLE, Guideline, Item, Label, Queue, Signal, Slot, Submission, User
from labeling.values import Scale, ValueRefused

UNDO_DEPTH = 10
FLAG_REASONS = ("unclear", "not_a_conversation", "personal_data", "other")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an act: the stored submission, and whether this call made it (else it is a repeat)."""

    submission: Submission
    created: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A signal of a queue with its scale and the newest version of its guideline."""

    signal: Signal
    scale: Scale
    guideline: Guideline | None


def asked_signals(queue: Queue) -> list[Asked]:
    """The questions of a queue in their order; three queries however many there are."""
    rows = queue.queue_signals.select_related("signal").prefetch_related("signal__categories", "signal__guidelines")
    return [
        Asked(row.signal, Scale.of(row.signal), next(iter(row.signal.guidelines.all()), None))  # newest first
        for row in rows
    ]


def submit(
    *,
    annotator: User,
    slot_id: int,
    answers: Sequence[Mapping[str, Any]],
    key: str,
    now: datetime,
    seconds: float | None = None,
    comment: str = "",
    guidelines: Mapping[str, int] | None = None,
) -> Outcome:
    """Store the answers to all signals of an item.

    `answers` are `{"signal", "value", "turn"?, "confidence"?, "comment"?}`; `guidelines` the guideline version that was
    read, by signal. The same `key` again gives the first outcome again. When the lease is gone and the item is full, the
    answers are kept as late labels: the outcome's submission says so (`late`), and the caller answers with a conflict.
    """
    _check_key(key)
    repeated = _repeat(annotator, key)
    if repeated is not None:
        return repeated
    slot = slot_of(annotator, slot_id)
    labels = _read(slot, answers, guidelines or {}, annotator=annotator, now=now, seconds=seconds)
    try:
        with transaction.atomic():
            taken = _take_for_good(slot, annotator)
            late = taken is None
            submission = Submission.objects.create(
                key=key,
                kind=Submission.Kind.ANSWER,
                annotator=annotator,
                item_id=slot.item_id,
                slot_id=slot.id if taken is None else taken,
                seconds=seconds,
                comment=comment,
                late=late,
            )
            for label in labels:
                label.submission, label.late = submission, late
            Label.objects.bulk_create(labels)
    except IntegrityError as error:
        # The same key in another request of the same moment, or a second answer to an item that is answered.
        repeated = _repeat(annotator, key)
        if repeated is not None:
            return repeated
        raise Conflict("already_answered", "you have answered this item already") from error
    return Outcome(submission, created=True)


def skip(*, annotator: User, slot_id: int, reason: str, key: str, now: datetime) -> Outcome:
    """Leave an item to others: this person does not get it again, and its slot is replaced by a free one."""
    return _set_aside(annotator, slot_id, Submission.Kind.SKIP, reason=reason, comment="", key=key, now=now)


def flag(*, annotator: User, slot_id: int, reason: str, comment: str, key: str, now: datetime) -> Outcome:
    """Say that something is wrong with an item itself; otherwise like a skip."""
    if reason not in FLAG_REASONS:
        raise Refused("unknown_reason", f"{reason!r} is not one of {', '.join(FLAG_REASONS)}", field="reason")
    return _set_aside(annotator, slot_id, Submission.Kind.FLAG, reason=reason, comment=comment, key=key, now=now)


def undo(
    *, annotator: User, queue: Queue, now: datetime, slot_id: int | None = None
) -> tuple[Slot, list[Label]] | None:
    """Take back the person's last act in a queue (or the one on `slot_id`, up to ten back): the slot is leased to them
    again, and their answers come with it.

    None when there is nothing to take back. The labels stay in the table, superseded.
    """
    with transaction.atomic():
        last = (
            Submission.objects.filter(annotator=annotator, item__queue=queue, late=False)
            .order_by("-created_at", "-id")
            .select_related("slot__item__conversation", "slot__queue")[:UNDO_DEPTH]
        )
        done = [row for row in last if row.undone_at is None and slot_id in (None, row.slot_id)]
        if not done:
            return None
        submission = done[0]
        if not Submission.objects.filter(id=submission.id, undone_at__isnull=True).update(undone_at=now):
            return None
        labels = list(submission.labels.filter(superseded_at__isnull=True).select_related("signal"))
        Label.objects.filter(submission=submission, superseded_at__isnull=True).update(superseded_at=now)
        until = now + timedelta(seconds=queue.lease_seconds)
        if submission.kind != Submission.Kind.ANSWER:
            _withdraw_replacement(submission.slot)
        Slot.objects.filter(id=submission.slot_id).update(
            state=Slot.State.LEASED, annotator=annotator, leased_until=until
        )
        slot = Slot.objects.select_related("item__conversation", "queue").get(id=submission.slot_id)
    return slot, labels


def _check_key(key: str) -> None:
    if not key or len(key) > 64:
        raise Refused("bad_key", "give a key of 1 to 64 characters, made once for each act", field="key")


def _repeat(annotator: User, key: str) -> Outcome | None:
    found = Submission.objects.filter(annotator=annotator, key=key).first()
    return None if found is None else Outcome(found, created=False)


def _take_for_good(slot: Slot, annotator: User) -> int | None:
    """Turn the person's lease into a done slot, and return which. A lease that ran out counts while the slot is theirs, or
    a slot of the item is free; None when the item is full without them."""
    done: dict[str, Any] = {"state": Slot.State.DONE, "annotator": annotator, "leased_until": None}
    mine = Slot.objects.filter(id=slot.id, annotator=annotator, state=Slot.State.LEASED)
    if mine.update(**done):
        return slot.id
    if Slot.objects.filter(item_id=slot.item_id, annotator=annotator).exists():
        raise Conflict("already_answered", "you have answered or skipped this item already")
    free = Slot.objects.filter(item_id=slot.item_id, state=Slot.State.FREE).order_by("number")
    for other in list(free.values_list("id", flat=True)):
        if Slot.objects.filter(id=other, state=Slot.State.FREE).update(**done):
            return int(other)
    return None


def _read(
    slot: Slot,
    answers: Sequence[Mapping[str, Any]],
    guidelines: Mapping[str, int],
    *,
    annotator: User,
    now: datetime,
    seconds: float | None,
) -> list[Label]:
    """The labels of an answer, checked against the queue's questions; raises Refused naming the field."""
    item = slot.item
    given: dict[str, Mapping[str, Any]] = {}
    for number, answer in enumerate(answers):
        slug = answer.get("signal")
        if not isinstance(slug, str) or slug in given:
            raise Refused("bad_answer", "each answer names one signal, once", field=f"labels.{number}.signal")
        given[slug] = answer
    asked = asked_signals(slot.queue)
    unknown = sorted(set(given) - {one.signal.slug for one in asked})
    if unknown:
        raise Refused("not_asked", f"this queue does not ask {unknown[0]!r}", field="labels")
    labels = []
    for one in asked:
        if one.signal.slug not in given:
            raise Refused("unanswered", f"{one.signal.slug} is not answered", field=f"labels.{one.signal.slug}")
        labels.append(
            _label(one, given[one.signal.slug], item, annotator=annotator, now=now, seconds=seconds, read=guidelines)
        )
    return labels


def _label(
    one: Asked,
    answer: Mapping[str, Any],
    item: Item,
    *,
    annotator: User,
    now: datetime,
    seconds: float | None,
    read: Mapping[str, int],
) -> Label:
    slug = one.signal.slug
    turn = answer.get("turn")
    if (WHOLE if turn is None else turn) != item.turn and turn is not None:
        raise Refused("other_turn", f"turn {turn} is not the one that is asked", field=f"labels.{slug}.turn")
    confidence = answer.get("confidence")
    if confidence is not None and (
        isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1
    ):
        raise Refused("bad_confidence", "confidence lies between 0 and 1", field=f"labels.{slug}.confidence")
    try:
        value, number = one.scale.encode(answer.get("value"))
    except ValueRefused as error:
        raise Refused("bad_value", str(error), field=f"labels.{slug}.value") from error
    return Label(
        conversation_id=item.conversation_id,
        turn=item.turn,
        signal=one.signal,
        annotator=annotator,
        item=item,
        value=value,
        number=number,
        confidence=confidence,
        comment=str(answer.get("comment") or ""),
        seconds=seconds,
        guideline_id=_guideline_read(one, read.get(slug)),
        labeled_at=now,
    )


def _guideline_read(one: Asked, version: int | None) -> int | None:
    """The guideline that the person had before them; the newest where the client does not say."""
    if version is None:
        return one.guideline.id if one.guideline else None
    found = next((given.id for given in one.signal.guidelines.all() if given.version == version), None)
    if found is None:
        raise Refused("unknown_guideline", f"{one.signal.slug} has no guideline {version}", field="guidelines")
    return found


def _set_aside(
    annotator: User, slot_id: int, kind: str, *, reason: str, comment: str, key: str, now: datetime
) -> Outcome:
    _check_key(key)
    repeated = _repeat(annotator, key)
    if repeated is not None:
        return repeated
    slot = slot_of(annotator, slot_id)
    with transaction.atomic():
        held = Slot.objects.filter(id=slot.id, annotator=annotator, state=Slot.State.LEASED)
        if not held.update(state=Slot.State.SKIPPED, leased_until=None):
            raise Conflict("lease_gone", "this item is not yours any more")
        submission = Submission.objects.create(
            key=key,
            kind=kind,
            annotator=annotator,
            item_id=slot.item_id,
            slot=slot,
            reason=reason[:200],
            comment=comment,
        )
        _replace(slot)
    return Outcome(submission, created=True)


def _replace(slot: Slot) -> None:
    """A free slot in place of one that was set aside, numbered on; the skipped one remembers who has had the item."""
    highest = Slot.objects.filter(item_id=slot.item_id).aggregate(highest=Max("number"))["highest"]
    Slot.objects.create(item_id=slot.item_id, queue_id=slot.queue_id, number=highest + 1, position=slot.position)


def _withdraw_replacement(slot: Slot) -> None:
    """The free slot that a skip had made goes again; where somebody has taken it, the item gets one label more."""
    free = Slot.objects.filter(item_id=slot.item_id, state=Slot.State.FREE).order_by("-number").first()
    if free is not None:
        Slot.objects.filter(id=free.id, state=Slot.State.FREE).delete()
