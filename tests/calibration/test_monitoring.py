"""Monitors: a planted drift is found where it is and nowhere else; looking twice changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from calibration.drift import flags, monitoring, watches
from calibration.models import ClassifierVersion, DriftFlag, FlagEvent, Monitor
from calibration.streams import Answer, Said
from calibration.tasks import evaluate_monitors
from labeling import gold, tokens
from labeling.errors import Conflict, Refused
from labeling.models import Label
from tests.calibration.worlds import DRIFTED, NOW, START, make_engineer, make_world, rows_of
from tests.make import make_conversation, make_label, make_signal, make_user, make_version, make_weeks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def raised(**kw: Any) -> list[DriftFlag]:
    return list(DriftFlag.objects.filter(**kw).order_by("id"))


def test_it_works() -> None:
    version, _ = make_world(drifts=True)
    done = monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="agreement")
    assert done.raised and (flag.version, flag.slice) == (version, {"channel": "voice", "cohort": "trial"})
    assert flag.evidence["e_value"] >= flag.evidence["alarm_at"] >= 20
    assert abs((flag.since or date.min) - (START + timedelta(weeks=3)).date()) <= timedelta(weeks=1)
    assert flag.severity["category"] == "negative" and 0.05 < flag.severity["low"] < flag.severity["bias"]
    assert "5 %" in flag.guarantee and flag.evidence["calibration"] == "gold@1"


def test_a_drift_is_flagged_where_it_is_and_nowhere_else() -> None:
    make_world(drifts=True)
    monitoring.evaluate(now=NOW)
    assert {(flag.slice["channel"], flag.slice["cohort"]) for flag in raised()} == {DRIFTED}


def test_a_stable_world_raises_nothing() -> None:
    make_world()
    done = monitoring.evaluate(now=NOW)
    assert not raised() and done.monitors == 1
    watched = Monitor.objects.get().streams
    assert len([stream for stream in watched if stream["kind"] == "agreement"]) == 4
    assert all(stream["e_value"] < 20 for stream in watched if stream["kind"] == "agreement")


def test_looking_twice_changes_nothing() -> None:
    make_world(drifts=True)
    monitoring.evaluate(now=NOW)
    before = (list(DriftFlag.objects.values()), list(FlagEvent.objects.values()))
    again = monitoring.evaluate(now=NOW + timedelta(minutes=15))
    assert not again.raised
    assert before == (list(DriftFlag.objects.values()), list(FlagEvent.objects.values()))


def test_labels_of_the_calibration_itself_say_nothing_new() -> None:
    make_world(weeks=0)
    monitoring.evaluate(now=NOW)
    assert Monitor.objects.get().streams == []


def test_gold_that_spans_months_is_watched_within_itself() -> None:
    version, _ = make_world(drifts=True, change_after=6)
    signal = version.classifier.signal
    whole = gold.freeze(dataset="whole", signal=signal, aggregation="majority", now=NOW)
    Monitor.objects.create(classifier=version.classifier, by=["channel", "cohort"], dataset_version=whole)
    monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="agreement")
    assert (flag.slice["channel"], flag.slice["cohort"]) == DRIFTED
    assert flag.evidence["calibration"].startswith("whole@1, its first ")


def test_late_and_superseded_labels_do_not_count() -> None:
    make_world(drifts=True)
    Label.objects.filter(labeled_at__gt=START + timedelta(weeks=1)).update(superseded_at=NOW)
    monitoring.evaluate(now=NOW)
    assert not raised(kind="agreement")


def test_a_dismissed_flag_is_raised_again_by_new_evidence_only() -> None:
    version, _ = make_world(drifts=True)
    monitoring.evaluate(now=NOW)
    for flag in raised():
        flags.dismiss(flag=flag, by=None, reason="a known campaign")
    assert not monitoring.evaluate(now=NOW).raised
    bad = [row for week in range(8) for row in rows_of(DRIFTED, NOW + timedelta(weeks=week), 30, 0.3, _rng())]
    make_weeks(version, bad, make_user("ben"))
    again = monitoring.evaluate(now=NOW + timedelta(weeks=9))
    (newest,) = [flag for flag in again.raised if flag.kind == "agreement"]
    assert len(raised(kind="agreement")) == 2
    # Nothing that was judged is in it: it began with the new labels, not with the first week of other slices.
    began = newest.evidence["series"][0]
    assert newest.since is not None and newest.since.isoformat() >= began["at"] and began["labels"]
    assert began["at"] >= (NOW.date() - timedelta(days=6)).isoformat()


def test_labels_of_what_is_drawn_more_often_weigh_less_within_their_week() -> None:
    def pair(week: str, weight: float, agreement: float) -> watches.Pair:
        said = Said("neutral", None, None)
        answer = Answer((1, -1), "chat", "smb", {}, "neutral", None, (), None, NOW, None, weight)
        return watches.Pair(answer, said, week, agreement)

    pairs = [pair("w1", 8.0, 1.0), pair("w1", 2.0, 0.0), pair("w1", 2.0, 1.0), pair("w2", 2.0, 1.0)]
    first, second, empty = watches._blocks(pairs, ["w1", "w2", "w3"])
    assert [(cell.labels, cell.agreements, cell.weight) for cell in first.cells] == [(2, 1.0, 0.25), (1, 1.0, 1.0)]
    assert [(cell.labels, cell.weight) for cell in second.cells] == [(1, 1.0)] and not empty.cells


def test_evidence_that_grew_is_kept_with_the_flag() -> None:
    version, _ = make_world(drifts=True)
    monitoring.evaluate(now=NOW)
    before = raised(kind="agreement")[0]
    make_weeks(version, rows_of(DRIFTED, NOW - timedelta(days=5), 40, 0.3, _rng()), make_user("ben"))
    monitoring.evaluate(now=NOW)
    (after,) = raised(kind="agreement")
    assert after.id == before.id and after.evidence["labels"] == before.evidence["labels"] + 40
    assert after.evidence["e_value"] > before.evidence["e_value"]


def test_shifted_answers_need_no_labels() -> None:
    version, _ = make_world(weeks=0)
    ann = make_user("ben")
    shares = ((0.3, 0.3, 0.4), (0.75, 0.15, 0.1))
    for day in range(-20, 60):
        at = START + timedelta(days=day)
        chosen = shares[day > 10]
        make_weeks(version, rows_of(("chat", "trial"), at, 40, 1.0, _rng(day), shares=chosen, labelled=False), ann)
    monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="mix")
    assert flag.slice == {"channel": "chat", "cohort": "trial"}
    assert (flag.evidence["category"], flag.evidence["direction"]) == ("negative", "up")


@pytest.mark.parametrize("mended", [False, True])
def test_a_shift_that_was_dismissed_is_what_is_normal_from_then_on(mended: bool) -> None:
    version, _ = make_world(weeks=0)
    ann, by = make_user("ben"), make_engineer()

    def answers(first: int, last: int, shares: tuple[float, ...]) -> None:
        for day in range(first, last):
            at = START + timedelta(days=day)
            rows = rows_of(("chat", "trial"), at, 40, 1.0, _rng(day), shares=shares, labelled=False)
            make_weeks(version, rows, ann)

    usual, shifted, worse = (0.3, 0.3, 0.4), (0.6, 0.2, 0.2), (0.95, 0.03, 0.02)
    answers(-20, 10, usual)
    answers(10, 60, shifted)
    monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="mix")
    if mended:
        flags.resolve(flag=flag, by=by, note="put right")
    else:
        flags.dismiss(flag=flag, by=by, reason="the customers did change")
    answers(60, 110, shifted)
    monitoring.evaluate(now=NOW)
    assert len(raised(kind="mix")) == 1 + mended  # what was mended and goes on is news; what was explained is none
    answers(110, 150, worse)
    monitoring.evaluate(now=NOW)
    assert len(raised(kind="mix")) == 2


def test_a_version_in_service_without_calibration_is_told_and_settles_itself() -> None:
    version, _ = make_world(weeks=1)
    newer = make_version(version.classifier.signal, "v2")
    at = START + timedelta(weeks=8)
    make_weeks(newer, rows_of(("chat", "trial"), at, 80, 0.9, _rng()), make_user("ben"))
    monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="version")
    assert flag.version == newer and flag.evidence["predictions"] == 80
    gold.freeze(dataset="gold", signal=version.classifier.signal, aggregation="majority", now=NOW)
    cache.clear()
    monitoring.evaluate(now=NOW)
    flag.refresh_from_db()
    assert flag.state == "resolved"


def test_a_calibration_expires() -> None:
    version, _ = make_world(weeks=0)
    at = START + timedelta(days=300)
    make_weeks(version, rows_of(("chat", "trial"), at, 80, 0.9, _rng(), labelled=False), make_user("ben"))
    monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="expired")
    assert flag.evidence["age_days"] > 180


def test_people_who_agree_less_are_noticed() -> None:
    signal = make_signal()
    version, ann, ben = make_version(signal), make_user("ann"), make_user("ben")
    for number in range(300):
        at = START + timedelta(days=number)
        home = make_conversation(started_at=at)
        fine = number < 100
        make_label(home, signal, ann, "negative" if number % 2 else "neutral", labeled_at=at)
        other = "negative" if number % 2 else "neutral"
        make_label(home, signal, ben, other if fine or number % 3 == 0 else "positive", labeled_at=at)
        version.predictions.create(conversation=home, value=other, predicted_at=at)
        if number == 99:
            gold.freeze(dataset="gold", signal=signal, aggregation="majority", now=at)
    make_weeks(version, rows_of(("chat", "x"), START, 60, 1, _rng(), labelled=False), ann)
    monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="human")
    assert flag.evidence["agreement"]["value"] < 0.6 < flag.evidence["calibrated"]["value"]


def test_numbers_are_watched_by_how_close_they_are() -> None:
    signal = make_signal("satisfaction", scale="interval", minimum=1, maximum=5)
    version, ann = make_version(signal), make_user("ann")
    for number in range(300):
        at = START + timedelta(hours=12 * number)
        home = make_conversation(started_at=at)
        truth = 1 + number % 5
        said = truth if number < 150 else 6 - truth
        make_label(home, signal, ann, str(truth), labeled_at=at)
        version.predictions.create(conversation=home, value=str(said), number=said, predicted_at=at)
        if number == 99:
            gold.freeze(dataset="gold", signal=signal, aggregation="mean", now=at)
    monitoring.evaluate(now=NOW)
    (flag,) = raised(kind="agreement")
    assert flag.evidence["calibrated"]["value"] > 0.99 > flag.evidence["agreement"]["value"]


def test_no_gold_no_monitor() -> None:
    make_version(make_signal())
    assert monitoring.evaluate(now=NOW).monitors == 0


def test_the_command_prints_one_json_document() -> None:
    make_world(drifts=True)
    out = StringIO()
    call_command("drift", "judge", format="json", stdout=out)
    (flag,) = json.loads(out.getvalue())
    assert {"id", "kind", "classifier", "version", "slice", "since", "raised_at", "evidence", "severity", "state", "guarantee"} <= set(flag)  # fmt: skip
    assert (flag["classifier"], flag["version"], flag["state"]) == ("judge", "v1", "open")


def test_an_unknown_classifier_is_a_clean_exit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        call_command("drift", "nobody")
    assert stopped.value.code == 1


def test_the_task_is_the_same_look() -> None:
    make_world(drifts=True)
    evaluate_monitors()
    assert len(raised(kind="agreement")) == 1


# The life of a flag


@pytest.fixture
def flag() -> DriftFlag:
    version, _ = make_world(weeks=0)
    return _flag(version)


def test_every_change_leaves_an_event(flag: DriftFlag) -> None:
    ada = make_engineer()
    flags.acknowledge(flag=flag, by=ada, note="looking")
    flags.acknowledge(flag=flag, by=ada)
    flags.assign(flag=flag, to=ada, by=ada)
    flags.snooze(flag=flag, until=NOW + timedelta(days=1), by=ada, now=NOW)
    flags.dismiss(flag=flags.get(flag.id), by=ada, reason="a test")
    assert [event.action for event in flag.events.all()] == ["acknowledged", "assigned", "snoozed", "dismissed"]
    assert {event.actor for event in flag.events.all()} == {ada}


def test_a_dismissal_needs_a_reason(flag: DriftFlag) -> None:
    with pytest.raises(Refused, match="why"):
        flags.dismiss(flag=flag, by=None, reason="  ")
    assert flags.get(flag.id).state == "open"


def test_a_closed_flag_stays_closed(flag: DriftFlag) -> None:
    flags.dismiss(flag=flag, by=None, reason="no")
    with pytest.raises(Conflict, match="dismissed"):
        flags.acknowledge(flag=flag, by=None)
    with pytest.raises(Conflict):
        flags.snooze(flag=flag, until=NOW + timedelta(days=1), by=None, now=NOW)


def test_annotators_cannot_be_assigned(flag: DriftFlag) -> None:
    with pytest.raises(Refused, match="cannot act"):
        flags.assign(flag=flag, to=make_user("otto"), by=None)


def test_who_may_act_on_a_flag(client: Client, flag: DriftFlag) -> None:
    address = f"/drift/{flag.id}/change/"
    assert client.post(address, {"action": "acknowledge"})["Location"].startswith("/sign-in/")
    client.force_login(make_user("otto"))
    assert client.post(address, {"action": "acknowledge"}).status_code == 403
    assert client.get("/drift/").status_code == 403
    assert flags.get(flag.id).state == "open"
    client.force_login(make_engineer())
    assert client.post(address, {"action": "acknowledge"})["Location"] == f"/drift/{flag.id}/"
    assert flags.get(flag.id).state == "acknowledged"


def test_who_may_act_over_the_api(client: Client, flag: DriftFlag) -> None:
    address = f"/api/v1/drift/{flag.id}/dismiss/"
    body: dict[str, Any] = {"data": {"reason": "known"}, "content_type": "application/json"}
    assert client.post(address, **body).status_code == 401
    assert client.post(address, **body, headers=_bearer(make_user("otto"), "label")).status_code == 403
    ada = _bearer(make_engineer(), "ingest", "read")
    refused = client.post(address, {"reason": ""}, content_type="application/json", headers=ada)
    assert refused.status_code == 422 and refused["Content-Type"] == "application/problem+json"
    assert refused.json()["errors"][0]["field"] == "reason"
    answer = client.post(address, **body, headers=ada).json()
    assert answer["state"] == "dismissed" and answer["history"][-1]["by"] == "ada"
    assert client.get("/api/v1/drift/", headers=ada).json()["results"] == []
    assert len(client.get("/api/v1/drift/?state=all", headers=ada).json()["results"]) == 1
    assert client.get("/api/v1/drift/999/", headers=ada).status_code == 404


def test_a_flag_is_snoozed_assigned_and_resolved(client: Client, flag: DriftFlag) -> None:
    ada = make_engineer()
    api: dict[str, Any] = {"content_type": "application/json", "headers": _bearer(ada, "ingest")}
    own = f"/api/v1/drift/{flag.id}/"
    assert client.post(f"{own}snooze/", {"until": "2020-01-01T00:00:00Z"}, **api).status_code == 422
    assert (
        client.post(f"{own}snooze/", {"until": "2090-01-01T00:00:00Z"}, **api).json()["snoozed_until"]
        == "2090-01-01T00:00:00Z"
    )
    assert client.post(f"{own}assign/", {"person": "ada"}, **api).json()["assigned_to"] == "ada"
    assert client.post(f"{own}assign/", {"person": "nobody"}, **api).status_code == 404
    client.force_login(ada)
    change = f"/drift/{flag.id}/change/"
    assert client.post(change, {"action": "snooze", "until": "soon"}).status_code == 422
    client.post(change, {"action": "snooze", "until": "2091-05-01"})
    assert str(flags.get(flag.id).snoozed_until).startswith("2091-05-01")
    assert client.post(f"{own}resolve/", {"note": " "}, **api).status_code == 422
    assert client.post(f"{own}resolve/", {"note": "rolled back"}, **api).json()["state"] == "resolved"


def test_the_api_looks_now(client: Client) -> None:
    make_world(drifts=True)
    headers = _bearer(make_engineer(), "ingest", "read")
    done = client.post("/api/v1/drift/evaluate/", {}, content_type="application/json", headers=headers).json()
    assert done["monitors"] == 1 and "agreement" in [flag["kind"] for flag in done["raised"]]


def test_the_inbox_says_what_costs(client: Client) -> None:
    make_world(drifts=True)
    monitoring.evaluate(now=NOW)
    client.force_login(make_engineer())
    page = client.get("/drift/").content.decode()
    assert "on voice, trial is reported" in page and "points too high" in page
    assert 'class="evidence"' in page and "alarm" in page
    (flag,) = raised(kind="agreement")
    assert "most likely since" in client.get(f"/drift/{flag.id}/").content.decode()
    row = client.post(f"/drift/{flag.id}/change/", {"action": "acknowledge"}, headers={"HX-Request": "true"})
    assert f'id="flag-{flag.id}"' in row.content.decode() and "<html" not in row.content.decode()


def test_an_empty_inbox_says_what_comes_next(client: Client) -> None:
    client.force_login(make_engineer())
    assert "Nothing is watched yet" in client.get("/drift/").content.decode()


def test_reading_the_inbox_writes_nothing(client: Client) -> None:
    make_world(drifts=True)
    client.force_login(make_engineer())
    client.get("/drift/")
    assert not DriftFlag.objects.exists() and not Monitor.objects.exists()


def _rng(seed: int = 3) -> Any:
    import random

    return random.Random(seed)


def _flag(version: ClassifierVersion) -> DriftFlag:
    return DriftFlag.objects.create(
        kind="agreement", version=version, slice={"channel": "voice"}, slice_key='{"channel":"voice"}',
        raised_at=datetime(2026, 4, 1, tzinfo=UTC), guarantee="none",
    )  # fmt: skip


def _bearer(user: Any, *scopes: str) -> dict[str, str]:
    _, secret = tokens.make(user=user, name="test", scopes=list(scopes))
    return {"Authorization": f"Bearer {secret}"}
