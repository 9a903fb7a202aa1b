"""Canaries, recognisers, flags with their causes, notifications and gates in a real browser: axe, both themes, no sideways scroll."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, Page

from calibration.drift import monitoring
from calibration.evidence import gates
from calibration.models import DriftFlag, GateRun
from labeling.models import Delivery, Subscription
from labeling.notices import announcing, delivering
from tests.browser.hands import follow
from tests.browser.test_evidence import sign_in
from tests.calibration.test_canaries import NOW, Wavering, make_set, run
from tests.calibration.test_recognisers import make_calls
from tests.make import make_gold, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def house(live_server: Any) -> str:
    """A version that changed silently, a recogniser that got worse, a flag below both, a webhook that failed, a gate."""
    cache.clear()
    make_user("ada", role="admin")
    found = make_set(size=60)
    run(found, Wavering(0.02))
    run(found, Wavering(0.02, drift=0.5, seed=2), weeks=4)
    make_calls(range(10), 0.06)
    make_calls(range(10, 14), 0.2)
    monitoring.evaluate(now=NOW)
    upstream = DriftFlag.objects.get(kind="asr")
    DriftFlag.objects.create(
        kind="agreement", version=found.version, slice={"channel": "voice"}, slice_key="x", since=upstream.since,
        raised_at=NOW, guarantee="none",
    )  # fmt: skip
    rows = [{"gold": "neutral", "channel": "chat", "said": {found.version: "neutral"}} for _ in range(40)]
    make_gold(found.version.classifier.signal, rows)
    gates.run(policy="at_least: 0.5\nmax_wer: 0.1\n", dataset="gold@1", candidate="judge@v1")
    hook = delivering.subscribe(
        kind="webhook", target="https://hooks.example.com/cxlab", events=Subscription.Event.values, by=None
    )
    announcing.announce(event="flag.opened", key="1", sentence="A flag is raised.", address="/drift/1/")
    failed = {"at": NOW.isoformat(), "status": 503, "seconds": 0.2, "error": "Service Unavailable"}
    Delivery.objects.filter(subscription=hook).update(attempts=[failed], next_at=datetime.now(UTC) + timedelta(days=1))
    return str(live_server.url)


def pages() -> list[str]:
    flags = [f"/drift/{number}/" for number in DriftFlag.objects.order_by("id").values_list("id", flat=True)]
    hook, gate = Subscription.objects.get(), GateRun.objects.get()
    settings = ["/settings/notifications/", f"/settings/notifications/{hook.id}/"]
    return ["/", "/classifiers/", "/classifiers/judge/canaries/", "/drift/", *flags, *settings, f"/gates/{gate.id}/"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pages_are_accessible_and_fit(browser: Browser, house: str, scheme: Any, width: int) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    sign_in(page, house)
    for address in pages():
        page.goto(house + address)
        page.wait_for_load_state("networkidle")
        found = axe.run(page)["violations"]
        assert [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found] == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    context.close()


def test_a_cause_leads_to_its_flag_and_a_webhook_is_made_with_the_keyboard(page: Page, house: str) -> None:
    sign_in(page, house)
    below = DriftFlag.objects.get(kind="agreement")
    page.goto(f"{house}/drift/{below.id}/")
    follow(page, "text=Word error rate rose")
    assert page.is_visible("text=What it may have caused")
    page.goto(f"{house}/settings/notifications/")
    page.focus("input[name=target]")
    page.keyboard.type("https://other.example.com/")
    page.keyboard.press("Enter")
    page.wait_for_selector("code.secret")
    assert Subscription.objects.count() == 2
