"""The story: half a year whose four troubles are planted, one a month, each found, explained and worked off by the verbs.

March: an upgrade of the judge is tougher on voice. April: trial customers are truly less happy. May: the recogniser's
new version mishears calls. June: the judge's vendor changes the model without a word. What was planted stands in `scenes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zlib import crc32

import numpy as np
from django.db.models import Max

from calibration import classifiers, ingest, voice
from calibration.demo import labelled, scenes, world
from calibration.demo.load import draw_evenly, people, records
from calibration.demo.scenes import CHANNELS, COHORTS, VALUES, Floats, Scene
from calibration.demo.world import Touchpoint
from calibration.drift import canaries, canary_rows, flags, monitoring, recalibration
from calibration.models import ClassifierVersion, DriftFlag, FlagEvent, Recalibration
from calibration.stats import maps
from labeling import gold, signals
from labeling.frames import Frame
from labeling.ingest import conversations
from labeling.models import DatasetVersion, Queue, Signal, User

CLASSIFIER = "sentiment-judge"
ITEMS_A_WEEK = 160
CANARIES = 80
MONTHS = ("January", "February", "March", "April", "May", "June")
EXPLAINED = "Trial customers are truly less happy since April."


@dataclass(slots=True)
class Story:
    """The half year of `year`, and what its telling has made so far. `say` is told each step."""

    year: int
    seed: int
    say: Callable[[str], object]
    scenes: dict[str, Scene] = field(default_factory=dict)
    people: dict[str, User] = field(default_factory=dict)
    dated: int = 0
    """The newest event in the history of flags that has its day in the story."""

    def month(self, name: str) -> tuple[date, date]:
        """The first and the last day of a month."""
        number = MONTHS.index(name) + 1
        return date(self.year, number, 1), date(self.year, number + 1, 1) - timedelta(days=1)

    def of(self, name: str) -> list[Scene]:
        first, last = self.month(name)
        return [scene for scene in self.scenes.values() if first <= scene.day <= last]

    def rng(self, *what: object) -> np.random.Generator:
        """A stream of its own for each purpose, so that one month can be told anew without the others."""
        return np.random.default_rng([self.seed, *(crc32(str(one).encode()) for one in what)])


def tell(story: Story) -> None:
    """From January to June; the recalibration of March goes through its steps as a person would click them."""
    begin(story)
    march(story)
    recalibrate(story)
    april(story)
    for flag in DriftFlag.objects.filter(state=DriftFlag.State.OPEN):
        flags.dismiss(flag=flag, by=story.people["eve"], reason=EXPLAINED)
    _date(story, "April")
    may(story)
    mend(story)
    june(story)


def begin(story: Story) -> None:
    """January and February: a judge, its gold, and calm."""
    story.people |= people()
    signals.apply(document=signals.read(signals.READY_MADE.read_text(encoding="utf-8")))
    classifiers.apply(
        document=[
            {
                "slug": CLASSIFIER,
                "title": "Sentiment judge",
                "signal": "sentiment",
                "versions": [
                    {"version": "v1", "kind": "simulated", "model": "judge-2025"},
                    {
                        "version": "v2",
                        "kind": "simulated",
                        "model": "judge-2026",
                        "note": "The vendor's upgrade of 1 March.",
                    },
                ],
            }
        ]
    )
    _live(story, "January", recogniser="clearvoice@5")
    _live(story, "February", recogniser="clearvoice@5")
    for month in ("January", "February"):
        _score(story, month, "v1")
    _label(story, "gold-winter", "January", "February", size=800)
    frozen = gold.freeze(
        dataset="gold-sentiment", signal=_signal(), queues=[Queue.objects.get(slug="gold-winter")],
        aggregation="adjudicated", created_by=story.people["eve"], now=_morning_after(story, "February"),
    )  # fmt: skip
    story.say(f"January and February: {len(story.scenes)} conversations, {frozen} with {frozen.item_count} items")


def march(story: Story) -> None:
    """v2 takes over; for two weeks v1 scores the same conversations, which is the bridge between them."""
    _live(story, "March", recogniser="clearvoice@5")
    _score(story, "March", "v2")
    _score(story, "March", "v1", days=14)
    _week_by_week(story, "March")
    _evaluate(story, "March")


def recalibrate(story: Story, *, by: str = "eve") -> ClassifierVersion:
    """The flag of March through its steps: top-up queue, labels, fit, validation, promotion."""
    flag = DriftFlag.objects.get(kind=DriftFlag.Kind.VERSION, version__version="v2")
    who = story.people[by]
    opened = recalibration.open_for(flag=flag, by=who, members=annotators(story))
    answer(story, opened)
    now = _morning_after(story, "March")
    for step in ("fit", "validate", "promote"):
        opened = recalibration.step(flag=flag, recalibration=recalibration.of(flag), step=step, by=who, now=now)
    assert opened.promoted is not None
    Recalibration.objects.filter(id=opened.id).update(opened_at=now)
    _date(story, "March")
    story.say(f"March: flag {flag.id} is resolved, {opened.promoted} is promoted")
    return opened.promoted


def answer(story: Story, opened: Recalibration) -> None:
    """The annotators label a top-up queue."""
    assert opened.queue is not None
    labelled.label(
        queue=opened.queue, points=points(story), people=annotators(story), rng=story.rng("top-up"),
        until=_morning_after(story, "March"),
    )  # fmt: skip


def april(story: Story) -> None:
    """The recalibrated version serves; trial customers decline."""
    _measure_march(story)
    _live(story, "April", recogniser="clearvoice@5")
    _score_promoted(story, "April")
    _pin(story)
    _round(story, "April", changed=False)
    _week_by_week(story, "April")
    _evaluate(story, "April")


def may(story: Story) -> None:
    """The recogniser is upgraded and hears worse; what lies downstream of it suffers."""
    _live(story, "May", recogniser="clearvoice@6")
    _score_promoted(story, "May")
    _round(story, "May", changed=False)
    _week_by_week(story, "May")
    _evaluate(story, "May")


def mend(story: Story) -> None:
    """The recogniser goes back to its version before, which mends what lay downstream too."""
    for flag in DriftFlag.objects.filter(state__in=DriftFlag.ACTIVE).order_by("id"):
        flags.resolve(flag=flag, by=story.people["eve"], note="Back to clearvoice@5 from 1 June.")
    _date(story, "May")


def june(story: Story) -> None:
    """The recogniser hears as before; the judge's vendor changes the model silently."""
    _live(story, "June", recogniser="clearvoice@5")
    _score_promoted(story, "June", changed=True)
    _round(story, "June", changed=True)
    _week_by_week(story, "June")
    _evaluate(story, "June")


