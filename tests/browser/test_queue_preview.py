"""The form that draws a queue shows beforehand what it would draw."""

from __future__ import annotations

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page

from labeling.models import Queue
from tests.browser.hands import follow, sign_in
from tests.make import make_frame, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_the_preview_follows_the_form_and_the_draw_takes_what_it_showed(page: Page, live_server: Any) -> None:
    make_frame({("chat", "smb"): 30, ("voice", "smb"): 10})
    make_signal()
    make_user("eve", role="engineer")
    sign_in(page, live_server, "/queues/new/", name="eve")
    page.wait_for_selector("text=choose what is asked")
    page.check("text=Sentiment")
    page.fill("[name=size]", "8")
    page.wait_for_selector("text=8 of 40 units")
    page.click("text=Only some conversations")
    page.get_by_label("voice", exact=True).check()
    page.wait_for_selector("text=8 of 10 units")
    page.fill("[name=title]", "Voice pilot")
    assert Axe().run(page)["violations"] == []
    follow(page, "main button[type=submit]")
    assert "Voice pilot: 0 of 8 labels." in page.inner_text("h1")
    queue = Queue.objects.get()
    assert set(queue.items.values_list("conversation__channel", flat=True)) == {"voice"}
