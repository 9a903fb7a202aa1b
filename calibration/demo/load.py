"""The demo workspace, step by step through the verbs: conversations, queues, labels, rulings, gold, versions, outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from calibration import classifiers, ingest, scoring
from calibration.demo import labelled, world
from calibration.demo.world import SimulatedVersion, Touchpoint
from calibration.models import ClassifierVersion
from labeling import gold, signals
from labeling import queues as verbs
from labeling.formats.jsonl import Record
from labeling.frames import Frame
from labeling.ingest import conversations
from labeling.models import DatasetVersion, Queue, Signal, User
from labeling.sampling import draw_queue, plan_for

PASSWORD = "demo-cxlab"
PEOPLE = {
    "ada": User.Role.ADMIN,
    "eve": User.Role.ENGINEER,
    "rita": User.Role.REVIEWER,
    "ann": User.Role.ANNOTATOR,
    "ben": User.Role.ANNOTATOR,
    "cleo": User.Role.ANNOTATOR,
    "dev": User.Role.ANNOTATOR,
}
CUSTOMERS = 3200

CLASSIFIERS: list[dict[str, Any]] = [
    {"slug": "vader", "title": "VADER", "signal": "sentiment", "versions": [{"version": "3.3.2", "kind": "vader"}]},
    {"slug": "afinn", "title": "AFINN", "signal": "sentiment", "versions": [{"version": "0.1", "kind": "afinn"}]},
    {
        "slug": "sentiment-judge",
        "title": "Sentiment judge",
        "signal": "sentiment",
        "versions": [
            {"version": "v1", "kind": "simulated", "model": "demo", "note": "In service for the first nine weeks."},
            {
                "version": "v2",
                "kind": "simulated",
                "model": "demo",
                "prompt": "Shorter rubric.",
                "note": "In service since; its endpoint was changed silently for voice calls of trial customers.",
            },
        ],
    },
    {
        "slug": "resolution-judge",
        "title": "Resolution judge",
        "signal": "resolution",
        "versions": [{"version": "v1", "kind": "simulated", "model": "demo"}],
    },
    {
        "slug": "intent-router",
        "title": "Intent router",
        "signal": "intent",
        "versions": [{"version": "12", "kind": "simulated", "model": "demo"}],
    },
    {
        "slug": "csat-proxy",
        "title": "CSAT proxy",
        "signal": "satisfaction",
        "versions": [{"version": "3", "kind": "simulated", "model": "demo"}],
    },
    {
        "slug": "effort-judge",
        "title": "Effort judge",
        "signal": "effort",
        "versions": [{"version": "v1", "kind": "simulated", "model": "demo"}],
    },
]

SIMULATED = {
    ("sentiment-judge", "v1"): SimulatedVersion(0.88, 0.80),
    ("sentiment-judge", "v2"): SimulatedVersion(0.92, 0.90, drifted=0.05),
    ("resolution-judge", "v1"): SimulatedVersion(0.83, 0.70),
    ("intent-router", "12"): SimulatedVersion(0.93, 0.90),
    ("csat-proxy", "3"): SimulatedVersion(0.62, 0.56),
    ("effort-judge", "v1"): SimulatedVersion(0.72, 0.66),
}


@dataclass(slots=True)
class Demo:
    """The world and what its loading has made so far. `say` is told each step."""

    end: datetime
    seed: int
    say: Callable[[str], object]
    points: dict[str, Touchpoint]
    people: dict[str, User]
    rng: np.random.Generator

    @classmethod
    def of(cls, *, end: datetime, seed: int, say: Callable[[str], object], customers: int = CUSTOMERS) -> Demo:
        rows = world.journeys(customers=customers, end=end, seed=seed)
        points = {point.row["id"]: point for point in rows}
        return cls(end, seed, say, points, {}, np.random.default_rng(seed + 1))

    def day(self, week: int) -> date:
        """The Monday on which a week of the world begins."""
        return (self.end - timedelta(weeks=world.WEEKS - week)).date()

    def annotators(self) -> list[User]:
        return [self.people[name] for name in world.ANNOTATORS]


def load(demo: Demo) -> None:
    """Everything, in the order in which it would have happened."""
    demo.people |= people()
    signals.apply(document=signals.read(signals.READY_MADE.read_text(encoding="utf-8")))
    classifiers.apply(document=CLASSIFIERS)
    loaded = conversations(records=records(point.row for point in demo.points.values()))
    demo.say(f"{loaded.created} conversations of {CUSTOMERS} customers over {world.WEEKS} weeks")
    loaded = ingest.outcomes(records=records(_outcomes(demo)))
    demo.say(f"{loaded.created} survey answers, escalations and reopened tickets")
    loaded = ingest.predictions(records=records(_predictions(demo)))
    demo.say(f"{loaded.created} predictions of simulated judges")
    _run_lexicons(demo)
    _calibrations(demo)
    _checks(demo)
    _weekly_labels(demo)
    _open_queues(demo)


def records(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """Rows as a loader reads them from a file."""
    for number, row in enumerate(rows, 1):
        yield Record(number, dict(row))


def people() -> dict[str, User]:
    """Everybody who signs in, by name."""
    return {
        name: User.objects.create_user(username=name, password=PASSWORD, role=role) for name, role in PEOPLE.items()
    }


def _outcomes(demo: Demo) -> Iterator[dict[str, Any]]:
    for point in demo.points.values():
        yield from world.outcomes(point, demo.rng)


def _predictions(demo: Demo) -> Iterator[dict[str, Any]]:
    """Each judge on the conversations of its time; around the upgrade both sentiment judges, as a bridge."""
    values = {
        signal.slug: [category.value for category in signal.categories.all()]
        for signal in Signal.objects.prefetch_related("categories")
    }
    signal_of = {entry["slug"]: entry["signal"] for entry in CLASSIFIERS}
    for (slug, version), simulated in SIMULATED.items():
        signal = signal_of[slug]
        # A stream of its own, so that what is drawn for labels and for the other judges does not depend on it.
        rng = np.random.default_rng(demo.seed + 2) if signal == "effort" else demo.rng
        for point in demo.points.values():
            if slug == "sentiment-judge" and not _in_service(version, point.week):
                continue
            answer = simulated.answer(point, point.truth(signal), values[signal], rng)
            yield {
                "conversation": point.row["id"],
                "turn": None,
                "classifier": slug,
                "version": version,
                "at": point.row["started_at"],
                **answer,
            }


def _in_service(version: str, week: int) -> bool:
    upgrade = world.UPGRADE_WEEK
    return week < upgrade + 2 if version == "v1" else week >= upgrade


def _run_lexicons(demo: Demo) -> None:
    for slug in ("vader", "afinn"):
        version = ClassifierVersion.objects.select_related("classifier__signal").get(classifier__slug=slug)
        run = scoring.work(run=scoring.start(version=version, frame={}))
        demo.say(f"{version} ran on {run.done} conversations")


def _calibrations(demo: Demo) -> None:
    """The gold sets: sentiment before and after the upgrade, resolution, intent and CSAT proxy once."""
    upgrade, drift = world.UPGRADE_WEEK, world.DRIFT_WEEK
    plans: list[tuple[str, str, str, int, int, int, float]] = [
        ("gold-sentiment", "sentiment", "sentiment-before", 0, upgrade, 700, 0.9),
        ("gold-sentiment", "sentiment", "sentiment-after", upgrade, drift, 900, 0.9),
        ("gold-resolution", "resolution", "resolution-all", 0, drift, 500, 0.8),
        ("gold-intent", "intent", "intent-all", 0, drift, 400, 1.0),
        ("gold-satisfaction", "satisfaction", "satisfaction-all", 0, drift, 400, 0.8),
    ]
    for dataset, signal, queue, first, last, size, ruled in plans:
        version = _calibrate(demo, dataset, signal, queue, weeks=(first, last), size=size, ruled=ruled)
        demo.say(
            f"{version} frozen from {version.label_count} labels: {version.item_count} items, sha256 {version.sha256[:12]}"
        )


def _calibrate(
    demo: Demo, dataset: str, slug: str, queue_slug: str, *, weeks: tuple[int, int], size: int, ruled: float
) -> DatasetVersion:
    signal = Signal.objects.get(slug=slug)
    queue = _draw(demo, queue_slug, [signal], weeks=weeks, size=size, overlap=2)
    labelled.label(queue=queue, points=demo.points, people=demo.annotators(), rng=demo.rng, until=demo.end)
    labelled.rule(queue=queue, points=demo.points, reviewer=demo.people["rita"], rng=demo.rng, share=ruled)
    Queue.objects.filter(id=queue.id).update(state=Queue.State.CLOSED)
    return gold.freeze(
        dataset=dataset,
        title=signal.title,
        signal=signal,
        queues=[queue],
        aggregation="adjudicated",
        min_labels=2,
        created_by=demo.people["eve"],
        now=demo.end - timedelta(weeks=world.WEEKS - weeks[1]),
    )


def _draw(
    demo: Demo, slug: str, asked: Sequence[Signal], *, weeks: tuple[int, int], size: int, overlap: int, **filters: Any
) -> Queue:
    frame = Frame(since=demo.day(weeks[0]), until=demo.day(weeks[1]) - timedelta(days=1), **filters)
    return draw_evenly(
        slug=slug, signals=asked, frame=frame, size=size, overlap=overlap, seed=demo.seed, people=demo.people
    )


def draw_evenly(
    *,
    slug: str,
    signals: Sequence[Signal],
    frame: Frame,
    size: int,
    overlap: int,
    seed: int,
    people: Mapping[str, User],
) -> Queue:
    """A queue stratified by channel and cohort, the same number from each, so that every slice gets its verdict."""
    by = ("channel", "cohort")
    return draw_queue(
        slug=slug,
        title=slug.replace("-", " ").capitalize(),
        signals=signals,
        size=size,
        strategy="stratified",
        planner=plan_for("stratified", allocation="equal", by=by),
        by=by,
        seed=seed,
        overlap=overlap,
        members=[people[name] for name in world.ANNOTATORS],
        frame=frame,
        created_by=people["eve"],
    )


def _checks(demo: Demo) -> None:
    """What was asked again and checked while the second gold of sentiment was labelled: what the people's pages rest on."""
    queue = Queue.objects.get(slug="sentiment-after")
    first = DatasetVersion.objects.get(dataset__slug="gold-sentiment", number=1)
    shares = {"repeat_share": 0.12, "gold_share": 0.1}
    verbs.change(queue=queue, gold=[first], settings=shares)
    rng = np.random.default_rng(demo.seed + 2)
    given = labelled.check(queue=queue, points=demo.points, people=demo.annotators(), rng=rng, until=demo.end)
    demo.say(f"{given} hidden repeats and gold checks, by which people's pages tell how steady they are")


