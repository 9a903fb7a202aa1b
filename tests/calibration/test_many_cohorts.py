"""A cohort for each customer: pages say that they show the largest only, and stay as small and quick as others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calibration import outcome_reports, voice
from calibration.evidence import gates
from calibration.models import Outcome, Prediction, Transcription
from calibration.moves import trends
from calibration.rollups import Changes
from labeling import gold
from labeling.errors import Refused
from labeling.models import Conversation, Label, Signal
from tests.make import make_said, make_signal, make_user, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.once]
COHORTS = 3_000
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
BYTES = 1_500_000
"""What a page may weigh at most."""


@pytest.fixture
def signal() -> Iterator[Signal]:
    """A call of each of 3,000 cohorts and 40 more of "big", measured, answered, scored, and labelled."""
    cache.clear()
    signal, ann = make_signal(), make_user("ann")
    version = make_version(signal)
    names = [f"customer-{number:05d}" for number in range(COHORTS)] + ["big"] * 40
    homes = Conversation.objects.bulk_create(
        Conversation(
            external_id=f"c-{number}", channel=("chat", "voice")[number % 2], cohort=name, content_sha256="0" * 64,
            started_at=START + timedelta(minutes=number), source="test", turn_count=1,
            turns=[{"role": "customer", "text": "hello"}], asr={"reference": "hello", "hypothesis": "hello", "provider": "ear@1"},
        )
        for number, name in enumerate(names)
    )  # fmt: skip
    counts = {"words": 10, "substitutions": 1, "insertions": 0, "deletions": 0, "characters": 50, "character_errors": 2}
    Transcription.objects.bulk_create(
        Transcription(conversation=home, content_sha256="0" * 64, provider="ear@1", mistakes=[], **counts)
        for home in homes
    )
    Outcome.objects.bulk_create(
        Outcome(key=home.external_id, conversation=home, kind="csat", value=4) for home in homes
    )
    said = Prediction.objects.bulk_create(make_said(version, home, "negative") for home in homes)
    changes = Changes()
    for one, home in zip(said, homes, strict=True):
        changes.add(one, started_at=home.started_at, channel=home.channel, cohort=home.cohort)
    changes.write()
    Label.objects.bulk_create(
        Label(conversation=home, signal=signal, annotator=ann, value="negative", labeled_at=START) for home in homes
    )
    gold.freeze(dataset="gold", signal=signal, aggregation="single", now=timezone.now())
    yield signal


def test_reports_and_their_pages_keep_the_largest_slices_and_count_all(signal: Signal, client: Client) -> None:
    heard = voice.read()
    cohorts = [one for one in heard.slices if one.dimension == "cohort"]
    assert (len(cohorts), heard.values["cohort"], heard.whole.calls) == (voice.MOST_SLICES, COHORTS + 1, COHORTS + 40)
    assert {one.value: one.calls for one in cohorts}["big"] == 40
    told = outcome_reports.read()
    assert len(told.rows) == outcome_reports.MOST_SLICES + 1 and told.whole.csat.answered == COHORTS + 40
    assert [row.slice for row in told.rows if row.conversations > 1] == [
        {}, {"channel": "chat"}, {"channel": "chat", "cohort": "big"}, {"channel": "voice"},
        {"channel": "voice", "cohort": "big"}, {"cohort": "big"},
    ]  # fmt: skip
    chart = trends.read(signal=signal, by=["cohort"])
    assert (len(chart["series"]), chart["slices"]) == (trends.MOST_SERIES + 1, COHORTS + 1)
    assert "big" in [one["slice"].get("cohort") for one in chart["series"]]
    client.force_login(make_user("eve", role="engineer"))
    every = 2 + 2 * COHORTS + 3  # channels, cohorts, and both: "big" has calls and chats
    pages = {
        reverse("voice"): f"the largest 100 of {COHORTS + 1:,}",
        reverse("outcomes"): f"The largest 200 of {every:,} slices",
        reverse("trend", args=["sentiment"]) + "?by=cohort": f"The largest 60 of {COHORTS + 1:,} slices",
        reverse("report", args=["judge"]): f"the largest 500 of {every:,} slices",
        reverse("plan", args=["judge"]) + "?by=cohort": f"{COHORTS - 499:,} smaller ones are left out",
    }
    for address, words in pages.items():
        page = client.get(address).content.decode()
        assert words in page and len(page) < BYTES, (address, len(page))
    with pytest.raises(Refused, match=rf"{COHORTS - 499:,} slices by cohort beyond the 500 that are measured"):
        gates.run(policy="by: [cohort]\nrules:\n  - {at_least: 0.6}\n", dataset="gold@1", candidate="judge@v1")
