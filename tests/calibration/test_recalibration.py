"""Recalibration: from a flag over a top-up queue of its slice to a version that is shown to be better, or given up."""

from __future__ import annotations

import random
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from calibration import scoring, volumes
from calibration.drift import flag_words, flags, monitoring, recalibration
from calibration.errors import EvidenceRefused
from calibration.evidence import history
from calibration.evidence.pairing import read as pairs_of
from calibration.models import ClassifierVersion, DriftFlag, Prediction, Recalibration, ScoringRun
from calibration.moves import attribution, periods, trends
from labeling.errors import Conflict, NotFound, Refused
from labeling.models import Conversation, Item, Label, Queue, User
from tests.calibration.worlds import DRIFTED, NOW, START, VALUES, make_engineer, make_world
from tests.make import make_label, make_said, make_user, make_version, make_weeks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


@pytest.fixture
def flag() -> DriftFlag:
    """A drifted world with 400 conversations of the slice that nobody has labelled: "neutral" is now said of negatives."""
    version, _ = make_world(drifts=True, labels=15)
    monitoring.evaluate(now=NOW)
    found = DriftFlag.objects.get(kind="agreement")
    rng = random.Random(11)
    rows = []
    for number in range(400):
        truth = VALUES[number % 3]
        said = {"negative": "neutral", "neutral": "positive", "positive": "positive"}[truth]
        said = said if rng.random() < 0.85 else truth
        at = START + timedelta(weeks=5, hours=number)
        rows.append((at, *DRIFTED, None, said))
    make_weeks(version, rows, User.objects.get(username="ann"))
    return found


def label_all(queue: Queue, *, at_most: int = 10_000) -> None:
    """The annotator says what is true: the fixture's conversations come in the order of the categories."""
    ann = User.objects.get(username="ann")
    first = Conversation.objects.filter(labels__isnull=True).order_by("id").values_list("id", flat=True)[0]
    signal = queue.signals.get()
    queue.slots.filter(position__lt=at_most).update(state="done", annotator=ann)
    Label.objects.bulk_create(
        Label(
            conversation=item.conversation, signal=signal, annotator=ann, item=item, labeled_at=NOW,
            value=VALUES[(item.conversation_id - first) % 3],
        )
        for item in queue.items.select_related("conversation")[:at_most]
    )  # fmt: skip


def test_it_works(flag: DriftFlag) -> None:
    ada = make_engineer()
    row = recalibration.open_for(flag=flag, by=ada)
    assert row.queue is not None
    label_all(row.queue)
    row = recalibration.fit(recalibration=row, by=ada, now=NOW)
    assert row.state == "fitted" and row.fit["labels"] == 240
    row = recalibration.validate(recalibration=row, by=ada)
    assert row.validation["passed"] and row.validation["new"]["value"] > row.validation["old"]["value"]
    row = recalibration.promote(recalibration=row, by=ada)
    closed = flags.get(flag.id)
    assert closed.state == "resolved" and closed.evidence["recalibration"]["passed"]
    assert row.promoted is not None and row.promoted.parent == flag.version
    assert row.promoted.parameters["calibration_map"]["map"] == "confusion"
    assert [event.action for event in flag.events.all()] == [
        "raised", "recalibrating", "fitted", "validated", "promoted", "resolved",
    ]  # fmt: skip


def promoted(flag: DriftFlag) -> Recalibration:
    row = recalibration.open_for(flag=flag, by=None)
    assert row.queue is not None
    label_all(row.queue)
    for step in ("fit", "validate", "promote"):
        row = recalibration.step(flag=flag, recalibration=row, step=step, by=None, now=NOW)
    return row