def _weekly_labels(demo: Demo) -> None:
    """A few labels of every week since, as a team in operation gives them: what the drift monitors watch."""
    signal = Signal.objects.get(slug="sentiment")
    labels = 0
    for week in range(world.DRIFT_WEEK, world.WEEKS):
        queue = _draw(demo, f"sentiment-week-{week + 1}", [signal], weeks=(week, week + 1), size=75, overlap=1)
        labels += labelled.label(
            queue=queue, points=demo.points, people=demo.annotators(), rng=demo.rng, until=demo.end
        )
        Queue.objects.filter(id=queue.id).update(state=Queue.State.CLOSED)
    demo.say(f"{labels} labels of the weeks since, on which the monitors look")


def _open_queues(demo: Demo) -> None:
    """What waits for the annotators: a queue with one question, and one with two."""
    sentiment = Signal.objects.get(slug="sentiment")
    resolution = Signal.objects.get(slug="resolution")
    last = (world.WEEKS - 4, world.WEEKS)
    calls = _draw(demo, "voice-calls", [sentiment, resolution], weeks=last, size=60, overlap=2, channels=("voice",))
    chats = _draw(demo, "chat-sentiment", [sentiment], weeks=last, size=80, overlap=1, channels=("chat",))
    labelled.label(
        queue=calls, points=demo.points, people=demo.annotators()[2:], rng=demo.rng, until=demo.end, share=0.3
    )
    Queue.objects.filter(id=calls.id).update(priority=1)
    verbs.change(queue=calls, settings={"overlap_most": 3, "repeat_share": 0.08})
    newest = DatasetVersion.objects.filter(dataset__slug="gold-sentiment").order_by("-number")[0]
    mixed = {"repeat_share": 0.08, "gold_share": 0.08}
    verbs.change(queue=chats, gold=[newest], settings=mixed)
    demo.say(f"{calls.items.count() + chats.items.count()} items wait in two open queues")
