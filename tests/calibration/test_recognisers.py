"""Speech recognisers in monitoring: a regression raises its own flag, and is offered as a cause downstream."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from calibration import voice
from calibration.drift import causes, flag_words, flags, monitoring, recalibration
from calibration.models import Classifier, DriftFlag, Monitor
from labeling.errors import Refused
from labeling.models import Conversation
from tests.make import make_conversation, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
WORDS = [
    "my",
    "invoice",
    "is",
    "wrong",
    "and",
    "nobody",
    "answers",
    "the",
    "telephone",
    "when",
    "i",
    "call",
    "about",
    "it",
    "please",
    "help",
    "me",
    "now",
    "thanks",
]


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def make_calls(
    weeks: range,
    rate: float,
    *,
    provider: str = "ear@1",
    per_week: int = 16,
    cohorts: tuple[str, ...] = ("trial", "smb"),
) -> None:
    """Calls of some weeks whose words are misheard with this chance."""
    rng = random.Random(f"{weeks}{rate}{provider}{cohorts}")
    Conversation.objects.bulk_create(
        _call(START + timedelta(weeks=week, hours=number), rate, provider, cohorts[number % len(cohorts)], rng)
        for week in weeks
        for number in range(per_week)
    )
    voice.measure()


def _call(at: datetime, rate: float, provider: str, cohort: str, rng: random.Random) -> Conversation:
    heard = ["blah" if rng.random() < rate else word for word in WORDS]
    asr = {"reference": " ".join(WORDS), "hypothesis": " ".join(heard), "provider": provider}
    name = f"call-{provider}-{at:%m%d%H}-{cohort}"
    return Conversation(
        external_id=name, channel="voice", cohort=cohort, started_at=at, asr=asr, turn_count=1, source="test",
        turns=[{"role": "customer", "text": " ".join(heard)}], content_sha256=f"{rng.getrandbits(256):064x}",
    )  # fmt: skip


def raised(**kw: Any) -> list[DriftFlag]:
    return list(DriftFlag.objects.filter(kind="asr", **kw).order_by("id"))


def test_it_works() -> None:
    make_calls(range(10), 0.06)
    make_calls(range(10, 16), 0.18)
    done = monitoring.evaluate(now=NOW)
    (flag,) = raised()
    assert flag in done.raised and (str(flag.version), flag.slice) == ("ear@1", {"channel": "voice"})
    assert flag.since is not None and abs((flag.since - (START + timedelta(weeks=10)).date()).days) <= 7
    assert flag.evidence["wer"]["value"] == pytest.approx(0.18, abs=0.02) and flag.evidence["against"].startswith(
        "its own"
    )
    assert flag.severity["low"] < 0.12 < flag.severity["high"]
    assert flag.evidence["mistakes"][0]["heard"] == "blah"
    assert (
        flag_words.headline(flag).startswith("Word error rate rose from 5.9 to 17.6 %")
        and "however often" in flag.guarantee
    )
    before = list(DriftFlag.objects.values())
    assert not monitoring.evaluate(now=NOW + timedelta(hours=1)).raised and list(DriftFlag.objects.values()) == before


def test_a_steady_recogniser_raises_nothing() -> None:
    make_calls(range(20), 0.12)
    monitoring.evaluate(now=NOW)
    assert not raised()
    (monitor,) = Monitor.objects.filter(classifier__signal__measured=True)
    assert {stream["slice"].get("cohort") for stream in monitor.streams} == {None, "trial", "smb"}


def test_a_new_version_is_held_against_the_one_before() -> None:
    make_calls(range(8), 0.06)
    make_calls(range(8, 11), 0.2, provider="ear@2")
    monitoring.evaluate(now=NOW)
    (flag,) = raised()
    assert (str(flag.version), flag.evidence["against"]) == ("ear@2", "ear@1")


def test_a_better_version_raises_nothing() -> None:
    make_calls(range(8), 0.2)
    make_calls(range(8, 16), 0.06, provider="ear@2")
    monitoring.evaluate(now=NOW)
    assert not raised()


def test_a_slice_is_told_of_where_it_alone_is_worse() -> None:
    make_calls(range(10), 0.06, per_week=50, cohorts=("trial", "smb", "enterprise", "de", "fr"))
    make_calls(range(10, 13), 0.06, per_week=40, cohorts=("smb", "enterprise", "de", "fr"))
    make_calls(range(10, 13), 0.3, per_week=10, cohorts=("trial",))
    monitoring.evaluate(now=NOW)
    assert [flag.slice for flag in raised()] == [{"channel": "voice", "cohort": "trial"}]


def test_too_few_calls_are_not_watched() -> None:
    make_calls(range(3), 0.06, per_week=5)
    make_calls(range(3, 9), 0.5, per_week=5)
    monitoring.evaluate(now=NOW)
    assert not raised()


def test_a_judged_regression_is_raised_again_by_later_calls_only() -> None:
    make_calls(range(10), 0.06)
    make_calls(range(10, 14), 0.2)
    monitoring.evaluate(now=NOW)
    flags.resolve(flag=raised()[0], by=None, note="the provider rolled back")
    assert not monitoring.evaluate(now=NOW).raised
    make_calls(range(14, 18), 0.2)
    assert [flag.kind for flag in monitoring.evaluate(now=NOW).raised] == ["asr"]


def test_providers_become_versions() -> None:
    make_calls(range(1), 0.1, provider="Big Ear/large v3@2026-01")
    make_calls(range(1, 2), 0.1, provider="plain")
    make_version(make_signal(), classifier="plain")
    monitoring.evaluate(now=NOW)
    named = {str(one) for found in Classifier.objects.filter(signal__measured=True) for one in found.versions.all()}
    assert named == {"Big-Ear-large-v3@2026-01", "plain-asr@unpinned"}


def test_nobody_is_asked_for_a_word_error_rate(client: Client) -> None:
    make_signal()
    make_calls(range(3), 0.1)
    monitoring.evaluate(now=NOW)
    client.force_login(make_user("ada", role="admin"))
    for address in ("/queues/new/", "/datasets/", "/settings/signals/", "/", "/trends/"):
        assert "Word error rate" not in client.get(address, follow=True).content.decode(), address
    assert "Speech recognisers" not in client.get("/classifiers/").content.decode()


def test_a_regression_is_offered_as_a_cause_downstream_and_only_there(client: Client) -> None:
    make_calls(range(10), 0.06)
    make_calls(range(10, 16), 0.18)
    make_conversation(channel="chat")
    monitoring.evaluate(now=NOW)
    (upstream,) = raised()
    version = make_version(make_signal())
    near = upstream.since or NOW.date()
    below = _flag(version, {"channel": "voice", "cohort": "trial"}, near + timedelta(days=7))
    apart = [
        _flag(version, {"channel": "chat"}, near),
        _flag(version, {"channel": "voice", "cohort": "none"}, near),
        _flag(version, {"channel": "voice"}, near - timedelta(days=30)),
    ]
    assert [cause.flag for cause in causes.of(below)] == [upstream] and causes.consequences(upstream) == [below]
    assert not any(causes.of(flag) for flag in apart)
    client.force_login(make_user("ada", role="engineer"))
    assert "Possible causes" in client.get(f"/drift/{below.id}/").content.decode()
    page = client.get(f"/drift/{upstream.id}/").content.decode()
    assert "What it may have caused" in page and "Most often misheard since" in page and ">Recalibrate<" not in page
    assert "ear@1" in client.get("/classifiers/").content.decode()
    flags.dismiss(flag=upstream, by=None, reason="a test call centre")
    assert not causes.of(below) and not causes.consequences(flags.get(upstream.id))


def test_what_follows_stands_under_its_cause_and_ends_with_it(client: Client) -> None:
    """The list has one line a trouble; whoever mends the cause says which of the others end with it, here and over HTTP."""
    signal = make_signal()
    silent_version, other_version = make_version(signal), make_version(signal, "v2")
    silent = _flag(silent_version, {}, NOW.date(), kind="silent_change")
    follows = [_flag(silent_version, {"channel": name}, NOW.date()) for name in ("chat", "email", "voice")]
    alone = _flag(other_version, {"channel": "chat"}, NOW.date())
    led = causes.led([follows[0], silent, alone, *follows[1:]])
    assert led == [(silent, follows), (alone, [])]
    assert causes.led(follows) == [(one, []) for one in follows]  # where their cause is not among them
    client.force_login(make_user("ada", role="engineer"))
    page = client.get("/drift/").content.decode()
    assert "Two flags, and three that may follow from them." in page
    assert "3 more may follow from it: agreement fell on voice; agreement fell on email; agreement fell on chat" in page
    assert page.count('id="flag-') == 5
    flags.move(flag=follows[2], to="recalibrating", allowed=["open"], action="recalibrating", by=None)
    page = client.get(f"/drift/{silent.id}/").content.decode()
    assert [f'name="following" value="{one.id}" checked' in page for one in follows] == [True, True, False]

    def resolve(**said: Any) -> Any:
        return client.post(f"/drift/{silent.id}/change/", {"action": "resolve", "note": "rolled back", **said})

    assert "does not follow" in resolve(following=[follows[0].id, alone.id]).content.decode()
    assert "named by its number" in resolve(following="all").content.decode()
    assert resolve(following=[follows[0].id, follows[2].id]).status_code == 409  # somebody works on that one
    assert not DriftFlag.objects.filter(state="resolved").exists()
    resolve(following=[follows[0].id])
    assert set(DriftFlag.objects.filter(state="resolved")) == {silent, follows[0]}
    assert follows[0].events.get().note == f"with flag {silent.id}: rolled back"


def test_what_was_mended_explains_what_began_before_and_nothing_later(client: Client) -> None:
    version = make_version(make_signal())
    silent = _flag(version, {}, NOW.date(), kind="silent_change")
    flags.resolve(flag=silent, by=None, note="rolled back")
    silent.events.update(at=NOW + timedelta(days=10))
    before = _flag(version, {"channel": "chat"}, NOW.date() + timedelta(days=9))
    later = _flag(version, {"channel": "email"}, NOW.date() + timedelta(days=11))
    (cause,) = causes.of(before)
    client.force_login(make_user("ada", role="engineer"))
    assert client.get("/drift/").content.decode().count("may follow from: ") == 1
    assert cause.flag == silent and ", resolved on " in cause.sentence
    assert not causes.of(later) and causes.consequences(flags.get(silent.id)) == [before]


def test_a_silent_change_is_a_cause_for_its_own_version_only() -> None:
    signal = make_signal()
    one, other = make_version(signal), make_version(signal, "v2")
    silent = _flag(one, {}, NOW.date(), kind="silent_change")
    assert [cause.flag for cause in causes.of(_flag(one, {"channel": "chat"}, NOW.date()))] == [silent]
    assert not causes.of(_flag(other, {"channel": "chat"}, NOW.date()))


def test_a_recogniser_is_not_recalibrated_by_labels() -> None:
    make_calls(range(10), 0.06)
    make_calls(range(10, 16), 0.18)
    monitoring.evaluate(now=NOW)
    with pytest.raises(Refused, match="not recalibrated by labels"):
        recalibration.open_for(flag=raised()[0], by=None)


def _flag(version: Any, part: dict[str, str], since: Any, kind: str = "agreement") -> DriftFlag:
    return DriftFlag.objects.create(
        kind=kind,
        version=version,
        slice=part,
        slice_key=str(part) + str(since),
        since=since,
        raised_at=NOW,
        guarantee="none",
    )