def test_mapped_scores_were_never_in_service(flag: DriftFlag) -> None:
    """The map's answers to what the parent scored are not what was published; what comes later is."""
    # In its last weeks the parent has nothing but the slice: the map answers as much as it did.
    Prediction.objects.filter(version=flag.version).exclude(conversation__channel=DRIFTED[0]).delete()
    flag.version.rollups.exclude(channel=DRIFTED[0]).delete()
    row = promoted(flag)
    parent, made, signal = flag.version, row.promoted, flag.version.classifier.signal
    assert made is not None and row.mapped_until == made.rollups.order_by("-day").values_list("day", flat=True)[0]
    days = volumes.by_day(volumes.read([parent, made]))
    assert any(found.version == made.id for found in days[row.mapped_until])
    assert {volumes.in_service(found) for found in days.values()} == {parent.id}
    assert [line["version"] for line in trends.read(signal=signal)["versions"]] == [parent.version]
    assert set(history.in_service([parent, made], "week", preferred=made.version).values()) == {parent}

    span = periods.Days(row.mapped_until - timedelta(days=27), row.mapped_until - timedelta(days=7))
    week = periods.Days(row.mapped_until - timedelta(days=6), row.mapped_until)
    found = attribution.attribute(signal=signal, before=span, after=week)
    assert found["from"]["versions"] == found["to"]["versions"] == [parent.version]
    again = attribution.attribute(signal=signal, before=week, after=week, chosen_versions=("", made.version))
    assert (again["from"]["versions"][0], again["to"]["versions"][0]) == (parent.version, made.version)
    assert again["to"]["n"] == sum(volume.count for volume in volumes.read([made], since=week.first, until=week.last))
    with pytest.raises(NotFound):
        attribution.attribute(signal=signal, before=week, after=week, chosen_versions=("", "v9"))

    later = row.mapped_until + timedelta(days=1)
    at = datetime.combine(later, time(9), UTC)
    make_weeks(made, [(at, *DRIFTED, None, "negative")], User.objects.get(username="ann"))
    assert trends.read(signal=signal)["versions"][-1] == {"since": later.isoformat(), "version": made.version}


def test_the_queue_is_drawn_from_the_slice_since_the_change_and_unlabelled(flag: DriftFlag) -> None:
    row = recalibration.open_for(flag=flag, by=None)
    homes = Conversation.objects.filter(items__queue=row.queue)
    assert homes.count() == recalibration.SIZE
    assert {(home.channel, home.cohort) for home in homes} == {DRIFTED}
    assert flag.since is not None and min(home.started_at.date() for home in homes if home.started_at) >= flag.since
    assert not Label.objects.filter(conversation__in=homes).exists()
    assert all(0 < item.inclusion_probability <= 1 for item in Item.objects.filter(queue=row.queue))


def test_opening_twice_is_opening_once(flag: DriftFlag) -> None:
    assert recalibration.open_for(flag=flag, by=None) == recalibration.open_for(flag=flag, by=None)
    assert Queue.objects.count() == Recalibration.objects.count() == 1


def test_every_step_happens_once(flag: DriftFlag) -> None:
    row = recalibration.open_for(flag=flag, by=None)
    assert row.queue is not None
    label_all(row.queue)
    for step in ("fit", "fit", "validate", "validate", "promote", "promote", "fit"):
        recalibration.step(flag=flag, recalibration=row, step=step, by=None, now=NOW)
    done = recalibration.of(flag)
    assert done is not None and done.state == "promoted" and done.promoted is not None
    mine = Prediction.objects.filter(version=done.promoted)
    assert mine.count() == mine.values("conversation").distinct().count() > 400
    assert sum(done.promoted.rollups.values_list("count", flat=True)) == mine.count()


def test_the_promoted_version_agrees_better(flag: DriftFlag) -> None:
    row = recalibration.open_for(flag=flag, by=None)
    assert row.queue is not None
    label_all(row.queue)
    for step in ("fit", "validate", "promote"):
        recalibration.step(flag=flag, recalibration=row, step=step, by=None, now=NOW)
    done = recalibration.of(flag)
    assert done is not None and done.promoted is not None and done.dataset_version is not None

    def share(version: object) -> float:
        pairs = pairs_of(dataset_version=done.dataset_version, version=version)  # type: ignore[arg-type, union-attr]
        return sum(cell.n for cell in pairs.answered if cell.gold == cell.predicted) / pairs.paired

    assert share(done.promoted) > share(flag.version) + 0.1


def test_too_few_labels_are_refused_with_what_is_missing(flag: DriftFlag) -> None:
    row = recalibration.open_for(flag=flag, by=None)
    assert row.queue is not None
    label_all(row.queue, at_most=40)
    with pytest.raises(EvidenceRefused, match="40 labels are too few: confusion needs 100, label 60 more"):
        recalibration.fit(recalibration=row, by=None, now=NOW)
    again = recalibration.of(flag)
    assert again is not None and again.state == "labelling" and again.dataset_version is None


def test_steps_have_an_order(flag: DriftFlag) -> None:
    row = recalibration.open_for(flag=flag, by=None)
    with pytest.raises(Conflict, match="earlier step"):
        recalibration.promote(recalibration=row, by=None)


