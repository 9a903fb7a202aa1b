"""Journeys: order across channels, who said what, the measures, who may see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from calibration import journeys
from calibration.models import Outcome, Prediction
from labeling.errors import NotFound
from labeling.models import Conversation, Signal
from tests.make import (
    make_conversation,
    make_gold,
    make_label,
    make_queue,
    make_said,
    make_signal,
    make_user,
    make_version,
)

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
RESOLUTIONS = ("unresolved", "partly", "resolved")


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def contact(day: int, channel: str, **kw: Any) -> Conversation:
    return make_conversation(customer="cu/9", channel=channel, started_at=START + timedelta(days=day), **kw)


def judged(*values: str | None, channels: str = "chat voice email chat") -> tuple[Signal, list[Conversation]]:
    """Contacts through these channels, a person saying whether each resolved the matter."""
    signal, ann = make_signal("resolution", values=RESOLUTIONS), make_user()
    made = [contact(day, channel) for day, channel in zip(range(len(values)), channels.split(), strict=False)]
    for conversation, value in zip(made, values, strict=True):
        if value:
            make_label(conversation, signal, ann, value)
    return signal, made


def test_it_works() -> None:
    _, made = judged("unresolved", "partly", "resolved")
    Outcome.objects.create(key="a", conversation=made[1], kind="csat", value=2, at=START + timedelta(days=1, hours=3))
    Outcome.objects.create(key="b", customer="cu/9", kind="escalation", value=1, at=START - timedelta(days=1))
    told = journeys.read(customer="cu/9", reader=make_user(role="reviewer"))
    assert [getattr(step, "external_id", step.__class__.__name__) for step in told.steps] == [
        "Event", made[0].external_id, made[1].external_id, "Event", made[2].external_id,
    ]  # fmt: skip
    assert (told.switches, [one.contacts for one in told.episodes]) == (2, [3])
    assert told.sentence == "Resolved at contact 3 of 3 with 2 changes of channel."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("unresolved", "partly"), "Not resolved after 2 contacts with 1 change of channel."),
        (("resolved", "unresolved"), "Resolved at contact 1 with 1 change of channel; open since, 1 contact later."),
        (
            ("resolved", "partly", "resolved"),
            "Resolved twice, after 1.5 contacts each on average with 2 changes of channel.",
        ),
        ((None, None), "nobody has judged whether the matter was resolved."),
    ],
)
def test_the_sentence_says_what_the_way_was(values: tuple[str | None, ...], words: str) -> None:
    judged(*values)
    assert words in journeys.read(customer="cu/9", reader=make_user(role="reviewer")).sentence


def test_effort_is_the_score_of_its_category() -> None:
    signal, ann = make_signal("effort", values=("low", "medium", "high")), make_user()
    made = [contact(day, "chat") for day in range(3)]
    make_label(made[0], signal, ann, "low")
    make_label(made[2], signal, ann, "high")
    told = journeys.read(customer="cu/9", reader=make_user(role="reviewer"))
    assert (told.efforts, told.mean_effort) == ([(1, -1.0), (3, 1.0)], 0.0)


def test_people_come_before_models_and_proven_versions_before_others() -> None:
    signal = make_signal("resolution", values=RESOLUTIONS)
    good, bad = make_version(signal, "1", classifier="good"), make_version(signal, "1", classifier="bad")
    wrong = dict(zip(RESOLUTIONS, RESOLUTIONS[1:] + RESOLUTIONS[:1], strict=True))
    rows = [{"gold": RESOLUTIONS[i % 3], "channel": "chat"} for i in range(90)]
    make_gold(signal, [row | {"said": {good: row["gold"], bad: wrong[row["gold"]]}} for row in rows])
    first, second = contact(0, "chat"), contact(1, "chat")
    for one in (first, second):
        Prediction.objects.bulk_create([make_said(bad, one, "unresolved"), make_said(good, one, "resolved")])
    make_label(second, signal, make_user(), "partly")
    told = journeys.read(customer="cu/9", reader=make_user(role="reviewer"))
    [by_model], [by_people] = (contact.readings for contact in told.contacts)
    assert (by_model.value, by_model.by, by_model.verdict) == ("resolved", "good@1", "trusted")
    assert (by_people.value, by_people.by, by_people.of_people) == ("partly", "1 of 1 people", True)


def test_an_open_question_stays_hidden_from_who_may_be_asked() -> None:
    signal, made = judged("resolved", "resolved")
    reader = make_user(role="reviewer")
    make_queue(signals=[signal], members=[reader], conversations=[made[0]])
    told = journeys.read(customer="cu/9", reader=reader)
    assert [one.hidden for contact in told.contacts for one in contact.readings] == [True, False]
    assert [contact.resolved for contact in told.contacts] == [None, True]
    page = Client()
    page.force_login(reader)
    assert "hidden until you have labelled it" in page.get(reverse("journey", args=["cu/9"])).content.decode()


def test_the_page_takes_the_same_queries_for_many_contacts(client: Client) -> None:
    client.force_login(make_user(role="reviewer"))
    signal, made = judged("resolved", "unresolved")
    version = make_version(signal)
    make_gold(signal, [{"gold": "resolved", "said": {version: "resolved"}}])
    counts = []
    for more in (0, 40):
        made += [contact(10 + number, "chat") for number in range(more)]
        Prediction.objects.filter(conversation__in=made).delete()
        Prediction.objects.bulk_create([make_said(version, one, "partly") for one in made])
        with CaptureQueriesContext(connection) as queries:
            assert client.get(reverse("journey", args=["cu/9"])).status_code == 200
        counts.append(len(queries))
    assert counts[1] <= counts[0] < 35
    assert not any(one["sql"].startswith(("INSERT", "UPDATE", "DELETE")) for one in queries.captured_queries)


def test_who_may_see_a_journey(client: Client) -> None:
    _, made = judged("resolved")
    address = reverse("journey", args=["cu/9"])
    assert client.get(address).status_code == 302
    client.force_login(make_user(role="annotator"))
    assert client.get(address).status_code == 403
    client.force_login(make_user(role="reviewer"))
    assert made[0].external_id in client.get(address).content.decode()
    assert client.get(reverse("journey", args=["nobody"])).status_code == 404
    with pytest.raises(NotFound):
        journeys.read(customer="", reader=make_user(role="reviewer"))


def test_the_conversation_page_leads_to_the_journey(client: Client) -> None:
    _, made = judged("resolved", "resolved")
    client.force_login(make_user(role="reviewer"))
    assert reverse("journey", args=["cu/9"]) in client.get(f"/conversations/{made[0].external_id}/").content.decode()
