"""Hidden repeats and gold checks: they look like items, are nobody's vote, and are kept for what they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from labeling import adjudication, checks, gold, labels, leasing, queries, questions, queues
from labeling.adjudication import Scope
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import CheckAnswer, Conversation, Label, Queue, Ruling, Slot, Submission, User
from tests.make import make_conversation, make_known, make_label, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def work(
    annotator: User, queue: Queue, *, value: str = "negative", most: int = 1000, now: datetime | None = None
) -> list[Slot]:
    """Label until nothing is left (or `most` acts); the slots in the order in which they came."""
    slug = queue.queue_signals.get().signal.slug
    seen: list[Slot] = []
    begun = Submission.objects.count()
    while len(seen) < most:
        slot = leasing.lease(annotator=annotator, queue=queue, now=now or timezone.now())
        if slot is None:
            break
        labels.submit(
            annotator=annotator, slot_id=slot.id, answers=[{"signal": slug, "value": value}],
            key=f"{annotator.id}-{begun + len(seen)}", now=now or timezone.now(), seconds=4.0,
        )  # fmt: skip
        seen.append(slot)
    return seen


def check_in_hand(ann: User, queue: Queue) -> Slot:
    for _ in range(200):
        slot = leasing.lease(annotator=ann, queue=queue, now=timezone.now())
        assert slot is not None
        if slot.is_check:
            return slot
        work(ann, queue, most=1)
    raise AssertionError("no check came")


def test_it_works(ann: User) -> None:
    queue = make_queue(items=60, members=[ann], repeat_share=0.2, repeat_after_items=5)
    seen = work(ann, queue)
    repeats = [slot for slot in seen if slot.asks_again_id]
    assert len(seen) - len(repeats) == 60
    assert 8 <= len(repeats) <= 15
    assert Label.objects.count() == 60
    assert CheckAnswer.objects.count() == len(repeats)
    assert all(one.first is not None and one.first.value == one.value for one in CheckAnswer.objects.all())


def test_an_item_comes_again_only_after_so_many_others_and_once(ann: User) -> None:
    queue = make_queue(items=60, members=[ann], repeat_share=0.25, repeat_after_items=12)
    seen = work(ann, queue)
    first = {slot.item_id: place for place, slot in enumerate(seen) if slot.item_id}
    again = [(slot.asks_again_id, place) for place, slot in enumerate(seen) if slot.asks_again_id]
    assert again
    assert min(place - first[item] for item, place in again) > 12
    assert len({item for item, _ in again}) == len(again)


def test_an_item_comes_again_only_after_so_long(ann: User) -> None:
    queue = make_queue(items=40, members=[ann], repeat_share=0.25, repeat_after_items=0, repeat_after_minutes=60)
    assert not [slot for slot in work(ann, queue, most=20) if slot.asks_again_id]
    Submission.objects.update(created_at=timezone.now() - timedelta(minutes=61))
    assert [slot for slot in work(ann, queue) if slot.asks_again_id]


def test_a_repeat_changes_neither_the_label_nor_the_vote_nor_the_gold(ann: User) -> None:
    queue = make_queue(items=30, members=[ann], repeat_share=0.3, repeat_after_items=3)
    signal = queue.queue_signals.get().signal
    work(ann, queue, most=15)
    kept = list(Label.objects.order_by("id").values_list("id", "value", "superseded_at"))
    work(ann, queue, value="positive")
    assert CheckAnswer.objects.filter(value="positive", first__value="negative").exists()
    assert list(Label.objects.order_by("id").values_list("id", "value", "superseded_at"))[: len(kept)] == kept
    assert adjudication.disagreements(Scope(queue=queue)) == []
    version = gold.freeze(dataset="g", signal=signal, queues=[queue], aggregation="majority", now=NOW)
    assert (version.item_count, version.label_count, version.unresolved_count) == (30, 30, 0)
    progress = queues.progress([queue])[queue.id]
    assert (progress.items, progress.finished, progress.wanted, progress.done) == (30, 30, 30, 30)


def test_a_gold_check_is_a_unit_of_known_answer_and_enters_nothing(ann: User) -> None:
    queue = make_queue(items=40, members=[ann], gold_share=0.2)
    make_known(queue, ["negative", "positive"] * 10)
    before = Label.objects.count()
    seen = work(ann, queue)
    asked = [slot for slot in seen if slot.known_item_id]
    assert 5 <= len(asked) <= 14
    assert len({slot.known_item_id for slot in asked}) == len(asked)
    assert Label.objects.count() == before + 40
    right = CheckAnswer.objects.filter(known__row__value="negative").count()
    assert right == sum(slot.unit.answers.get().row.value == "negative" for slot in asked)
    assert queues.members(queue)[0].done == 40


def test_nobody_is_checked_with_what_they_have_labelled(ann: User) -> None:
    queue = make_queue(items=20, members=[ann], gold_share=0.4)
    make_known(queue, ["negative"] * 3)
    for known in queue.known_items.all():
        make_label(known.conversation, queue.queue_signals.get().signal, ann, "negative")
    assert not [slot for slot in work(ann, queue) if slot.known_item_id]


def test_units_that_the_queue_asks_are_no_checks(ann: User) -> None:
    home = make_conversation()
    signal = make_signal()
    make_label(home, signal, make_user(), "negative")
    version = gold.freeze(dataset="g", signal=signal, aggregation="single", now=NOW)
    queue = make_queue(signals=[signal], conversations=[home], members=[ann])
    assert checks.know(queue=queue, versions=[version]) == 0


def shape(value: Any) -> Any:
    """The form of a JSON answer: names and types, without the values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def test_page_and_api_cannot_tell_a_check_from_an_item(ann: User, client: Client) -> None:
    """Every answer has the same form, the counts go on by one, ids are in no order, and no word gives it away."""
    queue = make_queue("mood", items=40, members=[ann], repeat_share=0.2, gold_share=0.2, repeat_after_items=0)
    make_known(queue, ["negative"] * 20, explanation="because")
    client.force_login(ann)
    slug = queue.queue_signals.get().signal.slug
    items, answers, kinds = [], [], []
    body: dict[str, Any] = {}
    while True:
        response = client.post("/api/v1/queues/mood/next/", body, content_type="application/json")
        if response.status_code == 204:
            break
        item = response.json()
        page = client.get("/label/mood/").content.decode()
        assert "again" not in page and "known" not in page and "because" not in page
        slot = Slot.objects.get(id=item["assignment"])
        kinds.append("item" if slot.item_id else "repeat" if slot.asks_again_id else "known")
        told = client.post(
            f"/api/v1/assignments/{slot.id}/submit/",
            {"labels": [{"signal": slug, "value": "negative"}], "key": str(len(items)), "seconds": 1.0},
            content_type="application/json",
        )
        assert told.status_code == 201
        items.append(item)
        answers.append(told.json())
    assert {"item", "repeat", "known"} == set(kinds)
    assert len({json.dumps(shape(item), sort_keys=True) for item in items}) == 1
    assert len({json.dumps(shape(answer), sort_keys=True) for answer in answers}) == 1
    assert [item["progress"]["done"] for item in items] == list(range(len(items)))
    # An early check that has nothing to ask about yet gives way to an item: only that changes the end that was told.
    ends = [item["progress"]["done"] + item["progress"]["left"] for item in items]
    assert sorted(ends, reverse=True) == ends
    checks_at = [place for place, kind in enumerate(kinds) if kind != "item" and place]
    assert all(ends[place] == ends[place - 1] for place in checks_at)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_queue_with_gold_checks_tells_no_dates(ann: User, client: Client, share: float) -> None:
    """Gold is often of another time: a date beyond the queue's own would tell a check. Times of turns begin at the first."""

    def at(day: int, *minutes: int) -> dict[str, Any]:
        moments = [datetime(2026, 3, day, 9, minute, tzinfo=UTC) for minute in minutes]
        turns = [{"role": "customer", "text": "Hi", "at": moment.isoformat()} for moment in moments]
        return {"started_at": moments[0], "turns": turns}

    queue = make_queue("mood", members=[ann], conversations=[make_conversation(**at(20, 0, 3)) for _ in range(4)])
    make_known(queue, ["negative"] * 3)
    for one in queue.known_items.all():
        Conversation.objects.filter(id=one.conversation_id).update(**at(1, 10, 13))
    Queue.objects.filter(id=queue.id).update(gold_share=share)
    client.force_login(ann)
    slug = queue.queue_signals.get().signal.slug
    seen = []
    for number in range(4):
        item = client.post("/api/v1/queues/mood/next/", {}, content_type="application/json").json()
        page = client.get("/label/mood/").content.decode()
        state = json.loads(page.split('id="state"')[1].split(">", 1)[1].split("</script>")[0])
        undated = item["conversation"]["started_at"] is None and "2026-03" not in json.dumps(item["conversation"])
        assert undated == ("2026-03" not in json.dumps(state["item"]["conversation"]))
        assert undated == bool(share)
        if share:
            assert [turn["start"] for turn in item["conversation"]["turns"]] == [0, 180]
        seen.append(Slot.objects.get(id=item["assignment"]).is_check)
        body = {"labels": [{"signal": slug, "value": "negative"}], "key": str(number)}
        client.post(f"/api/v1/assignments/{item['assignment']}/submit/", body, content_type="application/json")
        back = client.post("/api/v1/queues/mood/undo/", {}, content_type="application/json").json()
        assert (back["conversation"]["started_at"] is None) == bool(share)
        client.post(
            f"/api/v1/assignments/{back['assignment']}/submit/",
            body | {"key": f"{number}b"},
            content_type="application/json",
        )
    assert any(seen) == bool(share)


