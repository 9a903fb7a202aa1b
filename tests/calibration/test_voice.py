"""Word errors: counted right, once per content, added up per slice, and set against agreement with gold."""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import jiwer
import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from calibration import confidence, hearing, tasks, voice
from calibration.models import Transcription
from labeling import wording
from labeling.models import Conversation
from labeling.wording import normal
from tests.make import make_conversation, make_gold, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def call(said: str | None, heard: str | None, *, provider: str = "asr@1", **kw: Any) -> Conversation:
    asr = {"reference": said, "hypothesis": heard, "provider": provider}
    return make_conversation(channel="voice", asr={name: text for name, text in asr.items() if text is not None}, **kw)


def test_it_works() -> None:
    call("My invoice is wrong.", "my invoices is")
    assert voice.measure() == 1
    report = voice.read()
    assert (report.whole.words, report.whole.wer.value) == (4, 0.5)
    assert (report.whole.substitutions, report.whole.deletions, report.whole.insertions) == (0.25, 0.25, 0.0)
    assert {(one.said, one.heard) for one in report.mistakes} == {("invoice", "invoices"), ("wrong", "")}


@pytest.mark.parametrize(
    ("said", "heard", "counts"),
    [
        ("Hello, you!", "hello you", (2, 0, 0, 0, 9, 0)),
        ("don’t", "don't", (1, 0, 0, 0, 5, 0)),
        ("a b", "a x b", (2, 0, 1, 0, 3, 2)),
        ("one two", "", (2, 0, 0, 2, 7, 7)),
        ("...", "word", (0, 0, 0, 0, 0, 0)),
    ],
)
def test_errors_are_counted_on_words_alone(said: str, heard: str, counts: tuple[int, ...]) -> None:
    found = voice.count(said, heard)
    assert (
        found.words, found.substitutions, found.insertions, found.deletions, found.characters, found.character_errors,
    ) == counts  # fmt: skip


def test_a_call_is_measured_once_per_content() -> None:
    made = call("one two", "one two")
    call("one", None)
    assert (voice.measure(), voice.measure()) == (2, 0)
    Conversation.objects.filter(id=made.id).update(
        asr={"reference": "one two", "hypothesis": "one too"}, content_sha256="f" * 64
    )
    assert (voice.read().whole.calls, voice.waiting().count()) == (0, 1)
    tasks.measure_transcriptions()
    assert voice.read().whole.wer.value == 0.5
    assert Transcription.objects.count() == 2


def test_the_command_measures() -> None:
    call("one", "one")
    told = StringIO()
    call_command("voice", "measure", stdout=told)
    call_command("voice", "measure", stdout=told)
    call_command("voice", "measure", "--again", stdout=told)
    assert told.getvalue().splitlines() == ["1 calls measured", "0 calls measured", "1 calls measured"]


