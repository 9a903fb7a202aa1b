"""Canaries: a fixed set of conversations that a pinned version answers again and again, to catch changes that nobody announced.

The first round is what the version is pinned to; the next three measure how often it contradicts itself. Every later
round is compared with the first. A round is a row first; its work can be killed anywhere and resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from calibration import evaluators
from calibration.drift.calibrations import closeness
from calibration.evaluators import Answer, Evaluator, Text
from calibration.evaluators.base import EvaluatorUnavailable
from calibration.models import Canary, CanaryAnswer, CanaryRound, CanarySet, ClassifierVersion, Prediction
from labeling import bulk, design, frames
from labeling.background import later
from labeling.errors import Conflict, NotFound, Refused
from labeling.frames import Frame
from labeling.models import WHOLE, Conversation, Signal, User
from labeling.sampling import plan_for
from labeling.values import Scale

SIZE, LARGEST = 200, 5000
REPEATS = 3
PINNING = 1 + REPEATS
"""The first round and its repeats: what the later ones are compared with, and by how much they may differ."""
RECENT = timedelta(days=90)
BATCH = 50
HOLD = timedelta(minutes=10)
TASK = "calibration.score_canary_set"
State = CanaryRound.State


def in_use(version: ClassifierVersion) -> CanarySet:
    """The set that a version answers now; raises NotFound."""
    found = CanarySet.objects.filter(version=version, retired_at__isnull=True).first()
    if found is None:
        raise NotFound("no_canaries", f"{version} has no canaries: pin some first", field="version")
    found.version = version
    return found


def can_run(version: ClassifierVersion) -> bool:
    """Whether cxlab can score with it; others are scored elsewhere and their answers loaded."""
    return version.kind in evaluators.KINDS


@transaction.atomic
def pin(
    *,
    version: ClassifierVersion,
    now: datetime,
    size: int = SIZE,
    seed: int = 0,
    every_days: int = 7,
    conversations: Sequence[str] = (),
    renew: bool = False,
    by: User | None = None,
) -> CanarySet:
    """Choose a version's canaries: those named, else `size` of the last three months, by channel and cohort as they come.

    Refused while the version has a set, unless `renew` retires it: what the version says now becomes what it is pinned
    to. For a version that cxlab can run, the first rounds are queued at once.
    """
    old = CanarySet.objects.select_for_update().filter(version=version, retired_at__isnull=True).first()
    if old is not None and not renew:
        raise Conflict("canaries_exist", f"{version} has canaries already: renew them to start afresh", field="version")
    if old is not None:
        retire(canary_set=old, now=now)
    if not 0 <= every_days <= 365:
        raise Refused("bad_interval", "rounds are 0 (by hand) to 365 days apart", field="every_days")
    units = _named(version.classifier.signal, conversations) if conversations else _drawn(version, size, seed)
    made = CanarySet.objects.create(version=version, seed=seed, every_days=every_days, created_by=by)
    known = dict(Conversation.objects.filter(id__in={unit[0] for unit in units}).values_list("id", "content_sha256"))
    Canary.objects.bulk_create(
        Canary(canary_set=made, position=place, conversation_id=home, turn=turn, content_sha256=known[home])
        for place, (home, turn) in enumerate(units)
    )
    if can_run(version):
        for _ in range(PINNING):
            _new(made, at=now)
        later(TASK, made.id)
    return made


@transaction.atomic
def retire(*, canary_set: CanarySet, now: datetime) -> None:
    """Ask these canaries no longer; what they said is kept."""
    CanarySet.objects.filter(id=canary_set.id, retired_at__isnull=True).update(retired_at=now)


@transaction.atomic
def open_round(*, canary_set: CanarySet, now: datetime) -> CanaryRound:
    """A round to be scored now; the one that is under way, where there is one. Refused for versions scored elsewhere."""
    if not can_run(canary_set.version):
        evaluators.make(canary_set.version)  # says what could be run
    CanarySet.objects.select_for_update().get(id=canary_set.id)
    waiting = canary_set.rounds.exclude(state=State.DONE).order_by("number").first()
    later(TASK, canary_set.id)
    return waiting or _new(canary_set, at=now)


def open_due(*, now: datetime) -> list[CanaryRound]:
    """Open what is due by the sets' schedules, and take up what was left lying; done again at once, it opens nothing."""
    opened = []
    sets = CanarySet.objects.filter(retired_at__isnull=True, version__kind__in=evaluators.KINDS)
    for found in sets.select_related("version__classifier__signal").annotate(last=Max("rounds__at")):
        left = found.rounds.exclude(state=State.DONE).exclude(held_until__gte=now).order_by("number").first()
        due = found.every_days and (found.last is None or found.last + timedelta(days=found.every_days) <= now)
        busy = found.rounds.exclude(state=State.DONE).exists()
        if left is not None or (due and not busy):
            opened.append(open_round(canary_set=found, now=now))
    return opened


