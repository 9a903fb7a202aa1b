"""The demo world, seeded: customers with journeys over half a year, what truly happened, and what each classifier says.

Pure: no database, no clock. The world is known to the last answer, so the demo can be checked against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from calibration.demo import phrases

SENTIMENTS = ("negative", "neutral", "positive")
RESOLUTIONS = ("unresolved", "partly", "resolved")
INTENTS = tuple(phrases.OPENINGS)
CHANNELS = ("chat", "voice", "email", "ticket", "app")
COHORTS = ("enterprise", "smb", "trial")
WEEKS = 26
UPGRADE_WEEK = 9
DRIFT_WEEK = 16
DRIFT_SLICE = ("voice", "trial")

ANNOTATORS = {"ann": 0.95, "ben": 0.93, "cleo": 0.91, "dev": 0.84}
"""How often each annotator gives the true answer; the rest falls on the neighbouring categories."""


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """One conversation with its truth: `row` is the contract's conversation, the rest is what a person would say."""

    row: dict[str, Any]
    week: int
    sentiment: str
    resolution: str
    effort: str
    satisfaction: str
    intent: str
    tone: str

    def truth(self, signal: str) -> str:
        return str(getattr(self, signal))


def journeys(*, customers: int, end: datetime, seed: int) -> list[Touchpoint]:
    """All touchpoints in order of time; `end` is the last moment of the world, midnight of a Monday."""
    rng = np.random.default_rng(seed)
    start = end - timedelta(weeks=WEEKS)
    found: list[Touchpoint] = []
    for number in range(customers):
        found.extend(_journey(f"cu-{number + 1:04d}", start=start, rng=rng))
    found.sort(key=lambda point: (point.row["started_at"], point.row["id"]))
    return found


def _journey(customer: str, *, start: datetime, rng: np.random.Generator) -> Iterator[Touchpoint]:
    """One customer's touchpoints: an unresolved one is likely to be followed by another, often on another channel."""
    cohort = str(rng.choice(COHORTS, p=(0.26, 0.35, 0.39)))
    intent = str(rng.choice(INTENTS, p=(0.26, 0.2, 0.22, 0.14, 0.08, 0.1)))
    at = start + timedelta(minutes=float(rng.uniform(0, WEEKS * 7 * 24 * 60)))
    step = 0
    while at < start + timedelta(weeks=WEEKS):
        step += 1
        channel = str(rng.choice(CHANNELS, p=(0.28, 0.33, 0.18, 0.12, 0.09)))
        week = int((at - start) / timedelta(weeks=1))
        point = _touchpoint(f"{customer}-{step}", customer, cohort, channel, intent, at, week, step, rng)
        yield point
        again = {"unresolved": 0.75, "partly": 0.45, "resolved": 0.22}[point.resolution]
        if step >= 6 or rng.random() > again:
            return
        at += timedelta(hours=float(rng.gamma(2.0, 30.0)))
        if point.resolution == "resolved":
            intent = str(rng.choice(INTENTS))
            at += timedelta(days=float(rng.uniform(5, 40)))


