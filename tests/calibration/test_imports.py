"""The import page: first rows as understood, then all of the file or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from calibration import importing
from labeling.models import Conversation
from tests.make import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "VAR", tmp_path)


def lines(count: int, **fields: Any) -> str:
    turns = [{"role": "customer", "text": "My invoice is wrong"}]
    return "".join(json.dumps({"id": f"c-{n}", "turns": turns} | fields) + "\n" for n in range(1, count + 1))


def look(client: Client, text: str, kind: str = "conversations") -> Any:
    file = SimpleUploadedFile("new.jsonl", text.encode())
    return client.post("/import/preview/", {"kind": kind, "file": file})


def engineer(client: Client, name: str = "eve") -> Client:
    client.force_login(make_user(name, role="engineer"))
    return client


def test_it_works(client: Client) -> None:
    engineer(client)
    seen = look(client, lines(30, channel="voice"))
    assert len(seen.context["preview"].rows) == 10
    assert "1: My invoice is wrong" in seen.content.decode()
    assert not Conversation.objects.exists(), "a preview stores nothing"
    done = client.post("/import/load/", {"kind": "conversations", "key": seen.context["key"]})
    assert "30 created, 0 updated, 0 unchanged" in done.content.decode()
    assert Conversation.objects.count() == 30
    assert list((Path(settings.VAR) / "uploads").iterdir()) == []


def test_errors_are_told_by_line_before_and_after_the_preview(client: Client) -> None:
    engineer(client)
    seen = look(client, lines(2) + '{"id": 5}\n').content.decode()
    assert "line 3: <b>id</b>" in seen
    assert "Load the whole file" not in seen
    late = look(client, lines(12) + "broken\n")
    done = client.post("/import/load/", {"kind": "conversations", "key": late.context["key"]})
    assert done.status_code == 422
    assert "line 13: is not valid JSON" in done.content.decode()
    assert not Conversation.objects.exists()


def test_a_file_is_its_owners(client: Client) -> None:
    key = look(engineer(client), lines(1)).context["key"]
    other = engineer(Client(), "mallory")
    assert other.post("/import/load/", {"kind": "conversations", "key": key}).status_code == 422
    assert other.post("/import/load/", {"kind": "conversations", "key": "../../etc/passwd"}).status_code == 422
    assert not Conversation.objects.exists()


def test_it_is_for_engineers(client: Client) -> None:
    assert client.get("/import/")["Location"].startswith("/sign-in/")
    assert look(client, lines(1)).status_code == 302
    client.force_login(make_user("rev", role="reviewer"))
    assert client.get("/import/").status_code == 403
    assert look(client, lines(1)).status_code == 403
    assert engineer(client).get("/import/").status_code == 200


def test_a_missing_file_and_an_unknown_kind_are_told(client: Client) -> None:
    engineer(client)
    assert "choose a file" in client.post("/import/preview/", {"kind": "labels"}).content.decode()
    assert "is not one of" in look(client, lines(1), kind="secrets").content.decode()


def test_htmx_gets_the_part_that_changes(client: Client) -> None:
    engineer(client)
    file = SimpleUploadedFile("new.jsonl", b"broken\n")
    seen = client.post("/import/preview/", {"kind": "labels", "file": file}, headers={"HX-Request": "true"})
    assert seen.status_code == 200
    assert "<html" not in seen.content.decode()
    assert "line 1: is not valid JSON" in seen.content.decode()


def test_how_far_a_file_is_read_is_told_to_its_owner_while_it_is_loaded(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    engineer(client)
    key = look(client, lines(3000)).context["key"]
    address = f"/import/progress/?key={key}"
    others = {name: Client() for name in ("colleague", "ann")}
    others["colleague"].force_login(make_user("colleague", role="engineer"))
    others["ann"].force_login(make_user("ann"))
    seen: list[Any] = []
    conversations = importing.KINDS["conversations"]

    def looked_at(records: Any, **kw: Any) -> Any:
        def passing() -> Any:
            for number, record in enumerate(records):
                if number == 2500:
                    seen.extend(one.get(address) for one in (client, *others.values()))
                yield record

        return conversations(records=passing(), **kw)

    monkeypatch.setattr(importing, "NOTED_SECONDS", -1.0)  # after every read
    monkeypatch.setitem(importing.KINDS, "conversations", looked_at)
    assert client.get(address).status_code == 204, "nothing is loaded yet"
    done = client.post("/import/load/", {"kind": "conversations", "key": key})
    assert "3000 created" in done.content.decode()
    assert [one.status_code for one in seen] == [200, 204, 403]
    told = seen[0].context["progress"]
    assert 0 < told.read <= told.of and told.seconds_left is not None
    assert f'value="{told.read}"' in seen[0].content.decode()
    assert client.get(address).status_code == 204
    assert list((Path(settings.VAR) / "uploads").iterdir()) == []
