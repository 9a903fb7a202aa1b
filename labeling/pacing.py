"""How fast a queue is labelled, from its own answers, and when it will be done if that goes on; and a person's own pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from labeling.models import Queue, Submission, User
from labeling.queues import Progress

WINDOW = timedelta(days=7)
HOURS = 24
BREAK_SECONDS = 600.0
"""An item that took as long was a break, not work."""
OWN_SAMPLE = 200
FEWEST = 5
"""Fewer answers than these say nothing about a pace."""
MOST = 20_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Answers of the last 24 hours by hour (oldest first), the median active seconds of one, and what is left by both.

    `work_left` is active time of people, `done_at` the day and hour on which the last label comes at the rate of the last
    seven days; both are None while there are too few answers to tell, and when nothing is left.
    """

    hours: tuple[int, ...]
    seconds: float | None
    work_left: timedelta | None
    a_day: float | None
    done_at: datetime | None

    @property
    def today(self) -> int:
        return sum(self.hours)

    @property
    def busiest(self) -> int:
        return max(self.hours, default=0)


def read(queue: Queue, *, progress: Progress, now: datetime) -> Pace:
    """One query over the queue's answers of the last seven days; checks are time spent too, but not labels that come in."""
    acts = Submission.objects.filter(
        slot__queue=queue, kind=Submission.Kind.ANSWER, undone_at__isnull=True, created_at__gt=now - WINDOW
    ).order_by("-created_at")
    rows = list(acts.values_list("created_at", "seconds", "item_id")[:MOST])
    given = [at for at, _, item in rows if item is not None]
    timed = [seconds for _, seconds, _ in rows if seconds and seconds < BREAK_SECONDS]
    left = progress.wanted - progress.done
    seconds = median(timed) if len(timed) >= FEWEST else None
    a_day = _a_day(given, now)
    return Pace(
        hours=_by_hour([at for at, _, _ in rows], now),
        seconds=seconds,
        work_left=None if seconds is None or not left else timedelta(seconds=seconds * left),
        a_day=a_day,
        done_at=None if a_day is None or not left else now + timedelta(days=left / a_day),
    )


@dataclass(frozen=True, slots=True)
class OwnPace:
    """The median active seconds of a person's last answers, by queue and in all of them; never beside anybody else's."""

    by_queue: dict[int, float]
    usual: float | None

    def seconds_in(self, queue: Queue) -> float | None:
        """As in this queue; in one that they have not been in lately, as anywhere; None before the first answer."""
        return self.by_queue.get(queue.id, self.usual)


def own(annotator: User) -> OwnPace:
    """One query over the person's last answers, in whatever queues, breaks left out."""
    timed = Submission.objects.filter(
        annotator=annotator,
        kind=Submission.Kind.ANSWER,
        seconds__gt=0,
        seconds__lt=BREAK_SECONDS,
        undone_at__isnull=True,
    ).order_by("-created_at")
    given: dict[int, list[float]] = {}
    for queue, seconds in timed.values_list("slot__queue_id", "seconds")[:OWN_SAMPLE]:
        given.setdefault(queue, []).append(seconds or 0.0)
    everywhere = [seconds for here in given.values() for seconds in here]
    return OwnPace(
        by_queue={queue: median(here) for queue, here in given.items()},
        usual=median(everywhere) if everywhere else None,
    )


def _a_day(given: Sequence[datetime], now: datetime) -> float | None:
    """Labels a day since the first one of the window, nights included; at least an hour is looked at."""
    if len(given) < FEWEST:
        return None
    return len(given) / (max(now - given[-1], timedelta(hours=1)) / timedelta(days=1))


def _by_hour(at: Sequence[datetime], now: datetime) -> tuple[int, ...]:
    counts = [0] * HOURS
    for moment in at:
        ago = int((now - moment) / timedelta(hours=1))
        if 0 <= ago < HOURS:
            counts[HOURS - 1 - ago] += 1
    return tuple(counts)
