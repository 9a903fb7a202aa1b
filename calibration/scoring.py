"""Running a version over conversations: a row first, then work in batches that can be killed anywhere and resumed.

What is scored here has no `predicted_at`: a backlog scored today counts in the trends on the days of its conversations.
`stored_at` says when it was done.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from calibration import evaluators, fitted
from calibration.errors import NotComparable
from calibration.evaluators import Evaluator, EvaluatorUnavailable, Text
from calibration.models import ClassifierVersion, Prediction, ScoringRun
from calibration.rollups import Changes, held
from calibration.stats import human
from calibration.stats.estimate import Estimate
from labeling import bulk, references
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import WHOLE, Conversation, GoldRow, Item, Queue, Signal
from labeling.values import Scale

BATCH = 50
HOLD = timedelta(minutes=10)
RENEWED = timedelta(minutes=1)
SLICE = 60.0
"""Seconds that a task works on a run before others get their turn."""

Unit = tuple[int, int]
"""Conversation id and turn."""

TASK = "calibration.work_scoring_run"


def start(*, version: ClassifierVersion, frame: dict[str, str], budget: float | None = None) -> ScoringRun:
    """A run, not begun yet, of `version` over a dataset version, a queue or a period of conversations.

    With a `budget` it stops when so much is spent, in the currency of the version's prices. Refused before anything is
    queued when the version cannot be run, the frame names nothing, or all of it is what the version was fitted on.
    """
    evaluators.make(version)
    if budget is not None:
        _check_budget(version, budget)
    total = sum(1 for _ in units(version=version, frame=frame))
    if not total and any(True for _ in _framed(version, frame)):
        raise NotComparable(
            "fitted_on_it", f"{version} was fitted on every unit of it: there is nothing left to score", field="version"
        )
    return ScoringRun.objects.create(version=version, frame=frame, total=total, budget=budget)


def _check_budget(version: ClassifierVersion, budget: float) -> None:
    if budget <= 0:
        raise Refused("bad_budget", "a budget is a number above 0", field="budget")
    priced = version.parameters.get("input_price") or version.parameters.get("output_price")
    if version.kind == "openai" and not priced:
        raise Refused(
            "no_prices", f"{version} has no input_price and output_price: nobody could say when the budget is spent",
            field="budget",
        )  # fmt: skip


def units(*, version: ClassifierVersion, frame: dict[str, str]) -> Iterator[Unit]:
    """The units of the frame in a fixed order, as (conversation id, turn), without those the version was fitted on."""
    if not version.fitted_on.exists():
        yield from _framed(version, frame)
        return
    found = list(_framed(version, frame))
    learned = fitted.among(version, {unit[0] for unit in found})
    yield from (unit for unit in found if unit[0] not in learned)


def _framed(version: ClassifierVersion, frame: dict[str, str]) -> Iterator[Unit]:
    signal = version.classifier.signal
    if "dataset" in frame:
        dataset = references.dataset_version(frame["dataset"])
        if dataset.dataset.signal_id != signal.id:
            raise NotComparable(
                "other_signal", f"{dataset} is gold of another signal than {version} scores", field="dataset"
            )
        yield from GoldRow.objects.filter(version=dataset).order_by("position").values_list("conversation_id", "turn")
    elif "queue" in frame:
        queue = Queue.objects.filter(slug=frame["queue"]).first()
        if queue is None:
            raise NotFound("unknown_queue", f"there is no queue {frame['queue']!r}", field="queue")
        yield from Item.objects.filter(queue=queue).order_by("position").values_list("conversation_id", "turn")
    else:
        found = _period(frame.get("from"), frame.get("to"))
        yield from _units_of(signal, _some(found, int(frame["a_slice"])) if "a_slice" in frame else found)


def _period(since: str | None, until: str | None) -> QuerySet[Conversation]:
    """Conversations that began from the day `since` to the day `until`, both included; all without them."""
    found = Conversation.objects.all()
    if since:
        found = found.filter(started_at__gte=_at(since, time.min, "from"))
    if until:
        found = found.filter(started_at__lte=_at(until, time.max, "to"))
    return found


def _some(conversations: QuerySet[Conversation], each: int) -> QuerySet[Conversation]:
    """At most `each` conversations of every channel and cohort, the same ones however often one asks."""
    place = Window(
        RowNumber(), partition_by=[F("channel"), F("cohort")], order_by=[F("content_sha256"), F("external_id")]
    )
    return conversations.annotate(place=place).filter(place__lte=each)


def _at(day: str, hour: time, field: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(day), hour, tzinfo=UTC)
    except ValueError as error:
        raise Refused("bad_day", f"{day!r} is not a day like 2026-03-31", field=field) from error


def _units_of(signal: Signal, conversations: QuerySet[Conversation]) -> Iterator[Unit]:
    for key, turns in conversations.order_by("id").values_list("id", "turn_count").iterator():
        if signal.unit == Signal.Unit.TURN:
            yield from ((key, turn) for turn in range(turns))
        else:
            yield key, WHOLE


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a run does not go on now, and the state that it is left in."""

    state: ScoringRun.State
    why: str = ""


