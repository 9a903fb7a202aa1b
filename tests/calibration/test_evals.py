"""Evaluations for clients that know a hosted service: names, inputs, answers that stay what they are, clear errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from calibration import classifiers, evals
from calibration.models import Classifier, ClassifierVersion, Prediction
from cxlab import evals as classes
from cxlab.evals import ConversationResolution, CustomerAgentPromptConformance, Evaluation, SummaryKeeps, Tone
from labeling import signals, tokens
from labeling.errors import NotFound, Refused
from tests.calibration.judge_server import JudgeServer, judge_server
from tests.make import make_gold, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
HERE = Path(classifiers.__file__).parent / "evaluators"


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as running:
        yield running


def key(*scopes: str, role: str = "engineer") -> dict[str, str]:
    user = make_user(role=role)
    return {"x-api-key": tokens.make(user=user, name="sdk", scopes=list(scopes))[1], "x-secret-key": "unused"}


def post(path: str, body: Any, headers: dict[str, str]) -> Any:
    return Client(enforce_csrf_checks=True).post(path, body, content_type="application/json", headers=headers)


def new_eval(headers: dict[str, str], name: str = "tone", **inputs: Any) -> Any:
    return post("/sdk/api/v1/new-eval/", json.dumps({"eval_name": name, "inputs": inputs}), headers)


def make_lexicon(slug: str = "tone", **kw: Any) -> ClassifierVersion:
    return make_version(make_signal(f"{slug}-signal", **kw), "3.3.2", classifier=slug, kind="vader")


def make_judge(server: JudgeServer, slug: str, **kw: Any) -> ClassifierVersion:
    given = {"base_url": server.base_url, "requests_per_minute": 1e6, "max_retries": 0}
    signal = make_signal(f"{slug}-signal".replace("_", "-"), **kw)
    return make_version(signal, "1", classifier=slug, kind="openai", model="judge-1", parameters=given)


def test_it_works() -> None:
    version = make_lexicon()
    answer = new_eval(key("read"), output="Thank you, that was great!")
    assert answer.status_code == 200
    [told] = answer.json()["result"][0]["evaluations"]
    assert (told["name"], told["output"], told["output_type"], told["model"]) == (
        "tone", "positive", "choices", str(version),
    )  # fmt: skip
    assert not Prediction.objects.exists()


def test_the_requests_of_the_public_client_are_answered(shared: Path, server: JudgeServer) -> None:
    make_lexicon("tone")
    for slug in ("conversation-resolution", "customer_agent_conversation_quality"):
        make_judge(server, slug)
    headers = key("read")
    for path in sorted((shared / "traces/evals").glob("req_*.json")):
        sent = json.loads(path.read_text())
        if sent["method"] == "GET":
            told = Client().get(sent["path"], headers=headers).json()
            assert [one["name"] for one in told["result"]] == [
                "conversation-resolution", "customer_agent_conversation_quality", "tone",
            ]  # fmt: skip
            assert [one["config"]["required_keys"] for one in told["result"]] == [
                ["conversation"], ["conversation"], ["output"],
            ]  # fmt: skip
            continue
        answer = post(sent["path"], sent["body"], headers)
        assert answer.status_code == 200, answer.content
        [told] = answer.json()["result"][0]["evaluations"]
        asked = json.loads(sent["body"])
        assert told["name"] == (asked["custom_eval_name"] or asked["eval_name"])
        assert told["output"] in ("negative", "neutral", "positive")
        assert told.keys() >= sent["responded"]["result"][0]["evaluations"][0].keys()
    assert "customer: refund?\nagent: done" in server.asked[0]["messages"][0]["content"]
    assert "customer: hi\nagent: hello" in server.asked[1]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("scale", "values", "said", "kind"),
    [
        ("multilabel", ("sadness", "annoyance", "joy"), ["annoyance", "sadness"], "choices"),
        ("ordinal", ("3", "4", "5"), "4", "choices"),
        ("interval", None, 0.5, "score"),
        ("binary", ("Passed", "Failed"), "Passed", "Pass/Fail"),
    ],
)
def test_answers_keep_their_kind(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, scale: str, values: Any, said: Any, kind: str
) -> None:
    make_judge(server, "quality", scale=scale, values=values)
    monkeypatch.setattr("calibration.evaluators.judge._object_in", lambda _: json.dumps({"value": said}))
    [told] = new_eval(key("read"), "quality", conversation="User: hi").json()["result"][0]["evaluations"]
    assert (told["output"], told["output_type"]) == (said, kind)


def test_a_list_of_texts_is_as_many_evaluations() -> None:
    make_lexicon()
    answer = new_eval(key("read"), output=["I love it", "This is terrible"]).json()
    assert [one["output"] for one in answer["result"][0]["evaluations"]] == ["positive", "negative"]


def test_the_model_picks_among_versions_else_the_newest_answers() -> None:
    first = make_lexicon()
    second = make_version(first.classifier.signal, "2", classifier="tone", kind="afinn")
    make_version(first.classifier.signal, "loaded", classifier="tone", kind="elsewhere")
    assert [one.version for one in evals.evaluate(name="tone", inputs={"output": "x"})] == [second]
    assert [one.version for one in evals.evaluate(name="tone", inputs={"output": "x"}, model="3.3.2")] == [first]
    assert [one.version for one in evals.evaluate(name="tone", inputs={"output": "x"}, model="turing_flash")] == [
        second
    ]


def test_a_turn_signal_judges_the_customers_last_words() -> None:
    make_lexicon("mood", unit="turn")
    told = [{"role": "user", "content": "I love it"}, {"role": "assistant", "content": "This is terrible"}]
    [found] = evals.evaluate(name="mood", inputs={"conversation": told})
    assert found.answer.value == "positive"


def test_an_answer_is_judged_beside_its_question(server: JudgeServer) -> None:
    make_judge(server, "tone")
    evals.evaluate(name="tone", inputs={"input": "Where is it?", "output": "On its way."})
    assert "customer: Where is it?\nagent: On its way." in server.asked[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"eval_name": "nonesuch", "inputs": {"output": "x"}}, 404, "nonesuch"),
        ({"eval_name": "tone", "inputs": {"other": "x"}}, 400, "inputs.output"),
        ({"eval_name": "tone", "inputs": {"output": ""}}, 400, "inputs.output"),
        ({"eval_name": "tone", "inputs": {"output": 7}}, 400, "inputs.output"),
        ({"eval_name": "tone"}, 400, "inputs"),
        ({"inputs": {}}, 400, "eval_name"),
        ([], 400, "JSON object"),
    ],
)
def test_what_is_missing_is_named(body: Any, status: int, words: str) -> None:
    make_lexicon()
    answer = post("/sdk/api/v1/new-eval/", json.dumps(body), key("read"))
    assert (answer.status_code, words in answer.content.decode()) == (status, True), answer.content


def test_a_loaded_version_is_an_error_and_not_listed() -> None:
    make_version(make_signal(), classifier="tone", kind="elsewhere")
    headers = key("read")
    answer = new_eval(headers, output="x")
    assert (
        answer.status_code == 422
        and "cxlab runs the kinds afinn, http, openai, python, trained, vader" in answer.content.decode()
    )
    assert Client().get("/sdk/api/v1/get-evals/", headers=headers).json()["result"] == []


def test_a_judge_that_fails_is_an_error_never_an_empty_result(server: JudgeServer) -> None:
    make_judge(server, "tone")
    headers = key("read")
    refused = new_eval(headers, output="REFUSE")
    assert refused.status_code == 422 and "I cannot judge this." in refused.content.decode()
    assert new_eval(headers, output="LIST").status_code == 422
    server.down = True
    assert new_eval(headers, output="x").status_code == 503


def test_the_side_calls_of_a_registration_are_accepted() -> None:
    make_lexicon()
    headers = key("ingest")
    known = post("/tracer/custom-eval-config/get_custom_eval_by_name/", {"eval_template_name": "tone"}, headers).json()
    assert (
        known["result"]["isUserEvalTemplate"] and "input" in known["result"]["evalTemplate"]["config"]["requiredKeys"]
    )
    other = post("/tracer/custom-eval-config/get_custom_eval_by_name/", {"eval_template_name": "pii"}, headers).json()
    assert other["result"] == {"isUserEvalTemplate": False, "evalTemplate": None}
    free = post("/tracer/custom-eval-config/check_exists/", {"project_name": "p", "eval_tags": []}, headers).json()
    assert free["result"] == {"exists": False}


def test_who_may_evaluate() -> None:
    make_lexicon()
    assert new_eval(key("read"), output="x").status_code == 200
    bearer = {"authorization": f"Bearer {key('read')['x-api-key']}"}
    assert new_eval(bearer, output="x").status_code == 200
    assert new_eval(key("ingest"), output="x").status_code == 403
    assert new_eval(key("label", role="annotator"), output="x").status_code == 403
    assert new_eval({"x-api-key": "cx_guess"}, output="x").status_code == 401
    assert Client().get("/sdk/api/v1/get-evals/").status_code == 401
    for call in ("get_custom_eval_by_name", "check_exists"):
        assert (
            post(f"/tracer/custom-eval-config/{call}/", {"eval_template_name": "tone"}, key("read")).status_code == 403
        )
        assert post(f"/tracer/custom-eval-config/{call}/", {}, {}).status_code == 401


def make_ready(server: JudgeServer) -> list[Any]:
    """Every ready-made judge, asking the test's server."""
    for text in (signals.READY_MADE, HERE / "ready_made_signals.yaml"):
        signals.apply(document=signals.read(text.read_text(encoding="utf-8")))
    document: list[Any] = signals.read((HERE / "ready_made.yaml").read_text(encoding="utf-8"))
    for entry in document:
        entry["versions"][0]["parameters"] |= {"base_url": server.base_url, "requests_per_minute": 1e6}
    classifiers.apply(document=document)
    return document