def test_ids_of_assignments_are_in_no_order() -> None:
    queue = make_queue(items=30)
    made = list(queue.slots.order_by("position").values_list("id", flat=True))
    assert made != sorted(made)
    assert all(0 < one < 2**53 for one in made)


def test_a_check_that_is_asked_for_twice_is_the_same(ann: User) -> None:
    queue = make_queue(items=40, members=[ann], repeat_share=0.4, repeat_after_items=0)
    slot = check_in_hand(ann, queue)
    again = leasing.lease(annotator=ann, queue=queue, now=NOW)
    assert again is not None and again.id == slot.id
    ahead = leasing.lease(annotator=ann, queue=queue, now=NOW, holding=[slot.id])
    assert ahead is not None and ahead.id != slot.id
    assert leasing.release(annotator=ann, slot_id=slot.id, now=NOW)
    assert not leasing.release(annotator=ann, slot_id=slot.id, now=NOW)
    assert [one.id for one in work(ann, queue)].count(slot.id) == 1  # it comes back where one is due


def test_a_check_that_was_prefetched_and_given_back_is_the_next_again(ann: User) -> None:
    queue = make_queue(items=40, members=[ann], gold_share=0.5)
    make_known(queue, ["positive"] * 20)
    while True:
        on_screen = leasing.lease(annotator=ann, queue=queue, now=NOW)
        assert on_screen is not None
        ahead = leasing.lease(annotator=ann, queue=queue, now=NOW, holding=[on_screen.id])
        assert ahead is not None
        if ahead.is_check:
            break
        work(ann, queue, most=1)
    left = leasing.place(annotator=ann, queue=queue).left
    leasing.release(annotator=ann, slot_id=ahead.id, now=NOW)
    assert leasing.place(annotator=ann, queue=queue).left == left
    assert queries.my_queues(ann)[0].left == left
    back = leasing.lease(annotator=ann, queue=queue, now=NOW, holding=[on_screen.id])
    assert back is not None and back.id == ahead.id
    assert leasing.place(annotator=ann, queue=queue).left == left


