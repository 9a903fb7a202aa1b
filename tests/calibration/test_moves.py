"""Trends and attribution: parts that sum, customers told from classifier, series that break at a version."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from calibration.errors import EvidenceRefused
from calibration.evidence import charts
from calibration.models import ClassifierVersion, DriftFlag, Outcome
from calibration.moves import attribution, move_words, periods, trends
from calibration.rollups import Changes
from labeling import tokens
from labeling.errors import Refused
from labeling.models import Conversation, Label, Signal
from tests.calibration.worlds import PLACES, START, rows_of
from tests.make import make_said, make_signal, make_user, make_version, make_weeks

pytestmark = pytest.mark.django_db
JANUARY = periods.read("2026-01-05..2026-01-31", field="from")
MARCH = periods.read("2026-03-02..2026-03-28", field="to")


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def two_months(*, shares: Any = (0.3, 0.3, 0.4), accuracy: float = 0.9, to_negative: bool = False) -> Signal:
    """January at 30 % negative and 90 % right; March with other shares, or another accuracy."""
    signal, ann = make_signal(), make_user("ann")
    version, rng = make_version(signal), random.Random(4)
    for at, own, right, wrongly in (
        (START, (0.3, 0.3, 0.4), 0.9, False),
        (START + timedelta(weeks=8), shares, accuracy, to_negative),
    ):
        rows = [
            row
            for place in PLACES
            for week in range(3)
            for row in rows_of(place, at + timedelta(weeks=week), 90, right, rng, to_negative=wrongly, shares=own)
        ]
        make_weeks(version, rows, ann)
    return signal


def asked(signal: Signal, **kw: Any) -> dict[str, Any]:
    return attribution.attribute(signal=signal, before=JANUARY, after=MARCH, **kw)


def total(parts: dict[str, Any]) -> float:
    return sum(part["value"] for part in parts.values() if part["value"] is not None)


def test_it_works() -> None:
    found = asked(two_months(shares=(0.55, 0.2, 0.25)))
    assert found["verdict"] == "customers" and found["leading"] == ["customers"]
    assert total(found["parts"]) == pytest.approx(found["observed"]["value"], abs=1e-9)
    assert found["measure"] == "share of negative" and "customers" in found["sentence"].lower()
    assert found["true_change"]["low"] < 0.25 < found["true_change"]["high"]
    assert {"signal", "classifier", "measure", "from", "to", "observed", "true_change", "parts", "verdict", "leading", "sentence", "labels_needed", "slices"} <= set(found)  # fmt: skip
    assert (found["from"]["versions"], found["from"]["n"], found["from"]["labels"]) == (["v1"], 1080, 1080)


def test_a_classifier_that_errs_more_is_blamed_and_the_customers_are_not() -> None:
    found = asked(two_months(accuracy=0.6, to_negative=True))
    assert found["verdict"] == "classifier" and found["leading"] == ["silent_drift"]
    assert found["parts"]["silent_drift"]["low"] > 0.1
    assert abs(found["parts"]["customers"]["value"]) < 0.06
    assert total(found["parts"]) == pytest.approx(found["observed"]["value"], abs=1e-9)


def test_the_slices_add_up_too() -> None:
    found = asked(two_months(shares=(0.5, 0.2, 0.3)))
    for name, part in found["parts"].items():
        if part["value"] is not None:
            assert sum(row["parts"][name]["value"] for row in found["slices"]) == pytest.approx(part["value"], abs=1e-9)


def upgraded(one_in: int) -> tuple[Signal, int, float]:
    """v2 takes over in March and turns every other neutral to negative; v1 scored one in so many of March too.

    With the number of conversations that both scored, and how much v2 moves the share over all of March.
    """
    signal = two_months()
    old = signal.classifiers.get().versions.get()
    new = make_version(signal, "v2")
    homes = Conversation.objects.filter(started_at__date__gte=MARCH.first)
    predictions, turned = [], 0
    for number, home in enumerate(homes):
        before = old.predictions.get(conversation=home).value
        turns = before == "neutral" and number % 2 == 1
        predictions.append(make_said(new, home, "negative" if turns else before))
        turned += turns
    new.predictions.bulk_create(predictions)
    bridge = [home.id for number, home in enumerate(homes) if number % one_in == 0]
    old.predictions.filter(conversation__in=homes).exclude(conversation__in=bridge).delete()
    _recount(old)
    _recount(new)
    return signal, len(bridge), turned / len(homes)


def test_an_upgrade_is_measured_on_the_bridge() -> None:
    signal, bridged, _ = upgraded(3)
    found = asked(signal)
    assert (found["from"]["versions"], found["to"]["versions"]) == (["v1"], ["v2", "v1"])
    assert found["bridge"] == bridged
    assert found["parts"]["upgrade"]["value"] > 0.08 and found["leading"] == ["upgrade"]
    assert abs(found["parts"]["silent_drift"]["value"]) < 0.06
    assert total(found["parts"]) == pytest.approx(found["observed"]["value"], abs=1e-9)


def test_asking_twice_gives_the_same_answer() -> None:
    signal = two_months()
    assert asked(signal) == asked(signal)


def test_what_cannot_be_known_says_why() -> None:
    signal = two_months()
    found = attribution.attribute(signal=signal, before=JANUARY, after=MARCH)
    assert found["parts"]["transcription"] == {"value": None, "reason": "no_transcript_quality"}
    with pytest.raises(EvidenceRefused, match="scored nothing in May 2025"):
        attribution.attribute(signal=signal, before=periods.read("2025-05-01..2025-05-31", field="from"), after=MARCH)


def test_questions_without_sense_are_refused() -> None:
    signal = two_months()
    with pytest.raises(Refused, match="not one of negative"):
        asked(signal, value="angry")
    with pytest.raises(Refused, match="counted by channel and cohort"):
        asked(signal, by=["language"])
    with pytest.raises(EvidenceRefused, match="do not differ"):
        attribution.measure_of(make_signal("number", scale="interval"), "")
    for text in ("2026-02-30..2026-03-01", "yesterday", "2026-03-02..2026-03-01"):
        with pytest.raises(Refused):
            periods.read(text, field="from")


def test_periods_that_overlap_are_refused() -> None:
    """A conversation of both periods would count as a customer before and after."""
    signal = two_months()
    for first, last in (("2026-01-31", "2026-03-20"), ("2026-01-05", "2026-01-31"), ("2026-01-10", "2026-01-12")):
        after = periods.read(f"{first}..{last}", field="to")
        with pytest.raises(EvidenceRefused, match="overlap"):
            attribution.attribute(signal=signal, before=JANUARY, after=after)
        with pytest.raises(EvidenceRefused, match="overlap"):
            attribution.attribute(signal=signal, before=after, after=JANUARY, chosen_versions=("v1", "v1"))


def test_a_mean_score_is_told_apart_as_well() -> None:
    found = asked(two_months(shares=(0.6, 0.2, 0.2)), value="mean")
    assert found["measure"] == "mean score" and found["observed"]["value"] < -0.3
    assert total(found["parts"]) == pytest.approx(found["observed"]["value"], abs=1e-9)


def test_a_mean_of_numbers_is_told_apart() -> None:
    signal, ann = make_signal("satisfaction", scale="interval", minimum=1, maximum=5), make_user("ann")
    version, rng = make_version(signal), random.Random(2)
    for at, level in ((START, 4), (START + timedelta(weeks=8), 2)):
        truths = [min(max(level + rng.choice((-1, 0, 0, 1)), 1), 5) for _ in range(900)]
        said = [truth if rng.random() < 0.8 else rng.randint(1, 5) for truth in truths]
        rows = [
            (at + timedelta(minutes=20 * n), *PLACES[n % 4], str(truth), str(answer))
            for n, (truth, answer) in enumerate(zip(truths, said, strict=True))
        ]
        make_weeks(version, rows, ann)
    found = asked(signal)
    assert found["measure"] == "mean" and found["leading"] == ["customers"]
    assert found["observed"]["value"] < -1 and found["true_change"]["low"] < -2 < found["true_change"]["high"]
    assert total(found["parts"]) == pytest.approx(found["observed"]["value"], abs=1e-9)


def test_marks_are_averaged_and_words_are_counted_when_nobody_says() -> None:
    marks = make_signal("effort", values=("1", "2", "3", "4", "5"))
    assert attribution.measure_of(marks, "").value == "mean"
    assert attribution.measure_of(make_signal("tone"), "").value == "negative"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    two_months()
    out = StringIO()
    call_command("attribute", "sentiment", before=str(JANUARY), after=str(MARCH), format="json", stdout=out)
    assert json.loads(out.getvalue())["classifier"] == "judge"
    with pytest.raises(SystemExit):
        call_command("attribute", "sentiment", before="x", after=str(MARCH))
    assert "from:" in capsys.readouterr().err


def test_over_the_api(client: Client) -> None:
    two_months()
    address = f"/api/v1/attribution/?signal=sentiment&from={JANUARY}&to={MARCH}"
    assert client.get(address).status_code == 401
    for role, scope, status in (("annotator", "label", 403), ("reviewer", "read", 200)):
        _, secret = tokens.make(user=make_user(role=role), name="x", scopes=[scope])
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get(address, headers=headers).status_code == status
    assert client.get("/api/v1/attribution/?signal=sentiment", headers=headers).status_code == 400
    wrong = client.get("/api/v1/attribution/?signal=sentiment&from=x&to=y", headers=headers)
    assert wrong.status_code == 400 and wrong.json()["errors"][0]["field"] == "from"
    found = client.get("/api/v1/trends/?signal=sentiment&by=channel&period=week", headers=headers).json()
    assert [series["slice"] for series in found["series"]] == [{}, {"channel": "chat"}, {"channel": "voice"}]
    assert client.get("/api/v1/trends/?signal=nothing", headers=headers).status_code == 404


# Trends


def test_a_trend_is_corrected_by_labels() -> None:
    signal = two_months(accuracy=0.6, to_negative=True)
    points = trends.read(signal=signal)["series"][0]["points"]
    late = points[-2]
    assert late["raw"] > 0.45 and late["corrected"]["low"] < 0.3 < late["corrected"]["high"]
    assert (late["labels"], late["n"], late["version"]) == (360, 360, "v1")


def test_a_series_breaks_where_another_version_takes_over() -> None:
    signal, ann = make_signal(), make_user("ann")
    for name, first in (("v1", START), ("v2", START + timedelta(days=10))):
        rows = [
            row
            for day in range(10)
            for row in rows_of(PLACES[0], first + timedelta(days=day), 12, 0.9, random.Random(day))
        ]
        make_weeks(
            make_version(signal, name), [(first + timedelta(days=i // 12), *row[1:]) for i, row in enumerate(rows)], ann
        )
    found = trends.read(signal=signal)
    assert found["versions"] == [{"since": "2026-01-05", "version": "v1"}, {"since": "2026-01-15", "version": "v2"}]
    week = [point for point in found["series"][0]["points"] if point["start"] == "2026-01-12"]
    assert [(point["version"], point["n"]) for point in week] == [("v1", 36), ("v2", 48)]


def test_few_labels_are_no_correction() -> None:
    signal, ann = make_signal(), make_user("ann")
    rows = rows_of(PLACES[0], START, 30, 0.9, random.Random(1))
    make_weeks(make_version(signal), rows, ann)
    (point,) = trends.read(signal=signal, period="month")["series"][0]["points"]
    assert point["corrected"] == {"value": None, "reason": "too_few_items"} and point["raw"] is not None


def test_a_point_borrows_the_labels_of_no_more_weeks_than_it_needs() -> None:
    """The version errs from the fourth week on; what it was taught of before would hide that."""
    signal, ann, rng = make_signal(), make_user("ann"), random.Random(3)
    version = make_version(signal)
    for week in range(7):
        at, right = START + timedelta(weeks=week), 0.95 if week < 3 else 0.5
        labelled = rows_of(PLACES[0], at, 40, right, rng, to_negative=week >= 3, shares=(0.3, 0.3, 0.4))
        make_weeks(version, labelled, ann)
    points = trends.read(signal=signal)["series"][0]["points"]
    assert points[0]["corrected"]["value"] is None and points[1]["labels_used"] == 80
    for point, start in zip(points[1:], points, strict=False):
        assert (point["labels"], point["labels_used"], point["labels_since"]) == (40, 80, start["start"])
    last = points[-1]
    assert last["raw"] >= 0.5 and last["corrected"]["low"] < 0.3 < last["corrected"]["high"]


def test_a_correction_of_the_past_is_not_said_to_be_how_things_stand() -> None:
    signal, ann = make_signal("satisfaction", title="CSAT proxy"), make_user("ann")
    version, rng = make_version(signal), random.Random(3)
    make_weeks(version, rows_of(PLACES[0], START, 80, 0.9, rng), ann)
    fresh = trends.read(signal=signal)
    assert move_words.trend(fresh, title=signal.title, share=True).startswith("“negative” stands at ")
    for week in range(9, 12):
        make_weeks(version, rows_of(PLACES[0], START + timedelta(weeks=week), 80, 0.9, rng, labelled=False), ann)
    told = move_words.trend(trends.read(signal=signal), title=signal.title, share=True)
    assert told.startswith("“negative” last stood at ") and ", in the week of 5 January; too few labels say" in told
    scores = trends.read(signal=signal) | {"value": "mean"}
    assert move_words.trend(scores, title=signal.title, share=False).startswith("The mean of CSAT proxy last stood at")


def test_failures_and_outcomes_stand_beside() -> None:
    signal = two_months()
    version = signal.classifiers.get().versions.get()
    make_weeks(version, [(START, *PLACES[0], None, None)] * 120, make_user("ben"))  # type: ignore[list-item]
    for number in range(20):
        Outcome.objects.create(key=f"{number:064x}", kind="csat", value=5 if number < 15 else 2, at=START)
    found = trends.read(signal=signal)
    assert found["series"][0]["points"][0]["failed"] == pytest.approx(120 / 480)
    assert found["outcomes"][0]["points"][0]["value"] == 0.75


def test_a_slice_has_its_own_verified_outcomes_beside_it(client: Client) -> None:
    signal = two_months()
    homes = list(Conversation.objects.filter(channel="voice").order_by("id")[:12])
    homes += Conversation.objects.filter(channel="chat").order_by("id")[:8]
    for number, home in enumerate(homes):
        value = 5 if home.channel == "chat" or number < 3 else 1
        Outcome.objects.create(key=f"{number:064x}", kind="csat", value=value, at=START, conversation=home)
    Outcome.objects.create(key="f" * 64, kind="csat", value=1, at=START)  # of no conversation: it counts for the whole
    found = trends.read(signal=signal, by=["channel"])["outcomes"]
    told = [(one["slice"], one["points"][0]["n"], round(one["points"][0]["value"], 3)) for one in found]
    assert told == [({}, 21, 0.524), ({"channel": "chat"}, 8, 1.0), ({"channel": "voice"}, 12, 0.25)]
    client.force_login(make_user(role="engineer"))
    answer = client.get("/signals/sentiment/trend/?by=channel")
    beside = [(one["slice"], [outcome["name"] for outcome in one["outcomes"]]) for one in answer.context["pictures"]]
    assert beside == [({}, ["csat"]), ({"channel": "chat"}, ["csat-1"]), ({"channel": "voice"}, ["csat-2"])]
    rows = client.get("/signals/sentiment/trend/?by=channel&figure=csat-2&export=csv").content.decode().splitlines()
    assert len(rows) == 2 and ",12," in rows[1]


def test_a_mean_of_numbers() -> None:
    signal = make_signal("satisfaction", scale="interval", minimum=1, maximum=5)
    version, ann = make_version(signal), make_user("ann")
    rows = [(START + timedelta(minutes=n), *PLACES[0], str(1 + n % 5), str(min(1 + n % 5 + 1, 5))) for n in range(200)]
    make_weeks(version, rows, ann)
    (point,) = trends.read(signal=signal)["series"][0]["points"]
    assert point["raw"] == pytest.approx(3.8)
    assert point["corrected"]["low"] < 3.0 < point["corrected"]["high"]


def test_no_point_is_drawn_before_its_version() -> None:
    """A week in which another version took over has a point of each; the newer one's begins where the version did."""
    rows = [("2026-03-23", "v1"), ("2026-03-30", "v1"), ("2026-03-30", "v2"), ("2026-04-06", "v2")]
    points = [
        {"start": start, "version": version, "raw": 0.2, "n": 9, "labels": 3, "corrected": {"value": 0.2}}
        for start, version in rows
    ]
    boundaries = [{"since": "2026-03-23", "version": "v1"}, {"since": "2026-04-01", "version": "v2"}]
    drawn = charts.trend(points, boundaries=boundaries, title="share", share=True)["data"]["values"]
    assert [(row["start"], row["version"]) for row in drawn] == [*rows[:2], ("2026-04-01", "v2"), rows[3]]


