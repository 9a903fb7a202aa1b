"""Adjudication by keyboard, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page

from labeling import adjudication, labels, leasing
from labeling.models import Guideline, Label, Queue, Ruling, Slot
from tests.browser.hands import follow, sign_in
from tests.make import make_conversation, make_known, make_label, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def queue() -> Queue:
    """Three items on which two people differ."""
    people = [make_user("ann"), make_user("ben")]
    signal = make_signal()
    conversations = [make_conversation(f"c-{number}") for number in range(3)]
    made = make_queue("pilot", signals=[signal], conversations=conversations, overlap=2, members=people)
    for person, value in zip(people, ("negative", "positive"), strict=True):
        while slot := leasing.lease(annotator=person, queue=made, now=timezone.now()):
            labels.submit(
                annotator=person, slot_id=slot.id, answers=[{"signal": signal.slug, "value": value}], key=str(slot.id),
                now=timezone.now(), guidelines={signal.slug: 1},
            )  # fmt: skip
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
    sign_in(page, live_server, "/review/pilot/", name="eva")
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


def test_undo_takes_the_last_decisions_back_one_by_one_with_all_that_was_chosen(desk: Page) -> None:
    desk.keyboard.press("r")
    desk.keyboard.press("n")
    desk.keyboard.type("plain")
    desk.keyboard.press("Escape")
    desk.keyboard.press("1")
    wait_for(desk, "disagreement 1 of 2 open")
    desk.keyboard.press("2")
    wait_for(desk, "disagreement 1 of 1 open")
    desk.keyboard.press("u")
    wait_for(desk, "c-1 is open again.")
    assert ruled() == [("c-0", "negative")] and "disagreement 1 of 2 open" in desk.inner_text("main")
    desk.keyboard.press("u")
    wait_for(desk, "c-0 is open again.")
    assert ruled() == [] and "disagreement 1 of 3 open" in desk.inner_text("main")
    assert desk.locator("[aria-pressed=true]").get_attribute("value") == "negative"
    assert desk.locator("[name=reason]:checked").get_attribute("value") == "ambiguous"
    assert desk.locator("#note").input_value() == "plain"
    desk.keyboard.press("u")  # there is no other one
    desk.keyboard.press("3")
    wait_for(desk, "disagreement 1 of 2 open")
    assert ruled() == [("c-0", "positive")]
    (last,) = Ruling.objects.filter(superseded_at__isnull=True)
    assert (last.reason, last.note, Ruling.objects.count()) == ("ambiguous", "plain", 3)


def test_the_very_last_decision_is_undone_too(desk: Page) -> None:
    for left in (2, 1):
        desk.keyboard.press("1")
        wait_for(desk, f"disagreement 1 of {left} open")
    with desk.expect_navigation():
        desk.keyboard.press("1")
    assert "No disagreement is open here." in desk.inner_text("h1")
    desk.keyboard.press("u")
    wait_for(desk, "c-2 is open again.")
    assert len(ruled()) == 2


def test_a_decided_item_that_is_looked_at_later_is_opened_again(desk: Page, queue: Queue) -> None:
    first = queue.items.order_by("position")[0].conversation
    signal = queue.signals.get()
    fay = make_user("fay", role="reviewer")
    adjudication.rule(
        signal=signal, conversation=first, value="neutral", reason="slip", reviewer=fay, now=timezone.now()
    )
    desk.goto(desk.url.split("?")[0] + f"?unit={first.id}.-1.{signal.id}")
    wait_for(desk, "Decided: Neutral.")
    follow(desk, "text=Withdraw the decision", key="Enter")
    wait_for(desk, "c-0 is open again.")
    assert ruled() == [] and "Before: Neutral, by fay, withdrawn by eva on" in desk.inner_text("main")


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


def test_the_guideline_is_mended_and_its_items_asked_again_by_keyboard_alone(desk: Page) -> None:
    desk.keyboard.press("h")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Control+a")
    desk.keyboard.type("Irony is negative. 1 or 3 decides nothing here.")
    desk.keyboard.press("Tab")
    desk.keyboard.type("irony")
    desk.keyboard.press("Enter")
    wait_for(desk, "is now version 2")
    assert ruled() == []
    newest = Guideline.objects.order_by("-version")[0]
    assert (newest.text, newest.note) == ("Irony is negative. 1 or 3 decides nothing here.", "irony")
    desk.focus("text=Ask again the 3 on which people differ")
    desk.keyboard.press("Enter")
    desk.wait_for_selector("text=No disagreement is open here.")
    assert not Label.objects.filter(superseded_at__isnull=True).exists()
    assert Slot.objects.filter(state="free").count() == 6


def test_one_more_label_instead_of_a_ruling(desk: Page, queue: Queue) -> None:
    desk.keyboard.press("o")  # ann and ben have had it: nobody is left, and nothing is offered
    assert desk.locator("#more").count() == 0 and "Every member has had it." in desk.inner_text("main")
    queue.memberships.create(user=make_user("cleo"), lane=0)
    desk.reload()
    wait_for(desk, "disagreement 1 of 3 open")
    desk.keyboard.press("o")
    wait_for(desk, "One more label is asked for c-0.")
    assert "c-1" in desk.inner_text(".crumbs")
    assert ruled() == []
    assert queue.slots.filter(state="free").count() == 1


def test_a_queue_that_is_closed_meanwhile_refuses_beside_the_item_and_keeps_what_was_typed(
    desk: Page, queue: Queue
) -> None:
    queue.memberships.create(user=make_user("cleo"), lane=0)
    desk.keyboard.press("ArrowRight")
    wait_for(desk, "disagreement 2 of 3 open")
    Queue.objects.update(state="closed")
    desk.keyboard.press("n")
    desk.keyboard.type("two readings")
    desk.keyboard.press("Escape")
    desk.keyboard.press("o")
    wait_for(desk, "pilot is closed: an engineer can open it")
    assert "c-1" in desk.inner_text(".crumbs") and desk.locator("#more").count() == 0
    assert desk.locator("#note").input_value() == "two readings"
    desk.keyboard.press("1")
    wait_for(desk, "disagreement 2 of 2 open")
    assert list(Ruling.objects.values_list("conversation__external_id", "note")) == [("c-1", "two readings")]


def test_enter_in_the_note_decides_nothing(desk: Page) -> None:
    desk.keyboard.press("n")
    desk.keyboard.type("two readings")
    desk.keyboard.press("Enter")
    assert not desk.locator("#note").evaluate("note => note === document.activeElement")
    desk.keyboard.press("2")
    wait_for(desk, "disagreement 1 of 2 open")
    assert list(Ruling.objects.values_list("value", "note")) == [("neutral", "two readings")]


@pytest.mark.parametrize("scale", ["multilabel", "interval"])
def test_sets_and_numbers_are_decided_with_enter(page: Page, live_server: Any, scale: str) -> None:
    limits = {"minimum": 1, "maximum": 7} if scale == "interval" else {}
    signal = make_signal("topics", scale=scale, values=("billing", "login", "refund"), **limits)
    people = [make_user("ann"), make_user("ben")]
    made = make_queue("pilot", signals=[signal], items=2, overlap=2, members=people)
    answers = ("2", "6") if scale == "interval" else ('["billing"]', '["refund"]')
    for item in made.items.all():
        for number, (person, value) in enumerate(zip(people, answers, strict=True)):
            Slot.objects.filter(item=item, number=number).update(state="done", annotator=person)
            make_label(item.conversation, signal, person, value, item=item)
    make_user("eva", role="reviewer")
    sign_in(page, live_server, "/review/pilot/", name="eva")
    wait_for(page, "disagreement 1 of 2 open")
    if scale == "interval":
        page.wait_for_selector("#decision[data-ready]")
        page.keyboard.type("4.5")
    else:
        page.keyboard.press("1")
        page.keyboard.press("3")
    assert ruled() == []
    page.keyboard.press("Enter")
    wait_for(page, "disagreement 1 of 1 open")
    assert [value for _, value in ruled()] == ["4.5" if scale == "interval" else '["billing", "refund"]']


def test_who_agrees_with_whom_and_what_is_mixed_up_with_examples(desk: Page) -> None:
    desk.goto(desk.url.split("/review/")[0] + "/review/")
    follow(desk, "a[href*=mixed] >> nth=0")
    row = desk.locator("[aria-label^='Who agrees with whom'] tbody tr")
    assert row.count() == 1 and "ann" in row.inner_text() and "ben" in row.inner_text() and "0 %" in row.inner_text()
    assert "are mixed up most" in desk.inner_text("h1")
    desk.focus("[aria-label^='Mixed up'] tbody a >> nth=0")
    desk.keyboard.press("Enter")
    desk.wait_for_selector("#decision[data-ready]")
    assert "?unit=" in desk.url


ANNOTATOR = (
    "/label/",
    "/label/pilot/practice/",
    "/label/pilot/guideline/",
    "/label/pilot/done/",
    "/people/ann/",
    "/people/eve/",
)
REVIEWER = (
    "/review/", "/review/pilot/", "/review/pilot/?unit={}", "/review/queue/pilot/mixed/", "/queues/", "/queues/pilot/",
    "/queues/pilot/known/", "/queues/new/", "/review/pilot/set-aside/",
)  # fmt: skip


@pytest.mark.parametrize(("scheme", "width", "pages"), [("light", 390, ANNOTATOR), ("dark", 1280, REVIEWER)])
def test_axe_finds_nothing_on_any_page_of_labelling(
    page: Page, live_server: Any, queue: Queue, scheme: str, width: int, pages: tuple[str, ...]
) -> None:
    """Review, queue, practice and annotator pages; none wider than its window."""
    eve = make_user("eve", role="engineer")
    signal = queue.signals.get()
    make_known(queue, ["positive", "negative"], explanation="They thank twice.")
    Queue.objects.filter(id=queue.id).update(practice_size=1)
    queue.memberships.create(user=eve, lane=0)
    first = queue.items.order_by("position")[0].conversation
    adjudication.rule(
        signal=signal, conversation=first, value="neutral", reason="slip", reviewer=eve, now=timezone.now()
    )
    sign_in(page, live_server, "/label/", name="eve")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    for path in pages:
        path = path.format(f"{first.id}.-1.{signal.id}")
        page.goto(live_server.url + path)
        clean(page, path)
    if pages is REVIEWER:
        return
    page.goto(f"{live_server.url}/label/pilot/practice/")
    page.click("main form button")
    page.wait_for_selector("#decision[data-ready]")
    clean(page, "practice item")
    page.keyboard.press("1")
    page.wait_for_selector("a[rel=next]")
    page.wait_for_load_state()
    clean(page, "practice, told")


def clean(page: Page, path: str) -> None:
    found = Axe().run(page)["violations"]
    assert not found, (path, [(one["id"], [node["target"] for node in one["nodes"]]) for one in found])
    sizes = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1], path
