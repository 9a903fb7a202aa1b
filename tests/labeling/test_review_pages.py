"""The pages and the API of adjudication."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from labeling import adjudication, guidelines
from labeling.models import WHOLE, Item, Label, Queue, Ruling, Signal, Slot, User
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def queue() -> Queue:
    """Two items, two people: they differ on the first, with a comment, and agree on the second."""
    ann, ben = make_user("ann"), make_user("ben")
    signal = make_signal()
    guideline = signal.guidelines.get()
    conversations = [make_conversation("c-1"), make_conversation("c-2")]
    made = make_queue("pilot", signals=[signal], conversations=conversations, overlap=2, members=[ann, ben])
    for item, values in zip(made.items.order_by("position"), (("negative", "positive"), ("neutral",) * 2), strict=True):
        for number, (person, value) in enumerate(zip((ann, ben), values, strict=True)):
            Slot.objects.filter(item=item, number=number).update(state="done", annotator=person)
            comment = "ironic?" if number else ""
            make_label(item.conversation, signal, person, value, item=item, comment=comment, guideline=guideline)
    return made


def unit_of(item: Item) -> str:
    return f"{item.conversation_id}.{WHOLE}.{Signal.objects.get(slug='sentiment').id}"


def posted(item: Item, **kw: Any) -> dict[str, Any]:
    return {"unit": unit_of(item), "value": "negative", "reason": "slip", "note": "", "next": ""} | kw


def test_it_works(client: Client, queue: Queue) -> None:
    eva = make_user("eva", role="reviewer")
    client.force_login(eva)
    shown = client.get("/review/pilot/").text
    assert "1 says Negative; 1 says Positive." in shown and "ironic?" in shown
    item = queue.items.first()
    response = client.post("/review/queue/pilot/decide/", posted(item, note="plain"), follow=True)
    assert "No disagreement is open here." in response.text
    ruling = Ruling.objects.get()
    assert (ruling.value, ruling.reviewer, ruling.item, ruling.note) == ("negative", eva, item, "plain")


def test_names_are_not_in_the_page_until_it_is_decided(client: Client, queue: Queue) -> None:
    client.force_login(make_user("eva", role="reviewer"))
    shown = client.get("/review/pilot/").text
    assert ">ann<" not in shown and ">ben<" not in shown and "Annotator A" in shown
    item = queue.items.first()
    client.post("/review/queue/pilot/decide/", posted(item))
    assert ">ben<" in client.get(f"/review/pilot/?unit={unit_of(item)}").text
    Ruling.objects.update(superseded_at="2026-01-01T00:00Z")
    Queue.objects.update(hides_names=False)
    assert ">ben<" in client.get("/review/pilot/").text


def test_undo_opens_the_last_one_again_with_what_was_chosen(client: Client, queue: Queue) -> None:
    eva = make_user("eva", role="reviewer")
    client.force_login(eva)
    item = queue.items.order_by("position")[0]
    done = client.post("/review/queue/pilot/decide/", posted(item, reason="ambiguous", note="plain"), follow=True)
    ruling = Ruling.objects.get()
    assert "No disagreement is open here." in done.text and f'name="ruling" value="{ruling.id}"' in done.text
    undone = client.post("/review/queue/pilot/withdraw/", {"unit": unit_of(item), "ruling": ruling.id}, follow=True)
    assert "c-1 is open again." in undone.text and "disagreement 1 of 1 open" in undone.text
    assert 'value="negative" data-key="1" aria-pressed="true"' in undone.text and 'value="plain"' in undone.text
    assert 'value="ambiguous" checked' in undone.text and "Before: Negative, by eva, withdrawn by eva on" in undone.text
    assert "undo" not in undone.text and "Withdraw" not in undone.text and ">ben<" not in undone.text
    refused = client.post("/review/queue/pilot/withdraw/", {"unit": unit_of(item), "ruling": ruling.id})
    assert refused.status_code == 409 and "there is no decision here to withdraw" in refused.text
    client.force_login(make_user("fay", role="reviewer"))
    assert 'aria-pressed="true"' not in client.get("/review/pilot/").text


def test_looking_at_a_page_withdraws_nothing(client: Client, queue: Queue) -> None:
    client.force_login(make_user("eva", role="reviewer"))
    item = queue.items.order_by("position")[0]
    client.post("/review/queue/pilot/decide/", posted(item))
    assert client.get("/review/queue/pilot/withdraw/").status_code == 405
    shown = client.get(f"/review/pilot/?unit={unit_of(item)}").text
    assert "Decided: Negative." in shown and "Withdraw the decision" in shown and "Ask one more" not in shown
    assert Ruling.objects.get().superseded_at is None


def test_what_somebody_has_decided_since_is_not_undone(client: Client, queue: Queue) -> None:
    client.force_login(make_user("eva", role="reviewer"))
    item = queue.items.order_by("position")[0]
    client.post("/review/queue/pilot/decide/", posted(item))
    seen = Ruling.objects.get()
    fay = make_user("fay", role="reviewer")
    about: dict[str, Any] = {"signal": seen.signal, "conversation": item.conversation, "now": timezone.now()}
    adjudication.rule(reviewer=fay, value="neutral", reason="slip", **about)
    refused = client.post("/review/queue/pilot/withdraw/", posted(item, value="positive", note="mine", ruling=seen.id))
    assert refused.status_code == 409 and "fay has decided this since: look again" in refused.text
    assert "Decided: Neutral." in refused.text and 'value="mine"' in refused.text
    assert ">undo: back" not in client.get("/review/pilot/", {"unit": unit_of(item)}).text
    # Who may decide again may withdraw, whoever decided.
    newest = Ruling.objects.get(superseded_at__isnull=True)
    client.post("/review/queue/pilot/withdraw/", posted(item, ruling=newest.id))
    newest.refresh_from_db()
    assert newest.withdrawn_by is not None and newest.withdrawn_by.username == "eva"


def test_review_is_for_reviewers(client: Client, queue: Queue) -> None:
    addresses = ["/review/pilot/", "/review/queue/pilot/mixed/"]
    for address in addresses:
        assert client.get(address)["Location"].startswith("/sign-in/")
        client.force_login(User.objects.get(username="ann"))
        assert client.get(address).status_code == 403
        client.force_login(make_user())
        assert client.get(address).status_code == 404
        client.logout()
    item = queue.items.first()
    client.force_login(User.objects.get(username="ann"))
    assert client.post("/review/queue/pilot/decide/", posted(item)).status_code == 403
    assert client.post("/review/queue/pilot/mend/", posted(item, text="x")).status_code == 403
    assert client.post("/review/queue/pilot/withdraw/", posted(item)).status_code == 403
    client.force_login(make_user())
    assert client.post("/review/queue/pilot/withdraw/", posted(item)).status_code == 404
    assert client.post("/review/queue/pilot/decide/", posted(item)).status_code == 404
    assert not Ruling.objects.exists()


def test_a_unit_of_another_queue_is_not_there(client: Client, queue: Queue) -> None:
    client.force_login(make_user(role="reviewer"))
    other = make_queue("other", items=1)
    assert client.get(f"/review/other/?unit={unit_of(queue.items.first())}").status_code == 404
    assert client.get("/review/pilot/?unit=nonsense").status_code == 404
    assert client.post("/review/queue/pilot/decide/", posted(other.items.first())).status_code == 404


def test_one_more_person_is_asked(client: Client, queue: Queue) -> None:
    client.force_login(make_user(role="reviewer"))
    item = queue.items.first()
    refused = client.post("/review/queue/pilot/more/", posted(item))
    assert refused.status_code == 409 and "every member" in refused.text
    queue.memberships.create(user=make_user("third"))
    assert client.post("/review/queue/pilot/more/", posted(item)).status_code == 302
    assert item.slots.filter(state="free").count() == 1


def closed(queue: Queue) -> None:
    Queue.objects.filter(id=queue.id).update(state="closed")


def test_a_closed_queue_offers_nothing_that_asks_for_labels(client: Client, queue: Queue) -> None:
    queue.memberships.create(user=make_user("third"))
    rita = make_user("rita", role="reviewer")
    guidelines.publish(signal=Signal.objects.get(), text="Irony is negative.", by=rita)
    client.force_login(rita)
    asks = ("Ask one more person instead", "Ask one more label for it", "Ask again all of them", "Ask again the 1")
    for shown in (client.get("/review/pilot/").text, client.get("/review/signal/sentiment/").text):
        assert asks[0] in shown and ("closed" in shown) is False
    assert all(words in client.get("/review/pilot/").text for words in asks)
    closed(queue)
    for address in ("/review/pilot/", "/review/signal/sentiment/"):
        shown = client.get(address).text
        assert "The queue is closed; for further labels an engineer can open it." in shown and "/queues/" not in shown
        assert not any(words in shown for words in asks) and "one more label" not in shown
    client.force_login(make_user("eve", role="engineer"))
    assert (
        'The queue is closed; for further labels <a href="/queues/pilot/">open it</a>'
        in client.get("/review/pilot/").text
    )


def test_nobody_is_asked_while_a_label_is_still_to_come(client: Client, queue: Queue) -> None:
    queue.memberships.create(user=make_user("third"))
    item = queue.items.order_by("position")[0]
    adjudication.one_more_label(item=item)
    client.force_login(make_user(role="reviewer"))
    shown = client.get("/review/pilot/").text
    assert shown.count("A label is still to come.") == 1 and "Ask one more" not in shown
    closed(queue)  # now none comes
    shown = client.get("/review/pilot/").text
    assert "still to come" not in shown and "The queue is closed" in shown
    assert client.get("/api/v1/reviews/?queue=pilot").json()["results"][0]["pending"] == 0


def test_what_is_refused_meanwhile_stands_beside_the_item_with_all_that_was_typed(client: Client, queue: Queue) -> None:
    item = queue.items.order_by("position")[0]
    rita = make_user("rita", role="reviewer")
    guidelines.publish(signal=Signal.objects.get(), text="Irony is negative.", by=rita)
    client.force_login(rita)
    closed(queue)
    typed = posted(item, reason="ambiguous", note="two readings")
    for verb in ("more", "further", "requeue"):
        refused = client.post(f"/review/queue/pilot/{verb}/", typed | {"signal": "sentiment"})
        assert refused.status_code == 409 and refused.templates[0].name == "labeling/review.html"
        assert "pilot is closed: an engineer can open it" in refused.text and ">c-1<" not in refused.text
        assert 'value="two readings"' in refused.text and 'value="ambiguous" checked' in refused.text
    refused = client.post("/review/queue/pilot/decide/", posted(item, value="odd", note="two readings"))
    assert refused.status_code == 422 and "is not one of the categories" in refused.text
    assert 'value="two readings"' in refused.text and not Ruling.objects.exists()
    long = {"unit": unit_of(item), "text": "x" * 100_001, "note": "irony again"}
    refused = client.post("/review/queue/pilot/mend/", long)
    assert refused.status_code == 422 and long["text"] in refused.text and 'value="irony again"' in refused.text


def test_what_is_refused_after_the_item_went_stands_on_the_page(client: Client, queue: Queue) -> None:
    """Another reviewer has asked again everything: of the item no label is left."""
    item = queue.items.order_by("position")[0]
    Label.objects.update(superseded_at="2026-01-01T00:00Z")
    client.force_login(make_user(role="reviewer"))
    refused = client.post("/review/queue/pilot/requeue/", {"unit": unit_of(item), "signal": "sentiment"})
    assert refused.status_code == 422 and refused.templates[0].name == "labeling/review_done.html"
    assert "is older than its guideline" in refused.text


def test_one_more_person_is_asked_also_where_all_labels_of_a_signal_are_looked_at(client: Client, queue: Queue) -> None:
    queue.memberships.create(user=make_user("third"))
    client.force_login(make_user(role="reviewer"))
    assert 'formaction="/review/signal/sentiment/more/"' in client.get("/review/signal/sentiment/").text
    item = queue.items.order_by("position")[0]
    assert client.post("/review/signal/sentiment/more/", posted(item)).status_code == 302
    assert item.slots.filter(state="free").count() == 1


def test_the_guideline_is_mended_beside_the_item(client: Client, queue: Queue) -> None:
    client.force_login(make_user(role="reviewer"))
    item = queue.items.first()
    client.post("/review/queue/pilot/mend/", {"unit": unit_of(item), "text": "Irony is negative.", "note": ""})
    newest = Signal.objects.get().guidelines.first()
    assert (newest.version, newest.text, newest.note) == (2, "Irony is negative.", "after c-1")


def test_where_nobody_shares_a_unit_nothing_is_claimed(client: Client) -> None:
    make_queue("fresh", items=1)
    client.force_login(make_user(role="reviewer"))
    shown = client.get("/review/queue/fresh/mixed/").text
    assert "No two people have labelled the same unit here yet." in shown and "the same answers" not in shown
    assert "asks for one label an item" in shown


def test_what_is_mixed_up_links_to_examples(client: Client, queue: Queue) -> None:
    client.force_login(make_user(role="reviewer"))
    shown = client.get("/review/queue/pilot/mixed/").text
    assert "“Negative” and “Positive” are mixed up most." in shown
    assert f"?unit={unit_of(queue.items.first())}" in shown


def test_a_turn_of_a_megabyte_is_folded_and_whole(client: Client) -> None:
    client.force_login(make_user(role="reviewer"))
    words = "word " * 200_000 + "THE END"
    conversation, mood = make_conversation("c-big", texts=(words, "ok")), make_signal("mood")
    for person, value in (("ann", "negative"), ("ben", "positive")):
        make_label(conversation, mood, make_user(person), value)
    shown = client.get("/review/signal/mood/").text
    before, _, folded = shown.partition("<summary>Show the other 980,007 characters</summary>")
    assert "THE END" not in before and folded.startswith("word word") and folded.count("THE END") == 1
    assert before.count("word ") + folded.count("word ") == 200_000 and before.count("<details") == 1


def test_sets_and_numbers_can_be_decided(client: Client) -> None:
    client.force_login(make_user(role="reviewer"))
    topics = make_signal("topics", scale="multilabel", values=("bill", "delay"))
    stars = make_signal("stars", scale="interval", minimum=1, maximum=5)
    conversation = make_conversation("c-9")
    for person, topic, star in (("ann", '["bill"]', "2"), ("ben", '["bill", "delay"]', "4")):
        user = make_user(person)
        make_label(conversation, topics, user, topic)
        make_label(conversation, stars, user, star)
    for signal, value, stored in ((topics, ["delay", "bill"], '["bill", "delay"]'), (stars, "3.5", "3.5")):
        assert client.get(f"/review/signal/{signal.slug}/").status_code == 200
        unit = f"{conversation.id}.{WHOLE}.{signal.id}"
        sent = {"unit": unit, "value": value, "reason": "ambiguous"}
        assert client.post(f"/review/signal/{signal.slug}/decide/", sent).status_code == 302
        assert Ruling.objects.get(signal=signal).value == stored
    sent["value"] = "nine"
    assert client.post("/review/signal/stars/decide/", sent).status_code == 422


def test_a_page_of_a_long_list_takes_a_fixed_number_of_queries(
    client: Client, queue: Queue, django_assert_max_num_queries: Any
) -> None:
    signal, ann, ben = Signal.objects.get(), *User.objects.order_by("username")[:2]
    for _ in range(20):
        conversation = make_conversation()
        make_label(conversation, signal, ann, "negative")
        make_label(conversation, signal, ben, "positive")
    client.force_login(make_user(role="reviewer"))
    with django_assert_max_num_queries(16):
        client.get("/review/signal/sentiment/")
    with django_assert_max_num_queries(10):
        assert client.get("/api/v1/reviews/?signal=sentiment").json()["count"] == 21


def test_reviews_over_http(client: Client, queue: Queue) -> None:
    assert client.get("/api/v1/reviews/?queue=pilot").status_code == 401
    client.force_login(User.objects.get(username="ann"))
    assert client.get("/api/v1/reviews/?queue=pilot").status_code == 403
    client.force_login(make_user("eva", role="reviewer"))
    assert client.get("/api/v1/reviews/?queue=nope").status_code == 404
    assert client.get("/api/v1/reviews/").status_code == 422
    (row,) = client.get("/api/v1/reviews/?queue=pilot").json()["results"]
    assert (row["conversation"], row["turn"], row["votes"]) == ("c-1", None, {"negative": 1, "positive": 1})
    assert [label["annotator"] for label in row["labels"]] == [None, None]
    sent = {"queue": "pilot", "conversation": "c-1", "signal": "sentiment", "value": "positive", "reason": "slip"}
    made = client.post("/api/v1/reviews/", sent, "application/json")
    assert made.status_code == 201 and made.json()["reviewer"] == "eva"
    assert client.get("/api/v1/reviews/?queue=pilot").json()["count"] == 0
    unit = {name: sent[name] for name in ("queue", "conversation", "signal")}
    for name, status in (("ann", 403), ("zoe", 403), ("eva", 200)):
        client.force_login(User.objects.filter(username=name).first() or make_user(name))
        gone = client.post("/api/v1/reviews/withdraw/", unit | {"ruling": made.json()["id"]}, "application/json")
        assert gone.status_code == status
    assert (gone.json()["value"], gone.json()["withdrawn_by"]) == ("positive", "eva")
    assert client.get("/api/v1/reviews/?queue=pilot").json()["count"] == 1
    none = client.post("/api/v1/reviews/withdraw/", unit, "application/json")
    assert none.status_code == 409 and none.json()["code"] == "not_ruled"
    elsewhere = client.post("/api/v1/reviews/withdraw/", unit | {"conversation": "c-9"}, "application/json")
    assert elsewhere.status_code == 404
    wrong = client.post("/api/v1/reviews/", sent | {"value": "odd"}, "application/json")
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["field"] == "value"
