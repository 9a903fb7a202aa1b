"""Personal data in a browser: masked from the moment that somebody chose so; who reads the original is on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, Page

from labeling import gold
from labeling.models import OriginalReading, User
from tests.browser.hands import follow, sign_in
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SECRETS = ("ann.lee@example.co.uk", "+44 20 7946 0958", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00")
MASKS = ("[email]", "[phone]", "[card]", "[iban]")
TEXT = "Mail {}, call {}, card {}, IBAN {}."


@pytest.fixture
def people() -> None:
    """Ann labels a queue that holds a conversation with secrets, and frozen gold holds it too."""
    signal = make_signal("mood")
    home = make_conversation("c-1", texts=(TEXT.format(*SECRETS), "Thank you."), summary=TEXT.format(*SECRETS))
    make_queue("mood", signals=[signal], conversations=[home], members=[make_user("ann")])
    for name, role in (("ada", "admin"), ("eve", "engineer"), ("rita", "reviewer")):
        make_label(home, signal, make_user(name, role=role), "negative")
    gold.freeze(dataset="gold", signal=signal, aggregation="majority", now=timezone.now())


def shows(page: Page) -> tuple[bool, bool]:
    """Whether the secrets, and whether the masks in their place, are anywhere in the page's source or on screen."""
    text = page.content() + page.inner_text("body")
    return any(secret in text for secret in SECRETS), all(mask in text for mask in MASKS)


def takes_out(page: Page, live_server: Any, folder: Path, query: str = "") -> tuple[str, bool, bool]:
    """The name of the file of conversations that the page gives, and whether it holds the secrets, and the masks."""
    page.goto(f"{live_server.url}/take-out/{query}")
    with page.expect_download() as taken:
        page.click("main a[href*='conversations/?format=jsonl']")
    taken.value.save_as(folder / "taken")
    text = (folder / "taken").read_text()
    return (
        taken.value.suggested_filename,
        any(secret in text for secret in SECRETS),
        all(mask in text for mask in MASKS),
    )


def test_from_the_choice_to_the_reading_on_record(
    page: Page, browser: Browser, live_server: Any, people: None, tmp_path: Path
) -> None:
    sign_in(page, live_server, "/conversations/c-1/", name="ada")
    assert shows(page) == (True, False)
    page.goto(f"{live_server.url}/settings/privacy/")
    assert "Nothing is masked" in page.inner_text("h1")
    for kind in ("email", "phone", "card", "iban"):
        page.check(f"[value={kind}]")
    page.select_option("[name=originals_role]", "engineer")
    follow(page, "main button:text-is('Store')")
    assert "Masked on pages, in the API and in exports" in page.inner_text("h1")
    assert "Nobody has read an original" in page.inner_text("main")
    assert Axe().run(page)["violations"] == []

    for name, paths in (
        ("ann", ["/label/mood/"]),
        ("rita", ["/conversations/c-1/"]),
        ("eve", ["/conversations/c-1/"]),
    ):
        context = browser.new_context(accept_downloads=True)
        other = sign_in(context.new_page(), live_server, paths[0], name=name)
        other.wait_for_selector("#turns li, .turn")
        assert shows(other) == (False, True), name
        assert (other.locator("text=Read the original").count() == 1) == (name == "eve")
        if name == "eve":
            follow(other, "text=Read the original")
            assert other.is_visible("text=This is the original")
            assert shows(other) == (True, False)
            assert Axe().run(other)["violations"] == []
            follow(other, "text=Show it masked")
            assert other.is_visible("text=Masked here")
            assert shows(other) == (False, True)
            other.goto(f"{live_server.url}/datasets/gold/1/")
            assert "Texts are masked in every export" in other.inner_text("main")
            with other.expect_download() as taken:
                other.click("a[href*='format=jsonl']")
            taken.value.save_as(tmp_path / "gold.jsonl")
            text = (tmp_path / "gold.jsonl").read_text()
            assert all(mask in text for mask in MASKS) and not any(secret in text for secret in SECRETS)
            assert takes_out(other, live_server, tmp_path) == ("conversations-masked.jsonl", False, True)
            follow(other, "text=Take the originals")
            assert other.is_visible("text=The links take the originals")
            assert Axe().run(other)["violations"] == []
            assert takes_out(other, live_server, tmp_path, "?originals=true") == ("conversations.jsonl", True, False)
        context.close()

    assert list(OriginalReading.objects.values_list("reader__username", "what", "via")) == [
        ("eve", "take-out of conversations as jsonl", "page"),
        ("eve", "conversation c-1", "page"),
    ]
    page.reload()
    row = page.locator("[aria-label='Originals that were read'] tbody tr")
    assert row.count() == 2
    assert row.last.locator("td").all_inner_texts()[1:] == ["eve", "conversation c-1", "page"]
    for kind in ("email", "phone", "card", "iban"):
        page.uncheck(f"[value={kind}]")
    follow(page, "main button:text-is('Store')")
    assert "Nothing is masked" in page.inner_text("h1")
    page.goto(f"{live_server.url}/conversations/c-1/")
    assert shows(page) == (True, False) and page.locator("text=Read the original").count() == 0


@pytest.mark.parametrize(("name", "status"), [("ada", 200), ("eve", 403), ("rita", 403), ("ann", 403)])
def test_what_is_masked_is_for_admins(page: Page, live_server: Any, people: None, name: str, status: int) -> None:
    sign_in(page, live_server, name=name)
    answer = page.goto(f"{live_server.url}/settings/privacy/")
    assert answer is not None and answer.status == status
    assert User.objects.get(username=name).may("admin") == (status == 200)
