"""Guidelines in a browser: a new version is written, compared, met at the desk, and never executed."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, Page

from labeling import adjudication
from labeling.models import Guideline, Label, Queue, Signal, User
from tests.browser.hands import at_desk, follow, press, press_until_asked, settled, sign_in
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FIRST = "Judge what the customer feels.\n\nThanks alone are neutral."
SECOND = "Judge what the customer feels.\n\n- Irony is **negative**.\n- Thanks alone are ~~positive~~ neutral."


@pytest.fixture
def signal() -> Signal:
    made = make_signal("mood")
    Guideline.objects.filter(signal=made).update(text=FIRST)
    return made


@pytest.fixture
def queue(signal: Signal) -> Queue:
    return make_queue("mood", signals=[signal], items=12, members=[make_user("ann")])


def test_a_new_version_is_compared_and_reaches_the_desk_and_its_labels(
    page: Page, browser: Browser, live_server: Any, queue: Queue
) -> None:
    """Ann labels on while Rita writes: her drawer shows the new version, and each label keeps the one that was read."""
    make_user("rita", role="reviewer")
    at_desk(page, live_server, queue)
    press(page, "1")
    settled(page)
    context = browser.new_context()
    writing = sign_in(context.new_page(), live_server, "/settings/signals/mood/guideline/", name="rita")
    writing.fill("[name=text]", SECOND)
    writing.fill("[name=note]", "irony came up")
    follow(writing, "text=Make it version 2")
    assert "version 2" in writing.inner_text("h1")
    assert writing.locator(".prose strong").all_inner_texts() == ["negative"]
    follow(writing, "[aria-label=History] >> text=what changed")
    assert writing.locator(".difference ins").all_inner_texts() == [
        "- Irony is **negative**.",
        "- Thanks alone are ~~positive~~ neutral.",
    ]
    assert writing.locator(".difference del").all_inner_texts() == ["Thanks alone are neutral."]
    assert Axe().run(writing)["violations"] == []

    drawer = page.locator("#guideline")
    press_until_asked(page, "2", "guideline/?drawer")
    page.wait_for_selector("#notice >> text=The guideline has a new version")
    page.keyboard.press("h")
    assert "guideline 2" in drawer.inner_text()
    assert drawer.locator(".prose strong").all_inner_texts() == ["negative"]
    assert drawer.locator(".prose s").all_inner_texts() == ["positive"]
    press(page, "3")
    settled(page)
    versions = list(Label.objects.order_by("id").values_list("value", "guideline__version"))
    assert versions[0] == ("negative", 1) and versions[-1] == ("positive", 2)
    writing.reload()
    rows = writing.locator("[aria-label=History] tbody tr")
    assert rows.locator("th").all_text_contents() == ["version 2", "version 1"]
    used = [int(rows.nth(at).locator("td.number").inner_text()) for at in range(2)]
    assert used == [sum(version == number for _, version in versions) for number in (2, 1)]
    context.close()

    page.goto(f"{live_server.url}/label/mood/guideline/")
    assert "irony came up" in page.inner_text("details[open] summary")
    assert page.locator("details[open] ins").count() == 2
    assert Axe().run(page)["violations"] == []


def test_examples_are_what_reviewers_decided_but_nothing_that_one_is_asked(
    page: Page, live_server: Any, queue: Queue, signal: Signal
) -> None:
    rita = make_user("rita", role="reviewer")
    said = {"negative": "That is the third time!", "positive": "You made my day.", "neutral": "My number is 12."}
    for value, text in said.items():
        home = make_conversation(f"c-{value}", texts=(text, "I see."))
        make_label(home, signal, rita, value)
        adjudication.rule(
            signal=signal,
            conversation=home,
            value=value,
            note=f"Why {value}",
            reason="slip",
            reviewer=rita,
            now=timezone.now(),
        )
    mine = queue.items.order_by("position")[3].conversation
    make_label(mine, signal, rita, "neutral")
    adjudication.rule(
        signal=signal, conversation=mine, value="neutral", reason="slip", reviewer=rita, now=timezone.now()
    )
    at_desk(page, live_server, queue)
    page.keyboard.press("h")
    examples = page.locator("#guideline .examples")
    assert [name.lower() for name in examples.locator("dt").all_inner_texts()] == ["negative", "neutral", "positive"]
    quotes = examples.locator("q").all_text_contents()
    assert quotes == [said["negative"], said["neutral"], said["positive"]]
    assert "Why positive" in examples.inner_text()
    assert Axe().run(page)["violations"] == []


def test_script_and_markup_in_a_guideline_are_text(page: Page, live_server: Any, queue: Queue) -> None:
    text = (
        "# Rules\n\n<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 2'>\n\n"
        "[press](javascript:window.hacked=3) ![seen](https://elsewhere.example/pixel.png)\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    make_user("rita", role="reviewer")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, live_server, "/settings/signals/mood/guideline/", name="rita")
    page.fill("[name=text]", text)
    follow(page, "text=Make it version 2")
    assert "version 2" in page.inner_text("h1")
    User.objects.filter(username="rita").update(role="annotator")
    queue.memberships.create(user=User.objects.get(username="rita"), lane=0)
    for path, where in (("", ".prose"), ("/label/mood/guideline/", ".prose"), ("/label/mood/", "#guideline .prose")):
        if path:
            page.goto(live_server.url + path)
        prose = page.locator(where).first
        assert "<script>window.hacked = 1</script>" in (prose.text_content() or "")
        assert prose.locator("script, img, [onerror], a[href^=javascript]").count() == 0
        assert prose.locator("td").all_text_contents() == ["1", "2"]
        for link in prose.locator("a").all():
            link.evaluate("node => node.click()")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.hacked === undefined")
    assert not [url for url in asked if "elsewhere" in url]


@pytest.mark.parametrize(
    ("name", "role", "status"), [("rita", "reviewer", 200), ("ann", "annotator", 403), ("zoe", "annotator", 403)]
)
def test_who_writes_and_who_reads(
    page: Page, live_server: Any, queue: Queue, name: str, role: str, status: int
) -> None:
    """Reviewers write; an annotator reads in their queues, a stranger nowhere."""
    if not User.objects.filter(username=name).exists():
        make_user(name, role=role)
    sign_in(page, live_server, name=name)
    written = page.goto(f"{live_server.url}/settings/signals/mood/guideline/")
    read = page.goto(f"{live_server.url}/label/mood/guideline/")
    assert written is not None and read is not None
    assert (written.status, read.status) == (status, 200 if name == "ann" else 404)
