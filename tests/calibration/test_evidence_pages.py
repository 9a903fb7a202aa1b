"""Pages and API of evidence: who may see them, what they say, and that reading writes nothing."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calibration.models import AgreementReport, ClassifierVersion, DriftFlag, Outcome, PairTable, Prediction
from labeling import tokens
from labeling.models import Conversation, DatasetVersion, Ruling, Signal, User
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

VALUES = ("negative", "neutral", "positive")


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def world(n: int = 160) -> tuple[DatasetVersion, ClassifierVersion]:
    """Chat well, voice badly judged, for two cohorts; a second version beside."""
    rng, signal = random.Random(7), make_signal()
    old, version = make_version(signal, "old"), make_version(signal, "new")
    rows: list[dict[str, Any]] = []
    for i in range(n):
        gold, channel = VALUES[i % 3], ("chat", "voice")[i % 2]
        said = gold if rng.random() < (0.97 if channel == "chat" else 0.15) else rng.choice(VALUES)
        rows.append(
            {
                "gold": gold,
                "votes": {gold: 2},
                "channel": channel,
                "cohort": ("trial", "smb")[i % 4 // 2],
                "attributes": {"lang": "de" if i % 5 else "en"},
                "said": {version: said, old: rng.choice(VALUES)},
                "started_at": timezone.now() - timezone.timedelta(days=i % 40),
            }
        )
    return make_gold(signal, rows), version


def signed_in(role: str, name: str | None = None) -> Client:
    client = Client()
    client.force_login(make_user(name, role=role))
    return client


PAGES = [
    "/",
    "/classifiers/",
    "/classifiers/judge/",
    "/classifiers/judge/?by=lang&version=old",
    "/classifiers/judge/history/",
    "/classifiers/judge/items/?version=new&channel=voice",
    "/classifiers/judge/compare/",
]


@pytest.mark.parametrize("address", PAGES)
def test_pages_are_for_engineers(address: str) -> None:
    world(40)
    assert signed_in("engineer").get(address).status_code == 200
    answer = signed_in("reviewer").get(address)
    assert answer.status_code == 403 or (address == "/" and answer.url == "/label/")
    assert Client().get(address).url.startswith("/sign-in/")


@pytest.mark.parametrize("address", ["/conversations/", "/conversations/c-page/"])
def test_conversations_are_for_reviewers(address: str) -> None:
    make_conversation("c-page")
    assert signed_in("reviewer").get(address).status_code == 200
    assert signed_in("annotator").get(address).status_code == 403
    assert Client().get(address).status_code == 302


@pytest.mark.parametrize("address", [*PAGES, "/api/v1/agreement/?dataset=gold&classifier=judge"])
def test_reading_writes_nothing(address: str) -> None:
    world(40)
    client = signed_in("engineer")
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    written = [q["sql"] for q in queries if q["sql"].split()[0] in ("INSERT", "UPDATE", "DELETE")]
    assert written == [] and not PairTable.objects.exists()


def test_the_report_answers_first_and_cites() -> None:
    dataset_version, _ = world()
    page = signed_in("engineer").get("/classifiers/judge/").content.decode()
    assert "Trusted on chat" in page and '<span class="bad">untrusted on voice</span>' in page
    assert str(dataset_version) in page and dataset_version.sha256 in page
    assert "the bar is 0.60" in page, "the glyph has its text"
    assert page.count("<h1") == 1


def test_the_weakest_slice_of_the_version_stands_beside_the_headline() -> None:
    world()
    client = signed_in("engineer")
    answer = client.get("/classifiers/judge/?by=channel")
    rows = [row for row in answer.context["document"]["rows"] if row["version"] == "new" and row["slice"]]
    least = min(rows, key=lambda row: row["kappa"]["value"])
    assert least["slice"] == {"channel": "voice"} == answer.context["worst"]["slice"]
    told = f"</a> {least['kappa']['value']:.2f} ({least['kappa']['low']:.2f}–{least['kappa']['high']:.2f}), untrusted"
    headline = answer.content.decode().partition("</h1>")[2].partition("</p>")[0].replace("−", "-")
    assert "weakest slice" in headline and told.replace(" to ", "–") in headline.replace(" to ", "–")
    assert "channel=voice" in headline
    # `old` answers at random everywhere: it is worse, and not what the headline is about.
    exported = json.loads(client.get("/classifiers/judge/?by=channel&export=json").content)
    assert exported["worst"]["version"] == "new"
    older = json.loads(client.get("/classifiers/judge/?by=channel&version=old&export=json").content)
    assert older["worst"]["version"] == "old"


def test_the_report_says_what_has_drifted_since() -> None:
    _, version = world(40)
    client = signed_in("engineer")
    assert "drift flag" not in client.get("/classifiers/judge/").content.decode()
    found = DriftFlag.objects.create(
        kind="silent_change",
        version=version,
        raised_at=timezone.now(),
        guarantee="",
        evidence={"flips": {"value": 0.15}, "calibrated": {"value": 0.01}},
    )
    page = client.get("/classifiers/judge/").content.decode()
    assert "A drift flag is open on new" in page and f'href="/drift/{found.id}/"' in page
    assert "15 % of canaries are answered differently, beyond its own noise of 1 %" in page
    assert "drift flag" not in client.get("/classifiers/judge/?version=old").content.decode()
    found.state = "dismissed"
    found.save()
    assert "drift flag" not in client.get("/classifiers/judge/").content.decode()


def test_the_mean_of_a_number_is_wrong_by_so_much_not_by_points() -> None:
    signal = make_signal("effort", scale="interval", minimum=1, maximum=5)
    severity = {"bias": -0.42, "low": -0.6, "high": -0.24, "category": None, "labels": 80}
    flag = DriftFlag.objects.create(
        kind="agreement", version=make_version(signal), raised_at=timezone.now(), guarantee="", severity=severity
    )
    page = signed_in("engineer").get(f"/drift/{flag.id}/").content.decode()
    assert '<dd>−0.42 <span class="hint">−0.60 to −0.24</span></dd>' in page and "points" not in page


@pytest.mark.parametrize("address", ["/", "/classifiers/judge/", "/classifiers/", "/conversations/"])
def test_a_page_costs_as_many_queries_for_many_rows_as_for_few(address: str) -> None:
    counts = []
    for n in (24, 96):
        world(n) if n == 24 else _more(n)
        client = signed_in("engineer")
        client.get(address)
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 40


def _more(n: int) -> None:
    version = ClassifierVersion.objects.get(version="new")
    old = ClassifierVersion.objects.get(version="old")
    rows = [
        {"gold": VALUES[i % 3], "channel": ("chat", "voice")[i % 2], "cohort": "trial", "said": {version: "neutral", old: "neutral"}}
        for i in range(n)
    ]  # fmt: skip
    make_gold(version.classifier.signal, rows)


def test_an_empty_house_says_what_to_do() -> None:
    client = signed_in("engineer")
    assert "Nothing is measured yet" in client.get("/").content.decode()
    assert "appears here with its first prediction" in client.get("/classifiers/").content.decode()
    make_version(make_signal())
    assert "there is no gold" in client.get("/").content.decode()
    assert "its signal has no gold" in client.get("/classifiers/judge/").content.decode()


def test_the_overview_names_the_weakest_slice_and_open_flags() -> None:
    _, version = world()
    DriftFlag.objects.create(kind="agreement", version=version, raised_at=timezone.now(), guarantee="")
    page = signed_in("engineer").get("/").content.decode()
    assert "Sentiment fails" in page and "1 open" in page and "Look into judge@new" in page
    assert "voice, " in page
    assert 'href="/classifiers/judge/?version=new"' in page, "to the version in service, not to a newer candidate"


SCALES = [
    ("interval", {"minimum": 1, "maximum": 5}, ["1", "3", "5"]),
    ("multilabel", {}, ['["negative"]', '["neutral", "positive"]', "[]"]),
    ("nominal", {}, list(VALUES)),
    ("binary", {"values": ("no", "yes")}, ["no", "yes", "yes"]),
]


@pytest.mark.parametrize(("scale", "options", "answers"), SCALES)
def test_every_scale_has_its_pages(scale: str, options: dict[str, Any], answers: list[str]) -> None:
    signal = make_signal(scale=scale, **options)
    a, b = make_version(signal, "a"), make_version(signal, "b")
    rows = [{"gold": answers[i % 3], "said": {a: answers[i % 3], b: answers[(i + i // 5) % 3]}} for i in range(45)]
    make_gold(signal, rows)
    client = signed_in("engineer")
    for address in ("/", "/classifiers/judge/", "/classifiers/judge/?export=csv", "/classifiers/judge/?export=png"):
        assert client.get(address).status_code == 200
    items = client.get("/classifiers/judge/items/?version=b")
    assert items.status_code == 200
    assert items.context["found"].differing == sum(row["said"][a] != row["said"][b] for row in rows)
    assert "[&quot;" not in items.content.decode()
    assert "/classifiers/judge/compare/?" in client.get("/classifiers/judge/").content.decode()
    assert client.get("/classifiers/judge/compare/").status_code == 200


@pytest.mark.parametrize("kind", ["csv", "json", "png"])
def test_exports(kind: str) -> None:
    world(40)
    answer = signed_in("engineer").get(f"/classifiers/judge/?export={kind}")
    assert answer.status_code == 200 and f'.{kind}"' in answer["Content-Disposition"]
    starts = {"csv": b"dataset,sha256", "json": b"{", "png": b"\x89PNG"}
    assert answer.content.startswith(starts[kind])


@pytest.mark.parametrize("kind", ["csv", "svg", "png"])
def test_the_series_can_be_taken_away(kind: str) -> None:
    world(90)
    answer = signed_in("engineer").get(f"/classifiers/judge/history/?export={kind}")
    starts = {"csv": b"start,version", "svg": b"<svg", "png": b"\x89PNG"}
    assert answer.content.startswith(starts[kind])


def main_of(client: Client, address: str) -> str:
    """What a page says, without the frame that tells of today's flags."""
    return client.get(address).content.decode().partition("<main")[2].partition("</main>")[0]