def test_giving_up_ends_the_recalibration_and_not_the_flag(flag: DriftFlag) -> None:
    ada = make_engineer()
    row = recalibration.open_for(flag=flag, by=ada)
    with pytest.raises(Refused, match="why"):
        recalibration.abandon(recalibration=row, by=ada, reason=" ")
    recalibration.abandon(recalibration=row, by=ada, reason="v0 serves again")
    recalibration.abandon(recalibration=row, by=None, reason="a second click")
    assert recalibration.of(flag) is None and recalibration.given_up(flag) == [row]
    assert flags.get(flag.id).state == "acknowledged" and flags.get(flag.id) in flags.active()
    assert row.queue is not None and Queue.objects.get(id=row.queue.id).state == "closed"
    told = [(event.action, event.note) for event in flag.events.all()][2:]
    assert told == [("recalibration given up", "v0 serves again"), ("acknowledged", "the flag stands")]
    with pytest.raises(Conflict, match="given up"):
        recalibration.fit(recalibration=row, by=None, now=NOW)
    monitoring.evaluate(now=NOW)
    assert DriftFlag.objects.filter(kind="agreement").count() == 1


def test_a_flag_that_was_given_up_is_recalibrated_to_its_end(flag: DriftFlag) -> None:
    """The same slices: the queue goes on and its labels count; what is frozen has a name of its own."""
    first = fitted_to_noise(flag)
    recalibration.abandon(recalibration=first, by=None, reason="labelled by mistake")
    second = recalibration.open_for(flag=flag, by=None)
    assert second == recalibration.open_for(flag=flag, by=None) and second != first
    assert second.queue == first.queue and second.queue is not None
    assert Queue.objects.get().state == "open" and second.queue.items.count() == 400
    label_truly(flag, second.queue)
    for step in ("fit", "validate", "promote"):
        second = recalibration.step(flag=flag, recalibration=second, step=step, by=None, now=NOW)
    assert str(second.dataset_version) == f"recalibration-{flag.id}-2@1" and second.fit["labels"] == 400
    assert flags.get(flag.id).state == "resolved"
    assert str(recalibration.given_up(flag)[0].dataset_version) == f"recalibration-{flag.id}@1"


def test_other_slices_after_giving_up_have_a_queue_of_their_own(flag: DriftFlag) -> None:
    first = recalibration.open_for(flag=flag, by=None)
    recalibration.abandon(recalibration=first, by=None, reason="too narrow")
    second = recalibration.open_for(flag=flag, by=None, slices=[{"channel": "voice"}])
    assert second.queue is not None and second.queue.slug == f"recalibration-{flag.id}-2"
    assert second.slices == [{"channel": "voice"}]


def test_giving_up_where_all_is_labelled_can_begin_again(flag: DriftFlag) -> None:
    """Nothing is left to draw: the labels that there are have to do, for another version say."""
    add_sister(flag, drifted=True)
    row = recalibration.open_for(flag=flag, by=None, size=400)
    assert row.queue is not None
    label_all(row.queue)
    recalibration.abandon(recalibration=row, by=None, reason="for now")
    again = recalibration.open_for(flag=flag, by=None)
    assert again.queue == row.queue and row.queue.items.count() == 400
    assert "top_ups" not in Queue.objects.get().design
    assert recalibration.fit(recalibration=again, by=None, now=NOW).fit["labels"] == 400


def test_a_flag_under_recalibration_is_neither_dismissed_nor_resolved(flag: DriftFlag) -> None:
    recalibration.open_for(flag=flag, by=None)
    with pytest.raises(Conflict, match="give the recalibration up before it is dismissed"):
        flags.dismiss(flag=flag, by=None, reason="a campaign")
    with pytest.raises(Conflict, match="give the recalibration up before it is resolved"):
        flags.resolve(flag=flag, by=None, note="rolled back")
    assert flags.get(flag.id).state == "recalibrating"


def fitted_to_noise(flag: DriftFlag) -> Recalibration:
    """A recalibration whose validation fails: the annotator says what the version says, so there is nothing to mend."""
    row = recalibration.open_for(flag=flag, by=None)
    assert row.queue is not None
    said = dict(Prediction.objects.filter(version=flag.version).values_list("conversation_id", "value"))
    ann = User.objects.get(username="ann")
    row.queue.slots.update(state="done", annotator=ann)
    for item in row.queue.items.all():
        make_label(item.conversation, flag.version.classifier.signal, ann, said[item.conversation_id], item=item)
    for step in ("fit", "validate"):
        row = recalibration.step(flag=flag, recalibration=row, step=step, by=None, now=NOW)
    return row


