"""Two loads of the same rows at the same moment, on PostgreSQL: one is stored, the other is told so, and counts stay right."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction

from calibration import ingest, rollups
from calibration.models import Prediction, PredictionRollup
from labeling.errors import Conflict
from labeling.formats.jsonl import Record
from labeling.loading import Loaded
from labeling.models import Conversation
from tests.make import make_conversation, make_signal

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def during(first: Callable[[], object], second: Callable[[], Loaded]) -> list[Loaded | Exception]:
    """What came of `second`, begun while the transaction of `first` is open, so that it meets rows that it cannot see."""
    came: list[Loaded | Exception] = []

    def run() -> None:
        try:
            came.append(second())
        except Exception as error:
            came.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        first()
        thread.start()
        _wait_until_it_waits_for_us(thread)
    thread.join()
    return came


def _wait_until_it_waits_for_us(thread: threading.Thread) -> None:
    """Until the other load stands at a row of ours; the database says so."""
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    with connection.cursor() as cursor:
        while thread.is_alive():
            cursor.execute(waits)
            if cursor.fetchone()[0]:
                return


def conversations(text: str) -> Loaded:
    data: dict[str, Any] = {"id": "c-1", "turns": [{"role": "customer", "text": text}]}
    return ingest.conversations(records=[Record(1, data)])


def prediction(value: str, conversation: str, version: str = "v1") -> Loaded:
    named = {"classifier": "judge", "version": version, "signal": "sentiment"}
    data = {"conversation": conversation, "value": value, **named}
    return ingest.predictions(records=[Record(1, data)])


def test_new_conversations_of_two_loads_are_stored_once() -> None:
    (came,) = during(lambda: conversations("one"), lambda: conversations("other"))
    assert isinstance(came, Conflict) and came.code == "stored_meanwhile"
    assert [one.turns[0]["text"] for one in Conversation.objects.all()] == ["one"]


def test_an_answer_that_two_loads_replace_leaves_the_counts_once() -> None:
    make_signal()
    home, other = make_conversation().external_id, make_conversation().external_id
    prediction("negative", home)
    prediction("negative", other)
    (came,) = during(lambda: prediction("neutral", home), lambda: prediction("positive", home))
    assert isinstance(came, Loaded) and came.updated == 1
    assert Prediction.objects.get(conversation__external_id=home).value == "positive"
    counted = dict(PredictionRollup.objects.values_list("value", "count"))
    assert counted == {"negative": 1, "positive": 1}


def moved(channel: str) -> Loaded:
    data: dict[str, Any] = {"id": "c-1", "channel": channel, "turns": [{"role": "customer", "text": "Hello"}]}
    return ingest.conversations(records=[Record(1, data)])


def counted() -> dict[tuple[str, str], int]:
    rows = PredictionRollup.objects.values_list("channel", "value", "count")
    return {(channel, value): count for channel, value, count in rows}


@pytest.mark.parametrize("first", ["prediction", "move"])
def test_a_conversation_that_moves_while_it_is_scored_is_counted_where_it_is(first: str) -> None:
    make_signal()
    moved("chat")
    prediction("negative", "c-1")
    verbs: list[Callable[[], Loaded]] = [lambda: prediction("positive", "c-1"), lambda: moved("voice")]
    (came,) = during(*(verbs if first == "prediction" else reversed(verbs)))
    assert isinstance(came, Loaded) and came.updated == 1
    assert counted() == {("voice", "positive"): 1}


def test_a_first_score_of_a_conversation_that_moves_is_counted_where_it_is() -> None:
    make_signal()
    moved("chat")
    (came,) = during(lambda: prediction("positive", "c-1"), lambda: moved("voice"))
    assert isinstance(came, Loaded) and came.updated == 1
    assert counted() == {("voice", "positive"): 1}


def test_two_moves_of_a_conversation_count_it_once() -> None:
    make_signal()
    moved("chat")
    prediction("negative", "c-1")
    (came,) = during(lambda: moved("voice"), lambda: moved("email"))
    assert isinstance(came, Loaded) and came.updated == 1
    assert counted() == {("email", "negative"): 1}


def test_two_loads_score_a_conversation_without_waiting_for_each_other() -> None:
    make_signal()
    moved("chat")
    for version in ("v1", "v2"):
        prediction("negative", "c-1", version)
    (came,) = during(
        lambda: rollups.held(Conversation.objects.all(), "id"), lambda: prediction("positive", "c-1", "v2")
    )
    assert isinstance(came, Loaded) and came.updated == 1
