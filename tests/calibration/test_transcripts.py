"""Transcription as a part of a movement: calls that are heard worse are not the customers and not the classifier."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from calibration.models import Transcription
from calibration.moves import attribution, periods
from labeling.models import Conversation, Signal
from tests.calibration.worlds import PLACES, START, VALUES
from tests.make import make_signal, make_user, make_version, make_weeks

pytestmark = pytest.mark.django_db
JANUARY = periods.read("2026-01-05..2026-01-31", field="from")
MARCH = periods.read("2026-03-02..2026-03-28", field="to")
MARCH_1 = START + timedelta(weeks=8)


def world(*, poor_later: float = 0.8, measured: float = 1.0) -> Signal:
    """Badly heard calls are scored negative half the time; a tenth of them in January, `poor_later` in March."""
    signal, ann, rng = make_signal(), make_user("ann"), random.Random(11)
    version = make_version(signal)
    rows: list[tuple[datetime, str, str, str, str]] = []
    rates: list[int | None] = []
    for at, poor in ((START, 0.1), (MARCH_1, poor_later)):
        for place in PLACES:
            for number in range(300):
                truth = rng.choices(VALUES, (0.3, 0.3, 0.4))[0]
                bad = place[0] == "voice" and rng.random() < poor
                said = "negative" if bad and rng.random() < 0.5 else truth
                rows.append((at + timedelta(minutes=number), *place, truth, said))
                heard = place[0] == "voice" and rng.random() < measured
                rates.append((30 if bad else 3) if heard else None)
    make_weeks(version, rows, ann)
    homes = list(Conversation.objects.order_by("id"))
    Transcription.objects.bulk_create(
        Transcription(conversation=home, content_sha256=home.content_sha256, words=100, substitutions=wrong)
        for home, wrong in zip(homes, rates, strict=True)
        if wrong is not None
    )
    return signal


def parts(signal: Signal) -> dict[str, Any]:
    return attribution.attribute(signal=signal, before=JANUARY, after=MARCH)


def test_calls_that_are_heard_worse_are_the_cause() -> None:
    found = parts(world())
    # Half of the calls are voice, 70 % more of them are badly heard, half of those 70 % not negative turn negative.
    planted = 0.5 * 0.7 * 0.5 * 0.7
    part = found["parts"]["transcription"]
    assert part["low"] < planted < part["high"] and part["low"] > 0.05
    assert (found["verdict"], found["leading"]) == ("classifier", ["transcription"])
    assert "transcription" in found["sentence"]
    assert sum(one["value"] for one in found["parts"].values()) == pytest.approx(found["observed"]["value"])


def test_calls_that_are_heard_as_before_move_nothing() -> None:
    part = parts(world(poor_later=0.1))["parts"]["transcription"]
    assert part["low"] < 0 < part["high"] and abs(part["value"]) < 0.01


def test_half_of_the_calls_measured_will_do_and_a_tenth_will_not() -> None:
    assert parts(world(measured=0.7))["parts"]["transcription"]["low"] > 0.05
    Transcription.objects.filter(id__gt=Transcription.objects.order_by("id")[100].id).delete()
    assert parts(Signal.objects.get())["parts"]["transcription"] == {"value": None, "reason": "no_transcript_quality"}


def test_counts_of_an_older_content_are_not_used() -> None:
    signal = world()
    Transcription.objects.update(content_sha256="f" * 64)
    assert parts(signal)["parts"]["transcription"]["value"] is None
