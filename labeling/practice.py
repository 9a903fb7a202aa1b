"""The practice round: known items with explanations, before a queue opens to a member. It can be taken as often as one likes.

A round is drawn once and kept: who reloads the page goes on where they were. Who passes labels; who does not goes again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from django.db import IntegrityError, transaction

from labeling import checks, labels, questions
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import (
    KnownAnswer,
    KnownItem,
    PracticeAnswer,
    PracticeItem,
    PracticeRound,
    Queue,
    QueueMember,
    User,
)
from labeling.questions import Question


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands in their practice of a queue: the open round, the place to answer next, the round before."""

    queue: Queue
    needed: bool
    practice_round: PracticeRound | None
    place: PracticeItem | None
    last: PracticeRound | None

    @property
    def number(self) -> int:
        return 0 if self.place is None else self.place.position + 1


def standing(*, annotator: User, queue: Queue) -> Standing:
    """Read only. `needed`: the queue has a practice round and this member has not passed it yet."""
    rounds = PracticeRound.objects.filter(queue=queue, annotator=annotator)
    opened = rounds.filter(finished_at__isnull=True).first()
    place = None
    if opened is not None:
        places = opened.places.filter(answered_at__isnull=True).select_related("known_item__conversation")
        place = places.order_by("position").first()
    membership = QueueMember.objects.filter(queue=queue, user=annotator, practiced_at__isnull=True)
    return Standing(
        queue=queue,
        needed=queue.practice_size > 0 and membership.exists(),
        practice_round=opened,
        place=place,
        last=rounds.filter(finished_at__isnull=False).first(),
    )


def begin(*, annotator: User, queue: Queue, now: datetime) -> Standing:
    """Open a round, or go on with the one that is open. Units not practised yet come first, then others, in random order.

    Raises NotFound for somebody who is not a member, Conflict for a queue without a practice round.
    """
    if not QueueMember.objects.filter(queue=queue, user=annotator).exists():
        raise NotFound("not_a_member", "there is no such queue", field="queue")
    if not queue.practice_size:
        raise Conflict("no_practice", f"{queue.slug} has no practice round")
    if not PracticeRound.objects.filter(queue=queue, annotator=annotator, finished_at__isnull=True).exists():
        try:
            with transaction.atomic():
                _draw(annotator, queue, now)
        except IntegrityError:
            pass  # begun in another tab at the same moment
    return standing(annotator=annotator, queue=queue)