def label_truly(flag: DriftFlag, queue: Queue) -> None:
    """What was labelled by mistake is labelled anew, and what waits as well."""
    Label.objects.filter(item__queue=queue, superseded_at=None).update(superseded_at=NOW)
    first, ann = (
        Conversation.objects.order_by("-id").values_list("id", flat=True)[399],
        User.objects.get(username="ann"),
    )
    queue.slots.update(state="done", annotator=ann)
    for item in queue.items.all():
        truth = VALUES[(item.conversation_id - first) % 3]
        make_label(item.conversation, flag.version.classifier.signal, ann, truth, item=item)


def test_a_validation_that_fails_says_why_and_more_labels_mend_it(flag: DriftFlag) -> None:
    row = fitted_to_noise(flag)
    assert not row.validation["passed"]
    assert row.validation["reasons"] == ["the Brier score is not shown to fall (+0.000, +0.000 to +0.000)"]
    with pytest.raises(EvidenceRefused, match="not shown to be better .*; the Brier score is not shown to fall"):
        recalibration.promote(recalibration=row, by=None)
    for _ in range(2):
        row = recalibration.more(recalibration=row, by=None, size=100)
    assert (row.state, row.fit, row.validation, row.dataset_version) == ("labelling", {}, {}, None)
    assert row.queue is not None and row.queue.items.count() == 340
    (tried,) = row.tries
    assert tried["dataset"] == f"recalibration-{flag.id}@1" and not tried["validation"]["passed"]
    label_truly(flag, row.queue)
    for step in ("fit", "validate", "promote"):
        row = recalibration.step(flag=flag, recalibration=row, step=step, by=None, now=NOW)
    assert str(row.dataset_version) == f"recalibration-{flag.id}@2" and row.fit["labels"] == 340
    proof = flags.get(flag.id).evidence["recalibration"]
    assert proof["passed"] and proof["failed_before"] == 1
    with pytest.raises(Conflict, match="promoted already"):
        recalibration.more(recalibration=row, by=None)
    with pytest.raises(Conflict, match="promoted already"):
        recalibration.abandon(recalibration=row, by=None, reason="too late")


def test_items_on_top_stay_one_sample(flag: DriftFlag) -> None:
    row = fitted_to_noise(flag)
    row = recalibration.more(recalibration=row, by=None, size=160)
    assert row.queue is not None
    assert set(row.queue.items.values_list("inclusion_probability", flat=True)) == {1.0}  # all of the 400 by now


def test_more_where_nothing_is_left_goes_back_without_any(flag: DriftFlag) -> None:
    """What nobody has labelled in other slices is none of its own."""
    add_sister(flag, drifted=True)
    row = recalibration.open_for(flag=flag, by=None, size=400)
    assert row.queue is not None
    label_all(row.queue)
    row = recalibration.fit(recalibration=row, by=None, now=NOW)
    with pytest.raises(Refused, match="labelled already"):
        recalibration.more(recalibration=row, by=None)
    row = recalibration.more(recalibration=row, by=None, size=0)
    assert row.state == "labelling" and row.tries == []  # nothing was validated


def test_after_a_map_that_fails_another_version_stands_instead(flag: DriftFlag) -> None:
    older, worse, row = other_version(flag, right=0.9), other_version(flag, right=0.05, name="v3"), labelled(flag)
    row = recalibration.choose(recalibration=row, version=worse, by=None, now=NOW)
    row = recalibration.validate(recalibration=row, by=None)
    assert row.validation["reasons"][0].startswith("kappa is not shown to be better (−")
    assert recalibration.others(row) == [older]
    for _ in range(2):
        row = recalibration.choose(recalibration=row, version=older, by=None, now=NOW)
    assert (row.state, row.fit["version"], row.validation) == ("fitted", "judge@v0", {})
    assert [one["fit"]["version"] for one in row.tries] == ["judge@v3"]
    row = recalibration.validate(recalibration=row, by=None)
    row = recalibration.promote(recalibration=row, by=None)
    assert row.promoted == older and flags.get(flag.id).state == "resolved"


