"""What would settle a movement, and the buttons that do it: a queue of unlabelled conversations, a bridge scored."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from calibration import scoring, tasks
from calibration.models import Prediction, ScoringRun
from calibration.moves import attribution, periods, settling
from labeling import tokens
from labeling.errors import Refused
from labeling.models import Queue, Signal
from tests.calibration.worlds import PLACES, START, rows_of
from tests.make import make_signal, make_user, make_version, make_weeks

pytestmark = pytest.mark.django_db
JANUARY = periods.read("2026-01-05..2026-01-31", field="from")
MARCH = periods.read("2026-03-02..2026-03-28", field="to")


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Runs are handed to nobody; their ids are kept."""
    cache.clear()
    handed: list[int] = []
    monkeypatch.setattr(tasks.work_scoring_run, "delay", handed.append)
    return handed


def upgraded(*, kind: str = "vader", labelled: int = 12) -> Signal:
    """Few labels; v1 in January, v2 in March, which v1 has not seen."""
    signal, ann = make_signal(), make_user("ann")
    rng = random.Random(9)
    for version, at in (
        (make_version(signal, "v1", kind=kind), START),
        (make_version(signal, "v2"), START + timedelta(weeks=8)),
    ):
        for place in PLACES:
            shares = (0.3, 0.3, 0.4) if at == START else (0.45, 0.25, 0.3)
            make_weeks(version, rows_of(place, at, labelled, 0.9, rng, shares=shares), ann)
            make_weeks(version, rows_of(place, at, 100, 0.9, rng, shares=shares, labelled=False), ann)
    return signal


def steps_of(signal: Signal) -> list[dict[str, Any]]:
    found = attribution.attribute(signal=signal, before=JANUARY, after=MARCH)
    return settling.steps(found, before=JANUARY, after=MARCH)


def test_without_a_bridge_the_old_version_is_to_score_the_later_period() -> None:
    bridge, *labels = steps_of(upgraded())
    assert bridge == {
        "action": "score", "version": "judge@v1", "conversations": 448, "runnable": True, "why": "",
        "since": "2026-03-02", "until": "2026-03-28",
    }  # fmt: skip
    assert [step["period"] for step in labels] == ["from", "to"]
    assert abs(labels[0]["labels"] - labels[1]["labels"]) <= 1 and labels[0]["labels"] > 20


def test_a_version_that_cannot_be_run_says_so() -> None:
    (bridge, *_) = steps_of(upgraded(kind=""))
    assert not bridge["runnable"] and "cxlab can run" in bridge["why"]


def test_the_period_with_fewer_labels_gets_more() -> None:
    found = {
        "labels_needed": 100,
        "from": {"labels": 300, "versions": ["v1"]},
        "to": {"labels": 250, "versions": ["v1"]},
    }
    steps = settling.steps(found, before=JANUARY, after=MARCH)
    assert {step["period"]: step["labels"] for step in steps} == {"from": 25, "to": 75}
    settled = found | {"labels_needed": 0}
    assert settling.steps(settled, before=JANUARY, after=MARCH) == []


def test_the_button_draws_what_nobody_has_labelled(client: Client) -> None:
    signal = upgraded()
    client.force_login(make_user("eve", role="engineer"))
    asked = {"action": "label", "since": "2026-03-02", "until": "2026-03-28", "labels": "40"}
    for _ in range(2):
        answer = client.post("/signals/sentiment/settle/", asked)
        assert answer.status_code == 302, answer.content
    first, second = Queue.objects.order_by("id")
    assert answer["Location"] == f"/queues/{second.slug}/" and first.slug != second.slug
    for queue in (first, second):
        items = queue.items.select_related("conversation")
        assert items.count() == 40 and {queue.slug for queue in signal.queues.all()} >= {queue.slug}
        assert all(item.conversation.started_at.date() in MARCH for item in items)
        assert not any(item.conversation.labels.exists() for item in items)