def test_a_report_is_kept_by_post_and_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    world(80)
    client = signed_in("engineer")
    address = client.post("/classifiers/judge/keep/", {"dataset": "gold@1", "by": "channel"}).url
    kept = AgreementReport.objects.get()
    assert address == f"/reports/{kept.id}/" and client.get(address).status_code == 200
    first = client.get(f"{address}?export=json").content
    assert client.get(f"/api/v1/reports/{kept.id}/").content == first
    files = {kind: client.get(f"{address}?export={kind}").content for kind in ("csv", "svg", "png")}
    page = main_of(client, address)
    assert "By category" in page and "weakest slice" in page
    assert client.get(f"{address}?version=v9").status_code == 404
    # A year later: another bar, another version, other answers, an emptied cache.
    signal, later = Signal.objects.get(), timezone.now() + timedelta(days=365)
    Signal.objects.update(trust_at_least=0.99, title="Mood")
    make_said(make_version(signal, "newest"), make_conversation("c-later"), "negative").save()
    Prediction.objects.filter(version__version="new").update(value="neutral")
    cache.clear()
    monkeypatch.setattr(timezone, "now", lambda: later)
    client.force_login(User.objects.get(role="engineer"))
    assert client.get(f"{address}?export=json").content == first
    assert client.get(f"/api/v1/reports/{kept.id}/").content == first
    assert {kind: client.get(f"{address}?export={kind}").content for kind in files} == files
    assert main_of(client, address) == page
    assert client.get("/classifiers/judge/keep/").status_code == 405
    assert signed_in("reviewer").post("/classifiers/judge/keep/", {}).status_code == 403


