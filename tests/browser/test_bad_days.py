"""Bad days of a browser: it slept, its clock is wrong, what it shows is huge or hostile. Nothing lost, nothing executed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page

from labeling import labels, leasing
from labeling.models import Label, Submission, User
from tests.browser.hands import SUBMIT, assignment, at_desk, press, settled, stored
from tests.calibration.test_hostile_text import BAD, addresses, everything
from tests.make import make_conversation, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# Two clocks that a test can set: the one on the wall, and the stopwatch that goes on while a machine sleeps.
CLOCKS = """
window.wall = 0; window.slept = 0;
const now = Date.now, passed = performance.now.bind(performance);
Date.now = () => now() + window.wall;
performance.now = () => passed() + window.slept;
"""
YEAR = 365 * 86400 * 1000


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def test_a_clock_that_is_wrong_and_set_meanwhile_changes_nothing(page: Page, live_server: Any, ann: User) -> None:
    """Ten years ahead, then behind: every answer once and in the order in which it was given, its time that of a stopwatch."""
    queue = make_queue("mood", signals=[make_signal("mood")], items=8, members=[ann])
    page.add_init_script(CLOCKS)
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")
    given: list[str] = []
    for wall in (10 * YEAR, -10 * YEAR, 0):
        page.evaluate("at => { window.wall = at; }", wall)
        given.append(press(page, "2"))
        page.wait_for_selector("#desk[data-assignment]")
        settled(page)
    page.wait_for_load_state("networkidle")
    page.route(SUBMIT, lambda route: route.abort())
    for wall in (10 * YEAR, -10 * YEAR):  # kept in the browser, in order, also over a reload
        page.evaluate("at => { window.wall = at; }", wall)
        given.append(press(page, "1"))
        if page.get_attribute("#desk", "data-assignment") is None:
            break
    page.unroute(SUBMIT)
    page.reload()
    settled(page)
    acts = [str(slot) for slot in Submission.objects.order_by("id").values_list("slot", flat=True)]
    assert acts == given and len(set(acts)) == len(given) >= 5
    assert all(0 <= (seconds or 0) < 60 for seconds in Submission.objects.values_list("seconds", flat=True))


def test_a_machine_that_slept_for_a_day_keeps_the_answer_as_late(page: Page, live_server: Any, ann: User) -> None:
    ben = make_user("ben")
    signal = make_signal("mood")
    queue = make_queue("mood", signals=[signal], items=3, members=[ann, ben])
    page.add_init_script(CLOCKS)
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")
    slept = assignment(page)
    yesterday = timezone.now() - timedelta(days=1)
    queue.slots.filter(state="leased").update(leased_until=yesterday)
    for number in range(2):  # Ben takes what ran out
        slot = leasing.lease(annotator=ben, queue=queue, now=timezone.now())
        assert slot is not None
        if str(slot.id) == slept or number:
            answer = [{"signal": "mood", "value": "negative"}]
            labels.submit(annotator=ben, slot_id=slot.id, answers=answer, key=f"b{number}", now=timezone.now())
    while not Label.objects.filter(annotator=ben, submission__slot=int(slept)).exists():
        slot = leasing.lease(annotator=ben, queue=queue, now=timezone.now())
        assert slot is not None
        answer = [{"signal": "mood", "value": "negative"}]
        labels.submit(annotator=ben, slot_id=slot.id, answers=answer, key=f"c{slot.id}", now=timezone.now())
    page.evaluate("() => { window.wall = window.slept = 86400e3; }")
    press(page, "3")
    page.wait_for_selector("#notice:not([hidden]) >> text=kept as a late one")
    settled(page)
    mine = Label.objects.get(annotator=ann)
    assert (mine.late, mine.value, mine.conversation_id) == (
        True,
        "positive",
        Label.objects.filter(annotator=ben, submission__slot=int(slept)).get().conversation_id,
    )
    assert 0 <= (mine.seconds or 0) <= 60


def test_a_megabyte_in_one_turn_is_there_and_the_keys_stay_quick(page: Page, live_server: Any, ann: User) -> None:
    words = ("word " * 200_000) + "THE END"
    talks = [make_conversation("c-big", texts=(words, "ok")), make_conversation("c-small")]
    at_desk(page, live_server, make_queue("big", signals=[make_signal("mood")], conversations=talks, members=[ann]))
    assert "THE END" not in page.inner_text("#turns")
    page.click("text=Show all 1,000,007 characters")
    assert page.evaluate("document.querySelector('#turns .text').textContent.endsWith('THE END')")
    first = press(page, "1")
    settled(page)
    assert stored() == {first: "negative"}


def test_nothing_that_is_shown_is_executed(page: Page, live_server: Any) -> None:
    """Markup and scripts in every field, on every page of labelling, read by somebody who may see them all."""
    queue, conversation = everything()
    ann = make_user("ann", role="admin")
    queue.memberships.create(user=ann, lane=0)
    queue.items.get(conversation=conversation).slots.create(queue=queue, number=2, position=1)
    at_desk(page, live_server, queue)
    assert BAD in page.inner_text("#turns") or BAD in page.evaluate("document.querySelector('#turns').textContent")
    assert page.locator("#turns .text:not([dir=auto])").count() == 0  # each turn runs its own way
    page.keyboard.press("h")
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    page.keyboard.press(" ")  # an address of a script is no sound
    assert page.evaluate("window.bad") is None
    for address in addresses(conversation):
        if any(address.startswith(f"/{room}/") for room in ("label", "review", "conversations", "datasets", "people")):
            page.goto(live_server.url + address)
            assert page.evaluate("window.bad") is None, address
    page.goto(f"{live_server.url}/label/mood/")
    page.wait_for_selector("#turns li")
    page.keyboard.press("<")
    settled(page)
    assert Label.objects.get(annotator=ann).value == "negative"
