"""The overview: what it says of several signals, and what it asks for next."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from calibration import overviews
from calibration.models import ClassifierVersion, DriftFlag, Recalibration
from labeling.models import DatasetVersion
from tests.make import make_conversation, make_gold, make_label, make_queue, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db

VALUES = ("negative", "neutral", "positive")


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def measured(slug: str, *accuracies: float, n: int = 90, unresolved: int = 0) -> ClassifierVersion:
    """A signal whose classifier is right so often on chat, voice, ..."""
    rng, signal = random.Random(slug), make_signal(slug)
    version = make_version(signal, classifier=f"{slug}-judge")
    rows: list[dict[str, Any]] = [
        {
            "gold": VALUES[i % 3],
            "channel": channel,
            "said": {version: VALUES[i % 3] if rng.random() < accuracy else rng.choice(VALUES)},
        }
        for channel, accuracy in zip(("chat", "voice"), accuracies, strict=False)
        for i in range(n)
    ]
    make_gold(signal, rows, name=slug, unresolved_count=unresolved)
    return version


def said() -> str:
    return "; ".join(clause.text for clause in overviews.sentence(overviews.signals(overviews.classifiers())))


def test_one_trusted_signal_among_others() -> None:
    measured("intent", 1.0, 1.0)
    measured("mood", 1.0, 0.1)
    assert said() == "only Intent can be trusted wherever it is used; Mood fails on voice"


def test_all_trusted() -> None:
    measured("intent", 1.0, 1.0)
    assert said() == "Intent can be trusted wherever it is used"
    measured("mood", 1.0, 1.0)
    assert said() == "every signal can be trusted wherever it is used"


def test_a_good_mean_does_not_hide_an_unproven_slice() -> None:
    measured("mood", 1.0, 0.75, n=60)
    (entry,) = overviews.classifiers()
    assert entry.whole is not None and entry.whole["verdict"] == "trusted"
    assert said() == ("no signal can be trusted wherever it is used yet; Mood is trusted as a whole, unproven on voice")


def flag(version: ClassifierVersion, kind: DriftFlag.Kind, state: str = "open", **given: Any) -> DriftFlag:
    return DriftFlag.objects.create(
        version=version,
        kind=kind,
        slice_key=kind,
        since=date(2026, 6, 8),
        raised_at=timezone.now(),
        state=state,
        **given,
    )


def test_what_has_drifted_since_it_was_measured_is_not_called_trusted() -> None:
    version = measured("intent", 1.0, 1.0)
    found = flag(version, DriftFlag.Kind.SILENT_CHANGE, "acknowledged")
    assert said() == "Intent was trusted when it was measured, but a drift flag is open on it since 8 June"
    measured("mood", 1.0, 1.0)
    assert said() == (
        "only Mood can be trusted wherever it is used; "
        "Intent was trusted when it was measured, but a drift flag is open on it since 8 June"
    )
    found.state = "resolved"
    found.save()
    assert said() == "every signal can be trusted wherever it is used"


def test_a_flag_of_a_version_that_serves_no_longer_doubts_nothing() -> None:
    version = measured("intent", 1.0, 1.0)
    flag(make_version(version.classifier.signal, "before", classifier="intent-judge"), DriftFlag.Kind.AGREEMENT)
    assert said() == "Intent can be trusted wherever it is used"
    assert overviews.classifiers()[0].flags == 1


def test_a_drifted_signal_that_fails_is_said_to_fail() -> None:
    flag(measured("mood", 1.0, 0.1), DriftFlag.Kind.AGREEMENT)
    assert said() == "no signal can be trusted wherever it is used yet; Mood fails on voice"


def test_none_trusted() -> None:
    measured("mood", 0.1, 0.1)
    assert said() == "no signal can be trusted wherever it is used yet; Mood fails"


def test_the_weakest_slice_stands_beside_the_whole() -> None:
    measured("mood", 1.0, 0.4)
    entry = overviews.classifiers()[0]
    assert entry.whole is not None and entry.worst is not None
    assert entry.worst["slice"]["channel"] == "voice"
    assert entry.worst["kappa"]["value"] < entry.whole["kappa"]["value"]


def test_tasks_draw_what_would_settle_a_slice_review_what_is_open_and_freeze_what_is_labelled() -> None:
    measured("mood", 1.0, 0.55, n=45, unresolved=7)
    other = make_signal("intent")
    make_label(make_conversation(), other, make_user(), "neutral")
    tasks = overviews.tasks(overviews.signals(overviews.classifiers()))
    assert [task.action for task in tasks] == ["Draw", "Review", "Freeze"]
    assert tasks[0].address.startswith("/queues/new/?signal=mood&size=") and "channel=voice" in tasks[0].address
    assert tasks[1].what == "Settle 7 open units of Mood" and "1 label is" in tasks[2].why


@pytest.mark.parametrize(("slices", "stands"), [([{"channel": "voice"}], "mood"), ([{}], "recalibration-1")])
def test_gold_that_mends_a_slice_does_not_stand_for_the_signal(slices: list[dict[str, str]], stands: str) -> None:
    version = measured("mood", 1.0, 1.0)
    rows = [{"gold": VALUES[i % 3], "channel": "voice", "said": {version: VALUES[(i + 1) % 3]}} for i in range(90)]
    mended = make_gold(version.classifier.signal, rows, name="recalibration-1")
    queue = make_queue("top-up", signals=[version.classifier.signal])
    mended.queues.add(queue)
    # Whether what was tried on it still stands with the recalibration, or was put aside for another try.
    raised = flag(version, DriftFlag.Kind.AGREEMENT, "recalibrating")
    Recalibration.objects.create(flag=raised, queue=queue, slices=slices)
    (entry,) = overviews.classifiers()
    assert entry.gold is not None and entry.gold.dataset.slug == stands
    client = Client()
    client.force_login(make_user("eve", role="engineer"))
    assert client.get("/classifiers/mood-judge/").context["gold"].dataset.slug == stands


def test_gold_of_a_slice_is_better_than_none() -> None:
    version = measured("mood", 1.0)
    raised = flag(version, DriftFlag.Kind.AGREEMENT, "recalibrating")
    only, queue = DatasetVersion.objects.get(), make_queue("top-up", signals=[version.classifier.signal])
    only.queues.add(queue)
    Recalibration.objects.create(flag=raised, queue=queue, slices=[{"channel": "voice"}])
    assert overviews.classifiers()[0].gold == only


def test_gold_of_more_than_a_top_up_stands() -> None:
    version = measured("mood", 1.0)
    top_up, week = (make_queue(slug, signals=[version.classifier.signal]) for slug in ("top-up", "week"))
    both = make_gold(version.classifier.signal, [{"gold": "neutral", "said": {version: "neutral"}}], name="both")
    both.queues.add(top_up, week)
    raised = flag(version, DriftFlag.Kind.AGREEMENT, "recalibrating")
    Recalibration.objects.create(flag=raised, queue=top_up, slices=[{"channel": "voice"}])
    assert overviews.classifiers()[0].gold == both


def test_the_version_with_the_newest_predictions_is_in_service() -> None:
    version = measured("mood", 1.0)
    make_version(version.classifier.signal, "registered-later", classifier="mood-judge")
    assert overviews.classifiers()[0].version == version
