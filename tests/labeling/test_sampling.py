"""Queues: what is drawn, with which chance, and that it can be drawn again."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import UTC, date, datetime

import pytest

from labeling import frames, pilots, sampling
from labeling.errors import Conflict, NotFound, Refused
from labeling.frames import Frame
from labeling.models import WHOLE, Conversation, Item, Queue, Slot
from tests.make import make_conversation, make_frame, make_label, make_signal, make_user

pytestmark = pytest.mark.django_db

COUNTS = {("chat", "smb"): 60, ("chat", "trial"): 30, ("voice", "smb"): 24, ("voice", "trial"): 6}


def drawn(queue: Queue) -> list[tuple[str, int, int]]:
    return list(queue.items.order_by("position").values_list("conversation__external_id", "turn", "position"))


def test_it_works() -> None:
    make_frame(COUNTS)
    members = [make_user(name) for name in ("ann", "ben", "cem")]
    queue = sampling.draw_queue(slug="pilot", signals=[make_signal()], size=40, seed=7, overlap=2, members=members)
    assert queue.items.count() == 40
    assert {item.inclusion_probability for item in queue.items.all()} == {40 / 120}
    assert sorted(queue.items.values_list("position", flat=True)) == list(range(40))
    assert Slot.objects.filter(queue=queue).count() == 80
    assert set(Slot.objects.filter(queue=queue).values_list("number", "state")) == {(0, "free"), (1, "free")}
    assert dict(queue.memberships.values_list("user__username", "lane")) == {"ann": 0, "ben": 1, "cem": 0}


def test_the_same_seed_draws_the_same_items_and_another_seed_others() -> None:
    make_frame(COUNTS)
    signal = make_signal()
    queues = [
        sampling.draw_queue(slug=slug, signals=[signal], size=30, seed=seed, strategy="stratified", by=["channel"])
        for slug, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    first, again, other = map(drawn, queues)
    assert first == again
    assert first != other
    assert queues[0].design["frame_sha256"] == queues[1].design["frame_sha256"]


def test_weights_of_each_stratum_sum_to_its_population() -> None:
    make_frame(COUNTS)
    planner = sampling.plan_for("stratified", allocation="equal", by=["channel", "cohort"])
    queue = sampling.draw_queue(
        slug="even", signals=[make_signal()], size=22, seed=1, strategy="stratified", planner=planner,
        by=["channel", "cohort"],
    )  # fmt: skip
    weights: Counter[str] = Counter()
    for item in queue.items.all():
        weights[item.stratum] += 1 / item.inclusion_probability  # type: ignore[assignment]
    assert {name: round(total, 9) for name, total in weights.items()} == {
        "chat · smb": 60, "chat · trial": 30, "voice · smb": 24, "voice · trial": 6,
    }  # fmt: skip
    assert {row["name"]: row["allocated"] for row in queue.design["strata"]} == {
        "chat · smb": 6, "chat · trial": 6, "voice · smb": 5, "voice · trial": 5,
    }  # fmt: skip


def test_items_come_in_random_order_not_by_stratum() -> None:
    make_frame(COUNTS)
    queue = sampling.draw_queue(
        slug="mixed", signals=[make_signal()], size=100, seed=3, strategy="stratified", by=["channel"]
    )
    voice = queue.items.filter(stratum="voice").values_list("position", flat=True)
    assert 30 < statistics.mean(voice) < 70


@pytest.mark.once
def test_every_unit_is_drawn_as_often_as_its_probability_says() -> None:
    make_frame({("chat", "smb"): 12, ("voice", "trial"): 4})
    signal = make_signal()
    planner = sampling.plan_for("stratified", allocation="equal", by=["channel"])
    seen: Counter[str] = Counter()
    told = {}
    for seed in range(150):
        queue = sampling.draw_queue(
            slug=f"q{seed}", signals=[signal], size=4, seed=seed, strategy="stratified", planner=planner, by=["channel"]
        )
        for item in queue.items.select_related("conversation"):
            seen[item.conversation.external_id] += 1
            told[item.conversation.external_id] = item.inclusion_probability
    for name, probability in told.items():
        sigma = (150 * probability * (1 - probability)) ** 0.5
        assert abs(seen[name] - 150 * probability) < 4 * sigma, name
    assert len(told) == 16


def test_a_size_beyond_the_frame_takes_all() -> None:
    make_frame({("chat", "smb"): 5})
    queue = sampling.draw_queue(slug="all", signals=[make_signal()], size=50, seed=1)
    assert queue.items.count() == 5
    assert (queue.design["asked"], queue.design["population"]) == (50, 5)
    assert {item.inclusion_probability for item in queue.items.all()} == {1.0}


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (Frame(channels=("chat",)), 90),
        (Frame(channels=("voice",), cohorts=("trial",)), 6),
        (Frame(attributes={"language": "de"}), 40),
        (Frame(sources=("test",)), 120),
    ],
)
def test_filters_bound_the_frame(frame: Frame, expected: int) -> None:
    make_frame(COUNTS)
    assert len(frames.read(frame, signals=[make_signal()], by=[])) == expected


def test_both_days_of_a_period_are_inside() -> None:
    for day in (1, 2, 3, 4):
        make_conversation(f"d{day}", started_at=datetime(2026, 3, day, 23, 59, tzinfo=UTC))
    units = frames.read(Frame(since=date(2026, 3, 2), until=date(2026, 3, 3)), signals=[make_signal()], by=[])
    assert [unit.external_id for unit in units] == ["d2", "d3"]


def test_strata_by_an_attribute() -> None:
    make_frame(COUNTS)
    queue = sampling.draw_queue(
        slug="languages", signals=[make_signal()], size=30, seed=1, strategy="stratified", by=["language"]
    )
    assert {row["name"]: row["population"] for row in queue.design["strata"]} == {"de": 40, "en": 80}
    with pytest.raises(Refused, match="no conversation of the frame has the attribute 'languge'"):
        sampling.draw_queue(slug="typo", signals=queue.signals.all(), size=3, strategy="stratified", by=["languge"])


def test_turn_signals_draw_turns_of_the_asked_role() -> None:
    make_conversation("c1", texts=("one", "two", "three"))
    make_conversation("c2", texts=("four",))
    signal = make_signal("tone", unit="turn")
    queue = sampling.draw_queue(slug="turns", signals=[signal], size=9, seed=1)
    assert sorted(queue.items.values_list("conversation__external_id", "turn")) == [("c1", 0), ("c1", 2), ("c2", 0)]
    agents = sampling.draw_queue(slug="agents", signals=[signal], size=9, seed=1, frame=Frame(roles=("agent",)))
    assert list(agents.items.values_list("conversation__external_id", "turn")) == [("c1", 1)]


def test_turns_are_asked_of_the_roles_that_were_labelled_before() -> None:
    conversation = make_conversation("c1", texts=("one", "two", "three"))
    signal = make_signal("tone", unit="turn")
    make_label(conversation, signal, make_user(), "positive", turn=1)
    queue = sampling.draw_queue(slug="turns", signals=[signal], size=9, seed=1)
    assert [item.turn for item in queue.items.all()] == [1]
    assert queue.design["frame"]["roles"] == ["agent"]


def test_refusals_say_what_is_wrong_and_store_nothing() -> None:
    signal, turn = make_signal(), make_signal("tone", unit="turn")
    with pytest.raises(Refused, match="no conversations yet"):
        sampling.draw_queue(slug="q", signals=[signal], size=3)
    make_conversation()
    for wrong, message in [
        ({"size": 0}, "1 to 1,000,000"),
        ({"overlap": 51}, "1 to 50 labels"),
        ({"slug": "a b"}, "letters, digits"),
        ({"strategy": "stratified"}, "needs --by"),
        ({"strategy": "magic"}, "not a strategy"),
        ({"signals": [signal, turn]}, "conversations or for turns"),
        ({"frame": Frame(channels=("fax",))}, r"no conversation lies in this frame \(channels fax\)"),
    ]:
        with pytest.raises(Refused, match=message):
            sampling.draw_queue(**({"slug": "q", "signals": [signal], "size": 1} | wrong))
    assert not Queue.objects.exists()
    sampling.draw_queue(slug="q", signals=[signal], size=1)
    with pytest.raises(Conflict, match="there is a queue 'q' already"):
        sampling.draw_queue(slug="q", signals=[signal], size=1)
    with pytest.raises(NotFound, match="no signal 'mood'"):
        sampling.signals_named(["mood"])


def test_a_preview_counts_what_the_draw_then_takes() -> None:
    make_frame(COUNTS)
    signal = make_signal()
    planner = sampling.plan_for("stratified", allocation="equal", by=["channel"])
    seen = sampling.preview(signals=[signal], size=30, planner=planner, by=["channel"], seed=5)
    assert not Item.objects.exists()
    queue = sampling.draw_queue(
        slug="q", signals=[signal], size=30, seed=5, strategy="stratified", planner=planner, by=["channel"]
    )
    taken = Counter(queue.items.values_list("conversation__channel", "conversation__cohort"))
    assert {(channel, cohort): n for channel, cohort, _, n in seen.cells if n} == dict(taken)
    assert sum(population for *_, population, _ in seen.cells) == seen.population == 120


def test_a_topped_up_queue_is_one_unbiased_sample() -> None:
    make_frame(COUNTS)
    queue = sampling.draw_queue(
        slug="q", signals=[make_signal()], size=20, seed=5, strategy="stratified", by=["channel"]
    )
    before = set(queue.items.values_list("conversation_id", flat=True))
    assert sampling.top_up(queue=queue, size=16, seed=6) == 16
    weights: Counter[str] = Counter()
    for item in queue.items.all():
        weights[item.stratum] += 1 / item.inclusion_probability  # type: ignore[assignment]
    assert {name: round(total, 9) for name, total in weights.items()} == {"chat": 90, "voice": 30}
    assert before < set(queue.items.values_list("conversation_id", flat=True))
    assert sorted(queue.items.values_list("position", flat=True)) == list(range(36))
    assert Slot.objects.filter(queue=queue).count() == 36


def test_a_uniform_queue_stays_uniform_when_topped_up() -> None:
    make_frame(COUNTS)
    queue = sampling.draw_queue(slug="q", signals=[make_signal()], size=20, seed=5, by=["channel"])
    sampling.top_up(queue=queue, size=10, seed=6)
    assert {round(item.inclusion_probability, 12) for item in queue.items.all()} == {30 / 120}
    assert {item.stratum for item in queue.items.all()} <= {"chat", "voice"}


def test_a_draw_takes_a_fixed_number_of_queries(django_assert_max_num_queries) -> None:  # type: ignore[no-untyped-def]
    make_frame(COUNTS)
    signal = make_signal()
    with django_assert_max_num_queries(14):
        sampling.draw_queue(slug="q", signals=[signal], size=100, seed=1, overlap=3)


def test_spreads_are_drawn_towards_the_whole() -> None:
    assert pilots._variance(["a", "a", "b", "b"]) == pytest.approx(0.5)
    assert pilots._variance([1.0, 3.0]) == pytest.approx(1.0)
    assert pilots._spread([], 0.25) == pytest.approx(0.5)
    assert 0 < pilots._spread(["a"] * 96, 0.25) < 0.11


def test_whole_conversations_have_no_turn() -> None:
    make_conversation()
    queue = sampling.draw_queue(slug="q", signals=[make_signal()], size=1)
    assert [item.turn for item in queue.items.all()] == [WHOLE]
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize(("strategy", "by"), [("uniform", []), ("stratified", ["channel"])])
def test_what_came_after_a_draw_is_topped_up_by_itself(strategy: str, by: list[str]) -> None:
    """The first draw could not reach it: among all that is left it would have had less than its stated chance."""
    make_frame({("chat", "smb"): 120})
    queue = sampling.draw_queue(slug="q", signals=[make_signal()], size=30, seed=1, strategy=strategy, by=by)
    fresh = [make_conversation(channel="chat") for _ in range(60)]
    assert sampling.top_up(queue=queue, size=30, seed=2) == 30
    assert queue.items.filter(conversation__in=fresh).count() == 20
    assert {round(item.inclusion_probability, 9) for item in queue.items.all()} == {round(1 / 3, 9)}
    more = [make_conversation(channel="chat") for _ in range(60)]
    sampling.top_up(queue=queue, size=20, seed=3)
    assert [queue.items.filter(conversation__in=some).count() for some in (fresh, more)] == [20, 20]
    assert {round(item.inclusion_probability, 9) for item in queue.items.all()} == {round(1 / 3, 9)}
