"""Hidden repeats and gold checks: items that look like any other, whose answers tell how steady and how right people are.

A check is a slot of its own, made for one person at the moment when it is due and taken from nobody. Its answer is a
CheckAnswer, never a Label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, Min, OuterRef, Q

from labeling import privacy, questions
from labeling.errors import Conflict, Refused
from labeling.mixing import KNOWN, Mix
from labeling.models import (
    MOST_CHECKS,
    CheckAnswer,
    GoldRow,
    Item,
    KnownAnswer,
    KnownItem,
    Label,
    PracticeItem,
    Queue,
    Slot,
    Submission,
    User,
)
from labeling.models.gold import DatasetVersion
from labeling.questions import Question

POOL = 2000
"""Candidates looked at when a check is chosen; newest first for repeats."""
LONGEST_EXPLANATION = 2000


def mix_of(queue: Queue, annotator: User) -> Mix:
    return Mix(queue.repeat_share, queue.gold_share, f"{queue.id}:{annotator.id}")


def serve(*, annotator: User, queue_id: int, mix: Mix, act: int, now: datetime, until: datetime) -> int | None:
    """The check that is due at this act of the person, as a leased slot's id, first one that they gave back; None when none
    is due, or none is there to be asked: then the person gets an item of the queue."""
    kind = mix.due(act)
    if kind is None:
        return None
    again = take_again(annotator=annotator, queue_id=queue_id, until=until)
    if again is not None:
        return again
    candidates = _known(annotator, queue_id) if kind == KNOWN else _repeats(annotator, queue_id, now)
    if not candidates:
        return None
    chosen = candidates[int(mix.chance("which", act) * len(candidates))]
    asks = {"known_item_id": chosen} if kind == KNOWN else {"asks_again_id": chosen}
    try:
        with transaction.atomic():
            slot = Slot.objects.create(
                queue_id=queue_id, annotator=annotator, state=Slot.State.LEASED, leased_until=until, **asks
            )
    except IntegrityError:  # the same person asked twice at once
        return None
    return slot.id


def take_again(*, annotator: User, queue_id: int, until: datetime) -> int | None:
    """Lease a check that the person gave back, in the order of their acts, those that they have not answered yet last; a
    repeat only while its item is answered by them."""
    answered = Label.objects.filter(item=OuterRef("asks_again"), annotator=annotator, superseded_at__isnull=True)
    waiting = Slot.objects.filter(
        Q(known_item__isnull=False) | Exists(answered), queue=queue_id, annotator=annotator, state=Slot.State.WAITING
    )
    in_order = waiting.annotate(act=Min("submissions__id")).order_by(F("act").asc(nulls_last=True), "id")
    slot_id = in_order.values_list("id", flat=True).first()
    if slot_id is not None:
        Slot.objects.filter(id=slot_id).update(state=Slot.State.LEASED, leased_until=until)
    return slot_id


def _repeats(annotator: User, queue_id: int, now: datetime) -> list[int]:
    """Items that the person has answered long enough ago, in items and in time, and was not asked about again."""
    queue = Queue.objects.only("repeat_after_items", "repeat_after_minutes").get(id=queue_id)
    acts = Submission.objects.filter(
        annotator=annotator,
        slot__queue=queue_id,
        kind=Submission.Kind.ANSWER,
        late=False,
        undone_at__isnull=True,
        requeued_at__isnull=True,
    ).order_by("-created_at", "-id")
    rows = acts.values_list("item_id", "created_at")[queue.repeat_after_items :][:POOL]
    latest = now - timedelta(minutes=queue.repeat_after_minutes)
    old = [item for item, at in rows if item is not None and at <= latest]
    again = set(Slot.objects.filter(asks_again__in=old, annotator=annotator).values_list("asks_again_id", flat=True))
    return [item for item in old if item not in again]


def _known(annotator: User, queue_id: int) -> list[int]:
    """Known items that the person has neither labelled anywhere nor met in practice, and that the queue does not hold."""
    unit = {"conversation": OuterRef("conversation"), "turn": OuterRef("turn")}
    found = KnownItem.objects.filter(
        ~Exists(Slot.objects.filter(known_item=OuterRef("pk"), annotator=annotator)),
        ~Exists(PracticeItem.objects.filter(known_item=OuterRef("pk"), practice_round__annotator=annotator)),
        ~Exists(Label.objects.filter(annotator=annotator, **unit)),
        ~Exists(Item.objects.filter(queue=queue_id, **unit)),
        queue=queue_id,
        answers__isnull=False,
    )
    return list(found.order_by("id").values_list("id", flat=True).distinct()[:POOL])


def store(act: Submission, labels: Sequence[Label], *, slot: Slot, now: datetime) -> None:
    """Keep the answers to a check: beside the person's own earlier label, or beside what is known."""
    firsts, knowns = {}, {}
    if slot.asks_again_id is not None:
        earlier = Label.objects.filter(item=slot.asks_again_id, annotator=act.annotator, superseded_at__isnull=True)
        firsts = dict(earlier.values_list("signal_id", "id"))
    else:
        knowns = dict(KnownAnswer.objects.filter(known_item=slot.known_item_id).values_list("signal_id", "id"))
    CheckAnswer.objects.bulk_create(
        CheckAnswer(
            submission=act,
            slot=slot,
            annotator=act.annotator,
            signal_id=label.signal_id,
            value=label.value,
            number=label.number,
            confidence=label.confidence,
            comment=label.comment,
            seconds=label.seconds,
            guideline_id=label.guideline_id,
            first_id=firsts.get(label.signal_id),
            known_id=knowns.get(label.signal_id),
            answered_at=now,
        )
        for label in labels
    )