def test_trends_read_no_rows_of_predictions_but_labelled_ones() -> None:
    signal = two_months()
    with CaptureQueriesContext(connection) as few:
        trends.read(signal=signal)
    make_weeks(
        signal.classifiers.get().versions.get(),
        rows_of(PLACES[0], START, 500, 0.9, random.Random(2), labelled=False),
        make_user("ben"),
    )
    with CaptureQueriesContext(connection) as many:
        trends.read(signal=signal)
    assert len(few) == len(many) <= 15


def test_a_trend_is_kept_until_anything_behind_it_changes() -> None:
    signal = two_months()
    first = trends.read(signal=signal)
    with CaptureQueriesContext(connection) as again:
        assert trends.read(signal=signal) == first
    assert not any("inclusion_probability" in query["sql"] for query in again), "labels are not read again"
    labels = Label.objects.filter(signal=signal)
    labels.filter(id=labels.order_by("id")[0].id).update(superseded_at=START)
    fewer = trends.read(signal=signal)
    assert _labels(fewer) == _labels(first) - 1
    labels.filter(superseded_at=None, id=labels.order_by("-id")[0].id).update(superseded_at=START)
    assert _labels(trends.read(signal=signal)) == _labels(first) - 2
    Outcome.objects.create(key="0" * 64, kind="csat", value=5, at=START)
    assert trends.read(signal=signal)["outcomes"] and not fewer["outcomes"]
    assert trends.read(signal=signal, period="month")["period"] == "month"
    make_weeks(signal.classifiers.get().versions.get(), [(START, *PLACES[0], None, "neutral")], make_user("ben"))
    assert _points(trends.read(signal=signal), "n") == _points(first, "n") + 1


