"""Conversations and labels into the database: all of a file or nothing, and the same file twice is once."""

from __future__ import annotations

from typing import Any

import pytest

from labeling import ingest
from labeling.errors import Refused, RowError
from labeling.formats.jsonl import Record
from labeling.models import Conversation, Label, Queue, User
from tests.make import make_conversation, make_signal, make_user

pytestmark = pytest.mark.django_db


def records(*rows: dict[str, Any]) -> list[Record]:
    return [Record(number, row) for number, row in enumerate(rows, 1)]


def conversation(name: str = "c-1", *, turns: int = 2, **fields: Any) -> dict[str, Any]:
    return {"id": name, "turns": [{"role": "customer", "text": f"turn {n}"} for n in range(turns)]} | fields


def label(name: str = "c-1", value: Any = "negative", **fields: Any) -> dict[str, Any]:
    return {"conversation": name, "turn": None, "signal": "sentiment", "annotator": "ann", "value": value} | fields


def load(*rows: dict[str, Any]) -> dict[str, int]:
    return ingest.conversations(records=records(*rows)).as_dict()


def load_labels(*rows: dict[str, Any], partial: bool = False) -> dict[str, int]:
    return ingest.labels(records=records(*rows), partial=partial).as_dict()


def refusals(verb: Any, *rows: Any, **options: Any) -> list[RowError]:
    with pytest.raises(Refused) as refused:
        verb(records=records(*rows), **options)
    assert refused.value.status == 422
    return refused.value.errors


def test_it_works() -> None:
    row = conversation(source="zendesk", cohort="trial", started_at="2026-03-02T10:15:00+01:00", priority="high")
    assert load(row) == {"created": 1, "updated": 0, "unchanged": 0}
    found = Conversation.objects.get()
    assert (found.external_id, found.turn_count, found.channel, found.cohort) == ("c-1", 2, "unknown", "trial")
    assert found.started_at.isoformat() == "2026-03-02T09:15:00+00:00"
    assert found.metadata == {"priority": "high"}, "unknown fields are kept"


def test_again_is_unchanged_whatever_the_order_of_its_keys() -> None:
    row = conversation(attributes={"language": "en", "plan": "pro"}, channel="chat")
    load(row)
    same = dict(reversed(row.items())) | {"attributes": {"plan": "pro", "language": "en"}}
    assert load(same) == {"created": 0, "updated": 0, "unchanged": 1}
    assert load(row | {"channel": "voice"}) == {"created": 0, "updated": 1, "unchanged": 0}
    assert Conversation.objects.get().channel == "voice"


def test_one_bad_row_and_nothing_is_stored() -> None:
    errors = refusals(ingest.conversations, conversation("a"), conversation("b", turns=1, channel=5), {"turns": []})
    assert [(error.line, error.field) for error in errors] == [(2, "channel"), (3, "id")]
    assert not Conversation.objects.exists()


def test_a_partial_load_stores_the_good_rows_and_tells_of_the_bad() -> None:
    rows = [conversation("a"), conversation("b", channel=5), conversation("a", turns=3), conversation("c")]
    loaded = ingest.conversations(records=records(*rows), partial=True)
    assert (loaded.created, loaded.refused) == (2, 2)
    assert [(error.line, error.field) for error in loaded.errors] == [(2, "channel"), (3, "id")]
    assert "line 1" in loaded.errors[1].message
    assert set(Conversation.objects.values_list("external_id", flat=True)) == {"a", "c"}


def test_at_most_a_hundred_errors_are_told_and_all_are_counted() -> None:
    rows = [{"id": str(n)} for n in range(250)]
    assert len(refusals(ingest.conversations, *rows)) == 100
    loaded = ingest.conversations(records=records(*rows), partial=True)
    assert (loaded.refused, len(loaded.errors)) == (250, 100)


