"""Adjudication: which disagreements come first, and what a ruling does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from labeling import adjudication, gold, queues, sampling
from labeling.adjudication import Scope, Unit
from labeling.errors import Conflict, Forbidden, Refused
from labeling.models import WHOLE, Conversation, Item, Queue, Ruling, Signal, Slot, User
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def signal() -> Signal:
    return make_signal()


def make_votes(signal: Signal, people: list[User], *answers: str) -> tuple[Queue, list[Conversation]]:
    """A queue of one conversation per answer string: one letter a person, n, 0 or p; - for no answer."""
    words = {"n": "negative", "0": "neutral", "p": "positive"}
    conversations = [make_conversation(f"v{number}") for number in range(len(answers))]
    queue = sampling.draw_queue(
        slug="votes", signals=[signal], size=len(answers), seed=1, overlap=len(people), members=people
    )
    for conversation, told in zip(conversations, answers, strict=True):
        item = Item.objects.get(queue=queue, conversation=conversation)
        for number, (person, letter) in enumerate(zip(people, told, strict=True)):
            if letter == "-":
                continue
            Slot.objects.filter(item=item, number=number).update(state="done", annotator=person)
            make_label(conversation, signal, person, words[letter], item=item)
    return queue, conversations


def people(count: int) -> list[User]:
    return [make_user(f"p{number}") for number in range(count)]


def test_it_works(signal: Signal) -> None:
    queue, conversations = make_votes(signal, people(2), "np", "nn")
    (one,) = adjudication.disagreements(Scope(queue=queue))
    assert (one.unit.conversation, one.votes) == (conversations[0].id, {"negative": 1, "positive": 1})
    ruling = adjudication.rule(
        reviewer=make_user("eva", role="reviewer"), signal=signal, conversation=conversations[0], value="negative",
        reason="slip", now=NOW,
    )  # fmt: skip
    assert (ruling.value, ruling.guideline) == ("negative", signal.guidelines.get())
    assert adjudication.disagreements(Scope(queue=queue)) == []
    assert len(adjudication.disagreements(Scope(queue=queue), ruled=True)) == 1


def test_the_most_informative_comes_first_and_the_unfinished_last(signal: Signal) -> None:
    queue, conversations = make_votes(signal, people(3), "nnp", "n0p", "nnn", "np-")
    found = adjudication.disagreements(Scope(queue=queue))
    assert [one.unit.conversation for one in found] == [conversations[number].id for number in (1, 0, 3)]
    assert [one.pending for one in found] == [0, 0, 1]
    assert found[0].spread == pytest.approx(1.585, abs=1e-3)


def test_alike_in_votes_the_furthest_apart_come_first_then_the_pair_that_is_mixed_up_most(signal: Signal) -> None:
    queue, conversations = make_votes(signal, people(2), "n0", "0p", "nn", "n0", "np", "p0", "0n")
    found = adjudication.disagreements(Scope(queue=queue))
    assert [one.unit.conversation for one in found] == [conversations[number].id for number in (4, 0, 3, 6, 1, 5)]


def test_numbers_do_not_come_before_all_words(signal: Signal) -> None:
    """A variance is in squares of whatever is counted; beside votes in bits it counts as a share of the widest."""
    minutes = make_signal("minutes", scale="interval")
    ann, ben = people(2)
    homes = [make_conversation() for _ in range(3)]
    queue = make_queue(signals=[signal, minutes], conversations=homes, members=[ann, ben], overlap=2)
    Slot.objects.all().delete()  # no label is still to come
    told = {minutes: [("10", "90"), ("10", "30"), ("5", "5")], signal: [("neutral", "neutral"), ("neutral",) * 2, ("negative", "positive")]}  # fmt: skip
    for asked, answers in told.items():
        for home, values in zip(homes, answers, strict=True):
            item = Item.objects.get(queue=queue, conversation=home)
            for person, value in zip((ann, ben), values, strict=True):
                make_label(home, asked, person, value, item=item)
    found = adjudication.disagreements(Scope(queue=queue))
    units = [(one.unit.conversation, one.unit.signal) for one in found]
    assert set(units[:2]) == {(homes[0].id, minutes.id), (homes[2].id, signal.id)}
    assert units[2:] == [(homes[1].id, minutes.id)]


def test_numbers_are_ordered_by_variance() -> None:
    assert adjudication.spread({"1": 1, "5": 1}, numeric=True) == 4
    assert adjudication.spread({"1": 1, "2": 1}, numeric=True) == 0.25
    assert adjudication.spread({"a": 3}) == 0


def test_a_later_ruling_supersedes_and_keeps_the_earlier(signal: Signal) -> None:
    queue, (conversation,) = make_votes(signal, people(2), "np")
    eva = make_user("eva", role="reviewer")
    about: dict[str, Any] = {"reviewer": eva, "signal": signal, "conversation": conversation, "now": NOW}
    first = adjudication.rule(value="negative", reason="slip", **about)
    second = adjudication.rule(value="neutral", reason="guideline_gap", note="sarcasm", **about)
    first.refresh_from_db()
    assert (first.value, first.superseded_at, second.superseded_at) == ("negative", NOW, None)
    shown = adjudication.case(Scope(queue=queue), Unit(conversation.id, WHOLE, signal.id))
    assert shown is not None and shown.ruling == second and shown.earlier == [first]


def test_a_withdrawn_ruling_opens_the_unit_and_is_kept(signal: Signal) -> None:
    queue, (conversation,) = make_votes(signal, people(2), "np")
    eva, fay = make_user("eva", role="reviewer"), make_user("fay", role="reviewer")
    unit: dict[str, Any] = {"signal": signal, "conversation": conversation, "now": NOW}
    with pytest.raises(Conflict, match="no decision here"):
        adjudication.withdraw(by=eva, **unit)
    first = adjudication.rule(reviewer=eva, value="negative", reason="slip", note="plain", **unit)
    with pytest.raises(Forbidden):
        adjudication.withdraw(by=User.objects.get(username="p0"), **unit)
    assert adjudication.withdraw(by=fay, **unit) == first
    assert len(adjudication.disagreements(Scope(queue=queue))) == 1 == adjudication.waiting_count(signal)
    assert [(row.open, row.ruled) for row in adjudication.overview()] == [(1, 0)]
    first.refresh_from_db()
    assert (first.value, first.reviewer, first.withdrawn_by, first.superseded_at) == ("negative", eva, fay, NOW)
    shown = adjudication.case(Scope(queue=queue), Unit(conversation.id, WHOLE, signal.id))
    assert shown is not None and (shown.ruling, shown.earlier) == (None, [first])
    assert (shown.to_correct(fay), shown.to_correct(eva)) == (first, None)
    with pytest.raises(Conflict, match="no decision here"):
        adjudication.withdraw(by=fay, **unit)
    again = adjudication.rule(reviewer=eva, value="neutral", reason="slip", **unit)
    with pytest.raises(Conflict, match="eva has decided this since"):
        adjudication.withdraw(by=fay, ruling=first.id, **unit)
    again.refresh_from_db()
    assert again.superseded_at is None


def test_frozen_gold_keeps_a_ruling_that_is_withdrawn_later(signal: Signal) -> None:
    queue, (conversation,) = make_votes(signal, people(2), "np")
    eva = make_user("eva", role="reviewer")
    adjudication.rule(reviewer=eva, value="neutral", reason="slip", signal=signal, conversation=conversation, now=NOW)
    about: dict[str, Any] = {"dataset": "g", "signal": signal, "queues": [queue], "aggregation": "adjudicated", "now": NOW}  # fmt: skip
    before = gold.freeze(**about)
    adjudication.withdraw(by=eva, signal=signal, conversation=conversation, now=NOW)
    after = gold.freeze(**about)
    assert gold.verify(version=before)
    assert [version.rows.get().value for version in (before, after)] == ["neutral", None]


def test_rulings_are_for_reviewers_and_for_what_was_labelled(signal: Signal) -> None:
    _, (conversation,) = make_votes(signal, people(2), "np")
    eva = make_user("eva", role="reviewer")
    about: dict[str, Any] = {"signal": signal, "conversation": conversation, "now": NOW, "reason": "slip"}
    with pytest.raises(Forbidden):
        adjudication.rule(reviewer=make_user("ann"), value="negative", **about)
    with pytest.raises(Refused, match="not one of the categories"):
        adjudication.rule(reviewer=eva, value="angry", **about)
    with pytest.raises(Refused, match="not one of guideline_gap"):
        adjudication.rule(reviewer=eva, value="negative", **(about | {"reason": "mood"}))
    with pytest.raises(Refused, match="nobody has labelled"):
        adjudication.rule(reviewer=eva, value="negative", **(about | {"conversation": make_conversation()}))
    assert not Ruling.objects.exists()


def test_late_labels_are_shown_but_are_no_votes(signal: Signal) -> None:
    team = people(2)
    queue, (conversation,) = make_votes(signal, team, "nn")
    late = make_user("late")
    make_label(conversation, signal, late, "positive", item=queue.items.get(), late=True)
    assert adjudication.disagreements(Scope(queue=queue)) == []
    shown = adjudication.case(Scope(queue=queue), Unit(conversation.id, WHOLE, signal.id))
    assert shown is not None and [label.late for label in shown.labels] == [False, False, True]


def test_labels_loaded_from_files_are_reviewed_by_signal(signal: Signal) -> None:
    conversation = make_conversation()
    for person, value in zip(people(2), ("negative", "positive"), strict=True):
        make_label(conversation, signal, person, value)
    assert len(adjudication.disagreements(Scope(signal=signal))) == 1
    (row,) = adjudication.overview()
    assert (row.scope.signal, row.open, row.ruled) == (signal, 1, 0)
    assert adjudication.waiting_count(signal) == adjudication.waiting_count() == 1


def test_one_more_label_adds_a_slot_for_a_further_member(signal: Signal) -> None:
    team = people(2)
    queue, _ = make_votes(signal, team, "np")
    item = queue.items.get()
    with pytest.raises(Conflict, match="every member"):
        adjudication.one_more_label(item=item)
    queues.add_members(queue=queue, members=[make_user("third")])
    slot = adjudication.one_more_label(item=item)
    assert (slot.number, slot.state, slot.position) == (2, "free", item.position)
    with pytest.raises(Conflict, match="still to come"):
        adjudication.one_more_label(item=item)
    assert [one.pending for one in adjudication.disagreements(Scope(queue=queue))] == [1]


def test_what_is_mixed_up_counts_pairs_of_people(signal: Signal) -> None:
    queue, conversations = make_votes(signal, people(3), "nn0", "n00", "nnn", "np-")
    mixed = adjudication.mixed_up(adjudication.votes_of(Scope(queue=queue)), signal=signal.id)
    assert [(one.first, one.second, one.pairs) for one in mixed] == [
        ("negative", "neutral", 4),
        ("negative", "positive", 1),
    ]
    # 4 mixed pairs against 1 + 3 alike on negative and 1 alike on neutral
    assert mixed[0].share == pytest.approx(4 / 9)
    assert {unit.conversation for unit in mixed[0].examples} == {conversations[0].id, conversations[1].id}


def test_the_overview_takes_a_fixed_number_of_queries(signal: Signal, django_assert_num_queries: Any) -> None:
    make_votes(signal, people(2), "np", "nn", "n0")
    with django_assert_num_queries(6):
        rows = adjudication.overview()
    assert [(str(row.scope.queue), row.open) for row in rows] == [("votes", 2)]