def test_steps_show_what_was_done(flag: DriftFlag) -> None:
    def done(row: Recalibration) -> list[str]:
        return [step["name"] for step in flag_words.steps(flag, row, None) if step["done"]]

    row = fitted_to_noise(flag)
    assert done(row) == ["Slices", "Top-up queue", "Fit"] and flag_words.step_number(row) == 4
    row = recalibration.abandon(recalibration=row, by=None, reason="no use")
    assert done(row) == ["Slices", "Top-up queue", "Fit"]
    assert not any(step["now"] for step in flag_words.steps(flag, row, None))
    second = recalibration.open_for(flag=flag, by=None)
    assert done(recalibration.abandon(recalibration=second, by=None, reason="no time")) == ["Slices"]


def test_failing_giving_up_and_beginning_again_by_page(client: Client, flag: DriftFlag) -> None:
    fitted_to_noise(flag)
    address, change = f"/drift/{flag.id}/", f"/drift/{flag.id}/change/"
    asked = [{"action": "more", "size": "60"}, {"action": "abandon", "reason": "no use"}]
    client.force_login(make_user("otto"))
    assert [client.post(change, body).status_code for body in asked] == [403, 403]
    client.force_login(make_engineer())
    page = client.get(address).content.decode()
    assert "Not passed, so it cannot be promoted:" in page and "the Brier score is not shown to fall" in page
    assert ">Promote</button>" not in page and "Back to the labels" in page and "Give up this recalibration" in page
    assert 'value="dismiss"' not in page
    assert "Step 4 of 5" in client.get("/drift/").content.decode()
    refused = client.post(change, {"action": "more", "size": "many"})
    page = refused.content.decode()
    assert refused.status_code == 422 and "is not a number of items." in page and "Not passed" in page
    client.post(change, asked[0])
    client.force_login(make_user("eve", role="engineer"))  # a colleague goes on
    page = client.get(address).content.decode()
    assert "300 items" in page and "tried before:" in page and "Freeze and fit" in page
    client.post(change, {"action": "fit"})
    told = client.post(change, {"action": "validate"}, follow=True).content.decode()
    assert "Validated: it did not pass, the Brier score is not shown to fall" in told
    for _ in range(2):
        assert (
            "The recalibration is given up; the flag is still open."
            in client.post(change, asked[1], follow=True).content.decode()
        )
    page = client.get(address).content.decode()
    assert "recalibration given up by eve: no use" in page and ">Recalibrate</button>" in page
    assert 'id="given-up"' in page and 'value="dismiss"' in page
    assert f"/drift/{flag.id}/" in client.get("/drift/").content.decode()
    client.post(change, {"action": "recalibrate"})
    second = recalibration.of(flag)
    assert second is not None and second.queue is not None
    label_truly(flag, second.queue)
    for step in ("fit", "validate", "promote"):
        told = client.post(change, {"action": step}, follow=True).content.decode()
        assert step != "validate" or "Validated: it passed." in told
    assert "This flag is resolved." in told and 'id="given-up"' in told


def test_failing_giving_up_and_beginning_again_by_api(client: Client, flag: DriftFlag) -> None:
    fitted_to_noise(flag)
    address = f"/api/v1/drift/{flag.id}/recalibrate/"

    def step(step: str, **body: Any) -> Any:
        return client.post(address, {"step": step, **body}, "application/json")

    assert step("more").status_code == 401
    client.force_login(make_user("otto"))
    assert [step("more").status_code, step("abandon", reason="no use").status_code] == [403, 403]
    client.force_login(make_engineer())
    refused = step("promote")
    assert refused.status_code == 422 and "the Brier score is not shown to fall" in refused.content.decode()
    assert client.post(f"/api/v1/drift/{flag.id}/dismiss/", {"reason": "x"}, "application/json").status_code == 409
    told = step("more", size=60).json()["recalibration"]
    assert told["state"] == "labelling" and len(told["tries"]) == 1
    assert step("abandon").status_code == 422
    told = step("abandon", reason="no use").json()
    assert (told["state"], told["recalibration"]) == ("acknowledged", None)
    assert [one["state"] for one in told["given_up"]] == ["abandoned"]
    assert step("abandon", reason="no use").status_code == 200
    assert step("fit").status_code == 409
    assert step("open", size=300).json()["state"] == "recalibrating"
    row = recalibration.of(flag)
    assert row is not None and row.queue is not None
    label_truly(flag, row.queue)
    for name in ("fit", "validate", "promote"):
        told = step(name).json()
    assert told["state"] == "resolved" and told["recalibration"]["promoted"] == f"judge@v1-r{flag.id}"


