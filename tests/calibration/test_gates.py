"""Gates: exit codes, JUnit, policies that are refused where they are wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from calibration.evidence import gates, policies
from calibration.models import GateRun
from labeling import tokens
from labeling.errors import Refused
from tests.make import make_gold, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
VALUES = ("negative", "neutral", "positive")


@pytest.fixture(autouse=True)
def gold() -> None:
    """600 units on two channels: `good` right in 92 % and never missing, `bad` in 55 %, worst on voice."""
    cache.clear()
    signal = make_signal()
    good, bad = make_version(signal, "good"), make_version(signal, "bad")
    rng = random.Random(5)
    rows = []
    for number in range(600):
        truth = VALUES[number % 3]
        voice = number % 2 == 0
        said: dict[Any, str | None] = {good: _said(truth, 0.92, rng), bad: _said(truth, 0.4 if voice else 0.7, rng)}
        if number < 60:
            said[bad] = None
        rows.append({"gold": truth, "channel": "voice" if voice else "chat", "said": said})
    make_gold(signal, rows)


def run(tmp_path: Path, policy: str, candidate: str = "judge@good", **kw: Any) -> int:
    path = tmp_path / "policy.yaml"
    path.write_text(policy)
    try:
        call_command("gate", str(path), dataset="gold@1", candidate=candidate, **kw)
    except SystemExit as stopped:
        return int(str(stopped.code))
    return 0


def test_it_works(tmp_path: Path) -> None:
    policy = "by: [channel]\nrules:\n  - {statistic: kappa, at_least: 0.6}\nmax_missing: 0.02\n"
    assert run(tmp_path, policy) == 0
    assert run(tmp_path, policy, "judge@bad") == 1
    assert [done.passed for done in GateRun.objects.order_by("id")] == [True, False]


def test_a_rule_speaks_of_its_slice_alone(tmp_path: Path) -> None:
    assert run(tmp_path, "rules:\n  - {slice: {channel: chat}, statistic: accuracy, at_least: 0.6}\n", "judge@bad") == 0
    assert (
        run(tmp_path, "rules:\n  - {slice: {channel: voice}, statistic: accuracy, at_least: 0.6}\n", "judge@bad") == 1
    )


def test_the_whole_interval_must_clear_the_bar() -> None:
    done = gates.run(policy="at_least: 0.87\nstatistic: kappa\n", dataset="gold@1", candidate="judge@good")
    (check,) = done.document["checks"]
    assert check["value"]["low"] < 0.87 < check["value"]["high"]
    assert not done.passed and check["reason"].startswith("unproven")


def test_a_slice_that_is_not_there_fails() -> None:
    policy = "rules: [{slice: {channel: fax}, statistic: kappa, at_least: 0.1}]"
    done = gates.run(policy=policy, dataset="gold@1", candidate="judge@good")
    assert not done.passed and done.document["checks"][0]["value"]["reason"] == "no_items"


def test_junit_is_xml_that_counts_failures(tmp_path: Path) -> None:
    junit, markdown = tmp_path / "gate.xml", tmp_path / "gate.md"
    policy = "by: [channel]\nrules:\n  - {statistic: accuracy, at_least: 0.6}\n"
    assert run(tmp_path, policy, "judge@bad", junit=junit, markdown=markdown) == 1
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None and suite.get("tests") == "3"
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert suite.get("failures") == str(len(failed)) and "accuracy at least 0.6 on voice" in failed
    assert markdown.read_text().startswith("**Failed**")


def test_missing_answers_count(tmp_path: Path) -> None:
    assert run(tmp_path, "max_missing: 0.11\n", "judge@bad") == 0
    assert run(tmp_path, "max_missing: 0.05\n", "judge@bad") == 1


def test_no_worse_than_the_baseline(tmp_path: Path) -> None:
    policy = "no_worse_than_baseline: {margin: 0.05}\n"
    assert run(tmp_path, policy, "judge@good", baseline="judge@bad") == 0
    assert run(tmp_path, policy, "judge@bad", baseline="judge@good") == 1
    assert run(tmp_path, policy, "judge@good") == 2


@pytest.mark.parametrize(
    ("policy", "line", "field"),
    [
        ("rules:\n  - {statistc: kappa, at_least: 0.6}\n", 2, "statistc"),
        ("by: [channel]\nrules:\n  - statistic: kapa\n    at_least: 0.6\n", 3, "statistic"),
        ("rules:\n  - {statistic: kappa}\n", 2, "at_least"),
        ("rules:\n  - {statistic: kappa, at_least: high}\n", 2, "at_least"),
        ("max_missing: 3\n", 1, "max_missing"),
        ("max_missing: 0.1\nmax_missing: 0.2\n", 2, "max_missing"),
        ("rules: {statistic: kappa}\n", 1, "rules"),
        ("{}\n", 1, "rules"),
        ("", 1, "policy"),
        ("rules: [\n", 2, None),
    ],
)
def test_a_typo_is_refused_where_it_stands(policy: str, line: int, field: str | None) -> None:
    with pytest.raises(Refused) as refused:
        policies.read(policy)
    assert (refused.value.errors[0].line, refused.value.errors[0].field) == (line, field)


def test_unusable_input_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "rules:\n  - {statistc: kappa, at_least: 0.6}\n") == 2
    assert "policy.yaml:2: statistc" in capsys.readouterr().err
    assert run(tmp_path, "max_missing: 0.1\n", "judge@none") == 2
    assert not GateRun.objects.exists()


def test_many_checks_are_one_family() -> None:
    one = "at_least: 0.845\nstatistic: accuracy\n"
    done = gates.run(policy=one, dataset="gold@1", candidate="judge@good")
    (check,) = done.document["checks"]
    family = gates.run(
        policy="statistic: accuracy\nrules:\n  - {statistic: accuracy, at_least: 0.845}\n"
        + "  - {statistic: accuracy, at_least: 0.99}\n" * 3,
        dataset="gold@1",
        candidate="judge@good",
    )
    assert family.document["checks"][0]["adjusted_p"] == pytest.approx(4 * check["p"])


def test_over_the_api(client: Client) -> None:
    body = {"policy": "at_least: 0.6\n", "dataset": "gold@1", "candidate": "judge@good"}
    address = "/api/v1/gates/"
    assert client.post(address, body, content_type="application/json").status_code == 401
    for role, scope, status in (("annotator", "label", 403), ("engineer", "read", 201)):
        _, secret = tokens.make(user=make_user(role=role), name="ci", scopes=[scope])
        headers = {"Authorization": f"Token {secret}"}
        answer = client.post(address, body, content_type="application/json", headers=headers)
        assert answer.status_code == status
    assert answer.json()["passed"] is True and answer.json()["checks"]
    wrong = client.post(address, body | {"policy": "at_leats: 1\n"}, content_type="application/json", headers=headers)
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["line"] == 1


def test_pages(client: Client) -> None:
    client.force_login(make_user("otto"))
    assert client.get("/gates/").status_code == 403
    client.force_login(make_user(role="engineer"))
    form = {"policy": "at_least: 0.6\n", "dataset": "gold@1", "candidate": "judge@good", "baseline": ""}
    place = client.post("/gates/", form)["Location"]
    assert "passes all 1 checks" in client.get(place).content.decode()
    assert ElementTree.fromstring(client.get(f"{place}?export=junit").content).tag == "testsuites"
    assert "judge@good" in client.get("/gates/").content.decode()
    bad = client.post("/gates/", form | {"policy": "at_leats: 1\n"})
    assert bad.status_code == 422 and "did you mean" in bad.content.decode()


def _said(truth: str, accuracy: float, rng: random.Random) -> str:
    return truth if rng.random() < accuracy else rng.choice([value for value in VALUES if value != truth])