def planted(story: Story) -> dict[str, float]:
    """By how much each trouble moves the reported share of `negative` in its month: the truth that attribution is held
    against. Each is what the month would have been without it, conversation by conversation; the customers' part is
    their moods' change, as often as the judge tells each mood's customers for negative."""
    march_, april_, may_, june_ = (story.of(month) for month in MONTHS[2:])
    upgrade = _share(scenes.chances(march_, tougher=True)) - _share(scenes.chances(march_, tougher=False))
    both = [*march_, *april_]
    said, customers = _mapped(both, changed=False).argmax(axis=1) == 0, 0.0
    for channel in CHANNELS:
        for mood, before, after in zip(VALUES, scenes.MOODS["before"], scenes.MOODS["declined"], strict=True):
            mine = [s.point.row["channel"] == channel and s.point.sentiment == mood for s in both]
            customers += (after - before) * float(said[mine].mean()) / len(CHANNELS) / len(COHORTS)
    excess = 1 - scenes.BADLY_HEARD["clearvoice@5"] / scenes.BADLY_HEARD["clearvoice@6"]
    lost = _share(_mapped(may_, changed=False)) - _share(_mapped(may_, changed=False, heard=False))
    silent = _share(_mapped(june_, changed=True)) - _share(_mapped(june_, changed=False))
    return {"upgrade": upgrade, "customers": customers, "transcription": excess * lost, "silent_drift": silent}


def _share(chances: Floats) -> float:
    return float((chances.argmax(axis=1) == 0).mean())


def annotators(story: Story) -> list[User]:
    return [story.people[name] for name in world.ANNOTATORS]


def points(story: Story) -> Mapping[str, Touchpoint]:
    return {name: scene.point for name, scene in story.scenes.items()}


def promoted_version() -> ClassifierVersion:
    """The version that the recalibration of March made."""
    row = Recalibration.objects.select_related("promoted__classifier").get(promoted__isnull=False)
    assert row.promoted is not None
    return row.promoted


def _signal() -> Signal:
    return Signal.objects.get(slug="sentiment")


def _morning_after(story: Story, month: str) -> datetime:
    """Nine o'clock on the first of the next month."""
    return datetime.combine(story.month(month)[1] + timedelta(days=1), time(9), UTC)


def _date(story: Story, month: str) -> None:
    """What happened to flags since the last call happened on the morning after the month, not when the story is told.

    A cause explains nothing that began after it was mended: the day counts, not only its looks.
    """
    FlagEvent.objects.filter(id__gt=story.dated).update(at=_morning_after(story, month))
    story.dated = FlagEvent.objects.aggregate(newest=Max("id"))["newest"] or 0


def _live(story: Story, month: str, *, recogniser: str) -> None:
    """A month's conversations."""
    first, last = story.month(month)
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    declines, rng = first >= story.month("April")[0], story.rng("life", month)
    made = scenes.of_days(days, trial_declines=declines, recogniser=recogniser, rng=rng)
    story.scenes |= {scene.point.row["id"]: scene for scene in made}
    conversations(records=records(scene.point.row for scene in made))
    voice.measure()


def _score(story: Story, month: str, version: str, *, days: int = 31) -> None:
    """The predictions of v1 or v2, for the first `days` of a month."""
    first = story.month(month)[0]
    mine = [scene for scene in story.of(month) if scene.day < first + timedelta(days=days)]
    _store(version, mine, scenes.chances(mine, tougher=version == "v2"))


