"""What can score a conversation: the embedded lexicons, and a judge behind an endpoint that misbehaves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from calibration import evaluators
from calibration.errors import NotComparable
from calibration.evaluators import Text
from calibration.evaluators.judge import JudgeUnavailable, Pace
from calibration.models import Classifier, ClassifierVersion
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
    with pytest.raises(NotComparable, match="cxlab can run afinn, openai, vader"):
        make_evaluator("trained")


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
    with pytest.raises(JudgeUnavailable, match="after retries"):
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