def _touchpoint(
    key: str,
    customer: str,
    cohort: str,
    channel: str,
    intent: str,
    at: datetime,
    week: int,
    step: int,
    rng: np.random.Generator,
) -> Touchpoint:
    solved = {"enterprise": 0.62, "smb": 0.55, "trial": 0.47}[cohort] + (0.06 if channel in ("chat", "voice") else 0.0)
    resolution = str(rng.choice(RESOLUTIONS, p=((1 - solved) * 0.55, (1 - solved) * 0.45, solved)))
    sentiment = _sentiment(resolution, step, cohort, rng)
    effort_mean = 1.2 + 0.7 * (step - 1) + {"resolved": 0.3, "partly": 1.2, "unresolved": 1.9}[resolution]
    effort = str(int(np.clip(round(rng.normal(effort_mean, 0.7)), 1, 5)))
    happy = {"negative": 1.8, "neutral": 3.2, "positive": 4.5}[sentiment]
    satisfaction = str(int(np.clip(round(rng.normal(happy - 0.15 * (step - 1), 0.6)), 1, 5)))
    turns = dialogue(intent, sentiment, resolution, rng)
    row: dict[str, Any] = {
        "id": key,
        "source": "demo",
        "channel": channel,
        "cohort": cohort,
        "customer": customer,
        "started_at": at.isoformat(timespec="seconds"),
        "turns": turns,
        "attributes": {"language": "en", "region": str(rng.choice(("emea", "amer", "apac"), p=(0.5, 0.35, 0.15)))},
    }
    if channel == "voice":
        as_voice(row, at, rng)
    else:
        for number, turn in enumerate(turns):
            turn["at"] = (at + timedelta(seconds=40 * number)).isoformat(timespec="seconds")
    return Touchpoint(
        row=row,
        week=week,
        sentiment=sentiment,
        resolution=resolution,
        effort=effort,
        satisfaction=satisfaction,
        intent=intent,
        tone="polite" if sentiment != "negative" or rng.random() < 0.35 else "frustrated",
    )


def _sentiment(resolution: str, step: int, cohort: str, rng: np.random.Generator) -> str:
    weights = {"resolved": (0.12, 0.38, 0.5), "partly": (0.36, 0.46, 0.18), "unresolved": (0.68, 0.26, 0.06)}[
        resolution
    ]
    sour = 1 + 0.25 * (step - 1) + (0.25 if cohort == "trial" else 0.0)
    odds = np.array(weights) * (sour, 1.0, 1.0)
    return str(rng.choice(SENTIMENTS, p=odds / odds.sum()))