def work(
    *,
    run: ScoringRun,
    evaluator: Evaluator | None = None,
    again: bool = False,
    seconds: float | None = None,
    on_progress: Callable[[ScoringRun], None] | None = None,
) -> ScoringRun:
    """Score what is not scored yet, batch by batch, each batch in one short transaction.

    Does nothing when the run is done; raises Conflict while another worker holds it. With `again`, units whose earlier
    attempt failed are tried once more. An evaluator that cannot be asked leaves the run FAILED, a spent budget STOPPED,
    each with its reason and with every answer so far stored; after `seconds` it is PENDING: work it again later.
    """
    if run.state == ScoringRun.State.DONE and not again:
        return run
    _take(run)
    until = None if seconds is None else clock.monotonic() + seconds
    halt = Halt(ScoringRun.State.DONE)
    try:
        evaluator = evaluator or evaluators.make(run.version)
        for batch in bulk.parts(_open_units(run, again=again), BATCH):
            rows, found = _ask(run, batch, evaluator, until)
            _store(run, rows)
            if on_progress:
                on_progress(run)
            if found is not None:
                halt = found
                break
    except Refused as refused:  # the version cannot be run any more as it is pinned
        halt = Halt(ScoringRun.State.FAILED, refused.message)
    return _finish(run, halt)


def resume(*, run: ScoringRun, budget: float | None = None) -> ScoringRun:
    """Let a run that failed or stopped go on, with a higher budget if it has one; a task takes it up."""
    if run.state not in (ScoringRun.State.FAILED, ScoringRun.State.STOPPED):
        raise Conflict("run_goes_on", f"the run is {run.state}: only one that failed or stopped can be resumed")
    if budget is not None:
        _check_budget(run.version, budget)
        run.budget = budget
    if run.budget is not None and run.cost >= run.budget:
        raise Refused(
            "budget_spent", f"{run.cost:.2f} of {run.budget:.2f} is spent: give a higher budget", field="budget"
        )
    ScoringRun.objects.filter(id=run.id).update(state=ScoringRun.State.PENDING, budget=run.budget, error="")
    run.refresh_from_db()
    return run


def retest(*, run: ScoringRun) -> Estimate | None:
    """Test-retest kappa of a judge that was asked several times: its first answer to a unit against its second.

    None where it was asked once.
    """
    return retest_of(run.version)


def retest_of(version: ClassifierVersion) -> Estimate | None:
    """Test-retest kappa over all answers of a judge that is asked several times; None where it is asked once."""
    if int(version.parameters.get("samples", 1)) < 2:
        return None
    said = Prediction.objects.filter(version=version, metadata__has_key="samples").values_list("metadata", flat=True)
    pairs = [found["samples"][:2] for found in said.iterator()]
    both = [(first, second) for first, second in pairs if first is not None and second is not None]
    categories = sorted({value for pair in both for value in pair})
    codes = [[categories.index(value) for value in column] for column in zip(*both, strict=True)] or [[], []]
    return human.retest(codes[0], codes[1], categories)


def work_waiting(*, seconds: float = SLICE) -> int | None:
    """Work for a while on the run that waits longest, or whose worker died; its id, None where nothing waits."""
    now = timezone.now()
    waiting = Q(state=ScoringRun.State.PENDING) | Q(state=ScoringRun.State.RUNNING, held_until__lt=now)
    free = ScoringRun.objects.filter(waiting).filter(Q(held_until__isnull=True) | Q(held_until__lt=now))
    run = free.select_related("version__classifier__signal").order_by("worked_at", "id").first()
    if run is None:
        return None
    try:
        work(run=run, seconds=seconds)
    except Conflict:  # another worker was faster
        return None
    return run.id


def _take(run: ScoringRun) -> None:
    now = timezone.now()
    free = ScoringRun.objects.filter(Q(held_until__isnull=True) | Q(held_until__lt=now), id=run.id)
    if not free.update(state=ScoringRun.State.RUNNING, held_until=now + HOLD, error="", worked_at=now):
        raise Conflict("run_held", f"another worker holds scoring run {run.id}")
    run.refresh_from_db()


