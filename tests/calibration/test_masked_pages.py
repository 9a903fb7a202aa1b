"""Masked wherever it is shown: each page and each answer that carries what people wrote."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import StreamingHttpResponse
from django.test import Client

from calibration import dumping, voice
from calibration.models import Outcome, Prediction, Span, TraceBatch, Transcription
from labeling import frames
from labeling.errors import Refused
from labeling.formats import catalogue
from labeling.models import WHOLE, Conversation, OriginalReading, Privacy, Ruling, User
from tests.labeling.test_personal import MASKED, SECRET, TEXT, as_, masking, sensitive
from tests.make import (
    make_conversation,
    make_gold,
    make_known,
    make_label,
    make_queue,
    make_said,
    make_signal,
    make_user,
    make_version,
)

__all__ = ["masking"]
pytestmark = pytest.mark.django_db


def test_masked_on_every_page_and_in_the_api(masking: User) -> None:
    ann, ben = make_user("ann"), make_user("ben")
    signal = make_signal("mood")
    conversation = sensitive()
    make_queue("mood", signals=[signal], conversations=[conversation], members=[ann])
    as_(ann).post("/label/mood/")
    make_label(conversation, signal, ben, "negative", comment=TEXT)
    make_label(conversation, signal, make_user("cy"), "positive")
    desk = as_(ann).get("/label/mood/").content.decode()
    assert "[email]" in desk and SECRET not in desk
    admin = as_(masking)
    for path in (
        "/conversations/",
        "/conversations/c-1/",
        "/review/signal/mood/",
        f"/journeys/{conversation.customer}/",
        "/api/v1/conversations/",
        "/api/v1/conversations/c-1/?include=labels,predictions,outcomes",
    ):
        answer = admin.get(path)
        assert answer.status_code == 200, path
        assert "[email]" in answer.content.decode() and SECRET not in answer.content.decode(), path
    assert not OriginalReading.objects.exists()


def test_the_steps_of_a_trace_are_masked_and_their_original_is_for_its_role(masking: User) -> None:
    attributes = {"output.value": TEXT + " " + "x" * 200, "openinference.span.kind": "TOOL"}
    row = {"span_id": f"{1:016x}", "name": f"mail {SECRET}", "start_ns": 1_772_000_000_000_000_000, "project": "shop"}
    Span.objects.create(trace_id="ab", end_ns=row["start_ns"] + 5, attributes=attributes, **row)
    TraceBatch.objects.create(content_type="x", body=b"{}", state=TraceBatch.State.FAILED, error=f"not known: {SECRET}")
    make_conversation("key")
    Span.objects.create(
        trace_id="cd", end_ns=row["start_ns"], attributes=attributes, conversation_key="key", **row | {"span_id": "2"}
    )
    engineer = as_(make_user("eve", role="engineer"))
    for path in ("/traces/", "/traces/ab/", "/conversations/key/"):
        page = engineer.get(path).content.decode()
        assert "[email]" in page and SECRET not in page, path
    assert not OriginalReading.objects.exists()
    original = engineer.post("/traces/ab/original/")
    assert SECRET in original.content.decode()
    assert list(OriginalReading.objects.values_list("reader__username", "what")) == [("eve", "trace ab")]
    assert as_(make_user("rita", role="reviewer")).post("/traces/ab/original/").status_code == 403
    assert Client().post("/traces/ab/original/").status_code == 302
    Privacy.objects.update(originals_role="admin")
    assert "Read the original" not in engineer.get("/traces/ab/").content.decode()
    assert engineer.post("/traces/ab/original/").status_code == 403
    assert OriginalReading.objects.count() == 1


def test_the_preview_of_an_import_is_masked_and_what_is_loaded_is_not(
    masking: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "VAR", tmp_path)
    engineer = as_(make_user("eve", role="engineer"))
    turns = [{"role": "customer", "text": "x" * 60 + " " + TEXT}]
    text = json.dumps({"id": SECRET, "turns": turns, "summary": TEXT, "attributes": {"mail": SECRET}})
    seen = engineer.post(
        "/import/preview/", {"kind": "conversations", "file": SimpleUploadedFile("a.jsonl", text.encode())}
    )
    cells = " ".join(seen.context["preview"].rows[0].cells)
    assert "[email]" in cells
    assert cells.count(SECRET) == 1  # the id: other systems join on it
    assert not any(SECRET[:at] in cells.replace(SECRET, "") for at in range(6, len(SECRET)))
    engineer.post("/import/load/", {"kind": "conversations", "key": seen.context["key"]})
    assert Conversation.objects.get().summary == TEXT
    broken = json.dumps({"conversation": "c-9", "signal": "mood", "value": SECRET, "annotator": "ann"})
    make_signal("mood")
    make_conversation("c-9")
    told = engineer.post("/import/preview/", {"kind": "labels", "file": SimpleUploadedFile("b.jsonl", broken.encode())})
    assert told.context["preview"].errors and SECRET not in told.content.decode()
    for stranger, status in ((as_(make_user("ann")), 403), (Client(), 302)):
        assert stranger.post("/import/preview/", {"kind": "conversations"}).status_code == status


def test_words_of_personal_data_are_counted_and_not_listed(masking: User) -> None:
    said = f"write to {SECRET} please, card 4111 1111 1111 1111, or call +44 20 7946 0958 on Monday"
    heard = (
        f"right to {SECRET.replace('lee', 'leigh')} please card 4111 1111 1111 1112 or call +44 20 7946 0900 on Sunday"
    )
    make_conversation("c-1", channel="voice", asr={"reference": said, "hypothesis": heard, "provider": "w"})
    make_conversation("c-2", channel="voice", asr={"reference": f"mail {SECRET}", "hypothesis": " ", "provider": "w"})
    voice.measure()
    listed = {(one.said, one.heard) for one in voice.read().mistakes}
    assert listed == {("write", "right"), ("monday", "sunday"), ("mail", "")}
    plain = voice.count(said, heard)
    kept = Transcription.objects.get(conversation__external_id="c-1")
    assert kept.substitutions == plain.substitutions == 5
    page = as_(make_user("eve", role="engineer")).get("/voice/").content.decode()
    assert "monday" in page and "leigh" not in page and "1112" not in page
    assert as_(make_user("rita", role="reviewer")).get("/voice/").status_code == 403


def test_practice_is_masked_like_the_desk(masking: User) -> None:
    ann = make_user("ann")
    queue = make_queue("mood", signals=[make_signal("mood")], members=[ann], practice_size=1)
    make_known(queue, ["negative"], explanation=TEXT)
    Conversation.objects.filter(known_items__queue=queue).update(turns=[{"role": "customer", "text": TEXT}])
    reader = as_(ann)
    item = reader.post("/label/mood/practice/begin/", follow=True)
    place = item.context["place"]
    told = reader.post(f"/label/mood/practice/{place.id}/answer/", {"q-mood": "negative"}, follow=True)
    for page in (item, told):
        assert page.status_code == 200
        assert "[email]" in page.content.decode() and SECRET not in page.content.decode()
    assert told.content.decode().count("[email]") == 2
    assert as_(make_user("ben")).get("/label/mood/practice/").status_code == 404


@pytest.fixture
def taken(masking: User) -> None:
    """A row of each kind with a secret in every field that somebody wrote; originals are for admins."""
    Privacy.objects.update(originals_role="admin")
    signal, ann = make_signal("mood"), make_user("ann")
    home = sensitive(attributes={"mail": SECRET, "card": 4111111111111111}, asr={"hypothesis": TEXT}, cohort="2026")
    make_label(home, signal, ann, "negative", comment=TEXT, metadata={"mail": SECRET})
    said = make_said(make_version(signal), home, "negative")
    said.rationale, said.metadata = TEXT, {"mail": SECRET}
    Prediction.objects.bulk_create([said])
    Outcome.objects.create(conversation=home, customer="u-1", kind="csat", value=5, metadata={"why": TEXT})


FILES = [(kind, one.name) for one in catalogue.FORMATS.values() for kind in one.writes]
FILES += [("outcomes", name) for name in dumping.OUTCOMES if ("outcomes", name) not in FILES]
DIGITS = "4111111111111111"


def text_of(answer: Any) -> str:
    """All that a file says, whatever it is packed in."""
    body = b"".join(answer.streaming_content)
    if body.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(body))
        body = b"".join(archive.read(name) for name in archive.namelist())
    return body.decode()


@pytest.mark.parametrize("path", ["/take-out/{}/?format={}", "/api/v1/dump/{}/?format={}"])
@pytest.mark.parametrize(("kind", "format"), FILES)
def test_what_is_taken_out_is_masked_and_its_original_is_for_its_role(
    masking: User, taken: None, path: str, kind: str, format: str
) -> None:
    address = path.format(kind, format) + "&source="
    admin, colleague = as_(masking), as_(make_user("eve", role="engineer"))
    for client in (admin, colleague):
        answer = client.get(address)
        assert answer["X-Masked"] == "email, phone, card, iban"
        assert f'"{kind}-masked.' in answer["Content-Disposition"]
        text = text_of(answer)
        assert text and SECRET not in text and DIGITS not in text and "DE89" not in text
    assert not OriginalReading.objects.exists()
    assert colleague.get(address + "&originals=true").status_code == 403
    assert not OriginalReading.objects.exists()
    original = admin.get(address + "&originals=true")
    assert "X-Masked" not in original and "-masked" not in original["Content-Disposition"]
    assert text_of(original).encode() == text_of_command(kind, format)
    via = "api" if "/api/" in path else "page"
    kept = list(OriginalReading.objects.values_list("reader__username", "what", "via"))
    assert kept == [("ada", f"take-out of {kind} as {format}", via)]
    refused = (401, 401) if "/api/" in path else (302, 302)
    for stranger, statuses in ((as_(make_user("rita", role="reviewer")), (403, 403)), (Client(), refused)):
        found = tuple(stranger.get(address + more).status_code for more in ("", "&originals=true"))
        assert found == statuses
    assert OriginalReading.objects.count() == 1


def text_of_command(kind: str, format: str) -> bytes:
    """What the command writes: it has no reader, and masks nothing."""
    chunks = dumping.stream(kind=kind, format=format)
    return text_of(StreamingHttpResponse(chunks)).encode()


def test_a_take_out_of_originals_says_what_was_taken_and_a_refused_one_is_no_reading(
    masking: User, taken: None
) -> None:
    admin = as_(masking)
    assert admin.get("/take-out/conversations/?format=docx&originals=true").status_code == 422
    assert admin.get("/api/v1/dump/faces/?originals=true").status_code == 422
    assert not OriginalReading.objects.exists()
    admin.get(f"/api/v1/dump/labels/?signal=mood&source={'s' * 300}&originals=1")
    (kept,) = OriginalReading.objects.values_list("what", flat=True)
    assert kept.startswith("take-out of labels as jsonl, signal mood, source sss") and len(kept) == 260


def test_a_backup_by_who_may_gives_back_what_went_in(masking: User) -> None:
    admin, row = (
        as_(masking),
        {"id": "c-1", "turns": [{"role": "customer", "text": TEXT}], "metadata": {"mail": SECRET}},
    )
    load = {"path": "/api/v1/conversations/bulk/", "content_type": "application/x-ndjson"}
    admin.post(data=json.dumps(row), **load)
    rows = text_of(admin.get("/api/v1/dump/conversations/?originals=true"))
    assert row.items() <= json.loads(rows).items()
    assert admin.post(data=rows, **load).json() == {"created": 0, "updated": 0, "unchanged": 1}


def test_keys_stay_in_a_masked_take_out(masking: User) -> None:
    """Other systems join on them."""
    make_conversation("+44 20 7946 0958", customer=SECRET, cohort="4111 1111 1111 1111", metadata={"mail": SECRET})
    admin = as_(masking)
    (row,) = text_of(admin.get("/api/v1/dump/conversations/")).splitlines()
    told = json.loads(row)
    assert (told["id"], told["customer"], told["cohort"]) == ("+44 20 7946 0958", SECRET, "4111 1111 1111 1111")
    assert told["metadata"] == {"mail": "[email]"}


def test_where_nothing_is_masked_a_take_out_is_what_went_in(masking: User, taken: None) -> None:
    Privacy.objects.update(masks=[])
    engineer = as_(make_user("eve", role="engineer"))
    answer = engineer.get("/take-out/conversations/")
    assert "X-Masked" not in answer and text_of(answer).encode() == text_of_command("conversations", "jsonl")
    page = engineer.get("/take-out/").content.decode()
    assert "what went in comes out" in page and "originals" not in page


def test_the_page_says_what_is_masked_and_offers_the_originals_to_who_may(masking: User, taken: None) -> None:
    admin, colleague = as_(masking), as_(make_user("eve", role="engineer"))
    for client, offered in ((admin, True), (colleague, False)):
        page = client.get("/take-out/").content.decode()
        assert "masked in every file: email, phone, card, iban" in page and "what went in" not in page
        assert ("Take the originals" in page) == offered
        assert (
            "format=jsonl&amp;originals=true" in client.get("/take-out/?originals=true").content.decode()
        ) == offered
    assert not OriginalReading.objects.exists()


def test_what_is_included_with_a_conversation_keeps_its_keys(masking: User) -> None:
    home = make_conversation("+44 20 7946 0958")
    make_label(home, make_signal("mood"), make_user("ann"), "negative", comment=TEXT)
    told = as_(masking).get("/api/v1/conversations/+44 20 7946 0958/?include=labels").json()
    (label,) = told["labels"]
    assert label["conversation"] == "+44 20 7946 0958" and SECRET not in label["comment"]


def test_notes_of_rulings_are_masked_and_kept_by_who_sends_back_what_they_were_shown(masking: User) -> None:
    signal, home, ann = make_signal("mood"), make_conversation("c-1"), make_user("ann")
    for person, value in ((ann, "negative"), (make_user("ben"), "positive")):
        make_label(home, signal, person, value)
    reviewer = as_(make_user("rita", role="reviewer"))
    sent = {"unit": f"{home.id}.{WHOLE}.{signal.id}", "value": "negative", "reason": "slip", "next": ""}
    reviewer.post("/review/signal/mood/decide/", sent | {"note": TEXT})
    for path in ("/conversations/c-1/", f"/review/signal/mood/?unit={sent['unit']}"):
        page = reviewer.get(path).content.decode()
        assert MASKED in page and SECRET not in page, path
    reviewer.post("/review/signal/mood/decide/", sent | {"note": MASKED, "value": "positive"})
    assert Ruling.objects.get(superseded_at=None).note == TEXT
    page = reviewer.post("/review/signal/mood/withdraw/", sent, follow=True).content.decode()
    assert "is open again" in page and MASKED in page and SECRET not in page
    reviewer.post("/review/signal/mood/decide/", sent | {"note": MASKED})
    assert Ruling.objects.get(superseded_at=None).note == TEXT
    reviewer.post("/review/signal/mood/decide/", sent | {"note": "Mended."})
    assert Ruling.objects.get(superseded_at=None).note == "Mended."
    assert as_(ann).get(f"/review/signal/mood/?unit={sent['unit']}").status_code == 403


def test_why_an_answer_is_known_is_masked_and_kept_by_who_sends_back_what_they_were_shown(masking: User) -> None:
    queue = make_queue("mood", signals=[make_signal("mood")])
    make_known(queue, ["negative"], explanation=TEXT)
    known = queue.known_items.get()
    reviewer, address = as_(make_user("rita", role="reviewer")), f"/queues/mood/known/{known.id}/"
    page = reviewer.get("/queues/mood/known/").content.decode()
    assert MASKED in page and SECRET not in page
    for said, stored in ((MASKED, TEXT), ("Thanked twice.", "Thanked twice.")):
        reviewer.post(address, {"explanation": said})
        known.refresh_from_db()
        assert known.explanation == stored
    for stranger, status in ((as_(make_user("ann")), 403), (Client(), 302)):
        assert stranger.get("/queues/mood/known/").status_code == status


def test_nothing_is_sliced_or_drawn_by_an_attribute_that_is_masked(masking: User) -> None:
    signal = make_signal("mood")
    home = make_conversation("c-1", attributes={"mail": SECRET, "plan": "trial"})
    make_gold(signal, [{"gold": "negative", "conversation": home}])
    versions = [make_version(signal, name) for name in ("v1", "v2")]
    Prediction.objects.bulk_create([make_said(version, home, "negative") for version in versions])
    engineer = as_(make_user("eve", role="engineer"))
    address = "/api/v1/agreement/?dataset=gold@1&classifier=judge@v1&by="
    Privacy.objects.update(masks=[])
    assert SECRET in engineer.get(address + "mail").content.decode()  # and it is in the cache
    Privacy.objects.update(masks=["email"])
    refused = engineer.get(address + "mail")
    assert refused.status_code == 422 and SECRET not in refused.content.decode()
    compared = "/api/v1/comparison/?dataset=gold@1&a=judge@v1&b=judge@v2&by="
    assert engineer.get(compared + "plan").status_code == 200
    refused = engineer.get(compared + "mail")
    assert refused.status_code == 422 and "masked here" in refused.content.decode()
    assert "trial" in engineer.get(address + "plan").content.decode()
    with pytest.raises(Refused, match="masked here"):
        frames.read(frames.Frame(), signals=[signal], by=["mail"])
    assert frames.read(frames.Frame(), signals=[signal], by=["plan"])