@pytest.mark.parametrize("kind", ["repeat", "gold"])
def test_who_takes_checks_back_holds_two_and_meets_each_again_once(ann: User, kind: str) -> None:
    """However many of the acts that are undone were checks; the count of what is left goes up by one with each.

    At two repeats in five acts there is always an item to ask again where one is due, whatever the seed of queue and person."""
    shares = {"repeat_share": 0.4, "repeat_after_items": 0} if kind == "repeat" else {"gold_share": 0.5}
    queue = make_queue(items=20, members=[ann], **shares)
    if kind == "gold":
        make_known(queue, ["positive"] * 15)
    before = [one.id for one in work(ann, queue, most=14)]
    on_screen = leasing.lease(annotator=ann, queue=queue, now=timezone.now())
    assert on_screen is not None
    ahead = leasing.lease(annotator=ann, queue=queue, now=timezone.now(), holding=[on_screen.id])
    assert ahead is not None
    holding, left = [on_screen.id, ahead.id], leasing.place(annotator=ann, queue=queue).left
    for number, taken in enumerate(reversed(before[4:]), start=1):
        back = labels.undo(annotator=ann, queue=queue, now=timezone.now(), holding=holding)
        assert back is not None and back.slot.id == taken
        held = set(queue.slots.filter(annotator=ann, state="leased").values_list("id", flat=True))
        assert held == {taken, holding[0]}
        assert leasing.place(annotator=ann, queue=queue).left == left + number
        holding = [taken, holding[0]]
    assert queue.slots.filter(state="waiting").count() > leasing.MOST_HELD
    after = [one.id for one in work(ann, queue)]
    assert set(before[4:]) <= set(after) and len(after) == len(set(after))
    assert not queue.slots.filter(state__in=["waiting", "leased", "free"]).exists()


