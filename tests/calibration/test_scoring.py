"""Running a version: complete, once each, resumable after any stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from calibration import classifiers, running, scoring
from calibration.errors import NotComparable
from calibration.evaluators import Answer, Text
from calibration.evaluators.base import EvaluatorUnavailable
from calibration.models import Classifier, ClassifierVersion, Prediction, PredictionRollup, ScoringRun
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import Signal
from tests.calibration.judge_server import judge_server
from tests.make import make_conversation, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db


def make_version(signal: Signal | None = None, *, kind: str = "vader", **content: object) -> ClassifierVersion:
    classifier = Classifier.objects.create(slug=kind, title=kind, signal=signal or make_signal())
    version, _ = classifiers.register(classifier=classifier, version="1", content={"kind": kind, **content})
    return version


class Scripted:
    """An evaluator that gives these answers in turn; an exception among them is raised."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers: Iterator[Answer | Exception] = iter(answers)
        self.asked = 0

    def score(self, text: Text) -> Answer:
        self.asked += 1
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_it_works() -> None:
    make_conversation(texts=("Thank you, that was great!", "Bye"))
    run = scoring.work(run=scoring.start(version=make_version(), frame={}))
    assert (run.state, run.done, run.failed) == ("done", 1, 0)
    assert Prediction.objects.get().value == "positive"
    assert PredictionRollup.objects.get().count == 1


def test_a_run_over_a_queue_scores_its_items_only() -> None:
    make_conversation()
    version = make_version()
    queue = make_queue(items=2)
    run = scoring.work(run=scoring.start(version=version, frame={"queue": queue.slug}))
    assert (run.total, Prediction.objects.count()) == (2, 2)


def test_a_period_has_both_its_days() -> None:
    now = timezone.now()
    for days in (0, 1, 2, 3):
        make_conversation(started_at=now - timedelta(days=days))
    frame = {"from": (now - timedelta(days=2)).date().isoformat(), "to": (now - timedelta(days=1)).date().isoformat()}
    assert scoring.start(version=make_version(), frame=frame).total == 2


def test_a_turn_signal_is_scored_turn_by_turn() -> None:
    make_conversation(texts=("Great, thanks!", "ok", "This is terrible"))
    scoring.work(run=scoring.start(version=make_version(make_signal(unit="turn")), frame={}))
    assert list(Prediction.objects.order_by("turn").values_list("turn", "value")) == [
        (0, "positive"),
        (1, "positive"),
        (2, "negative"),
    ]


def test_a_judge_that_goes_down_stops_the_run_and_it_ends_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "BATCH", 1)
    for _ in range(3):
        make_conversation()
    good = Answer("neutral")
    run = scoring.start(version=make_version(), frame={})
    run = scoring.work(run=run, evaluator=Scripted(good, EvaluatorUnavailable("down")))
    assert (run.state, run.done, run.error) == ("failed", 1, "down")
    again = Scripted(good, good)
    run = scoring.work(run=run, evaluator=again, again=True)
    assert (run.state, run.done, again.asked, Prediction.objects.count()) == ("done", 3, 2, 3)
    assert sum(PredictionRollup.objects.values_list("count", flat=True)) == 3


def test_failed_units_are_kept_with_their_reason_and_tried_again_on_request() -> None:
    make_conversation()
    run = scoring.start(version=make_version(), frame={})
    run = scoring.work(run=run, evaluator=Scripted(Answer(status="unparsable", rationale="prose", cost=0.5)))
    assert (run.state, run.failed, run.cost) == ("done", 1, 0.5)
    assert PredictionRollup.objects.get(failed=True).value == "unparsable"
    scoring.work(run=run, evaluator=Scripted(Answer("negative")), again=True)
    assert Prediction.objects.get().value == "negative"
    assert {(row.value, row.count) for row in PredictionRollup.objects.filter(count__gt=0)} == {("negative", 1)}


def test_a_run_that_is_done_does_nothing_more() -> None:
    make_conversation()
    run = scoring.work(run=scoring.start(version=make_version(), frame={}))
    idle = Scripted()
    scoring.work(run=run, evaluator=idle)
    assert idle.asked == 0


def test_two_workers_do_not_take_the_same_run_until_its_holder_has_died() -> None:
    make_conversation()
    run = scoring.start(version=make_version(), frame={})
    ScoringRun.objects.filter(id=run.id).update(held_until=timezone.now() + timedelta(minutes=1))
    with pytest.raises(Conflict):
        scoring.work(run=run)
    ScoringRun.objects.filter(id=run.id).update(held_until=timezone.now() - timedelta(seconds=1))
    assert scoring.work(run=run).state == "done"


