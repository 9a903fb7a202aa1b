"""Answers that the server does not take, in a browser: nothing that was answered is thrown away, and the page says why."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from labeling import leasing, queues
from labeling.models import Category, Label, Slot, User
from tests.browser.hands import assignment, at_desk, press, settled, stored
from tests.make import make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
NOT_A_MEMBER = "#notice >> text=You are not a member of this queue any more."


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def test_who_is_taken_off_a_queue_keeps_their_answers_until_they_are_let_in_again(
    page: Page, live_server: Any, ann: User
) -> None:
    queue = make_queue("mood", items=4, members=[ann])
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")
    queues.remove_member(queue=queue, member=ann)
    answered = [press(page, "1")]
    page.wait_for_selector(NOT_A_MEMBER)
    answered.append(press(page, "3"))
    page.wait_for_selector("#notice >> text=2 answers are kept in this browser, and sent if you are let in again.")
    page.wait_for_selector("#waiting >> text=Nothing can be labelled here.")
    assert not Label.objects.exists()
    page.reload()
    assert page.locator("#desk").count() == 0  # the queue is not theirs
    queues.add_members(queue=queue, members=[ann])
    page.reload()
    page.wait_for_selector("#turns li")
    settled(page)
    assert [stored()[key] for key in answered] == ["negative", "positive"]
    assert Slot.objects.filter(annotator=ann, state=Slot.State.LEASED).count() <= leasing.MOST_HELD


def test_an_assignment_that_is_gone_holds_nothing_up(page: Page, live_server: Any, ann: User) -> None:
    """Only who is not a member keeps an answer to send again: one that can never be taken would wait for ever."""
    at_desk(page, live_server, make_queue("mood", items=3, members=[ann]))
    page.wait_for_load_state("networkidle")
    Slot.objects.filter(id=assignment(page)).delete()
    press(page, "1")
    page.wait_for_selector("#notice >> text=there is no such assignment")
    second = press(page, "2")
    settled(page)
    assert stored() == {second: "neutral"}


def test_what_is_refused_comes_again_with_the_rest_of_the_answer(page: Page, live_server: Any, ann: User) -> None:
    mood, cause = make_signal("mood"), make_signal("cause")
    at_desk(page, live_server, make_queue("both", signals=[mood, cause], items=3, members=[ann]))
    page.wait_for_load_state("networkidle")
    Category.objects.filter(signal=cause, value="positive").delete()
    page.keyboard.press("1")
    page.keyboard.press("3")
    page.keyboard.press("c")
    page.keyboard.type("twice charged")
    page.keyboard.press("Escape")
    refused = press(page, "Enter")
    page.wait_for_selector("#notice >> text=The last answer was not taken: ")
    page.keyboard.press("1")
    page.keyboard.press("1")
    press(page, "Enter")
    # The item with the questions as they are now, and with what holds of its answer.
    page.wait_for_selector(f"#desk[data-assignment='{refused}']")
    page.wait_for_selector("[data-signal=cause]:not(:has(input[value=positive]))")
    assert page.locator("[data-signal=mood] input[value=negative]").is_checked()
    assert page.input_value("#comment") == "twice charged"
    page.keyboard.press("2")
    press(page, "Enter")
    settled(page)
    label = Label.objects.get(submission__slot=refused, signal=cause)
    assert (label.value, label.comment) == ("neutral", "twice charged")
    assert page.inner_text("#count") == "2 of 3"


def test_a_practice_round_that_is_asked_for_meanwhile_ends_the_queue_until_then(
    page: Page, live_server: Any, ann: User
) -> None:
    queue = make_queue("mood", items=5, members=[ann])
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")
    queue.practice_size = 2
    queue.save()
    for key in "12":
        press(page, key)
        settled(page)
    page.click("#waiting >> text=Why, and how it went")
    page.wait_for_selector("h1 >> text=Mood opens after its practice round.")
    assert Label.objects.count() == 2