def test_items_show_disagreements_first_and_only_the_slice() -> None:
    world(120)
    client = signed_in("engineer")
    answer = client.get("/classifiers/judge/items/?version=new&channel=voice")
    units = answer.context["found"].units
    agreeing = [unit.agrees for unit in units]
    assert agreeing == sorted(agreeing) and not agreeing[0]
    assert {unit.row.channel for unit in units} == {"voice"}
    assert answer.context["found"].total == 60
    seen = [unit.row.id for unit in units]
    following = client.get(f"/classifiers/judge/items/?{answer.context['found'].next_query}").context["found"]
    assert not set(seen) & {unit.row.id for unit in following.units}


def test_units_without_an_answer_are_not_said_to_agree() -> None:
    world(40)
    client, home = signed_in("engineer"), "/classifiers/judge/items/?version="
    make_version(Signal.objects.get(), "silent")
    assert "silent has answered none of 40 units" in client.get(f"{home}silent").content.decode()
    assert "without an answer" not in client.get(f"{home}old").content.decode()
    Prediction.objects.filter(version__version="new").order_by("id")[0].delete()
    answer = client.get(f"{home}new")
    assert answer.context["found"].missing == 1 and "; 1 without an answer</h1>" in answer.content.decode()


def test_a_plan_for_gold_of_one_unit_does_not_call_it_enough() -> None:
    signal = make_signal()
    version = make_version(signal)
    make_gold(signal, [{"gold": "negative", "channel": "chat", "said": {version: "negative"}}])
    page = signed_in("engineer").get("/classifiers/judge/plan/").content.decode()
    assert "No slice has labels enough to tell how many more it needs." in page and "has its ±" not in page