def test_a_slice_that_is_all_labelled_opens_nothing(flag: DriftFlag) -> None:
    signal, ann = flag.version.classifier.signal, User.objects.get(username="ann")
    for home in Conversation.objects.filter(labels__isnull=True):
        make_label(home, signal, ann, "neutral")
    with pytest.raises(Refused, match="labelled already"):
        recalibration.open_for(flag=flag, by=None)
    assert flags.get(flag.id).state == "open"


def test_over_the_api_and_the_page(client: Client, flag: DriftFlag) -> None:
    address = f"/api/v1/drift/{flag.id}/recalibrate/"
    assert client.post(address, {}, content_type="application/json").status_code == 401
    client.force_login(make_user("otto"))
    assert client.post(f"/drift/{flag.id}/change/", {"action": "recalibrate"}).status_code == 403
    client.force_login(make_engineer())
    assert client.post(f"/drift/{flag.id}/change/", {"action": "recalibrate"}).status_code == 302
    row = recalibration.of(flag)
    assert row is not None and row.queue is not None
    label_all(row.queue)
    assert "Freeze and fit" in client.get(f"/drift/{flag.id}/").content.decode()
    for step, button in (("fit", "Compare"), ("validate", "Promote")):
        client.post(f"/drift/{flag.id}/change/", {"action": step})
        assert button in client.get(f"/drift/{flag.id}/").content.decode()
    client.post(f"/drift/{flag.id}/change/", {"action": "promote"})
    assert "This flag is resolved." in client.get(f"/drift/{flag.id}/").content.decode()
    told = client.get(f"/api/v1/drift/{flag.id}/").json()
    assert told["recalibration"]["promoted"] == f"judge@v1-r{flag.id}"


def other_version(flag: DriftFlag, *, right: float, name: str = "v0", **kw: Any) -> ClassifierVersion:
    """Another version of the flagged classifier, right so often on the fixture's unlabelled conversations."""
    version, rng = make_version(flag.version.classifier.signal, name, **kw), random.Random(5)
    homes = list(Conversation.objects.filter(labels__isnull=True).order_by("id"))
    truths = (VALUES[number % 3] for number in range(len(homes)))
    Prediction.objects.bulk_create(
        make_said(version, home, truth if rng.random() < right else rng.choice(VALUES))
        for home, truth in zip(homes, truths, strict=True)
    )
    return version


def labelled(flag: DriftFlag) -> Recalibration:
    row = recalibration.open_for(flag=flag, by=None)
    assert row.queue is not None
    label_all(row.queue)
    return row


def test_a_rollback_is_shown_to_be_better_before_it_takes_over(flag: DriftFlag) -> None:
    older, row = other_version(flag, right=0.9), labelled(flag)
    row = recalibration.choose(recalibration=row, version=older, by=None, now=NOW)
    assert (row.fit["kind"], row.fit["version"], row.fit["labels"]) == ("version", "judge@v0", 240)
    row = recalibration.validate(recalibration=row, by=None)
    assert row.validation["passed"] and row.validation["difference"]["low"] > 0
    row = recalibration.promote(recalibration=row, by=None)
    assert row.promoted == older and flags.get(flag.id).state == "resolved"
    assert not ClassifierVersion.objects.filter(version__startswith="v1-r").exists()
    assert Prediction.objects.filter(version=older).count() == 400


def test_a_version_that_is_no_better_is_not_promoted(flag: DriftFlag) -> None:
    worse, row = other_version(flag, right=0.05), labelled(flag)
    recalibration.choose(recalibration=row, version=worse, by=None, now=NOW)
    row = recalibration.validate(recalibration=row, by=None)
    assert not row.validation["passed"]
    with pytest.raises(EvidenceRefused, match="not shown to be better"):
        recalibration.promote(recalibration=row, by=None)
    assert flags.get(flag.id).state == "recalibrating"


def test_a_version_without_predictions_is_asked_for_them(flag: DriftFlag) -> None:
    row = labelled(flag)
    fresh = make_version(flag.version.classifier.signal, "v3")
    recalibration.choose(recalibration=row, version=fresh, by=None, now=NOW)
    with pytest.raises(EvidenceRefused, match="judge@v3 has scored 0 of the 240 labelled units: run it on them"):
        recalibration.validate(recalibration=row, by=None)


