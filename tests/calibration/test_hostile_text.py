"""What people and machines write is text on every page of labelling: never markup, never a script, whatever its size."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from labeling import adjudication, gold, labels, leasing
from labeling.models import Conversation, Dataset, Guideline, Queue, Slot, User
from tests.make import make_conversation, make_label, make_queue, make_said, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
BAD = "<img src=x onerror='window.bad=1'></script><script>window.bad=2</script>{{7*7}}"
KEY = "<img src=x onerror=window.bad=3>"
"""For what stands in addresses and lists: no slash."""
RIGHT_TO_LEFT, EMOJI = "אני רוצה לבטל, תודה", "🙂👩‍👩‍👧 🇩🇪 e\u0301 \u202eabc"


def everything(*, values: tuple[str, ...] = ("negative", "positive")) -> tuple[Queue, Conversation]:
    """A queue in which each field that takes text has markup in it: two people differ, a reviewer has ruled on one of two
    conversations, gold is frozen of it."""
    signal = make_signal("mood", title=BAD[:100], values=values)
    for number, category in enumerate(signal.categories.order_by("position")):
        category.label, category.key = f"{KEY}{number}", "<&"[number % 2]
        category.save()
    Guideline.objects.create(signal=signal, version=2, text=f"{BAD}\n\n[link](javascript:window.bad=4) **bold**")
    turns: list[dict[str, Any]] = [
        {"role": KEY, "text": BAD, "start": 0.5, "end": 1, "at": BAD, "words": [{"word": BAD, "confidence": 0.2}]},
        {"role": "agent", "text": f"{RIGHT_TO_LEFT} {EMOJI}", "start": 1, "end": 2},
        {"role": "customer", "text": ""},
    ]
    talks = [
        make_conversation(
            f"{KEY}{number}", turns=turns, channel=KEY, cohort=KEY, customer=f"{KEY}{number}", source=KEY, summary=BAD,
            attributes={KEY: BAD}, metadata={KEY: BAD}, audio="javascript:window.bad=5", started_at=timezone.now(),
            asr={"hypothesis": f"a {BAD}", "reference": f"b {BAD}", "provider": KEY},
        )
        for number in range(2)
    ]  # fmt: skip
    people = [make_user(f"{KEY}{number}") for number in range(2)]
    queue = make_queue(
        "mood", signals=[signal], conversations=talks, overlap=2, members=people, shows_cohort=True, hides_names=False
    )
    Queue.objects.filter(id=queue.id).update(title=BAD, description=BAD)
    judge = make_version(signal, "v1")
    for item in queue.items.order_by("position"):
        for number, (person, value) in enumerate(zip(people, values, strict=False)):
            Slot.objects.filter(item=item, number=number).update(state="done", annotator=person)
            make_label(item.conversation, signal, person, value, item=item, comment=BAD)
        said = make_said(judge, item.conversation, values[0])
        said.rationale = BAD
        said.save()
    reviewer = make_user(f"{KEY}r", role="reviewer")
    item = queue.items.order_by("position")[0]
    adjudication.rule(
        signal=signal, conversation=item.conversation, turn=item.turn, value=values[0], reason="slip", note=BAD,
        reviewer=reviewer, now=timezone.now(),
    )  # fmt: skip
    gold.freeze(dataset="mood", signal=signal, aggregation="majority", now=timezone.now())
    Dataset.objects.update(title=BAD)
    return queue, talks[1]


def addresses(conversation: Conversation) -> list[str]:
    return [
        "/label/", "/label/mood/", "/label/mood/guideline/", "/label/mood/guideline/?drawer", "/label/mood/done/",
        "/review/", "/review/mood/", "/review/signal/mood/", "/review/queue/mood/mixed/", "/conversations/",
        f"/conversations/{quote(conversation.external_id)}/", f"/journeys/{quote(conversation.customer)}/",
        f"/people/{quote(KEY)}0/", "/queues/", "/queues/mood/", "/queues/new/", "/datasets/", "/datasets/mood/1/",
        "/datasets/freeze/", "/settings/people/", "/settings/signals/", "/settings/signals/mood/edit/",
        "/settings/signals/mood/guideline/", "/voice/", "/trends/", "/classifiers/", "/classifiers/judge/", "/import/", "/take-out/",
    ]  # fmt: skip


def test_markup_is_text_on_every_page_of_labelling(client: Client) -> None:
    queue, conversation = everything()
    admin = make_user(f"{KEY}a", role="admin")
    queue.memberships.create(user=admin, lane=0)
    queue.items.get(conversation=conversation).slots.create(queue=queue, number=2, position=1)
    client.force_login(admin)
    shown = 0
    for address in addresses(conversation):
        response = client.get(address, follow=True)
        assert response.status_code == 200, address
        page = response.content.decode()
        assert "<img src=x" not in page and "<script>window" not in page, address
        assert "49" not in re.findall(r"script&gt;(\S{2})", page), address
        assert not re.search(r'(?:href|action)="\s*javascript:', page), address
        assert not re.search(r"<[^>]*\son(?:error|load|click)=", re.sub(r'"[^"]*"', '""', page)), address
        shown += "&lt;img" in page or "\\u003Cimg" in page
    assert shown >= 20  # and it is there, as text


def test_the_transcript_says_which_way_it_runs(client: Client) -> None:
    _, conversation = everything()
    client.force_login(make_user("rita", role="reviewer"))
    for address in ("/review/mood/", f"/conversations/{conversation.external_id}/"):
        page = client.get(address).content.decode()
        turns = re.findall(r'<div class="text"[^>]*>', page)
        assert len(turns) >= 3 and all('dir="auto"' in turn for turn in turns), address
        assert RIGHT_TO_LEFT in page and EMOJI in page


@pytest.mark.parametrize(("turns", "letters"), [(1, 1_000_000), (5000, 40)])
def test_huge_conversations_are_shown_whole_with_no_more_queries(
    client: Client, django_assert_max_num_queries: Any, turns: int, letters: int
) -> None:
    signal = make_signal("mood")
    said = [{"role": "customer", "text": "x" * letters + f" end{at}"} for at in range(turns)]
    conversation = make_conversation("c-huge", turns=said)
    ann = make_user("ann")
    queue = make_queue("mood", signals=[signal], conversations=[conversation], overlap=3, members=[ann])
    for number, value in enumerate(("negative", "positive")):
        person = make_user()
        Slot.objects.filter(queue=queue, number=number).update(state="done", annotator=person)
        make_label(conversation, signal, person, value, item=queue.items.get())
    client.force_login(ann)
    item = client.post("/api/v1/queues/mood/next/", {}, content_type="application/json").json()
    assert item["conversation"]["turns"][-1]["text"].endswith(f"end{turns - 1}")
    assert f"end{turns - 1}" in client.get("/label/mood/").content.decode()
    client.force_login(make_user("rita", role="reviewer"))
    for address in ("/review/mood/", "/conversations/c-huge/"):
        with django_assert_max_num_queries(40):
            page = client.get(address).content.decode()
        assert f"end{turns - 1}" in page, address


def test_a_browser_that_slept_for_a_day_loses_nothing(client: Client) -> None:
    """The lease is long gone. While there is room the answer counts; when others have filled the item it is late, and the
    reviewer sees it."""
    signal = make_signal("mood")
    ann, ben, cy = (make_user(name) for name in ("ann", "ben", "cy"))
    queue = make_queue("mood", signals=[signal], items=2, overlap=2, members=[ann, ben, cy])
    long_ago = timezone.now() - timedelta(days=1)
    slept = leasing.lease(annotator=ann, queue=queue, now=long_ago)
    assert slept is not None
    now = timezone.now()

    def answer(person: User, slot: Slot, value: str) -> Any:
        said = [{"signal": "mood", "value": value}]
        return labels.submit(annotator=person, slot_id=slot.id, answers=said, key=f"{person}{slot.id}", now=now)

    for person, value in ((ben, "negative"), (cy, "positive")):
        while slot := leasing.lease(annotator=person, queue=queue, now=now):
            answer(person, slot, value)
    assert not queue.slots.exclude(state="done").exists()
    client.force_login(ann)
    body = {"labels": [{"signal": "mood", "value": "neutral"}], "key": "k", "seconds": 12.0, "comment": "while I slept"}
    for _ in range(2):  # sent again, it is the same act
        told = client.post(f"/api/v1/assignments/{slept.id}/submit/", body, content_type="application/json")
        assert (told.status_code, told.json()["code"]) == (409, "late")
    assert list(ann.labels.values_list("value", "late", "comment")) == [("neutral", True, "while I slept")]
    client.force_login(make_user("rita", role="reviewer"))
    unit = f"{slept.item.conversation_id}.-1.{signal.id}" if slept.item else ""
    page = client.get(f"/review/mood/?unit={unit}").content.decode()
    assert ", late" in page and "while I slept" in page
    other = make_queue("open", signals=[signal], items=1, members=[ann])
    slot = leasing.lease(annotator=ann, queue=other, now=long_ago)
    assert slot is not None and not answer(ann, slot, "neutral").submission.late


def test_the_state_of_the_desk_is_json_whatever_it_holds(client: Client) -> None:
    queue, conversation = everything()
    ann = make_user("ann")
    queue.memberships.create(user=ann, lane=0)
    queue.items.get(conversation=conversation).slots.create(queue=queue, number=2, position=1)
    client.force_login(ann)
    client.post("/label/mood/")
    page = client.get("/label/mood/").content.decode()
    state = json.loads(page.split('id="state"')[1].split(">", 1)[1].split("</script>")[0])
    assert state["item"]["conversation"]["turns"][0]["text"] == BAD
    assert state["item"]["conversation"]["customer"] == conversation.customer