def test_a_check_is_nobody_elses_even_when_its_lease_has_run_out(ann: User) -> None:
    ben = make_user("ben")
    queue = make_queue(items=40, members=[ann, ben], repeat_share=0.4, repeat_after_items=0)
    slot = check_in_hand(ann, queue)
    with pytest.raises(NotFound):
        leasing.slot_of(ben, slot.id)
    much_later = timezone.now() + timedelta(days=1)
    taken = set()
    while (other := leasing.lease(annotator=ben, queue=queue, now=much_later)) is not None and len(taken) < 60:
        taken.add(other.id)
        labels.submit(
            annotator=ben, slot_id=other.id, key=str(other.id), now=much_later,
            answers=[{"signal": queue.queue_signals.get().signal.slug, "value": "neutral"}],
        )  # fmt: skip
    assert slot.id not in taken
    outcome = labels.submit(
        annotator=ann, slot_id=slot.id, key="late", now=much_later,
        answers=[{"signal": queue.queue_signals.get().signal.slug, "value": "neutral"}],
    )  # fmt: skip
    assert outcome.created and not outcome.submission.late


def test_what_the_client_names_first_stays_be_it_a_check_or_not(ann: User) -> None:
    queue = make_queue(items=40, members=[ann], repeat_share=0.4, repeat_after_items=0)
    check = check_in_hand(ann, queue)
    ahead = leasing.lease(annotator=ann, queue=queue, now=NOW, holding=[check.id])
    assert ahead is not None
    back = labels.undo(annotator=ann, queue=queue, now=NOW, holding=[ahead.id, check.id])
    assert back is not None
    held = set(queue.slots.filter(state="leased", annotator=ann).values_list("id", flat=True))
    assert ahead.id in held and len(held) == 2
    assert Slot.objects.get(id=check.id).state == "waiting"
    answer = [{"signal": queue.queue_signals.get().signal.slug, "value": "positive"}]  # another tab still shows it
    assert labels.submit(annotator=ann, slot_id=check.id, answers=answer, key="tab", now=NOW).created


