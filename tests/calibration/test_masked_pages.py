"""Masked wherever it is shown: each page and each answer that carries what people wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from calibration import voice
from calibration.models import Span, TraceBatch, Transcription
from labeling.models import Conversation, OriginalReading, Privacy, User
from tests.labeling.test_personal import SECRET, TEXT, as_, masking, sensitive
from tests.make import make_conversation, make_known, make_label, make_queue, make_signal, make_user

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
