"""Journeys, outcomes and voice in a real browser: axe, both themes, no sideways scroll, no other host."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, Page

from calibration import voice
from calibration.models import Outcome
from tests.browser.test_evidence import sign_in
from tests.calibration.test_voice import heard_world
from tests.make import make_conversation, make_label, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
PAGES = ["/journeys/cu-9/", "/outcomes/", "/voice/"]


@pytest.fixture
def house(live_server: Any) -> str:
    cache.clear()
    resolution = make_signal("resolution", values=("unresolved", "partly", "resolved"))
    effort = make_signal("effort", values=("low", "medium", "high"))
    ann = make_user("ann")
    for day, channel in enumerate(("chat", "voice", "email")):
        made = make_conversation(customer="cu-9", channel=channel, started_at=START + timedelta(days=day))
        make_label(made, resolution, ann, ("unresolved", "partly", "resolved")[day])
        make_label(made, effort, ann, ("low", "medium", "high")[day])
        for kind, value in (("csat", 5 - day), ("nps", 9), ("ces", 2), ("escalation", 1)):
            Outcome.objects.create(
                key=f"{kind}{day}", conversation=made, customer="cu-9", kind=kind, value=value, at=made.started_at
            )
    heard_world(120)
    make_conversation(channel="voice", asr={"reference": "one two", "hypothesis": "one"})
    make_user("ada", role="engineer")
    return str(live_server.url)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1600, "dark")])
def test_pages_are_accessible_and_fit(browser: Browser, house: str, scheme: Any, width: int) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    sign_in(page, house)
    for address in PAGES:
        page.goto(house + address)
        page.wait_for_load_state("networkidle")
        found = axe.run(page)["violations"]
        assert [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found] == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    assert hosts == {house.split("/")[2]}
    context.close()


def test_a_waiting_call_is_measured_on_request(page: Page, house: str) -> None:
    sign_in(page, house)
    page.goto(f"{house}/voice/")
    page.click("text=Measure 1 call now")
    page.wait_for_selector("text=1 call measured.")
    assert voice.waiting().count() == 0
