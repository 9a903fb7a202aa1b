"""What can score a conversation: the embedded lexicons, and a judge behind an endpoint that misbehaves."""

from __future__ import annotations

import gzip
import json
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from calibration import classifiers, evaluators
from calibration.errors import NotComparable
from calibration.evaluators import Text
from calibration.evaluators.base import EvaluatorUnavailable, Pace
from calibration.models import Classifier, ClassifierVersion
from labeling.errors import Refused
from tests.calibration.judge_server import JudgeServer, judge_server
from tests.make import make_signal

pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as running:
        yield running


def make_evaluator(kind: str, **kw: object) -> evaluators.Evaluator:
    classifier = Classifier.objects.create(slug=kind, title=kind, signal=make_signal())
    return evaluators.make(ClassifierVersion.objects.create(classifier=classifier, version="1", kind=kind, **kw))


def make_judge(server: JudgeServer, **parameters: object) -> evaluators.Evaluator:
    return make_evaluator(
        "openai",
        model="judge-1",
        prompt="Judge {{ signal }} in {{ transcript }} {{ unknown }}",
        parameters={"base_url": server.base_url, "requests_per_minute": 1e6, "max_retries": 2, **parameters},
    )


def customer(text: str) -> Text:
    return Text([{"role": "customer", "text": text}])


def test_it_works() -> None:
    assert make_evaluator("vader").score(customer("Thank you, that was great!")).value == "positive"


def test_only_the_customer_is_judged() -> None:
    turns = [{"role": "customer", "text": "This is terrible."}, {"role": "agent", "text": "Great, wonderful, thanks!"}]
    assert make_evaluator("afinn").score(Text(turns)).value == "negative"
    assert evaluators.Text(turns, turn=1).of_customer() == "Great, wonderful, thanks!"


@pytest.mark.parametrize(("kind", "version"), [("vader", "3.3.2"), ("afinn", "0.1")])
def test_the_lexicons_answer_as_published_on_real_tweets(kind: str, version: str, shared: Path) -> None:
    evaluator = make_evaluator(kind)
    with gzip.open(shared / "data/airline/conversations.jsonl.gz", "rt") as file:
        turns = {row["id"]: row["turns"] for row in map(json.loads, file)}
    with gzip.open(shared / "data/airline/predictions.jsonl.gz", "rt") as file:
        rows = [row for row in map(json.loads, file) if (row["classifier"], row["version"]) == (kind, version)][:1500]
    answers = [evaluator.score(Text(turns[row["conversation"]])) for row in rows]
    assert [answer.value for answer in answers] == [row["value"] for row in rows]
    assert [answer.score for answer in answers] == pytest.approx([row["score"] for row in rows], abs=1e-4)


def test_a_signal_with_other_categories_is_refused() -> None:
    classifier = Classifier.objects.create(slug="v", title="V", signal=make_signal(values=("bad", "good")))
    version = ClassifierVersion.objects.create(classifier=classifier, version="1", kind="vader")
    with pytest.raises(NotComparable, match="negative, neutral, positive"):
        evaluators.make(version)


def test_a_loaded_version_cannot_be_run() -> None:
    with pytest.raises(NotComparable, match="cxlab can run afinn, http, openai, python, trained, vader"):
        make_evaluator("elsewhere")


def test_the_judge_fills_its_prompt_and_constrains_the_answer(server: JudgeServer) -> None:
    answer = make_judge(server, input_price=2.0, output_price=10.0, temperature=0).score(customer("It broke."))
    assert (answer.value, answer.status, answer.rationale) == ("negative", "ok", "It says so.")
    assert answer.cost == pytest.approx(0.003)
    [asked] = server.asked
    assert asked["messages"][0]["content"] == "Judge Sentiment in customer: It broke. {{ unknown }}"
    assert asked["response_format"]["json_schema"]["schema"]["properties"]["value"]["enum"] == [
        "negative",
        "neutral",
        "positive",
    ]
    assert asked["temperature"] == 0


@pytest.mark.parametrize(
    ("text", "status", "value"),
    [
        ("BUSY", "ok", "negative"),
        ("BROKEN", "ok", "negative"),
        ("FENCED", "ok", "positive"),
        ("PROSE", "unparsable", None),
        ("LIST", "unparsable", None),
        ("REFUSE", "refused", None),
        ("PLAIN", "unparsable", None),
    ],
)
def test_trouble_becomes_a_clear_state_of_the_unit(
    server: JudgeServer, text: str, status: str, value: str | None
) -> None:
    answer = make_judge(server).score(customer(text))
    assert (answer.status, answer.value) == (status, value)
    if status != "ok":
        assert answer.rationale


def test_an_endpoint_that_is_down_stops_the_run(server: JudgeServer) -> None:
    server.down = True
    with pytest.raises(EvaluatorUnavailable, match="after retries"):
        make_judge(server, max_retries=0).score(customer("x"))


