"""Canaries: a pinned version that changes silently is noticed, one that only wavers is not, and work goes on where it was cut."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from calibration.drift import canaries, canary_rows, flag_words, flags, monitoring
from calibration.evaluators import Answer, Text
from calibration.evaluators.base import EvaluatorUnavailable
from calibration.models import CanaryAnswer, CanaryRound, CanarySet, DriftFlag, Prediction
from calibration.stats.intervals import wilson
from calibration.tasks import open_canary_rounds, score_canary_set
from labeling import tokens
from labeling.errors import Conflict, Refused
from labeling.formats.jsonl import Record
from labeling.models import Conversation
from tests.make import make_conversation, make_queue, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
VALUES = ("negative", "neutral", "positive")


class Wavering:
    """Gives each conversation its answer, another one with chance `noise`; `drift` moves answers to negative."""

    def __init__(self, noise: float, drift: float = 0.0, seed: int = 1) -> None:
        self.rng, self.noise, self.drift = random.Random(seed), noise, drift
        self.asked = 0

    def score(self, text: Text) -> Answer:
        self.asked += 1
        steady = VALUES[len(text.transcript()) % 3]
        if self.rng.random() < self.drift:
            return Answer(value="negative", cost=0.01)
        return Answer(value=self.rng.choice(VALUES) if self.rng.random() < self.noise else steady, cost=0.01)


def make_set(*, size: int = 100, kind: str = "vader", every_days: int = 7) -> CanarySet:
    version = make_version(make_signal(), kind=kind)
    for number in range(size):
        make_conversation(
            f"k-{number}", texts=("x" * (number + 1), "ok"), channel=("chat", "voice")[number % 2], started_at=NOW
        )
    return canaries.pin(version=version, now=NOW, size=size, every_days=every_days)


def run(found: CanarySet, evaluator: Any, *, weeks: int = 0) -> None:
    """Score what waits, then one round a week."""
    canaries.work(canary_set=found, evaluator=evaluator)
    for _ in range(weeks):
        at = NOW + timedelta(weeks=found.rounds.count())
        canaries.open_round(canary_set=found, now=at)
        canaries.work(canary_set=found, evaluator=evaluator)


def raised() -> list[DriftFlag]:
    return list(DriftFlag.objects.filter(kind="silent_change"))


def test_it_works() -> None:
    found = make_set()
    run(found, Wavering(0.02), weeks=3)
    assert monitoring.evaluate(now=NOW).streams == 1 and not raised()
    run(found, Wavering(0.02, drift=0.4, seed=2), weeks=4)
    monitoring.evaluate(now=NOW)
    (flag,) = raised()
    first_bad = found.rounds.order_by("number")[7]
    assert (flag.version, flag.since) == (found.version, first_bad.at.date())
    assert flag.evidence["flips"]["value"] > 0.1 > flag.evidence["calibrated"]["value"]
    # Four rounds ask the same canaries: they are so many units, not four times as many.
    flips, asked = flag.evidence["flips"], found.canaries.count()
    assert flips["high"] == pytest.approx(wilson(flips["value"] * asked, asked).high)
    assert flag.severity["category"] == "negative" and 0.05 < flag.severity["low"] < flag.severity["shift"]
    assert {row["now"] for row in flag.evidence["became"]} >= {"negative"}
    assert "points higher than when the version was pinned" in flag_words.cost(flag)
    before = list(DriftFlag.objects.values())
    assert not monitoring.evaluate(now=NOW + timedelta(hours=1)).raised and list(DriftFlag.objects.values()) == before


def test_a_version_that_only_wavers_is_left_alone() -> None:
    found = make_set()
    run(found, Wavering(0.1), weeks=20)
    monitoring.evaluate(now=NOW)
    assert not raised()


def test_no_round_counts_as_a_prediction() -> None:
    found = make_set(size=10)
    run(found, Wavering(0), weeks=1)
    assert CanaryAnswer.objects.count() == 50 and not Prediction.objects.exists()


def test_a_round_that_was_cut_off_goes_on_where_it_was() -> None:
    found = make_set(size=120)

    class Dying(Wavering):
        def score(self, text: Text) -> Answer:
            if self.asked == 70:
                raise EvaluatorUnavailable("no connection")
            return super().score(text)

    canaries.work(canary_set=found, evaluator=Dying(0))
    row = found.rounds.first()
    assert row is not None and (row.state, row.error) == ("failed", "no connection") and row.said.count() == 50
    rest = Wavering(0)
    canaries.work(canary_set=found, evaluator=rest)
    assert rest.asked == 70 + 3 * 120
    assert [one.state for one in found.rounds.all()] == ["done"] * 4 and CanaryAnswer.objects.count() == 480


def test_a_round_that_somebody_holds_is_theirs() -> None:
    found = make_set(size=5)
    found.rounds.filter(number=1).update(held_until=datetime.now(UTC) + timedelta(minutes=5), state="running")
    with pytest.raises(Conflict, match="holds"):
        canaries.work(canary_set=found, evaluator=Wavering(0))
    score_canary_set(found.id)
    assert not CanaryAnswer.objects.exists()


def test_the_schedule_opens_a_round_when_it_is_due_and_only_then() -> None:
    found = make_set(size=5)
    run(found, Wavering(0))
    assert canaries.open_due(now=NOW + timedelta(days=6)) == []
    (row,) = canaries.open_due(now=NOW + timedelta(days=7))
    assert (row.number, row.state) == (5, "pending")
    assert [one.id for one in canaries.open_due(now=NOW + timedelta(days=7))] == [row.id]
    canaries.retire(canary_set=found, now=NOW)
    assert canaries.open_due(now=NOW + timedelta(days=30)) == []


def test_the_tasks_are_the_same_verbs() -> None:
    found = make_set(size=5)
    score_canary_set(found.id)
    assert found.rounds.filter(state="done").count() == 4
    CanaryRound.objects.update(at=NOW - timedelta(days=30))
    open_canary_rounds()
    assert found.rounds.filter(state="pending").count() == 1


def test_a_conversation_that_changed_is_asked_no_longer() -> None:
    found = make_set(size=5)
    run(found, Wavering(0))
    Conversation.objects.filter(external_id="k-1").update(content_sha256="f" * 64)
    run(found, Wavering(0), weeks=1)
    assert found.rounds.get(number=5).answers == 4
    Conversation.objects.update(content_sha256="e" * 64)
    run(found, Wavering(0), weeks=1)
    assert "renew" in found.rounds.get(number=6).error


def test_the_same_seed_draws_the_same_canaries() -> None:
    version = make_version(make_signal(), kind="vader")
    for number in range(60):
        make_conversation(f"k-{number}", started_at=NOW)
    names = []
    for _ in range(2):
        found = canaries.pin(version=version, now=NOW, size=10, seed=4, renew=True)
        names.append(sorted(found.canaries.values_list("conversation__external_id", flat=True)))
    assert names[0] == names[1] and CanarySet.objects.filter(retired_at__isnull=True).count() == 1
    with pytest.raises(Conflict, match="renew"):
        canaries.pin(version=version, now=NOW)


def test_numbers_are_compared_by_how_far_they_are() -> None:
    version = make_version(
        make_signal("satisfaction", scale="interval", minimum=1, maximum=5), kind="openai", model="m"
    )
    for number in range(60):
        make_conversation(f"k-{number}", started_at=NOW)
    found = canaries.pin(version=version, now=NOW, size=60, every_days=0)

    class Marks:
        def __init__(self, mark: float) -> None:
            self.mark = mark

        def score(self, text: Text) -> Answer:
            return Answer(value=self.mark)

    run(found, Marks(4.0))
    run(found, Marks(3.0), weeks=2)
    assert found.rounds.get(number=6).flips == pytest.approx(60 * 0.25)
    monitoring.evaluate(now=NOW)
    (flag,) = raised()
    assert flag.severity["shift"] == pytest.approx(-1.0) and flag.severity["category"] is None


# Answered elsewhere


def loaded_set(size: int = 40) -> CanarySet:
    return make_set(size=size, kind="")


def rows(found: CanarySet, value: Callable[[int], str] = lambda number: VALUES[number % 3]) -> list[dict[str, Any]]:
    units = found.canaries.values_list("position", "conversation__external_id")
    return [{"conversation": name, "turn": None, "value": value(place)} for place, name in units]


def load(found: CanarySet, at: datetime, given: list[dict[str, Any]]) -> CanaryRound:
    records = [Record(line, data) for line, data in enumerate(given, 1)]
    return canary_rows.load(canary_set=found, records=records, at=at)


def test_answers_from_elsewhere_are_watched_alike() -> None:
    found = loaded_set()
    for day in range(6):
        load(found, NOW + timedelta(days=day), rows(found))
    monitoring.evaluate(now=NOW)
    assert not raised()
    for day in range(6, 9):
        load(
            found, NOW + timedelta(days=day), rows(found, lambda place: "negative" if place < 15 else VALUES[place % 3])
        )
    monitoring.evaluate(now=NOW)
    (flag,) = raised()
    assert str(flag.since) == "2026-03-08"


def test_the_same_round_again_changes_nothing_and_another_one_is_refused() -> None:
    found = loaded_set(5)
    first = load(found, NOW, rows(found))
    assert load(found, NOW, rows(found)) == first and found.rounds.count() == 1
    with pytest.raises(Conflict, match="another round"):
        load(found, NOW, rows(found, lambda _: "neutral"))


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"conversation": "nobody"}, "conversation", "no canary"),
        ({"value": "angry"}, "value", "not one of"),
        ({"value": None}, "value", "required"),
        ({"status": "tired"}, "status", "one of"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_stored(change: dict[str, Any], field: str, why: str) -> None:
    found = loaded_set(5)
    given = rows(found)
    given[2] |= change
    with pytest.raises(Refused) as refused:
        load(found, NOW, given)
    (error,) = refused.value.errors
    assert (error.line, error.field) == (3, field) and why in error.message
    assert not found.rounds.exists()


def test_a_round_answers_every_canary() -> None:
    found = loaded_set(5)
    with pytest.raises(Refused) as refused:
        load(found, NOW, rows(found)[:3])
    assert "2 of 5 canaries have no answer" in refused.value.errors[0].message
    load(found, NOW, [*rows(found)[:4], {**rows(found)[4], "value": None, "status": "refused"}])
    assert found.rounds.count() == 1


def test_a_version_scored_elsewhere_is_not_scored_here() -> None:
    found = loaded_set(5)
    with pytest.raises(Refused, match="cxlab can run"):
        canaries.open_round(canary_set=found, now=NOW)
    assert canaries.open_due(now=NOW + timedelta(days=90)) == []


def test_a_judged_change_is_raised_again_by_new_rounds_only() -> None:
    found = loaded_set()
    changed = rows(found, lambda place: "negative" if place < 15 else VALUES[place % 3])
    for day in range(8):
        load(found, NOW + timedelta(days=day), rows(found) if day < 4 else changed)
    monitoring.evaluate(now=NOW)
    flags.dismiss(flag=raised()[0], by=None, reason="known")
    assert not monitoring.evaluate(now=NOW).raised
    for day in range(8, 12):
        load(found, NOW + timedelta(days=day), changed)
    assert [flag.kind for flag in monitoring.evaluate(now=NOW).raised] == ["silent_change"]


# Command, API, page


def test_the_command(tmp_path: Path) -> None:
    version = make_version(make_signal())
    for number in range(5):
        make_conversation(f"k-{number}", started_at=NOW)
    call_command("canaries", "pin", str(version), "--conversation", "k-1", "--conversation", "k-3", stdout=StringIO())
    file = tmp_path / "round.jsonl"
    file.write_text('{"conversation":"k-1","value":"neutral"}\n{"conversation":"k-3","value":"angry"}\n')
    err = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("canaries", "load", str(version), str(file), stderr=err)
    assert stopped.value.code == 1 and f"{file}:2: value: 'angry'" in err.getvalue()
    file.write_text('{"conversation":"k-1","value":"neutral"}\n{"conversation":"k-3","value":"neutral"}\n')
    call_command("canaries", "load", str(version), str(file), at="2026-03-02T09:00:00Z", stdout=StringIO())
    out = StringIO()
    call_command("canaries", "show", str(version), stdout=out)
    told = json.loads(out.getvalue())
    assert told["state"] == "pinning" and [one["conversation"] for one in told["canaries"]] == ["k-1", "k-3"]
    call_command("canaries", "retire", str(version), stdout=StringIO())
    with pytest.raises(SystemExit):
        call_command("canaries", "show", str(version), stderr=StringIO())


def test_over_the_api(client: Client) -> None:
    version = make_version(make_signal())
    for number in range(5):
        make_conversation(f"k-{number}", started_at=NOW)
    address = f"/api/v1/classifiers/judge/versions/{version.version}/canaries/"
    headers = bearer(make_user("ada", role="engineer"), "ingest", "read")
    assert client.post(address).status_code == 401
    assert client.post(address, headers=bearer(make_user("otto"), "label")).status_code == 403
    assert client.get(address, headers=headers).status_code == 404
    made = client.post(address, {"size": 3}, content_type="application/json", headers=headers)
    assert made.status_code == 201 and len(made.json()["canaries"]) == 3
    assert client.post(address, {}, content_type="application/json", headers=headers).status_code == 409
    body = "\n".join(json.dumps(row | {"value": "neutral"}) for row in made.json()["canaries"])
    ndjson: dict[str, Any] = {"content_type": "application/x-ndjson", "headers": headers}
    stored = client.post(f"{address}rounds/?at=2026-03-02T09:00:00Z", body, **ndjson)
    assert stored.status_code == 200 and stored.json()["number"] == 1
    assert client.post(f"{address}rounds/?at=yesterday", body, **ndjson).status_code == 422
    assert client.post(f"{address}rounds/", "{}", **ndjson).json()["errors"][0]["line"] == 1
    assert client.post(f"{address}score/", headers=headers).status_code == 422


def test_the_page(client: Client) -> None:
    found = make_set(size=40)
    address = "/classifiers/judge/canaries/"
    assert client.get(address)["Location"].startswith("/sign-in/")
    client.force_login(make_user("otto"))
    assert client.get(address).status_code == 403 and client.post(f"{address}change/").status_code == 403
    client.force_login(make_user("ada", role="engineer"))
    assert client.get("/classifiers/nobody/canaries/").status_code == 404
    assert "is being pinned" in client.get(address).content.decode()
    run(found, Wavering(0))
    run(found, Wavering(0, drift=0.5), weeks=2)
    monitoring.evaluate(now=NOW)
    page = client.get(address).content.decode()
    assert "has changed, though nobody upgraded it" in page and "Answered differently" in page
    assert "canaries: changed (v1)" in client.get("/classifiers/").content.decode()
    (flag,) = raised()
    shown = client.get(f"/drift/{flag.id}/").content.decode()
    assert "Which answers became which" in shown and "of canaries are answered differently" in shown
    done = client.post(f"{address}change/", {"action": "renew", "version": "v1", "size": "10", "every_days": "1"})
    assert done.status_code == 302 and found.version.canary_sets.get(retired_at=None).canaries.count() == 10
    assert client.post(f"{address}change/", {"action": "dance", "version": "v1"}).status_code == 422


def test_an_answer_is_hidden_from_who_may_still_be_asked(client: Client) -> None:
    found = make_set(size=2)
    run(found, Wavering(0))
    run(found, Wavering(0, drift=1.0), weeks=1)
    ada = make_user("ada", role="engineer")
    homes = list(Conversation.objects.filter(external_id__startswith="k-"))
    make_queue(signals=[found.version.classifier.signal], members=[ada], conversations=homes)
    client.force_login(ada)
    page = client.get("/classifiers/judge/canaries/").content.decode()
    assert "hidden: you may still be asked" in page and "<td>positive</td>" not in page


def bearer(user: Any, *scopes: str) -> dict[str, str]:
    _, secret = tokens.make(user=user, name="test", scopes=list(scopes))
    return {"Authorization": f"Bearer {secret}"}