def test_every_slice_has_its_own_rate_and_the_interval_is_the_same_twice() -> None:
    for number in range(40):
        wrong = number % 4 == 0
        call("one two three four", "one two three" if wrong else "one two three four", provider=f"asr@{number % 2 + 1}",
             cohort=("smb", "trial")[number % 2], started_at=datetime(2026, 1 + number // 20, 5, tzinfo=UTC))  # fmt: skip
    voice.measure()
    report = voice.read()
    rates = {(one.dimension, one.value): one.wer.value for one in report.slices}
    assert rates == {
        ("provider", "asr@1"): 0.125, ("provider", "asr@2"): 0.0, ("channel", "voice"): 0.0625, ("cohort", "smb"): 0.125,
        ("cohort", "trial"): 0.0, ("month", "2026-01"): 0.0625, ("month", "2026-02"): 0.0625,
    }  # fmt: skip
    low, high = report.whole.wer.low, report.whole.wer.high
    assert low is not None and high is not None and 0 < low < 0.0625 < high < 0.125
    assert voice.read().whole.wer == report.whole.wer


def heard_world(n: int = 400) -> None:
    """Calls whose version is right the less, the more words are wrong: certain at none, a coin's toss at 40 %."""
    rng = random.Random(5)
    signal = make_signal(
        "resolved", scale="binary", values=("no", "yes"), trust_statistic="accuracy", trust_at_least=0.8
    )
    version = make_version(signal)
    rows = []
    for number in range(n):
        wrong = number % 5
        said = " ".join(f"w{place}" for place in range(10))
        made = call(said, " ".join(f"w{place}" for place in range(10 - wrong)))
        gold = ("no", "yes")[number % 2]
        right = rng.random() < 1 - 1.2 * wrong / 10
        other = {"no": "yes", "yes": "no"}[gold]
        rows.append({"gold": gold, "conversation": made, "said": {version: gold if right else other}})
    make_gold(signal, rows)
    voice.measure()


def test_agreement_falls_below_the_bar_where_words_go_wrong() -> None:
    heard_world()
    [found] = hearing.read()
    assert found.bar == 0.8 and found.verdict == hearing.FALLS and found.falls
    assert found.trend.falls_below_at == pytest.approx(1 / 6, abs=0.06)
    assert [band.agreement.n for band in found.bands] == [80, 80, 160, 80]
    shares = [band.agreement.value or 0.0 for band in found.bands]
    assert shares == sorted(shares, reverse=True)
    assert hearing.sentence([found]).startswith("accuracy of judge@v1 on voice falls below the bar when WER passes ")


def test_the_bar_on_kappa_becomes_a_share_of_agreement() -> None:
    signal = make_signal("s", values=("a", "b"), trust_statistic="kappa", trust_at_least=0.6)
    even = [("a", "a", 1.0), ("b", "b", 1.0)]
    assert hearing.agreement_at_bar(signal, even) == pytest.approx(0.8)
    assert hearing.agreement_at_bar(signal, [("a", "a", 9.0), ("b", "b", 1.0)]) == pytest.approx(0.6 * 0.18 + 0.82)
    signal.trust_statistic = "ac1"
    assert hearing.agreement_at_bar(signal, even) == pytest.approx(0.8)
    assert hearing.agreement_at_bar(signal, []) is None


def test_real_calls_have_the_rate_that_plain_jiwer_gives(shared: Path) -> None:
    with gzip.open(shared / "data/harpervalley/conversations.jsonl.gz", "rt") as file:
        texts = [row["asr"] for row in map(json.loads, file) if row.get("asr")]
    for one in texts:
        call(one["reference"], one["hypothesis"])
    voice.measure()
    said, heard = ([normal(one[name]) for one in texts] for name in ("reference", "hypothesis"))
    whole = voice.read().whole
    assert whole.wer.value == pytest.approx(jiwer.wer(said, heard)) and whole.calls == len(texts)
    assert whole.cer.value == pytest.approx(jiwer.cer(said, heard))


def test_too_few_calls_have_no_curve() -> None:
    heard_world(20)
    [found] = hearing.read()
    assert (found.verdict, found.trend.reason, hearing.sentence([found])) == (hearing.THIN, "too_few_items", "")


def test_the_page_reads_and_never_measures(client: Client) -> None:
    client.force_login(make_user(role="engineer"))
    assert "No call has been measured yet." in client.get("/voice/").content.decode()
    heard_world()
    call("one", "two")
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/voice/").content.decode()
    assert (
        "20.0 % of the words of calls are misheard; accuracy of judge@v1 on voice falls below the bar" in page
        and "Measure 1 call now" in page
    )
    assert len(queries) < 20
    assert not any(one["sql"].startswith(("INSERT", "UPDATE", "DELETE")) for one in queries.captured_queries)
    assert client.get("/voice/measure/").status_code == 405
    assert client.post("/voice/measure/").status_code == 302
    assert voice.waiting().count() == 0


def test_who_may_see_it(client: Client) -> None:
    assert client.get("/voice/").status_code == 302
    client.force_login(make_user(role="reviewer"))
    assert client.get("/voice/").status_code == 403
    assert client.post("/voice/measure/").status_code == 403
    client.force_login(make_user(role="engineer"))
    assert client.get("/voice/").status_code == 200


def test_the_conversation_page_counts_as_the_report_does() -> None:
    said, heard = "Well, the check-in isn’t open!", "well the check in is not open -"
    found = voice.count(said, heard)
    told = wording.read({"reference": said, "hypothesis": heard}, [])
    assert told is not None
    assert (told.words, told.errors) == (found.words, found.substitutions + found.insertions + found.deletions)
    assert [(piece.text, piece.reference) for piece in told.whole if piece.reference is None] == [
        ("well the check in", None), ("open -", None),
    ]  # fmt: skip


def test_confidence_is_held_against_the_errors_that_it_should_tell(client: Client) -> None:
    said = "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"
    for number in range(60):
        wrong = number % 4
        heard = " ".join(said.split()[: 10 - wrong])
        make_conversation(channel="voice", asr={"reference": said, "hypothesis": heard, "confidence": 1 - wrong / 10})
    for _ in range(5):
        make_conversation(channel="voice", asr={"hypothesis": "w0", "confidence": 0.85})
    make_conversation(channel="voice", asr={"hypothesis": "w0", "confidence": "high"})
    assert voice.measure() == 66
    found = confidence.read()
    assert found is not None and (found.alone, found.both, found.mean) == (5, 60, pytest.approx(0.85))
    assert found.rank.value == pytest.approx(-1)
    assert found.expected.value == pytest.approx(0.15)
    client.force_login(make_user(role="engineer"))
    assert "stands for a WER of about 15.0 %" in client.get("/voice/").content.decode()


def test_a_classifier_that_errs_for_other_reasons_has_no_curve_that_falls() -> None:
    rng = random.Random(7)
    signal = make_signal("resolved", scale="binary", values=("no", "yes"))
    version = make_version(signal)
    rows = []
    for number in range(400):
        made = call(" ".join("abcdefghij"), " ".join("abcdefghij"[: 10 - number % 5]))
        gold = ("no", "yes")[number // 5 % 2]
        right = rng.random() < 0.7
        rows.append(
            {"gold": gold, "conversation": made, "said": {version: gold if right else {"no": "yes", "yes": "no"}[gold]}}
        )
    make_gold(signal, rows)
    voice.measure()
    [found] = hearing.read()
    assert not found.falls and "on voice falls below" not in hearing.sentence([found])