def test_ready_made_judges_register_and_answer(server: JudgeServer) -> None:
    document = make_ready(server)
    assert [one["name"] for one in evals.listing()] == sorted(entry["slug"] for entry in document)
    for entry in document:
        name = entry["slug"]
        signal = Classifier.objects.get(slug=name).signal
        given = {"conversation": "User: hi", "summary": "It was short.", "system_prompt": "Be brief."}
        server.script = [0.5 if signal.scale == "interval" else signal.categories.order_by("position")[0].value]
        [found] = evals.evaluate(name=name, inputs=given)
        assert found.answer.value in (
            0.5,
            signal.categories.order_by("position").values_list("value", flat=True).first(),
        )
        with pytest.raises(Refused, match="unparsable"):  # no scale has this answer
            server.script = ["furious"]
            evals.evaluate(name=name, inputs=given)
        prompt = server.asked[-1]["messages"][0]["content"]
        assert "hi" in prompt and "{{" not in prompt


def test_every_ready_made_judge_has_its_class(server: JudgeServer) -> None:
    slugs = {entry["slug"] for entry in make_ready(server)}
    named = {getattr(classes, name) for name in classes.__all__}
    assert {one.classifier for one in named if issubclass(one, Evaluation)} - {""} == slugs
    assert len([slug for slug in slugs if slug.startswith("customer_agent_")]) == 11


