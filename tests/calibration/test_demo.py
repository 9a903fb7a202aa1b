"""The demo workspace is known to the last answer: what was planted is found, and nothing else."""

from __future__ import annotations

import io
import itertools
import re
from datetime import UTC, date, datetime

import numpy as np
import pytest
from django.core.management import call_command
from django.db import IntegrityError

from calibration.demo import phrases, world
from calibration.demo.load import Demo, load
from calibration.drift import monitoring
from calibration.management.commands import demo
from calibration.models import DriftFlag, Outcome, Prediction
from labeling import gold
from labeling.models import Conversation, DatasetVersion, Item, Label, Slot
from tests.make import make_conversation, make_label, make_signal, make_user

pytestmark = pytest.mark.django_db
END = datetime(2026, 11, 23, tzinfo=UTC)
SEED = 20260302


def test_it_works_and_only_the_planted_drift_is_flagged() -> None:
    said: list[str] = []
    load(Demo.of(end=END, seed=SEED, say=said.append))
    monitoring.evaluate(now=END)
    flags = list(DriftFlag.objects.filter(state__in=DriftFlag.ACTIVE).select_related("version__classifier"))
    planted = {"channel": "voice", "cohort": "trial"}
    assert {(str(flag.version), tuple(sorted(flag.slice.items()))) for flag in flags} == {
        ("sentiment-judge@v2", tuple(sorted(planted.items())))
    }
    # Seen with labels, and without them in the answers alone.
    assert {flag.kind for flag in flags} == {"agreement", "mix"}
    assert all(flag.since is not None and flag.since >= date(2026, 9, 7) for flag in flags)
    assert all(gold.verify(version=version) for version in DatasetVersion.objects.select_related("dataset__signal"))
    assert not Label.objects.filter(labeled_at__gt=END).exists()
    assert not Slot.objects.filter(state=Slot.State.DONE).exclude(submissions__kind="answer").exists()
    assert Item.objects.filter(inclusion_probability__lt=1).exists()
    assert {row["kind"] for row in Outcome.objects.values("kind")} == {"csat", "nps", "ces", "escalation", "reopened"}
    before = (Conversation.objects.count(), Prediction.objects.count())
    call_command("demo", if_empty=True, stdout=io.StringIO())
    assert (Conversation.objects.count(), Prediction.objects.count()) == before


@pytest.mark.django_db(transaction=True)
def test_a_workspace_is_emptied_whatever_its_labels_are_guarded_by() -> None:
    signal = make_signal()
    make_label(make_conversation(), signal, make_user(), "neutral")
    gold.freeze(dataset="gold", signal=signal, aggregation="single", now=END)
    demo.empty()
    assert not Label.objects.exists() and not Conversation.objects.exists() and not DatasetVersion.objects.exists()
    make_label(make_conversation(), make_signal(), make_user(), "neutral")
    with pytest.raises(IntegrityError, match="append-only"):
        Label.objects.all().delete()


@pytest.mark.parametrize(("today", "year"), [(datetime(2026, 6, 30, tzinfo=UTC), 2025), (END, 2026)])
def test_the_story_is_told_of_the_last_half_year_that_is_over(
    monkeypatch: pytest.MonkeyPatch, today: datetime, year: int
) -> None:
    told: list[int] = []
    monkeypatch.setattr(demo.timezone, "now", lambda: today)
    monkeypatch.setattr(demo.story, "tell", lambda story: told.append(story.year))
    monkeypatch.setattr(demo, "call_command", lambda *names, **kw: None)
    call_command("demo", story=True, stdout=io.StringIO())
    assert told == [year]


def test_a_workspace_with_something_in_it_is_left_alone() -> None:
    load(Demo.of(end=END, seed=SEED, say=lambda _: None, customers=400))
    errors = io.StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("demo", stdout=io.StringIO(), stderr=errors)
    assert stopped.value.code == 1
    assert "--reset" in errors.getvalue()


def test_what_is_said_instead_is_heard_as_the_line_that_was_drawn() -> None:
    """As many words, and the words that a recogniser mistakes at the same place: else every later draw would move."""

    def heard(line: str) -> list[bool]:
        return [word.strip(".,?!").lower() in phrases.SUBSTITUTES for word in line.split()]

    for instead in phrases.FITTING.values():
        assert [heard(line) for line in instead.values()] == [heard(line) for line in instead]
    for answers in phrases.ANSWERS.values():
        assert [heard(line) for line in answers] == [heard(line) for line in phrases.ANSWERED]
    agents = {*phrases.AGENT_FIRST, *phrases.AGENT_MIDDLE, *sum(phrases.AGENT_LAST.values(), ())}
    assert {line for instead in phrases.FITTING.values() for line in instead} <= agents
    assert set(phrases.ASKS) <= agents | {line for instead in phrases.FITTING.values() for line in instead.values()}


def test_a_customer_answers_what_was_asked() -> None:
    rng = np.random.default_rng(3)
    number = re.compile(r"\d{4,}")
    asked = set()
    for _ in range(300):
        turns = world.dialogue(str(rng.choice(world.INTENTS)), "neutral", "partly", rng)
        for question, answer in itertools.pairwise(turn["text"] for turn in turns):
            asked.add(topic := phrases.ASKS.get(question, ""))
            if question in {*phrases.ASKS, *phrases.AGENT_FIRST}:
                assert bool(number.search(answer)) == (topic in ("account", "order")), (question, answer)
    assert asked == set(phrases.ANSWERS)
