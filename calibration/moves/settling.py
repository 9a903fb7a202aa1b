"""What would settle a question about a movement: labels in a period, or the bridge scored by the old version.

Each is one button: a queue drawn from what nobody has labelled, or a scoring run of the old version over a part of the
later period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calibration import classifiers, evaluators, sampling, scoring
from calibration.errors import NotComparable
from calibration.models import ClassifierVersion, Prediction, ScoringRun
from calibration.moves.periods import Days
from calibration.stats.attribution import LEAST_BRIDGE
from labeling import sampling as drawing
from labeling.errors import Refused
from labeling.frames import Frame
from labeling.models import Queue, Signal, User

A_SLICE = 300
"""Conversations scored by both versions, in each slice: what the bridge of a movement wants."""
MOST_DRAWN = 500
"""A queue that is offered at once; what is still needed after it is told by the labels then."""
BY = ("channel", "cohort")
LABEL, SCORE = "label", "score"


def steps(found: Mapping[str, Any], *, before: Days, after: Days) -> list[dict[str, Any]]:
    """What would settle an attribution, the bridge first; nothing where it is settled and bridged."""
    steps = []
    old, new = (found[end]["versions"][0] for end in ("from", "to"))
    if old != new:
        step = _bridge(classifiers.version_named(f"{found['classifier']}@{old}"), after)
        if step["conversations"] and found["bridge"] < LEAST_BRIDGE:
            steps.append(step)
    for name, days, more in _labels(found, before, after):
        step = {"action": LABEL, "period": name, "since": days.first.isoformat(), "until": days.last.isoformat()}
        steps.append(step | {"labels": min(more, MOST_DRAWN), "words": days.words})
    return steps


def _labels(found: Mapping[str, Any], before: Days, after: Days) -> list[tuple[str, Days, int]]:
    """How many labels each period wants, so that both have the same number of them in the end."""
    needed = found["labels_needed"] or 0
    have = found["from"]["labels"], found["to"]["labels"]
    if not needed:
        return []
    level = (sum(have) + needed) / 2
    first = min(max(round(level - have[0]), 0), needed)
    wanted = (("from", before, first), ("to", after, needed - first))
    return [(name, days, more) for name, days, more in wanted if more]


def _bridge(version: ClassifierVersion, days: Days) -> dict[str, Any]:
    """The old version on a part of the later period: how much there is to score, and whether cxlab can do it itself."""
    frame = bridge_frame(days)
    units = list(scoring.units(version=version, frame=frame))
    answered = Prediction.objects.filter(version=version, conversation__in={unit[0] for unit in units})
    known = set(answered.values_list("conversation_id", "turn"))
    left = sum(unit not in known for unit in units)
    try:
        evaluators.make(version)
        refused = ""
    except (NotComparable, Refused) as problem:
        refused = problem.message
    return {
        "action": SCORE,
        "version": str(version),
        "conversations": left,
        "runnable": not refused,
        "why": refused,
    } | {
        "since": days.first.isoformat(),
        "until": days.last.isoformat(),
    }


def bridge_frame(days: Days) -> dict[str, str]:
    """What a scoring run of the bridge covers."""
    return {"from": days.first.isoformat(), "to": days.last.isoformat(), "a_slice": str(A_SLICE)}


def start_bridge(*, signal: Signal, version: ClassifierVersion, days: Days) -> ScoringRun:
    """The scoring run of the bridge, or the one that is there already; a task works it."""
    if version.classifier.signal_id != signal.id:
        raise Refused("other_signal", f"{version} does not score {signal.slug}", field="version")
    frame = bridge_frame(days)
    same = ScoringRun.objects.filter(version=version, frame=frame).exclude(state=ScoringRun.State.DONE).first()
    return same or scoring.start(version=version, frame=frame)


def bridges(versions: Sequence[str], classifier: str, days: Days) -> list[ScoringRun]:
    """Scoring runs of the bridge over a period, the newest first."""
    rows = ScoringRun.objects.filter(version__classifier__slug=classifier, version__version__in=list(versions))
    return list(rows.filter(frame=bridge_frame(days)).select_related("version__classifier").order_by("-id")[:5])


def draw(*, signal: Signal, days: Days, size: int, by: User) -> Queue:
    """A queue of the period's conversations that nobody has labelled, in proportion to the slices."""
    if not 1 <= size <= MOST_DRAWN:
        raise Refused("bad_size", f"a queue is drawn of 1 to {MOST_DRAWN} items at once, not of {size}", field="labels")
    frame = Frame(since=days.first, until=days.last)
    frame, planner = sampling.prepare(signals=[signal], aim=sampling.Aim(strategy="stratified", by=BY), frame=frame)
    return drawing.draw_queue(
        slug=_free_slug(f"settle-{signal.slug}-{days.first:%Y%m%d}-{days.last:%Y%m%d}"),
        title=f"{signal.title}: what moved, {days.words}"[:200],
        description="Drawn to tell customers and classifier apart.",
        signals=[signal],
        size=size,
        strategy="stratified",
        planner=sampling.unlabelled(signal, planner, "every conversation of the period is labelled already"),
        by=BY,
        members=sampling.labellers(signal, by),
        frame=frame,
        created_by=by,
        priority=5,
    )


def act(*, signal: Signal, action: str, days: Days, labels: int, version: str, by: User) -> Queue | ScoringRun:
    """Take one step: draw its queue, or start its scoring run, for a task to work off."""
    if action == LABEL:
        return draw(signal=signal, days=days, size=labels, by=by)
    if action == SCORE:
        return start_bridge(signal=signal, version=classifiers.version_named(version), days=days)
    raise Refused("unknown_action", f"{action!r} is neither {LABEL} nor {SCORE}", field="action")


def _free_slug(base: str) -> str:
    """A slug that no queue has yet."""
    taken = set(Queue.objects.filter(slug__startswith=base[:70]).values_list("slug", flat=True))
    names = (base[:70] if number == 1 else f"{base[:70]}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)
