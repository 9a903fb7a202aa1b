"""Agreement over time: one version at a time, the one in service, in periods that fit the span."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache

from calibration.evidence import history
from calibration.models import ClassifierVersion, PredictionRollup
from labeling.models import DatasetVersion
from tests.make import make_gold, make_signal, make_version

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def world(days: int, *, switch: int, backfill: bool = False) -> tuple[DatasetVersion, ClassifierVersion]:
    """Four units a day; `new` takes over from `old` on day `switch`. With backfill old goes on scoring some."""
    cache.clear()
    signal = make_signal()
    old, new = make_version(signal, "old"), make_version(signal, "new")
    rows: list[dict[str, Any]] = []
    for i in range(4 * days):
        gold = ("negative", "neutral", "positive")[i % 3]
        said = {old: gold} if i // 4 < switch else {new: gold if i % 2 else "neutral"}
        if backfill and i % 4 == 0:
            said[old] = "neutral"
        rows.append({"gold": gold, "said": said, "started_at": START + timedelta(days=i // 4)})
    return make_gold(signal, rows), new


def read(dataset_version: DatasetVersion, version: ClassifierVersion) -> history.History:
    return history.read(dataset_version=dataset_version, classifier=version.classifier)


def test_each_period_shows_the_version_in_service() -> None:
    found = read(*world(60, switch=28, backfill=True))
    assert found.period == "week"
    assert [version for _, version in found.boundaries] == ["old", "new"]
    starts = [point.start for point in found.points]
    assert starts == sorted(set(starts)), "never two versions in one period"
    assert all(start.weekday() == 0 for start in starts)


def test_days_without_gold_do_not_choose_the_version() -> None:
    """Gold ends on a Tuesday; who serves the rest of that week says nothing of its labels."""
    dataset_version, new = world(27, switch=99)
    place = {"channel": "chat", "cohort": "enterprise", "value": "neutral"}
    PredictionRollup.objects.create(version=new, day=date(2026, 1, 28), count=100, **place)
    points = read(dataset_version, new).points
    assert points[-1].start == date(2026, 1, 26) and {point.version for point in points} == {"old"}


@pytest.mark.parametrize(("days", "period"), [(10, "day"), (100, "week"), (300, "month")])
def test_periods_fit_the_span(days: int, period: str) -> None:
    assert read(*world(days, switch=days)).period == period


def test_too_few_labels_make_no_point() -> None:
    assert read(*world(10, switch=10)).points == ()


def test_gold_without_times_has_no_series() -> None:
    cache.clear()
    signal = make_signal()
    version = make_version(signal)
    dataset_version = make_gold(signal, [{"gold": "neutral", "said": {version: "neutral"}}] * 1)
    assert read(dataset_version, version).points == ()


def test_periods_begin() -> None:
    day = date(2026, 3, 18)
    assert [history.start_of(day, period) for period in ("day", "week", "month")] == [
        day, date(2026, 3, 16), date(2026, 3, 1),
    ]  # fmt: skip
