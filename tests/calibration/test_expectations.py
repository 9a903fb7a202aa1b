"""What a sample would buy is judged by the version that people use, not by whichever has scored most."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from calibration.evidence import expectations
from tests.make import make_gold, make_signal, make_version

pytestmark = pytest.mark.django_db


def test_the_version_in_service_of_the_classifier_that_scores_most_judges() -> None:
    signal = make_signal()
    lexicon = make_version(signal, "1", classifier="lexicon")
    old, new = make_version(signal, "old"), make_version(signal, "new")
    rows = []
    for number in range(60):
        gold = ("negative", "positive")[number % 2]
        said = {lexicon: "negative"}
        # The old one has scored more than the new one, and the two together more than the lexicon.
        said |= {old: gold} if number < 40 else {}
        said |= {new: gold} if number >= 30 else {}
        started = datetime(2026, 1 if number < 40 else 2, 1 + number % 28, tzinfo=UTC)
        rows.append({"gold": gold, "said": said, "started_at": started})
    gold_version = make_gold(signal, rows)
    found = expectations.width(signal, size=200, population=1000)
    assert found.evidence == f"{new} on {gold_version}"
    assert found.agreement is not None and found.share_points == pytest.approx(6.2, abs=0.1)


def test_without_gold_only_the_share_is_expected() -> None:
    found = expectations.width(make_signal(), size=100, population=100)
    assert (found.agreement, found.evidence, found.share) == (None, "", 0)
