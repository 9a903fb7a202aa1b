"""One's own page in a browser: what hidden repeats, gold checks and rulings tell, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page

from labeling import adjudication
from labeling.models import CheckAnswer, Label, Queue, User
from tests.browser.hands import follow, more, press, settled, sign_in
from tests.make import make_known, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def queue() -> Queue:
    """Twelve items with repeats and gold checks among them, every second act a check."""
    made = make_queue(
        "mood", signals=[make_signal("mood")], items=12, members=[make_user("ann"), make_user("ben")],
        repeat_share=0.25, repeat_after_items=1, repeat_after_minutes=0, gold_share=0.25,
    )  # fmt: skip
    make_known(made, ["negative"] * 12)
    return made


@pytest.fixture
def a_day_later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets a day go by for the server: the shift has ended."""
    now = timezone.now
    return lambda: monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(days=1))


def figures(page: Page) -> dict[str, list[str]]:
    """The rows of the first table: name → value, interval, items."""
    rows: dict[str, list[str]] = {}
    for row in page.locator("[aria-label='Mood'] tbody tr").all():
        name = (row.locator("th").text_content() or "").strip()
        cells = [" ".join(text.split()) for text in row.locator("td").all_text_contents()]
        rows[name] = cells[1:]
    return rows


def test_a_shift_with_repeats_and_checks_is_told_after_it(
    page: Page, live_server: Any, queue: Queue, a_day_later: Callable[[], None]
) -> None:
    """While it goes on nothing tells which item was a check: no count moves out of step, and the page keeps silent."""
    eve = make_user("eve", role="engineer")
    sign_in(page, live_server, "/label/mood/", name="ann")
    page.wait_for_selector("#desk[data-assignment]")
    left: list[int] = []
    while more(page):
        done, whole = page.inner_text("#count").split(" of ")
        left.append(int(whole) - int(done))
        press(page, "1")
        settled(page)
    assert left == list(range(left[0], left[0] - len(left), -1))
    checked = CheckAnswer.objects.filter(annotator__username="ann")
    repeats, known = checked.filter(first__isnull=False).count(), checked.filter(known__isnull=False).count()
    assert repeats >= 2 and known >= 2 and Label.objects.filter(item__queue=queue).count() == 12
    first = queue.items.order_by("position")[0].conversation
    adjudication.rule(
        signal=queue.signals.get(), conversation=first, value="neutral", reason="slip", reviewer=eve, now=timezone.now()
    )

    page.keyboard.press("Enter")
    page.wait_for_url("**/done/")
    assert "0 of 1" in page.inner_text("main")  # decided otherwise
    follow(page, "text=How steady my answers are")
    assert page.url.endswith("/people/ann/")
    assert "nothing was asked twice yet" in page.inner_text("h1")
    assert "is told an hour after the last answer" in page.inner_text("main")
    assert "Same answer again" not in page.inner_text("main")

    a_day_later()
    page.reload()
    assert page.inner_text("h1") == "You give the same answer to 100 % of the items that came again (Mood)."
    told = figures(page)
    again = next(cells for name, cells in told.items() if name.startswith("Same answer again"))
    assert again[0].startswith("100 %") and " to 100 %" in again[0] and again[1] == str(repeats)
    gold = next(cells for name, cells in told.items() if name.startswith("As the gold says"))
    assert gold[0].startswith("100 %") and gold[1] == str(known)
    ruled = next(cells for name, cells in told.items() if name.startswith("As was ruled"))
    assert ruled[0].startswith("0 %") and ruled[1] == "1"
    assert "s of active time each, the median (" in page.inner_text("h2 >> nth=0")
    page.focus("summary >> text=By category")
    page.keyboard.press("Enter")
    row = page.locator("[aria-label='Mood by category'] tbody tr", has_text="Negative")
    assert f"of {repeats}" in row.inner_text() and f"of {known}" in row.inner_text()
    assert "ben" not in page.inner_text("main")
    assert Axe().run(page)["violations"] == []


def test_an_answer_that_wavers_is_seen(page: Page, live_server: Any, a_day_later: Callable[[], None]) -> None:
    """Repeats alone, each answered otherwise than the first time: the page says so, with an interval that is no point."""
    queue = make_queue(
        "mood", signals=[make_signal("mood")], items=10, members=[make_user("ann")],
        repeat_share=0.4, repeat_after_items=0, repeat_after_minutes=0,
    )  # fmt: skip
    sign_in(page, live_server, "/label/mood/", name="ann")
    page.wait_for_selector("#desk[data-assignment]")
    while more(page):
        slot = queue.slots.get(id=int(page.get_attribute("#desk", "data-assignment") or ""))
        press(page, "1" if slot.item_id else "3")
        settled(page)
    assert set(Label.objects.values_list("value", flat=True)) == {"negative"}  # the first answers stay as they were
    a_day_later()
    page.goto(f"{live_server.url}/people/ann/")
    assert page.inner_text("h1") == "You give the same answer to 0 % of the items that came again (Mood)."
    again = next(cells for name, cells in figures(page).items() if name.startswith("Same answer again"))
    assert again[0].startswith("0 % 0 % to ") and not again[0].endswith(" to 0 %")


@pytest.mark.parametrize(
    ("name", "role", "status"),
    [("ann", "annotator", 200), ("eve", "engineer", 200), ("ada", "admin", 200), ("ben", "annotator", 403),
     ("rita", "reviewer", 404), ("zoe", "annotator", 404)],
)  # fmt: skip
def test_who_sees_it(page: Page, live_server: Any, queue: Queue, name: str, role: str, status: int) -> None:
    """The person and engineers; a colleague is told that it is not theirs, to a stranger it does not exist."""
    if not User.objects.filter(username=name).exists():
        make_user(name, role=role)
    sign_in(page, live_server, name=name)
    answer = page.goto(f"{live_server.url}/people/ann/")
    assert answer is not None and answer.status == status
    assert ("has not labelled anything" in page.content() or "have not labelled" in page.content()) == (status == 200)