def test_items_of_a_cell_of_the_confusion_and_of_an_attribute() -> None:
    world(120)
    client = signed_in("engineer")
    cell = client.get("/classifiers/judge/items/?version=new&gold=negative&predicted=neutral").context["found"]
    assert cell.units and all(u.row.value == "negative" and u.prediction.value == "neutral" for u in cell.units)
    english = client.get("/classifiers/judge/items/?version=new&in.lang=en").context["found"]
    assert {unit.row.attributes["lang"] for unit in english.units} == {"en"}
    assert english.total == 24


def test_an_unknown_gold_version_or_classifier_is_404() -> None:
    world(12)
    client = signed_in("engineer")
    assert client.get("/classifiers/nobody/").status_code == 404
    assert client.get("/classifiers/judge/?dataset=gold@9").status_code == 404
    assert client.get("/classifiers/judge/?dataset=gold@x").status_code == 404
    assert client.get("/classifiers/judge/?version=v9").status_code == 404


def scored_conversation() -> tuple[Conversation, ClassifierVersion]:
    version = make_version(make_signal())
    conversation = make_conversation("c-1")
    prediction = make_said(version, conversation, "negative")
    prediction.rationale = "because of the invoice"
    prediction.save()
    return conversation, version


def test_a_conversation_tells_scores_people_and_outcomes() -> None:
    conversation, version = scored_conversation()
    reviewer = make_user("eva", role="reviewer")
    make_label(conversation, version.classifier.signal, make_user("ann"), "positive")
    Ruling.objects.create(
        conversation=conversation, signal=version.classifier.signal, reviewer=reviewer, value="neutral", reason="slip"
    )
    Outcome.objects.create(key="k", conversation=conversation, kind="csat", value=2, customer=conversation.customer)
    page = signed_in("reviewer").get("/conversations/c-1/").content.decode()
    assert "judge calls it negative; people call it neutral." in page
    assert "people: positive" in page and "ruled neutral by eva" in page and "CSAT" in page


def test_who_may_still_label_it_sees_no_answer() -> None:
    conversation, version = scored_conversation()
    signal = version.classifier.signal
    blind, colleague = make_user("blind", role="engineer"), make_user("colleague", role="engineer")
    make_label(conversation, signal, make_user("ann"), "positive")
    queue = make_queue("q", signals=[signal], items=0)
    item = queue.items.create(conversation=conversation, position=0)
    queue.memberships.create(user=blind)
    client = Client()
    client.force_login(blind)
    page = client.get("/conversations/c-1/").content.decode()
    assert "because of the invoice" not in page and "people: positive" not in page
    assert "hidden until you have labelled it" in page
    other = Client()
    other.force_login(colleague)
    assert "because of the invoice" in other.get("/conversations/c-1/").content.decode()
    make_label(conversation, signal, blind, "neutral", item=item)
    assert "because of the invoice" in client.get("/conversations/c-1/").content.decode()


def test_the_api_hides_the_same_answers() -> None:
    conversation, version = scored_conversation()
    signal = version.classifier.signal
    blind = make_user("blind", role="reviewer")
    make_label(conversation, signal, make_user("ann"), "positive")
    queue = make_queue("q", signals=[signal], items=0)
    item = queue.items.create(conversation=conversation, position=0)
    queue.memberships.create(user=blind)
    client = Client()
    client.force_login(blind)
    address = "/api/v1/conversations/c-1/?include=predictions,labels"
    assert client.get(address).json()["predictions"] == client.get(address).json()["labels"] == []
    make_label(conversation, signal, blind, "neutral", item=item)
    assert len(client.get(address).json()["predictions"]) == 1 and len(client.get(address).json()["labels"]) == 2


def test_items_hide_what_the_reader_may_still_label() -> None:
    dataset_version, version = world(12)
    reader = make_user(role="engineer")
    row = dataset_version.rows.first()
    queue = make_queue("q", signals=[version.classifier.signal], items=0)
    queue.items.create(conversation=row.conversation, position=0)
    queue.memberships.create(user=reader)
    client = Client()
    client.force_login(reader)
    found = client.get("/classifiers/judge/items/?version=new").context["found"]
    assert [unit.row.id for unit in found.units if unit.hidden] == [row.id]


def test_word_errors_stand_in_the_transcript() -> None:
    make_conversation(
        "c-asr",
        turns=[{"role": "customer", "text": "i was changed twice", "start": 61.0}],
        asr={"hypothesis": "i was changed twice", "reference": "i was charged twice", "provider": "x@1"},
    )
    page = signed_in("reviewer").get("/conversations/c-asr/").content.decode()
    assert '<span class="misheard">changed</span>' in page and "charged" in page and "01:01" in page
    assert "1 word error in 4 words" in page