def test_what_is_judged_beside_the_conversation_is_given_with_it(server: JudgeServer) -> None:
    make_ready(server)
    needed = {one["name"]: one["config"]["required_keys"] for one in evals.listing()}
    assert needed["customer_agent_prompt_conformance"] == ["conversation", "system_prompt"]
    assert needed["summary_keeps"] == ["conversation", "summary"] and needed["effort"] == ["conversation"]
    server.script = ["both"]
    kept = SummaryKeeps().evaluate("User: Where is it?\nAgent: Lost.", summary="The parcel is lost.")
    assert (kept.label, kept.score) == ("both", 2.0)
    assert "Summary:\nThe parcel is lost." in server.asked[-1]["messages"][0]["content"]
    server.script = ["always"]
    obeyed = CustomerAgentPromptConformance().evaluate("User: hi\nAgent: Hello", instructions="Greet first.")
    assert (obeyed.label, obeyed.score) == ("always", 3.0)
    assert "Instructions:\nGreet first." in server.asked[-1]["messages"][0]["content"]
    for name, what in (("summary_keeps", "no summary"), ("customer_agent_prompt_conformance", "no instructions")):
        answer = new_eval(key("read"), name, conversation="User: hi")
        assert answer.status_code == 422 and what in answer.content.decode()
    several = new_eval(key("read"), "summary_keeps", conversation=["a", "b"], summary="x")
    assert several.status_code == 400 and "beside one conversation" in several.content.decode()


