"""The agreement report from a million pairs, against scikit-learn in a loop over the same slices; and its page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from django.core.cache import cache
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from sklearn import metrics

from bench.measure import Measure, best_of, median_of
from calibration.evidence import pairing, reports
from calibration.models import Classifier, ClassifierVersion
from labeling.models import Category, Dataset, DatasetVersion, Signal, User

PAIRS = 1_000_000
VALUES = ("negative", "neutral", "positive")
CHANNELS, COHORTS = 4, 6
BY = ("channel", "cohort")


def run() -> list[Measure]:
    with bench_database():
        dataset_version, version = _fill(PAIRS)
        rows = _rows(dataset_version)
        ours = {"dataset_version": dataset_version, "classifier": version.classifier, "by": BY}

        def first() -> None:
            cache.clear()
            reports.build(**ours)

        loop, read = best_of(lambda: _scikit_learn(rows), times=1), best_of(lambda: _rows(dataset_version), times=1)
        aggregate = best_of(first, times=2)
        pairing.store(dataset_version=dataset_version, version=version)
        stored = best_of(first, times=3)
        warm = best_of(lambda: reports.build(**ours))
        page = _page()
    name = f"agreement report, {PAIRS:,} pairs, {1 + CHANNELS + COHORTS + CHANNELS * COHORTS} slices"
    return [
        Measure(f"{name}: from rows", aggregate, loop + read, "s", "reading rows + scikit-learn", "< 0.5"),
        Measure(f"{name}: from stored pairs", stored, loop, "s", "scikit-learn on arrays in memory", "< 0.05"),
        Measure(f"{name}: warm", warm, loop, "s", "scikit-learn on arrays in memory", "< 0.05"),
        Measure("report page, server time, the same million", page * 1000, None, "ms", "", "< 300"),
    ]


@contextmanager
def bench_database() -> Iterator[None]:
    """An empty database beside the real one; SQLite's is a file, as a real one is."""
    real, settings = connection.settings_dict["NAME"], connection.settings_dict["TEST"]
    setup_test_environment()
    with TemporaryDirectory() as folder:
        settings["NAME"] = str(Path(folder) / "bench.sqlite3") if connection.vendor == "sqlite" else settings["NAME"]
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(real, verbosity=0)
            teardown_test_environment()


def _fill(n: int) -> tuple[DatasetVersion, ClassifierVersion]:
    """A million conversations, gold rows and predictions, made by the database itself."""
    signal = Signal.objects.create(slug="bench", title="Bench", scale="ordinal")
    for position, value in enumerate(VALUES):
        Category.objects.create(signal=signal, position=position, value=value, label=value, score=position - 1)
    classifier = Classifier.objects.create(slug="bench", title="bench", signal=signal)
    version = ClassifierVersion.objects.create(classifier=classifier, version="v1", content_sha256="0" * 64)
    dataset = Dataset.objects.create(slug="bench", title="bench", signal=signal)
    dataset_version = DatasetVersion.objects.create(dataset=dataset, number=1, aggregation="majority", item_count=n)
    now = "'2026-03-01 00:00:00+00:00'"
    numbers = (
        f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {n}) "
        if connection.vendor == "sqlite"
        else f"WITH s(i) AS (SELECT generate_series(1, {n})) "
    )
    channel, cohort = f"'channel' || (i % {CHANNELS})", f"'cohort' || (i / 7 % {COHORTS})"
    word = "CASE ({}) % 3 WHEN 0 THEN 'negative' WHEN 1 THEN 'neutral' ELSE 'positive' END"
    # The classifier agrees with four of five.
    gold, said = word.format("i / 11"), word.format("i / 11 + (CASE WHEN i * 7919 % 5 = 0 THEN 1 + i % 2 ELSE 0 END)")
    statements = [
        "INSERT INTO labeling_conversation (id, external_id, source, channel, cohort, customer, started_at, turns,"
        " turn_count, attributes, summary, audio, metadata, content_sha256, created_at, updated_at) "
        f"{numbers} SELECT i, 'b-' || i, '', {channel}, {cohort}, '', {now}, '[]', 0, '{{}}', '', '', '{{}}', '',"
        f" {now}, {now} FROM s",
        "INSERT INTO labeling_goldrow (version_id, position, conversation_id, external_id, turn, value, votes, ratings,"
        " annotators, decided_by, channel, cohort, attributes, stratum, inclusion_probability, text_sha256, turns) "
        f"{numbers} SELECT {dataset_version.id}, i, i, 'b-' || i, -1, {gold}, '{{}}', '{{}}', 1, 'single', {channel},"
        f" {cohort}, '{{}}', '', CASE i % 2 WHEN 0 THEN 1.0 ELSE 0.5 END, '', '[]' FROM s",
        "INSERT INTO calibration_prediction (version_id, conversation_id, turn, value, status, rationale, stored_at,"
        f" metadata) {numbers} SELECT {version.id}, i, -1, {said}, 'ok', '', {now}, '{{}}' FROM s",
    ]
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("ANALYZE")
    DatasetVersion.objects.filter(id=dataset_version.id).update(frozen_at=datetime.now(UTC), sha256="0" * 64)
    return DatasetVersion.objects.select_related("dataset__signal").get(id=dataset_version.id), version


def _rows(dataset_version: DatasetVersion) -> list[np.ndarray]:
    """Gold, answers, weights, channel and cohort, as one would fetch them for scikit-learn."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT g.value, p.value, 1.0 / g.inclusion_probability, g.channel, g.cohort FROM labeling_goldrow g "
            "JOIN calibration_prediction p ON p.conversation_id = g.conversation_id AND p.turn = g.turn "
            "WHERE g.version_id = %s",
            [dataset_version.id],
        )
        return [np.array(column) for column in zip(*cursor.fetchall(), strict=True)]


def _scikit_learn(rows: list[np.ndarray]) -> list[tuple[float, ...]]:
    """Accuracy, kappa, weighted kappa, confusion, precision and recall of every slice; no intervals, alpha or AC1."""
    gold, said, weights, channel, cohort = rows
    whole = np.ones(len(gold), dtype=bool)
    channels, cohorts = np.unique(channel), np.unique(cohort)
    masks = [whole, *(channel == name for name in channels), *(cohort == name for name in cohorts)]
    masks += [(channel == one) & (cohort == other) for one in channels for other in cohorts]
    found = []
    for mask in masks:
        g, p, w = gold[mask], said[mask], weights[mask]
        options = {"labels": list(VALUES), "sample_weight": w}
        metrics.confusion_matrix(g, p, **options)
        metrics.precision_recall_fscore_support(g, p, **options)
        found.append(
            (
                metrics.accuracy_score(g, p, sample_weight=w),
                metrics.cohen_kappa_score(g, p, **options),
                metrics.cohen_kappa_score(g, p, weights="quadratic", **options),
            )
        )
    return found


def _page() -> float:
    """Seconds of the server for the report page, signed in."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES={"staticfiles": plain}, ALLOWED_HOSTS=["*"]):
        client = Client()
        client.force_login(User.objects.create_user(username="bench", role="engineer"))
        return median_of(lambda: client.get("/classifiers/bench/"), times=10)
