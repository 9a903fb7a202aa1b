"""Report, overview and conversation in a real browser: axe, both themes, no sideways scroll, no other host, no layout that moves."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.core.cache import cache
from playwright.sync_api import Browser, Page

from calibration.evidence import reports
from calibration.models import Outcome
from labeling.models import Conversation
from tests.browser.hands import follow
from tests.calibration.test_evidence_pages import world
from tests.make import make_conversation, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGES = [
    "/",
    "/classifiers/",
    "/classifiers/judge/",
    "/classifiers/judge/items/?version=new&channel=voice",
    "/classifiers/judge/compare/",
    "/classifiers/judge/history/",
    "/classifiers/judge/plan/",
    "/conversations/",
    "/conversations/c-asr/",
]


@pytest.fixture
def house(live_server: Any) -> str:
    cache.clear()
    world(120)
    made: Conversation = make_conversation(
        "c-asr",
        turns=[{"role": "customer", "text": "i was changed twice", "start": 2.0}, {"role": "agent", "text": "sorry"}],
        asr={"hypothesis": "i was changed twice\nsorry", "reference": "i was charged twice\nsorry"},
    )
    Outcome.objects.create(key="k", conversation=made, kind="csat", value=2, customer=made.customer)
    make_user("ada", role="engineer")
    return str(live_server.url)


def sign_in(page: Page, house: str) -> None:
    page.goto(f"{house}/sign-in/")
    page.fill("input[name=username]", "ada")
    page.fill("input[name=password]", "correct horse")
    page.click("main button[type=submit]")
    page.wait_for_url(f"{house}/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_pages_are_accessible_and_fit(browser: Browser, house: str, scheme: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    sign_in(page, house)
    kept = reports.save(dataset="gold@1", classifier="judge", by=["channel", "cohort"])
    for address in [*PAGES, f"/reports/{kept.id}/"]:
        page.goto(house + address)
        page.wait_for_load_state("networkidle")
        found = Axe().run(page)["violations"]
        assert [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found] == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    assert hosts == {house.split("/")[2]}
    context.close()


def test_from_the_overview_to_the_conversations_behind_a_cell(page: Page, house: str) -> None:
    sign_in(page, house)
    follow(page, "table.overview th a")
    assert "Trusted on chat" in page.inner_text("h1")
    page.wait_for_selector("figure svg")
    follow(page, "table.heat tbody tr:nth-child(2) a.cell >> nth=0")
    page.wait_for_selector("article.pair")
    assert "voice" in page.url and "differ" in page.inner_text("h1")
    follow(page, "article.pair a >> nth=0")
    page.wait_for_selector("#transcript")


def test_the_glyph_is_read_out(page: Page, house: str) -> None:
    sign_in(page, house)
    page.goto(f"{house}/classifiers/judge/")
    label = page.locator("table.heat svg.glyph").first.get_attribute("aria-label") or ""
    assert label.startswith("trusted: kappa 1.00, between") and "the bar is 0.60" in label


def test_the_report_prints(page: Page, house: str) -> None:
    sign_in(page, house)
    page.goto(f"{house}/classifiers/judge/")
    page.evaluate("window.print = () => { document.title = 'printed' }")
    page.click("summary:has-text('Export')")
    page.click("[data-print]")
    assert page.title() == "printed"


def test_the_report_works_without_scripts(browser: Browser, house: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, house)
    page.goto(f"{house}/classifiers/judge/")
    follow(page, "text=Show the months")
    assert page.locator("figure svg").count() >= 1
    context.close()