def _open_units(run: ScoringRun, *, again: bool) -> list[Unit]:
    answered = Prediction.objects.filter(version=run.version).values_list("conversation_id", "turn", "status")
    known = {(conversation, turn): status for conversation, turn, status in answered.iterator()}
    wanted = list(units(version=run.version, frame=run.frame))
    failed = [unit for unit in wanted if known.get(unit, Prediction.Status.OK) != Prediction.Status.OK]
    left = [unit for unit in wanted if unit not in known] + (failed if again else [])
    run.total, run.done, run.failed = len(wanted), len(wanted) - len(left), 0 if again else len(failed)
    return left


def _ask(
    run: ScoringRun, batch: Sequence[Unit], evaluator: Evaluator, until: float | None
) -> tuple[list[Prediction], Halt | None]:
    """Answers to the units of a batch, in order, and what halted it; what was answered before that is kept."""
    conversations = Conversation.objects.only("turns", "channel", "summary", "asr").in_bulk([unit[0] for unit in batch])
    scale = Scale.of(run.version.classifier.signal)
    rows: list[Prediction] = []
    spent, renewed = run.cost, timezone.now()
    for unit in batch:
        if run.budget is not None and spent >= run.budget:
            return rows, Halt(ScoringRun.State.STOPPED, f"the budget of {run.budget:g} is spent")
        if until is not None and clock.monotonic() >= until:
            return rows, Halt(ScoringRun.State.PENDING)
        if timezone.now() - renewed > RENEWED:
            renewed = timezone.now()
            ScoringRun.objects.filter(id=run.id).update(held_until=renewed + HOLD)
        of = conversations[unit[0]]
        text = Text(turns=of.turns, turn=unit[1], channel=of.channel, summary=of.summary, asr=of.asr or {})
        try:
            answer = evaluator.score(text)
        except EvaluatorUnavailable as error:
            return rows, Halt(ScoringRun.State.FAILED, str(error))
        spent += answer.cost or 0
        rows.append(_prediction(run.version, unit, answer, scale))
    return rows, None


def _store(run: ScoringRun, rows: Sequence[Prediction]) -> None:
    """Store answers with their counts; what an earlier attempt left is replaced."""
    fields = ["value", "number", "status", "score", "probabilities", "rationale", "seconds", "cost", "metadata"]
    with transaction.atomic():
        changes = _counted(run, rows)
        Prediction.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["version", "conversation", "turn"], update_fields=fields
        )
        changes.write()
        run.done += len(rows)
        run.failed += sum(row.status != Prediction.Status.OK for row in rows)
        run.cost += sum(row.cost or 0 for row in rows)
        run.held_until = timezone.now() + HOLD
        run.save(update_fields=["total", "done", "failed", "cost", "held_until"])


def _counted(run: ScoringRun, rows: Sequence[Prediction]) -> Changes:
    """What the answers add to the counts, and what those that they replace take out."""
    spoken = Conversation.objects.filter(id__in={row.conversation_id for row in rows})
    places = {key: place for key, *place in held(spoken, "id", "started_at", "channel", "cohort")}
    before = {
        (row.conversation_id, row.turn): row
        for row in Prediction.objects.filter(version=run.version, conversation__in=places)
    }
    changes = Changes()
    for row in rows:
        started_at, channel, cohort = places[row.conversation_id]
        replaced = before.get((row.conversation_id, row.turn))
        for one, sign in ((replaced, -1), (row, 1)):
            if one is not None:
                changes.add(one, started_at=started_at, channel=channel, cohort=cohort, sign=sign)
    return changes


def _prediction(version: ClassifierVersion, unit: Unit, answer: evaluators.Answer, scale: Scale) -> Prediction:
    given: dict[str, Any] = {"value": None, "number": None}
    if answer.status == Prediction.Status.OK:
        given["value"], given["number"] = scale.encode(answer.value)
    return Prediction(
        version=version,
        conversation_id=unit[0],
        turn=unit[1],
        status=answer.status,
        score=answer.score,
        probabilities=answer.probabilities,
        rationale=answer.rationale,
        seconds=answer.seconds,
        cost=answer.cost,
        metadata=answer.metadata,
        **given,
    )


def _finish(run: ScoringRun, halt: Halt) -> ScoringRun:
    run.state, run.error, run.held_until = halt.state, halt.why[:2000], None
    run.finished_at = None if halt.state == ScoringRun.State.PENDING else timezone.now()
    run.save(update_fields=["state", "error", "held_until", "finished_at", "total", "done", "failed"])
    return run
