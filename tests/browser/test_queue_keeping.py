"""Keeping a queue in a browser: from the draw to its close, beside the people who label it at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from labeling import checks
from labeling.models import Queue, Slot, User
from tests.browser.hands import follow, more, press, settled, sign_in
from tests.make import make_frame, make_known, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Desk = Callable[[str], Page]


@pytest.fixture
def elsewhere(browser: Browser, live_server: Any) -> Iterator[Desk]:
    """The list of queues before somebody else, in a browser of their own."""
    contexts: list[BrowserContext] = []

    def of(name: str) -> Page:
        contexts.append(browser.new_context())
        other = contexts[-1].new_page()
        other.set_default_timeout(40_000)
        return sign_in(other, live_server, name=name)

    yield of
    for context in contexts:
        context.close()


@pytest.fixture
def queue() -> Queue:
    make_user("eve", role="engineer")
    return make_queue("mood", signals=[make_signal("mood")], items=6, members=[make_user("ann")])


@pytest.fixture
def keeping(page: Page, live_server: Any, queue: Queue) -> Page:
    """The page of the queue before an engineer."""
    return sign_in(page, live_server, "/queues/mood/", name="eve")


def told(page: Page, text: str) -> None:
    page.wait_for_selector(f".message >> text={text}")
    page.wait_for_load_state()  # the rest of the page comes after its message


def test_a_queue_from_its_draw_to_its_close(page: Page, live_server: Any, elsewhere: Desk) -> None:
    make_frame({("chat", "smb"): 30, ("voice", "smb"): 10})
    make_signal()
    for name, role in (("ada", "admin"), ("ann", "annotator"), ("ben", "annotator")):
        make_user(name, role=role)
    sign_in(page, live_server, "/queues/", name="ada")
    follow(page, "text=Draw a queue")
    page.fill("[name=title]", "Mood pilot")
    page.check("text=Sentiment")
    page.fill("[name=size]", "4")
    page.get_by_label("Labels an item").fill("1")
    page.get_by_label("ann", exact=True).check()
    page.wait_for_selector("text=4 of 40 units")
    follow(page, "main button[type=submit]")
    assert "Mood pilot: 0 of 4 labels." in page.inner_text("h1")

    page.fill("[name=overlap]", "2")
    page.click("text=Raise")
    told(page, "4 more labels are wanted.")
    page.fill("[name=size]", "3")
    page.click("button:text-is('Draw')")
    told(page, "3 items were added")
    assert "0 of 14 labels" in page.inner_text("h1")
    page.fill("[name=overlap_most]", "3")
    page.click("button[value=mix]")
    told(page, "What is mixed in is set.")
    page.wait_for_selector("text=2 labels an item, up to 3 where they tie")
    page.check("[name=member][value=ben]")
    page.click("button[value=add]")
    told(page, "ben may label this queue.")

    ann, ben = elsewhere("ann"), elsewhere("ben")
    for person, key in ((ann, "1"), (ben, "3")):
        person.keyboard.press("Enter")
        person.wait_for_selector("#turns li")
        while more(person):
            press(person, key)
            settled(person)
        person.wait_for_selector("text=Nothing more is here for you now")
    page.reload()
    assert "14 of 21 labels" in page.inner_text("h1")  # on each they differ: a third person is wanted
    assert "of work left" in page.inner_text("main")
    page.check("[name=member][value=ada]")
    page.click("button[value=add]")
    told(page, "ada may label this queue.")
    page.goto(f"{live_server.url}/label/")
    page.wait_for_selector("button:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("#turns li")
    while more(page):
        press(page, "3")
        settled(page)
    page.goto(f"{live_server.url}/queues/mood-pilot/")
    assert "Mood pilot: done, 21 labels on 7 items." in page.inner_text("h1")
    page.click("button[value=closed]")
    told(page, "The queue is closed.")
    ann.goto(f"{live_server.url}/label/mood-pilot/")
    ann.wait_for_selector("h1 >> text=Mood pilot is closed.")


def test_people_come_and_go_by_keyboard(keeping: Page, elsewhere: Desk, live_server: Any, queue: Queue) -> None:
    make_user("cleo")
    keeping.reload()
    keeping.focus("[name=member][value=cleo]")
    keeping.keyboard.press(" ")
    keeping.focus("button[value=add]")
    keeping.keyboard.press("Enter")
    told(keeping, "cleo may label this queue.")
    cleo = elsewhere("cleo")
    assert "6 conversations wait for you in Mood." in cleo.inner_text("h1")
    cleo.keyboard.press("Enter")
    cleo.wait_for_selector("#turns li")
    press(cleo, "1")
    settled(cleo)

    keeping.reload()
    keeping.focus("[aria-label='Remove cleo']")
    keeping.keyboard.press("Enter")
    told(keeping, "cleo gets no more items of this queue.")
    row = keeping.locator("[aria-label=Members] tr", has_text="cleo")
    expect(row).to_contain_text("no longer a member")
    assert not Slot.objects.filter(annotator__username="cleo", state="leased").exists()
    assert Slot.objects.filter(annotator__username="cleo", state="done").count() == 1
    assert cleo.goto(f"{live_server.url}/label/mood/").status == 404  # type: ignore[union-attr]
    cleo.goto(f"{live_server.url}/label/")
    assert "You are not a member of any queue yet." in cleo.inner_text("h1")


def test_a_pause_is_told_to_those_at_the_desk_and_ends_when_it_opens(
    keeping: Page, elsewhere: Desk, live_server: Any, queue: Queue
) -> None:
    """What is in hand is still kept; then the page says why nothing comes."""
    ann = elsewhere("ann")
    ann.keyboard.press("Enter")
    ann.wait_for_selector("#turns li")
    ann.wait_for_load_state("networkidle")
    keeping.click("button[value=paused]")
    told(keeping, "The queue is paused.")
    assert keeping.locator("button[value=paused]").count() == 0
    for key in "12":
        press(ann, key)
        settled(ann)
    ann.wait_for_selector("#waiting >> text=Why, and how it went")
    assert Slot.objects.filter(annotator__username="ann", state="done").count() == 2
    ann.keyboard.press("Enter")
    ann.wait_for_selector("h1 >> text=Mood is paused.")
    ann.wait_for_load_state()
    assert Axe().run(ann)["violations"] == []
    follow(ann, "main >> text=My queues")
    ann.wait_for_selector("td >> text=paused")
    assert "Nothing waits for you." in ann.inner_text("h1")

    keeping.click("button[value=open]")
    told(keeping, "The queue is open.")
    ann.reload()
    assert "4 conversations wait for you in Mood." in ann.inner_text("h1")


def test_the_queue_of_higher_priority_comes_first(keeping: Page, elsewhere: Desk, live_server: Any) -> None:
    ann = User.objects.get(username="ann")
    make_queue("zeal", signals=[make_signal("zeal")], items=2, members=[ann])
    at_work = elsewhere("ann")
    before = at_work.locator("tbody th").all_inner_texts()
    last = Queue.objects.get(title=before[-1])
    keeping.goto(f"{live_server.url}/queues/{last.slug}/")
    keeping.fill("[name=priority]", "5")
    keeping.click("button[value=priority]")
    told(keeping, "The priority is changed.")
    at_work.reload()
    assert at_work.locator("tbody th").all_inner_texts() == before[::-1]
    assert last.title in at_work.inner_text("h1")


def test_the_page_follows_the_work_of_others_by_itself(keeping: Page, elsewhere: Desk, live_server: Any) -> None:
    """Nobody touches the page: its counts, its bar and its list of people move, and the keyboard stays where it is."""
    keeping.focus("[aria-label='Remove ann']")
    ann = elsewhere("ann")
    ann.keyboard.press("Enter")
    ann.wait_for_selector("#turns li")
    for number, key in enumerate("12311", start=1):
        press(ann, key)
        settled(ann)
        if number in (1, 5):
            keeping.wait_for_selector(f"h1 >> text=Mood: {number} of 6 labels.")
    assert keeping.locator("progress[aria-label='Labels given']").get_attribute("value") == "5"
    row = keeping.locator("[aria-label=Members] tr", has_text="ann")
    assert row.locator("td").first.inner_text() == "5"
    assert "5 answers in the last 24 hours" in keeping.inner_text("main")
    assert "a day done by" in keeping.inner_text("main")
    assert keeping.locator("[aria-label='Remove ann']").evaluate("node => node === document.activeElement")
    press(ann, "1")
    keeping.wait_for_selector("h1 >> text=Mood: done, 6 labels on 6 items.")
    keeping.goto(f"{live_server.url}/queues/")
    assert "Every open queue is done." in keeping.inner_text("h1")


def test_the_list_of_queues_follows_too(keeping: Page, elsewhere: Desk, live_server: Any) -> None:
    keeping.goto(f"{live_server.url}/queues/")
    ann = elsewhere("ann")
    ann.keyboard.press("Enter")
    ann.wait_for_selector("#turns li")
    press(ann, "1")
    settled(ann)
    keeping.wait_for_selector("td >> text=1 of 6")


def test_checks_and_practice_are_set_on_the_page(
    keeping: Page, elsewhere: Desk, queue: Queue, live_server: Any
) -> None:
    make_known(queue, ["positive", "negative", "neutral"], explanation="They thank twice.")
    queue.known_items.all().delete()
    keeping.reload()
    assert "No units of known answer yet" in keeping.inner_text("main")
    keeping.check("[name=gold]")
    for name, value in (
        ("repeat_share", "12.5"), ("repeat_after_items", "3"), ("repeat_after_minutes", "0"), ("gold_share", "20"),
        ("practice_size", "2"), ("practice_pass", "50"),
    ):  # fmt: skip
        keeping.fill(f"[name={name}]", value)
    keeping.check("[name=gold_feedback]")
    keeping.click("button[value=mix]")
    told(keeping, "What is mixed in is set.")
    assert keeping.input_value("[name=repeat_share]") == "12.5" and keeping.is_checked("[name=gold_feedback]")
    queue.refresh_from_db()
    assert {name: getattr(queue, name) for name in checks.SETTINGS} == {
        "repeat_share": 0.125, "repeat_after_items": 3, "repeat_after_minutes": 0, "gold_share": 0.2,
        "gold_feedback": True, "practice_size": 2, "practice_pass": 0.5,
    }  # fmt: skip
    follow(keeping, "text=3 units of known answer, and why")
    keeping.click("tbody tr:first-child summary")
    keeping.fill("tbody tr:first-child textarea", "They thank twice.")
    keeping.click("tbody tr:first-child button")
    told(keeping, "is explained.")
    assert "2 without a word why" in keeping.inner_text("h1")
    assert "Mood opens after a practice round." in elsewhere("ann").inner_text("h1")

    keeping.goto(f"{live_server.url}/queues/mood/")
    keeping.fill("[name=practice_size]", "9")
    keeping.click("button[value=mix]")
    keeping.wait_for_selector("text=the queue has 3 units of known answer")
    assert Queue.objects.get(id=queue.id).practice_size == 2


@pytest.mark.parametrize(
    ("name", "role", "status"),
    [("ada", "admin", 200), ("eve", "engineer", 200), ("rita", "reviewer", 403), ("ann", "annotator", 403)],
)
def test_who_keeps_queues(page: Page, live_server: Any, queue: Queue, name: str, role: str, status: int) -> None:
    """Those below an engineer are told so, and whoever is not signed in is asked to."""
    if not User.objects.filter(username=name).exists():
        make_user(name, role=role)
    for path in ("/queues/", "/queues/new/", "/queues/mood/"):
        page.goto(live_server.url + path)
        assert "/sign-in/" in page.url
    sign_in(page, live_server, name=name)
    for path in ("/queues/", "/queues/new/", "/queues/mood/"):
        answer = page.goto(live_server.url + path)
        assert answer is not None and answer.status == status, path
    assert page.locator("nav >> text=Queues").count() == (status == 200)


@pytest.mark.parametrize("width", [390, 1440])
def test_a_name_without_a_space_pushes_nothing_out_of_sight(page: Page, live_server: Any, width: int) -> None:
    """As long as names may be, in every list that the daily work begins with."""
    word = "Donaudampfschifffahrtsgesellschaft" * 4
    ada = make_user("ada", role="admin")
    long = make_user(word, role="annotator")
    queue = make_queue("mood", signals=[make_signal("mood", title=word)], items=6, members=[ada, long], overlap=2)
    Queue.objects.filter(id=queue.id).update(title=word)
    make_queue("short", signals=[queue.signals.get()], members=[ada])
    page.set_viewport_size({"width": width, "height": 844})
    sign_in(page, live_server, name="ada")
    for path in ("/label/", "/queues/", "/queues/mood/", "/review/", "/settings/people/"):
        page.goto(live_server.url + path)
        spare = page.evaluate(
            "[...document.querySelectorAll('.scroll, html')].map((box) => box.scrollWidth - box.clientWidth)"
        )
        assert max(spare) <= 0, path