def test_the_pace_spreads_calls_evenly() -> None:
    now, slept = [0.0], []
    pace = Pace(60, clock=lambda: now[0], sleep=slept.append)
    pace.wait()
    now[0] = 0.25
    pace.wait()
    assert slept == [0.75]
    now[0] = 9.0
    pace.wait()
    assert slept == [0.75]


def test_a_judge_that_is_asked_several_times_gives_the_answer_given_most(server: JudgeServer) -> None:
    server.script = ["positive", "negative", "negative"]
    answer = make_judge(server, samples=3, seed=7, input_price=2.0, output_price=10.0).score(customer("x"))
    assert (answer.value, answer.probabilities) == ("negative", {"negative": 0.666667, "positive": 0.333333})
    assert answer.metadata == {"samples": ["positive", "negative", "negative"]}
    assert answer.cost == pytest.approx(0.009)
    assert [asked["seed"] for asked in server.asked] == [7, 8, 9]


def test_a_judge_of_a_summary_has_nothing_to_say_where_there_is_none(server: JudgeServer) -> None:
    judge = make_evaluator(
        "openai", model="m", prompt="{{ summary }} of {{ transcript }}", parameters={"base_url": server.base_url}
    )
    assert judge.score(customer("x")).status == "missing" and not server.asked
    judge.score(Text([{"role": "customer", "text": "x"}], summary="A refund."))
    assert server.asked[0]["messages"][0]["content"] == "A refund. of customer: x"


def test_the_same_judge_on_another_step_of_the_chain(server: JudgeServer) -> None:
    made = Text([{"role": "customer", "text": "in voice"}], asr={"reference": "invoice"})
    make_judge(server, reads="reference").score(made)
    assert "in invoice" in server.asked[0]["messages"][0]["content"]


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "path_API_KEY", 7])
def test_no_other_secret_of_the_server_is_sent_anywhere(server: JudgeServer, name: object) -> None:
    with pytest.raises(Refused, match="_API_KEY"):
        make_judge(server, api_key_env=name)


def make_service(server: JudgeServer, **parameters: object) -> evaluators.Evaluator:
    url = server.base_url.replace("/v1", "/custom")
    return make_evaluator("http", parameters={"url": url, "max_retries": 1, "requests_per_minute": 1e6, **parameters})


@pytest.mark.parametrize(
    ("text", "status", "value"),
    [("fine", "ok", "neutral"), ("BUSY", "ok", "neutral"), ("PLAIN", "unparsable", None), ("LIST", "unparsable", None)],
)
def test_a_service_answers_or_says_why_not(server: JudgeServer, text: str, status: str, value: str | None) -> None:
    answer = make_service(server).score(customer(text))
    assert (answer.status, answer.value) == (status, value)
    assert server.asked[-1]["conversation"]["turns"] == [{"role": "customer", "text": text}]


def test_a_service_that_is_down_stops_the_run(server: JudgeServer) -> None:
    server.down = True
    with pytest.raises(EvaluatorUnavailable, match="503"):
        make_service(server, max_retries=0).score(customer("x"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that offers an evaluator, as pip would install it."""
    info = tmp_path / "shop_evals-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-evals\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[cxlab.evaluators]\nthanks = shop_evals:evaluate\n")
    (tmp_path / "shop_evals.py").write_text(
        "def evaluate(conversation, *, turn, parameters):\n"
        "    text = conversation['turns'][0]['text']\n"
        "    if text == 'crash':\n"
        "        raise RuntimeError('oops')\n"
        "    return {'value': 'positive' if parameters['word'] in text else 'furious', 'score': 0.9}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop_evals", raising=False)
    return tmp_path


def test_an_installed_function_is_pinned_by_its_source(installed: Path) -> None:
    home = Classifier.objects.create(slug="shop", title="Shop", signal=make_signal())
    content = {"kind": "python", "code": "thanks", "parameters": {"word": "thanks"}}
    version, _ = classifiers.register(classifier=home, version="1", content=content)
    assert version.parameters["package"] == "shop-evals==1.2"
    evaluator = evaluators.make(version)
    assert (evaluator.score(customer("many thanks")).value, evaluator.score(customer("no")).status) == (
        "positive", "unparsable",
    )  # fmt: skip
    assert evaluator.score(customer("crash")).rationale == "RuntimeError: oops"
    source = installed / "shop_evals.py"
    source.write_text(source.read_text() + "# changed\n")
    linecache.checkcache()
    with pytest.raises(NotComparable, match="pinned to another code"):
        evaluators.make(version)


def test_a_function_that_nobody_installed_is_refused() -> None:
    home = Classifier.objects.create(slug="shop", title="Shop", signal=make_signal())
    with pytest.raises(NotComparable, match="no installed package offers 'os:system'"):
        classifiers.register(classifier=home, version="1", content={"kind": "python", "code": "os:system"})
