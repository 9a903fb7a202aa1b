"""What the tests of the desk do with their hands: sign in, press keys, wait until everything is sent."""

from __future__ import annotations

import io
import re
import wave
from typing import Any

from playwright.sync_api import Page, Route

from labeling.models import Label, Queue

VALUES = ("negative", "neutral", "positive")
SUBMIT = re.compile(r"/api/v1/assignments/\d+/submit/")


def sign_in(page: Page, live_server: Any, path: str = "/label/", *, name: str = "ann") -> Page:
    page.goto(f"{live_server.url}/sign-in/?next={path}")
    page.fill("[name=username]", name)
    page.fill("[name=password]", "correct horse")
    page.click("main button")
    # The page of signing in is loaded already: only the next address says that it was left.
    page.wait_for_url(lambda address: "/sign-in/" not in address)
    focused(page)
    return page


def focused(page: Page) -> None:
    """Wait until what a loaded page focuses by itself has it: the browser does so with the first frame, after the load."""
    page.wait_for_function(
        "!document.querySelector('[autofocus]') || document.querySelector('[autofocus]').matches(':focus')"
    )


def follow(page: Page, selector: str, key: str = "") -> None:
    """Click what leads to another page, or press a key on it, and wait until that page is there whole.

    A click returns as soon as the answer begins: what is counted or read then may be half a page.
    """
    with page.expect_navigation():
        if key:
            page.focus(selector)
            page.keyboard.press(key)
        else:
            page.click(selector)


def at_desk(page: Page, live_server: Any, queue: Queue) -> Page:
    """Ann before her first item of a queue."""
    sign_in(page, live_server, f"/label/{queue.slug}/")
    page.wait_for_selector("#turns li")
    return page


def assignment(page: Page) -> str:
    return str(page.get_attribute("#desk", "data-assignment"))


def more(page: Page) -> bool:
    """Whether an item is on screen, or nothing more will come; waits while one is on its way."""
    page.wait_for_function(
        "document.getElementById('desk').dataset.assignment || document.getElementById('questions').inert"
    )
    return page.locator("#desk[data-assignment]").count() == 1


def press(page: Page, key: str) -> str:
    """Answer with a key and wait for another item (or the end); returns which item it was."""
    page.wait_for_selector("#desk[data-assignment]")
    before = assignment(page)
    page.keyboard.press(key)
    page.wait_for_function("before => document.getElementById('desk').dataset.assignment !== before", arg=before)
    return before


def press_until_asked(page: Page, key: str, part: str) -> None:
    """Answer with a key, item after item, until the page asks the server for an address with that part in it."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if part in request.url else None)
    while not asked:
        press(page, key)
        settled(page)


def settled(page: Page) -> None:
    page.wait_for_function("!Object.keys(localStorage).some(k => k.includes('outbox') && localStorage[k] !== '[]')")


def stored() -> dict[str, str]:
    """Current labels by assignment."""
    labels = Label.objects.filter(superseded_at__isnull=True).select_related("submission")
    return {str(label.submission.slot_id): label.value for label in labels if label.submission}


def sound(page: Page, *, seconds: int, channels: int = 1, rate: int = 3000) -> str:
    """Silence at an address that answers like a file server: by range, a piece at a time. Returns the address."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(1)
        wav.setframerate(rate)
        wav.writeframes(bytes([128]) * rate * seconds * channels)
    body = file.getvalue()

    def answer(route: Route) -> None:
        first, _, last = route.request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        start = int(first)
        end = min(int(last) if last else len(body) - 1, start + 500_000, len(body) - 1)
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{end}/{len(body)}"}
        route.fulfill(status=206, body=body[start : end + 1], content_type="audio/wav", headers=headers)

    page.route("**/call.wav", answer)
    return "/call.wav"