def _labels(document: dict[str, Any]) -> int:
    return _points(document, "labels")


def _points(document: dict[str, Any], name: str) -> int:
    return sum(int(point[name]) for point in document["series"][0]["points"])


def test_a_mean_is_offered_only_where_there_is_one(client: Client) -> None:
    signal = two_months()
    client.force_login(make_user("eve", role="engineer"))
    pages = ("/signals/sentiment/trend/", f"/signals/sentiment/moved/?from={JANUARY}&to={MARCH}")
    signal.categories.update(score=1)
    assert all("mean score" in client.get(page).text for page in pages)
    signal.categories.filter(value="neutral").update(score=None)
    cache.clear()
    assert not any("mean score" in client.get(page).text for page in pages)


def test_pages(client: Client) -> None:
    two_months(shares=(0.55, 0.2, 0.25))
    assert client.get("/trends/")["Location"].startswith("/sign-in/")
    client.force_login(make_user("otto"))
    assert client.get("/signals/sentiment/trend/").status_code == 403
    client.force_login(make_user(role="engineer"))
    assert client.get("/trends/")["Location"] == "/signals/sentiment/trend/"
    page = client.get("/signals/sentiment/trend/?by=channel&period=month").content.decode()
    assert "<svg" in page and "January" not in page.split("<svg")[0] and "As a table" in page
    moved = client.get(f"/signals/sentiment/moved/?from={JANUARY}&to={MARCH}").content.decode()
    assert "customers" in moved and "the parts add up to" in moved and moved.count('class="part"') == 4
    assert client.get("/signals/sentiment/moved/?from=x&to=y").status_code == 400
    assert client.get("/signals/nothing/trend/").status_code == 404
    empty = client.get("/signals/sentiment/moved/?from=2025-01-01..2025-01-31&to=2025-03-01..2025-03-31")
    assert "scored nothing in January 2025" in empty.content.decode()


