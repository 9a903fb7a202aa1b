"""What people skip and flag reaches those who can act on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from labeling import aside, labels, leasing, privacy
from labeling.models import Queue, Slot, Submission, User
from tests.make import make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def ann() -> User:
    return make_user("ann")


@pytest.fixture
def queue(ann: User) -> Queue:
    return make_queue("mood", signals=[make_signal()], items=4, members=[ann])


def take(person: User, queue: Queue, *, now: datetime = NOW) -> Slot:
    slot = leasing.lease(annotator=person, queue=queue, now=now)
    assert slot is not None
    return slot


@pytest.fixture
def told(ann: User, queue: Queue) -> list[str]:
    """A flag, then a skip, then a skip that is undone; the conversations of the first two."""
    slot = take(ann, queue)
    flagged = slot.item.conversation.external_id
    labels.flag(
        annotator=ann, slot_id=slot.id, reason="personal_data", comment="<b>mia@example.com</b>", key="1", now=NOW
    )
    slot = take(ann, queue)
    skipped = slot.item.conversation.external_id
    labels.skip(annotator=ann, slot_id=slot.id, reason="Other: half of it is Dutch", key="2", now=NOW)
    slot = take(ann, queue)
    labels.skip(annotator=ann, slot_id=slot.id, reason="Too hard to decide", key="3", now=NOW)
    labels.undo(annotator=ann, queue=queue, now=NOW)
    return [flagged, skipped]


def test_it_works(client: Client, told: list[str]) -> None:
    client.force_login(make_user("rita", role="reviewer"))
    page = client.get("/review/mood/set-aside/").text
    assert "1 flag and 1 skip in Mood." in page
    assert page.index(told[0]) < page.index(told[1])  # flags first, though older
    assert "Personal data" in page and "Other: half of it is Dutch" in page and "Too hard" not in page
    assert "&lt;b&gt;mia@example.com&lt;/b&gt;" in page
    assert "2 set aside by annotators, and why" in client.get("/review/mood/").text


def test_comments_are_masked_where_conversations_are(client: Client, told: list[str]) -> None:
    privacy.change(masks=["email"], region="", originals_role="admin", by=make_user("ada", role="admin"))
    client.force_login(make_user("rita", role="reviewer"))
    assert "mia@example.com" not in client.get("/review/mood/set-aside/").text
    assert "mia@example.com" not in client.get("/api/v1/queues/mood/set-aside/").text


def test_over_the_api(client: Client, told: list[str]) -> None:
    client.force_login(make_user("rita", role="reviewer"))
    rows = client.get("/api/v1/queues/mood/set-aside/").json()["results"]
    assert [(row["kind"], row["conversation"], row["turn"], row["reason"], row["annotator"]) for row in rows] == [
        ("flag", told[0], None, "personal_data", "ann"),
        ("skip", told[1], None, "Other: half of it is Dutch", "ann"),
    ]
    assert client.get("/api/v1/queues/none/set-aside/").status_code == 404


@pytest.mark.parametrize(
    ("name", "role", "status"), [("eve", "engineer", 200), ("ann", "", 403), ("zoe", "annotator", 404)]
)
def test_who_reads_it(client: Client, told: list[str], name: str, role: str, status: int) -> None:
    client.force_login(make_user(name, role=role) if role else User.objects.get(username=name))
    assert client.get("/review/mood/set-aside/").status_code == status
    api = client.get("/api/v1/queues/mood/set-aside/").status_code
    assert api == (200 if status == 200 else 403)


def test_a_flag_that_comes_late_is_kept(client: Client, queue: Queue, ann: User) -> None:
    """The lease ran out and somebody else has labelled the item: what is wrong with it is wrong all the same."""
    slot = take(ann, queue)
    ben = make_user("ben")
    queue.memberships.create(user=ben, lane=0)
    later = NOW + timedelta(days=1)
    while take(ben, queue, now=later).id != slot.id:
        Slot.objects.filter(annotator=ben, state="leased").update(state="done", leased_until=None)
    labels.submit(
        annotator=ben, slot_id=slot.id, answers=[{"signal": "sentiment", "value": "neutral"}], key="b", now=later
    )
    client.force_login(ann)
    for _ in range(2):  # the same key again tells the same
        answer = client.post(
            f"/api/v1/assignments/{slot.id}/flag/",
            {"reason": "unclear", "comment": "cut off", "key": "k"},
            "application/json",
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "late")
    (act,) = aside.acts(queue)
    assert (act.late, act.comment, act.annotator) == (True, "cut off", ann)
    slot.refresh_from_db()
    assert (slot.annotator, slot.state) == (ben, "done")
    skip = client.post(f"/api/v1/assignments/{slot.id}/skip/", {"reason": "Other", "key": "s"}, "application/json")
    assert (skip.status_code, skip.json()["code"]) == (409, "lease_gone")
    assert Submission.objects.filter(annotator=ann).count() == 1
