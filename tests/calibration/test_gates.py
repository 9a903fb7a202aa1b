"""Gates: exit codes, JUnit, policies that are refused where they are wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from junitparser import JUnitXml

from calibration.evidence import gates, policies
from calibration.models import ClassifierVersion, DriftFlag, GateRun, Prediction, Transcription
from labeling import tokens
from labeling.errors import Refused
from labeling.models import Conversation, Signal
from tests.make import make_conversation, make_gold, make_said, make_signal, make_user, make_version

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


def test_a_mean_over_categories_is_open_where_the_gold_lacks_one() -> None:
    signal = Signal.objects.get()
    sure = make_version(signal, "sure")
    rows: list[dict[str, Any]] = [
        {"gold": VALUES[n % 3], "channel": "chat", "said": {sure: VALUES[n % 3]}} for n in range(90)
    ]
    rows += [{"gold": VALUES[n % 2], "channel": "voice", "said": {sure: VALUES[n % 2]}} for n in range(90)]
    make_gold(signal, rows, name="lacking")
    asked = "by: [channel]\nrules:\n  - {statistic: STATISTIC, at_least: 0.5}\n"
    done = gates.run(policy=asked.replace("STATISTIC", "macro_f1"), dataset="lacking@1", candidate="judge@sure")
    told = {
        check["slice"].get("channel", "all"): (check["outcome"], check["reason"]) for check in done.document["checks"]
    }
    assert told["all"] == told["chat"] == ("passed", "")
    assert told["voice"] == ("not enough evidence", "no gold unit is positive: a mean over all categories is open")
    assert gates.run(policy=asked.replace("STATISTIC", "kappa"), dataset="lacking@1", candidate="judge@sure").passed


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
        ("min_n: few\nat_least: 0.5\n", 1, "min_n"),
        ("at_least: 0.5\non_unproven: maybe\n", 2, "on_unproven"),
        ("worst_slice:\n  at_leest: 0.5\n", 2, "at_leest"),
        ("max_missing: 0.1\nworst_slice: {by: [channel]}\n", 2, "at_least"),
        ("max_seconds: -1\n", 1, "max_seconds"),
    ],
)
def test_a_typo_is_refused_where_it_stands(policy: str, line: int, field: str | None) -> None:
    with pytest.raises(Refused) as refused:
        policies.read(policy)
    assert (refused.value.errors[0].line, refused.value.errors[0].field) == (line, field)


@pytest.mark.parametrize(
    ("policy", "line", "field"),
    [
        ("by: [channel,\n  chort]\nat_least: 0.5\n", 2, "by"),
        ("rules:\n  - {at_least: 0.5}\n  - slice: {chanel: voice}\n    at_least: 0.5\n", 3, "slice"),
        ("worst_slice:\n  at_least: 0.5\n  by: chanel\n", 3, "by"),
        ("no_worse_than_baseline:\n  by: [chanel]\n", 2, "by"),
        (
            "at_least: 0.5\nscenario: {value: positive, at_least: 0.8,\n  by: [channel, persna]}\n",
            3,
            "by",
        ),
    ],
)
def test_a_name_that_nothing_has_is_no_slice(policy: str, line: int, field: str) -> None:
    scenario(1.0)
    with pytest.raises(Refused) as refused:
        run = "run-7" if "scenario" in policy else ""
        gates.run(policy=policy, dataset="gold@1", candidate="judge@good", baseline="judge@bad", scenario=run)
    (wrong,) = refused.value.errors
    assert (wrong.line, wrong.field) == (line, field) and "did you mean" in wrong.message
    assert not GateRun.objects.exists()


def test_the_sentence_names_what_fails_before_what_lacks_evidence() -> None:
    def said(policy: str) -> str:
        return str(gates.run(policy=policy, dataset="gold@1", candidate="judge@good").document["sentence"])

    spans = "{at_least: 0.87, statistic: kappa}"
    assert said(f"max_cost: 1\nrules: [{spans}]\n") == (
        "judge@good does not pass: mean cost an answer: no answer on the gold says its cost; 1 lacks evidence."
    )
    assert said("max_cost: 1\nmax_seconds: 1\n").endswith("says its seconds, and 1 more.")
    assert said(f"rules: [{spans}]\n") == (
        "judge@good does not pass, for want of evidence: kappa at least 0.87 on all: unproven: the interval spans the bar."
    )


def test_a_slice_without_gold_fails_also_where_thin_evidence_passes() -> None:
    policy = "on_unproven: pass\nmin_n: 50\nrules:\n  - {slice: {channel: vioce}, at_least: 0.5}\n"
    done = gates.run(policy=policy, dataset="gold@1", candidate="judge@good")
    assert [check["outcome"] for check in done.document["checks"]] == ["failed"] and not done.passed


def test_a_reason_is_told_once() -> None:
    """Where there is no value, the reason says why; the value does not say it again."""
    document = gates.run(policy="max_cost: 1\n", dataset="gold@1", candidate="judge@good").document
    (reason,) = [check["reason"] for check in document["checks"]]
    assert gates.markdown(document).count("| – | no answer on the gold says its cost |") == 1
    (failure,) = ElementTree.fromstring(gates.junit(document)).iter("failure")
    assert failure.get("message") == reason and failure.text == "asked: ≤ 1\nfound: –"


def test_versions_without_a_unit_in_common_are_told_apart_in_words() -> None:
    nothing = make_version(Signal.objects.get(), "silent")
    policy = "no_worse_than_baseline: {margin: 0.05}\n"
    done = gates.run(policy=policy, dataset="gold@1", candidate=str(nothing), baseline="judge@good")
    assert [check["reason"] for check in done.document["checks"]] == ["there are no labels with a prediction here"]


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


def test_what_nobody_measured_fails() -> None:
    policy = "max_wer: 0.1\nmax_seconds: 1\nmax_cost: 1\n"
    checks = gates.run(policy=policy, dataset="gold@1", candidate="judge@good").document["checks"]
    assert [check["outcome"] for check in checks] == ["failed"] * 3
    assert "no call" in checks[0]["reason"] and "seconds" in checks[1]["reason"]


def test_time_cost_and_words_are_held_to_their_limits() -> None:
    Prediction.objects.filter(version__version="good").update(seconds=0.5, cost=0.002)
    for home in Conversation.objects.filter(channel="voice"):
        Transcription.objects.create(conversation=home, content_sha256=home.content_sha256, words=20, substitutions=1)
    for wer, seconds, cost, passed in ((0.06, 1, 0.01, True), (0.04, 0.1, 0.001, False)):
        policy = f"max_wer: {wer}\nmax_seconds: {seconds}\nmax_cost: {cost}\n"
        done = gates.run(policy=policy, dataset="gold@1", candidate="judge@good")
        assert [check["passed"] for check in done.document["checks"]] == [passed] * 3


def test_the_weakest_slice_is_named() -> None:
    policy = "worst_slice: {by: [channel], statistic: accuracy, at_least: 0.65}\n"
    (check,) = gates.run(policy=policy, dataset="gold@1", candidate="judge@bad").document["checks"]
    assert (check["passed"], check["slice"]) == (False, {"channel": "voice"}) and "voice lies below" in check["reason"]
    assert gates.run(policy=policy, dataset="gold@1", candidate="judge@good").passed


def test_too_little_evidence_is_its_own_outcome(tmp_path: Path) -> None:
    spans = "at_least: 0.87\nstatistic: kappa\n"
    for policy in (spans, "at_least: 0.1\nmin_n: 601\n"):
        done = gates.run(policy=policy, dataset="gold@1", candidate="judge@good")
        assert not done.passed and done.document["outcome"] == "not enough evidence"
        assert "for want of evidence" in done.document["sentence"]
    junit = tmp_path / "gate.xml"
    assert run(tmp_path, spans + "on_unproven: pass\n", junit=junit) == 0
    (suite,) = JUnitXml.fromfile(str(junit))
    assert (suite.tests, suite.failures, suite.skipped) == (1, 0, 1)
    assert run(tmp_path, "at_least: 0.9\non_unproven: pass\n", "judge@bad") == 1


def test_a_record_shows_whether_it_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "gate.json"
    assert run(tmp_path, "at_least: 0.9\n", "judge@bad", record=record) == 1
    call_command("gate_record", str(record))
    told = json.loads(record.read_text())
    assert told["sha256"] and told["policy"] == "at_least: 0.9\n" and told["signature"].startswith("sha256=")
    for content, code in ((json.dumps(told | {"passed": True}), 1), ("{", 2), ("[]", 2)):
        record.write_text(content)
        with pytest.raises(SystemExit) as stopped:
            call_command("gate_record", str(record))
        assert stopped.value.code == code


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_as_a_pipeline_runs_it(tmp_path: Path) -> None:
    """Processes of their own against the same database: exit codes, JUnit for a real parser, a typo with line and field."""
    name = connection.settings_dict["NAME"]
    address = f"sqlite:///{name}" if connection.vendor == "sqlite" else f"postgres:///{name}"
    policy, junit = tmp_path / "policy.yaml", tmp_path / "gate.xml"

    def pipeline(text: str, candidate: str) -> subprocess.CompletedProcess[str]:
        policy.write_text(text)
        command = [sys.executable, "manage.py", "gate", str(policy), "--dataset", "gold@1", "--candidate", candidate]
        environment = os.environ | {"DATABASE_URL": address, "CXLAB_VAR": str(tmp_path / "var")}
        return subprocess.run(
            [*command, "--junit", str(junit)], capture_output=True, text=True, env=environment, check=False, timeout=120
        )

    rule = "by: [channel]\nrules:\n  - {statistic: accuracy, at_least: 0.6}\n"
    assert pipeline(rule, "judge@good").returncode == 0
    failed = pipeline(rule, "judge@bad")
    assert failed.returncode == 1 and "does not pass" in failed.stdout
    (suite,) = JUnitXml.fromfile(str(junit))
    bad = [case.name for case in suite if not case.is_passed]
    assert suite.tests == 3 and suite.failures == len(bad) and "accuracy at least 0.6 on voice" in bad
    typo = pipeline("rules:\n  - {statistc: kappa, at_least: 0.6}\n", "judge@good")
    assert typo.returncode == 2 and f"{policy}:2: statistc: is not known: did you mean 'statistic'?" in typo.stderr


@pytest.mark.parametrize(("margin", "passed"), [(0.3, True), (0.05, False)])
def test_numbers_are_held_to_their_errors(margin: float, passed: bool) -> None:
    signal, rng = make_signal("stars", scale="interval", minimum=1, maximum=5), random.Random(2)
    old, new = (make_version(signal, name, classifier="stars") for name in ("old", "new"))
    rows = []
    for _ in range(300):
        gold = rng.uniform(1.5, 4.5)
        rows.append({"gold": gold, "said": {old: gold + rng.uniform(-0.2, 0.2), new: gold + rng.uniform(-0.6, 0.6)}})
    make_gold(signal, rows, name="stars")
    policy = f"no_worse_than_baseline: {{margin: {margin}}}\n"
    found = gates.run(policy=policy, dataset="stars@1", candidate="stars@new", baseline="stars@old")
    assert found.passed is passed
    (check,) = [one for one in found.document["checks"] if "no worse" in one["name"]]
    assert check["statistic"] == "mae" and 0.1 < check["value"]["value"] < 0.3


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
    for policy, passed in (({"at_least": 0.6}, True), ({"rules": [{"statistic": "kappa", "at_least": 0.99}]}, False)):
        told = client.post(address, body | {"policy": policy}, content_type="application/json", headers=headers)
        assert (told.status_code, told.json()["passed"]) == (201, passed)
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
    make_version(make_signal("unlabelled"), classifier="ear")
    listed = client.get("/gates/").content.decode()
    assert "ear@" not in listed, "nothing to hold it against"
    assert "judge@good" in listed and "not enough evidence" not in listed
    client.post("/gates/", form | {"policy": "at_least: 0.87\nstatistic: kappa\n"})
    assert "not enough evidence</span>" in client.get("/gates/").content.decode()
    bad = client.post("/gates/", form | {"policy": "at_leats: 1\n"})
    assert bad.status_code == 422 and "did you mean" in bad.content.decode()


def _said(truth: str, accuracy: float, rng: random.Random) -> str:
    return truth if rng.random() < accuracy else rng.choice([value for value in VALUES if value != truth])


def scenario(right: float, *, run: str = "run-7", count: int = 120) -> None:
    """A simulated run of two personas: all end positive for ada, `right` of them for bob; the judge tells which."""
    version, rng = ClassifierVersion.objects.get(version="good"), random.Random(9)
    homes = [
        make_conversation(
            f"{run}-{number}", source="simulation", attributes={"scenario": run}, customer=("ada", "bob")[number % 2]
        )
        for number in range(count)
    ]
    for home in homes:
        ended = "positive" if home.customer == "ada" or rng.random() < right else "negative"
        make_said(version, home, ended).save()


SCENARIO = "rules: [{at_least: 0.6}]\nscenario: {value: positive, at_least: 0.8, by: [persona]}\n"


def test_a_scenario_is_gated_by_persona(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario(1.0)
    assert run(tmp_path, SCENARIO, scenario="run-7") == 0
    document = GateRun.objects.latest("id").document
    shares = {
        check["slice"].get("persona", "all"): check for check in document["checks"] if check["statistic"] == "share"
    }
    assert set(shares) == {"all", "ada", "bob"} and shares["all"]["value"]["value"] == 1.0
    assert document["scenario"] == "run-7"
    scenario(0.4, run="run-8")
    assert run(tmp_path, SCENARIO, scenario="run-8") == 1
    told = {check["slice"].get("persona"): check for check in GateRun.objects.latest("id").document["checks"]}
    assert told["ada"]["passed"] and told["bob"]["outcome"] == "failed"
    assert "share of positive on bob" in capsys.readouterr().out


def test_few_conversations_are_not_enough_evidence(tmp_path: Path) -> None:
    scenario(1.0, count=16)
    assert run(tmp_path, SCENARIO, scenario="run-7") == 1
    assert GateRun.objects.latest("id").document["outcome"] == "not enough evidence"


def test_a_conversation_without_an_answer_did_not_end_well(tmp_path: Path) -> None:
    scenario(1.0)
    Prediction.objects.filter(conversation__source="simulation", conversation__customer="bob").update(
        status="error", value=None
    )
    assert run(tmp_path, SCENARIO, scenario="run-7") == 1
    reasons = {c["slice"].get("persona"): c["reason"] for c in GateRun.objects.latest("id").document["checks"]}
    assert reasons["bob"] == "the whole interval is below the bar; 60 without an answer"


def test_an_untrusted_judge_fails_whatever_it_says_of_a_scenario(tmp_path: Path) -> None:
    scenario(1.0)
    bad = ClassifierVersion.objects.get(version="bad")
    for home in Conversation.objects.filter(source="simulation"):
        make_said(bad, home, "positive").save()
    policy = "scenario: {value: positive, at_least: 0.5}\n"
    assert run(tmp_path, policy, "judge@good", scenario="run-7") == 0
    assert run(tmp_path, policy, "judge@bad", scenario="run-7") == 1
    failed = [c["name"] for c in GateRun.objects.latest("id").document["checks"] if not c["passed"]]
    assert failed == ["the judge of the scenario is trusted on the gold"]


def test_a_judge_that_has_drifted_since_is_not_the_one_that_was_measured(tmp_path: Path) -> None:
    scenario(1.0)
    judge = ClassifierVersion.objects.get(version="good")
    flag = DriftFlag.objects.create(version=judge, kind="silent_change", raised_at=timezone.now())
    policy = "scenario: {value: positive, at_least: 0.5}\n"
    assert run(tmp_path, policy, scenario="run-7") == 1
    (reason,) = [c["reason"] for c in GateRun.objects.latest("id").document["checks"] if not c["passed"]]
    assert reason.startswith(f"it has drifted since it was measured (flag {flag.id})")
    DriftFlag.objects.update(state="resolved")
    assert run(tmp_path, policy, scenario="run-7") == 0


@pytest.mark.parametrize(
    ("policy", "name", "why"),
    [
        (SCENARIO, "", "name its run"),
        ("at_least: 0.6\n", "run-7", "asks nothing of a scenario"),
        (SCENARIO, "run-9", "no conversation is of the scenario 'run-9'"),
        (SCENARIO.replace("positive", "glad"), "run-7", "'glad' is none of negative, neutral, positive"),
        ("scenario: {value: positive}\n", "run-7", "needs a value and at_least"),
    ],
)
def test_a_scenario_that_cannot_be_gated_is_refused(policy: str, name: str, why: str) -> None:
    scenario(1.0, count=4)
    with pytest.raises(Refused) as refused:
        gates.run(policy=policy, dataset="gold@1", candidate="judge@good", scenario=name)
    assert why in " ".join([refused.value.message, *(error.message for error in refused.value.errors)])
    assert not GateRun.objects.exists()
