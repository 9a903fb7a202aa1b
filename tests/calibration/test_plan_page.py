"""The planner: labels by slice, beside what random sampling would want until the last slice has its own."""

from __future__ import annotations

import math
from datetime import date

import pytest
from django.core.cache import cache
from django.test import Client

from calibration.evidence import planning
from calibration.models import PredictionRollup
from labeling.models import Signal
from tests.make import make_gold, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_gold() -> None:
    """60 chats and 60 calls; nine tenths of what is scored are chats."""
    cache.clear()
    signal = make_signal()
    make_version(signal)
    values = ("negative", "neutral", "positive")
    rows = [
        {
            "gold": values[n % 3],
            "channel": channel,
            "attributes": {"language": "en"},
            "said": {signal.classifiers.get().versions.get(): values[(n + (n % 5 == 0)) % 3]},
        }
        for channel in ("chat", "voice")
        for n in range(60)
    ]
    make_gold(signal, rows)
    PredictionRollup.objects.all().delete()
    version = signal.classifiers.get().versions.get()
    for channel, count in (("chat", 900), ("voice", 100)):
        PredictionRollup.objects.create(
            version=version, day=date(2026, 1, 5), channel=channel, cohort="enterprise", value="neutral", count=count
        )


def test_random_sampling_waits_for_the_rarest_slice() -> None:
    signal = Signal.objects.get()
    version, gold = signal.classifiers.get().versions.get(), signal.datasets.get().versions.get()
    found = planning.plan(dataset_version=gold, version=version, by=["channel"])
    further = {row["slice"].get("channel"): row["further"] for row in found["rows"]}
    assert found["further"] == further["chat"] + further["voice"]
    assert found["random"] == math.ceil(further["voice"] * 10) > 4 * found["further"]
    assert planning.plan(dataset_version=gold, version=version, by=["language"])["random"] is None


def test_the_page(client: Client) -> None:
    assert client.get("/classifiers/judge/plan/")["Location"].startswith("/sign-in/")
    client.force_login(make_user("otto"))
    assert client.get("/classifiers/judge/plan/").status_code == 403
    client.force_login(make_user("eve", role="engineer"))
    page = client.get("/classifiers/judge/plan/?by=channel").content.decode()
    assert "Drawn at random it would take" in page and "channel=voice" in page
    assert client.get("/classifiers/judge/plan/?half_width=x").status_code == 422
    assert client.get("/classifiers/judge/plan/?half_width=9").status_code == 422
    assert client.get("/classifiers/nobody/plan/").status_code == 404
    assert "Plan labels" in client.get("/classifiers/judge/").content.decode()
