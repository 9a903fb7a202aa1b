"""The guideline as annotators read it: safe Markdown, examples that give nothing away, and what changed."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from labeling import adjudication, examples, guidelines, wording
from labeling.models import Conversation, Queue, Signal, User
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return make_user("ann")


@pytest.fixture
def queue(ann: User) -> Queue:
    return make_queue("mood", signals=[make_signal("sentiment")], members=[ann])


def decide(signal: Signal, conversation: Conversation, value: str = "negative", **kw: object) -> None:
    for name, said in (("b1", value), ("b2", "positive")):
        user = User.objects.filter(username=name).first() or make_user(name)
        make_label(conversation, signal, user, said)
    reviewer = User.objects.filter(username="rita").first() or make_user("rita", role="reviewer")
    reason = str(kw.pop("reason", "slip"))
    adjudication.rule(
        reviewer=reviewer,
        signal=signal,
        conversation=conversation,
        value=value,
        reason=reason,
        now=timezone.now(),
        note=str(kw.pop("note", "")),
    )


def page(user: User, path: str = "/label/mood/guideline/") -> str:
    client = Client()
    client.force_login(user)
    return client.get(path).content.decode()


def test_it_works(ann: User, queue: Queue) -> None:
    signal = queue.signals.get()
    guidelines.publish(signal=signal, text="# Mood\n\n- *how* it ends\n\n<script>bad()</script>", by=None, note="lists")
    decide(signal, make_conversation(texts=("It is still broken", "Sorry", "Bye")), note="the end counts")
    html = page(ann)
    assert "<em>how</em>" in html and "<script>bad()" not in html
    assert "It is still broken … Bye" in html and "the end counts" in html
    assert "Version 2" in html and "<del>Judge what the customer feels at the end.</del>" in html
    assert "It is still broken … Bye" in page(ann, "/label/mood/")


def test_only_members_read_it(ann: User, queue: Queue) -> None:
    client = Client()
    client.force_login(make_user("stranger", role="admin"))
    assert client.get("/label/mood/guideline/").status_code == 404
    assert Client().get("/label/mood/guideline/").status_code == 302


@pytest.mark.parametrize("state", ["open", "paused"])
def test_an_item_of_an_open_queue_of_ones_own_is_no_example_answered_or_not(
    ann: User, queue: Queue, state: str
) -> None:
    signal = queue.signals.get()
    own = queue.items.select_related("conversation")[0].conversation
    Conversation.objects.filter(id=own.id).update(turns=[{"role": "customer", "text": "A secret of the queue"}])
    decide(signal, own)
    Queue.objects.update(state=state)
    assert examples.of([signal.id], reader=ann) == {signal.id: []}
    make_label(own, signal, ann, "negative", item=queue.items.all()[0])
    assert examples.of([signal.id], reader=ann) == {signal.id: []}
    Queue.objects.update(state="closed")
    assert [shown.label for shown in examples.of([signal.id], reader=ann)[signal.id]] == ["Negative"]


def test_broken_and_ambiguous_items_and_superseded_rulings_teach_nothing(ann: User, queue: Queue) -> None:
    signal = queue.signals.get()
    decide(signal, make_conversation(), reason="broken_data")
    decide(signal, make_conversation(), reason="ambiguous")
    assert examples.of([signal.id], reader=ann)[signal.id] == []


def test_a_few_of_each_category_the_newest_first(ann: User, queue: Queue) -> None:
    signal = queue.signals.get()
    for number in range(4):
        decide(signal, make_conversation(texts=(f"number {number}",)))
    decide(signal, make_conversation(texts=("glad " * 200,)), "neutral")
    shown = examples.of([signal.id], reader=ann)[signal.id]
    assert [(one.label, len(one.examples)) for one in shown] == [("Negative", 2), ("Neutral", 1)]
    assert [one.text for one in shown[0].examples] == ["number 3", "number 2"]
    assert len(shown[1].examples[0].text) <= examples.LONGEST


def test_words_of_a_recogniser_are_read_in_the_usual_shapes_and_else_left_out() -> None:
    turn = {"text": "my card", "words": [{"word": "my", "probability": 0.9}, {"text": "card", "confidence": 0.3}]}
    assert wording.words(turn) == [["my", 0.9], ["card", 0.3]]
    for words in ("my card", [1], [{"text": "other", "confidence": 1}], [{"text": "my card"}], [{"text": 1}]):
        assert wording.words({"text": "my card", "words": words}) == []