def test_a_version_that_cxlab_runs_is_set_to_score_the_labelled_units(flag: DriftFlag) -> None:
    row = labelled(flag)
    vader = make_version(flag.version.classifier.signal, "vader", kind="vader")
    recalibration.choose(recalibration=row, version=vader, by=None, now=NOW)
    (run,) = ScoringRun.objects.filter(version=vader)
    assert run.total == 240
    assert scoring.work(run=run).done == 240
    assert recalibration.validate(recalibration=row, by=None).state == "validated"


def test_only_another_version_of_the_classifier_can_stand_instead(flag: DriftFlag) -> None:
    row, signal = labelled(flag), flag.version.classifier.signal
    for version in (flag.version, make_version(signal, classifier="stranger")):
        with pytest.raises(Refused, match="choose another version of judge than judge@v1"):
            recalibration.choose(recalibration=row, version=version, by=None, now=NOW)
    assert Recalibration.objects.get().state == "labelling"


def test_another_version_by_page_and_api(client: Client, flag: DriftFlag) -> None:
    other_version(flag, right=0.9)
    labelled(flag)
    change = f"/drift/{flag.id}/change/"
    client.force_login(make_user("otto"))
    assert client.post(change, {"action": "choose", "version": "judge@v0"}).status_code == 403
    client.force_login(make_engineer())
    assert "Or use another version" in client.get(f"/drift/{flag.id}/").content.decode()
    api = f"/api/v1/drift/{flag.id}/recalibrate/"
    assert client.post(api, {"step": "choose", "version": "judge@v9"}, "application/json").status_code == 404
    told = client.post(api, {"step": "choose", "version": "judge@v0"}, "application/json").json()
    assert told["recalibration"]["fit"]["version"] == "judge@v0"
    client.post(change, {"action": "validate"})
    page = client.get(f"/drift/{flag.id}/").content.decode()
    assert "no map: judge@v0 stands instead, on 240 labels" in page and "better: kappa" in page
    client.post(change, {"action": "promote"})
    assert "judge@v0 serves from now on" in client.get(f"/drift/{flag.id}/").content.decode()


SISTER = {"channel": "voice", "cohort": "enterprise"}
FLAGGED = dict(zip(("channel", "cohort"), DRIFTED, strict=True))


def add_sister(flag: DriftFlag, *, drifted: bool, count: int = 400) -> None:
    """As many unlabelled conversations of another cohort of the same channel, which drifted the same way or not at all."""
    rng, rows = random.Random(12), []
    for number in range(count):
        truth = VALUES[(400 + number) % 3]
        said = {"negative": "neutral", "neutral": "positive", "positive": "positive"}[truth]
        said = said if drifted and rng.random() < 0.85 else truth
        rows.append((START + timedelta(weeks=5, hours=number), *SISTER.values(), None, said))
    make_weeks(flag.version, rows, User.objects.get(username="ann"))


def test_other_slices_are_drawn_mapped_and_validated(flag: DriftFlag) -> None:
    add_sister(flag, drifted=True)
    row = recalibration.open_for(flag=flag, by=None, slices=[SISTER, FLAGGED], size=400)
    assert row.queue is not None and row.slices == [SISTER, FLAGGED]
    homes = Conversation.objects.filter(items__queue=row.queue)
    assert {(home.channel, home.cohort) for home in homes} == {DRIFTED, tuple(SISTER.values())}
    label_all(row.queue)
    row = recalibration.fit(recalibration=row, by=None, now=NOW)
    row = recalibration.validate(recalibration=row, by=None)
    assert row.validation["passed"]
    parts = {part["slice"]["cohort"]: part for part in row.validation["slices"]}
    assert sum(part["labels"] for part in parts.values()) == row.validation["labels"] == 400
    assert {name: part["change"] for name, part in parts.items()} == {"trial": "better", "enterprise": "better"}
    row = recalibration.promote(recalibration=row, by=None)
    assert row.promoted is not None and row.promoted.parameters["calibration_slices"] == [SISTER, FLAGGED]
    mapped = Prediction.objects.filter(version=row.promoted)
    assert set(mapped.values_list("conversation__channel", "conversation__cohort").distinct()) == {
        DRIFTED, tuple(SISTER.values())
    }  # fmt: skip
    since = datetime.combine(flag.since, time(), UTC) if flag.since else START
    of_parent = Prediction.objects.filter(version=flag.version, conversation__channel="voice")
    assert mapped.count() == of_parent.filter(conversation__started_at__gte=since).count()


