"""The labelling desk by keyboard, in a real browser: right labels, nothing lost, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from labeling.models import Category, Label, Queue, Slot, Submission, User
from tests.browser.hands import SUBMIT, VALUES, assignment, at_desk, more, press, settled, sign_in, stored
from tests.make import make_conversation, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ann() -> User:
    return make_user("ann")


@pytest.fixture
def queue(ann: User) -> Queue:
    return make_queue("mood", signals=[make_signal("sentiment")], items=12, members=[ann])


@pytest.fixture
def desk(page: Page, live_server: Any, queue: Queue) -> Page:
    """The first item of the queue, reached with Enter from the list of queues."""
    sign_in(page, live_server)
    page.wait_for_selector("button:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("#turns li")
    return page


def test_ten_items_by_keyboard_alone(desk: Page) -> None:
    given = {press(desk, key): VALUES[int(key) - 1] for key in "1231231231"}
    settled(desk)
    assert len(given) == 10
    assert stored() == given
    seconds = [value or 0 for value in Label.objects.values_list("seconds", flat=True)]
    assert all(0 <= value < 60 for value in seconds)
    assert set(Label.objects.values_list("guideline__version", flat=True)) == {1}


@pytest.mark.parametrize(("seconds", "words"), [(30, "5 minutes"), (27, "5 minutes"), (450, "1 h 15 min")])
def test_the_list_and_the_desk_tell_the_same_time(
    page: Page, live_server: Any, ann: User, seconds: int, words: str
) -> None:
    queue = make_queue("mood", signals=[make_signal("sentiment")], items=11, members=[ann])
    slot = queue.slots.get(position=0)
    Slot.objects.filter(id=slot.id).update(state="done", annotator=ann)
    Submission.objects.create(
        slot=slot, item=slot.item, annotator=ann, key="k", kind="answer", answer={}, seconds=seconds
    )
    sign_in(page, live_server)
    page.wait_for_selector(f"text=about {words} at your pace")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#pace >> text={words} left at your pace")


def test_a_label_costs_one_request(desk: Page) -> None:
    desk.wait_for_load_state("networkidle")
    calls: list[str] = []
    desk.on("request", lambda request: calls.append(request.url))
    for key in "123":
        press(desk, key)
        settled(desk)
    desk.wait_for_load_state("networkidle")
    assert len(calls) == 3, calls


def test_undo_brings_the_answer_back_and_another_replaces_it(desk: Page) -> None:
    press(desk, "1")
    second = press(desk, "3")
    settled(desk)
    desk.keyboard.press("Backspace")
    desk.wait_for_selector(f"#desk[data-assignment='{second}']")
    assert desk.locator("input[value=positive]").is_checked()
    press(desk, "2")
    settled(desk)
    assert stored()[second] == "neutral"
    assert Label.objects.filter(submission__slot_id=second).count() == 2
    assert len(stored()) == 2


def test_three_undone_come_back_one_after_another_with_their_answers(desk: Page) -> None:
    """Only two of them are held; the others come back from the queue, with the drafts that the browser has kept."""
    given = [(press(desk, key), VALUES[int(key) - 1]) for key in "1231"]
    settled(desk)
    for slot, value in reversed(given[1:]):
        desk.keyboard.press("Backspace")
        desk.wait_for_selector(f"#desk[data-assignment='{slot}']")
        assert desk.locator(f"input[value={value}]").is_checked()
        settled(desk)
        desk.wait_for_load_state("networkidle")
        assert Slot.objects.filter(state="leased").count() == 2
    assert len(stored()) == 1
    for slot, value in given[1:]:
        desk.wait_for_selector(f"#desk[data-assignment='{slot}']")
        assert desk.locator(f"input[value={value}]").is_checked()
        desk.keyboard.press("Enter")
    settled(desk)
    assert {slot: stored()[slot] for slot, _ in given} == dict(given)


def test_an_undo_without_a_connection_is_sent_in_its_turn(desk: Page) -> None:
    desk.wait_for_load_state("networkidle")
    desk.context.set_offline(True)
    first = press(desk, "1")
    desk.keyboard.press("Control+z")
    desk.wait_for_selector(f"#desk[data-assignment='{first}']")
    press(desk, "3")
    desk.context.set_offline(False)
    settled(desk)
    assert stored() == {first: "positive"}


def test_an_undo_of_an_answer_whose_acknowledgement_was_lost(desk: Page) -> None:
    """The browser cannot know whether the server has it; the correction must count either way."""
    desk.wait_for_load_state("networkidle")

    cut = [True]

    def swallow(route: Route) -> None:
        if not cut:
            return route.continue_()
        route.fetch()
        return route.abort()

    desk.route(SUBMIT, swallow)
    first = press(desk, "1")
    desk.wait_for_function("document.getElementById('sending').textContent.includes('waits')")
    desk.keyboard.press("Backspace")
    desk.wait_for_selector(f"#desk[data-assignment='{first}']")
    cut.clear()
    press(desk, "2")
    settled(desk)
    assert stored() == {first: "neutral"}


def test_offline_answers_are_sent_later_in_order_and_once(desk: Page) -> None:
    desk.wait_for_load_state("networkidle")
    desk.context.set_offline(True)
    first = press(desk, "1")
    desk.keyboard.press("2")
    desk.wait_for_function("document.getElementById('sending').textContent.startsWith('2 answers wait')")
    assert stored() == {}
    desk.context.set_offline(False)
    settled(desk)
    assert Submission.objects.earliest("id").slot_id == int(first)
    assert sorted(stored().values()) == ["negative", "neutral"]
    press(desk, "3")  # and work goes on


def test_an_answer_whose_acknowledgement_was_lost_is_stored_once(desk: Page) -> None:
    lost: list[int] = []

    def swallow(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().status)
        route.abort()

    desk.route(SUBMIT, swallow)
    first = press(desk, "1")
    settled(desk)
    assert lost == [201]
    assert stored() == {first: "negative"}
    assert Submission.objects.count() == 1


def test_a_page_in_between_that_says_200_to_everything_acknowledges_nothing(desk: Page) -> None:
    desk.wait_for_load_state("networkidle")
    met: list[str] = []

    def portal(route: Route) -> None:
        if met:
            return route.continue_()
        met.append(route.request.url)
        return route.fulfill(status=200, content_type="text/html", body="<h1>Welcome to our network</h1>")

    desk.route(SUBMIT, portal)
    first = press(desk, "3")
    settled(desk)
    assert met
    assert stored() == {first: "positive"}


def test_unsent_answers_survive_a_reload(desk: Page) -> None:
    desk.wait_for_load_state("networkidle")
    desk.route(SUBMIT, lambda route: route.abort())
    first = press(desk, "3")
    desk.unroute(SUBMIT)
    desk.reload()
    settled(desk)
    assert stored() == {first: "positive"}


def test_a_draft_survives_a_reload(page: Page, live_server: Any, ann: User) -> None:
    signals = [make_signal("sentiment"), make_signal("resolution", values=("yes", "no"), scale="binary")]
    at_desk(page, live_server, make_queue("both", signals=signals, items=2, members=[ann]))
    page.keyboard.press("3")
    page.keyboard.press("c")
    page.keyboard.type("quite glad 1")
    before = assignment(page)
    page.reload()
    page.wait_for_selector("#turns li")
    assert assignment(page) == before
    assert page.locator("input[value=positive]").is_checked()
    assert page.input_value("#comment") == "quite glad 1"
    page.keyboard.press("2")  # the focus is on the question that is still open
    press(page, "Enter")
    settled(page)
    assert sorted(Label.objects.values_list("value", "comment")) == [
        ("no", "quite glad 1"),
        ("positive", "quite glad 1"),
    ]


def test_keys_are_silent_while_typing_in_a_dialog_and_with_a_modifier(desk: Page) -> None:
    before = assignment(desk)
    desk.keyboard.press("c")
    desk.keyboard.type("1 s f 2")
    assert assignment(desk) == before
    desk.keyboard.press("Escape")
    desk.keyboard.press("Alt+1")
    desk.keyboard.press("Control+1")
    desk.keyboard.press("?")
    desk.keyboard.press("1")
    desk.keyboard.press("Escape")
    assert assignment(desk) == before
    assert stored() == {}


def test_every_scale_by_keyboard(page: Page, live_server: Any, ann: User) -> None:
    topics = make_signal("topics", scale="multilabel", values=("billing", "login", "refund"))
    effort = make_signal("effort", scale="interval", minimum=1, maximum=7)
    intent = make_signal("intent", scale="nominal", values=("cancel",))
    Category.objects.filter(signal=intent).update(key="")
    Category.objects.bulk_create(
        Category(signal=intent, position=at, value=f"other-{at}", label=f"Other reason {at}") for at in range(1, 30)
    )
    at_desk(page, live_server, make_queue("all", signals=[topics, effort, intent], items=1, members=[ann]))
    for key in ("1", "3", "Enter"):
        page.keyboard.press(key)
    page.keyboard.type("5.5")
    page.keyboard.press("Enter")
    page.keyboard.type("reason 17")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    settled(page)
    assert dict(Label.objects.values_list("signal__slug", "value")) == {
        "topics": '["billing", "refund"]',
        "effort": "5.5",
        "intent": "other-17",
    }


def test_skip_and_flag_with_their_reasons(desk: Page) -> None:
    for command in ("s", "f"):
        # Keys are silent in a dialog and while an item is on its way: neither, before the next key.
        desk.wait_for_function("!document.querySelector('dialog[open]')")
        desk.wait_for_selector("#desk[data-assignment]")
        desk.wait_for_selector("#turns li")
        before = assignment(desk)
        desk.keyboard.press(command)
        desk.wait_for_selector(".reasons[open]")
        desk.keyboard.press("2")
        desk.wait_for_function("b => document.getElementById('desk').dataset.assignment !== b", arg=before)
    settled(desk)
    acts = list(Submission.objects.order_by("id").values_list("kind", "reason"))
    assert acts == [("skip", "Cannot be read or heard"), ("flag", "not_a_conversation")]


def test_the_end_of_a_queue_and_its_account(page: Page, live_server: Any, ann: User) -> None:
    at_desk(page, live_server, make_queue("short", items=2, members=[ann]))
    press(page, "1")
    press(page, "1")
    settled(page)
    page.wait_for_selector("#waiting >> text=Why, and how it went")
    page.keyboard.press("Enter")
    page.wait_for_url("**/label/short/done/")
    assert "nothing is left" in page.inner_text("h1")


def test_ones_own_keys(desk: Page, ann: User) -> None:
    desk.keyboard.press("?")
    desk.click("[aria-label='Change the key for: skip with a reason']")
    desk.keyboard.press("x")
    desk.wait_for_selector("text=Saved.")
    desk.keyboard.press("Escape")
    desk.keyboard.press("s")
    assert not desk.locator("#skip-reasons").is_visible()
    desk.keyboard.press("x")
    desk.wait_for_selector("#skip-reasons[open]")
    ann.refresh_from_db()
    assert ann.keymap == {"skip": "x"}


def test_what_customers_write_is_text(page: Page, live_server: Any, ann: User) -> None:
    nasty = "</script><script>window.bad=1</script><img src=x onerror='window.bad=1'>"
    at_desk(
        page, live_server, make_queue("nasty", conversations=[make_conversation("c-n", texts=(nasty,))], members=[ann])
    )
    assert nasty in page.inner_text("#turns")
    assert page.evaluate("window.bad") is None


def test_long_transcripts_stay_quick_and_the_asked_turn_is_in_view(page: Page, live_server: Any, ann: User) -> None:
    texts = tuple(f"Turn {number} says something." for number in range(5000))
    queue = make_queue("long", conversations=[make_conversation("c-long", texts=texts)], members=[ann])
    queue.items.update(turn=3000)
    sign_in(page, live_server, "/label/long/")
    page.wait_for_selector("#turns li.asked")
    box = page.locator("#turns li.asked").bounding_box()
    assert box is not None and 0 < box["y"] < 800
    assert page.locator("#turns li").count() == 5000


@pytest.mark.parametrize(("width", "turns"), [(1280, 40), (390, 40), (1280, 1000), (390, 1000)])
def test_the_asked_turn_stays_in_view_among_long_ones(
    page: Page, live_server: Any, ann: User, width: int, turns: int
) -> None:
    """Turns of many lines are higher than what is guessed for those that are not drawn yet."""
    texts = tuple(f"Turn {number}. " + "It went on and on. " * (15 + number % 7) for number in range(turns))
    queue = make_queue("wordy", conversations=[make_conversation("c-wordy", texts=texts)], members=[ann])
    queue.items.update(turn=turns - 12)
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, live_server, "/label/wordy/")
    page.wait_for_selector("#turns li.asked")
    page.wait_for_load_state("networkidle")
    expect(page.locator("#turns li.asked")).to_be_in_viewport()
    page.evaluate(
        "frames => new Promise(then => { const one = () => frames-- ? requestAnimationFrame(one) : then(); one(); })",
        30,
    )
    expect(page.locator("#turns li.asked")).to_be_in_viewport()


def test_two_tabs_do_not_overwrite_each_others_unsent_answers(desk: Page) -> None:
    desk.wait_for_load_state("networkidle")
    other = desk.context.new_page()
    other.goto(desk.url)
    other.wait_for_selector("#turns li")
    other.wait_for_load_state("networkidle")
    desk.context.set_offline(True)
    first = press(desk, "1")
    # The same item was open in both tabs: the other one does not ask it again.
    other.wait_for_selector("text=You answered the last one in another tab.")
    second = press(other, "2")
    assert first != second
    desk.context.set_offline(False)
    settled(desk)
    other.close()
    assert set(stored()) == {first, second}
    assert stored()[second] == "neutral"


def test_what_is_on_its_way_from_one_tab_is_not_asked_again_in_another(page: Page, live_server: Any, ann: User) -> None:
    queue = make_queue("mood", signals=[make_signal("sentiment")], items=3, members=[ann])
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("#turns li")
    other.wait_for_load_state("networkidle")
    on_their_way: list[Route] = []
    page.route(SUBMIT, lambda route: on_their_way.append(route))
    given = [press(page, "1")]
    other.wait_for_selector("text=You answered the last one in another tab.")
    for route in on_their_way:
        route.continue_()
    settled(page)
    page.close()
    while more(other):
        given.append(press(other, "2"))
        settled(other)
        assert "not taken" not in other.inner_text("#notice")
    assert len(given) == len(set(given)) == 3
    assert set(stored()) == set(given)


def test_a_tab_that_closes_gives_nothing_back_that_another_has_on_screen(desk: Page, queue: Queue) -> None:
    desk.wait_for_load_state("networkidle")
    other = desk.context.new_page()
    other.goto(desk.url)
    other.wait_for_selector("#turns li")
    other.wait_for_load_state("networkidle")
    # The other tab goes on to the item that this one has ahead: what closes here is on screen there.
    first = press(other, "1")
    settled(other)
    desk.wait_for_selector("text=You answered the last one in another tab.")
    shown = assignment(other)
    desk.keyboard.press("Backspace")
    desk.wait_for_selector(f"#desk[data-assignment='{first}']")
    desk.wait_for_load_state("networkidle")
    desk.close(run_before_unload=False)
    other.keyboard.press("f")
    other.wait_for_selector("#flag-reasons[open]")
    other.keyboard.press("1")
    other.wait_for_function("shown => document.getElementById('desk').dataset.assignment !== shown", arg=shown)
    settled(other)
    assert Submission.objects.filter(slot=shown, kind="flag").count() == 1


def test_what_was_chosen_before_a_skip_comes_back_with_it(page: Page, live_server: Any, ann: User) -> None:
    at_desk(
        page,
        live_server,
        make_queue("both", signals=[make_signal("mood"), make_signal("tone")], items=3, members=[ann]),
    )
    page.keyboard.press("3")
    page.keyboard.press("s")
    page.wait_for_selector("#skip-reasons[open]")
    press(page, "3")
    settled(page)
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Backspace")
    page.wait_for_selector("[data-signal=mood] input[value=positive]:checked", state="attached")


def test_leaving_gives_back_what_was_only_prefetched(desk: Page, live_server: Any, queue: Queue) -> None:
    desk.wait_for_load_state("networkidle")
    assert queue.slots.filter(state="leased").count() == 2
    desk.goto(f"{live_server.url}/label/")
    for _ in range(50):
        if queue.slots.filter(state="leased").count() == 1:
            break
        desk.wait_for_timeout(100)
    assert queue.slots.filter(state="leased").count() == 1


def test_on_a_phone_the_answers_lie_under_the_thumb(desk: Page) -> None:
    desk.set_viewport_size({"width": 360, "height": 640})
    box = desk.locator(".answer").first.bounding_box()
    assert box is not None and box["y"] > 320 and box["height"] >= 40
    assert desk.evaluate("document.documentElement.scrollWidth") <= 360
    before = assignment(desk)
    desk.click(".answer >> nth=1")
    desk.wait_for_function("b => document.getElementById('desk').dataset.assignment !== b", arg=before)
    settled(desk)
    assert stored() == {before: "neutral"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(desk: Page, live_server: Any, scheme: str) -> None:
    desk.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for path in ("/label/", "/label/mood/", "/label/mood/done/"):
        desk.goto(live_server.url + path)
        desk.wait_for_load_state("networkidle")
        if path == "/label/mood/":
            desk.keyboard.press("h")
            desk.keyboard.press("c")
        found = Axe().run(desk)["violations"]
        assert not found, [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]
