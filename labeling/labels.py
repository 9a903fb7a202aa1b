"""What an annotator does with an item: answer, skip, flag, undo. An acknowledged act is in the database, once.

A slot that is set aside keeps its person, so that the database itself never gives them the item again; a free slot with
the item's next number replaces it, so that the item still gets all its labels. Those slots lie beyond the lanes and are
handed out when the lanes are empty. A check is answered, skipped and undone like any item; what is stored differs
(`labeling.checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from labeling import checks, overlap, questions
from labeling.errors import Conflict, Refused
from labeling.leasing import Lease, give_back_surplus, one_at_a_time, slot_of, takeable
from labeling.models import CheckAnswer, Guideline, Item, KnownItem, Label, Queue, Slot, Submission, User
from labeling.notices import announcing
from labeling.questions import Question
from labeling.values import ValueRefused

UNDO_DEPTH = 10
FLAG_REASONS = ("unclear", "not_a_conversation", "personal_data", "other")
SKIP_REASONS = ("Not my language", "Cannot be read or heard", "Too hard to decide", "Other")
"""What the page offers; a program may give any reason."""
LONGEST_COMMENT, LONGEST_REASON = 10_000, 200
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an act: the stored submission, and whether this call made it (else it is a repeat)."""

    submission: Submission
    created: bool


@dataclass(frozen=True, slots=True)
class Undone:
    """An item that is leased again after its last act was taken back, with that act and the labels that it had."""

    slot: Slot
    lease: Lease
    submission: Submission
    labels: Sequence[Label | CheckAnswer]


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

    def happens() -> Submission:
        slot = slot_of(annotator, slot_id)
        asked = questions.asked(slot.queue_id)
        note = _text(comment, "comment")
        labels = read(
            slot.unit, annotator=annotator, answers=answers, asked=asked, now=now, seconds=seconds, comment=note,
            guidelines=guidelines,
        )  # fmt: skip
        told = [
            {"signal": question.slug, "value": question.scale.decode(label.value)}
            for question, label in zip(asked, labels, strict=True)
        ]
        act = Submission(key=key, annotator=annotator, seconds=seconds, comment=note, answer={"labels": told})
        with transaction.atomic():
            return _store(act, labels, slot=slot, now=now)

    return _once(annotator, key, slot_id, happens)


def skip(
    *, annotator: User, slot_id: int, reason: str, key: str, now: datetime, seconds: float | None = None
) -> Outcome:
    """Leave an item to others: this person does not get it again, and its slot is replaced by a free one."""

    def happens() -> Submission:
        text = _text(reason, "reason", most=LONGEST_REASON)
        return _set_aside(annotator, slot_id, Submission.Kind.SKIP, key=key, reason=text, seconds=seconds)

    return _once(annotator, key, slot_id, happens)


def flag(
    *,
    annotator: User,
    slot_id: int,
    reason: str,
    comment: str,
    key: str,
    now: datetime,
    seconds: float | None = None,
) -> Outcome:
    """Say that something is wrong with an item itself; otherwise like a skip."""
    if reason not in FLAG_REASONS:
        raise Refused("unknown_reason", f"{reason!r} is not one of {', '.join(FLAG_REASONS)}", field="reason")

    def happens() -> Submission:
        text = _text(comment, "comment")
        return _set_aside(
            annotator, slot_id, Submission.Kind.FLAG, key=key, reason=reason, comment=text, seconds=seconds
        )

    return _once(annotator, key, slot_id, happens)


def _once(annotator: User, key: str, slot_id: int, act: Callable[[], Submission]) -> Outcome:
    """Carry out an act that its key makes happen once. Looking for the key only after something went wrong keeps the usual
    case short: a second act under the same key always fails, at the latest on the unique key itself. A key that was used
    for another item is a Conflict: who takes that for an acknowledgement loses an answer."""
    if not _text(key, "key", most=64):
        raise Refused("bad_key", "give a key of 1 to 64 characters, made once for each act", field="key")
    for attempt in range(ATTEMPTS):
        try:
            return Outcome(act(), created=True)
        except (Refused, IntegrityError) as error:
            found = Submission.objects.filter(annotator=annotator, key=key).first()
            if found is not None and not _is_about(found, slot_id):
                raise Conflict("key_used", "you have used this key for another assignment", field="key") from error
            if found is not None:
                return Outcome(found, created=False)
            if isinstance(error, Refused):
                raise
            if attempt + 1 == ATTEMPTS:  # what collides again and again is no race
                raise Conflict("already_answered", "you have answered or skipped this item already") from error
    raise AssertionError("unreachable")


def _is_about(act: Submission, slot_id: int) -> bool:
    """Whether an act is of this slot, or, since another slot of its item can stand in for one whose lease ran out, of its item."""
    if act.slot_id == slot_id:
        return True
    return act.item_id is not None and Slot.objects.filter(id=slot_id, item=act.item_id).exists()


