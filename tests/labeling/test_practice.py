"""The practice round: known items with explanations, a mark to pass, as often as one likes, and the queue behind it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from labeling import leasing, practice
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import CheckAnswer, Label, PracticeAnswer, Queue, Submission, User
from tests.make import make_known, make_queue, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return make_user("ann")


@pytest.fixture
def queue(ann: User) -> Queue:
    made = make_queue("mood", items=5, members=[ann], practice_pass=0.75)
    make_known(made, ["positive"] * 6, explanation="They thank twice.")
    Queue.objects.update(practice_size=4)
    made.refresh_from_db()
    return made


def take(annotator: User, queue: Queue, *values: str) -> practice.Told:
    """One round with these answers."""
    slug = queue.queue_signals.get().signal.slug
    for value in values:
        place = practice.begin(annotator=annotator, queue=queue, now=timezone.now()).place
        assert place is not None
        answers = [{"signal": slug, "value": value}]
        told = practice.answer(annotator=annotator, place_id=place.id, answers=answers, now=timezone.now())
    return told


def test_it_works(ann: User, queue: Queue) -> None:
    assert leasing.lease(annotator=ann, queue=queue, now=timezone.now()) is None
    assert leasing.why_empty(annotator=ann, queue=queue, now=timezone.now()).reason == "practice"
    told = take(ann, queue, "positive", "positive", "negative", "positive")
    assert told.finished is not None
    assert (told.finished.asked, told.finished.correct, told.finished.passed) == (4, 3, True)
    assert leasing.lease(annotator=ann, queue=queue, now=timezone.now()) is not None
    assert not Submission.objects.exists() and not CheckAnswer.objects.exists()
    assert Label.objects.filter(annotator=ann).count() == 0


def test_who_does_not_pass_goes_again_with_other_items_first(ann: User, queue: Queue) -> None:
    told = take(ann, queue, "negative", "positive", "negative", "positive")
    assert told.finished is not None and not told.finished.passed
    assert leasing.lease(annotator=ann, queue=queue, now=timezone.now()) is None
    assert practice.standing(annotator=ann, queue=queue).needed
    first = set(told.finished.places.values_list("known_item_id", flat=True))
    told = take(ann, queue, "positive", "positive", "positive", "positive")
    assert told.finished is not None and told.finished.passed
    assert len(first & set(told.finished.places.values_list("known_item_id", flat=True))) == 2


def test_each_answer_is_explained_and_kept_once(ann: User, queue: Queue) -> None:
    place = practice.begin(annotator=ann, queue=queue, now=timezone.now()).place
    assert place is not None
    slug = queue.queue_signals.get().signal.slug
    for value in ("negative", "positive"):
        told = practice.answer(
            annotator=ann, place_id=place.id, answers=[{"signal": slug, "value": value}], now=timezone.now()
        )
        (one,) = told.feedback
        assert (one["value"], one["known"], one["correct"]) == ("negative", "positive", False)
        assert one["explanation"] == "They thank twice."
    assert PracticeAnswer.objects.count() == 1


def test_a_wrong_answer_is_refused_and_nothing_kept(ann: User, queue: Queue) -> None:
    place = practice.begin(annotator=ann, queue=queue, now=timezone.now()).place
    assert place is not None
    for answers in ([], [{"signal": "x", "value": "positive"}]):
        with pytest.raises(Refused):
            practice.answer(annotator=ann, place_id=place.id, answers=answers, now=timezone.now())
    assert not PracticeAnswer.objects.exists()


def test_an_open_round_is_gone_on_with_and_belongs_to_one_person(ann: User, queue: Queue) -> None:
    first = practice.begin(annotator=ann, queue=queue, now=timezone.now())
    again = practice.begin(annotator=ann, queue=queue, now=timezone.now())
    assert first.place is not None and first.place == again.place
    ben = make_user("ben")
    with pytest.raises(NotFound):
        practice.begin(annotator=ben, queue=queue, now=timezone.now())
    with pytest.raises(NotFound):
        practice.answer(annotator=ben, place_id=first.place.id, answers=[], now=timezone.now())


def test_a_queue_without_practice_has_none(ann: User) -> None:
    plain = make_queue(members=[ann])
    with pytest.raises(Conflict):
        practice.begin(annotator=ann, queue=plain, now=timezone.now())
    assert not practice.standing(annotator=ann, queue=plain).needed


@pytest.mark.parametrize(
    ("asked", "share", "needed"), [(5, 0.8, 4), (4, 0.75, 3), (10, 0.7, 7), (3, 1.0, 3), (3, 0, 0)]
)
def test_how_many_are_enough(asked: int, share: float, needed: int) -> None:
    assert practice.needed(asked, share) == needed


def test_what_was_practised_is_no_check(ann: User, queue: Queue) -> None:
    take(ann, queue, "positive", "positive", "positive", "positive")
    Queue.objects.update(gold_share=0.5)
    seen = set()
    queue.refresh_from_db()
    while (slot := leasing.lease(annotator=ann, queue=queue, now=timezone.now(), holding=list(seen)[:1])) is not None:
        seen.add(slot.id)
        if len(seen) > 1:
            break
    practised = set(PracticeAnswer.objects.values_list("place__known_item_id", flat=True))
    assert not practised & set(queue.slots.filter(known_item__isnull=False).values_list("known_item_id", flat=True))


def test_the_pages(ann: User, queue: Queue, client: Client) -> None:
    client.force_login(ann)
    assert client.get("/label/mood/").headers["Location"] == "/label/mood/practice/"
    assert client.post("/label/mood/").headers["Location"] == "/label/mood/practice/"
    assert "4 conversations to practise" in client.get("/label/mood/practice/").content.decode()
    assert "Practise" in client.get("/label/").content.decode()
    client.post("/label/mood/practice/begin/")
    slug = queue.queue_signals.get().signal.slug
    for _ in range(4):
        page = client.get("/label/mood/practice/").content.decode()
        assert "They thank twice." not in page
        place = practice.standing(annotator=ann, queue=queue).place
        assert place is not None
        refused = client.post(f"/label/mood/practice/{place.id}/answer/", {})
        assert refused.status_code == 422 and "not answered" in refused.content.decode()
        told = client.post(f"/label/mood/practice/{place.id}/answer/", {f"q-{slug}": "positive"}, follow=True)
        assert "Right." in told.content.decode() and "They thank twice." in told.content.decode()
    assert "You passed: 4 of 4" in client.get("/label/mood/practice/").content.decode()
    assert client.post("/label/mood/").headers["Location"] == "/label/mood/"
    client.force_login(make_user("zoe"))
    assert client.get("/label/mood/practice/").status_code == 404
    assert client.get(f"/label/mood/practice/{place.id}/").status_code == 404


def test_the_api(ann: User, queue: Queue, client: Client) -> None:
    client.force_login(ann)

    def post(path: str, body: Any = None) -> Any:
        return client.post(f"/api/v1/{path}", body or {}, content_type="application/json")

    refused = post("queues/mood/next/")
    assert (refused.status_code, refused.json()["code"]) == (409, "practice_first")
    slug = queue.queue_signals.get().signal.slug
    for number in range(4):
        begun = post("queues/mood/practice/").json()
        assert begun["number"] == number + 1 and begun["needed"]
        assert "They thank" not in str(begun)
        body = {"labels": [{"signal": slug, "value": "positive"}], "seconds": 2}
        told = post(f"practice/{begun['item']['practice']}/answer/", body).json()
        assert told["feedback"][0]["correct"]
    assert told["finished"]["passed"]
    assert post("queues/mood/next/").status_code == 200
    client.force_login(make_user("zoe"))
    assert post("queues/mood/practice/").status_code == 404
    assert post(f"practice/{begun['item']['practice']}/answer/", body).status_code == 404
