"""Predictions and outcomes into the database, and the counts that are kept of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db.models import Count, Sum

from calibration import ingest
from calibration.models import Classifier, ClassifierVersion, Outcome, Prediction, PredictionRollup
from labeling.errors import Refused
from labeling.formats.jsonl import Record
from labeling.models import Conversation
from tests.make import make_conversation, make_signal

pytestmark = pytest.mark.django_db


def records(*rows: dict[str, Any]) -> list[Record]:
    return [Record(number, row) for number, row in enumerate(rows, 1)]


def prediction(conversation: str = "c-1", value: Any = "negative", **fields: Any) -> dict[str, Any]:
    row = {"conversation": conversation, "classifier": "judge", "version": "v1", "signal": "sentiment", "value": value}
    return row | fields


def load(*rows: dict[str, Any], partial: bool = False) -> dict[str, int]:
    return ingest.predictions(records=records(*rows), partial=partial).as_dict()


def counted() -> list[tuple[Any, ...]]:
    """The rollup as it would be counted from the rows themselves."""
    found = []
    for row in Prediction.objects.select_related("conversation"):
        at = row.predicted_at or row.conversation.started_at
        failed = row.status != "ok"
        value = row.status if failed else "" if row.number is not None else row.value
        found.append(
            (row.version_id, at and at.date(), row.conversation.channel, row.conversation.cohort, value, failed)
        )
    return sorted(((*key, found.count(key)) for key in set(found)), key=str)


def rolled_up() -> list[tuple[Any, ...]]:
    columns = ("version_id", "day", "channel", "cohort", "value", "failed", "count")
    return sorted(PredictionRollup.objects.values_list(*columns), key=str)


def test_it_works() -> None:
    make_signal()
    make_conversation("c-1")
    assert load(prediction(probabilities={"negative": 0.8, "neutral": 0.15, "positive": 0.05}, score=-0.4)) == {
        "created": 1,
        "updated": 0,
        "unchanged": 0,
    }
    found = Prediction.objects.get()
    assert (found.value, found.status, found.score, str(found.version)) == ("negative", "ok", -0.4, "judge@v1")
    assert found.version.kind == "loaded"


def test_again_is_unchanged_and_another_answer_updates() -> None:
    make_signal()
    make_conversation("c-1")
    row = prediction(at="2026-03-02T09:00:00Z", rationale="complains", cost=0.01, extra={"k": [1]})
    load(row)
    assert load(row)["unchanged"] == 1
    assert load(row | {"value": "positive"}) == {"created": 0, "updated": 1, "unchanged": 0}
    assert Prediction.objects.get().value == "positive"
    assert Prediction.objects.get().metadata == {"extra": {"k": [1]}}


def test_counts_follow_every_change() -> None:
    make_signal()
    for name, channel in (("c-1", "chat"), ("c-2", "voice"), ("c-3", "voice")):
        make_conversation(name, channel=channel, started_at=datetime(2026, 3, 1, 8, tzinfo=UTC))
    at = "2026-03-02T23:59:59Z"
    load(prediction(at=at), prediction("c-2"), prediction("c-3", None, status="unparsable"))
    assert rolled_up() == counted()
    load(prediction(value="positive", at=at), prediction("c-3", "negative"))
    assert rolled_up() == counted()
    assert not PredictionRollup.objects.filter(count=0).exists()


def test_counts_follow_conversations_to_another_slice_and_day() -> None:
    make_signal()
    rows = [
        {"id": f"c-{n}", "channel": "chat", "cohort": "trial", "turns": [], "started_at": "2026-03-01"} for n in "12"
    ]
    ingest.conversations(records=records(*rows))
    load(prediction(), prediction("c-2", at="2026-03-05T10:00:00Z"))
    moved = [row | {"channel": "voice", "started_at": "2026-04-01"} for row in rows]
    assert ingest.conversations(records=records(*moved)).updated == 2
    assert rolled_up() == counted()
    assert set(PredictionRollup.objects.values_list("channel", "day")) == {
        ("voice", date(2026, 4, 1)),
        ("voice", date(2026, 3, 5)),
    }


def test_interval_predictions_are_counted_by_their_sums() -> None:
    make_signal("stars", scale="interval", minimum=1, maximum=5)
    for name in ("c-1", "c-2"):
        make_conversation(name, channel="chat", cohort="trial")
    load(prediction(value=3, signal="stars"), prediction("c-2", 4.5, signal="stars"))
    assert PredictionRollup.objects.values_list("value", "count", "total", "total_squares").get() == ("", 2, 7.5, 29.25)
    load(prediction(value=5, signal="stars"))
    assert PredictionRollup.objects.values_list("value", "count", "total", "total_squares").get() == ("", 2, 9.5, 45.25)


def test_long_multilabel_answers_are_counted_apart() -> None:
    values = tuple(f"a_category_with_quite_a_long_name_{n}" for n in range(9))
    make_signal("topics", scale="multilabel", values=values)
    for name in ("c-1", "c-2"):
        make_conversation(name)
    load(prediction(value=list(values), signal="topics"), prediction("c-2", list(values[:-1]), signal="topics"))
    assert PredictionRollup.objects.count() == 2


def test_a_new_classifier_needs_its_signal_and_keeps_it() -> None:
    make_signal()
    make_signal("tone", scale="nominal")
    make_conversation("c-1")
    nameless = {name: value for name, value in prediction().items() if name != "signal"}
    with pytest.raises(Refused) as refused:
        load(nameless)
    assert [(e.line, e.field) for e in refused.value.errors] == [(1, "signal")]
    assert not Classifier.objects.exists()
    load(prediction())
    assert load(nameless)["unchanged"] == 1
    with pytest.raises(Refused) as refused:
        load(prediction(signal="tone", version="v2"))
    assert "judge scores sentiment, not tone" in refused.value.errors[0].message
    assert ClassifierVersion.objects.count() == 1


def test_rounded_probabilities_pass_and_wrong_ones_do_not() -> None:
    make_signal()
    make_conversation("c-1")
    load(prediction(probabilities={"negative": 0.33, "neutral": 0.33, "positive": 0.33}))
    for wrong in ({"negative": 0.5, "neutral": 0.4}, {"negative": True}, {"negative": 1.1}, {"mixed": 1.0}):
        with pytest.raises(Refused) as refused:
            load(prediction(probabilities=wrong))
        assert refused.value.errors[0].field == "probabilities"


def test_number_of_queries_does_not_grow_with_rows(django_assert_max_num_queries: Any) -> None:
    make_signal()
    Conversation.objects.bulk_create(
        Conversation(external_id=f"b-{n}", turns=[], content_sha256=f"{n:064x}") for n in range(400)
    )
    with django_assert_max_num_queries(25):
        load(*(prediction(f"b-{n}") for n in range(400)))
    assert PredictionRollup.objects.aggregate(n=Sum("count"), cells=Count("id")) == {"n": 400, "cells": 1}


def test_outcomes_are_the_same_by_whose_which_and_when() -> None:
    make_conversation("c-1")
    row = {"conversation": "c-1", "customer": "cu-9", "kind": "csat", "value": 4, "at": "2026-03-02T10:00:00Z"}
    reopened = {"conversation": "c-1", "kind": "reopened", "value": True}
    assert ingest.outcomes(records=records(row, reopened)).created == 2
    assert ingest.outcomes(records=records(row, reopened)).unchanged == 2
    assert ingest.outcomes(records=records(row | {"value": 5})).updated == 1
    assert Outcome.objects.get(kind="csat").value == 5
    for wrong, field in (
        ({"kind": "mood"}, "kind"),
        ({"value": "high"}, "value"),
        ({"conversation": "c-9"}, "conversation"),
    ):
        with pytest.raises(Refused) as refused:
            ingest.outcomes(records=records(row | wrong))
        assert refused.value.errors[0].field == field
