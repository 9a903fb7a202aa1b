"""Rounds of labels where the verdict is open; gold that was drawn by strata is as narrow as they make it."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from calibration import rounds, sampling
from calibration.evidence import pairing, planning, reports
from calibration.models import ClassifierVersion, Prediction
from calibration.sampling import Aim
from labeling import gold
from labeling.errors import Refused
from labeling.models import Conversation, DatasetVersion, Queue, User
from tests.make import make_frame, make_label, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 1, tzinfo=UTC)
# How often the version is wrong in each channel when it is unsure; when it is sure it is right.
ERRORS = {"chat": 0.02, "email": 0.98, "voice": 0.5}


def scored_world() -> tuple[ClassifierVersion, dict[int, str]]:
    """600 conversations in three channels, and what a person would say of each: errors lie where the version is unsure."""
    make_frame({(channel, "smb"): 200 for channel in ERRORS})
    signal, rng = make_signal(), random.Random(5)
    version, truth = make_version(signal), {}
    for number, conversation in enumerate(Conversation.objects.order_by("id")):
        said = ("negative", "neutral", "positive")[number % 3]
        unsure = rng.random() < 0.5
        wrong = unsure and rng.random() < ERRORS[conversation.channel]
        truth[conversation.id] = "neutral" if wrong and said != "neutral" else "positive" if wrong else said
        Prediction.objects.create(
            version=version, conversation=conversation, value=said, probabilities={said: 0.6 if unsure else 0.99}
        )
    return version, truth


def labelled(queue: Queue, truth: dict[int, str]) -> DatasetVersion:
    """Everything in the queue that has no label yet labelled, and frozen."""
    signal = queue.queue_signals.get().signal
    annotator = User.objects.filter(username="ann").first() or make_user("ann")
    for item in queue.items.filter(labels__isnull=True).select_related("conversation"):
        make_label(item.conversation, signal, annotator, truth[item.conversation_id], item=item)
    return gold.freeze(dataset="gold", signal=signal, aggregation="single", queues=[queue], now=NOW)


def drawn(version: ClassifierVersion, size: int = 150) -> Queue:
    aim = Aim("uncertainty", by=("channel",))
    return sampling.draw_queue(slug="q", signals=[version.classifier.signal], size=size, seed=1, aim=aim)


def test_it_works() -> None:
    version, truth = scored_world()
    queue = drawn(version)
    assert {item.stratum.split(" · ")[0] for item in queue.items.all()} == set(ERRORS)
    frozen = labelled(queue, truth)
    wanted = rounds.next_round(queue=queue, dataset_version=frozen, version=version)
    document = planning.plan(dataset_version=frozen, version=version, by=("channel",))
    words = {row["slice"].get("channel"): row["verdict"] for row in document["rows"]}
    open_ = {name for name, word in words.items() if name and word == "unproven"}
    assert 0 < len(open_) < 3 and set(wanted.sizes) == open_ and wanted.slices == 3
    before = Counter(queue.items.values_list("conversation__channel", flat=True))
    added = rounds.top_up(queue=queue, dataset_version=frozen, version=version, seed=3)
    after = Counter(queue.items.values_list("conversation__channel", flat=True))
    assert {name: after[name] - before[name] for name in after} == {name: added.get(name, 0) for name in after}
    assert added == wanted.sizes
    # Old and new items stay one sample: the weights of every stratum add up to its units.
    weights: Counter[str] = Counter()
    for item in queue.items.all():
        weights[item.stratum] += 1 / item.inclusion_probability  # type: ignore[assignment]
    again = labelled(queue, truth)
    assert again.card["design"]["queue"] == "q"
    assert dict(weights) == pytest.approx(again.card["design"]["strata"])


def test_a_report_is_as_narrow_as_the_strata_make_it() -> None:
    version, truth = scored_world()
    frozen = labelled(drawn(version), truth)
    pairs = pairing.read(dataset_version=frozen, version=version)
    assert pairs.sample is not None and sum(one.population for one in pairs.sample.strata.values()) == 600
    row = reports.build(dataset_version=frozen, classifier=version.classifier)["rows"][0]
    assert row["kappa"]["method"] == "by strata, transferred wilson"
    frozen.card = {**frozen.card, "design": None}
    plain = reports.build(dataset_version=frozen, classifier=version.classifier)["rows"][0]
    assert plain["kappa"]["method"] == "transferred wilson" and plain["kappa"]["value"] == row["kappa"]["value"]
    widths = [one["kappa"]["high"] - one["kappa"]["low"] for one in (row, plain)]
    assert widths[0] < 0.85 * widths[1]


def test_kept_pairs_give_the_same_report() -> None:
    version, truth = scored_world()
    frozen = labelled(drawn(version), truth)
    fresh = reports.build(dataset_version=frozen, classifier=version.classifier, by=("channel",))
    pairing.store(dataset_version=frozen, version=version)
    cache.clear()
    assert reports.build(dataset_version=frozen, classifier=version.classifier, by=("channel",)) == fresh


def test_gold_of_several_draws_or_of_none_has_no_design() -> None:
    version, truth = scored_world()
    first = drawn(version, 60)
    labelled(first, truth)
    signal = version.classifier.signal
    second = sampling.draw_queue(slug="q2", signals=[signal], size=60, seed=9, aim=Aim("uniform", by=("channel",)))
    assert labelled(second, truth).card["design"] is None
    both = gold.freeze(dataset="gold", signal=signal, aggregation="single", queues=[first, second], now=NOW)
    assert both.card["design"] is None
    assert pairing.read(dataset_version=both, version=version).sample is None


def test_what_the_plan_says_of_open_verdicts() -> None:
    version, truth = scored_world()
    frozen = labelled(drawn(version), truth)
    document = planning.plan(dataset_version=frozen, version=version, by=("channel",))
    settling, rows = document["settling"], [row for row in document["rows"] if row["slice"]]
    assert settling["open"] == sum(row["verdict"] == "unproven" for row in rows) and settling["slices"] == 3
    assert settling["aimed"] == sum(row["labels_for_verdict"] for row in rows if row["verdict"] == "unproven")
    assert settling["random"] > settling["aimed"] and 0 < settling["ratio"] < 1
    assert settling["next_round"] == sum(row["next_round"] for row in rows)
    out = StringIO()
    call_command("plan", str(frozen), str(version), "--by", "channel", stdout=out)
    assert f"the next round takes {settling['next_round']}" in out.getvalue()


def test_the_command_draws_a_round() -> None:
    version, truth = scored_world()
    queue = drawn(version)
    frozen = labelled(queue, truth)
    size, told = queue.items.count(), StringIO()
    call_command(
        "sample", "q", "--top-up", "--unsettled", str(frozen), "--classifier", str(version), "--seed", "3",
        stdout=StringIO(), stderr=told,
    )  # fmt: skip
    assert queue.items.count() > size and "items added" in told.getvalue()


def test_refusals_say_why() -> None:
    version, truth = scored_world()
    aim = Aim("uniform")
    queue = sampling.draw_queue(slug="q", signals=[version.classifier.signal], size=100, seed=1, aim=aim)
    frozen = labelled(queue, truth)
    with pytest.raises(Refused, match="q was not drawn by slices"):
        rounds.next_round(queue=queue, dataset_version=frozen, version=version)


def test_a_queue_whose_slices_are_settled_gets_no_more() -> None:
    version, truth = scored_world()
    queue = drawn(version)
    wrong = {"negative": "neutral", "neutral": "positive", "positive": "negative"}
    frozen = labelled(queue, {key: wrong[value] for key, value in truth.items()})
    frozen.dataset.signal.trust_at_least = 0.99
    frozen.dataset.signal.save()
    fresh = DatasetVersion.objects.select_related("dataset__signal").get(id=frozen.id)
    with pytest.raises(Refused, match="every slice of q has its verdict"):
        rounds.top_up(queue=queue, dataset_version=fresh, version=version)


def test_the_page_draws_a_round(client: Client) -> None:
    version, truth = scored_world()
    queue = drawn(version)
    frozen = labelled(queue, truth)
    asked = {"action": "round", "gold": str(frozen), "version": str(version)}
    assert client.post("/queues/q/change/", asked).status_code in (302, 403)
    client.force_login(make_user("bob", role="annotator"))
    assert client.post("/queues/q/change/", asked).status_code == 403
    client.force_login(make_user("eve", role="engineer"))
    page = client.get("/queues/q/").content.decode()
    assert "of 3 slices have no verdict of judge@v1 on gold@1" in page and "Draw the next round" in page
    size = queue.items.count()
    answer = client.post("/queues/q/change/", asked, follow=True).content.decode()
    assert "items were added where the verdict is open" in answer and queue.items.count() > size