def test_a_check_can_be_undone_skipped_and_answered_once(ann: User) -> None:
    queue = make_queue(items=40, members=[ann], repeat_share=0.4, repeat_after_items=0)
    slot = check_in_hand(ann, queue)
    answers = [{"signal": queue.queue_signals.get().signal.slug, "value": "positive"}]
    labels.submit(annotator=ann, slot_id=slot.id, answers=answers, key="one", now=NOW)
    with pytest.raises(Conflict):
        labels.submit(annotator=ann, slot_id=slot.id, answers=answers, key="two", now=NOW)
    back = labels.undo(annotator=ann, queue=queue, now=timezone.now())
    assert back is not None and back.slot.id == slot.id
    told = queries.own_answer(back, questions.asked(queue.id))
    assert told["labels"][0]["value"] == "positive"
    assert CheckAnswer.objects.get(superseded_at__isnull=False).value == "positive"
    labels.skip(annotator=ann, slot_id=slot.id, reason="tired", key="three", now=NOW)
    assert Slot.objects.get(id=slot.id).state == "skipped"
    assert Slot.objects.filter(item__isnull=False).count() == 40
    labels.undo(annotator=ann, queue=queue, now=timezone.now())
    assert Slot.objects.get(id=slot.id).state == "leased"


def test_feedback_is_told_only_where_the_queue_says_so(ann: User, client: Client) -> None:
    queue = make_queue("mood", items=30, members=[ann], gold_share=0.3)
    make_known(queue, ["positive"] * 10, explanation="They thank twice.")
    client.force_login(ann)
    slot = check_in_hand(ann, queue)
    slug = queue.queue_signals.get().signal.slug

    def send(key: str) -> Any:
        body = {"labels": [{"signal": slug, "value": "negative"}], "key": key}
        return client.post(f"/api/v1/assignments/{slot.id}/submit/", body, content_type="application/json").json()

    assert "feedback" not in send("one")
    checks.configure(queue=queue, settings={"gold_feedback": True})
    told = send("one")["feedback"]
    assert told == [
        {"signal": slug, "value": "negative", "known": "positive", "correct": False, "explanation": "They thank twice."}
    ]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"repeat_share": 0.6}, "repeat_share"),
        ({"repeat_share": 0.3, "gold_share": 0.3}, "gold_share"),
        ({"gold_share": 0.1}, "gold"),
        ({"practice_size": 5}, "practice_size"),
        ({"practice_pass": 1.2}, "practice_pass"),
    ],
)
def test_settings_that_cannot_be_are_refused(wanted: dict[str, Any], field: str) -> None:
    queue = make_queue()
    with pytest.raises(Refused) as refused:
        checks.configure(queue=queue, settings=wanted)
    assert refused.value.field == field
    queue.refresh_from_db()
    assert (queue.repeat_share, queue.gold_share, queue.practice_size) == (0, 0, 0)


def test_gold_of_another_signal_is_refused() -> None:
    queue, other = make_queue(), make_queue()
    version = make_known(other, ["negative"])
    with pytest.raises(Refused, match="does not ask"):
        checks.know(queue=queue, versions=[version])


def test_the_notes_of_reviewers_explain(ann: User) -> None:
    queue = make_queue(items=1, members=[ann])
    signal = queue.queue_signals.get().signal
    home = make_conversation()
    make_label(home, signal, make_user(), "negative")
    Ruling.objects.create(
        conversation=home, signal=signal, reviewer=make_user(), value="positive", reason="slip", note="They thank."
    )
    version = gold.freeze(dataset="g", signal=signal, aggregation="adjudicated", now=NOW)
    checks.know(queue=queue, versions=[version])
    assert queue.known_items.get().explanation == "They thank."
    checks.know(queue=queue, versions=[version])
    assert queue.known_items.count() == 1


def test_the_database_itself_asks_once() -> None:
    ann = make_user()
    queue = make_queue(items=1, members=[ann])
    item = queue.items.get()
    until = timezone.now()
    Slot.objects.create(queue=queue, asks_again=item, annotator=ann, state="leased", leased_until=until)
    for wrong in ({"asks_again": item, "annotator": ann, "state": "done"}, {"asks_again": item}, {"state": "free"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Slot.objects.create(queue=queue, **wrong)
