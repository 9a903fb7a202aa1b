"""What the desk may cost, in a real browser: one request a label, few bytes, no other host, and nothing that moves."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Page, Request

from labeling.models import Label
from tests.browser.hands import SUBMIT, press, settled, sign_in
from tests.make import make_conversation, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ITEMS = 15
# Everything that moves counts, also right after a key, where a browser would forgive it.
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shifts.push(
  one.value + ": " + one.sources.map(({ node, previousRect: was, currentRect: is }) => `${node?.id || node?.className || node?.nodeName} `
    + `${was.x},${was.y} ${was.width}x${was.height} → ${is.x},${is.y} ${is.width}x${is.height}`).join("; ")); })
  .observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_fifteen_items_within_the_limits(page: Page, live_server: Any, width: int) -> None:
    ann = make_user("ann")
    talks = [
        make_conversation(texts=tuple("I was charged twice. " * (1 + at % 5) for _ in range(12))) for at in range(ITEMS)
    ]
    signals = [make_signal("sentiment")]
    make_queue("mood", signals=signals, conversations=talks, members=[ann])
    sign_in(page, live_server)
    page.wait_for_selector("button:focus")
    page.set_viewport_size({"width": width, "height": 800})
    page.add_init_script(SHIFTS)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(f"{live_server.url}/label/mood/")
    page.wait_for_selector("#turns li")
    page.wait_for_load_state("networkidle")
    files = [url for url in loaded if "/api/" not in url]
    assert len(files) >= 6
    assert sum(_bytes(page.request.get(url)) for url in files) <= 100_000
    after: list[Request] = []
    page.on("requestfinished", lambda request: after.append(request))
    for number in range(ITEMS - 1):
        press(page, "123"[number % 3])
        settled(page)
    page.wait_for_load_state("networkidle")
    assert [one.url for one in after if not SUBMIT.search(one.url)] == []
    assert len(after) == ITEMS - 1  # each answer brings the next item along
    assert Label.objects.count() == ITEMS - 1
    sizes = [one.sizes() for one in after]
    assert sum(one["responseBodySize"] + one["responseHeadersSize"] for one in sizes) / (ITEMS - 1) <= 15_000
    assert {url.split("/")[2] for url in loaded} == {live_server.url.split("/")[2]}
    assert page.evaluate("window.shifts") == []


def _bytes(response: APIResponse) -> int:
    """A body as a server in service sends it: compressed, fonts as they are."""
    return len(response.body() if response.url.endswith("woff2") else gzip.compress(response.body()))
