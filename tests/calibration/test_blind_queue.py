"""A blind queue gives nothing away: no prediction and no other person's answer in any page, answer or embedded data."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from calibration.models import Prediction
from labeling import adjudication, labels
from labeling.models import Conversation, Queue, User
from tests.labeling.test_leasing import lease
from tests.make import make_conversation, make_label, make_queue, make_said, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
ITEMS = 3
LEAK = "leak"
"""Every field of every answer of others and of every prediction has this word; nothing that the annotator needs has it."""


@pytest.fixture
def ann() -> User:
    return make_user("ann")


@pytest.fixture
def queue(ann: User) -> Queue:
    ben = make_user("ben-leak")
    signal = make_signal("sentiment")
    talks = [make_conversation(f"c-{number}", cohort="cohort-leak", customer="cu-leak") for number in range(ITEMS)]
    Conversation.objects.update(metadata={"note": LEAK}, attributes={"tier": LEAK}, summary=LEAK)
    queue = make_queue("mood", signals=[signal], conversations=talks, overlap=2, members=[ann, ben])
    version = make_version(signal, "v-leak", classifier="judge-leak")
    for talk in talks:
        said = make_said(version, talk, "negative")
        said.rationale, said.probabilities = LEAK, {"negative": 0.918273}
        said.score, said.metadata = 0.918273, {"why": LEAK}
        Prediction.objects.bulk_create([said])
        make_label(talk, signal, make_user(), "negative", comment=LEAK, metadata={"why": LEAK})
        slot = lease(ben, queue)
        answer = [{"signal": "sentiment", "value": "positive", "comment": LEAK}]
        labels.submit(
            annotator=ben, slot_id=slot.id, answers=answer, key=f"k-{talk.id}", now=timezone.now(), comment=LEAK
        )
    adjudication.rule(
        reviewer=make_user("rita-leak", role="reviewer"),
        signal=signal,
        conversation=talks[0],
        value="negative",
        reason="slip",
        note=LEAK,
        now=timezone.now(),
    )
    return queue


def test_every_page_and_every_answer(ann: User, queue: Queue) -> None:
    client = Client()
    client.force_login(ann)
    seen: dict[str, str] = {}

    def look(method: str, path: str, body: Any = None) -> Any:
        answer = getattr(client, method)(path, *(() if body is None else (body, "application/json")))
        seen[f"{method} {path} {len(seen)}"] = answer.content.decode()
        return answer

    look("post", "/label/mood/")
    for path in (
        "/label/",
        "/label/mood/",
        "/label/mood/guideline/",
        "/label/mood/guideline/?drawer",
        "/label/mood/done/",
    ):
        assert look("get", path).status_code == 200, path
    assert look("get", "/api/v1/queues/mood/guidelines/").status_code == 200
    item = look("post", "/api/v1/queues/mood/next/", {}).json()
    for number in range(ITEMS):
        body = {"labels": [{"signal": "sentiment", "value": "neutral"}], "key": f"a{number}", "next": True}
        item = look("post", f"/api/v1/assignments/{item['assignment']}/submit/", body).json()["next"]
        if number == 0:
            item = look("post", "/api/v1/queues/mood/undo/", {}).json()
            look("post", f"/api/v1/assignments/{item['assignment']}/renew/", {})
            body["key"] = "again"
            item = look("post", f"/api/v1/assignments/{item['assignment']}/submit/", body).json()["next"]
    look("post", f"/api/v1/assignments/{queue.slots.filter(annotator=ann)[0].id}/submit/", body | {"key": "twice"})
    assert look("get", "/label/mood/done/").status_code == 200
    for what, text in seen.items():
        assert LEAK not in text and "918273" not in text, what
        assert "judge" not in text.lower().replace("judge what the customer feels", ""), what


def test_other_pages_about_the_items_are_not_for_annotators(ann: User, queue: Queue) -> None:
    client = Client()
    client.force_login(ann)
    for path in (
        "/conversations/c-0/",
        "/review/mood/",
        "/journeys/cu-leak/",
        "/api/v1/conversations/c-0/?include=predictions,labels",
        "/api/v1/reviews/?signal=sentiment",
    ):
        answer = client.get(path)
        assert answer.status_code in (403, 404), path
        assert LEAK not in answer.content.decode().replace("cu-leak", ""), path


def test_a_reviewer_who_may_still_label_sees_nothing_either(queue: Queue) -> None:
    cleo = make_user("cleo", role="reviewer")
    queue.memberships.create(user=cleo, lane=0)
    client = Client()
    client.force_login(cleo)
    answer = client.get("/api/v1/conversations/c-0/?include=predictions,labels").json()
    assert answer["predictions"] == [] == answer["labels"]
    assert "judge-leak" not in client.get("/conversations/c-0/").content.decode()
