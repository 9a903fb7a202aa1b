"""Outcomes: figures against hand counts, the bound of silence, the proxy beside and never within them, permissions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from calibration import outcome_reports
from calibration.models import Outcome, Prediction
from labeling.models import Conversation
from tests.make import make_conversation, make_said, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
STARS = ("1", "2", "3", "4", "5")


def answered(kind: str, value: float | None, **kw: Any) -> Conversation:
    """A conversation, with an answer unless `value` is None."""
    made = make_conversation(**({"started_at": START} | kw))
    if value is not None:
        Outcome.objects.create(key=made.external_id, conversation=made, kind=kind, value=value)
    return made


def rows(**kw: Any) -> dict[tuple[str, ...], outcome_reports.Row]:
    return {tuple(row.slice.values()): row for row in outcome_reports.read(**kw).rows}


def test_it_works() -> None:
    for value in (5, 4, 3, 1, None, None, None, None):
        answered("csat", value)
    [whole] = rows().values()
    assert (whole.csat.score.value, whole.csat.answered, whole.csat.response_rate) == (0.5, 4, 0.5)
    assert whole.silence is not None and (whole.silence.low, whole.silence.high) == (0.25, 0.75)
    assert outcome_reports.read().sentence == (
        "50 % of the 50 % who answered were satisfied; the silent could put the truth anywhere from 25 % to 75 %."
    )


def test_each_channel_and_cohort_counts_its_own() -> None:
    for channel, cohort, value in [
        ("chat", "trial", 5),
        ("chat", "smb", 1),
        ("voice", "trial", 4),
        ("voice", "smb", None),
    ]:
        answered("csat", value, channel=channel, cohort=cohort)
    found = rows()
    assert list(found) == [
        (), ("chat",), ("chat", "smb"), ("chat", "trial"), ("voice",), ("voice", "smb"), ("voice", "trial"), ("smb",),
        ("trial",),
    ]  # fmt: skip
    assert [row.csat.score.value for row in found.values()] == [2 / 3, 0.5, 0.0, 1.0, 1.0, None, 1.0, 0.0, 1.0]
    assert [row.conversations for row in found.values()] == [4, 2, 1, 1, 2, 1, 1, 2, 2]


def test_the_lowest_slice_stands_beside_the_headline() -> None:
    for number in range(64):
        answered("csat", 5 if number % 2 else 1, channel=("chat", "voice")[number % 2])
    answered("csat", 1, channel="email")
    lowest = outcome_reports.read().lowest
    assert lowest is not None and lowest.slice == {"channel": "chat"}


def test_nps_and_effort_have_their_own_scales() -> None:
    for value in (10, 9, 8, 3):
        answered("nps", value)
    for value in (1, 4, 7):
        answered("ces", value)
    answered("csat", 11)
    report = outcome_reports.read()
    assert (report.whole.nps.score.value, report.whole.ces.score.value) == (25.0, 4.0)
    assert (report.whole.nps.response_rate, report.left_out, report.whole.csat.answered) == (0.5, 1, 0)
    assert report.sentence == "No CSAT answer yet; there are answers to NPS and CES."


def test_events_are_counted_unless_they_did_not_happen() -> None:
    for value in (1, 1, 0, None):
        answered("escalation", value)
    answered("reopened", 1)
    whole = outcome_reports.read().whole
    assert (whole.events, whole.escalated.value, whole.reopened.value) == ({"escalation": 2, "reopened": 1}, 0.4, 0.2)


def test_an_answer_without_a_conversation_has_no_channel_and_no_response_rate() -> None:
    Outcome.objects.create(key="x", customer="cu-1", kind="csat", value=5, at=START)
    report = outcome_reports.read()
    assert (report.whole.csat.answered, report.whole.csat.response_rate, report.whole.silence) == (1, None, None)
    assert report.sentence == "100 % of those who answered were satisfied."


def test_a_period_takes_conversations_by_their_start() -> None:
    answered("csat", 5)
    answered("csat", 1, started_at=START + timedelta(days=9))
    whole = outcome_reports.read(since=date(2026, 3, 2), until=date(2026, 3, 10)).whole
    assert (whole.conversations, whole.csat.score.value) == (1, 1.0)


def proxied(*pairs: tuple[str, float | None]) -> outcome_reports.Proxy:
    version = make_version(make_signal("satisfaction", values=STARS), "3", classifier="csat-proxy")
    Prediction.objects.bulk_create([make_said(version, answered("csat", value), said) for said, value in pairs])
    [proxy] = outcome_reports.read().proxies
    return proxy


def test_the_proxy_stands_beside_and_never_within() -> None:
    proxy = proxied(("1", 1), ("2", 2), ("4", 4), ("5", 5), ("5", None), ("1", None))
    assert proxy.pairs == 4 and proxy.rank.value == pytest.approx(1.0)
    assert [(step.value, step.predicted, step.answered, step.mean) for step in proxy.steps] == [
        ("1", 2, 1, 1), ("2", 1, 1, 2), ("4", 1, 1, 4), ("5", 2, 1, 5),
    ]  # fmt: skip
    assert outcome_reports.read().whole.csat.answered == 4


def test_reweighting_repairs_what_the_proxy_knows() -> None:
    angry = [("1", 1.0)] * 40 + [("1", None)] * 10
    calm = [("5", 5.0)] * 10 + [("5", None)] * 40
    proxy = proxied(*angry, *calm)
    assert proxy.bias is not None
    assert proxy.bias.among_responders.value == pytest.approx(0.2)
    assert proxy.bias.reweighted.value == pytest.approx(0.5)


def test_who_may_see_the_report(client: Client) -> None:
    answered("csat", 5)
    assert client.get("/outcomes/").status_code == 302
    client.force_login(make_user(role="reviewer"))
    assert client.get("/outcomes/").status_code == 403
    client.force_login(make_user(role="engineer"))
    assert "among responders" in client.get("/outcomes/").content.decode()
    assert client.get("/outcomes/?since=tomorrow").status_code == 400
    assert client.get("/outcomes/?since=2026-03-02&until=2026-03-01").status_code == 400


def test_an_empty_house_says_what_to_do(client: Client) -> None:
    client.force_login(make_user(role="engineer"))
    page = client.get("/outcomes/").content.decode()
    assert "No outcome is known yet." in page and "load outcomes FILE" in page


def test_the_page_reads_counts_and_writes_nothing(client: Client) -> None:
    client.force_login(make_user(role="engineer"))
    for number in range(30):
        answered("csat", 1 + number % 5, channel=("chat", "voice")[number % 2], cohort=f"k{number % 3}")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/outcomes/").status_code == 200
    assert len(queries) < 10
    assert not any(one["sql"].startswith(("INSERT", "UPDATE", "DELETE")) for one in queries.captured_queries)