def dialogue(intent: str, sentiment: str, resolution: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Opening, one to four exchanges, the agent's last word, and the customer's."""
    facts = {
        "month": rng.choice(phrases.MONTHS),
        "weekday": rng.choice(phrases.WEEKDAYS),
        "amount": int(rng.integers(9, 180)),
        "order": (order := int(rng.integers(1000, 9999))),
        "percent": int(rng.integers(20, 95)),
        "team": int(rng.integers(4, 60)),
    }

    said: set[str] = set()
    spoken: list[str] = []

    def say(role: str, choices: Sequence[str]) -> dict[str, Any]:
        """A line that was not said before in this conversation, as long as there is one."""
        phrase = str(rng.choice([choice for choice in choices if choice not in said] or list(choices)))
        said.add(phrase)
        before = spoken[-1] if spoken else ""
        spoken.append(phrases.fitting(phrase, intent=intent, asked=before))
        number = order if phrases.ASKS.get(before) == "order" else 7 * order
        return {"role": role, "text": spoken[-1].format(**facts, number=number)}

    turns = [say("customer", phrases.OPENINGS[intent]), say("agent", phrases.AGENT_FIRST)]
    for _ in range(int(rng.integers(1, 4))):
        mood = sentiment if rng.random() < 0.6 else "neutral"
        turns.append(say("customer", phrases.CUSTOMER_MIDDLE[mood]))
        turns.append(say("agent", phrases.AGENT_MIDDLE))
    turns[-1] = say("agent", phrases.AGENT_LAST[resolution])
    turns.append(say("customer", phrases.CLOSINGS[sentiment]))
    return turns


def as_voice(
    row: dict[str, Any], at: datetime, rng: np.random.Generator, *, errors: float = 0.06, provider: str = "demo-asr@1"
) -> None:
    """What a telephone and a speech recogniser make of it: fillers, times, and word errors beside the reference; the sound
    is made when somebody listens (`calibration.demo.speech`)."""
    reference: list[str] = []
    second = 0.0
    for turn in row["turns"]:
        spoken = turn["text"]
        if turn["role"] == "customer" and rng.random() < 0.4:
            spoken = f"{rng.choice(phrases.FILLERS)}, {spoken[0].lower()}{spoken[1:]}"
        length = max(1.2, len(spoken.split()) * 0.38)
        turn["start"], turn["end"] = round(second, 2), round(second + length, 2)
        turn["at"] = (at + timedelta(seconds=second)).isoformat(timespec="seconds")
        turn["text"] = _misheard(spoken, errors, rng)
        reference.append(spoken)
        second += length + float(rng.uniform(0.3, 1.4))
    row["audio"] = f"/demo/calls/{row['id']}.wav"
    row["asr"] = {
        "reference": "\n".join(reference),
        "hypothesis": "\n".join(turn["text"] for turn in row["turns"]),
        "provider": provider,
    }


def _misheard(text: str, rate: float, rng: np.random.Generator) -> str:
    words = []
    for word in text.split():
        bare = word.strip(".,?!").lower()
        if bare in phrases.SUBSTITUTES and rng.random() < rate * 5:
            words.append(phrases.SUBSTITUTES[bare])
        elif rng.random() < rate / 3:
            continue
        else:
            words.append(word)
    return " ".join(words) or text


def labelled_by(
    annotator: str, truth: str, values: Sequence[str], rng: np.random.Generator, *, hard: float = 0.0
) -> str:
    """What this annotator says of an item whose true answer is `truth`; slips go to neighbours, more on hard items."""
    if rng.random() < ANNOTATORS[annotator] - hard:
        return truth
    here = values.index(truth)
    near = [values[place] for place in (here - 1, here + 1) if 0 <= place < len(values)]
    return str(rng.choice(near))


@dataclass(frozen=True, slots=True)
class SimulatedVersion:
    """A judge whose errors are known: right with `accuracy` (`voice` on calls). From DRIFT_WEEK on, in the drift slice, it
    is right on upset customers with `drifted` only, and calls the others of them neutral."""

    accuracy: float
    voice: float
    drifted: float | None = None

    def answer(self, point: Touchpoint, truth: str, values: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
        """A prediction's value and calibrated probabilities, in the contract's form."""
        right = self.voice if point.row["channel"] == "voice" else self.accuracy
        where = (point.row["channel"], point.row["cohort"])
        drifting = point.week >= DRIFT_WEEK and where == DRIFT_SLICE and truth == "negative"
        if drifting and self.drifted is not None:
            right = self.drifted
        sure = float(np.clip(rng.beta(right * 9, (1 - right) * 9), 0.02 if drifting else 0.36, 0.99))
        others = [value for value in values if value != truth]
        wrong = "neutral" if drifting and self.drifted is not None else str(rng.choice(others))
        said = truth if rng.random() < sure else wrong
        claimed = sure if said == truth else max(1 - sure, 0.4)
        rest = round((1 - claimed) / (len(values) - 1), 4)
        chances = {value: rest for value in values if value != said}
        chances[said] = round(1 - sum(chances.values()), 4)
        return {"value": said, "probabilities": chances}


def outcomes(point: Touchpoint, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Survey answers (the angry answer more often), escalations and reopened tickets."""
    row = point.row
    base = {"conversation": row["id"], "customer": row["customer"]}
    at = (datetime.fromisoformat(row["started_at"]) + timedelta(days=1)).isoformat(timespec="seconds")
    if rng.random() < (0.32 if point.sentiment == "negative" else 0.2):
        yield {**base, "kind": "csat", "value": int(point.satisfaction), "at": at}
    if rng.random() < 0.08:
        yield {
            **base,
            "kind": "nps",
            "value": int(np.clip(round(rng.normal(int(point.satisfaction) * 2, 1.3)), 0, 10)),
            "at": at,
        }
    if rng.random() < 0.08:
        yield {**base, "kind": "ces", "value": int(point.effort), "at": at}
    if point.resolution == "unresolved" and rng.random() < 0.15:
        yield {**base, "kind": "escalation", "value": 1, "at": at}
    if row["channel"] == "ticket" and point.resolution != "resolved" and rng.random() < 0.3:
        yield {**base, "kind": "reopened", "value": 1, "at": at}
