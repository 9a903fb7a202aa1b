"""A small world with known drift: four slices, a calibration, and weeks of labels after it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from calibration.models import ClassifierVersion
from labeling import gold
from labeling.models import DatasetVersion, User
from tests.make import make_signal, make_user, make_version, make_weeks

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
VALUES = ("negative", "neutral", "positive")
PLACES = (("chat", "enterprise"), ("chat", "trial"), ("voice", "enterprise"), ("voice", "trial"))
DRIFTED = ("voice", "trial")
Row = tuple[datetime, str, str, str | None, str]


def make_world(
    *, weeks: int = 10, drifts: bool = False, change_after: int = 2, labels: int = 20
) -> tuple[ClassifierVersion, DatasetVersion]:
    """Version v1 is right in 88 %, calibrated on 4 × 60; with `drifts` voice, trial falls to 45 % after some weeks."""
    annotator = make_user("ann")
    signal = make_signal()
    version = make_version(signal)
    rng = random.Random(7)
    make_weeks(version, [row for place in PLACES for row in rows_of(place, START, 60, 0.88, rng)], annotator)
    frozen = gold.freeze(dataset="gold", signal=signal, aggregation="majority", now=START + timedelta(days=6))
    for week in range(1, weeks + 1):
        at = START + timedelta(weeks=week)
        for place in PLACES:
            low = drifts and place == DRIFTED and week > change_after
            make_weeks(version, rows_of(place, at, labels, 0.45 if low else 0.88, rng, to_negative=low), annotator)
    return version, frozen


def rows_of(
    place: tuple[str, str],
    at: datetime,
    count: int,
    accuracy: float,
    rng: random.Random,
    *,
    to_negative: bool = False,
    shares: Sequence[float] = (0.3, 0.3, 0.4),
    labelled: bool = True,
) -> list[Row]:
    """Conversations of one week: errors fall evenly, or (drifted) on "negative" as long as that is one."""
    rows: list[Row] = []
    for number in range(count):
        truth = rng.choices(VALUES, shares)[0]
        wrong = [value for value in VALUES if value != truth]
        said = truth if rng.random() < accuracy else rng.choice(wrong)
        if said != truth and to_negative and truth != "negative":
            said = "negative"
        when = at + timedelta(hours=number % 120)
        rows.append((when, *place, truth if labelled else None, said))
    return rows


def make_engineer() -> User:
    return make_user("ada", role="engineer")
