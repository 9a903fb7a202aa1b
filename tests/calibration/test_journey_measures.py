"""Journeys by cohort against hand counts; the same over HTTP; who may see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from calibration import journey_measures, outcome_reports
from calibration.models import Outcome, Prediction
from labeling import tokens
from tests.calibration.test_voice import heard_world
from tests.make import make_conversation, make_label, make_said, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def world() -> None:
    """Ann needs two contacts and a third; Bob one; Cy is open after two. Ann's effort goes from 2 to 4."""
    resolution = make_signal("resolution", values=("unresolved", "partly", "resolved"))
    effort = make_signal("effort", values=("1", "2", "3", "4", "5"))
    for number, category in enumerate(effort.categories.order_by("position"), 1):
        effort.categories.filter(id=category.id).update(score=number)
    person, judge = make_user("person"), make_version(resolution, "v1", classifier="resolver")
    ways = {
        ("ann", "trial"): [("chat", "unresolved", "2"), ("voice", "resolved", "3"), ("voice", "resolved", "4")],
        ("bob", "smb"): [("chat", "resolved", "1")],
        ("cy", "smb"): [("chat", "partly", "3"), ("email", "unresolved", "3")],
    }
    for (customer, cohort), contacts in ways.items():
        for day, (channel, settled, hard) in enumerate(contacts):
            made = make_conversation(
                customer=customer, cohort=cohort, channel=channel, started_at=START + timedelta(days=day)
            )
            # The judge is wrong about Bob; people have the last word.
            if customer == "bob":
                make_label(made, resolution, person, settled)
                settled = "unresolved"
            Prediction.objects.bulk_create([make_said(judge, made, settled)])
            make_label(made, effort, person, hard)


def test_it_works(world: None) -> None:
    report = journey_measures.read()
    whole, smb, trial = report.rows
    assert (whole.customers, whole.contacts, whole.open) == (3, 6, 1)
    # Ann's two resolutions took three contacts, Bob's one took one.
    assert whole.to_resolution.value == pytest.approx(4 / 3)
    assert (trial.to_resolution.value, smb.to_resolution.value) == (1.5, 1.0)
    # Of three next contacts two came through another channel.
    assert whole.switched.value == pytest.approx(2 / 3)
    assert whole.climb.value == 1.0, "two more for Ann, none for Cy, and Bob has one contact only"
    assert report.sources == {"resolution": "resolver@v1", "effort": "people"}
    assert report.unjudged == 0


def test_the_sentence_names_the_longest_cohort_that_is_large_enough() -> None:
    resolution, person = make_signal("resolution", values=("unresolved", "resolved")), make_user()
    for number in range(60):
        cohort = ("trial", "smb")[number % 2]
        for day, settled in enumerate(("unresolved", "resolved") if cohort == "trial" else ("resolved",)):
            made = make_conversation(customer=f"cu-{number}", cohort=cohort, started_at=START + timedelta(days=day))
            make_label(made, resolution, person, settled)
    assert journey_measures.read().sentence == "A resolution takes 1.5 contacts on average, 2.0 for trial."


def test_nothing_is_said_of_nothing() -> None:
    assert journey_measures.read().sentence == "No customer has a conversation yet."
    make_conversation()
    assert journey_measures.read().sentence == "Nobody has judged yet whether a contact resolved anything."


def test_an_answer_of_a_customer_alone_counts_where_they_last_were() -> None:
    for day, channel in enumerate(("chat", "voice", "email")):
        make_conversation(customer="cu-1", channel=channel, cohort="trial", started_at=START + timedelta(days=day))
    Outcome.objects.create(key="a", customer="cu-1", kind="csat", value=5, at=START + timedelta(days=1, hours=1))
    Outcome.objects.create(key="b", customer="cu-1", kind="csat", value=4)
    Outcome.objects.create(key="c", customer="nobody", kind="csat", value=1, at=START)
    rows = {tuple(row.slice.values()): row.csat.answered for row in outcome_reports.read().rows}
    assert (rows["voice",], rows["email",], rows["chat",], rows["unknown",]) == (1, 1, 0, 1)


def test_outcomes_voice_and_journeys_over_http(world: None) -> None:
    heard_world(40)
    stars = make_signal("satisfaction", values=("1", "2", "3", "4", "5"))
    proxy = make_version(stars, "p", classifier="csat-proxy")
    for number in range(40):
        made = make_conversation(f"s-{number}", started_at=START)
        Outcome.objects.create(key=f"s{number}", conversation=made, kind="csat", value=number % 5 + 1)
        Prediction.objects.bulk_create([make_said(proxy, made, str(min(number % 5 + 2, 5)))])
    _, secret = tokens.make(user=make_user("eve", role="engineer"), name="t", scopes=["read"])
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    outcomes = client.get("/api/v1/outcomes/").json()
    assert outcomes["rows"][0]["csat"]["answered"] == 40
    gap = outcomes["proxies"][0]["bland_altman"]
    assert gap["lower"]["value"] < gap["bias"]["value"] < gap["upper"]["value"]
    assert outcomes["proxies"][0]["rank_correlation"]["low"] < 1
    assert client.get("/api/v1/outcomes/?since=soon").status_code == 400
    voice = client.get("/api/v1/voice/").json()
    assert voice["whole"]["wer"]["value"] >= 0 and voice["slices"]
    assert client.get("/api/v1/journeys/").json()["rows"][0]["customers"] >= 3
    journey = client.get("/api/v1/journeys/ann/").json()
    assert [one["channel"] for one in journey["contacts"]] == ["chat", "voice", "voice"]
    assert journey["touchpoints_to_resolution"] == [
        {"contacts": 2, "resolved": True},
        {"contacts": 1, "resolved": True},
    ]
    assert client.get("/api/v1/journeys/stranger/").status_code == 404


@pytest.mark.parametrize("address", ["outcomes/", "voice/", "journeys/", "journeys/ann/"])
def test_reports_are_for_those_who_may_read(address: str) -> None:
    assert Client().get(f"/api/v1/{address}").status_code == 401
    _, secret = tokens.make(user=make_user(role="annotator"), name="t", scopes=["label"])
    assert Client(headers={"Authorization": f"Bearer {secret}"}).get(f"/api/v1/{address}").status_code == 403


def test_the_page_is_for_reviewers(client: Client, world: None) -> None:
    client.force_login(make_user("a"))
    assert client.get("/journeys/").status_code == 403
    client.force_login(make_user("r", role="reviewer"))
    page = client.get("/journeys/").content.decode()
    assert "1.33" in page and 'href="/journeys/ann/"' in page