@pytest.mark.parametrize("frame", [{"queue": "nowhere"}, {"dataset": "gold@9"}])
def test_a_frame_that_names_nothing_is_refused(frame: dict[str, str]) -> None:
    with pytest.raises(NotFound):
        scoring.start(version=make_version(), frame=frame)


def test_a_day_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="2026-02-30"):
        scoring.start(version=make_version(), frame={"from": "2026-02-30", "to": "2026-03-01"})


def test_a_version_that_is_only_loaded_is_refused_before_anything_is_queued() -> None:
    with pytest.raises(NotComparable):
        scoring.start(version=make_version(kind="loaded"), frame={})
    assert not ScoringRun.objects.exists()


def test_a_real_client_against_an_endpoint_that_misbehaves_scores_each_item_once() -> None:
    for text in ("fine", "BUSY", "BROKEN", "PROSE", "REFUSE", "fine too"):
        make_conversation(texts=(text,))
    with judge_server() as server:
        version = make_version(
            kind="openai",
            model="judge-1",
            prompt="{{ transcript }}",
            parameters={"base_url": server.base_url, "requests_per_minute": 1e6, "max_retries": 2},
        )
        server.down = True
        run = scoring.start(version=version, frame={})
        evaluator = scoring.evaluators.make(version)
        evaluator.client = evaluator.client.with_options(max_retries=0)  # type: ignore[attr-defined]
        assert scoring.work(run=run, evaluator=evaluator).state == "failed"
        server.down = False
        run = scoring.work(run=run)
    assert (run.state, run.done, run.failed) == ("done", 6, 2)
    statuses = sorted(Prediction.objects.values_list("status", flat=True))
    assert statuses == ["ok", "ok", "ok", "ok", "refused", "unparsable"]


def test_each_way_to_fail_ends_in_a_complete_run_with_each_unit_asked_until_it_answered_once() -> None:
    """What passes is asked again; what is an answer, though no usable one, is a state on its unit and costs no second call."""
    asked = {"fine": 1, "SLOW": 2, "CUT": 2, "LATER": 2, "BROKEN": 2, "REFUSE": 1, "PROSE": 1, "PLAIN": 1, "LIST": 1}
    for text in asked:
        make_conversation(text, texts=(text,))
    with judge_server() as server:
        given = {"base_url": server.base_url, "requests_per_minute": 1e6, "max_retries": 2, "timeout": 0.5}
        version = make_version(kind="openai", model="judge-1", prompt="{{ transcript }}", parameters=given)
        run = scoring.work(run=scoring.start(version=version, frame={}))
        prompts = Counter(str(body["messages"][0]["content"]) for body in server.asked)
    assert (run.state, run.total, run.done, run.failed) == ("done", 9, 9, 4)
    assert {word: sum(n for prompt, n in prompts.items() if word in prompt) for word in asked} == asked
    states = dict(Prediction.objects.values_list("conversation__external_id", "status"))
    ok = dict.fromkeys(("fine", "SLOW", "CUT", "LATER", "BROKEN"), "ok")
    assert states == ok | {"REFUSE": "refused", "PROSE": "unparsable", "PLAIN": "unparsable", "LIST": "unparsable"}
    assert sum(PredictionRollup.objects.values_list("count", flat=True)) == 9


@pytest.mark.parametrize("trouble", ["SLOW", "CUT", "LATER", "BROKEN"])
def test_a_run_that_a_failure_stopped_goes_on_where_it_was(trouble: str) -> None:
    for text in ("fine", trouble, "fine too"):
        make_conversation(text, texts=(text,))
    with judge_server() as server:
        given = {"base_url": server.base_url, "requests_per_minute": 1e6, "max_retries": 0, "timeout": 0.3}
        version = make_version(kind="openai", model="judge-1", prompt="{{ transcript }}", parameters=given)
        run = scoring.work(run=scoring.start(version=version, frame={}))
        assert (run.state, run.done) == ("failed", 1) and "does not answer" in run.error
        assert scoring.work_waiting() is None  # not by itself: somebody resumes it
        scoring.resume(run=run)
        assert scoring.work_waiting() == run.id
        assert len(server.asked) == 4
    run.refresh_from_db()
    assert (run.state, run.done, Prediction.objects.filter(status="ok").count()) == ("done", 3, 3)
    assert sum(PredictionRollup.objects.values_list("count", flat=True)) == 3


