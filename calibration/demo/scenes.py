"""The conversations of the story, seeded: what was planted in them, and what the judge's mind makes of each.

Pure: no database, no clock. What was planted is written down here once; tests and docs read it from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.demo import world
from calibration.demo.world import Touchpoint
from calibration.stats import maps

Floats = NDArray[np.float64]
VALUES = world.SENTIMENTS
CHANNELS, COHORTS = ("chat", "voice"), ("business", "trial")
A_DAY = 16
"""Conversations of each channel × cohort."""
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


def of_days(days: Sequence[date], *, trial_declines: bool, recogniser: str, rng: np.random.Generator) -> list[Scene]:
    """Everything that was said on these days, in order of time."""
    made: list[Scene] = []
    for channel in CHANNELS:
        for cohort in COHORTS:
            declined = trial_declines and cohort == "trial"
            moods = _spread(MOODS["declined" if declined else "before"], len(days) * A_DAY, rng)
            heard = _spread((1 - BADLY_HEARD[recogniser], BADLY_HEARD[recogniser]), len(moods), rng)
            lots = rng.permutation(len(moods)) / len(moods)
            for number, (mood, badly, lot) in enumerate(zip(moods, heard, lots, strict=True)):
                day = days[number // A_DAY]
                name = f"{day:%m%d}-{channel}-{cohort}-{number % A_DAY + 1}"
                row = _row(name, day, channel, cohort, VALUES[mood], rng)
                if channel == "voice":
                    at = datetime.fromisoformat(row["started_at"])
                    world.as_voice(row, at, rng, errors=WORD_ERRORS[badly], provider=recogniser)
                made.append(_scene(row, day, VALUES[mood], channel == "voice" and bool(badly), float(lot), rng))
    return sorted(made, key=lambda scene: (scene.point.row["started_at"], scene.point.row["id"]))


def chances(scenes: Sequence[Scene], *, tougher: bool, heard: bool = True) -> Floats:
    """What v1 says of each, or v2 (`tougher`): probabilities [scene, value]."""
    return maps.softmax(np.array([scene.scores(tougher=tougher, heard=heard) for scene in scenes]))


def milder(told: Floats, scenes: Sequence[Scene]) -> Floats:
    """What the judge says since its vendor's change: `neutral` for a part of what it called `negative`."""
    found = told.copy()
    for row, scene in zip(found, scenes, strict=True):
        if row.argmax() == 0 and scene.lot > 1 - MILDER:
            row[[0, 1]] = row[[1, 0]]
    return found


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
