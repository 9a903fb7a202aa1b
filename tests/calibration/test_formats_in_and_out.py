"""Formats at the four faces: command, HTTP, import page, dumps; what goes in comes out, bad files leave nothing behind."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from calibration import dumping
from calibration.models import Prediction, Span
from labeling import gold, tokens
from labeling.formats import catalogue
from labeling.models import Conversation, Label, QueueMember
from tests.calibration.test_dumping import lines
from tests.labeling.test_formats import CONVERSATION, LABELS, PHOENIX, PREDICTIONS, STUDIO, VTT
from tests.labeling.test_real_formats import REAL, real_rows
from tests.make import make_conversation, make_label, make_queue, make_said, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "VAR", tmp_path)


@pytest.fixture
def signals() -> None:
    make_signal()
    make_signal("tone", scale="multilabel", values=("joy", "anger"))
    make_signal("stars", scale="interval")
    make_signal("nugget", scale="nominal", values=("plea", "offer"), unit="turn")


def call(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def client_with(role: str = "engineer", scopes: tuple[str, ...] = ("ingest", "export", "read")) -> Client:
    _, secret = tokens.make(user=make_user(role[:3] + "-api", role=role), name="t", scopes=list(scopes))
    return Client(headers={"Authorization": f"Bearer {secret}"})


def dump(kind: str, format: str) -> bytes:
    return b"".join(dumping.stream(kind=kind, format=format))


def load_rows(tmp_path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    file = tmp_path / f"{kind}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    call("load", kind, str(file))


@pytest.mark.parametrize("name", [one for one in catalogue.FORMATS if one != "srt"])
def test_a_dump_loaded_again_changes_nothing(name: str, signals: None, tmp_path: Path) -> None:
    known = {"conversations": [CONVERSATION], "labels": LABELS, "predictions": PREDICTIONS}
    for kind, rows in known.items():
        load_rows(tmp_path, kind, rows)
    format = catalogue.FORMATS[name]
    for kind, rows in known.items():
        if kind not in format.writes or kind not in format.reads:
            continue
        file = tmp_path / f"{kind}.{format.ending}"
        call("dump", kind, "--format", name, "--output", str(file))
        assert f"created=0 updated=0 unchanged={len(rows)}" in call("load", kind, str(file), "--format", name)
        assert dump(kind, name) == file.read_bytes()


@pytest.mark.parametrize("name", REAL)
def test_real_data_come_back_through_the_database(name: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / name
    call("signals", "apply", str(folder / "signals.yaml"))
    call("classifiers", "apply", str(folder / "classifiers.json"))
    known = real_rows(folder)
    for kind in ("conversations", "labels", "predictions"):
        load_rows(tmp_path, kind, known[kind])
        for format_name, format in catalogue.FORMATS.items():
            if format_name in ("jsonl", "srt", "simulation") or kind not in format.writes or kind not in format.reads:
                continue
            file = tmp_path / f"{kind}-{format_name}"
            file.write_bytes(dump(kind, format_name))
            loaded = call("load", kind, str(file), "--format", format_name)
            assert f"created=0 updated=0 unchanged={len(known[kind])}" in loaded, (kind, format_name)
    assert lines([json.loads(row) for row in dump("labels", "jsonl").splitlines()]) == lines(known["labels"])


def test_a_whole_label_studio_project_comes_in(signals: None, tmp_path: Path) -> None:
    make_signal("csat", values=("3", "4", "5"))
    file = tmp_path / "project.json.gz"
    file.write_bytes(gzip.compress(STUDIO.encode()))
    given = ("--format", "label-studio", "--set", "prefix=ls-")
    assert "created=1" in call("load", "conversations", str(file), *given, "--set", "channel=chat")
    assert "created=5" in call("load", "labels", str(file), *given)
    assert "created=1" in call("load", "predictions", str(file), *given)
    assert Conversation.objects.get().channel == "chat"
    assert {label.conversation.external_id for label in Label.objects.all()} == {"ls-7"}
    assert "unchanged=5" in call("load", "labels", str(file), *given)


def test_spans_in_a_file_are_seen_in_the_trace_view_and_annotations_find_them(signals: None, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PHOENIX))
    assert "created=1" in call("load", "conversations", str(file), "--format", "phoenix")
    assert Span.objects.get().conversation_key == Conversation.objects.get().external_id == "unknown:s-1"
    note = {
        "span_id": "00000000000000a1",
        "name": "sentiment",
        "annotator_kind": "HUMAN",
        "identifier": "ann",
        "result": {"label": "negative"},
    }
    file.write_text(json.dumps(note))
    assert "created=1" in call("load", "labels", str(file), "--format", "phoenix")
    assert Label.objects.get().conversation.external_id == "unknown:s-1"
    file.write_text(json.dumps(PHOENIX[0]) + "\n" + '{"context.trace_id": "zz"}\n')
    with pytest.raises(SystemExit):
        call("load", "conversations", str(file), "--format", "phoenix", "--set", "prefix=new-")
    assert (Span.objects.count(), Conversation.objects.count()) == (1, 1), "nothing of a bad file is stored"


def test_a_row_at_fault_is_told_by_line_and_nothing_is_stored(signals: None) -> None:
    make_conversation("c-1")
    client = client_with()
    body = '{"id": "c-1", "text": "a", "label": ["negative"]}\n{"id": "c-1x", "text": "b", "label": ["sad"]}\n'
    answer = client.post(
        "/api/v1/labels/bulk/?format=doccano&set=signal=sentiment&set=annotator=ann",
        body,
        content_type="application/x-ndjson",
    )
    assert answer.status_code == 422
    assert [(one["line"], one["field"]) for one in answer.json()["errors"]] == [(2, "conversation")]
    assert not Label.objects.exists()
    twice = client.post(
        "/api/v1/labels/bulk/?format=doccano&set=signal=sentiment",
        body.splitlines()[0] + "\n" + body.splitlines()[0],
        content_type="application/x-ndjson",
    )
    assert "duplicate" in twice.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "said"),
    [("format=secret", "is not one of"), ("format=doccano&set=channel", "must be name=value"),
     ("format=webvtt", "no labels"), ("format=doccano&set=planet=mars", "cannot be given")],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(query: str, said: str) -> None:
    answer = client_with().post(f"/api/v1/labels/bulk/?{query}", "{}", content_type="application/json")
    assert answer.status_code == 422
    assert said in answer.content.decode()


def test_a_damaged_body_in_another_format_is_refused() -> None:
    client = client_with()
    damaged = gzip.compress(STUDIO.encode())[:-10]
    for query in (
        "format=label-studio",
        "format=webvtt&name=a.vtt",
        "format=csv",
        "format=openinference",
        "format=phoenix",
    ):
        answer = client.post(f"/api/v1/conversations/bulk/?{query}", damaged, content_type="application/json")
        assert answer.status_code == 422, query
        assert "truncated" in answer.content.decode(), query
    assert not Conversation.objects.exists()


def test_dumps_are_for_those_who_may_export(signals: None, tmp_path: Path) -> None:
    load_rows(tmp_path, "conversations", [CONVERSATION])
    answer = client_with().get("/api/v1/dump/conversations/?format=webvtt")
    assert answer["Content-Type"] == "application/zip"
    assert b"".join(answer.streaming_content) == dump("conversations", "webvtt")
    assert client_with("reviewer", ("read",)).get("/api/v1/dump/conversations/").status_code == 403
    assert Client().get("/api/v1/dump/conversations/").status_code == 401
    page = Client()
    page.force_login(make_user("rev", role="reviewer"))
    assert page.get("/take-out/").status_code == page.get("/take-out/labels/").status_code == 403


def test_a_dump_hides_what_its_reader_may_still_be_asked() -> None:
    eve, ann, signal = make_user("eve", role="engineer"), make_user("ann"), make_signal()
    hidden, seen = make_conversation("c-1"), make_conversation("c-2")
    queue = make_queue(signals=[signal], conversations=[hidden])
    QueueMember.objects.create(queue=queue, user=eve, lane=0)
    for one in (hidden, seen):
        make_label(one, signal, ann, "negative")
        Prediction.objects.bulk_create([make_said(make_version(signal, f"v-{one.external_id}"), one, "negative")])
    client = Client()
    client.force_login(eve)
    for kind in ("labels", "predictions"):
        body = b"".join(client.get(f"/take-out/{kind}/?format=label-studio").streaming_content).decode()
        assert "c-2" in body and "c-1" not in body


def look(client: Client, body: bytes, name: str, **said: str) -> Any:
    return client.post("/import/preview/", {"file": SimpleUploadedFile(name, body), **said})


def test_the_page_sees_the_format_and_takes_what_is_said(client: Client, signals: None) -> None:
    client.force_login(make_user("eve", role="engineer"))
    seen = look(client, VTT.encode(), "call-7.vtt")
    assert (seen.context["format"], seen.context["kind"]) == ("webvtt", "conversations")
    assert "call-7" in seen.content.decode()
    said = {
        "key": seen.context["key"],
        "format": "webvtt",
        "kind": "conversations",
        "set-channel": "phone",
        "set-customers": "Bob Smith",
    }
    again = client.post("/import/preview/", said)
    assert "phone" in again.context["preview"].rows[0].cells
    assert client.post("/import/load/", said).status_code == 200
    assert [turn["role"] for turn in Conversation.objects.get().turns] == ["agent", "customer"]


def test_the_page_maps_columns(client: Client, signals: None) -> None:
    make_conversation("c-1")
    client.force_login(make_user("eve", role="engineer"))
    table = b"conv,mood\nc-1,negative\n"
    seen = look(client, table, "moods.csv", kind="labels")
    assert seen.context["preview"].errors, "the names of the columns are not the contract's"
    assert seen.context["preview"].found == ["conv", "mood"]
    said = {"key": seen.context["key"], "format": "csv", "kind": "labels", "map-conversation": "conv", "map-value": "mood",
            "set-signal": "sentiment", "set-annotator": "ann"}  # fmt: skip
    assert client.post("/import/preview/", said).context["preview"].errors == []
    client.post("/import/load/", said)
    assert Label.objects.get().value == "negative"


@pytest.mark.parametrize("name", ["doccano", "argilla", "openai-chat", "langfuse", "phoenix"])
def test_gold_goes_out_in_every_format_with_its_hash(name: str, tmp_path: Path) -> None:
    signal, ann = make_signal(), make_user("ann")
    for number in range(3):
        make_label(make_conversation(f"c-{number}"), signal, ann, "negative")
    version = gold.freeze(
        dataset="gold", signal=signal, queues=[], aggregation="single", min_labels=1, created_by=ann, now=timezone.now()
    )
    answer = client_with().get(f"/api/v1/datasets/gold/versions/1/export/?format={name}")
    body = b"".join(answer.streaming_content)
    assert answer["X-Dataset-SHA256"] == version.sha256
    assert body.decode().count(version.sha256) == 3, "the hash stands in every record"
    assert ("X-Not-Carried" in answer) == (name in ("openai-chat", "phoenix"))
    file = tmp_path / name
    call("export", "gold@1", "--format", name, "--output", str(file))
    assert file.read_bytes() == body
    if name != "openai-chat":
        given = ("--set", "annotator=gold") if name == "langfuse" else ()
        assert "created=3" in call("load", "labels", str(file), "--format", name, *given)
