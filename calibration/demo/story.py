"""The story: half a year whose four troubles are planted, one a month, each found, explained and worked off by the verbs.

March: an upgrade of the judge is tougher on voice. April: trial customers are truly less happy. May: the recogniser's
new version mishears calls. June: the judge's vendor changes the model without a word. What was planted is written down
here once; tests and docs read it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from calibration import classifiers, ingest, voice
from calibration.demo import labelled, world
from calibration.demo.load import PASSWORD, PEOPLE
from calibration.demo.world import Touchpoint
from calibration.drift import canaries, canary_rows, flags, monitoring, recalibration
from calibration.models import ClassifierVersion, DriftFlag, Recalibration
from calibration.stats import maps
from labeling import gold, signals
from labeling.formats.jsonl import Record
from labeling.frames import Frame
from labeling.ingest import conversations
from labeling.models import DatasetVersion, Queue, Signal, User
from labeling.sampling import draw_queue, plan_for

Floats = NDArray[np.float64]
VALUES = world.SENTIMENTS
CHANNELS, COHORTS = ("chat", "voice"), ("business", "trial")
CLASSIFIER = "sentiment-judge"
A_DAY = 16
"""Conversations of each channel × cohort."""
ITEMS_A_WEEK = 160
MONTHS = ("January", "February", "March", "April", "May", "June")

MOODS = {"before": (0.25, 0.35, 0.40), "declined": (0.58, 0.24, 0.18)}
"""How often customers are negative, neutral, positive; trial customers decline in April."""
TOUGHER = 3.2
"""How much v2 favours `negative` on voice, in logits."""
BADLY_HEARD = {"clearvoice@5": 0.05, "clearvoice@6": 0.65}
"""The share of calls that a version of the recogniser hears badly."""
WORD_ERRORS = (0.03, 0.8)
"""How strongly words are dropped and mistaken in calls that are heard well, and badly: about 2 and 35 errors in 100 words."""
LOST_IN_NOISE = 0.8
"""How often the judge takes a badly heard call for negative, whatever was said."""
MILDER = 0.45
"""How often the judge, since its vendor's change, says `neutral` where it would have said `negative`."""
CANARIES = 80
EXPLAINED = "Trial customers are truly less happy since April."


@dataclass(frozen=True, slots=True)
class Scene:
    """One conversation as it was: the contract's row with its truth, how it was heard, and what the judge's mind drew for it."""

    point: Touchpoint
    day: date
    badly_heard: bool
    noise: tuple[float, ...]
    lot: float
    """A number in [0, 1) that decides what only happens sometimes: the same for every version, so that versions differ by
    what was changed in them and by nothing else."""

    @property
    def voice(self) -> bool:
        return bool(self.point.row["channel"] == "voice")

    def scores(self, *, tougher: bool, heard: bool = True) -> Floats:
        """The judge's logits: the truth, noise, and what v2 adds on voice; not `heard`: as if nothing were misheard."""
        found: Floats = np.array([3.6 * (value == self.point.sentiment) for value in VALUES]) + np.array(self.noise)
        if heard and self.badly_heard and self.lot < LOST_IN_NOISE:
            found = np.array([3.0, 0.0, 0.0]) + 0.3 * np.array(self.noise)
        if tougher and self.voice:
            found[0] += TOUGHER
        return found


@dataclass(slots=True)
class Story:
    """The half year of `year`, and what its telling has made so far. `say` is told each step."""

    year: int
    seed: int
    say: Callable[[str], object]
    scenes: dict[str, Scene] = field(default_factory=dict)
    people: dict[str, User] = field(default_factory=dict)

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
    may(story)
    mend(story)
    june(story)


def begin(story: Story) -> None:
    """January and February: a judge, its gold, and calm."""
    for name, role in PEOPLE.items():
        story.people[name] = User.objects.create_user(username=name, password=PASSWORD, role=role)
    ready = signals.read(signals.READY_MADE.read_text(encoding="utf-8"))
    signals.apply(document=ready)
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
    upgrade = _share(_chances(march_, "v2")) - _share(_chances(march_, "v1"))
    both = [*march_, *april_]
    said, customers = _mapped(both, changed=False).argmax(axis=1) == 0, 0.0
    for channel in CHANNELS:
        for mood, before, after in zip(VALUES, MOODS["before"], MOODS["declined"], strict=True):
            mine = [s.point.row["channel"] == channel and s.point.sentiment == mood for s in both]
            customers += (after - before) * float(said[mine].mean()) / len(CHANNELS) / len(COHORTS)
    excess = 1 - BADLY_HEARD["clearvoice@5"] / BADLY_HEARD["clearvoice@6"]
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


