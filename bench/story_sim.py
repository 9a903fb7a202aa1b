"""The demo's story from other draws: what is flagged, what names which cause, and whether the intervals hold what was planted.

`python -m bench story_sim 20` in a workspace that is migrated and empty; each draw is taken back.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from django.db import transaction

from calibration.demo import story as telling
from calibration.demo.story import Story
from calibration.drift import causes, flags
from calibration.models import DriftFlag
from calibration.moves import attribution
from calibration.moves.periods import Days
from labeling.models import Signal

PARTS = {"March": "upgrade", "April": "customers", "May": "transcription", "June": "silent_drift"}
BEFORE = {"March": "February", "April": "March", "May": "April", "June": "April"}
YEAR = 2026


@dataclass(slots=True)
class Told:
    """What one draw came to: of the four months each."""

    led: dict[str, list[str]] = field(default_factory=dict)
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)
    """The flags that lead, as the inbox shows them; how many follow stands apart."""
    following: dict[str, int] = field(default_factory=dict)

    def covered(self, planted: dict[str, float]) -> int:
        return sum(part["low"] <= planted[name] <= part["high"] for name, part in self.parts.items())


def tell(seed: int) -> tuple[Told, dict[str, float]]:
    """The half year from one seed, and the planted sizes."""
    story, told = Story(YEAR, seed, lambda _: None), Told()
    telling.begin(story)
    telling.march(story)
    _note(story, told, "March")
    telling.recalibrate(story)
    telling.april(story)
    _note(story, told, "April", versions=(telling.promoted_version().version,) * 2)
    for flag in flags.active():
        flags.dismiss(flag=flag, by=None, reason=telling.EXPLAINED)
    telling.may(story)
    _note(story, told, "May")
    telling.mend(story)
    telling.june(story)
    _note(story, told, "June")
    return told, telling.planted(story)


def _note(story: Story, told: Told, month: str, *, versions: tuple[str, str] = ("", "")) -> None:
    before, after = (Days(*story.month(name)) for name in (BEFORE[month], month))
    found = attribution.attribute(
        signal=Signal.objects.get(slug="sentiment"), before=before, after=after, value="negative", chosen_versions=versions
    )  # fmt: skip
    told.led[month] = found["leading"]
    told.parts[PARTS[month]] = found["parts"][PARTS[month]]
    led = causes.led(flags.active())
    told.first[month] = sorted(_words(flag) for flag, _ in led)
    told.following[month] = sum(len(others) for _, others in led)


def _words(flag: DriftFlag) -> str:
    """`agreement voice trial, from asr`: what, where, and what has been mended that it follows from."""
    mended = [f"from {cause.flag.kind}" for cause in causes.of(flag)[:1]]
    return ", ".join([" ".join([flag.kind, *flag.slice.values()]), *mended])


def main() -> int:
    draws = next((int(one) for one in sys.argv if one.isdecimal()), 20)
    right = covered = 0
    print(
        "| seed | right cause | covered | flags that lead in March; April; May; June (and how many follow from them) |"
    )
    print("| --- | --- | --- | --- |")
    for seed in range(1, draws + 1):
        with transaction.atomic():
            told, planted = tell(seed)
            transaction.set_rollback(True)
        hits = sum(PARTS[month] in told.led[month] for month in PARTS)
        right, covered = right + hits, covered + told.covered(planted)
        flagged = "; ".join(f"{' / '.join(told.first[month])} (+{told.following[month]})" for month in PARTS)
        print(f"| {seed} | {hits} of 4 | {told.covered(planted)} of 4 | {flagged} |", flush=True)
    print(f"\nright cause {right} of {4 * draws}, planted size covered {covered} of {4 * draws}")
    return 0
