"""Drift, trends, what moved and gates in a real browser: no findings of axe, no overflow, a flag acknowledged in place."""

from __future__ import annotations

import random
import re
from datetime import timedelta
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.core.cache import cache
from playwright.sync_api import Browser, Page

from calibration.drift import monitoring, recalibration
from calibration.evidence import gates
from calibration.models import DriftFlag, GateRun, Prediction
from labeling.models import Conversation, Label, User
from tests.browser.hands import follow
from tests.calibration.worlds import NOW, START, VALUES, make_engineer, make_world
from tests.make import make_label, make_said, make_version, make_weeks

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def address(live_server: Any, page: Page) -> str:
    """A drifted world, a gate that was run, and ada signed in."""
    cache.clear()
    make_world(drifts=True)
    monitoring.evaluate(now=NOW)
    gates.run(policy="by: [channel]\nat_least: 0.6\n", dataset="gold@1", candidate="judge@v1")
    make_engineer()
    page.goto(f"{live_server.url}/sign-in/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", "correct horse")
    follow(page, "main button")
    return str(live_server.url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_findings_or_overflow(address: str, page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    moved = "/signals/sentiment/moved/?from=2026-01-12..2026-01-25&to=2026-02-16..2026-03-15"
    flag, gate = DriftFlag.objects.get(kind="agreement"), GateRun.objects.get()
    trend = "/signals/sentiment/trend/?by=channel"
    for path in ("/trends/", "/drift/", f"/drift/{flag.id}/", trend, moved, "/gates/", f"/gates/{gate.id}/"):
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.goto(address + path).status == 200, path  # type: ignore[union-attr]
            found = Axe().run(page)["violations"]
            assert not [(v["id"], v["nodes"][0]["target"]) for v in found], (path, width)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (path, width)


def test_a_chart_answers_to_the_pointer_and_asks_no_other_host(address: str, page: Page) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(f"{address}/signals/sentiment/trend/")
    page.wait_for_selector("figure.chart .live svg")
    assert page.locator("figure.chart").first.locator(".picture").count() == 1  # the drawing has given way
    marks = page.locator("figure.chart .live svg .mark-symbol path")
    marks.nth(1).hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    told = page.inner_text("#vg-tooltip-element")
    assert "as scored" in told and "corrected" in told and "labels" in told
    assert hosts == {address.split("/")[2]}


def test_charts_are_drawings_without_scripts(address: str, page: Page, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = context.new_page()
    plain.goto(f"{address}/signals/sentiment/trend/")
    assert plain.locator("figure.chart .picture > svg").count() == 1
    context.close()


def test_a_flag_is_acknowledged_in_place(address: str, page: Page) -> None:
    flag = DriftFlag.objects.get(kind="agreement")
    page.goto(f"{address}/drift/")
    page.click(f"#flag-{flag.id} button:has-text('Acknowledge')")
    page.wait_for_selector(f"#flag-{flag.id} >> text=acknowledged")
    assert page.url == f"{address}/drift/"
    flag.refresh_from_db()
    assert flag.state == "acknowledged" and flag.events.last().actor.username == "ada"  # type: ignore[union-attr]


def test_a_dismissal_asks_why(address: str, page: Page) -> None:
    flag = DriftFlag.objects.get(kind="agreement")
    page.goto(f"{address}/drift/{flag.id}/")
    page.click("summary:has-text('Dismiss')")
    page.fill("[name=reason]", "a campaign that is over")
    follow(page, "form:has([name=reason]) button")
    assert page.is_visible("text=This flag is dismissed.")
    assert page.is_visible("text=a campaign that is over")


def test_a_recalibration_shows_its_steps(address: str, page: Page) -> None:
    flag = DriftFlag.objects.get(kind="agreement")
    page.goto(f"{address}/drift/{flag.id}/")
    assert page.locator(".steps li").count() == 5
    assert recalibration.of(flag) is None


def test_slices_are_chosen_and_a_recalibration_goes_to_its_end(address: str, page: Page) -> None:
    """By keyboard: another slice, labels, fit, validation, promotion; each step without findings at both widths."""
    flag, ann = DriftFlag.objects.get(kind="agreement"), User.objects.get(username="ann")
    rng, wrong = random.Random(3), {"negative": "neutral", "neutral": "positive", "positive": "positive"}
    truths = [VALUES[number % 3] for number in range(300)]
    rows = [
        (START + timedelta(weeks=6, hours=at), "voice", ("trial", "enterprise")[at % 2], None, wrong[truth] if rng.random() < 0.85 else truth)
        for at, truth in enumerate(truths)
    ]  # fmt: skip
    make_weeks(flag.version, rows, ann)
    fresh = Conversation.objects.filter(labels__isnull=True).order_by("id").values_list("id", flat=True)
    truth_of = dict(zip(fresh, truths, strict=True))

    page.goto(f"{address}/drift/{flag.id}/")
    page.focus("summary:has-text('Choose others')")
    page.keyboard.press("Enter")
    for name in ("voice, trial", "voice"):
        page.locator(".choices label").filter(has_text=re.compile(rf"^\s*{name} \d")).locator("input").focus()
        page.keyboard.press("Space")
    clean(page)
    follow(page, "button:has-text('Recalibrate these')", key="Enter")
    assert page.is_visible(".steps .now:has-text('Top-up queue')")
    assert page.inner_text(".steps li:first-child").split() == ["Slices", "(done)", "voice"]
    clean(page)
    row = recalibration.of(flag)
    assert row is not None and row.queue is not None and row.slices == [{"channel": "voice"}]
    row.queue.slots.update(state="done", annotator=ann)
    Label.objects.bulk_create(
        Label(
            conversation_id=item.conversation_id, signal=flag.version.classifier.signal, annotator=ann, item=item,
            labeled_at=NOW, value=truth_of[item.conversation_id],
        )
        for item in row.queue.items.all()
    )  # fmt: skip
    page.reload()
    for button, step in (("Freeze and fit", "Validate"), ("Compare", "Promote")):
        follow(page, f"button:has-text('{button}')", key="Enter")
        assert page.is_visible(f".steps .now:has-text('{step}')")
        clean(page)
    follow(page, "button:has-text('Promote')", key="Enter")
    assert page.is_visible("text=This flag is resolved.")
    clean(page)
    assert page.is_visible(f"text=judge@v1-r{flag.id} serves from now on")


def test_a_failed_validation_is_given_up_and_begun_again(address: str, page: Page) -> None:
    """By hand: the labels say what the version says, so no map is better; the flag outlives that, and another version ends it."""
    flag, ann = DriftFlag.objects.get(kind="agreement"), User.objects.get(username="ann")
    signal = flag.version.classifier.signal
    rows = [
        (START + timedelta(weeks=6, hours=at), "voice", "trial", None, VALUES[at % 3 - 1] if at % 4 else VALUES[at % 3])
        for at in range(150)
    ]
    make_weeks(flag.version, rows, ann)
    said = dict(Prediction.objects.filter(version=flag.version).values_list("conversation_id", "value"))
    fresh = Conversation.objects.filter(labels__isnull=True).order_by("id").values_list("id", flat=True)
    truth_of = {home: VALUES[at % 3] for at, home in enumerate(fresh)}
    older = make_version(signal, "v0")
    Prediction.objects.bulk_create(
        make_said(older, home, truth_of[home.id]) for home in Conversation.objects.filter(id__in=list(truth_of))
    )

    page.goto(f"{address}/drift/{flag.id}/")
    follow(page, "button:has-text('Recalibrate')")
    first = recalibration.of(flag)
    assert first is not None and first.queue is not None
    first.queue.slots.update(state="done", annotator=ann)
    for item in first.queue.items.select_related("conversation"):
        make_label(item.conversation, signal, ann, said[item.conversation_id], item=item)
    page.reload()
    for button in ("Freeze and fit", "Compare"):
        follow(page, f"button:has-text('{button}')")
    assert page.is_visible(".steps .now:has-text('Validate'):has-text('Not passed, so it cannot be promoted:')")
    assert page.is_visible(".message:has-text('Validated: it did not pass')")
    clean(page)
    page.click("summary:has-text('Label more')")
    clean(page)
    page.fill("[name=size]", "0")
    follow(page, "button:has-text('Back to the labels')", key="Enter")
    assert page.is_visible(".steps .now:has-text('Freeze and fit')") and page.is_visible("text=tried before:")
    page.click("summary:has-text('Give up this recalibration')")
    page.fill("[name=reason]", "the labels were wrong")
    clean(page)
    follow(page, "button:has-text('Give up')")
    assert page.is_visible("text=recalibration given up by ada: the labels were wrong")
    page.click("#given-up ~ details summary")
    assert page.locator("#given-up ~ details li.done").count() == 2  # slices and queue; the fit was put aside
    clean(page)

    Label.objects.filter(item__queue=first.queue).update(superseded_at=NOW)
    for item in first.queue.items.select_related("conversation"):
        make_label(item.conversation, signal, ann, truth_of[item.conversation_id], item=item)
    follow(page, "button:has-text('Recalibrate')")
    page.click("summary:has-text('Or use another version')")
    follow(page, "button:has-text('Freeze and hold against it')")
    for button in ("Compare", "Promote"):
        follow(page, f"button:has-text('{button}')")
    assert page.is_visible("text=This flag is resolved.") and page.is_visible("text=judge@v0 serves from now on")


def clean(page: Page) -> None:
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        found = Axe().run(page)["violations"]
        assert not [(v["id"], v["nodes"][0]["target"]) for v in found], width
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