def work(*, canary_set: CanarySet, evaluator: Evaluator | None = None) -> CanaryRound | None:
    """Score every round that waits, in order, since the later ones are compared with the first; returns the last.

    Raises Conflict while another worker holds one. Stops at a round that fails; the schedule takes it up again.
    """
    row = None
    waiting = CanaryRound.objects.filter(canary_set=canary_set, canary_set__retired_at__isnull=True)
    waiting = waiting.exclude(state=State.DONE).select_related("canary_set__version__classifier__signal")
    for found in waiting.order_by("number"):
        row = _work(found, evaluator)
        if row.state != State.DONE:
            break
    return row


def _work(row: CanaryRound, evaluator: Evaluator | None) -> CanaryRound:
    """Answer what this round has not answered yet, batch by batch, each in a short transaction.

    A version that cannot be run now, or a judge that is down, leaves the round FAILED with its reason.
    """
    _take(row)
    version = row.canary_set.version
    try:
        evaluator = evaluator or evaluators.make(version)
    except Refused as refused:
        return _fail(row, refused.message)
    open_canaries = unchanged(row.canary_set).exclude(said__round=row).select_related("conversation")
    try:
        for batch in bulk.parts(open_canaries.order_by("position"), BATCH):
            _store(row, batch, evaluator)
    except EvaluatorUnavailable as error:
        return _fail(row, str(error))
    if not row.said.exists():
        return _fail(row, "every conversation of these canaries was changed: renew them")
    return _finish(row)


def _fail(row: CanaryRound, why: str) -> CanaryRound:
    row.state, row.error, row.held_until = State.FAILED, why, None
    row.save(update_fields=["state", "error", "held_until"])
    return row


@transaction.atomic
def store_round(*, canary_set: CanarySet, at: datetime, answers: Sequence[tuple[Canary, CanaryAnswer]]) -> CanaryRound:
    """A whole round that was answered elsewhere; the same one again changes nothing, another one at its time is refused."""
    CanarySet.objects.select_for_update().get(id=canary_set.id)
    known = canary_set.rounds.filter(at=at, loaded=True).first()
    given = {canary.id: (answer.status, answer.value) for canary, answer in answers}
    if known is not None:
        stored = {
            canary: (status, value) for canary, status, value in known.said.values_list("canary", "status", "value")
        }
        if stored != given:
            raise Conflict("round_exists", f"another round of {canary_set.version} was loaded for {at:%Y-%m-%d %H:%M}")
        return known
    row = _new(canary_set, at=at, loaded=True)
    for _, answer in answers:
        answer.round = row
    CanaryAnswer.objects.bulk_create([answer for _, answer in answers], batch_size=1000)
    return _finish(row)


def unchanged(canary_set: CanarySet) -> QuerySet[Canary]:
    """The canaries whose conversation still reads as it did when it was chosen."""
    return canary_set.canaries.filter(conversation__content_sha256=F("content_sha256"))


def watched_rounds(canary_set: CanarySet) -> tuple[list[CanaryRound], list[CanaryRound]]:
    """The repeats that measured the noise, and the rounds since, in order of time; unfinished ones count nowhere."""
    done = list(canary_set.rounds.filter(state=State.DONE, answers__gt=0))
    later_ones = sorted((row for row in done if row.number > PINNING), key=lambda row: (row.at, row.number))
    return [row for row in done if 1 < row.number <= PINNING], later_ones


def moved(scale: Scale, width: float, was: CanaryAnswer, now: CanaryAnswer) -> float:
    """How far an answer is from the pinned one: 0 or 1, for numbers the share of the range between them."""
    if was.status != now.status:
        return 1.0
    if scale.kind == "interval" and was.number is not None and now.number is not None:
        return 1.0 - closeness(was.number, now.number, width)
    return float(was.value != now.value)


def width_of(signal: Signal, canary_set: CanarySet) -> float:
    """The range of a signal of numbers: what it may be, else what the pinned answers show."""
    if signal.minimum is not None and signal.maximum is not None:
        return signal.maximum - signal.minimum
    pinned = CanaryAnswer.objects.filter(round__canary_set=canary_set, round__number=1, number__isnull=False)
    numbers = list(pinned.values_list("number", flat=True))
    return (max(n or 0.0 for n in numbers) - min(n or 0.0 for n in numbers) if numbers else 0.0) or 1.0