def test_the_button_starts_the_bridge_once_and_the_task_scores_it(client: Client, no_worker: list[int]) -> None:
    signal = upgraded()
    client.force_login(make_user("eve", role="engineer"))
    asked = {"action": "score", "since": "2026-03-02", "until": "2026-03-28", "version": "judge@v1", "next": "/drift/"}
    assert client.post("/signals/sentiment/settle/", asked)["Location"] == "/drift/"
    assert client.post("/signals/sentiment/settle/", asked | {"next": "https://elsewhere.example/"})[
        "Location"
    ].endswith("/trend/")
    run = ScoringRun.objects.get()
    assert no_worker == [run.id, run.id]
    moved = f"/signals/sentiment/moved/?from={JANUARY}&to={MARCH}"
    assert "0 of 448 scored" in client.get(moved).content.decode()
    tasks.work_scoring_run(run.id)
    tasks.work_scoring_run(run.id)
    assert (
        Prediction.objects.filter(version=run.version, conversation__started_at__date__gte=MARCH.first).count() == 448
    )
    found = attribution.attribute(signal=signal, before=JANUARY, after=MARCH)
    assert found["bridge"] == 448 and not any(step["action"] == "score" for step in steps_of(signal))
    assert "448 scored" in client.get(moved).content.decode()


def test_a_part_of_each_slice_is_the_same_part_every_time() -> None:
    signal = upgraded()
    version = signal.classifiers.get().versions.first()
    assert version is not None
    frame = settling.bridge_frame(MARCH) | {"a_slice": "30"}
    units = list(scoring.units(version=version, frame=frame))
    assert len(units) == 120 and units == list(scoring.units(version=version, frame=frame))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"action": "paint"}, "action"),
        ({"action": "label", "labels": "0"}, "labels"),
        ({"action": "score", "version": "judge@v9"}, "classifier"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], field: str) -> None:
    signal = upgraded()
    told = {"labels": 0, "version": ""} | asked
    told["labels"] = int(told["labels"])
    with pytest.raises(Refused) as refused:
        settling.act(signal=signal, days=MARCH, by=make_user(role="engineer"), **told)
    assert refused.value.field == field and not Queue.objects.exists() and not ScoringRun.objects.exists()


def test_only_engineers_may(client: Client) -> None:
    upgraded()
    asked = {"action": "label", "since": "2026-03-02", "until": "2026-03-28", "labels": "40"}
    assert client.post("/signals/sentiment/settle/", asked)["Location"].startswith("/sign-in/")
    client.force_login(make_user("otto"))
    assert client.post("/signals/sentiment/settle/", asked).status_code == 403
    client.force_login(make_user("eve", role="engineer"))
    assert client.post("/signals/nothing/settle/", asked).status_code == 404
    assert client.get("/signals/sentiment/settle/").status_code == 405


def test_the_api_names_the_steps_and_takes_them(client: Client) -> None:
    upgraded()
    _, key = tokens.make(user=make_user("ada", role="admin"), name="ci", scopes=["read", "admin"])
    headers = {"Authorization": f"Token {key}"}
    found = client.get(f"/api/v1/attribution/?signal=sentiment&from={JANUARY}&to={MARCH}", headers=headers).json()
    assert [step["action"] for step in found["settle"]] == ["score", "label", "label"]
    asked = {"signal": "sentiment", "action": "label", "since": "2026-03-02", "until": "2026-03-28", "labels": 30}
    done = client.post("/api/v1/attribution/settle/", asked, content_type="application/json", headers=headers)
    assert done.status_code == 201 and done.json()["items"] == 30
    _, reads = tokens.make(user=make_user("bob", role="engineer"), name="r", scopes=["read"])
    denied = client.post(
        "/api/v1/attribution/settle/",
        asked,
        content_type="application/json",
        headers={"Authorization": f"Token {reads}"},
    )
    assert denied.status_code == 403
