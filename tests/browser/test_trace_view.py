"""The steps of a conversation on a small screen: all of them are read without scrolling sideways."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Page

from calibration.models import Outcome, Span
from tests.browser.hands import sign_in
from tests.make import make_conversation, make_gold, make_label, make_signal, make_user, make_version

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
STEPS = (
    ("AGENT", "support-agent.plan_and_answer", "I have looked up the order and opened a claim with the carrier."),
    ("RETRIEVER", "knowledge.search", "returns.md: a parcel counts as lost after ten days without a scan"),
    ("TOOL", "orders.lookup", '{"order_number":"A-2026-000417","state":"in_transit_without_scan_since_2026-02-20"}'),
    ("LLM", "ChatCompletion", "Your parcel has not been scanned since 20 February."),
)
WIDER = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.ariaLabel)"


def make_traced() -> None:
    """A conversation with a chain of steps, two scores, a label and an outcome."""
    cache.clear()
    signal, ann = make_signal(), make_user("ann", role="engineer")
    version = make_version(signal, "2026-01-tfidf-logistic-regression", classifier="sentiment-house-classifier")
    home = make_conversation("support:s-1", started_at=AT)
    make_label(home, signal, ann, "negative")
    make_gold(signal, [{"gold": value, "said": {version: value}} for value in ("negative", "neutral", "positive") * 40])
    make_gold(signal, [{"gold": "negative", "conversation": home, "said": {version: "negative"}}], "other")
    Outcome.objects.create(key=home.external_id, conversation=home, kind="csat", value=2, at=AT)
    start = int(AT.timestamp() * 1e9)
    Span.objects.bulk_create(
        Span(
            trace_id="a" * 32, span_id=f"{number:016x}", parent_id="" if number == 0 else f"{min(number - 1, 2):016x}",
            project="shop", name=name, kind=kind, start_ns=start + number * 10**9, end_ns=start + number * 10**9 + 850_000_000,
            attributes={"gen_ai.span.kind": kind, "output.value": gave, "gen_ai.request.model": "gpt-4.1-mini"}, conversation_key=home.external_id,
        )
        for number, (kind, name, gave) in enumerate(STEPS)
    )  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_small_screen_shows_every_column(theme: Any, page: Page, live_server: Any) -> None:
    make_traced()
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 390, "height": 800})
    sign_in(page, live_server, "/conversations/support:s-1/")
    page.wait_for_selector("#chain")
    assert page.locator("table.chain tbody tr").count() == len(STEPS)
    assert "in_transit" in page.inner_text("table.chain"), "a tool's data are what it gave"
    assert page.evaluate(WIDER) == []