def take_back(submission: Submission, *, now: datetime) -> list[CheckAnswer]:
    """Supersede the answers of a check that is undone; answers what they were."""
    given = list(submission.check_answers.filter(superseded_at__isnull=True).select_related("signal"))
    submission.check_answers.filter(superseded_at__isnull=True).update(superseded_at=now)
    return given


def feedback(act: Submission) -> list[dict[str, Any]] | None:
    """What is known of the item that was answered, where it was a gold check and its queue tells; else None."""
    item = act.slot.known_item
    if item is None or not act.slot.queue.gold_feedback or act.kind != Submission.Kind.ANSWER:
        return None
    scales = {question.signal_id: question for question in questions.asked(act.slot.queue_id)}
    given = act.check_answers.filter(superseded_at__isnull=True, known__isnull=False).select_related("known__row")
    return [
        comparison(scales[one.signal_id], value=one.value, known=one.known, explanation=item.explanation)
        for one in given
        if one.known is not None and one.signal_id in scales
    ]


def comparison(question: Question, *, value: str, known: KnownAnswer, explanation: str) -> dict[str, Any]:
    """An answer beside the known one, as page and API tell it."""
    gold = known.row.value or ""
    return {
        "signal": question.slug,
        "value": question.scale.decode(value),
        "known": question.scale.decode(gold),
        "correct": question.scale.same(value, gold),
        "explanation": privacy.in_force().text(explanation),
    }


SETTINGS = (
    "repeat_share",
    "repeat_after_items",
    "repeat_after_minutes",
    "gold_share",
    "gold_feedback",
    "practice_size",
    "practice_pass",
)
"""The columns of a queue that say what is mixed in."""


@transaction.atomic
def configure(*, queue: Queue, settings: Mapping[str, Any]) -> None:
    """Change what is mixed into a queue: some of SETTINGS, the others stay as they are.

    Raises Refused where a share is out of range, or gold is asked for that the queue does not have.
    """
    queue = Queue.objects.select_for_update().get(id=queue.id)
    for name in SETTINGS:
        setattr(queue, name, settings.get(name, getattr(queue, name)))
    for name in ("repeat_share", "gold_share"):
        if not 0 <= getattr(queue, name) <= MOST_CHECKS:
            raise Refused("bad_share", f"a share of checks lies between 0 and {MOST_CHECKS}", field=name)
    if queue.repeat_share > MOST_CHECKS - queue.gold_share:
        raise Refused("too_many_checks", "at most every second item can be a check", field="gold_share")
    if not 0 <= queue.practice_pass <= 1:
        raise Refused("bad_share", "the share to pass lies between 0 and 1", field="practice_pass")
    for name in ("repeat_after_items", "repeat_after_minutes", "practice_size"):
        if not 0 <= getattr(queue, name) <= 30_000:
            raise Refused("bad_number", "lies between 0 and 30,000", field=name)
    there = queue.known_items.count()
    if queue.gold_share > 0 and not there:
        raise Refused("no_known_items", "give the queue units of known answer first: a frozen dataset", field="gold")
    if queue.practice_size > there:
        raise Refused(
            "no_known_items",
            f"the queue has {there} units of known answer: practise at most so many",
            field="practice_size",
        )
    queue.save(update_fields=list(SETTINGS))