def test_an_update_may_not_cut_off_a_labelled_or_queued_turn() -> None:
    signal, ann = make_signal("intent", scale="nominal", unit="turn"), make_user("ann")
    load(conversation("labelled", turns=3), conversation("queued", turns=3), conversation("free", turns=3))
    by_name = {row.external_id: row for row in Conversation.objects.all()}
    Label.objects.create(conversation=by_name["labelled"], turn=2, signal=signal, annotator=ann, value="neutral")
    queue = Queue.objects.create(slug="q", title="q")
    queue.items.create(conversation=by_name["queued"], turn=2, position=0)
    shorter = [conversation(name, turns=2) for name in ("labelled", "queued", "free")]
    errors = refusals(ingest.conversations, *shorter)
    assert [(error.line, error.field) for error in errors] == [(1, "turns"), (2, "turns")]
    assert load(shorter[2])["updated"] == 1
    assert load(conversation("labelled", turns=4))["updated"] == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"id": "x" * 201}, "id"),
        ({"turns": [{"role": "robot", "text": ""}]}, "turns"),
        ({"turns": [{"role": "customer"}]}, "turns"),
        ({"turns": [{"role": "customer", "text": "a", "at": "yesterday"}]}, "turns"),
        ({"attributes": []}, "attributes"),
        ({"metadata": {"a": 1}, "a": 2}, "a"),
        ({"started_at": 5}, "started_at"),
        ({"attributes": {"n": float("inf")}}, "attributes"),
    ],
)
def test_what_is_wrong_names_its_field(fields: dict[str, Any], field: str) -> None:
    assert [error.field for error in refusals(ingest.conversations, conversation() | fields)] == [field]


def test_labels_of_somebody_unknown_make_a_person_who_cannot_sign_in() -> None:
    make_signal()
    make_conversation("c-1")
    load_labels(label())
    ann = User.objects.get(username="ann")
    assert (ann.is_active, ann.role, ann.has_usable_password()) == (False, "annotator", False)


def test_a_label_again_is_unchanged_and_another_answer_supersedes_it() -> None:
    make_signal()
    make_conversation("c-1")
    row = label(at="2026-03-02T10:00:00Z", seconds=4.2, confidence=0.5, comment="?", batch=7)
    assert load_labels(row)["created"] == 1
    assert load_labels(row)["unchanged"] == 1
    assert load_labels(row | {"value": "positive"}) == {"created": 0, "updated": 1, "unchanged": 0}
    old, new = Label.objects.order_by("id")
    assert (old.value, old.superseded_at is None, new.value, new.superseded_at) == ("negative", False, "positive", None)
    assert load_labels(row | {"value": "positive"})["unchanged"] == 1


def test_a_label_given_in_a_queue_is_never_superseded_by_a_file() -> None:
    signal, found, ann = make_signal(), make_conversation("c-1"), make_user("ann")
    item = Queue.objects.create(slug="q", title="q").items.create(conversation=found, position=0)
    given = Label.objects.create(conversation=found, signal=signal, annotator=ann, item=item, value="negative")
    assert load_labels(label())["unchanged"] == 1
    assert load_labels(label(value="positive"))["created"] == 1
    given.refresh_from_db()
    assert given.superseded_at is None


def test_labels_are_held_to_signal_unit_turn_and_value() -> None:
    make_signal()
    make_signal("intent", scale="nominal", unit="turn")
    make_conversation("c-1")
    rows = [
        label(signal="mood"),
        label("c-9"),
        label(turn=0),
        label(signal="intent"),
        label(signal="intent", turn=2),
        label(value="angry"),
        label(annotator=None),
        label(value=None),
        label(turn=True),
        label(seconds=-1),
    ]
    errors = refusals(ingest.labels, *rows)
    assert [(error.line, error.field) for error in errors] == list(
        enumerate(
            ["signal", "conversation", "turn", "turn", "turn", "value", "annotator", "value", "turn", "seconds"], 1
        )
    )
    assert not Label.objects.exists()
    assert not User.objects.exists()


def test_number_of_queries_does_not_grow_with_rows(django_assert_max_num_queries: Any) -> None:
    make_signal()
    Conversation.objects.bulk_create(
        Conversation(external_id=f"b-{n}", turns=[], content_sha256=f"{n:064x}") for n in range(300)
    )
    rows = [label(f"b-{n}", annotator=f"a{n % 7}") for n in range(300)]
    load_labels(*rows)
    changed = [row | {"value": "positive"} for row in rows]
    with django_assert_max_num_queries(15):
        assert load_labels(*changed)["updated"] == 300
