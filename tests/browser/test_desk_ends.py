"""What a desk does at the edges of its time in a browser: leases go on while somebody is there, and an empty page says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route

from labeling import labels, leasing
from labeling.models import CheckAnswer, Label, Queue, Slot, Submission, User
from tests.browser.hands import assignment, at_desk, more, press, settled, sign_in
from tests.make import make_known, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ann() -> User:
    return make_user("ann")


def take(person: User, queue: Queue, value: str | None = None) -> Slot:
    """The next slot for somebody at another machine, answered where a value is given."""
    slot = leasing.lease(annotator=person, queue=queue, now=timezone.now())
    assert slot is not None
    if value:
        answer = [{"signal": queue.signals.get().slug, "value": value}]
        labels.submit(
            annotator=person, slot_id=slot.id, answers=answer, key=f"{person.id}-{slot.id}", now=timezone.now()
        )
    return slot


def test_leases_are_renewed_while_somebody_is_there_and_run_out_when_nobody_is(
    page: Page, live_server: Any, ann: User
) -> None:
    """Both that are held, on screen and prefetched, whenever half of their time has gone; the clock is the test's."""
    queue = make_queue("mood", signals=[make_signal("mood")], items=4, members=[ann], lease_seconds=60)
    renewed: list[str] = []
    page.on("response", lambda answer: renewed.append(answer.url) if answer.url.endswith("/renew/") else None)
    page.clock.install()
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")  # the next item is here, too
    mine = queue.slots.filter(annotator=ann, state="leased")
    held = set(mine.values_list("id", flat=True))
    assert len(held) == 2
    for times in (1, 2):
        mine.update(leased_until=timezone.now() + timedelta(seconds=1))
        page.mouse.move(100, 100 * times)
        page.clock.fast_forward(35_000)
        while any(sum(f"/{slot}/" in url for url in renewed) < times for slot in held):
            page.wait_for_timeout(50)
        assert min(mine.values_list("leased_until", flat=True)) > timezone.now() + timedelta(seconds=20)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(300_000)  # nobody touches anything
    page.evaluate("fetch('/label/')")  # comes after whatever was asked at the end of that time
    assert len(asked) == 1
    late = timezone.now() + timedelta(minutes=2)
    ben = make_user("ben")
    queue.memberships.create(user=ben, lane=0)
    taken = set()
    while (slot := leasing.lease(annotator=ben, queue=queue, now=late, holding=list(taken))) is not None:
        taken.add(slot.id)
        answer = [{"signal": "mood", "value": "neutral"}]
        labels.submit(annotator=ben, slot_id=slot.id, answers=answer, key=str(slot.id), now=late)
    assert taken >= held


