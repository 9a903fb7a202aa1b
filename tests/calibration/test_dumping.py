"""What went in comes out: load, dump, load elsewhere, dump again."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from calibration import dumping
from labeling.errors import Refused
from labeling.models import Conversation, Label, Queue
from tests.make import make_conversation, make_signal, make_user

pytestmark = pytest.mark.django_db

KINDS = ("conversations", "labels", "predictions", "outcomes")


def call(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is compared: what is empty is left out, and several labels of one answer have no order."""
    row = {name: value for name, value in row.items() if value not in (None, "", {}) or name in ("turn", "value")}
    return row | {"value": sorted(row["value"])} if isinstance(row.get("value"), list) else row


def lines(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(plain(row), sort_keys=True) for row in rows)


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.once
@pytest.mark.parametrize("name", ["empathy", "harpervalley", "alttest_cebab", "tdeval"])
def test_what_went_in_comes_out(name: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / name
    call("signals", "apply", str(folder / "signals.yaml"))
    call("classifiers", "apply", str(folder / "classifiers.json"))
    for kind in KINDS:
        file = folder / f"{kind}.jsonl.gz"
        if not file.exists():
            continue
        call("load", kind, str(file))
        call("dump", kind, "--output", str(tmp_path / f"{kind}.jsonl.gz"))
        given, dumped = lines(read(file)), tmp_path / f"{kind}.jsonl.gz"
        assert lines(read(dumped)) == given
        # Loading the dump into what it came from changes nothing, so the content is the same to the last field.
        assert f"created=0 updated=0 unchanged={len(given)}" in call("load", kind, str(dumped))
        assert call("dump", kind) == gzip.decompress(dumped.read_bytes()).decode()


def test_the_order_is_fixed_whatever_the_order_of_loading(tmp_path: Path) -> None:
    rows = [{"id": name, "turns": [], "channel": "chat", "cohort": "é"} for name in ("b", "Z", "a", "ä", "A")]
    for number, order in enumerate((rows, rows[::-1])):
        Conversation.objects.all().delete()
        file = tmp_path / f"{number}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in order), encoding="utf-8")
        call("load", "conversations", str(file))
        assert [json.loads(line)["id"] for line in call("dump", "conversations").splitlines()] == list("AZabä")


def test_of_two_labels_of_one_person_for_one_unit_the_newest_is_written() -> None:
    signal, conversation, ann = make_signal(), make_conversation("c-1"), make_user("ann")
    queues = [Queue.objects.create(slug=slug, title=slug) for slug in ("one", "two")]
    for queue, value in zip(queues, ("negative", "positive"), strict=True):
        item = queue.items.create(conversation=conversation, position=0)
        Label.objects.create(conversation=conversation, signal=signal, annotator=ann, item=item, value=value)
    found = [json.loads(line) for line in call("dump", "labels").splitlines()]
    assert [(row["annotator"], row["value"]) for row in found] == [("ann", "positive")]


def test_signal_and_source_narrow_it() -> None:
    sentiment, tone, ann = make_signal(), make_signal("tone", scale="nominal"), make_user("ann")
    for source, signal in (("zendesk", sentiment), ("zendesk", tone), ("mail", tone)):
        conversation = make_conversation(source=source)
        Label.objects.create(conversation=conversation, signal=signal, annotator=ann, value="neutral")
    assert len(call("dump", "labels").splitlines()) == 3
    assert len(call("dump", "labels", "--signal", "tone").splitlines()) == 2
    assert len(call("dump", "labels", "--signal", "tone", "--source", "mail").splitlines()) == 1
    assert len(call("dump", "conversations", "--source", "zendesk").splitlines()) == 2


def test_an_unknown_signal_and_a_signal_of_conversations_are_refused() -> None:
    with pytest.raises(Refused, match="there is no signal 'mood'"):
        dumping.rows(kind="labels", signal="mood")
    with pytest.raises(Refused, match="have no signal"):
        dumping.rows(kind="conversations", signal="mood")


def test_a_file_that_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        call("dump", "conversations", "--output", str(tmp_path / "missing" / "x.jsonl"))
    assert stopped.value.code == 1
    assert list(tmp_path.iterdir()) == []
