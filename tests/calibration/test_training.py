"""A classifier of the house: fitted on gold, pinned by what it learned, never scored or measured where it was fitted."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from calibration import classifiers, ingest, scoring, training
from calibration.errors import NotComparable
from calibration.evaluators import Text, make
from calibration.evaluators.trained import Weights
from calibration.evidence import items, reports
from calibration.models import Artefact, ClassifierVersion, FittedOn, Prediction, ScoringRun
from labeling import tokens
from labeling.errors import Conflict, Refused
from labeling.formats.jsonl import Record
from labeling.models import DatasetVersion
from tests.make import make_conversation, make_gold, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
WORDS = {"negative": "broken angry refund", "neutral": "question hours address", "positive": "thanks great lovely"}


def world(n: int = 60, **kw: Any) -> DatasetVersion:
    """Gold whose words give the answer away, each conversation with a word of its own."""
    signal = make_signal(**kw)
    rows = []
    for number in range(n):
        value = list(WORDS)[number % 3]
        text = f"{WORDS[value]} number{number}"
        rows.append({"gold": value, "conversation": make_conversation(texts=(text, "Let me look"))})
    return make_gold(signal, rows)


def fit(gold: DatasetVersion, version: str = "v1", **kw: Any) -> training.Fitted:
    return training.fit(dataset_version=gold, classifier="house", version=version, **kw)


def test_it_works() -> None:
    done = fit(world(), held_out=0.0)
    answer = make(done.version).score(Text([{"role": "customer", "text": "it is broken, I am angry"}]))
    assert answer.value == "negative" and answer.probabilities is not None
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_the_same_gold_gives_the_same_pin_and_another_seed_another() -> None:
    gold = world()
    first, again, other = fit(gold, "a"), fit(gold, "b"), fit(gold, "c", seed=2)
    assert first.version.content_sha256 == again.version.content_sha256 != other.version.content_sha256


def test_it_is_never_scored_where_it_was_fitted() -> None:
    gold = world()
    done = fit(gold)
    assert done.units + done.held_out == 60 and 0 < done.held_out < 30
    run = scoring.work(run=scoring.start(version=done.version, frame={"dataset": str(gold)}))
    assert (run.done, run.total) == (done.held_out, done.held_out)
    fitted = FittedOn.objects.filter(version=done.version).values("conversation")
    assert not Prediction.objects.filter(version=done.version, conversation__in=fitted).exists()
    everything = fit(gold, "all", held_out=0.0)
    with pytest.raises(NotComparable, match="fitted on every unit"):
        scoring.start(version=everything.version, frame={"dataset": str(gold)})


def test_reports_leave_out_what_it_was_fitted_on() -> None:
    gold = world()
    done = fit(gold)
    scoring.work(run=scoring.start(version=done.version, frame={"dataset": str(gold)}))
    document = reports.build(dataset_version=gold, classifier=done.version.classifier)
    [row] = document["rows"]
    assert (row["n"], row["missing_predictions"]) == (done.held_out, 0)
    assert row["accuracy"]["value"] == 1.0


def test_predictions_for_what_it_was_fitted_on_are_not_loaded() -> None:
    done = fit(world(), held_out=0.0)
    fitted = FittedOn.objects.select_related("conversation").filter(version=done.version)[0].conversation
    row = {"conversation": fitted.external_id, "classifier": "house", "version": "v1", "value": "neutral"}
    with pytest.raises(Refused) as refused:
        ingest.predictions(records=[Record(1, row)])
    assert "was fitted on" in refused.value.errors[0].message


def test_the_same_words_under_another_name_are_neither_scored_nor_measured_nor_loaded() -> None:
    gold = world()
    done = fit(gold, held_out=0.0)
    words = f"{WORDS['neutral']} number1"
    twin, other = (make_conversation(texts=(text, "Let me look")) for text in (words, f"{words} and more"))
    signal = gold.dataset.signal
    frozen = [{"gold": "neutral", "conversation": one} for one in (twin, other)]
    later = make_gold(signal, frozen, name="later")
    run = scoring.work(run=scoring.start(version=done.version, frame={"dataset": str(later)}))
    assert (run.total, Prediction.objects.get(version=done.version).conversation) == (1, other)
    row = {"conversation": twin.external_id, "classifier": "house", "version": "v1", "value": "neutral"}
    with pytest.raises(Refused) as refused:
        ingest.predictions(records=[Record(1, row)])
    assert "was fitted on" in refused.value.errors[0].message
    [told] = reports.build(dataset_version=later, classifier=done.version.classifier)["rows"]
    assert (told["n"], told["missing_predictions"]) == (1, 0)
    behind = items.read(dataset_version=later, version=done.version, query={}, reader=make_user(role="engineer"))
    assert (behind.total, len(behind.units)) == (1, 1)


def test_equal_conversations_lie_on_one_side() -> None:
    signal = make_signal()
    rows = [
        {"gold": list(WORDS)[number % 3], "conversation": make_conversation(texts=(f"text {number // 2}", "ok"))}
        for number in range(80)
    ]
    done = fit(make_gold(signal, rows))
    fitted = {one.conversation.turns[0]["text"] for one in FittedOn.objects.select_related("conversation")}
    assert done.units == 2 * len(fitted)


def test_an_artefact_that_is_not_what_was_pinned_is_not_run() -> None:
    done = fit(world())
    Artefact.objects.update(body=b"something else")
    with pytest.raises(NotComparable, match="not what it is pinned by"):
        make(done.version)
    Artefact.objects.all().delete()
    with pytest.raises(NotComparable, match="fitted elsewhere"):
        make(done.version)


def test_weights_come_back_as_they_were_and_pickles_never() -> None:
    body = bytes(fit(world()).version.classifier and Artefact.objects.get().body)
    weights = Weights.unpack(body)
    assert weights.pack() == body and b"pickle" not in body
    assert weights.coefficients.shape == (3, len(weights.terms))


def test_several_labels_stand_alone() -> None:
    signal = make_signal("topics", scale="multilabel", values=("bill", "late"))
    rows = [
        {"gold": ('["bill"]', '["late"]', '["bill", "late"]')[number % 3],
         "conversation": make_conversation(texts=(("invoice", "delay", "invoice delay")[number % 3] + f" {number}", "ok"))}
        for number in range(90)
    ]  # fmt: skip
    version = fit(make_gold(signal, rows), held_out=0.0, settings=training.Settings(strength=100.0)).version
    assert make(version).score(Text([{"role": "customer", "text": "invoice delay"}])).value == ["bill", "late"]
    assert make(version).score(Text([{"role": "customer", "text": "invoice"}])).value == ["bill"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"held_out": 1.0}, "no share"),
        ({"reads": "audio"}, "none of"),
        ({"settings": training.Settings("bytes")}, "neither"),
    ],
)
def test_what_cannot_be_asked_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        fit(world(30), **given)
    assert not ClassifierVersion.objects.exists()


def test_too_little_one_answer_and_numbers_cannot_be_learned() -> None:
    with pytest.raises(NotComparable, match="too few"):
        fit(world(12))
    alone = make_gold(make_signal("s2"), [{"gold": "neutral"} for _ in range(40)], name="g2")
    with pytest.raises(NotComparable, match="one answer only"):
        fit(alone)
    numbers = make_gold(make_signal("s3", scale="interval"), [{"gold": 1} for _ in range(40)], name="g3")
    with pytest.raises(NotComparable, match="no categories"):
        fit(numbers)


def test_a_name_that_is_taken_is_refused() -> None:
    gold = world()
    fit(gold)
    with pytest.raises(Conflict, match="pinned"):
        fit(gold)


def test_a_run_says_what_it_scores() -> None:
    """Left out, it would be everything: with a judge that is paid for, a forgotten option costs money."""
    gold = world()
    name = str(fit(gold).version)
    with pytest.raises(CommandError, match="--dataset D@N, --queue Q, --from A..B, or --all") as refused:
        call_command("score", name)
    assert refused.value.returncode == 2 and not ScoringRun.objects.exists()
    call_command("score", name, "--all")
    call_command("score", name, "--dataset", str(gold))
    everything, some = (run.total for run in ScoringRun.objects.order_by("id"))
    assert everything >= some > 0


def test_command_and_api_fit_and_run() -> None:
    gold = world()
    told = StringIO()
    call_command("fit", str(gold), "house@cli", "--held-out", "0.5", stdout=told)
    assert told.getvalue().startswith("house@cli sha256:")
    secret = tokens.make(user=make_user(role="engineer"), name="t", scopes=["ingest", "read"])[1]
    headers = {"Authorization": f"Bearer {secret}"}
    asked = {"dataset": str(gold), "classifier": "house", "version": "api"}
    made = Client().post("/api/v1/fits/", asked, content_type="application/json", headers=headers)
    assert (made.status_code, made.json()["version"]) == (201, "house@api")
    asked = {"version": "house@api", "dataset": str(gold)}
    run = Client().post("/api/v1/runs/", asked, content_type="application/json", headers=headers)
    assert (run.status_code, run.json()["state"]) == (201, "pending")
    assert scoring.work_waiting() == run.json()["id"]
    assert scoring.work_waiting() is None
    found = Client().get(f"/api/v1/runs/{run.json()['id']}/", headers=headers).json()
    assert (found["state"], found["version"], found["done"]) == ("done", "house@api", made.json()["held_out"])
    again = Client().post(f"/api/v1/runs/{found['id']}/resume/", {}, content_type="application/json", headers=headers)
    assert again.status_code == 409


def test_the_page_fits_and_lets_what_was_held_out_be_scored(client: Client) -> None:
    gold = world()
    client.force_login(make_user(role="engineer"))
    address = "/datasets/gold/1/fit/"
    assert "sentiment-house" in client.get(address).content.decode()
    asked = {"classifier": "house", "version": "1", "reads": "customer", "held_out": "0.25", "analyzer": "word",
             "strength": "1"}  # fmt: skip
    for wrong, words in (({"classifier": "a b"}, "no name of a classifier"), ({"held_out": "2"}, "0.9")):
        answer = client.post(address, asked | wrong)
        assert answer.status_code == 422 and words in answer.content.decode()
    assert not ClassifierVersion.objects.exists()
    made = client.post(address, asked)
    assert (made.status_code, made["Location"]) == (302, "/classifiers/house/?dataset=gold%401&version=1")
    version = ClassifierVersion.objects.get()
    assert version.parameters["dataset"] == str(gold)
    told = client.get(made["Location"]).content.decode()
    assert f"was fitted on {version.parameters['units']} units; the" in told
    assert scoring.work_waiting() is not None
    fitted = FittedOn.objects.filter(version=version).count()
    assert Prediction.objects.filter(version=version).count() == 60 - fitted
    again = client.post(address, asked)
    assert again.status_code == 422 and "exists and is pinned" in again.content.decode()


def test_who_may_fit_on_the_page(client: Client) -> None:
    world()
    for method in (client.get, client.post):
        assert method("/datasets/gold/1/fit/").status_code == 302
    for role in ("annotator", "reviewer"):
        client.force_login(make_user(role=role))
        assert [method("/datasets/gold/1/fit/").status_code for method in (client.get, client.post)] == [403, 403]
    client.force_login(make_user(role="engineer"))
    assert [client.get(f"/datasets/{at}/fit/").status_code for at in ("gold/1", "gold/9")] == [200, 404]
    assert not ClassifierVersion.objects.exists()


def test_who_may_fit() -> None:
    gold = world()
    asked = {"dataset": str(gold), "classifier": "house", "version": "x"}
    for scope, status in (("read", 403), ("ingest", 201)):
        secret = tokens.make(user=make_user(role="engineer"), name=scope, scopes=[scope])[1]
        headers = {"Authorization": f"Bearer {secret}"}
        answer = Client().post("/api/v1/fits/", asked, content_type="application/json", headers=headers)
        assert answer.status_code == status
    assert Client().post("/api/v1/fits/", asked, content_type="application/json").status_code == 401


def test_a_judge_is_pinned_to_the_guideline_that_it_quotes() -> None:
    signal = make_signal()
    home = make_version(signal).classifier
    content = {"kind": "openai", "model": "m", "prompt": "{{ guideline }} {{ transcript }}"}
    first, _ = classifiers.register(classifier=home, version="1", content=content)
    assert first.parameters["guideline"] == 1
    signal.guidelines.create(version=2, text="Judge the agent instead.")
    again, new = classifiers.register(classifier=home, version="1", content=content)
    assert (again.id, new) == (first.id, False)
    second, _ = classifiers.register(classifier=home, version="2", content=content)
    assert second.parameters["guideline"] == 2 and second.content_sha256 != first.content_sha256
