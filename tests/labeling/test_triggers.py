"""What is frozen or append-only holds in the database itself, against plain SQL."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from calibration import classifiers
from calibration.models import Classifier
from labeling import adjudication, gold, triggers
from labeling.formats.jsonl import Record
from labeling.ingest import labels
from labeling.models import DatasetVersion, Label
from tests.make import make_conversation, make_label, make_signal, make_user

pytestmark = pytest.mark.django_db


def make_gold(*, values: tuple[str, ...] = ("negative", "positive")) -> DatasetVersion:
    signal = make_signal()
    rows = [
        {"conversation": make_conversation().external_id, "signal": "sentiment", "annotator": "ann", "value": value}
        for value in values
    ]
    labels(records=[Record(number, row) for number, row in enumerate(rows, 1)])
    return gold.freeze(dataset="gold", signal=signal, aggregation="single", now=timezone.now())


def refused(statement: str) -> str:
    with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    return str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE labeling_goldrow SET value = 'neutral'",
        "DELETE FROM labeling_goldrow",
        "UPDATE labeling_datasetversion SET sha256 = sha256",
        "UPDATE labeling_datasetversion SET frozen_at = NULL",
        "DELETE FROM labeling_datasetversion",
    ],
)
def test_frozen_gold_does_not_change(statement: str) -> None:
    version = make_gold()
    assert "does not change" in refused(statement)
    assert gold.verify(version=version)


def test_a_frozen_version_takes_no_rows() -> None:
    make_gold()
    columns = (
        "version_id, conversation_id, external_id, turn, value, votes, ratings, annotators, decided_by, channel, cohort"
    )
    rest = "attributes, stratum, inclusion_probability, text_sha256, turns"
    statement = (
        f"INSERT INTO labeling_goldrow (position, {columns}, {rest}) "
        f"SELECT 99, version_id, conversation_id, external_id, 7, value, votes, ratings, annotators, decided_by, channel, cohort, "
        f"{rest} FROM labeling_goldrow"
    )
    assert "takes no rows" in refused(statement)


@pytest.mark.parametrize("statement", ["UPDATE labeling_label SET value = 'neutral'", "DELETE FROM labeling_label"])
def test_labels_are_append_only(statement: str) -> None:
    make_gold()
    assert "append-only" in refused(statement)


def test_a_label_can_be_superseded() -> None:
    make_gold()
    assert Label.objects.update(superseded_at=timezone.now()) == 2


def test_a_ruling_ends_once() -> None:
    """Whether a later one took its place or somebody withdrew it: who and when stays as it was."""
    eva, signal, conversation = make_user("eva", role="reviewer"), make_signal(), make_conversation()
    make_label(conversation, signal, eva, "neutral")
    unit: dict[str, Any] = {"signal": signal, "conversation": conversation, "now": timezone.now()}
    adjudication.rule(reviewer=eva, value="negative", reason="slip", **unit)
    assert "CHECK" in refused(f"UPDATE labeling_ruling SET withdrawn_by_id = {eva.id}").upper()
    adjudication.withdraw(by=eva, **unit)
    for change in ("superseded_at = NULL, withdrawn_by_id = NULL", "withdrawn_by_id = NULL"):
        assert "stays as it is" in refused(f"UPDATE labeling_ruling SET {change}")
    assert "append-only" in refused("UPDATE labeling_ruling SET value = 'positive'")


@pytest.mark.parametrize(
    "statement", ["UPDATE calibration_classifierversion SET prompt = 'x'", "DELETE FROM calibration_classifierversion"]
)
def test_pinned_versions_stay_as_they_are(statement: str) -> None:
    classifier = Classifier.objects.create(slug="judge", title="Judge", signal=make_signal())
    classifiers.register(classifier=classifier, version="1", content={"kind": "openai", "prompt": "y"})
    assert "pinned" in refused(statement)


def test_every_guard_stands_after_all_migrations() -> None:
    """A migration that rebuilds a guarded table must put its triggers up anew."""
    names = {guard.name for guard in triggers.ALL}
    source = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    with connection.cursor() as cursor:
        cursor.execute(source)
        standing = {row[0] for row in cursor.fetchall()}
    assert names <= standing


def test_replacing_a_row_is_no_way_around() -> None:
    make_gold()
    if connection.vendor == "sqlite":
        columns = "id, dataset_id, number, aggregation, min_labels, sha256, item_count, unresolved_count, label_count, card, created_at"
        statement = (
            f"INSERT OR REPLACE INTO labeling_datasetversion ({columns}) SELECT {columns} FROM labeling_datasetversion"
        )
        assert "does not change" in refused(statement)