def test_a_slice_does_not_pay_for_another(flag: DriftFlag) -> None:
    """The version is right about the other slice: the map that mends the flagged one spoils it, and is not promoted."""
    add_sister(flag, drifted=False, count=150)
    row = recalibration.open_for(flag=flag, by=None, slices=[SISTER, FLAGGED], size=550)
    assert row.queue is not None
    label_all(row.queue)
    row = recalibration.fit(recalibration=row, by=None, now=NOW)
    row = recalibration.validate(recalibration=row, by=None)
    parts = {part["slice"]["cohort"]: part["change"] for part in row.validation["slices"]}
    assert parts == {"trial": "better", "enterprise": "worse"} and not row.validation["passed"]
    with pytest.raises(EvidenceRefused, match="not shown to be better"):
        recalibration.promote(recalibration=row, by=None)


def test_another_version_is_validated_in_each_slice(flag: DriftFlag) -> None:
    other = other_version(flag, right=0.9)
    row = recalibration.open_for(flag=flag, by=None, slices=[FLAGGED])
    assert row.queue is not None
    label_all(row.queue)
    row = recalibration.choose(recalibration=row, version=other, by=None, now=NOW)
    row = recalibration.validate(recalibration=row, by=None)
    assert [(part["slice"], part["labels"], part["change"]) for part in row.validation["slices"]] == [
        (FLAGGED, 240, "better")
    ]


def test_slices_inside_others_are_not_kept(flag: DriftFlag) -> None:
    row = recalibration.open_for(flag=flag, by=None, slices=[FLAGGED, {"channel": "voice"}, {"channel": "voice"}])
    assert row.slices == [{"channel": "voice"}]


@pytest.mark.parametrize(
    ("slices", "field", "why"),
    [
        (["voice"], "slices.0", "is a value for channel"),
        ([FLAGGED, {"channel": 3}], "slices.1", "is a value for channel"),
        ([{"channel": "telegraph"}], "slices.0", "has scored nothing of 'telegraph'"),
        ([{"plan": "gold"}], "slices.0", "has scored nothing of 'gold'"),
        ([{"channel": "chat"}], "slices", "none of them holds anything of the flagged slice, voice, trial"),
    ],
)
def test_slices_that_cannot_be_recalibrated(flag: DriftFlag, slices: list[Any], field: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        recalibration.open_for(flag=flag, by=None, slices=slices)
    assert refused.value.field == field
    assert recalibration.of(flag) is None and flags.get(flag.id).state == "open"


def test_choosing_slices_by_page_and_api(client: Client, flag: DriftFlag) -> None:
    add_sister(flag, drifted=True)
    change, api = f"/drift/{flag.id}/change/", f"/api/v1/drift/{flag.id}/recalibrate/"
    body = {"step": "open", "slices": [{"channel": "voice"}]}
    assert client.post(api, body, "application/json").status_code == 401
    client.force_login(make_user("otto"))
    assert client.post(api, body, "application/json").status_code == 403
    client.force_login(make_engineer())
    page = client.get(f"/drift/{flag.id}/").content.decode()
    assert "Choose others" in page and "all conversations" in page
    wrong = client.post(api, {"slices": [{"channel": "telegraph"}]}, "application/json")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "slices.0")
    assert client.post(change, {"action": "recalibrate", "choosing": "1"}).status_code == 422
    assert client.post(change, {"action": "recalibrate", "choosing": "1", "slice": "voice"}).status_code == 422
    chosen = ['{"channel": "voice", "cohort": "trial"}', '{"channel": "voice", "cohort": "enterprise"}']
    assert client.post(change, {"action": "recalibrate", "choosing": "1", "slice": chosen}).status_code == 302
    told = client.get(f"/api/v1/drift/{flag.id}/").json()["recalibration"]
    assert told["slices"] == [FLAGGED, SISTER]
    assert "voice, trial; voice, enterprise" in client.get(f"/drift/{flag.id}/").content.decode()


def test_another_version_is_chosen_with_the_button(client: Client, flag: DriftFlag) -> None:
    other_version(flag, right=0.9)
    labelled(flag)
    client.force_login(make_engineer())
    assert client.post(f"/drift/{flag.id}/change/", {"action": "choose", "version": "judge@v0"}).status_code == 302
    row = recalibration.of(flag)
    assert row is not None and row.state == "fitted" and row.fit["version"] == "judge@v0"