def _score_promoted(story: Story, month: str, *, changed: bool = False) -> None:
    """The promoted version: what the judge says, through the map that was fitted."""
    mine = story.of(month)
    _store(promoted_version().version, mine, _mapped(mine, changed=changed))


def _mapped(of: Sequence[Scene], *, changed: bool, heard: bool = True) -> Floats:
    calibration = maps.from_dict(promoted_version().parameters["calibration_map"])
    said = scenes.chances(of, tougher=True, heard=heard)
    told = calibration.apply(said, [scene.point.row["channel"] for scene in of])
    return scenes.milder(told, of) if changed else told


def _store(version: str, scored: Sequence[Scene], chances: Floats) -> None:
    rows = (
        {
            "conversation": scene.point.row["id"],
            "turn": None,
            "classifier": CLASSIFIER,
            "version": version,
            "at": scene.point.row["started_at"],
            "value": VALUES[int(row.argmax())],
            "probabilities": _rounded(row),
        }
        for scene, row in zip(scored, chances, strict=True)
    )
    loaded = ingest.predictions(records=records(rows))
    assert not loaded.errors, loaded.errors[:3]


def _rounded(row: Floats) -> dict[str, float]:
    told = {value: round(float(p), 4) for value, p in zip(VALUES[1:], row[1:], strict=True)}
    return {VALUES[0]: round(1 - sum(told.values()), 4), **told}


def _label(story: Story, slug: str, first: str, last: str, *, size: int) -> None:
    _draw_and_label(story, slug, story.month(first)[0], story.month(last)[1], size=size)


def _week_by_week(story: Story, month: str) -> None:
    """The labels that a team in operation gives every week."""
    first, last = story.month(month)
    for week, offset in enumerate(range(0, (last - first).days + 1, 7), 1):
        day = first + timedelta(days=offset)
        until = min(day + timedelta(days=6), last)
        size = round(ITEMS_A_WEEK * ((until - day).days + 1) / 7)
        _draw_and_label(story, f"{month.lower()}-{week}", day, until, size=size)


def _draw_and_label(story: Story, slug: str, first: date, last: date, *, size: int) -> None:
    frame = Frame(since=first, until=last)
    queue = draw_evenly(
        slug=slug, signals=[_signal()], frame=frame, size=size, overlap=2, seed=story.seed, people=story.people
    )
    until = datetime.combine(last + timedelta(days=1), time(8), UTC)
    rng = story.rng(slug)
    labelled.label(queue=queue, points=points(story), people=annotators(story), rng=rng, until=until)
    # Slips of people would look like slips of the judge, more of them where the customers' moods have moved.
    labelled.rule(queue=queue, points=points(story), reviewer=story.people["rita"], rng=rng)
    Queue.objects.filter(id=queue.id).update(state=Queue.State.CLOSED)


def _measure_march(story: Story) -> DatasetVersion:
    """The weekly labels of March as gold that the map has not seen: v2 and the promoted version are measured on it."""
    frozen = gold.freeze(
        dataset="gold-sentiment", signal=_signal(),
        queues=list(Queue.objects.filter(slug__startswith="march-")), aggregation="adjudicated",
        created_by=story.people["eve"], now=_morning_after(story, "March"),
    )  # fmt: skip
    story.say(f"{frozen} frozen from the weekly labels of March: {frozen.item_count} items")
    return frozen


def _pin(story: Story) -> None:
    """Canaries of the promoted version, and the rounds that measure its own noise: on 1 April, it answers alike each time."""
    first = datetime.combine(story.month("April")[0], time(5), UTC)
    made = canaries.pin(version=promoted_version(), now=first, size=CANARIES, seed=story.seed, by=story.people["eve"])
    for number in range(canaries.PINNING):
        _answer_canaries(story, made, first + timedelta(hours=number), changed=False)


def _round(story: Story, month: str, *, changed: bool) -> None:
    """A round every week of the month."""
    (made,) = promoted_version().canary_sets.all()
    first, last = story.month(month)
    for offset in range(7, (last - first).days + 1, 7):
        at = datetime.combine(first + timedelta(days=offset), time(5), UTC)
        _answer_canaries(story, made, at, changed=changed)


def _answer_canaries(story: Story, made: Any, at: datetime, *, changed: bool) -> None:
    names = made.canaries.order_by("position").values_list("conversation__external_id", flat=True)
    asked = [story.scenes[name] for name in names]
    said = [VALUES[int(row.argmax())] for row in _mapped(asked, changed=changed)]
    rows = ({"conversation": name, "value": value} for name, value in zip(names, said, strict=True))
    canary_rows.load(canary_set=made, records=records(rows), at=at)


def _evaluate(story: Story, month: str) -> None:
    found = monitoring.evaluate(now=_morning_after(story, month))
    _date(story, month)
    told = [f"{flag.get_kind_display().lower()} ({flag.version})" for flag in found.raised]
    story.say(f"{month}: {', '.join(told) or 'nothing is flagged'}")
