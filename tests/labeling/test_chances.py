"""Gold that several draws filled: each unit weighs what it stands for, whoever picked it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from statistics import mean

import pytest
from django.db import transaction
from django.utils import timezone

from calibration import streams
from labeling import gold, sampling
from labeling.design import Unit
from labeling.frames import Frame, FrameUnit
from labeling.models import Conversation, DatasetVersion, Item, Label, Queue, Signal, User
from labeling.sampling import Plan
from tests.make import make_frame, make_label, make_signal, make_user

pytestmark = pytest.mark.django_db
FRAME = {("chat", "smb"): 40, ("voice", "smb"): 40}
VOICE = Frame(channels=("voice",))


@pytest.fixture
def signal() -> Signal:
    make_frame(FRAME)
    return make_signal()


def draw(slug: str, signal: Signal, size: int, *, seed: int = 1, frame: Frame | None = None) -> Queue:
    return sampling.draw_queue(slug=slug, signals=[signal], size=size, seed=seed, frame=frame)


def label(items: Iterable[Item], signal: Signal, person: User) -> None:
    for item in items:
        make_label(item.conversation, signal, person, "neutral", item=item)


def freeze(signal: Signal, **kw: int) -> DatasetVersion:
    return gold.freeze(dataset="gold", signal=signal, aggregation="majority", now=timezone.now(), **kw)


def chances(version: DatasetVersion) -> dict[str, set[float]]:
    """The chances that occur in each channel."""
    found: dict[str, set[float]] = {}
    for row in version.rows.all():
        found.setdefault(row.channel, set()).add(round(row.inclusion_probability, 9))
    return found


def test_a_draw_that_brought_no_label_changes_nothing(signal: Signal) -> None:
    label(draw("some", signal, 20).items.all(), signal, make_user("ann"))
    before = freeze(signal)
    draw("census", signal, 80)
    draw("voice", signal, 20, frame=VOICE)
    after = freeze(signal)
    assert after.sha256 == before.sha256
    assert chances(after) == {"chat": {0.25}, "voice": {0.25}}
    named = gold.freeze(
        dataset="named", signal=signal, aggregation="majority", queues=list(Queue.objects.all()), now=timezone.now()
    )
    assert named.sha256 == before.sha256


def test_what_two_draws_could_have_picked_weighs_less_whichever_did(signal: Signal) -> None:
    """A quarter of everything, then a quarter of voice: of each voice call, 7 of 16, picked by one or by both."""
    label(draw("all", signal, 20).items.all(), signal, make_user("ann"))
    label(draw("more", signal, 10, frame=VOICE, seed=2).items.all(), signal, make_user("ben"))
    version = freeze(signal)
    assert chances(version) == {"chat": {0.25}, "voice": {0.4375}}
    weights = [1 / row.inclusion_probability for row in version.rows.filter(channel="chat")]
    assert sum(weights) == pytest.approx(4 * len(weights))


def test_a_draw_counts_with_what_is_labelled_of_it(signal: Signal) -> None:
    label(draw("all", signal, 20).items.all(), signal, make_user("ann"))
    label(draw("more", signal, 10, frame=VOICE, seed=2).items.all()[:5], signal, make_user("ben"))
    assert chances(freeze(signal)) == {"chat": {0.25}, "voice": {1 - 0.75 * 0.875}}


def test_draws_of_different_weeks_leave_each_other_alone(signal: Signal) -> None:
    monday = datetime(2026, 3, 2, 12, tzinfo=UTC)
    for number, conversation in enumerate(Conversation.objects.all()):
        conversation.started_at = monday + timedelta(weeks=number % 2)
        conversation.save()
    ann = make_user("ann")
    for week, size in ((0, 10), (1, 20)):
        first = date(2026, 3, 2) + timedelta(weeks=week)
        frame = Frame(since=first, until=first + timedelta(days=6))
        label(draw(f"week-{week}", signal, size, frame=frame).items.all(), signal, ann)
    found = {(row.conversation.started_at, row.inclusion_probability) for row in freeze(signal).rows.all()}
    assert found == {(monday, 0.25), (monday + timedelta(weeks=1), 0.5)}


def test_what_came_after_a_draw_could_not_be_picked_by_it(signal: Signal) -> None:
    ann = make_user("ann")
    label(draw("first", signal, 20).items.all(), signal, ann)
    Conversation.objects.create(
        external_id="new", channel="chat", cohort="smb", source="new", turns=[{"role": "customer", "text": "Hi"}],
        turn_count=1, content_sha256="n" * 64,
    )  # fmt: skip
    label(draw("late", signal, 1, frame=Frame(sources=("new",))).items.all(), signal, ann)
    assert freeze(signal).rows.get(external_id="new").inclusion_probability == 1.0


def test_turns_are_picked_by_those_who_may_say_them() -> None:
    make_frame(FRAME)
    signal = make_signal(unit="turn")
    ann = make_user("ann")
    for role, turn in (("customer", 0), ("agent", 1)):
        queue = draw(f"of-{role}", signal, 20, frame=Frame(roles=(role,)))
        for item in queue.items.all():
            make_label(item.conversation, signal, ann, "neutral", item=item, turn=turn)
    assert set(freeze(signal).rows.values_list("inclusion_probability", flat=True)) == {0.25}


def test_the_share_of_a_slice_is_right_over_many_draws(signal: Signal) -> None:
    """Half of everything is voice. Without the chances of draws that passed a unit over, it came to six in ten."""
    people, shares = [make_user("ann"), make_user("ben")], []
    for seed in range(40):
        with transaction.atomic():
            for person, size, frame in zip(people, (16, 16), (None, VOICE), strict=True):
                label(draw(person.username, signal, size, seed=seed, frame=frame).items.all(), signal, person)
            weights = {"chat": 0.0, "voice": 0.0}
            for channel, chance in freeze(signal).rows.values_list("channel", "inclusion_probability"):
                weights[channel] += 1 / chance
            shares.append(weights["voice"] / sum(weights.values()))
            transaction.set_rollback(True)
    assert mean(shares) == pytest.approx(0.5, abs=0.03)


def test_who_answers_a_unit_in_both_draws_takes_nothing_from_the_first(signal: Signal) -> None:
    ann = make_user("ann")
    label(draw("all", signal, 40).items.all(), signal, ann)
    again = draw("more", signal, 20, frame=VOICE, seed=2).items.all()
    Label.objects.filter(conversation__in=again.values("conversation")).update(superseded_at=timezone.now())
    label(again, signal, ann)
    assert chances(freeze(signal)) == {"chat": {0.5}, "voice": {0.75}}


def is_unsure(external_id: str) -> bool:
    return int(external_id.removeprefix("f-")) % 4 == 0


def unevenly(units: Sequence[FrameUnit]) -> Plan:
    """Every fourth unit has nine times the chance of the others, as one of which a classifier is unsure."""
    measured = [Unit(unit.key, measure=9.0 if is_unsure(unit.external_id) else 1.0) for unit in units]
    return Plan("unequal", tuple(measured))


@pytest.mark.parametrize("answered", [1.0, 0.5])
def test_a_draw_with_uneven_chances_beside_an_even_one_is_right_over_many_draws(
    signal: Signal, answered: float
) -> None:
    """A quarter are unsure. With the mean chance for those that were passed over they came to .29 of the weight."""
    people, shares, voices = [make_user("ann"), make_user("ben")], [], []
    for seed in range(60):
        with transaction.atomic():
            label(draw("even", signal, 32, seed=seed).items.all(), signal, people[0])
            queue = sampling.draw_queue(slug="uneven", signals=[signal], size=32, seed=seed, planner=unevenly)
            label(queue.items.order_by("position")[: int(32 * answered)], signal, people[1])
            weights = {
                (is_unsure(row.external_id), row.channel == "voice", row.id): 1 / row.inclusion_probability
                for row in freeze(signal).rows.all()
            }
            shares.append(sum(w for (unsure, *_), w in weights.items() if unsure) / sum(weights.values()))
            voices.append(sum(w for (_, voice, _), w in weights.items() if voice) / sum(weights.values()))
            transaction.set_rollback(True)
    assert mean(shares) == pytest.approx(0.25, abs=0.025)
    assert mean(voices) == pytest.approx(0.5, abs=0.03)


def test_uneven_draws_weigh_what_they_have_to_say(signal: Signal) -> None:
    """No chance is above one, and nothing is lost where all of an uneven draw was certain."""
    label(draw("even", signal, 20).items.all(), signal, make_user("ann"))
    queue = sampling.draw_queue(slug="uneven", signals=[signal], size=60, seed=2, planner=unevenly)
    label(queue.items.all(), signal, make_user("ben"))
    found = list(freeze(signal).rows.values_list("inclusion_probability", flat=True))
    assert max(found) <= 1 and min(found) > 0.1


def test_a_draw_whose_units_have_too_few_labels_brought_nothing(signal: Signal) -> None:
    ann, ben = make_user("ann"), make_user("ben")
    twice = draw("all", signal, 20)
    for person in (ann, ben):
        label(twice.items.all(), signal, person)
    label(draw("more", signal, 10, frame=VOICE, seed=2).items.all(), signal, make_user("cleo"))
    rows = freeze(signal, min_labels=2).rows.exclude(value=None)
    assert set(rows.values_list("inclusion_probability", flat=True)) == {0.25}


def test_a_top_up_reaches_no_further_than_its_day(signal: Signal) -> None:
    ann = make_user("ann")
    first = draw("first", signal, 10)
    sampling.top_up(queue=first, size=10, seed=3)
    first.refresh_from_db()
    label(first.items.all(), signal, ann)
    Conversation.objects.create(
        external_id="new", channel="chat", cohort="smb", source="new", turns=[{"role": "customer", "text": "Hi"}],
        turn_count=1, content_sha256="n" * 64,
    )  # fmt: skip
    label(draw("late", signal, 1, frame=Frame(sources=("new",))).items.all(), signal, ann)
    found = dict(freeze(signal).rows.values_list("external_id", "inclusion_probability"))
    assert found.pop("new") == 1.0 and set(found.values()) == {0.25}


def test_a_draw_from_slices_has_no_chance_of_the_others(signal: Signal) -> None:
    """Of the third that is German each; what else shares its channel and cohort could not be picked."""
    label(draw("all", signal, 20).items.all(), signal, make_user("ann"))

    def german(units: Sequence[FrameUnit]) -> Plan:
        told = dict(Conversation.objects.values_list("id", "attributes__language"))
        members = tuple(Unit(unit.key) for unit in units if told[unit.conversation] == "de")
        return Plan("uniform", members, basis={"slices": [{"language": "de"}]})

    census = sampling.draw_queue(slug="de", signals=[signal], size=80, seed=1, planner=german)
    label(census.items.all(), signal, make_user("ben"))
    rows = freeze(signal).rows.values_list("attributes__language", "inclusion_probability")
    assert set(rows) == {("de", 1.0), ("en", 0.25)}


def test_what_monitors_and_trends_read_weighs_as_gold_does(signal: Signal) -> None:
    label(draw("all", signal, 20).items.all(), signal, make_user("ann"))
    label(draw("more", signal, 10, frame=VOICE, seed=2).items.all(), signal, make_user("ben"))
    weights = {(one.channel, round(1 / one.weight, 9)) for one in streams.answers(signal)}
    assert weights == {("chat", 0.25), ("voice", 0.4375)}