def _draw(annotator: User, queue: Queue, now: datetime) -> None:
    opened = PracticeRound.objects.create(queue=queue, annotator=annotator, started_at=now)
    pool = list(KnownItem.objects.filter(queue=queue, answers__isnull=False).distinct().values_list("id", flat=True))
    checked = set(queue.slots.filter(known_item__in=pool, annotator=annotator).values_list("known_item_id", flat=True))
    met = set(
        PracticeItem.objects.filter(practice_round__queue=queue, practice_round__annotator=annotator).values_list(
            "known_item_id", flat=True
        )
    )
    # Explanations teach: what was a check once is practised last.
    Random(f"{queue.id}:{annotator.id}:{opened.id}").shuffle(pool)
    pool.sort(key=lambda known: (known in checked, known in met))
    PracticeItem.objects.bulk_create(
        PracticeItem(practice_round=opened, known_item_id=known, position=position)
        for position, known in enumerate(pool[: queue.practice_size])
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one practice answer: the comparison for each signal, and the round where it is finished."""

    place: PracticeItem
    feedback: Sequence[dict[str, Any]]
    finished: PracticeRound | None


def answer(
    *,
    annotator: User,
    place_id: int,
    answers: Sequence[Mapping[str, Any]],
    now: datetime,
    seconds: float | None = None,
) -> Told:
    """Answer a practice item and hear at once what is known of it, and why. The same place again tells the first answer's
    outcome. The last answer of a round finishes it; with enough right ones the queue opens.

    Raises NotFound for somebody else's place, Refused for answers that the signals do not have.
    """
    with transaction.atomic():
        place = (
            PracticeItem.objects.select_for_update(of=("self",))
            .select_related("known_item__conversation", "practice_round__queue")
            .filter(id=place_id, practice_round__annotator=annotator)
            .first()
        )
        if place is None:
            raise NotFound("unknown_practice", "there is no such practice item", field="practice")
        asked = questions.asked(place.practice_round.queue_id)
        if place.answered_at is None:
            _store(place, annotator, answers, asked, now=now, seconds=seconds)
        return Told(place, feedback(place, asked), _finish(place.practice_round, now=now))


def _store(
    place: PracticeItem,
    annotator: User,
    answers: Sequence[Mapping[str, Any]],
    asked: Sequence[Question],
    *,
    now: datetime,
    seconds: float | None,
) -> None:
    given = labels.read(place.known_item, annotator=annotator, answers=answers, asked=asked, now=now)
    known = {one.signal_id: one for one in place.known_item.answers.select_related("row")}
    scales = {question.signal_id: question.scale for question in asked}
    PracticeAnswer.objects.bulk_create(
        PracticeAnswer(
            place=place,
            signal_id=label.signal_id,
            value=label.value,
            number=label.number,
            known=known.get(label.signal_id),
            correct=_is_right(known.get(label.signal_id), scales[label.signal_id].same, label.value),
        )
        for label in given
    )
    place.answered_at, place.seconds = now, seconds
    place.save(update_fields=["answered_at", "seconds"])


def _is_right(known: KnownAnswer | None, same: Any, value: str) -> bool | None:
    return None if known is None else bool(same(value, known.row.value or ""))


def _finish(opened: PracticeRound, *, now: datetime) -> PracticeRound | None:
    """Close the round once every place is answered; None before."""
    if opened.places.filter(answered_at__isnull=True).exists():
        return None
    if opened.finished_at is None:
        told = list(
            PracticeAnswer.objects.filter(place__practice_round=opened, correct__isnull=False).values_list(
                "correct", flat=True
            )
        )
        opened.asked, opened.correct, opened.finished_at = len(told), told.count(True), now
        opened.passed = opened.correct >= needed(opened.asked, opened.queue.practice_pass)
        opened.save(update_fields=["asked", "correct", "finished_at", "passed"])
        if opened.passed:
            QueueMember.objects.filter(queue=opened.queue, user=opened.annotator, practiced_at__isnull=True).update(
                practiced_at=now
            )
    return opened


def needed(asked: int, share: float) -> int:
    """How many of so many answers must be right: 0.8 of 5 are 4."""
    return math.ceil(share * asked - 1e-9)


def feedback(place: PracticeItem, asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Each answer beside the known one, with why; signals of which nothing is known are left out."""
    by_signal = {question.signal_id: question for question in asked}
    given = place.answers.filter(known__isnull=False).select_related("known__row").order_by("id")
    return [
        checks.comparison(
            by_signal[one.signal_id], value=one.value, known=one.known, explanation=place.known_item.explanation
        )
        for one in given
        if one.known is not None and one.signal_id in by_signal
    ]


def place_of(*, annotator: User, place_id: int) -> PracticeItem:
    """An own place of a round; NotFound for everybody else's."""
    places = PracticeItem.objects.select_related("known_item__conversation", "practice_round__queue")
    place = places.filter(id=place_id, practice_round__annotator=annotator).first()
    if place is None:
        raise NotFound("unknown_practice", "there is no such practice item", field="practice")
    return place


def answers_of(form: Mapping[str, Any], asked: Sequence[Question]) -> list[dict[str, Any]]:
    """The answers of a page's form (a mapping with `getlist`) in the contract's form; raises Refused naming the question."""
    found = []
    for question in asked:
        told = form.getlist(f"q-{question.slug}")  # type: ignore[attr-defined]
        if question.scale.kind == "multilabel":
            found.append({"signal": question.slug, "value": told})
            continue
        if not told:
            raise Refused("unanswered", f"{question.title} is not answered", field=question.slug)
        value: Any = told[0]
        if question.scale.kind == "interval":
            try:
                value = float(value)
            except ValueError:
                raise Refused("bad_value", f"{value!r} is not a number", field=question.slug) from None
        found.append({"signal": question.slug, "value": value})
    return found