def _store(act: Submission, labels: list[Label], *, slot: Slot, now: datetime) -> Submission:
    act.kind = Submission.Kind.ANSWER
    if slot.is_check:
        checks.close_of(slot, act.annotator, state=Slot.State.DONE, leased_until=None)
        act.slot = slot
        act.save(force_insert=True)
        checks.store(act, labels, slot=slot, now=now)
        return act
    overlap.hold(slot)
    taken = _take_for_good(slot, act.annotator, now)
    act.item, act.late = slot.item, taken is None
    act.slot = slot if taken in (None, slot.id) else Slot.objects.get(id=taken)
    act.save(force_insert=True)
    for label in labels:
        label.submission, label.late = act, act.late
    Label.objects.bulk_create(labels)
    overlap.settle(slot)
    announcing.finished(slot.queue_id)
    return act


def _take_for_good(slot: Slot, annotator: User, now: datetime) -> int | None:
    """Turn the person's lease into a done slot, and return which. A lease that ran out counts while the slot is theirs, or
    another slot of the item can be taken; None when the item is full without them."""
    done: dict[str, Any] = {"state": Slot.State.DONE, "annotator": annotator, "leased_until": None}
    mine = Slot.objects.filter(id=slot.id, annotator=annotator, state=Slot.State.LEASED)
    if mine.update(**done):
        return slot.id
    if Slot.objects.filter(item=slot.item, annotator=annotator).exclude(state=Slot.State.LEASED).exists():
        raise Conflict("already_answered", "you have answered or skipped this item already")
    room = Slot.objects.filter(takeable(now), item=slot.item).order_by("number")
    for other in list(room.values_list("id", flat=True)):
        if Slot.objects.filter(takeable(now), id=other).update(**done):
            return other
    return None


def read(
    unit: Item | KnownItem,
    *,
    annotator: User,
    answers: Sequence[Mapping[str, Any]],
    asked: Sequence[Question],
    now: datetime,
    seconds: float | None = None,
    comment: str = "",
    guidelines: Mapping[str, int] | None = None,
) -> list[Label]:
    """Answers as unsaved labels of a unit, one for each question in its order; raises Refused naming the field at fault."""
    return _Reader(unit, annotator, now, seconds, comment).labels(answers, asked, guidelines or {})


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads an answer into labels of one item, checked against the questions; raises Refused naming the field."""

    unit: Item | KnownItem
    annotator: User
    now: datetime
    seconds: float | None
    comment: str

    def labels(
        self, answers: Sequence[Mapping[str, Any]], asked: Sequence[Question], read: Mapping[str, int]
    ) -> list[Label]:
        given: dict[str, Mapping[str, Any]] = {}
        for number, answer in enumerate(answers):
            slug = answer.get("signal")
            if not isinstance(slug, str) or slug in given:
                raise Refused("bad_answer", "each answer names one signal, once", field=f"labels.{number}.signal")
            given[slug] = answer
        unknown = sorted(set(given) - {question.slug for question in asked})
        if unknown:
            raise Refused("not_asked", f"this queue does not ask {unknown[0]!r}", field="labels")
        missing = next((question.slug for question in asked if question.slug not in given), None)
        if missing is not None:
            raise Refused("unanswered", f"{missing} is not answered", field=f"labels.{missing}")
        share = None if self.seconds is None else round(self.seconds / len(asked), 3)
        return [self.label(question, given[question.slug], read.get(question.slug), share) for question in asked]

    def label(self, question: Question, answer: Mapping[str, Any], read: int | None, seconds: float | None) -> Label:
        field = f"labels.{question.slug}"
        turn = answer.get("turn")
        if turn is not None and (isinstance(turn, bool) or turn != self.unit.turn):
            raise Refused("other_turn", f"turn {turn} is not the one that is asked", field=f"{field}.turn")
        try:
            value, number = question.scale.encode(answer.get("value"))
        except ValueRefused as error:
            raise Refused("bad_value", str(error), field=f"{field}.value") from error
        return Label(
            conversation_id=self.unit.conversation_id,
            turn=self.unit.turn,
            signal_id=question.signal_id,
            annotator=self.annotator,
            item=self.unit if isinstance(self.unit, Item) else None,
            value=value,
            number=number,
            confidence=_confidence(answer.get("confidence"), f"{field}.confidence"),
            comment=_text(answer.get("comment") or "", f"{field}.comment") or self.comment,
            seconds=seconds,
            guideline_id=_guideline_read(question, read),
            labeled_at=self.now,
        )


def _text(given: Any, field: str, *, most: int = LONGEST_COMMENT) -> str:
    """Text that both databases can hold; what is too long is refused, not cut."""
    if not isinstance(given, str):
        raise Refused("bad_text", "must be text", field=field)
    if len(given) > most:
        raise Refused("long_text", f"has at most {most:,} characters", field=field)
    if "\x00" in given or (not given.isascii() and any("\ud800" <= character <= "\udfff" for character in given)):
        raise Refused("bad_text", "has characters that are not text", field=field)
    return given


def _confidence(given: Any, field: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise Refused("bad_confidence", "confidence lies between 0 and 1", field=field)
    return float(given)


def _guideline_read(question: Question, version: int | None) -> int | None:
    """The guideline that the person had before them; the newest where the client does not say."""
    if version is None or version == question.guideline_version:
        return question.guideline_id
    found = Guideline.objects.filter(signal=question.signal_id, version=version).values_list("id", flat=True).first()
    if found is None:
        raise Refused("unknown_guideline", f"{question.slug} has no guideline {version}", field="guidelines")
    return found


def _set_aside(
    annotator: User, slot_id: int, kind: str, *, key: str, reason: str, seconds: float | None, comment: str = ""
) -> Submission:
    slot = slot_of(annotator, slot_id)
    act = Submission(
        key=key, kind=kind, annotator=annotator, slot=slot, reason=reason, comment=comment, seconds=seconds
    )
    with transaction.atomic():
        if slot.is_check:
            checks.close_of(slot, annotator, state=Slot.State.SKIPPED, leased_until=None)
        else:
            act.item = slot.item
            if not _replace(slot, annotator):
                # A flag says something of the item, whoever has it by now: like an answer it is kept as a late one.
                had = Slot.objects.filter(item=slot.item, annotator=annotator).exclude(state=Slot.State.LEASED)
                if kind != Submission.Kind.FLAG or had.exists():
                    raise Conflict("lease_gone", "this item is not yours any more")
                act.late = True
        act.save(force_insert=True)
    return act


def _replace(slot: Slot, annotator: User) -> bool:
    """Set the person's slot aside and put a free one in its place; False where it is not theirs any more."""
    held = Slot.objects.filter(id=slot.id, annotator=annotator, state=Slot.State.LEASED)
    if not held.update(state=Slot.State.SKIPPED, leased_until=None):
        return False
    highest = Slot.objects.filter(item=slot.item).aggregate(highest=Max("number"))["highest"]
    Slot.objects.create(item=slot.item, queue_id=slot.queue_id, number=highest + 1, position=slot.position)
    return True