def test_every_part_has_its_interval_in_numbers(client: Client) -> None:
    signal = two_months(accuracy=0.6, to_negative=True)
    client.force_login(make_user("eve", role="engineer"))
    answer = client.get(f"/signals/{signal.slug}/moved/?from={JANUARY}&to={MARCH}")
    part = answer.context["found"]["parts"]["silent_drift"]
    written = [f"{100 * part[name]:+.1f}".replace("-", "−") for name in ("value", "low", "high")]
    assert "<b>{}</b> <small>{} to {}</small>".format(*written) in answer.content.decode()
    row = answer.context["rows"][0]
    assert [name for name, _ in row["named"]] == [part["name"] for part in answer.context["parts"]]


def test_what_moved_leads_to_the_flag_that_tells_of_it(client: Client) -> None:
    """The version's own flag of that time where the classifier is to blame; not one of a later trouble."""
    signal = two_months(accuracy=0.5, to_negative=True)
    version = ClassifierVersion.objects.get(classifier__signal=signal)
    flag = DriftFlag.objects.create(
        kind="silent_change", version=version, since=MARCH.last + timedelta(days=3), raised_at=START, guarantee="none"
    )
    client.force_login(make_user("eve", role="engineer"))
    address = f"/signals/sentiment/moved/?from={JANUARY}&to={MARCH}"
    assert asked(signal)["verdict"] == "classifier"
    assert f">Recalibrate {version}<" not in client.get(address).content.decode()
    DriftFlag.objects.filter(id=flag.id).update(since=MARCH.first)
    assert f'href="/drift/{flag.id}/">Recalibrate {version}<' in client.get(address).content.decode()


def test_a_signal_without_predictions_says_what_comes_next(client: Client) -> None:
    make_signal()
    client.force_login(make_user(role="engineer"))
    assert "import some" in client.get("/trends/").content.decode()
    assert "No classifier has scored" in client.get("/signals/sentiment/trend/").content.decode()


def _recount(version: Any) -> None:
    """The rollup as the predictions now stand."""
    version.rollups.all().delete()
    changes = Changes()
    for one in version.predictions.select_related("conversation"):
        home = one.conversation
        changes.add(one, started_at=home.started_at, channel=home.channel, cohort=home.cohort)
    changes.write()
