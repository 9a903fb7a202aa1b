"""Slices beside the others, and answers that failed: what the trend page says of the version in service."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client

from calibration.moves import trends
from labeling.models import Signal
from tests.calibration.worlds import PLACES, START, rows_of
from tests.make import make_signal, make_user, make_version, make_weeks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def uneven() -> Signal:
    """Trial customers are angrier; the classifier hears calls as negative that are not."""
    signal, ann = make_signal(), make_user("ann")
    version, rng = make_version(signal), random.Random(4)
    for week in range(4):
        at = START + timedelta(weeks=week)
        for place in PLACES:
            shares = (0.6, 0.2, 0.2) if place[1] == "trial" else (0.2, 0.3, 0.5)
            call = place[0] == "voice"
            rows = rows_of(place, at, 90, 0.6 if call else 0.95, rng, to_negative=call, shares=shares)
            make_weeks(version, rows, ann)
    make_weeks(version, [(START, *PLACES[3], None, None)] * 30, ann)  # type: ignore[list-item]
    return signal


def test_a_real_gap_is_told_from_the_classifiers_noise() -> None:
    found = trends.read(signal=uneven())
    words = {next(iter(row["slice"].values())): row["word"] for row in found["gaps"]["rows"]}
    assert words == {
        "chat": "classifier noise",
        "voice": "classifier noise",
        "enterprise": "real gap",
        "trial": "real gap",
    }
    assert found["gaps"]["confidence"] == pytest.approx(1 - 0.05 / 4)


def test_failed_answers_are_counted_where_they_fell() -> None:
    found = trends.read(signal=uneven())["failures"]
    by_place = {tuple(row["slice"].values()): row for row in found["rows"]}
    assert by_place["voice", "trial"]["failed"] == 30 and by_place["voice", "trial"]["kinds"] == {"unparsable": 30}
    assert by_place["voice", "trial"]["rate"]["value"] == pytest.approx(30 / 390)
    assert found["whole"]["failed"] == 30 and by_place["chat", "trial"]["rate"]["value"] == 0


def test_an_older_version_does_not_speak_for_the_one_in_service() -> None:
    signal = uneven()
    new, ann = make_version(signal, "v2"), make_user("ben")
    rng = random.Random(5)
    for place in PLACES:
        make_weeks(new, rows_of(place, START + timedelta(weeks=5), 20, 0.9, rng), ann)
    found = trends.read(signal=signal)
    assert found["failures"]["whole"]["n"] == 80 and sum(row["labels"] for row in found["gaps"]["rows"]) == 160


def test_the_page_tells_them_and_gives_files(client: Client) -> None:
    uneven()
    client.force_login(make_user(role="engineer"))
    page = client.get("/signals/sentiment/trend/?by=channel").content.decode()
    assert "real gap" in page and "classifier noise" in page and "30 unparsable" in page
    assert 'src="/static/cxlab/charts.js"' in page and page.count("application/json") == 3
    for kind, begins in (("svg", b"<svg"), ("png", b"\x89PNG"), ("csv", b"start,version")):
        file = client.get(f"/signals/sentiment/trend/?by=channel&figure=1&export={kind}")
        assert file.content.startswith(begins) and file["Content-Disposition"].endswith(f'-1.{kind}"')
    assert client.get("/signals/sentiment/trend/?figure=7&export=png").status_code == 404
    assert client.get("/signals/sentiment/trend/?export=exe").status_code == 404
