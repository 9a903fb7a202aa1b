"""`agreement` and `plan` on the command line: one document and nothing else, refusals without a traceback."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.core.cache import cache
from django.core.management import call_command

from calibration.models import AgreementReport, PairTable
from labeling.models import DatasetVersion
from tests.make import make_gold, make_signal, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def gold() -> DatasetVersion:
    cache.clear()
    signal = make_signal()
    version = make_version(signal)
    values = ("negative", "neutral", "positive")
    rows = [
        {"gold": values[i % 3], "channel": "=cmd" if i % 2 else "chat", "said": {version: values[(i + i // 20) % 3]}}
        for i in range(60)
    ]
    return make_gold(signal, rows)


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_json_is_one_document_and_nothing_else() -> None:
    document = json.loads(said("agreement", "gold@1", "judge@v1", "--by", "channel", "--format", "json"))
    assert document["dataset"] == "gold@1" and len(document["rows"]) == 3


def test_the_command_keeps_the_pairs() -> None:
    said("agreement", "gold@1", "judge")
    said("agreement", "gold@1", "judge")
    assert PairTable.objects.count() == 1


def test_the_table_has_sentence_citation_and_worst_slice() -> None:
    text = said("agreement", "gold", "judge", "--by", "channel")
    assert text.splitlines()[1].startswith("kappa at least 0.60 · gold@1 (60 items, majority) sha256 ")
    assert "worst slice:" in text and "human alpha" in text


def test_csv_is_read_back_and_runs_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(said("agreement", "gold", "judge", "--by", "channel", "--format", "csv"))))
    assert [row["channel"] for row in rows] == ["", "'=cmd", "chat"]
    assert float(rows[0]["kappa_low"]) < float(rows[0]["kappa"]) < float(rows[0]["kappa_high"])


def test_markdown_is_a_table() -> None:
    lines = said("agreement", "gold", "judge", "--format", "md").splitlines()
    assert lines[0] == "### judge against gold@1"
    assert sum(line.startswith("| ") for line in lines) == 3


def test_a_kept_report_is_named() -> None:
    document = json.loads(said("agreement", "gold", "judge", "--format", "json", "--save"))
    assert document["permanent"] == f"/reports/{AgreementReport.objects.get().id}/"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gold@9", "judge"), "no frozen dataset version 'gold@9'"),
        (("gold", "nobody"), "no classifier 'nobody'"),
        (("gold", "judge@v9"), "no classifier version 'judge@v9'"),
        (("gold", "judge", "--by", "plan"), "'plan'"),
    ],
)
def test_refusals_are_told(arguments: tuple[str, ...], message: str) -> None:
    errors = io.StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("agreement", *arguments, stdout=io.StringIO(), stderr=errors)
    assert stopped.value.code == 1 and message in errors.getvalue()


def test_plan_says_how_many_more() -> None:
    text = said("plan", "gold@1", "judge@v1", "--half-width", "0.05", "--by", "channel")
    assert text.startswith("judge@v1 on gold@1: kappa ± 0.05 needs ")
    document = json.loads(said("plan", "gold@1", "judge@v1", "--format", "json"))
    assert document["rows"][0]["further"] == document["further"] > 100