def test_a_transcript_comes_as_the_public_client_sends_it(server: JudgeServer) -> None:
    make_ready(server)
    server.script = [0.75]  # type: ignore[list-item]
    answer = new_eval(
        key("read"), "ASR/STT_accuracy", audio="https://x/a.wav", generated_transcript="my in voice is wrong"
    )
    [told] = answer.json()["result"][0]["evaluations"]
    assert (told["output"], told["output_type"]) == (0.75, "score")
    assert "my in voice is wrong" in server.asked[-1]["messages"][0]["content"]


def test_the_example_of_the_documentation_runs(server: JudgeServer) -> None:
    make_ready(server)
    text = (HERE.parents[1] / "docs" / "evaluations.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    server.script = ["resolved"]
    known: dict[str, Any] = {}
    exec(example, known)
    result = known["result"]
    assert (result.label, result.score, result.version) == ("resolved", 1.0, "conversation_resolution@ready-1")
    assert (result.reason, str(result.trust)) == ("Said so.", "unproven")


def test_a_slow_judge_holds_no_thread_for_long(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    make_judge(server, "tone")
    monkeypatch.setattr(evals, "PATIENCE", 0.0)
    slow = new_eval(key("read"), output="x")
    assert slow.status_code == 503 and "send fewer at once" in slow.content.decode()
    monkeypatch.undo()
    taken = [evals.ASKING.acquire(blocking=False) for _ in range(evals.MOST_AT_ONCE)]
    try:
        assert all(taken) and new_eval(key("read"), output="x").status_code == 503
    finally:
        for _ in taken:
            evals.ASKING.release()
    assert new_eval(key("read"), "asr/stt_accuracy", output="x").status_code == 404


def test_the_python_objects_say_label_score_reason_version_and_trust() -> None:
    version = make_lexicon("tone")
    result = Tone().evaluate("Thank you, that was great!")
    assert (result.label, result.score, result.version) == ("positive", 1.0, str(version))
    assert (str(result.trust), result.trust.reason) == ("unproven", "no_gold")
    signal = version.classifier.signal
    rows = [
        {"gold": value, "channel": channel, "said": {version: value if channel == "chat" else "neutral"}}
        for channel in ("chat", "voice")
        for value in ("negative", "neutral", "positive") * 60
    ]
    make_gold(signal, rows)
    trusted = Tone().evaluate("Thank you!", channel="chat").trust
    assert (trusted.verdict, trusted.slice, trusted.gold, trusted.n) == ("trusted", {"channel": "chat"}, "gold@1", 180)
    assert str(Tone().evaluate("Thank you!", channel="voice").trust) == "untrusted"
    assert Evaluation(classifier="tone", version="3.3.2").evaluate("Bad").version == "tone@3.3.2"
    with pytest.raises(NotFound):
        ConversationResolution().evaluate("User: hi")
