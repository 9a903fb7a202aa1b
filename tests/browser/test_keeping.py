"""Keeping queues, guidelines and personal data, and one's own page, in a real browser, each by those who may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, Page

from labeling import adjudication, labels, leasing
from labeling.models import Conversation, Label, OriginalReading, Queue, QueueMember, Signal
from tests.browser.hands import press, settled, sign_in
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MAIL, MASKED = "eva.smith@example.com", "Write to eva.smith@example.com, please"


@pytest.fixture
def others(browser: Browser) -> Iterator[Any]:
    """Pages of other people, each with a browser of their own."""
    contexts = []

    def opened(**kw: Any) -> Page:
        contexts.append(browser.new_context(**kw))
        page = contexts[-1].new_page()
        page.set_default_timeout(40_000)
        return page

    yield opened
    for context in contexts:
        context.close()


def clean(page: Page) -> None:
    """Nothing for axe, no sideways scroll, on a screen and on a phone."""
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert [(v["id"], v["nodes"][0]["target"]) for v in Axe().run(page)["violations"]] == [], (page.url, width)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (page.url, width)


def answer(queue: Queue, name: str, value: str, *, count: int = 1, seconds: float = 4.0) -> None:
    """So many items of a queue get an answer from somebody."""
    person = queue.members.get(username=name)
    for _ in range(count):
        slot = leasing.lease(annotator=person, queue=queue, now=timezone.now())
        assert slot is not None
        labels.submit(
            annotator=person, slot_id=slot.id, answers=[{"signal": "sentiment", "value": value}], key=str(slot.id),
            now=timezone.now(), seconds=seconds,
        )  # fmt: skip


@pytest.fixture
def queue() -> Queue:
    """Twelve items for ann; ben is not asked yet."""
    make_user("eve", role="engineer")
    make_user("ben")
    return make_queue("pilot", signals=[make_signal()], items=12, members=[make_user("ann")])


def test_a_queue_from_its_first_member_to_its_end(page: Page, live_server: Any, others: Any, queue: Queue) -> None:
    sign_in(page, live_server, "/queues/pilot/", name="eve")
    page.check(".checks >> text=ben")
    page.click("button[value=add]")
    page.wait_for_selector("text=ben may label this queue.")
    assert set(queue.members.values_list("username", flat=True)) == {"ann", "ben"}
    clean(page)

    page.fill("[name=priority]", "7")
    page.click("button[value=priority]")
    page.wait_for_selector("text=The priority is changed.")
    page.fill("[name=overlap]", "2")
    page.click("button[value=overlap]")
    page.wait_for_selector("text=12 more labels are wanted.")
    page.fill("[name=overlap_most]", "3")
    page.fill("[name=repeat_share]", "20")
    page.click("button[value=mix]")
    page.wait_for_selector("text=What is mixed in is set.")
    queue.refresh_from_db()
    assert (queue.priority, queue.overlap, queue.overlap_most, queue.repeat_share) == (7, 2, 3, 0.2)
    page.wait_for_selector("text=2 labels an item, up to 3 where they tie")

    ann = sign_in(others(), live_server, "/label/pilot/")
    page.click("button:has-text('Pause')")
    page.wait_for_selector("text=The queue is paused.")
    ann.goto(f"{live_server.url}/label/pilot/")
    ann.wait_for_selector("text=Pilot is paused.")
    page.click("button:has-text('Open')")
    page.wait_for_selector("text=The queue is open.")
    ann.goto(f"{live_server.url}/label/pilot/")
    ann.wait_for_selector("#desk[data-assignment]")

    page.click("[aria-label='Remove ben']")
    page.wait_for_selector("text=ben gets no more items of this queue.")
    assert not QueueMember.objects.filter(queue=queue, user__username="ben").exists()
    page.click("button:has-text('Close')")
    page.wait_for_selector("text=The queue is closed.")
    clean(page)
    ann.goto(f"{live_server.url}/label/pilot/")
    ann.wait_for_selector("text=Pilot is closed.")


def test_the_page_of_a_queue_follows_the_work_by_itself(
    page: Page, live_server: Any, others: Any, queue: Queue
) -> None:
    sign_in(page, live_server, "/queues/pilot/", name="eve")
    page.wait_for_selector("text=Pilot: 0 of 12 labels.")
    page.evaluate("window.same = true")
    ann = sign_in(others(), live_server, "/label/pilot/")
    for _ in range(2):
        press(ann, "1")
    settled(ann)
    page.wait_for_selector("text=Pilot: 2 of 12 labels.")
    assert page.evaluate("window.same"), "the page was loaded anew"
    assert page.get_attribute("progress", "value") == "2"
    page.wait_for_selector("text=2 answers in the last 24 hours")
    answer(queue, "ann", "positive", count=4, seconds=30.0)
    page.wait_for_selector("text=Pilot: 6 of 12 labels.")
    page.wait_for_selector("text=about 3 minutes of work left, at 30.0 s an item")
    clean(page)


def test_the_list_of_queues_leads_with_what_is_urgent(page: Page, live_server: Any, queue: Queue) -> None:
    make_queue("urgent", signals=[Signal.objects.get()], priority=5)
    make_queue("later", signals=[Signal.objects.get()], priority=-5)
    sign_in(page, live_server, "/queues/", name="eve")
    assert page.locator("tbody th a").all_inner_texts() == ["Urgent", "Pilot", "Later"]
    clean(page)


@pytest.mark.parametrize("name", ["ben", "rita"])
def test_keeping_queues_is_for_engineers(page: Page, live_server: Any, queue: Queue, name: str) -> None:
    make_user("rita", role="reviewer")
    sign_in(page, live_server, "/label/", name=name)
    for path in ("/queues/", "/queues/pilot/", "/queues/new/"):
        assert page.goto(live_server.url + path).status == 403  # type: ignore[union-attr]


def test_strangers_are_asked_who_they_are(page: Page, live_server: Any, queue: Queue) -> None:
    for path in ("/queues/pilot/", "/people/ann/", "/settings/privacy/", "/settings/signals/sentiment/guideline/"):
        page.goto(live_server.url + path)
        assert "/sign-in/" in page.url


def test_a_guideline_is_mended_read_and_kept_with_the_label(
    page: Page, live_server: Any, others: Any, queue: Queue
) -> None:
    make_user("ada", role="admin")
    ann = sign_in(others(), live_server, "/label/pilot/")
    press(ann, "1")
    settled(ann)
    sign_in(page, live_server, "/settings/signals/sentiment/guideline/", name="ada")
    old = page.input_value("[name=text]")
    page.fill(
        "[name=text]",
        f'{old}\n\n**Irony** is negative. <script>window.bad = 1</script> <img src=x onerror="window.bad = 1">',
    )
    page.fill("[name=note]", "irony was open")
    page.click("button:has-text('Make it version 2')")
    page.wait_for_selector("text=The guideline is version 2.")
    assert page.inner_text(".prose strong") == "Irony"
    page.click("text=what changed")
    page.wait_for_selector("h2:has-text('From version 1 to 2')")
    assert page.locator(".difference ins:has-text('Irony')").count() == 1 and "irony was open" in page.inner_text(
        "main"
    )
    assert page.evaluate("window.bad === undefined")
    clean(page)

    ann.goto(f"{live_server.url}/label/pilot/")
    ann.wait_for_selector("#desk[data-assignment]")
    ann.keyboard.press("h")
    ann.wait_for_selector("strong:has-text('Irony') >> visible=true")
    assert ann.evaluate("window.bad === undefined")
    ann.keyboard.press("Escape")
    press(ann, "2")
    settled(ann)
    given = Label.objects.filter(superseded_at__isnull=True).order_by("id")
    assert list(given.values_list("guideline__version", flat=True)) == [1, 2]

    ann.goto(f"{live_server.url}/label/pilot/guideline/")
    ann.wait_for_selector("h2:has-text('What changed')")
    assert ann.locator(".difference ins:has-text('Irony')").count() == 1 and "irony was open" in ann.inner_text(
        "details.more summary"
    )
    clean(ann)


def test_examples_are_what_reviewers_decided(page: Page, live_server: Any, queue: Queue) -> None:
    rita, signal = make_user("rita", role="reviewer"), Signal.objects.get()
    home = make_conversation("c-ruled", texts=("Great, another outage. Just what I needed.", "I see."))
    for name, value in (("kim", "negative"), ("lou", "positive")):
        make_label(home, signal, make_user(name), value)
    adjudication.rule(
        reviewer=rita, signal=signal, conversation=home, value="negative", reason="guideline_gap", now=timezone.now(),
        note="Irony counts as what is meant.",
    )  # fmt: skip
    sign_in(page, live_server, "/label/pilot/guideline/")
    page.wait_for_selector("h3:has-text('As reviewers decided')")
    assert "another outage" in page.inner_text("dl.examples")
    assert "Irony counts as what is meant." in page.inner_text("dl.examples")
    clean(page)


def test_ones_own_page_and_who_may_see_it(page: Page, live_server: Any, others: Any, queue: Queue) -> None:
    queue.memberships.create(user=queue.members.model.objects.get(username="ben"))
    answer(queue, "ann", "negative", count=3)
    sign_in(page, live_server, "/people/")
    assert re.search(r"3 labels", page.inner_text(".citation"))
    page.wait_for_selector("text=/4.0 s of active time each, the median/")
    clean(page)
    ben = sign_in(others(), live_server, "/label/", name="ben")
    assert ben.goto(f"{live_server.url}/people/ann/").status in (403, 404)
    eve = sign_in(others(), live_server, "/people/ann/", name="eve")
    assert "3 labels" in eve.inner_text(".citation")


def test_personal_data_is_masked_and_reading_it_is_kept(page: Page, live_server: Any, others: Any) -> None:
    make_user("ada", role="admin")
    make_user("rita", role="reviewer")
    home = make_conversation("c-mail", texts=(MASKED, "I will."))
    make_queue("pilot", conversations=[home], members=[make_user("ann")])
    sign_in(page, live_server, "/settings/privacy/", name="ada")
    page.check("[name=mask][value=email]")
    page.select_option("[name=originals_role]", "engineer")
    page.click("main form.stack button[type=submit]")
    page.wait_for_selector("text=/Masked on pages, in the API and in exports: e-?mail/")
    clean(page)

    ann = sign_in(others(), live_server, "/label/pilot/")
    ann.wait_for_selector("#turns li")
    assert MAIL not in ann.content() and "Write to" in ann.inner_text("#turns")
    rita = sign_in(others(), live_server, "/conversations/c-mail/", name="rita")
    assert MAIL not in rita.content() and rita.locator("text=Read the original").count() == 0
    page.goto(f"{live_server.url}/conversations/c-mail/")
    assert MAIL not in page.content()
    page.click("text=Read the original; that you did is kept")
    page.wait_for_selector(f"text={MAIL}")
    kept = OriginalReading.objects.get()
    assert kept.reader is not None and (kept.reader.username, kept.what) == ("ada", "conversation c-mail")
    page.goto(f"{live_server.url}/settings/privacy/")
    page.wait_for_selector("td:has-text('conversation c-mail')")
    assert Conversation.objects.get().turns[0]["text"] == MASKED