def undo(
    *, annotator: User, queue: Queue, now: datetime, slot_id: int | None = None, holding: Sequence[int] = ()
) -> Undone | None:
    """Take back the person's last act in a queue (or the one on `slot_id`), up to ten back: the item is leased to them
    again, and their answers come with it. They hold no more items than before: of the others the first of `holding`
    stays theirs, the rest is free again.

    None when there is nothing to take back. The labels stay in the table, superseded. Raises Conflict for a skipped item
    that others have filled since.
    """
    until = now + timedelta(seconds=queue.lease_seconds)
    with one_at_a_time(annotator, queue.id):
        recent = Submission.objects.filter(annotator=annotator, slot__queue=queue, late=False, requeued_at__isnull=True)
        last = list(recent.order_by("-created_at", "-id").select_related("slot__queue")[:UNDO_DEPTH])
        submission = next((row for row in last if row.undone_at is None and slot_id in (None, row.slot_id)), None)
        if submission is None:
            return None
        overlap.hold(submission.slot)
        again = Submission.objects.filter(id=submission.id, undone_at__isnull=True, requeued_at__isnull=True)
        if not again.update(undone_at=now):
            return None
        labels = _take_back(submission, now=now)
        if submission.kind == Submission.Kind.ANSWER or submission.slot.is_check:
            held = submission.slot_id
            Slot.objects.filter(id=held).update(state=Slot.State.LEASED, annotator=annotator, leased_until=until)
        else:
            held = _return_from_aside(submission.slot, annotator, now=now, until=until)
        give_back_surplus(annotator=annotator, queue=queue, kept=held, holding=holding)
        slot = Slot.objects.select_related("queue").get(id=held)
        overlap.settle(slot)
    return Undone(slot, Lease(held, until), submission, labels)


def _take_back(submission: Submission, *, now: datetime) -> Sequence[Label | CheckAnswer]:
    if submission.slot.is_check:
        return checks.take_back(submission, now=now)
    labels = list(submission.labels.filter(superseded_at__isnull=True).select_related("signal"))
    Label.objects.filter(submission=submission, superseded_at__isnull=True).update(superseded_at=now)
    return labels


def _return_from_aside(aside: Slot, annotator: User, *, now: datetime, until: datetime) -> int:
    """Take a slot of the item that is still open in place of the one that was set aside, which goes, so that the item ends
    with as many slots as it had; its history moves along."""
    room = Slot.objects.filter(takeable(now), item=aside.item).order_by("-number")
    for slot_id in list(room.values_list("id", flat=True)):
        if not Slot.objects.filter(takeable(now), id=slot_id).update(
            state=Slot.State.FREE, annotator=None, leased_until=None
        ):
            continue
        Submission.objects.filter(slot=aside).update(slot=slot_id)
        Slot.objects.filter(id=aside.id).delete()
        Slot.objects.filter(id=slot_id).update(state=Slot.State.LEASED, annotator=annotator, leased_until=until)
        return slot_id
    raise Conflict("item_full", "others have labelled this item since you set it aside")
