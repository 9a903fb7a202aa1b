"""Import, take out, journeys and a dataset's exports in a real browser: a file dropped, put right, loaded; axe; both themes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Browser, Page

from calibration import importing
from labeling import gold
from labeling.models import Conversation
from tests.browser.test_evidence import sign_in
from tests.labeling.test_formats import VTT
from tests.make import make_conversation, make_label, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def house(live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(settings, "VAR", tmp_path)
    resolution, ann = make_signal("resolution", values=("unresolved", "partly", "resolved")), make_user("ann")
    for day, value in enumerate(("unresolved", "resolved")):
        made = make_conversation(
            customer="cu-9", channel=("chat", "voice")[day], started_at=START + timedelta(days=day)
        )
        make_label(made, resolution, ann, value)
    gold.freeze(
        dataset="gold",
        signal=resolution,
        queues=[],
        aggregation="single",
        min_labels=1,
        created_by=ann,
        now=timezone.now(),
    )
    make_user("ada", role="engineer")
    return str(live_server.url)


def bring(page: Page, house: str, name: str, body: bytes) -> None:
    page.goto(f"{house}/import/")
    page.set_input_files("input[type=file]", {"name": name, "mimeType": "text/plain", "buffer": body})
    page.click("text=Look at it")
    page.wait_for_selector(".import-as")


def test_a_file_is_seen_put_right_and_loaded(page: Page, house: str) -> None:
    sign_in(page, house)
    bring(page, house, "call-7.vtt", VTT.encode())
    assert page.input_value("select[name=format]") == "webvtt"
    page.click("summary:has-text('What the file does not say')")
    page.fill("[name=set-customers]", "Bob Smith")
    page.fill("[name=set-cohort]", "trial")
    page.click("text=Look again")
    page.wait_for_selector("td:text-is('trial')")
    page.click("text=Load the whole file")
    page.wait_for_selector("text=1 created")
    loaded = Conversation.objects.get(external_id="call-7")
    assert (loaded.cohort, [turn["role"] for turn in loaded.turns]) == ("trial", ["agent", "customer"])


def test_how_far_a_file_is_stored_is_seen_while_it_is(page: Page, house: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, conversations = threading.Event(), importing.KINDS["conversations"]

    def waiting(records: Any, **kw: Any) -> Any:
        def passing() -> Any:
            for number, record in enumerate(records):
                if number == 20:
                    assert seen.wait(timeout=120)
                yield record

        return conversations(records=passing(), **kw)

    sign_in(page, house)
    row = '{"id": "new-NUMBER", "turns": [{"role": "customer", "text": "My invoice is wrong"}]}\n'
    bring(page, house, "calls.jsonl", "".join(row.replace("NUMBER", str(n)) for n in range(40)).encode())
    monkeypatch.setattr(importing, "NOTED_SECONDS", -1.0)  # after every read
    monkeypatch.setitem(importing.KINDS, "conversations", waiting)
    page.click("text=Load the whole file")
    page.wait_for_selector(".import-as [data-progress] progress[value]")
    assert "KB of" in page.inner_text(".import-as [data-progress]")
    seen.set()
    page.wait_for_selector("text=40 created")


def test_a_wrong_guess_is_put_right_and_errors_are_told(page: Page, house: str) -> None:
    sign_in(page, house)
    bring(page, house, "moods.csv", b"conv,mood\nc-1,sad\n")
    page.select_option("select[name=kind]", "labels")
    page.click("text=Look again")
    page.wait_for_selector("[role=alert] >> text=line 2")
    assert page.locator("text=Load the whole file").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1440, "dark")])
def test_pages_are_accessible_and_fit(browser: Browser, house: str, scheme: Any, width: int) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    sign_in(page, house)
    for address in ("/import/", "preview", "/take-out/", "/journeys/", "/datasets/gold/1/"):
        if address == "preview":
            bring(page, house, "moods.csv", b"conv,mood\nc-1,sad\n")
        else:
            page.goto(house + address)
            page.wait_for_load_state("networkidle")
        found = axe.run(page)["violations"]
        assert [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found] == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    context.close()