def test_conversations_are_found_and_paged_by_cursor() -> None:
    for number in range(60):
        make_conversation(f"p-{number:02d}", channel="chat" if number % 2 else "voice")
    client = signed_in("reviewer")
    first = client.get("/conversations/")
    assert len(first.context["found"].conversations) == 50
    make_conversation("newer")
    second = client.get(f"/conversations/?{first.context['following']}").context["found"].conversations
    assert [one.external_id for one in second] == [f"p-{number:02d}" for number in range(9, -1, -1)]
    voices = client.get("/conversations/?channel=voice&q=p-1").context["found"].conversations
    assert {one.channel for one in voices} == {"voice"} and len(voices) == 5
    assert client.get("/conversations/?since=31.3.2026").status_code == 422
    assert client.get("/conversations/", headers={"HX-Request": "true"}).content.lstrip().startswith(b"<div")


def api(role: str = "engineer", scopes: tuple[str, ...] = ("read",)) -> Client:
    _, secret = tokens.make(user=make_user(role=role), name="t", scopes=list(scopes))
    return Client(headers={"Authorization": f"Token {secret}"})


def test_the_api_gives_the_report_of_the_contract() -> None:
    world(60)
    answer = api().get("/api/v1/agreement/?dataset=gold@1&classifier=judge@new&by=channel")
    document = answer.json()
    assert answer.status_code == 200 and document["by"] == ["channel"]
    assert {row["version"] for row in document["rows"]} == {"new"}
    both = api().get("/api/v1/agreement/?dataset=gold&classifier=judge").json()
    assert [row["version"] for row in both["rows"]] == ["old", "new"]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/v1/agreement/", 400),
        ("/api/v1/agreement/?dataset=gold@7&classifier=judge", 404),
        ("/api/v1/agreement/?dataset=gold@x&classifier=judge", 422),
        ("/api/v1/agreement/?dataset=gold&classifier=nobody", 404),
        ("/api/v1/agreement/?dataset=gold&classifier=judge&by=plan", 422),
        ("/api/v1/plan/?dataset=gold&classifier=judge@new&half_width=2", 422),
        ("/api/v1/plan/?dataset=gold&classifier=judge@new&half_width=0.1", 200),
        ("/api/v1/comparison/?dataset=gold&a=judge@old&b=judge@new", 200),
        ("/api/v1/reports/99/", 404),
    ],
)
def test_the_api_says_what_is_wrong(address: str, status: int) -> None:
    world(24)
    answer = api().get(address)
    assert answer.status_code == status
    if status >= 400:
        assert answer["Content-Type"] == "application/problem+json" and answer.json()["errors"]


@pytest.mark.parametrize("name", ['a"b', "a'b", "a.b", "a\\b", "$", "%s", "ü", "a__b", "\x00", "x" * 500])
def test_odd_names_to_slice_by_are_refused_not_run(name: str) -> None:
    world(12)
    query = {"dataset": "gold", "classifier": "judge", "by": name}
    assert api().get("/api/v1/agreement/", query).status_code in (400, 422)
    client = signed_in("engineer")
    no_address = name == "\0"
    assert client.get("/classifiers/judge/", {"by": name}).status_code == (400 if no_address else 422)
    answered = (400,) if no_address else (200, 422)
    assert client.get("/conversations/", {"channel": name, "q": name}).status_code in answered
    assert client.get("/classifiers/judge/items/", {"version": "new", f"in.{name}": "x"}).status_code in answered


def test_the_api_needs_its_scope() -> None:
    world(12)
    address = "/api/v1/agreement/?dataset=gold&classifier=judge"
    assert api("reviewer").get(address).status_code == 200
    assert api("engineer", ("ingest",)).get(address).status_code == 403
    assert Client().get(address).status_code == 401
    body = json.dumps({"dataset": "gold", "classifier": "judge"})
    post = {"data": body, "content_type": "application/json"}
    assert api("engineer", ("ingest",)).post("/api/v1/agreement/", **post).status_code == 201
    assert api("reviewer").post("/api/v1/agreement/", **post).status_code == 403


def test_the_name_of_a_classifier_may_have_a_dot() -> None:
    make_version(make_signal(), classifier="judge.v2")
    assert signed_in("engineer").get(reverse("report", args=["judge.v2"])).status_code == 200
