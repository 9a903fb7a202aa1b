"""Adjudication by keyboard, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from labeling.models import Guideline, Queue, Ruling, Slot
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def queue() -> Queue:
    """Three items on which two people differ."""
    people = [make_user("ann"), make_user("ben")]
    signal = make_signal()
    conversations = [make_conversation(f"c-{number}") for number in range(3)]
    made = make_queue("pilot", signals=[signal], conversations=conversations, overlap=2, members=people)
    for item in made.items.order_by("position"):
        for number, (person, value) in enumerate(zip(people, ("negative", "positive"), strict=True)):
            Slot.objects.filter(item=item, number=number).update(state="done", annotator=person)
            make_label(item.conversation, signal, person, value, item=item)
    return made


def ruled() -> list[tuple[str, str]]:
    current = Ruling.objects.filter(superseded_at__isnull=True).order_by("conversation__external_id")
    return list(current.values_list("conversation__external_id", "value"))


def wait_for(page: Page, text: str) -> None:
    """Until a page with `text` listens to keys."""
    page.wait_for_selector(f"text={text}")
    page.wait_for_selector("#decision[data-ready]")


@pytest.fixture
def desk(page: Page, live_server: Any, queue: Queue) -> Page:
    """The first disagreement, before a signed-in reviewer."""
    make_user("eva", role="reviewer")
    page.goto(f"{live_server.url}/sign-in/?next=/review/pilot/")
    page.fill("[name=username]", "eva")
    page.fill("[name=password]", "correct horse")
    page.click("main button")
    wait_for(page, "disagreement 1 of 3 open")
    return page


def test_one_key_decides_and_brings_the_next(desk: Page) -> None:
    desk.keyboard.press("1")
    wait_for(desk, "disagreement 1 of 2 open")
    assert ruled() == [("c-0", "negative")]
    desk.keyboard.press("3")
    wait_for(desk, "disagreement 1 of 1 open")
    desk.keyboard.press("2")
    desk.wait_for_selector("text=No disagreement is open here.")
    assert ruled() == [("c-0", "negative"), ("c-1", "positive"), ("c-2", "neutral")]


def test_a_decision_is_taken_back_by_another(desk: Page) -> None:
    desk.keyboard.press("1")
    wait_for(desk, "disagreement 1 of 2 open")
    desk.keyboard.press("u")
    wait_for(desk, "Decided: Negative.")
    desk.keyboard.press("3")
    wait_for(desk, "disagreement 1 of 2 open")
    assert ruled() == [("c-0", "positive")]
    assert Ruling.objects.count() == 2


def test_reason_and_note_go_with_the_key_and_typing_decides_nothing(desk: Page) -> None:
    desk.keyboard.press("r")
    assert desk.locator("[name=reason]:checked").get_attribute("value") == "ambiguous"
    desk.keyboard.press("n")
    desk.keyboard.type("1 of 2 readings")
    assert ruled() == []
    desk.keyboard.press("Escape")
    desk.keyboard.press("Control+1")
    assert ruled() == []
    desk.keyboard.press("2")
    wait_for(desk, "disagreement 1 of 2 open")
    ruling = Ruling.objects.get()
    assert (ruling.value, ruling.reason, ruling.note) == ("neutral", "ambiguous", "1 of 2 readings")


def test_arrows_go_through_without_deciding(desk: Page) -> None:
    desk.keyboard.press("ArrowRight")
    wait_for(desk, "disagreement 2 of 3 open")
    desk.keyboard.press("ArrowLeft")
    wait_for(desk, "disagreement 1 of 3 open")
    assert ruled() == []


def test_the_guideline_opens_and_is_mended_beside_the_item(desk: Page) -> None:
    desk.keyboard.press("h")
    desk.click("text=Mend the guideline")
    desk.fill("#guideline textarea", "Irony is **negative**.")
    desk.click("text=Make it version 2")
    wait_for(desk, "is now version 2")
    assert Guideline.objects.order_by("-version")[0].text == "Irony is **negative**."
    assert "disagreement 1 of 3 open" in desk.inner_text("main")
