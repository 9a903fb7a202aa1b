"""Every key of the desk's table that has no other test, and what goes with it, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, Route

from labeling import checks, gold
from labeling.models import Category, Guideline, Label, Queue, Submission, User
from tests.browser.hands import SUBMIT, assignment, at_desk, press, press_until_asked, settled, sign_in, stored
from tests.make import make_known, make_label, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def in_focus(page: Page) -> str:
    return str(page.get_attribute(".question.on", "data-signal"))


def test_digits_nought_and_letters_choose_as_the_signal_says(page: Page, live_server: Any, ann: User) -> None:
    signal = make_signal("intent", scale="nominal", values=tuple(f"v{at}" for at in range(8)))
    for value, key in (("v0", "9"), ("v1", "0"), ("v2", "a"), ("v3", "z")):
        Category.objects.filter(signal=signal, value=value).update(key=key)
    at_desk(page, live_server, make_queue(signals=[signal], items=4, members=[ann]))
    given = {press(page, key): value for key, value in (("9", "v0"), ("0", "v1"), ("a", "v2"))}
    page.wait_for_selector("#desk[data-assignment]")
    last = assignment(page)
    page.keyboard.press("z")
    settled(page)
    assert stored() == {**given, last: "v3"}


def test_arrows_go_through_the_questions_and_only_the_one_in_focus_shows_its_keys(
    page: Page, live_server: Any, ann: User
) -> None:
    signals = [make_signal("mood"), make_signal("tone"), make_signal("solved", scale="binary", values=("yes", "no"))]
    at_desk(page, live_server, make_queue(signals=signals, items=1, members=[ann]))
    badges = "[...document.querySelectorAll('.question kbd')].filter((key) => getComputedStyle(key).visibility === 'visible').map((key) => key.closest('.question').dataset.signal)"
    assert set(page.evaluate(badges)) == {"mood"} == {in_focus(page)}
    page.keyboard.press("ArrowDown")
    assert set(page.evaluate(badges)) == {"tone"} == {in_focus(page)}
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert in_focus(page) == "solved"
    page.keyboard.press("2")
    page.keyboard.press("Enter")  # what is open comes first
    assert in_focus(page) == "mood" and not Submission.objects.exists()
    page.keyboard.press("1")
    assert in_focus(page) == "tone"
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    settled(page)
    assert dict(Label.objects.values_list("signal__slug", "value")) == {
        "mood": "negative", "tone": "positive", "solved": "no",
    }  # fmt: skip


def test_ctrl_enter_submits_from_inside_a_comment_with_the_certainty(page: Page, live_server: Any, ann: User) -> None:
    signals = [make_signal("mood"), make_signal("tone")]
    at_desk(page, live_server, make_queue(signals=signals, items=1, members=[ann]))
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.keyboard.press("c")
    page.keyboard.type("said\nwith a smile")
    page.click("text=guessing")
    page.click("#comment")
    page.keyboard.press("Control+Enter")
    settled(page)
    assert set(Label.objects.values_list("comment", "confidence")) == {("said\nwith a smile", 0.4)}


def test_ten_items_back_and_no_further(page: Page, live_server: Any, ann: User) -> None:
    at_desk(page, live_server, make_queue(signals=[make_signal("mood")], items=12, members=[ann]))
    given = [press(page, "1") for _ in range(11)]
    settled(page)
    for expected in reversed(given[1:]):
        page.keyboard.press("Backspace")
        page.wait_for_selector(f"#desk[data-assignment='{expected}']")
        assert page.locator("input[value=negative]").is_checked()
        settled(page)
    page.keyboard.press("Backspace")
    page.wait_for_selector("#notice:not([hidden]) >> text=nothing to take back")
    assert assignment(page) == given[1]
    assert stored() == {given[0]: "negative"}


def test_j_and_k_go_through_the_turns(page: Page, live_server: Any, ann: User) -> None:
    at_desk(page, live_server, make_queue(signals=[make_signal("mood")], items=1, members=[ann]))
    cursor = "[...document.querySelectorAll('#turns li')].findIndex((row) => row.matches('.cursor'))"
    places = []
    for key in "jjjkk":
        page.keyboard.press(key)
        places.append(page.evaluate(cursor))
    assert places == [0, 1, 1, 0, 0]


def test_keys_are_silent_while_the_next_item_is_on_its_way(page: Page, live_server: Any, ann: User) -> None:
    """Nobody answers an item that they have not seen."""
    at_desk(page, live_server, make_queue(signals=[make_signal("mood")], items=4, members=[ann]))
    page.wait_for_load_state("networkidle")
    held: list[Route] = []
    page.route(SUBMIT, lambda route: route.continue_() if held else held.append(route))
    first = press(page, "1")  # the second item was here already
    page.wait_for_selector("#desk[data-assignment]")
    second = assignment(page)
    page.keyboard.press("2")
    page.wait_for_selector("#waiting:not([hidden])")
    for key in ("1", "2", "3", "Enter", "s", "f", "c"):
        page.keyboard.press(key)
    assert not page.locator("dialog[open]").count() and page.locator("#aside").is_hidden()
    held[0].continue_()
    page.wait_for_selector("#desk[data-assignment]")
    settled(page)
    assert stored() == {first: "negative", second: "neutral"}


def test_the_drawer_opens_closes_and_remembers(page: Page, live_server: Any, ann: User) -> None:
    signal = make_signal("mood")
    at_desk(page, live_server, make_queue(signals=[signal], items=40, members=[ann]))
    drawer = page.locator("#guideline")
    assert drawer.is_hidden()
    page.keyboard.press("h")
    assert "what the customer feels" in drawer.inner_text()
    assert page.evaluate("document.activeElement.id") == "guideline"
    page.keyboard.press("Escape")
    assert drawer.is_hidden()
    page.keyboard.press("h")
    page.reload()
    page.wait_for_selector("#turns li")
    assert drawer.is_visible()
    press(page, "1")  # keys go on working beside it
    settled(page)
    Guideline.objects.create(signal=signal, version=2, text="Irony is negative.")
    press_until_asked(page, "1", "guideline/?drawer")
    page.wait_for_selector("#guideline >> text=Irony is negative")
    press(page, "2")
    settled(page)
    read = list(Label.objects.order_by("id").values_list("guideline__version", flat=True))
    assert read[0] == 1 and read[-1] == 2 and read == sorted(read)


def test_a_key_that_is_taken_is_refused_and_the_usual_keys_come_back(page: Page, live_server: Any, ann: User) -> None:
    at_desk(page, live_server, make_queue(signals=[make_signal("mood")], items=1, members=[ann]))
    page.keyboard.press("?")
    change = page.locator("[aria-label='Change the key for: guideline']")
    change.click()
    page.keyboard.press("s")
    page.wait_for_selector("#sheet-state >> text='s' is on")
    change.click()
    page.keyboard.press("g")
    page.wait_for_selector("#sheet-state >> text=Saved.")
    page.keyboard.press("Escape")
    assert page.inner_text("#commands [data-do=guideline] kbd") == "g"
    page.keyboard.press("g")
    assert page.locator("#guideline").is_visible()
    page.reload()
    page.wait_for_selector("#turns li")
    assert page.inner_text("#commands [data-do=guideline] kbd") == "g"
    page.keyboard.press("?")
    page.click("#usual")
    page.wait_for_selector("#sheet-state >> text=Saved.")
    page.keyboard.press("Escape")
    page.keyboard.press("h")
    assert page.locator("#guideline").is_hidden()
    ann.refresh_from_db()
    assert ann.keymap == {}


def test_the_arrow_to_the_right_skips_unless_it_is_given_something_else(
    page: Page, live_server: Any, ann: User
) -> None:
    at_desk(page, live_server, make_queue(signals=[make_signal("mood")], items=3, members=[ann]))
    before = assignment(page)
    page.focus("#questions input >> nth=0")  # where it would choose the next answer
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#skip-reasons[open]")
    page.keyboard.press("1")
    page.wait_for_function("b => document.getElementById('desk').dataset.assignment !== b", arg=before)
    settled(page)
    assert list(Submission.objects.values_list("kind", "reason")) == [("skip", "Not my language")]
    page.wait_for_selector("#desk[data-assignment]")
    page.keyboard.press("?")
    page.click("[aria-label='Change the key for: next turn']")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#sheet-state >> text=Saved.")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    assert not page.locator("dialog[open]").count()
    assert page.locator("#turns li.cursor").count() == 1


def test_of_many_answers_the_last_ones_come_first_and_typing_narrows(page: Page, live_server: Any, ann: User) -> None:
    signal = make_signal("intent", scale="nominal", values=("cancel",))
    Category.objects.filter(signal=signal).update(key="")
    Category.objects.bulk_create(
        Category(signal=signal, position=at, value=f"o-{at}", label=f"Other reason {at}") for at in range(1, 40)
    )
    at_desk(page, live_server, make_queue(signals=[signal], items=3, members=[ann]))
    rows = page.locator(".answer:not([hidden])")
    assert rows.count() == 40 and rows.first.inner_text() == "Cancel"
    for text, value in (("reason 23", "o-23"), ("REASON 31", "o-31")):
        page.wait_for_selector("#desk[data-assignment]")
        before = assignment(page)
        page.keyboard.type(text)
        assert rows.count() == 1
        page.keyboard.press("Enter")
        page.wait_for_function("b => document.getElementById('desk').dataset.assignment !== b", arg=before)
        settled(page)
        page.wait_for_selector("#desk[data-assignment]")
        assert stored()[before] == value
    assert [rows.nth(at).inner_text() for at in range(3)] == ["Other reason 31", "Other reason 23", "Cancel"]
    page.reload()
    page.wait_for_selector("#turns li")
    assert rows.first.inner_text() == "Other reason 31"
    last = assignment(page)
    page.keyboard.type("other")
    page.keyboard.press("ArrowDown")  # from the first to the second of what fits
    page.keyboard.press("Enter")
    settled(page)
    assert stored()[last] == "o-23"


def test_a_practice_round_by_keyboard_opens_the_queue(page: Page, live_server: Any, ann: User) -> None:
    signal = make_signal("mood")
    queue = make_queue("mood", signals=[signal], items=2, members=[ann])
    make_known(queue, ["positive", "positive"], explanation="They thank twice.")
    Queue.objects.filter(id=queue.id).update(practice_size=2, practice_pass=0.5)
    sign_in(page, live_server)
    page.wait_for_selector("main :focus")
    page.keyboard.press("Enter")
    page.wait_for_url("**/practice/")
    page.wait_for_selector("button:focus")
    page.keyboard.press("Enter")
    for key, verdict in (("3", "Right."), ("1", "Not quite.")):
        page.wait_for_selector("#decision[data-ready]")
        page.keyboard.press("h")
        assert page.locator("#guideline[open]").count() == 1
        page.keyboard.press(key)
        page.wait_for_selector(f"h1 >> text={verdict}")
        assert "They thank twice." in page.inner_text("main")
        page.wait_for_selector("a[rel=next]:focus")
        page.keyboard.press("Enter")
    page.wait_for_selector("text=You passed: 1 of 2 were right.")
    assert not Label.objects.filter(annotator=ann).exists()
    page.wait_for_selector("button:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("#turns li")


def test_practice_with_several_questions_takes_the_keys_of_the_desk(page: Page, live_server: Any, ann: User) -> None:
    signals = [make_signal("mood"), make_signal("tags", scale="multilabel"), make_signal("nps", scale="interval")]
    queue = make_queue("mood", signals=signals, items=2, members=[ann])
    home = make_known(queue, ["positive"]).rows.get().conversation
    for signal, value in ((signals[1], '["negative", "neutral"]'), (signals[2], "7")):
        make_label(home, signal, make_user(), value)
        made = gold.freeze(dataset=signal.slug, signal=signal, aggregation="single", now=timezone.now())
        checks.know(queue=queue, versions=[made])
    Queue.objects.filter(id=queue.id).update(practice_size=1, practice_pass=1)
    sign_in(page, live_server, "/label/mood/practice/")
    page.wait_for_selector("button:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("#decision[data-ready]")
    on = "document.querySelector('.choices.on').getAttribute('aria-label')"
    assert page.evaluate(on) == "Mood"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("1")
    page.keyboard.press("2")
    assert page.evaluate(on) == "Tags"
    page.keyboard.press("Enter")
    assert page.evaluate(on) == "Nps"
    page.keyboard.press("7")
    page.keyboard.press("Enter")  # what is open comes first
    assert page.evaluate(on) == "Mood"
    page.keyboard.press("3")
    assert page.evaluate(on) == "Tags"
    assert Axe().run(page)["violations"] == []
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1 >> text=Right.")


@pytest.mark.parametrize("tells", [True, False])
def test_a_gold_check_is_told_only_where_the_queue_says_so(
    page: Page, live_server: Any, ann: User, tells: bool
) -> None:
    queue = make_queue("mood", signals=[make_signal("mood")], items=6, members=[ann])
    make_known(queue, ["positive"] * 4, explanation="They thank twice.")
    Queue.objects.filter(id=queue.id).update(gold_share=0.5, gold_feedback=tells)
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")
    notices = []
    for _ in range(4):  # one of every two is a check
        press(page, "1")
        settled(page)
        notices.append(page.inner_text("#notice") if page.locator("#notice").is_visible() else "")
    checks = list(Submission.objects.order_by("id").values_list("slot__known_item", flat=True))
    assert sum(one is not None for one in checks) >= 1
    told = "The last one was a check. You said Negative; the gold says Positive. They thank twice."
    assert notices == [told if tells and known is not None else "" for known in checks]


def test_each_item_begins_at_its_first_question_and_a_chosen_answer_is_in_view(
    page: Page, live_server: Any, ann: User
) -> None:
    page.set_viewport_size({"width": 1280, "height": 500})
    topic = make_signal("topic", scale="nominal", values=("t0",))
    Category.objects.filter(signal=topic).update(key="")
    Category.objects.bulk_create(
        Category(signal=topic, position=at, value=f"t{at}", label=f"Topic {at}") for at in range(1, 40)
    )
    signals = [
        make_signal("mood"),
        topic,
        make_signal("tone"),
        make_signal("solved", scale="binary", values=("y", "n")),
    ]
    at_desk(page, live_server, make_queue(signals=signals, items=2, members=[ann]))
    page.keyboard.press("1")
    page.keyboard.type("topic 33")
    page.keyboard.press("Enter")
    assert page.evaluate(IN_VIEW, "[data-signal=topic] .answer:has(:checked)")
    page.keyboard.press("2")
    page.keyboard.press("1")
    assert not page.evaluate(IN_VIEW, "[data-signal=mood] legend")
    press(page, "Enter")
    assert in_focus(page) == "mood" and page.evaluate(IN_VIEW, "[data-signal=mood] legend")
    assert page.evaluate("document.querySelector('.answers.big').scrollTop") == 0
    page.keyboard.press("ArrowUp")
    assert in_focus(page) == "solved" and page.evaluate(IN_VIEW, "[data-signal=solved] legend")
    page.keyboard.press("ArrowDown")
    assert in_focus(page) == "mood" and page.evaluate(IN_VIEW, "[data-signal=mood] legend")


def test_what_was_said_to_be_open_is_not_once_it_is_answered(page: Page, live_server: Any, ann: User) -> None:
    signals = [make_signal("mood"), make_signal("tone"), make_signal("nps", scale="interval", maximum=10)]
    at_desk(page, live_server, make_queue(signals=signals, items=1, members=[ann]))
    notice = page.locator("#notice")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")
    assert notice.inner_text() == "Still open: Mood"
    page.click("[data-signal=tone] .answer >> nth=1")  # another answer is not what it asks for
    assert notice.inner_text() == "Still open: Mood"
    page.click("[data-signal=mood] .answer >> nth=1")
    assert notice.is_hidden() and in_focus(page) == "nps"
    page.keyboard.type("42")
    page.keyboard.press("Enter")
    assert notice.inner_text() == "The number is out of range."
    page.keyboard.press("Backspace")
    assert notice.is_hidden()
    page.keyboard.press("Enter")
    settled(page)
    assert Label.objects.count() == 3


def test_in_a_number_the_other_keys_do_what_they_do_elsewhere(page: Page, live_server: Any, ann: User) -> None:
    at_desk(page, live_server, make_queue(signals=[make_signal("nps", scale="interval")], items=3, members=[ann]))
    page.wait_for_selector("[type=number]:focus")
    page.keyboard.press("s")
    page.wait_for_selector("#skip-reasons[open]")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog[open]')")
    page.keyboard.type("42")
    page.keyboard.press("Backspace")  # of what was typed, as in any field
    assert page.input_value("[type=number]") == "4"
    first = press(page, "Enter")
    settled(page)
    page.keyboard.press("Backspace")
    page.wait_for_selector(f"#desk[data-assignment='{first}']")
    assert page.input_value("[type=number]") == "4"
    page.keyboard.press("c")
    assert page.evaluate("document.activeElement.id") == "comment"


def test_a_key_that_answers_has_no_second_badge(page: Page, live_server: Any, ann: User) -> None:
    mood, tone = make_signal("mood"), make_signal("tone")
    for value, key in (("negative", "s"), ("neutral", "c")):
        Category.objects.filter(signal=mood, value=value).update(key=key)
    at_desk(page, live_server, make_queue(signals=[mood, tone], items=1, members=[ann]))
    badge = "name => document.querySelector(`#commands [data-do=${name}] kbd`).textContent"
    assert [page.evaluate(badge, name) for name in ("skip", "comment", "flag")] == ["→", "", "f"]
    page.keyboard.press("s")
    assert in_focus(page) == "tone" and page.locator("[data-signal=mood] input[value=negative]").is_checked()
    assert [page.evaluate(badge, name) for name in ("skip", "comment", "flag")] == ["s", "c", "f"]


IN_VIEW = """(selector) => {
  const one = document.querySelector(selector), box = one.getBoundingClientRect();
  const around = ['.panel', '.answers.big'].map((of) => one.closest(of)).filter(Boolean).map((of) => of.getBoundingClientRect());
  return around.every((room) => box.top >= room.top - 1 && box.bottom <= room.bottom + 1);
}"""
