"""Calls in a real browser: who speaks is marked, a turn is played, the page follows until one scrolls, long calls stay in step.

The sound is silence; what is waited for is the place in it, never time."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page

from labeling.models import Conversation, Slot, User
from tests.browser.hands import at_desk, sign_in, sound
from tests.make import make_conversation, make_known, make_label, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
AT = "document.querySelector('audio').currentTime"
PAUSED = "document.querySelector('audio').paused"
FOLLOWS = "[data-voice=follow][aria-pressed=true]"


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def turns(count: int, *, seconds: float = 1.0) -> list[dict[str, Any]]:
    roles = ("customer", "agent")
    return [
        {"role": roles[at % 2], "text": f"Turn {at}. " * 12, "start": at * seconds, "end": (at + 1) * seconds}
        for at in range(count)
    ]


def call(page: Page, said: list[dict[str, Any]], *, seconds: int = 60, **kw: Any) -> Conversation:
    return make_conversation("c-call", turns=said, audio=sound(page, seconds=seconds), **({"channel": "voice"} | kw))


def in_call(page: Page, live_server: Any, ann: User, conversation: Conversation) -> Page:
    return at_desk(page, live_server, make_queue("calls", conversations=[conversation], members=[ann]))


def spoken(page: Page) -> list[int]:
    return [
        int(number)
        for number in page.evaluate(
            "[...document.querySelectorAll('#turns > *')].flatMap((row, at) => row.matches('.spoken') ? [at] : [])"
        )
    ]


def test_the_spoken_turn_is_marked_and_a_click_goes_there(page: Page, live_server: Any, ann: User) -> None:
    said = [{"role": "customer", "text": "Hello", "start": 0, "end": 1}, {"role": "agent", "text": "Hi", "start": 1}]
    in_call(page, live_server, ann, call(page, said, seconds=30))
    page.keyboard.press(" ")
    page.wait_for_selector("#turns li.spoken >> text=Hi")
    page.keyboard.press(" ")
    page.wait_for_function(PAUSED)
    page.click("#turns li >> nth=0")
    assert (page.evaluate(AT), spoken(page)) == (0, [0])
    page.click("#turns li >> nth=1")
    assert (page.evaluate(AT), spoken(page)) == (1, [1])
    page.keyboard.press("b")
    assert (page.evaluate(AT), spoken(page)) == (0, [0])


def test_one_turn_is_played_and_no_more(page: Page, live_server: Any, ann: User) -> None:
    in_call(page, live_server, ann, call(page, turns(6)))
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("p")
    page.wait_for_function(f"{AT} > 2.3")
    page.wait_for_function(f"{PAUSED} && {AT} < 3")
    page.wait_for_function("!document.querySelector('audio').seeking")
    assert spoken(page) == [2]
    assert 2.9 < page.evaluate(AT) < 3
    page.keyboard.press("p")  # the same one again
    page.wait_for_function(f"!{PAUSED} && {AT} < 2.9")
    page.wait_for_function(f"{PAUSED}")
    assert spoken(page) == [2]


def test_speed_by_key_is_kept_for_the_next_page(page: Page, live_server: Any, ann: User) -> None:
    in_call(page, live_server, ann, call(page, turns(3)))
    rate = "document.querySelector('audio').playbackRate"
    for _ in range(3):
        page.keyboard.press(".")
    assert page.evaluate(rate) == 1.75
    page.keyboard.press(",")
    assert page.evaluate(rate) == 1.5
    page.reload()
    page.wait_for_selector("#turns li")
    assert page.evaluate(rate) == 1.5
    assert page.input_value("[data-voice=speed]") == "1.5"


def test_the_page_follows_until_one_scrolls_and_again_when_asked(page: Page, live_server: Any, ann: User) -> None:
    in_call(page, live_server, ann, call(page, turns(40)))
    page.click("#turns li >> nth=2")
    page.keyboard.press(".")
    page.keyboard.press(" ")
    page.wait_for_function(f"{AT} > 2.4")
    page.wait_for_selector(FOLLOWS)
    for place in range(20):  # what lies within a moment of the page's own scrolling is taken for that
        page.evaluate("at => scrollTo(0, at)", 1500 + place)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        if not page.locator(FOLLOWS).count():
            break
        page.wait_for_timeout(50)
    assert not page.locator(FOLLOWS).count()
    page.wait_for_function(
        "was => [...document.querySelectorAll('#turns > *')].findIndex((row) => row.matches('.spoken')) > was + 1",
        arg=spoken(page)[-1],
    )
    assert page.evaluate("document.querySelector('#turns .spoken').getBoundingClientRect().bottom") < 0
    page.keyboard.press("l")
    page.wait_for_selector(FOLLOWS)
    page.wait_for_function(
        "() => { const box = document.querySelector('#turns .spoken').getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight; }"
    )


def test_what_was_said_stands_beside_what_was_heard_and_doubted_words_say_so(
    page: Page, live_server: Any, ann: User
) -> None:
    said = [
        {"role": "customer", "text": "cancel my flat", "start": 0, "end": 2},
        {"role": "agent", "text": "of course", "start": 2, "end": 4, "words": [{"word": "of", "confidence": 0.31}, {"word": "course", "confidence": 0.99}]},
    ]  # fmt: skip
    asr = {"hypothesis": "cancel my flat\nof course", "reference": "cancel my plan\nof course"}
    in_call(page, live_server, ann, call(page, said, asr=asr))
    first = page.locator("#turns li").first
    assert first.locator(".misheard").all_inner_texts() == ["flat"]
    assert "plan" in first.locator(".reference").inner_text()
    doubted = page.locator("#turns .unsure")
    assert doubted.count() == 1 and doubted.get_attribute("title") == "heard with 31 % certainty"
    page.keyboard.press("r")
    assert not first.locator(".reference").is_visible() and first.locator(".misheard").is_visible()
    page.keyboard.press("r")
    assert first.locator(".reference").is_visible()


def test_a_call_that_cannot_be_played_says_so_and_marks_nobody(page: Page, live_server: Any, ann: User) -> None:
    conversation = call(page, turns(2))
    Conversation.objects.filter(id=conversation.id).update(audio="/static/no-such-call.wav")
    in_call(page, live_server, ann, conversation)
    page.keyboard.press(" ")
    page.wait_for_selector(".clock >> text=cannot be played")
    page.wait_for_function(PAUSED)
    page.click("#turns li >> nth=1")
    assert page.inner_text(".clock") == "cannot be played" and spoken(page) == []


def test_half_an_hour_on_two_channels_stays_in_step(page: Page, live_server: Any, ann: User) -> None:
    """Two speakers, one clock: at every place those are marked who speak there, also both at once, to the last second."""
    said: list[dict[str, Any]] = []
    for number in range(600):
        said.append({"role": "customer", "text": f"C{number}", "start": 3.0 * number, "end": 3.0 * number + 2})
        said.append({"role": "agent", "text": f"A{number}", "start": 3.0 * number + 1.5, "end": 3.0 * number + 2.9})
    conversation = make_conversation(
        "c-long", turns=said, channel="voice", audio=sound(page, seconds=1800, channels=2, rate=3000)
    )
    in_call(page, live_server, ann, conversation)
    page.keyboard.press(" ")
    page.wait_for_function(f"{AT} > 0")
    page.keyboard.press(" ")
    page.wait_for_function(PAUSED)
    assert page.evaluate("document.querySelector('audio').duration") == 1800
    for place, rows in ((1798.7, [1198, 1199]), (900.5, [600]), (902.4, [601]), (1795.7, [1196, 1197]), (0.5, [0])):
        page.evaluate(
            "at => { const seek = document.querySelector('[data-voice=seek]'); seek.step = 'any'; seek.value = at; seek.dispatchEvent(new Event('input')); }",
            place,
        )
        page.wait_for_function(
            f"at => Math.abs({AT} - at) < 0.001 && !document.querySelector('audio').seeking", arg=place
        )
        assert spoken(page) == rows, place


@pytest.mark.parametrize("path", ["/review/calls/", "/conversations/c-call/", "/label/calls/practice/"])
def test_the_same_player_on_review_conversation_and_practice(
    page: Page, live_server: Any, ann: User, path: str
) -> None:
    conversation = call(page, turns(4), channel="chat" if "practice" in path else "voice")
    signal = make_signal()
    queue = make_queue("calls", signals=[signal], conversations=[conversation], overlap=2)
    for number, value in enumerate(("negative", "positive")):
        person = make_user(f"p{number}")
        Slot.objects.filter(queue=queue, number=number).update(state="done", annotator=person)
        make_label(conversation, signal, person, value, item=queue.items.get())
    User.objects.filter(id=ann.id).update(role="reviewer")
    if "practice" in path:
        make_known(queue, ["positive"])
        queue.memberships.create(user=ann, lane=0)
        Conversation.objects.filter(known_items__queue=queue).update(turns=conversation.turns, audio=conversation.audio)
        type(queue).objects.filter(id=queue.id).update(practice_size=1)
    sign_in(page, live_server, path)
    if "practice" in path:
        page.keyboard.press("Enter")
    page.wait_for_selector("#player:not([hidden])")
    page.click("#turns > * >> nth=2 >> .text")
    assert page.evaluate(AT) == 2
    page.wait_for_selector("#turns > .spoken")
    assert spoken(page) == [2]
    page.click("[data-voice=back]")
    assert (page.evaluate(AT), spoken(page)) == (1, [1])
    found = Axe().run(page)["violations"]
    assert not found, [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]
    if "conversations" in path:
        return
    page.keyboard.press("b")
    assert page.evaluate(AT) == 0
    page.keyboard.press(".")
    assert page.evaluate("document.querySelector('audio').playbackRate") == 1.25
    page.click("#turns > * >> nth=1 >> .text")
    page.keyboard.press("p")
    page.wait_for_function(f"{AT} > 1.3")
    page.wait_for_function(f"{PAUSED} && {AT} < 2")
