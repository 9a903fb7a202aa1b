"""Running a version over conversations: a row first, then work in batches that can be killed anywhere and resumed.

What is scored here has no `predicted_at`: a backlog scored today counts in the trends on the days of its conversations.
`stored_at` says when it was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from calibration import evaluators
from calibration.errors import NotComparable
from calibration.evaluators import Evaluator, Text
from calibration.evaluators.judge import JudgeUnavailable
from calibration.models import ClassifierVersion, Prediction, ScoringRun
from calibration.rollups import Changes
from labeling import bulk, references
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import WHOLE, Conversation, GoldRow, Item, Queue, Signal
from labeling.values import Scale

BATCH = 50
HOLD = timedelta(minutes=10)

Unit = tuple[int, int]
"""Conversation id and turn."""


def start(*, version: ClassifierVersion, frame: dict[str, str]) -> ScoringRun:
    """A run, not begun yet, of `version` over a dataset version, a queue or a period of conversations.

    Refused before anything is queued when the version cannot be run or the frame names nothing.
    """
    evaluators.make(version)
    total = sum(1 for _ in units(version=version, frame=frame))
    return ScoringRun.objects.create(version=version, frame=frame, total=total)


def units(*, version: ClassifierVersion, frame: dict[str, str]) -> Iterator[Unit]:
    """The units of the frame in a fixed order, as (conversation id, turn)."""
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
        found = found.filter(started_at__gte=_midnight(since, "from"))
    if until:
        found = found.filter(started_at__lt=_midnight(until, "to") + timedelta(days=1))
    return found


def _some(conversations: QuerySet[Conversation], each: int) -> QuerySet[Conversation]:
    """At most `each` conversations of every channel and cohort, the same ones however often one asks."""
    place = Window(
        RowNumber(), partition_by=[F("channel"), F("cohort")], order_by=[F("content_sha256"), F("external_id")]
    )
    return conversations.annotate(place=place).filter(place__lte=each)


def _midnight(day: str, field: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(day), time(), tzinfo=UTC)
    except ValueError as error:
        raise Refused("bad_day", f"{day!r} is not a day like 2026-03-31", field=field) from error


def _units_of(signal: Signal, conversations: QuerySet[Conversation]) -> Iterator[Unit]:
    for key, turns in conversations.order_by("id").values_list("id", "turn_count").iterator():
        if signal.unit == Signal.Unit.TURN:
            yield from ((key, turn) for turn in range(turns))
        else:
            yield key, WHOLE


def work(
    *,
    run: ScoringRun,
    evaluator: Evaluator | None = None,
    again: bool = False,
    on_progress: Callable[[ScoringRun], None] | None = None,
) -> ScoringRun:
    """Score what is not scored yet, batch by batch, each batch in one short transaction.

    Does nothing when the run is done; raises Conflict while another worker holds it. With `again`, units whose earlier
    attempt failed are tried once more. A judge that is down leaves the run FAILED with its reason: work it again later.
    """
    if run.state == ScoringRun.State.DONE and not again:
        return run
    _take(run)
    evaluator = evaluator or evaluators.make(run.version)
    try:
        for batch in bulk.parts(_open_units(run, again=again), BATCH):
            _store(run, batch, evaluator)
            if on_progress:
                on_progress(run)
    except JudgeUnavailable as error:
        return _finish(run, state=ScoringRun.State.FAILED, error=str(error))
    return _finish(run, state=ScoringRun.State.DONE)


def _take(run: ScoringRun) -> None:
    now = timezone.now()
    free = ScoringRun.objects.filter(Q(held_until__isnull=True) | Q(held_until__lt=now), id=run.id)
    if not free.update(state=ScoringRun.State.RUNNING, held_until=now + HOLD, error=""):
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


def _store(run: ScoringRun, batch: Sequence[Unit], evaluator: Evaluator) -> None:
    """Score a batch and store it with its counts; what an earlier attempt left is replaced."""
    conversations = Conversation.objects.only("turns", "channel", "cohort", "started_at").in_bulk(
        [conversation for conversation, _ in batch]
    )
    scale = Scale.of(run.version.classifier.signal)
    rows = []
    for unit in batch:
        of = conversations[unit[0]]
        answer = evaluator.score(Text(turns=of.turns, turn=unit[1], channel=of.channel))
        rows.append(_prediction(run.version, unit, answer, scale))
    before = {
        (row.conversation_id, row.turn): row
        for row in Prediction.objects.filter(version=run.version, conversation__in=conversations)
    }
    changes = Changes()
    for row in rows:
        of = conversations[row.conversation_id]
        place: dict[str, Any] = {"started_at": of.started_at, "channel": of.channel, "cohort": of.cohort}
        if (row.conversation_id, row.turn) in before:
            changes.add(before[row.conversation_id, row.turn], **place, sign=-1)
        changes.add(row, **place)
    fields = ["value", "number", "status", "score", "probabilities", "rationale", "seconds", "cost"]
    with transaction.atomic():
        Prediction.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["version", "conversation", "turn"], update_fields=fields
        )
        changes.write()
        run.done += len(rows)
        run.failed += sum(row.status != Prediction.Status.OK for row in rows)
        run.cost += sum(row.cost or 0 for row in rows)
        run.held_until = timezone.now() + HOLD
        run.save(update_fields=["total", "done", "failed", "cost", "held_until"])


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


def _finish(run: ScoringRun, *, state: str, error: str = "") -> ScoringRun:
    run.state, run.error, run.held_until, run.finished_at = state, error, None, timezone.now()
    run.save(update_fields=["state", "error", "held_until", "finished_at", "total", "done", "failed"])
    return run
