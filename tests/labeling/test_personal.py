"""Personal data: what is found and what is not; masked wherever it is shown; the original by role, and each reading kept."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client

from labeling import exporting, gold, privacy
from labeling.models import OriginalReading, Privacy, User
from labeling.personal import KINDS, Mask
from tests.make import make_conversation, make_gold, make_signal, make_user

ALL = Mask(KINDS, "US")
SECRET = "ann.lee@example.co.uk"
TEXT = f"Mail {SECRET} or +44 20 7946 0958, card 4111 1111 1111 1111, IBAN DE89 3704 0044 0532 0130 00 please"
MASKED = "Mail [email] or [phone], card [card], IBAN [iban] please"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (TEXT, MASKED),
        ("call (212) 736-5000 now", "call [phone] now"),
        ("Visa 4111-1111-1111-1111.", "Visa [card]."),
        ("<a@b.io>, ünï@exämple.com", "<[email]>, [email]"),
        ("order 4111 1111 1111 1112 of 2026-03-02 09:15", "order 4111 1111 1111 1112 of 2026-03-02 09:15"),
        ("DE89370400440532013001 is none", "DE89370400440532013001 is none"),
        (
            "0000 0000 0000 0000, a@b, 12.50 EUR, version 1.2.3.4",
            "0000 0000 0000 0000, a@b, 12.50 EUR, version 1.2.3.4",
        ),
        ("", ""),
    ],
)
def test_what_is_found(text: str, masked: str) -> None:
    assert ALL.text(text) == masked


def test_only_the_kinds_that_were_chosen() -> None:
    assert Mask(("email",)).text(TEXT).count("[") == 1
    assert Mask().text(TEXT) == TEXT
    assert Mask(("phone",)).text("call (212) 736-5000") == "call (212) 736-5000"  # no country, no prefix


def test_masking_twice_changes_nothing_more_and_structure_stays() -> None:
    assert ALL.text(MASKED) == MASKED
    assert ALL.data({"a": [TEXT, 1, None, True], TEXT: "x"}) == {"a": [MASKED, 1, None, True], TEXT: "x"}
    words = [{"word": "4111", "confidence": 0.5}]
    assert ALL.turn({"role": "customer", "text": TEXT, "words": words}) == {"role": "customer", "text": MASKED}


@pytest.mark.parametrize("piece", ["1", "1 ", "a@", "a.", "+1 (", "DE89 ", "4111-"])
def test_a_megabyte_of_anything_takes_time_in_proportion(piece: str) -> None:
    """Sixteen times the text takes well below the 256 times of something quadratic."""

    def spent(size: int) -> float:
        start = time.process_time()
        ALL.text(piece * (size // len(piece)))
        return time.process_time() - start

    assert spent(320_000) < 100 * max(spent(20_000), 0.002)


@pytest.fixture
def masking(db: None) -> User:
    admin = make_user("ada", role="admin")
    privacy.change(masks=list(KINDS), region="US", originals_role="engineer", by=admin)
    return admin


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def sensitive(**kw: Any) -> Any:
    turns = [{"role": "customer", "text": TEXT}]
    return make_conversation("c-1", turns=turns, summary=TEXT, metadata={"mail": SECRET}, **kw)


def test_the_original_by_role_and_each_reading_is_kept(masking: User) -> None:
    sensitive()
    reviewer, engineer = as_(make_user("rita", role="reviewer")), as_(make_user("eve", role="engineer"))
    assert "Read the original" not in reviewer.get("/conversations/c-1/").content.decode()
    assert "Read the original" in engineer.get("/conversations/c-1/").content.decode()
    assert reviewer.post("/conversations/c-1/original/").status_code == 403
    assert reviewer.get("/api/v1/conversations/c-1/?originals=true").status_code == 403
    assert as_(make_user("ann")).post("/conversations/c-1/original/").status_code == 403
    assert engineer.get("/conversations/c-1/original/").status_code == 405
    assert SECRET in engineer.post("/conversations/c-1/original/").content.decode()
    assert SECRET in engineer.get("/api/v1/conversations/c-1/?originals=true").content.decode()
    kept = list(OriginalReading.objects.values_list("reader__username", "what", "via"))
    assert kept == [("eve", "conversation c-1", "api"), ("eve", "conversation c-1", "page")]
    assert "conversation c-1" in as_(masking).get("/settings/privacy/").content.decode()
    assert len(as_(masking).get("/api/v1/original-readings/").json()["results"]) == 2


def test_what_is_masked_is_for_admins_to_choose(masking: User) -> None:
    for role in ("annotator", "reviewer", "engineer"):
        client = as_(make_user(role, role=role))
        for path in ("/settings/privacy/", "/api/v1/privacy/", "/api/v1/original-readings/"):
            assert client.get(path).status_code == 403, (role, path)
    admin = as_(masking)
    sent = {"mask": ["email"], "region": "de", "originals_role": "admin"}
    assert admin.post("/settings/privacy/", sent).status_code == 302
    row = Privacy.objects.get()
    assert (row.masks, row.region, row.originals_role, row.changed_by) == (["email"], "DE", "admin", masking)
    for wrong in ({"mask": "face"}, {"region": "XX"}, {"originals_role": "king"}):
        assert admin.post("/settings/privacy/", sent | wrong).status_code == 422
    assert admin.get("/api/v1/privacy/").json() == {"masks": ["email"], "region": "DE", "originals_role": "admin"}
    answer = admin.put("/api/v1/privacy/", {"masks": [], "region": ""}, content_type="application/json")
    assert answer.json()["masks"] == []
    assert privacy.in_force() == Mask((), "")


@pytest.mark.parametrize("format", sorted(exporting.STREAMED))
def test_a_masked_export_keeps_the_hash_of_the_frozen_originals_and_says_that_it_is_masked(
    masking: User, format: str
) -> None:
    version = make_gold(make_signal("mood"), [{"gold": "negative", "conversation": sensitive()}])
    path = f"/api/v1/datasets/gold/versions/{version.number}/export/?format={format}"
    client = as_(make_user("eve", role="engineer"))
    masked, original = client.get(path), client.get(path + "&originals=true")
    assert masked["X-Dataset-Masked"] == "email, phone, card, iban" and "X-Dataset-Masked" not in original
    assert masked["X-Dataset-SHA256"] == original["X-Dataset-SHA256"] == version.sha256
    assert masked["ETag"] != original["ETag"]
    if format not in ("parquet", "phoenix"):  # one is compressed, the other carries no text
        assert SECRET.encode() not in masked.getvalue() and SECRET.encode() in original.getvalue()
    assert OriginalReading.objects.get().what == f"dataset {version}"
    assert as_(make_user("rita", role="reviewer")).get(path).status_code == 403


def test_the_hash_of_a_masked_text_is_of_the_masked_text(masking: User) -> None:
    version = make_gold(make_signal("mood"), [{"gold": "negative", "conversation": sensitive()}])
    (line,) = exporting.stream(version=version, format="jsonl", mask=ALL)
    (plain,) = gold.items(version)
    item = json.loads(line)
    assert item["turns"] == [{"role": "customer", "text": MASKED}]
    assert item["text_sha256"] == exporting.formats.text_sha256(item["turns"], None) != plain.text_sha256