def _live(story: Story, month: str, *, recogniser: str) -> None:
    """A month's conversations."""
    rng, (first, last) = story.rng("life", month), story.month(month)
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    made: list[Scene] = []
    for channel in CHANNELS:
        for cohort in COHORTS:
            declined = cohort == "trial" and first >= story.month("April")[0]
            moods = _spread(MOODS["declined" if declined else "before"], len(days) * A_DAY, rng)
            heard = _spread((1 - BADLY_HEARD[recogniser], BADLY_HEARD[recogniser]), len(moods), rng)
            lots = rng.permutation(len(moods)) / len(moods)
            for number, (mood, badly, lot) in enumerate(zip(moods, heard, lots, strict=True)):
                day, name = days[number // A_DAY], f"{channel}-{cohort}-{number % A_DAY + 1}"
                row = _row(f"{days[number // A_DAY]:%m%d}-{name}", day, channel, cohort, VALUES[mood], rng)
                if channel == "voice":
                    at = datetime.fromisoformat(row["started_at"])
                    world.as_voice(row, at, rng, errors=WORD_ERRORS[badly], provider=recogniser)
                made.append(_scene(row, day, VALUES[mood], channel == "voice" and bool(badly), float(lot), rng))
    made.sort(key=lambda scene: (scene.point.row["started_at"], scene.point.row["id"]))
    story.scenes |= {scene.point.row["id"]: scene for scene in made}
    conversations(records=_records(scene.point.row for scene in made))
    voice.measure()


def _spread(shares: Sequence[float], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers 0, 1, ... in exactly these shares, in any order: what was planted is in the month to the last customer."""
    ends = np.round(np.cumsum(shares) * size).astype(int)
    return rng.permutation(np.searchsorted(ends, np.arange(size), side="right"))


def _row(name: str, day: date, channel: str, cohort: str, mood: str, rng: np.random.Generator) -> dict[str, Any]:
    at = datetime.combine(day, time(6), UTC) + timedelta(minutes=float(rng.uniform(0, 14 * 60)))
    return {
        "id": name,
        "source": "story",
        "channel": channel,
        "cohort": cohort,
        "customer": f"{cohort}-{int(rng.integers(1, 2000)):04d}",
        "started_at": at.isoformat(timespec="seconds"),
        "turns": world.dialogue(str(rng.choice(world.INTENTS)), mood, "partly", rng),
    }


def _scene(row: dict[str, Any], day: date, mood: str, badly: bool, lot: float, rng: np.random.Generator) -> Scene:
    point = Touchpoint(
        row=row, week=0, sentiment=mood, resolution="partly", effort="2", satisfaction="3", intent="", tone="polite"
    )
    return Scene(point, day, badly, tuple(float(x) for x in rng.gumbel(size=len(VALUES))), lot)


def _records(rows: Iterator[Mapping[str, Any]]) -> Iterator[Record]:
    for number, row in enumerate(rows, 1):
        yield Record(number, dict(row))


def _score(story: Story, month: str, version: str, *, days: int = 31) -> None:
    """The predictions of v1 or v2, for the first `days` of a month."""
    first = story.month(month)[0]
    scenes = [scene for scene in story.of(month) if scene.day < first + timedelta(days=days)]
    _store(version, scenes, _chances(scenes, version))


def _chances(scenes: Sequence[Scene], version: str) -> Floats:
    return maps.softmax(np.array([scene.scores(tougher=version == "v2") for scene in scenes]))


def _score_promoted(story: Story, month: str, *, changed: bool = False) -> None:
    """The promoted version: what the judge says, through the map that was fitted."""
    scenes = story.of(month)
    _store(promoted_version().version, scenes, _mapped(scenes, changed=changed))


def _mapped(scenes: Sequence[Scene], *, changed: bool, heard: bool = True) -> Floats:
    calibration = maps.from_dict(promoted_version().parameters["calibration_map"])
    chances = maps.softmax(np.array([scene.scores(tougher=True, heard=heard) for scene in scenes]))
    told = calibration.apply(chances, [scene.point.row["channel"] for scene in scenes])
    if changed:
        for row, scene in zip(told, scenes, strict=True):
            if row.argmax() == 0 and scene.lot > 1 - MILDER:
                row[[0, 1]] = row[[1, 0]]
    return told


def _store(version: str, scenes: Sequence[Scene], chances: Floats) -> None:
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
        for scene, row in zip(scenes, chances, strict=True)
    )
    loaded = ingest.predictions(records=_records(rows))
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
    queue = draw_queue(
        slug=slug,
        title=slug.replace("-", " ").capitalize(),
        signals=[_signal()],
        size=size,
        strategy="stratified",
        planner=plan_for("stratified", allocation="equal", by=("channel", "cohort")),
        by=("channel", "cohort"),
        seed=story.seed,
        overlap=2,
        members=annotators(story),
        frame=Frame(since=first, until=last),
        created_by=story.people["eve"],
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
    scenes = [story.scenes[name] for name in names]
    said = [VALUES[int(row.argmax())] for row in _mapped(scenes, changed=changed)]
    rows = ({"conversation": name, "value": value} for name, value in zip(names, said, strict=True))
    canary_rows.load(canary_set=made, records=_records(rows), at=at)


def _evaluate(story: Story, month: str) -> None:
    found = monitoring.evaluate(now=_morning_after(story, month))
    told = [f"{flag.get_kind_display().lower()} ({flag.version})" for flag in found.raised]
    story.say(f"{month}: {', '.join(told) or 'nothing is flagged'}")