def test_time_is_active_time(page: Page, live_server: Any, ann: User) -> None:
    """An hour without a sign of life counts as half a minute, an hour in a hidden tab as nothing."""
    page.add_init_script(
        "window.passed = 0; const now = performance.now.bind(performance); performance.now = () => now() + window.passed;"
    )
    queue = make_queue("mood", signals=[make_signal("mood")], items=3, members=[ann])
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")  # the next item is here, too
    page.mouse.move(10, 10)
    page.evaluate("window.passed += 3600e3")
    press(page, "1")
    settled(page)
    page.wait_for_selector("#desk[data-assignment]")
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
        window.passed += 3600e3;
        Object.defineProperty(document, "hidden", { value: false, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    press(page, "1")
    settled(page)
    idle, hidden = Submission.objects.order_by("id").values_list("seconds", flat=True)
    assert 30 <= (idle or 0) < 60
    assert 0 <= (hidden or 0) < 30


def test_a_late_answer_is_shown_to_the_reviewer_and_is_no_vote(
    page: Page, browser: Browser, live_server: Any, ann: User
) -> None:
    ben, cleo, rita = make_user("ben"), make_user("cleo"), make_user("rita", role="reviewer")
    signal = make_signal("mood")
    queue = make_queue("mood", signals=[signal], items=1, overlap=2, members=[ann, ben, cleo])
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")  # the next item is here, too
    queue.slots.filter(annotator=ann).update(leased_until=timezone.now() - timedelta(hours=1))
    take(ben, queue, "negative")
    take(cleo, queue, "neutral")
    page.keyboard.press("c")
    page.keyboard.type("I saw it first")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.wait_for_selector("#notice >> text=kept as a late one")
    settled(page)
    assert Label.objects.get(annotator=ann).late
    context = browser.new_context()
    review = sign_in(context.new_page(), live_server, "/review/mood/", name=rita.username)
    review.wait_for_selector("#decision[data-ready]")
    assert review.inner_text("h1") == "1 says Negative; 1 says Neutral."
    late = review.locator(".votes li", has_text="Positive")
    assert "late" in late.inner_text() and "I saw it first" in late.inner_text()
    context.close()


def test_what_is_held_by_others_is_said_with_its_time_and_looked_for_again(
    page: Page, live_server: Any, ann: User
) -> None:
    ben = make_user("ben")
    queue = make_queue("mood", signals=[make_signal("mood")], items=2, members=[ann, ben])
    held = take(ben, queue)
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")  # the next item is here, too
    press(page, "1")
    settled(page)
    page.wait_for_selector("#waiting >> text=Why, and how it went")
    assert not page.locator("#questions").is_visible()  # nobody answers what is not there
    page.keyboard.press("3")
    assert Axe().run(page)["violations"] == []
    page.keyboard.press("Enter")
    page.wait_for_url("**/done/")
    until = Slot.objects.get(id=held.id).leased_until
    assert until is not None
    assert page.inner_text("h1") == f"What is left is held by others until {until:%H:%M} UTC."
    leasing.release(annotator=ben, slot_id=held.id, now=timezone.now())
    page.reload()
    page.wait_for_selector("button:focus >> text=Go on labelling")
    page.keyboard.press("Enter")
    page.wait_for_selector("#turns li")
    assert assignment(page) == str(held.id) and page.locator("#questions").is_visible()
    press(page, "2")
    settled(page)
    page.keyboard.press("Backspace")  # the last one comes back from the end, too
    page.wait_for_selector(f"#desk[data-assignment='{held.id}']")
    assert page.locator("#questions").is_visible() and page.locator("input[value=neutral]").is_checked()
    press(page, "1")
    settled(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1 >> text=Mood is done: nothing is left to label.")


def test_what_the_page_before_gives_back_is_not_the_end(
    page: Page, live_server: Any, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its release lands after it was looked where they stand for the next page, and before that one has its item."""
    place, release = leasing.place, leasing.release
    given_back: list[int] = []
    reloads = 0

    def place_and_give_back(**asked: Any) -> leasing.Place:
        standing = place(**asked)
        if standing.holding and standing.held_elsewhere is not None and len(given_back) < reloads:
            given_back.append(standing.held_elsewhere)
            release(annotator=ann, slot_id=standing.held_elsewhere, now=timezone.now())
        return standing

    monkeypatch.setattr(leasing, "place", place_and_give_back)
    monkeypatch.setattr(leasing, "release", lambda **asked: False)
    at_desk(page, live_server, make_queue("mood", signals=[make_signal("mood")], items=8, members=[ann]))
    for reloads in range(1, 6):
        press(page, "1")
        settled(page)  # the answer has brought the item after the next one
        with page.expect_response("**/next/"):
            page.reload()
        assert len(given_back) == reloads
        page.wait_for_selector("#turns li")
    press(page, "1")
    assert more(page)


def test_one_empty_answer_is_not_believed_while_more_is_counted(page: Page, live_server: Any, ann: User) -> None:
    """Neither where nothing is on screen yet, nor of what is asked for in advance."""
    asked: list[str] = []

    def empty_at_first(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) in (1, 3):
            route.fulfill(status=204)
        else:
            route.continue_()

    page.route("**/next/", empty_at_first)
    queue = make_queue("mood", signals=[make_signal("mood")], items=5, members=[ann])
    with page.expect_response(lambda response: response.status == 204 and len(asked) == 3):
        at_desk(page, live_server, queue)
    press(page, "1")
    assert more(page)


def test_a_queue_with_nothing_for_me_says_why_at_once(page: Page, live_server: Any, ann: User) -> None:
    make_queue("mood", signals=[make_signal("mood")], items=0, members=[ann])
    sign_in(page, live_server, "/label/mood/")
    page.wait_for_url("**/done/")
    page.wait_for_selector("h1 >> text=Mood is done: nothing is left to label.")


def test_what_only_others_may_still_label_is_said(page: Page, live_server: Any, ann: User) -> None:
    queue = make_queue("mood", signals=[make_signal("mood")], items=1, overlap=2, members=[ann, make_user("ben")])
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")  # the next item is here, too
    press(page, "1")
    settled(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1 >> text=What is left is not yours: you have had every item that still needs a label.")


def test_a_practice_round_that_was_not_passed_is_done_again(page: Page, live_server: Any, ann: User) -> None:
    queue = make_queue("mood", signals=[make_signal("mood")], items=2, members=[ann])
    make_known(queue, ["positive"], explanation="They thank twice.")
    Queue.objects.filter(id=queue.id).update(practice_size=1, practice_pass=1)
    sign_in(page, live_server, "/label/mood/practice/", name="ann")
    for key, told in (("1", "0 of 1 were right: once more, then Mood opens."), ("3", "You passed: 1 of 1 were right.")):
        page.wait_for_selector("button:focus")
        page.keyboard.press("Enter")
        page.wait_for_selector("#decision[data-ready]")
        page.keyboard.press(key)
        page.wait_for_selector("a[rel=next]:focus")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"h1 >> text={told}")
        page.goto(f"{live_server.url}/label/mood/")
        assert page.url.endswith("/practice/") == (key == "1")
    page.wait_for_selector("#turns li")
    assert not Label.objects.filter(annotator=ann).exists()


def test_checks_that_are_undone_come_back_with_their_answers_two_in_hand_at_most(
    page: Page, live_server: Any, ann: User
) -> None:
    queue = make_queue("mood", signals=[make_signal("mood")], items=12, members=[ann], gold_share=0.5)
    make_known(queue, ["positive"] * 12)
    at_desk(page, live_server, queue)
    page.wait_for_load_state("networkidle")  # the next item is here, too
    given = {press(page, key): key for key in "12312312"}
    settled(page)
    page.wait_for_load_state("networkidle")
    before = answers(ann)
    undone = list(reversed(given))[:6]
    assert sum(Slot.objects.get(id=int(slot)).is_check for slot in undone) >= 2
    for slot in undone:
        page.keyboard.press("Backspace")
        page.wait_for_selector(f"#desk[data-assignment='{slot}']")
        settled(page)
        page.wait_for_load_state("networkidle")
        assert queue.slots.filter(annotator=ann, state="leased").count() == 2
    again = set()
    while len(answers(ann)) < len(before):
        page.wait_for_selector("#desk[data-assignment]")
        again.add(press(page, "Enter"))  # the answer is in place: the draft came along
        settled(page)
        page.wait_for_load_state("networkidle")
    assert again == set(undone)
    assert answers(ann) == before


def answers(person: User) -> dict[int, str]:
    """What stands of a person's answers, to items and to checks, by slot."""
    found = dict(
        Label.objects.filter(annotator=person, superseded_at__isnull=True).values_list("submission__slot", "value")
    )
    checked = CheckAnswer.objects.filter(annotator=person, superseded_at__isnull=True)
    return found | dict(checked.values_list("slot", "value"))
