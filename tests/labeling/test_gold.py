"""Freezing: what counts, what stays open, what is refused, and that nothing is ever half frozen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from labeling import gold
from labeling.errors import Conflict, Refused
from labeling.formats.jsonl import Record
from labeling.ingest import conversations, labels
from labeling.models import Conversation, Dataset, DatasetVersion, GoldRow, Label, Queue, Ruling, Signal
from tests.make import make_conversation, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def give(conversation: Conversation, votes: dict[str, Any], signal: str = "sentiment") -> None:
    rows = [
        {"conversation": conversation.external_id, "signal": signal, "annotator": name, "value": value}
        for name, value in votes.items()
    ]
    labels(records=[Record(number, row) for number, row in enumerate(rows, 1)])


def freeze(signal: Signal, aggregation: str = "majority", **kw: Any) -> DatasetVersion:
    return gold.freeze(dataset="gold", signal=signal, aggregation=aggregation, now=NOW, **kw)


def values(version: DatasetVersion) -> list[str | None]:
    return list(version.rows.order_by("position").values_list("value", flat=True))


def test_it_works() -> None:
    signal = make_signal()
    give(make_conversation("a"), {"ann": "negative", "ben": "negative", "cleo": "neutral"})
    version = freeze(signal)
    assert (str(version), version.item_count, version.label_count) == ("gold@1", 1, 3)
    [item] = gold.items(version)
    assert (item.value, item.votes, item.decided_by) == ("negative", {"negative": 2, "neutral": 1}, "majority")
    assert gold.verify(version=version)


def test_ties_and_too_few_labels_stay_open_and_are_counted() -> None:
    signal = make_signal()
    give(make_conversation("a"), {"ann": "negative", "ben": "neutral"})
    give(make_conversation("b"), {"ann": "negative"})
    give(make_conversation("c"), {"ann": "positive", "ben": "positive"})
    version = freeze(signal, min_labels=2)
    assert values(version) == [None, None, "positive"]
    assert (version.item_count, version.unresolved_count) == (1, 2)


def test_a_ruling_decides_only_where_it_is_asked_for() -> None:
    signal = make_signal()
    conversation = make_conversation("a")
    give(conversation, {"ann": "negative", "ben": "neutral"})
    reviewer = make_user(role="reviewer")
    Ruling.objects.create(conversation=conversation, signal=signal, reviewer=reviewer, value="neutral", reason="slip")
    assert values(freeze(signal)) == [None]
    version = freeze(signal, "adjudicated")
    assert values(version) == ["neutral"]
    assert version.rows.get().decided_by == "adjudication"


def test_the_mean_of_an_interval_signal() -> None:
    signal = make_signal("effort", scale="interval", minimum=1, maximum=7)
    give(make_conversation("a"), {"ann": 2, "ben": 4, "cleo": 4.5}, "effort")
    version = freeze(signal)
    row = version.rows.get()
    assert (version.aggregation, row.decided_by, row.number) == ("mean", "mean", 3.5)


def test_dawid_skene_follows_the_reliable_ones() -> None:
    signal = make_signal(scale="nominal")
    for number in range(40):
        truth = ("negative", "positive")[number % 2]
        other = ("positive", "negative")[number % 2]
        noisy = {"cleo": truth if number % 5 else other, "dev": ("negative", "positive")[(number // 3) % 2]}
        give(make_conversation(f"c{number:02}"), {"ann": truth, "ben": truth, **noisy})
    give(make_conversation("z"), {"ann": "negative", "dev": "positive"})
    assert values(freeze(signal, "dawid-skene"))[-1] == "negative"


def test_late_and_superseded_labels_do_not_count() -> None:
    signal = make_signal()
    conversation = make_conversation("a")
    give(conversation, {"ann": "negative"})
    give(conversation, {"ann": "positive"})
    Label.objects.create(conversation=conversation, signal=signal, annotator=make_user(), value="neutral", late=True)
    [item] = gold.items(freeze(signal))
    assert item.votes == {"positive": 1}


def test_only_the_labels_of_the_named_queue_and_its_inclusion_probability() -> None:
    signal, ann = make_signal(), make_user()
    drawn, other = make_conversation("a"), make_conversation("b")
    queue = make_queue(signals=[signal], conversations=[drawn])
    item = queue.items.get()
    queue.items.update(inclusion_probability=0.25, stratum="chat")
    Label.objects.create(conversation=drawn, signal=signal, annotator=ann, value="neutral", item=item)
    give(other, {"ben": "negative"})
    [found] = gold.items(freeze(signal, queues=[queue]))
    assert (found.conversation, found.inclusion_probability, found.stratum) == ("a", 0.25, "chat")


def test_loaded_labels_count_with_probability_one() -> None:
    signal = make_signal()
    give(make_conversation("a"), {"ann": "negative"})
    assert [item.inclusion_probability for item in gold.items(freeze(signal, "single"))] == [1.0]


def drawn(signal: Signal, *conversations: Conversation) -> Queue:
    queue = make_queue(signals=[signal], conversations=conversations)
    queue.items.update(inclusion_probability=0.25, stratum="chat")
    return queue


def chances(version: DatasetVersion) -> dict[str, float]:
    return {item.conversation: item.inclusion_probability for item in gold.items(version)}


def test_what_was_labeled_before_a_draw_owes_it_nothing() -> None:
    signal = make_signal()
    before, after = make_conversation("a"), make_conversation("b")
    give(before, {"ann": "negative"})
    drawn(signal, before, after)
    give(after, {"ann": "negative"})
    assert chances(freeze(signal)) == {"a": 1.0, "b": 0.25}


def test_a_queue_whose_labels_came_by_file() -> None:
    signal = make_signal()
    before, after, outside = make_conversation("a"), make_conversation("b"), make_conversation("c")
    give(before, {"ann": "negative"})
    queue = drawn(signal, before, after)
    assert chances(freeze(signal, queues=[queue])) == {"a": 0.25}
    give(after, {"ann": "negative"})
    give(outside, {"ann": "negative"})
    assert chances(freeze(signal, queues=[queue])) == {"b": 0.25}


def test_two_draws_of_one_item_combine() -> None:
    signal = make_signal()
    conversation = make_conversation("a")
    drawn(signal, conversation)
    drawn(signal, conversation)
    give(conversation, {"ann": "negative"})
    assert chances(freeze(signal)) == {"a": pytest.approx(0.4375)}


def test_a_new_version_knows_its_parent_and_what_changed() -> None:
    signal = make_signal()
    first, second = make_conversation("a"), make_conversation("b")
    give(first, {"ann": "negative"})
    freeze(signal)
    give(first, {"ann": "positive"})
    give(second, {"ann": "neutral"})
    version = freeze(signal)
    assert (version.number, version.parent and version.parent.number) == (2, 1)
    assert version.card["changes"] == {"added": 1, "removed": 0, "changed": 1}
    assert gold.changed_items(version=version)[0] == {
        "conversation": "a",
        "turn": None,
        "before": "negative",
        "after": "positive",
    }


def test_what_has_not_changed_has_the_same_hash_again() -> None:
    signal = make_signal()
    give(make_conversation("a"), {"ann": "negative"})
    first, second = freeze(signal), freeze(signal)
    assert (second.number, second.sha256) == (2, first.sha256)
    assert second.card["changes"] == {"added": 0, "removed": 0, "changed": 0}


def test_an_update_of_the_conversation_changes_nothing_that_is_frozen() -> None:
    signal = make_signal()
    give(make_conversation("a"), {"ann": "negative"})
    version = freeze(signal)
    before = list(gold.items(version))
    row = {
        "id": "a",
        "channel": "voice",
        "turns": [{"role": "agent", "text": "changed"}, {"role": "agent", "text": "."}],
    }
    conversations(records=[Record(1, row)])
    assert list(gold.items(version)) == before
    assert gold.verify(version=version)


def test_a_freeze_that_is_killed_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = make_signal()
    give(make_conversation("a"), {"ann": "negative"})

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gold, "_seal", killed)
    with pytest.raises(KeyboardInterrupt):
        freeze(signal)
    assert (Dataset.objects.count(), DatasetVersion.objects.count(), GoldRow.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("aggregation", "scale", "message"),
    [("mean", "nominal", "interval"), ("dawid-skene", "interval", "one category"), ("best", "nominal", "not one of")],
)
def test_a_rule_that_does_not_fit_is_refused(aggregation: str, scale: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        freeze(make_signal(scale=scale), aggregation)


def test_nothing_to_freeze_is_refused() -> None:
    with pytest.raises(Refused, match="no labels"):
        freeze(make_signal())


def test_a_dataset_stays_with_its_signal() -> None:
    give(make_conversation("a"), {"ann": "negative"}) if make_signal() else None
    freeze(Signal.objects.get())
    other = make_signal("tone")
    give(make_conversation("b"), {"ann": "negative"}, "tone")
    with pytest.raises(Conflict, match="gold of sentiment"):
        freeze(other)
