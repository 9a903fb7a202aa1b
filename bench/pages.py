"""The report and the trend page while predictions grow: 10⁴, 10⁶, 10⁷ rows beside the same two thousand labels.

One database grows from size to size, and counts every batch as ingest does. `CXLAB_BENCH_MOST` stops it earlier: the ten
millions take some minutes and 3 GB of disk.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from django.core.cache import cache
from django.db import connection
from django.test import Client, override_settings

from bench.measure import Measure, best_of, median_of
from bench.report import bench_database
from calibration import rollups
from calibration.evidence import pairing, reports
from calibration.models import Classifier, ClassifierVersion
from labeling.models import Category, Dataset, DatasetVersion, Signal, User

MOST = int(os.environ.get("CXLAB_BENCH_MOST", 10_000_000))
SIZES = tuple(size for size in (10_000, 1_000_000, 10_000_000) if size <= MOST)
LABELS = 2_000
TURNS = 10
"""Turns that are scored in each conversation."""
COMPARED = 1_000_000
"""Up to so many new predictions their counting is held against SQL; it is linear."""
VALUES = ("negative", "neutral", "positive")
CHANNELS, COHORTS, DAYS, CHANGE = 4, 6, 364, 182
PAGES = {
    "report page": "/classifiers/bench/",
    "trend page": "/signals/bench/trend/",
    "trend page by channel": "/signals/bench/trend/?by=channel",
}
GOAL = "ratio at most 1.3, under 100 ms"


def run() -> Iterator[Measure]:
    """Milliseconds of the server, median of 15, and of the first after everything kept was forgotten; the smallest size beside."""
    smallest: dict[str, float] = {}
    with bench_database(), _plain_files():
        world = World()
        client = Client()
        client.force_login(User.objects.create_user(username="bench", role="engineer"))
        done = 0
        for size in SIZES:
            world.predictions(done, size)
            if not done:
                world.labels()
            yield from _counting(world, done, size)
            done = size
            _analyze()
            yield _first_report(world, size)
            for name, address in PAGES.items():
                for state, goal, measured in STATES:
                    took = measured(client, address) * 1000
                    before = smallest.setdefault(name + state, took)
                    yield Measure(f"{name}{state}, {size:,} predictions", took, before, "ms", f"{SIZES[0]:,}", goal)


@contextmanager
def _plain_files() -> Iterator[None]:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES={"staticfiles": plain}, ALLOWED_HOSTS=["*"]):
        yield


def _first_page(client: Client, address: str) -> float:
    cache.clear()
    seconds = -time.perf_counter()
    answer = client.get(address)
    assert answer.status_code == 200 and b"bench" in answer.content, answer.status_code
    return seconds + time.perf_counter()


def _page(client: Client, address: str) -> float:
    return median_of(lambda: client.get(address), times=15)


def _busy(client: Client, address: str) -> float:
    """Of the processor, the share of the server's own process: what is left on a machine that does other things, too."""

    def once() -> float:
        seconds = -time.process_time()
        client.get(address)
        return seconds + time.process_time()

    return statistics.median(once() for _ in range(15))


STATES = (("", GOAL, _page), (", processor time", "", _busy), (", first", "", _first_page))


def _first_report(world: World, size: int) -> Measure:
    """The first report of the newest version: nothing kept, nothing cached."""
    given = {"dataset_version": world.gold, "classifier": world.classifier, "by": ("channel", "cohort")}

    def first() -> None:
        cache.clear()
        reports.build(**given)

    plain = best_of(lambda: [_fetch(PAIRS, [version.id, world.gold.id]) for version in world.versions])
    took = best_of(first)
    for version in world.versions:
        pairing.store(dataset_version=world.gold, version=version)
    return Measure(
        f"first report, {size:,} predictions, {LABELS:,} labels",
        took * 1000,
        plain * 1000,
        "ms",
        "one SQL aggregate of its pairs",
        "low multiples",
    )


PAIRS = """
SELECT g.channel, g.cohort, g.value, p.value, COUNT(*), SUM(1.0 / g.inclusion_probability)
FROM labeling_goldrow g JOIN calibration_prediction p
  ON p.version_id = %s AND p.conversation_id = g.conversation_id AND p.turn = g.turn
WHERE g.version_id = %s GROUP BY 1, 2, 3, 4
"""


def _counting(world: World, start: int, end: int) -> Iterator[Measure]:
    """The new predictions counted by day and slice as ingest counts a batch, against one SQL aggregate of them."""
    seconds = -time.perf_counter()
    changes = rollups.Changes()
    for version, day, channel, cohort, value in world.rows(start, end):
        changes.count(version=version, day=day, channel=channel, cohort=cohort, status="ok", value=value, number=None)
    changes.write()
    seconds += time.perf_counter()
    if end - start > COMPARED:
        return
    plain = best_of(lambda: _fetch(COUNTS, [start, end]), times=1)
    yield Measure(
        f"counts of {end - start:,} predictions by day and slice",
        seconds,
        plain,
        "s",
        "one SQL aggregate",
        "low multiples",
    )


COUNTS = """
SELECT p.version_id, p.predicted_at, c.channel, c.cohort, p.value, COUNT(*)
FROM calibration_prediction p JOIN labeling_conversation c ON c.id = p.conversation_id
WHERE p.id > %s AND p.id <= %s GROUP BY 1, 2, 3, 4, 5
"""