def _named(signal: Signal, names: Sequence[str]) -> list[tuple[int, int]]:
    found = {row.external_id: row for row in Conversation.objects.filter(external_id__in=names)}
    missing = [name for name in names if name not in found]
    if missing:
        raise NotFound("unknown_conversation", f"there is no conversation {missing[0]!r}", field="conversations")
    wanted = list(dict.fromkeys(names))
    if signal.unit == Signal.Unit.TURN:
        return [(found[name].id, turn) for name in wanted for turn in range(found[name].turn_count)]
    return [(found[name].id, WHOLE) for name in wanted]


def _drawn(version: ClassifierVersion, size: int, seed: int) -> list[tuple[int, int]]:
    """A seeded sample of the last three months that there are, in proportion to channel and cohort."""
    if not 1 <= size <= LARGEST:
        raise Refused("bad_size", f"a set has 1 to {LARGEST:,} canaries, not {size}", field="size")
    newest = Conversation.objects.aggregate(at=Max("started_at"))["at"]
    frame = Frame(since=(newest - RECENT).date()) if newest else Frame()
    by = ("channel", "cohort")
    units = frames.read(frame, signals=[version.classifier.signal], by=by)
    plan = plan_for("stratified", by=by)(units)
    drawn = design.draw(plan.units, size=size, strategy="stratified", rng=np.random.default_rng(seed))
    place = {unit.key: unit for unit in units}
    return [(place[pick.key].conversation, place[pick.key].turn) for pick in drawn.picks]


def _new(canary_set: CanarySet, *, at: datetime, loaded: bool = False) -> CanaryRound:
    last = canary_set.rounds.aggregate(n=Max("number"))["n"] or 0
    try:
        with transaction.atomic():
            return CanaryRound.objects.create(canary_set=canary_set, number=last + 1, at=at, loaded=loaded)
    except IntegrityError as error:
        raise Conflict("round_exists", "another round of these canaries was opened at the same moment") from error


def _take(row: CanaryRound) -> None:
    now = timezone.now()
    free = CanaryRound.objects.filter(Q(held_until__isnull=True) | Q(held_until__lt=now), id=row.id)
    if not free.exclude(state=State.DONE).update(state=State.RUNNING, held_until=now + HOLD, error=""):
        raise Conflict("round_held", f"another worker holds round {row.number} of {row.canary_set.version}")
    row.refresh_from_db(fields=["state", "held_until", "error"])


def _store(row: CanaryRound, batch: Sequence[Canary], evaluator: Evaluator) -> None:
    scale = Scale.of(row.canary_set.version.classifier.signal)
    rows = []
    for canary in batch:
        home = canary.conversation
        answer = evaluator.score(Text(turns=home.turns, turn=canary.turn, channel=home.channel))
        rows.append(answer_of(canary, answer, scale, round=row))
    with transaction.atomic():
        CanaryAnswer.objects.bulk_create(rows, ignore_conflicts=True)
        row.cost += sum(found.cost or 0 for found in rows)
        row.held_until = timezone.now() + HOLD
        row.save(update_fields=["cost", "held_until"])


def answer_of(canary: Canary, answer: Answer, scale: Scale, *, round: CanaryRound | None = None) -> CanaryAnswer:
    """An evaluator's answer as a row, not stored yet."""
    value, number = scale.encode(answer.value) if answer.status == Prediction.Status.OK else (None, None)
    return CanaryAnswer(
        round=round, canary=canary, status=answer.status, value=value, number=number, cost=answer.cost, seconds=answer.seconds
    )  # fmt: skip


def _finish(row: CanaryRound) -> CanaryRound:
    """Count the round against the first one and close it."""
    found = row.canary_set
    said = {answer.canary_id: answer for answer in row.said.all()}
    first = CanaryAnswer.objects.filter(round__canary_set=found, round__number=1)
    pinned = {answer.canary_id: answer for answer in first}
    signal = found.version.classifier.signal
    scale, width = Scale.of(signal), width_of(signal, found)
    both = [(pinned[key], answer) for key, answer in said.items() if key in pinned]
    row.answers, row.flips = len(both), sum(moved(scale, width, was, now) for was, now in both)
    row.state, row.held_until, row.finished_at, row.error = State.DONE, None, timezone.now(), ""
    row.save(update_fields=["answers", "flips", "state", "held_until", "finished_at", "error"])
    return row
