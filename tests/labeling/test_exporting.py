"""Every format carries the same items and the same hash, today and again, safely."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from django.core.management import call_command
from django.test import Client

from labeling import exporting, tokens
from labeling.models import DatasetVersion
from tests.labeling.test_gold import freeze, give
from tests.make import make_conversation, make_signal, make_user

pytestmark = pytest.mark.django_db


def make_version(*texts: str) -> DatasetVersion:
    signal = make_signal()
    for number, text in enumerate(texts or ("Hello", "Bye")):
        give(make_conversation(f"c{number}", texts=(text,)), {"ann": "negative", "ben": "negative"})
    return freeze(signal)


def exported(version: DatasetVersion, format: str) -> bytes:
    return b"".join(exporting.stream(version=version, format=format))


def test_it_works() -> None:
    version = make_version()
    lines = exported(version, "jsonl").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["c0", "c1"]
    assert list(json.loads(lines[0])) == [
        "id", "conversation", "turn", "signal", "value", "votes", "annotators", "decided_by", "channel", "cohort",
        "attributes", "stratum", "inclusion_probability", "text_sha256", "turns",
    ]  # fmt: skip


def test_the_hash_is_over_the_lines() -> None:
    version = make_version("Ünïcode 🙏", "\u202eright to left", "a\nb")
    assert hashlib.sha256(exported(version, "jsonl")).hexdigest() == version.sha256


@pytest.mark.parametrize("format", list(exporting.STREAMED))
def test_the_same_bytes_again(format: str) -> None:
    version = make_version()
    assert exported(version, format) == exported(DatasetVersion.objects.get(), format)


def test_every_format_carries_the_hash_and_every_item(tmp_path: Path) -> None:
    version = make_version()
    rows = list(csv.DictReader(io.StringIO(exported(version, "csv").decode())))
    assert {row["dataset_sha256"] for row in rows} == {version.sha256}
    table = pq.read_table(io.BytesIO(exported(version, "parquet")))
    assert table.schema.metadata[b"sha256"].decode() == version.sha256
    tasks = json.loads(exported(version, "label-studio"))
    assert {task["data"]["dataset_sha256"] for task in tasks} == {version.sha256}
    exporting.write(version=version, format="hf", path=tmp_path / "hf")
    assert json.loads((tmp_path / "hf/manifest.json").read_text())["sha256"] == version.sha256
    assert hashlib.sha256((tmp_path / "hf/data/gold.jsonl").read_bytes()).hexdigest() == version.sha256
    assert len(rows) == table.num_rows == len(tasks) == 2


def test_parquet_reads_with_its_types() -> None:
    [row, _] = pq.read_table(io.BytesIO(exported(make_version(), "parquet"))).to_pylist()
    assert (row["value"], dict(row["votes"]), row["turns"][0]["text"]) == ("negative", {"negative": 2}, "Hello")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    signal = make_signal()
    give(make_conversation(text.strip() or "x", texts=(text,), cohort=text, channel=text), {"ann": "negative"})
    for row in csv.reader(io.StringIO(exported(freeze(signal), "csv").decode())):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_a_category_that_is_a_negative_number_stays_one() -> None:
    signal = make_signal("satisfaction", values=("-2", "0", "=2"))
    give(make_conversation("a"), {"ann": "-2"}, "satisfaction")
    give(make_conversation("b"), {"ann": "=2"}, "satisfaction")
    rows = csv.DictReader(io.StringIO(exported(freeze(signal), "csv").decode()))
    assert [row["value"] for row in rows] == ["-2", "'=2"]


def test_the_folder_is_one_that_hugging_face_loads(tmp_path: Path) -> None:
    exporting.write(version=make_version(), format="hf", path=tmp_path / "gold")
    card = (tmp_path / "gold/README.md").read_text()
    assert card.startswith("---\n")
    assert "path: data/gold.jsonl" in card.split("---")[1]


def test_the_commands_write_and_verify(tmp_path: Path) -> None:
    version = make_version()
    target = tmp_path / "gold.jsonl"
    call_command("export", "gold@1", format="jsonl", output=str(target), stderr=io.StringIO())
    assert hashlib.sha256(target.read_bytes()).hexdigest() == version.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["gold.jsonl"]
    said = io.StringIO()
    call_command("verify", "gold@1", stdout=said)
    assert said.getvalue().strip() == f"gold@1 sha256:{version.sha256} items=2 verified"


def bearer(*scopes: str, role: str = "engineer") -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.make(user=make_user(role=role), name='x', scopes=list(scopes))[1]}"}


def test_the_api_streams_with_hash_and_tag(client: Client) -> None:
    version = make_version()
    path = "/api/v1/datasets/gold/versions/1/export/?format=jsonl"
    headers = bearer("export")
    response = client.get(path, headers=headers)
    assert response["X-Dataset-SHA256"] == version.sha256
    assert hashlib.sha256(b"".join(response.streaming_content)).hexdigest() == version.sha256
    again = client.get(path, headers={**headers, "If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path.replace("jsonl", "xml"), headers=headers).status_code == 422


def test_who_may_pull_who_may_read_and_who_may_not(client: Client) -> None:
    make_version()
    export = "/api/v1/datasets/gold/versions/1/export/"
    card = "/api/v1/datasets/gold/versions/1/"
    assert client.get(export).status_code == 401
    assert client.get(export, headers=bearer("read")).status_code == 403
    assert client.get(card, headers=bearer("label", role="annotator")).status_code == 403
    assert client.get(card, headers=bearer("read", role="reviewer")).json()["items"] == 2
    assert client.get("/api/v1/datasets/gold/versions/2/", headers=bearer("read")).status_code == 404


def test_freezing_over_the_api(client: Client) -> None:
    make_signal()
    give(make_conversation("a"), {"ann": "negative"})
    headers = bearer("export", "read")
    body = {"signal": "sentiment", "aggregation": "single"}
    path = "/api/v1/datasets/new/versions/"
    response = client.post(path, data=body, content_type="application/json", headers=headers)
    assert response.status_code == 201
    assert (response.json()["number"], len(response.json()["sha256"])) == (1, 64)
    again = client.post(path, data=body, content_type="application/json", headers=headers)
    assert (again.json()["number"], again.json()["sha256"]) == (2, response.json()["sha256"])
    wrong = client.post(path, data={**body, "aggregation": "best"}, content_type="application/json", headers=headers)
    assert (wrong.status_code, wrong["Content-Type"]) == (422, "application/problem+json")
    assert [row["slug"] for row in client.get("/api/v1/datasets/", headers=headers).json()["results"]] == ["new"]