class World:
    """A signal, two versions of a classifier that follow each other, and conversations of ten scored turns."""

    def __init__(self) -> None:
        self.signal = Signal.objects.create(slug="bench", title="Bench", scale="ordinal", unit="turn")
        for position, value in enumerate(VALUES):
            Category.objects.create(signal=self.signal, position=position, value=value, label=value, score=position - 1)
        self.classifier = Classifier.objects.create(slug="bench", title="bench", signal=self.signal)
        self.versions = [
            ClassifierVersion.objects.create(classifier=self.classifier, version=name, content_sha256=name * 32)
            for name in ("v1", "v2")
        ]
        dataset = Dataset.objects.create(slug="bench", title="bench", signal=self.signal)
        made = DatasetVersion.objects.create(dataset=dataset, number=1, aggregation="majority", item_count=LABELS)
        self.gold = DatasetVersion.objects.select_related("dataset__signal").get(id=made.id)
        self.annotator = User.objects.create_user(username="labels", role="annotator")

    def predictions(self, start: int, end: int) -> None:
        """Predictions start + 1 ... end, and their conversations, made by the database itself."""
        now = "'2026-03-01 00:00:00+00:00'"
        channel, cohort = f"'channel' || (i % {CHANNELS})", f"'cohort' || (i / 7 % {COHORTS})"
        self._run(
            "INSERT INTO labeling_conversation (id, external_id, source, channel, cohort, customer, started_at, turns,"
            " turn_count, attributes, summary, audio, metadata, content_sha256, created_at, updated_at) "
            f"{_numbers(start // TURNS, end // TURNS)} SELECT i, 'b-' || i, '', {channel}, {cohort}, '', {_day('i')},"
            f" '[]', {TURNS}, '{{}}', '', '', '{{}}', '', {now}, {now} FROM s"
        )
        conversation = f"(i + {TURNS - 1}) / {TURNS}"
        first, second = (version.id for version in self.versions)
        self._run(
            "INSERT INTO calibration_prediction (id, version_id, conversation_id, turn, value, status, rationale,"
            f" predicted_at, stored_at, metadata) {_numbers(start, end)} SELECT i, CASE WHEN {conversation} % {DAYS} <"
            f" {CHANGE} THEN {first} ELSE {second} END, {conversation}, i % {TURNS}, {_word(SAID)}, 'ok', '',"
            f" {_day(conversation)}, {_day(conversation)}, '{{}}' FROM s"
        )

    def labels(self) -> None:
        """The gold and its labels: every fifth of the first ten thousand units, one person's word."""
        columns = f"p.conversation_id, p.turn, {_word(TRUE).replace('i / 11', 'p.id / 11')}"
        units = f"FROM calibration_prediction p JOIN labeling_conversation c ON c.id = p.conversation_id WHERE p.id <= {SIZES[0]} AND p.id % 5 = 0"
        self._run(
            "INSERT INTO labeling_goldrow (version_id, position, conversation_id, turn, value, external_id, votes,"
            " ratings, annotators, decided_by, channel, cohort, attributes, stratum, inclusion_probability,"
            f" text_sha256, turns) SELECT {self.gold.id}, p.id, {columns}, c.external_id, '{{}}', '{{}}', 1, 'single',"
            f" c.channel, c.cohort, '{{}}', '', 0.2, '', '[]' {units}"
        )
        self._run(
            "INSERT INTO labeling_label (signal_id, annotator_id, conversation_id, turn, value, comment, late,"
            f" labeled_at, stored_at, metadata) SELECT {self.signal.id}, {self.annotator.id}, {columns}, '',"
            f" {'0' if connection.vendor == 'sqlite' else 'false'}, p.predicted_at, p.predicted_at, '{{}}' {units}"
        )
        DatasetVersion.objects.filter(id=self.gold.id).update(frozen_at=datetime.now(UTC), sha256="0" * 64)
        self.gold.refresh_from_db()

    def rows(self, start: int, end: int) -> Iterator[tuple[int, date, str, str, str]]:
        """Version, day, channel, cohort and value of the predictions, as ingest has them in its hands."""
        days = {}
        with connection.cursor() as cursor:
            for low in range(start, end, 100_000):
                cursor.execute(
                    "SELECT p.version_id, p.predicted_at, c.channel, c.cohort, p.value FROM calibration_prediction p "
                    "JOIN labeling_conversation c ON c.id = p.conversation_id WHERE p.id > %s AND p.id <= %s",
                    [low, min(low + 100_000, end)],
                )
                for version, at, channel, cohort, value in cursor.fetchall():
                    if at not in days:
                        days[at] = date.fromisoformat(str(at)[:10])
                    yield version, days[at], channel, cohort, value

    def _run(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)


TRUE = "i / 11"
SAID = "i / 11 + (CASE WHEN i * 7919 % 5 = 0 THEN 1 + i % 2 ELSE 0 END)"
"""The classifier agrees with four of five."""


def _word(number: str) -> str:
    return f"CASE ({number}) % 3 WHEN 0 THEN 'negative' WHEN 1 THEN 'neutral' ELSE 'positive' END"


def _numbers(start: int, end: int) -> str:
    if connection.vendor == "sqlite":
        return f"WITH RECURSIVE s(i) AS (SELECT {start + 1} UNION ALL SELECT i + 1 FROM s WHERE i < {end}) "
    return f"WITH s(i) AS (SELECT generate_series({start + 1}, {end})) "


def _day(number: str) -> str:
    """Noon of one of 364 days."""
    if connection.vendor == "sqlite":
        return f"date('2025-03-03', '+' || ({number} % {DAYS}) || ' days') || ' 12:00:00'"
    return f"timestamptz '2025-03-03 12:00:00+00' + ({number} % {DAYS}) * interval '1 day'"


def _fetch(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