@transaction.atomic
def know(
    *,
    queue: Queue,
    versions: Sequence[DatasetVersion],
    most: int | None = None,
    explain: Mapping[int, str] | None = None,
) -> int:
    """Let `queue` ask what is known from frozen gold, for its own signals; returns how many known items it has now.

    Units that the queue itself asks are left out, and those of channels that it does not ask. Of each unit the newest named version counts. `most` takes so many, in
    the order of the gold. Explanations come from the notes of reviewers, where they ruled with one.
    """
    queue = Queue.objects.select_for_update().get(id=queue.id)
    asked = set(queue.queue_signals.values_list("signal_id", flat=True))
    for version in versions:
        signal = version.dataset.signal
        if signal.id not in asked:
            raise Refused(
                "other_signal", f"{version} is gold of {signal.slug}, which {queue.slug} does not ask", field="gold"
            )
        if version.frozen_at is None:
            raise Refused("not_frozen", f"{version} is not frozen", field="gold")
        _know_version(queue, version, most)
    return queue.known_items.count()


def _know_version(queue: Queue, version: DatasetVersion, most: int | None) -> None:
    drawn = Item.objects.filter(queue=queue, conversation=OuterRef("conversation"), turn=OuterRef("turn"))
    # A call among chats would be known for a check at first sight.
    channels = set(queue.items.order_by().values_list("conversation__channel", flat=True).distinct())
    rows = GoldRow.objects.filter(~Exists(drawn), version=version, value__isnull=False, channel__in=channels)
    rows = rows.order_by("position")
    chosen = list(rows.only("id", "conversation_id", "turn")[: POOL if most is None else most])
    there = {(one.conversation_id, one.turn): one for one in queue.known_items.all()}
    fresh = [
        KnownItem(queue=queue, conversation_id=row.conversation_id, turn=row.turn)
        for row in chosen
        if (row.conversation_id, row.turn) not in there
    ]
    notes = _notes(version, fresh)
    for one in fresh:
        one.explanation = notes.get((one.conversation_id, one.turn), "")[:LONGEST_EXPLANATION]
    there |= {(one.conversation_id, one.turn): one for one in KnownItem.objects.bulk_create(fresh, batch_size=500)}
    signal = version.dataset.signal
    told = set(
        KnownAnswer.objects.filter(known_item__queue=queue, signal=signal).values_list("known_item_id", flat=True)
    )
    KnownAnswer.objects.bulk_create(
        (
            KnownAnswer(known_item=there[row.conversation_id, row.turn], signal=signal, row=row)
            for row in chosen
            if there[row.conversation_id, row.turn].id not in told
        ),
        batch_size=500,
    )


def _notes(version: DatasetVersion, items: Sequence[KnownItem]) -> dict[tuple[int, int], str]:
    rulings = version.dataset.signal.rulings.filter(
        superseded_at__isnull=True, conversation__in={one.conversation_id for one in items}
    ).exclude(note="")
    return {
        (conversation, turn): note
        for conversation, turn, note in rulings.values_list("conversation_id", "turn", "note")
    }


def explain(*, known_item: KnownItem, text: str, by: User) -> None:
    """Say why the answer is what it is; people read it in practice, and after a check where the queue tells."""
    if not by.may("reviewer"):
        raise Refused("not_a_reviewer", "explanations are written by reviewers and above", status=403)
    if len(text) > LONGEST_EXPLANATION:
        raise Refused(
            "long_text", f"an explanation has at most {LONGEST_EXPLANATION:,} characters", field="explanation"
        )
    kept = privacy.in_force().unmasked(text.strip(), known_item.explanation)
    KnownItem.objects.filter(id=known_item.id).update(explanation=kept)


def close_of(slot: Slot, annotator: User, **done: Any) -> None:
    """Turn the person's check into a closed one; Conflict when it is closed already. One that ran out or was given back
    counts: nobody else can have taken it."""
    still_open = Slot.objects.filter(id=slot.id, annotator=annotator, state__in=[Slot.State.LEASED, Slot.State.WAITING])
    if not still_open.update(**done):
        raise Conflict("already_answered", "you have answered or skipped this item already")