def priced(server: object, **more: object) -> ClassifierVersion:
    given = {"base_url": server.base_url, "requests_per_minute": 1e6, "max_retries": 0, "input_price": 2.0, **more}  # type: ignore[attr-defined]
    return make_version(kind="openai", model="judge-1", prompt="{{ transcript }}", parameters=given)


def test_a_run_stops_when_its_budget_is_spent_and_goes_on_with_more() -> None:
    for _ in range(4):
        make_conversation()
    with judge_server() as server:
        version = priced(server)
        run = scoring.work(run=scoring.start(version=version, frame={}, budget=0.003))
        assert (run.state, run.done, run.cost) == ("stopped", 2, pytest.approx(0.004))
        assert "budget of 0.003 is spent" in run.error
        with pytest.raises(Refused, match="higher budget"):
            scoring.resume(run=run)
        run = scoring.resume(run=run, budget=1.0)
        assert scoring.work_waiting() == run.id
        assert len(server.asked) == 4
    run.refresh_from_db()
    assert (run.state, run.done, Prediction.objects.count()) == ("done", 4, 4)


def test_a_budget_needs_prices() -> None:
    make_conversation()
    with judge_server() as server, pytest.raises(Refused, match="input_price"):
        scoring.start(version=priced(server, input_price=0), frame={}, budget=1.0)


def test_answers_before_an_outage_within_a_batch_are_kept() -> None:
    for _ in range(3):
        make_conversation()
    run = scoring.start(version=make_version(), frame={})
    run = scoring.work(run=run, evaluator=Scripted(Answer("neutral"), EvaluatorUnavailable("down")))
    assert (run.state, run.done, Prediction.objects.count()) == ("failed", 1, 1)
    rest = Scripted(Answer("neutral"), Answer("neutral"))
    assert scoring.work(run=run, evaluator=rest).state == "done"
    assert rest.asked == 2


def test_a_run_gives_others_their_turn_and_one_whose_worker_died_is_taken_up() -> None:
    make_conversation()
    first, second = (scoring.start(version=make_version(make_signal(f"s{n}"), kind=kind), frame={})
                     for n, kind in enumerate(("vader", "afinn")))  # fmt: skip
    ScoringRun.objects.filter(id=first.id).update(
        state=ScoringRun.State.RUNNING, held_until=timezone.now() - timedelta(seconds=1)
    )
    assert scoring.work_waiting(seconds=0.0) == first.id
    first.refresh_from_db()
    assert (first.state, first.done) == ("pending", 0)
    assert [scoring.work_waiting() for _ in range(3)] == [second.id, first.id, None]


def test_a_judge_that_is_asked_twice_has_a_test_retest_kappa() -> None:
    for _ in range(20):
        make_conversation()
    with judge_server() as server:
        server.script = ["negative", "negative", "positive", "positive"] * 9 + ["positive", "negative"] * 2
        run = scoring.work(run=scoring.start(version=priced(server, samples=2), frame={}))
    found = scoring.retest(run=run)
    assert found is not None and found.n == 20
    assert found.value == pytest.approx(0.8, abs=0.03)


def test_the_page_of_a_version_tells_what_running_it_took(client: Client) -> None:
    for _ in range(20):
        make_conversation()
    with judge_server() as server:
        server.script = ["negative", "negative", "positive", "positive"] * 10
        version = priced(server, samples=2)
        scoring.work(run=scoring.start(version=version, frame={}))
    Prediction.objects.update(seconds=0.5)
    Prediction.objects.filter(id=Prediction.objects.order_by("-id")[0].id).update(seconds=10.0)
    found = running.of(version)
    assert (found.answers, found.timed, found.priced) == (20, 20, 20)
    assert (found.seconds, found.slowest) == (pytest.approx(0.975), 0.5)
    assert (found.cost, found.mean_cost) == (pytest.approx(0.08), pytest.approx(0.004))
    assert found.retest is not None and found.retest.value == pytest.approx(1.0)
    address = f"/classifiers/{version.classifier.slug}/running/"
    assert client.get(address, {"version": "1"}).status_code == 302
    client.force_login(make_user(role="reviewer"))
    assert client.get(address, {"version": "1"}).status_code == 403
    client.force_login(make_user(role="engineer"))
    page = client.get(address, {"version": "1"}).content.decode()
    assert "ok 20" in page and "test-retest kappa <b>1.00</b>" in page and "done, 20 of 20, cost 0.08" in page
    assert client.get(address, {"version": "2"}).status_code == 404
