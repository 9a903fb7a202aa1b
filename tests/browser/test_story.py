"""Half a year of four planted troubles, told in the browser: each is flagged, explained by its own cause, and worked off."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Page

from calibration.demo import story as telling
from calibration.demo.load import PASSWORD
from calibration.demo.story import Story
from calibration.drift import causes, flags, recalibration
from calibration.models import DriftFlag
from tests.browser.hands import follow

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, reset_sequences=True)]
# One fixed draw: a top-up queue is drawn by its flag's number.
Kind = DriftFlag.Kind


class Reader:
    """An engineer at the pages."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    def sign_in(self) -> None:
        self.page.goto(f"{self.address}/sign-in/")
        self.page.fill("[name=username]", "eve")
        self.page.fill("[name=password]", PASSWORD)
        follow(self.page, "main button")

    def inbox(self) -> str:
        self.page.goto(f"{self.address}/drift/")
        return self.page.inner_text("main")

    def open(self, flag: DriftFlag) -> str:
        self.page.goto(f"{self.address}/drift/{flag.id}/")
        return self.page.inner_text("main")

    def say(self, summary: str, field: str, text: str) -> None:
        """Open one of the flag's small forms, write, send."""
        form = self.page.locator("details.more", has=self.page.locator(f"summary:text-is('{summary}')"))
        form.locator("summary").click()
        form.locator(f"[name={field}]").fill(text)
        with self.page.expect_navigation():
            form.locator("button").click()

    def moved(self, before: str, after: str, year: int) -> tuple[str, dict[str, Any]]:
        """The sentence of the page about two months, and its parts as the page gives them away."""
        first, second = (
            f"{a.isoformat()}..{b.isoformat()}" for a, b in (Story(year, 0, print).month(m) for m in (before, after))
        )
        self.page.goto(f"{self.address}/signals/sentiment/moved/?from={first}&to={second}&value=negative")
        return self.told()

    def told(self) -> tuple[str, dict[str, Any]]:
        """What the open page says has moved."""
        return self.page.inner_text("h1"), self.page.request.get(f"{self.page.url}&export=json").json()["parts"]

    def report(self, version: str) -> str:
        self.page.goto(
            f"{self.address}/classifiers/{telling.CLASSIFIER}/?dataset=gold-sentiment@2&by=channel&version={version}"
        )
        return self.page.inner_text("h1")


def raised(known: set[int]) -> list[DriftFlag]:
    """The flags since the last look."""
    new = [flag for flag in DriftFlag.objects.select_related("version__classifier") if flag.id not in known]
    known |= {flag.id for flag in new}
    return sorted(new, key=lambda flag: flag.id)


def named(flag: DriftFlag) -> tuple[str, str, str]:
    place = (flag.slice.get(name, "") for name in ("channel", "cohort"))
    return flag.kind, str(flag.version), ", ".join(filter(None, place))


def test_half_a_year(live_server: Any, page: Page) -> None:
    cache.clear()
    story, reader = Story(2026, 7, lambda _: None), Reader(page, live_server.url)
    known: set[int] = set()
    found: dict[str, dict[str, Any]] = {}
    telling.begin(story)
    assert raised(known) == []

    # March: the upgrade, recalibrated to a trusted version, each step a click.
    telling.march(story)
    (upgrade,) = raised(known)
    assert named(upgrade) == (Kind.VERSION, "sentiment-judge@v2", "")
    reader.sign_in()
    assert "In service without calibration" in reader.inbox()
    sentence, parts = reader.moved("February", "March", story.year)
    assert "this is the classifier, not the customers: the upgrade from v1 to v2" in sentence
    found["upgrade"] = parts["upgrade"]
    reader.open(upgrade)
    follow(page, "button:has-text('Recalibrate')")
    opened = recalibration.of(upgrade)
    assert opened is not None
    telling.answer(story, opened)
    reader.open(upgrade)
    for step in ("Freeze and fit", "Compare", "Promote"):
        follow(page, f"button:has-text('{step}')")
    assert "This flag is resolved." in page.inner_text("main")

    # April: the promoted version is trusted where the upgrade was not; trial customers decline.
    telling.april(story)
    assert "untrusted on voice" in reader.report("v2")
    assert reader.report(telling.promoted_version().version) == "Trusted on every channel."
    decline = raised(known)
    serving = str(telling.promoted_version())
    assert [named(flag) for flag in decline] == [
        (Kind.MIX, serving, "chat, trial"),
        (Kind.MIX, serving, "voice, trial"),
    ]
    sentence, _ = reader.moved("March", "April", story.year)
    assert "customers and classifier both moved: the upgrade from v2 to v2-r1" in sentence
    follow(page, "text=what moved as it scores both periods")
    sentence, parts = reader.told()
    assert "this is the customers, not the classifier" in sentence
    found["customers"] = parts["customers"]
    for flag in decline:
        reader.open(flag)
        reader.say("Dismiss", "reason", telling.EXPLAINED)
        assert "This flag is dismissed." in page.inner_text("main")

    # May: the recogniser mishears; what lies downstream names it.
    telling.may(story)
    regression, *downstream = raised(known)
    assert named(regression) == (Kind.ASR, "clearvoice@6", "voice")
    assert all(flag.slice["channel"] == "voice" for flag in downstream)
    for flag in downstream:
        assert regression in [cause.flag for cause in causes.of(flag)]
        assert "Possible causes" in reader.open(flag)
    sentence, parts = reader.moved("April", "May", story.year)
    assert "this is the classifier, not the customers: transcription" in sentence
    found["transcription"] = parts["transcription"]
    assert downstream and f"{len(downstream)} more may follow from it" in reader.inbox()
    reader.open(regression)
    reader.say("Resolve", "note", "Back to clearvoice@5 from 1 June.")  # with what followed from it
    assert not flags.active()

    # June: the vendor changes the model without a word; the canaries tell.
    telling.june(story)
    silent, *downstream = raised(known)
    assert named(silent) == (Kind.SILENT_CHANGE, serving, "")
    assert all(silent in [cause.flag for cause in causes.of(flag)] for flag in downstream)
    assert reader.inbox().startswith("One flag")
    assert "of canaries are answered differently, beyond its own noise" in reader.open(silent)
    sentence, parts = reader.moved("April", "June", story.year)
    assert "this is the classifier, not the customers: silent drift" in sentence
    found["silent_drift"] = parts["silent_drift"]

    planted = telling.planted(story)
    assert {name: part["low"] <= planted[name] <= part["high"] for name, part in found.items()} == dict.fromkeys(
        planted, True
    )
    assert min(abs(size) for size in planted.values()) > 0.05
