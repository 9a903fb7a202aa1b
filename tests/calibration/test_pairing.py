"""Pairing: one aggregate that equals a plain loop over rows, stored and cached without changing a number."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from calibration.errors import NotComparable
from calibration.evidence import pairing
from calibration.evidence.cells import Pairs, add_moments
from calibration.models import ClassifierVersion, PairCell, PairTable, Prediction, VoteCell
from labeling.models import DatasetVersion, Signal
from tests.make import make_gold, make_said, make_signal, make_version

pytestmark = pytest.mark.django_db

VALUES = ("negative", "neutral", "positive")


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def world(n: int = 120, seed: int = 1) -> tuple[DatasetVersion, ClassifierVersion, list[dict[str, Any]]]:
    rng, signal = random.Random(seed), make_signal()
    version = make_version(signal)
    rows = [
        {
            "gold": rng.choice([*VALUES, None]),
            "channel": rng.choice(["chat", "voice"]),
            "cohort": rng.choice(["trial", "smb"]),
            "attributes": rng.choice([{"lang": "de"}, {"lang": "en", "vip": True}, {}]),
            "pi": rng.choice([1.0, 0.25, 0.1]),
            "said": rng.choice([{}, {version: None}, *[{version: value} for value in VALUES]]),
        }
        for _ in range(n)
    ]
    return make_gold(signal, rows), version, rows


def loop(rows: list[dict[str, Any]], version: ClassifierVersion, by: list[str]) -> dict[Any, list[float]]:
    """The same by hand."""
    cells: dict[Any, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
    for row in rows:
        if row["gold"] is None:
            continue
        said = row["said"].get(version, "absent")
        status = {"absent": "missing", None: "unparsable"}.get(said, "ok")
        text = {True: "true"}
        key = tuple(
            row[name]
            if name in ("channel", "cohort")
            else text.get(row["attributes"].get(name), row["attributes"].get(name, "unknown"))
            for name in by
        )
        cell = cells[key, row["gold"], said if status == "ok" else "", status]
        weight = 1 / row["pi"]
        cell[0], cell[1], cell[2] = cell[0] + 1, cell[1] + weight, cell[2] + weight**2
    return cells


def as_dict(pairs: Pairs) -> dict[Any, list[float]]:
    return {(cell.key, cell.gold, cell.predicted, cell.status): [cell.n, cell.s1, cell.s2] for cell in pairs.cells}


def close(found: dict[Any, list[float]], expected: dict[Any, list[float]]) -> bool:
    return found.keys() == expected.keys() and all(found[key] == pytest.approx(expected[key]) for key in expected)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cells_equal_a_plain_loop(seed: int) -> None:
    dataset_version, version, rows = world(seed=seed)
    pairs = pairing.read(dataset_version=dataset_version, version=version)
    assert close(as_dict(pairs), loop(rows, version, ["channel", "cohort"]))
    gold = [row for row in rows if row["gold"] is not None]
    assert pairs.paired + pairs.missing == len(gold)
    assert pairs.failed == sum(version in row["said"] and row["said"][version] is None for row in gold)


def test_attributes_slice_as_text_whatever_their_type() -> None:
    dataset_version, version, rows = world()
    pairs = pairing.read(dataset_version=dataset_version, version=version, by=["lang", "vip"])
    assert pairs.by == ("channel", "cohort", "lang", "vip")
    assert close(as_dict(pairs), loop(rows, version, ["channel", "cohort", "lang", "vip"]))


def test_an_attribute_that_no_unit_has_is_refused_by_name() -> None:
    dataset_version, version, _ = world(20)
    with pytest.raises(NotComparable, match="'plan'.*lang"):
        pairing.read(dataset_version=dataset_version, version=version, by=["plan"])


def test_stored_pairs_are_the_same_pairs(django_assert_max_num_queries: Any) -> None:
    dataset_version, version, _ = world()
    computed = pairing.read(dataset_version=dataset_version, version=version)
    table = pairing.store(dataset_version=dataset_version, version=version)
    assert pairing.store(dataset_version=dataset_version, version=version) == table
    cache.clear()
    with django_assert_max_num_queries(4) as queries:
        stored = pairing.read(dataset_version=dataset_version, version=version)
    assert not any("labeling_goldrow" in query["sql"] for query in queries.captured_queries)
    assert close(as_dict(stored), as_dict(computed))
    assert (table.paired, table.missing) == (computed.paired, computed.missing)


def test_reading_writes_nothing() -> None:
    dataset_version, version, _ = world(20)
    pairing.read(dataset_version=dataset_version, version=version)
    assert not PairTable.objects.exists() and not PairCell.objects.exists()


def test_a_prediction_that_arrives_later_makes_another_table() -> None:
    dataset_version, version, _ = world(40)
    before = pairing.store(dataset_version=dataset_version, version=version)
    seen = pairing.read(dataset_version=dataset_version, version=version)
    answered = set(Prediction.objects.values_list("conversation", flat=True))
    open_row = dataset_version.rows.filter(value__isnull=False).exclude(conversation__in=answered).first()
    make_said(version, open_row.conversation, "neutral").save()
    after = pairing.store(dataset_version=dataset_version, version=version)
    assert after != before and list(PairTable.objects.all()) == [after]
    assert pairing.read(dataset_version=dataset_version, version=version).paired == seen.paired + 1


def test_gold_of_another_signal_cannot_be_paired() -> None:
    dataset_version, _, _ = world(5)
    other = make_version(make_signal("intent", scale="nominal"), classifier="other")
    with pytest.raises(NotComparable):
        pairing.read(dataset_version=dataset_version, version=other)


def interval_world() -> tuple[Signal, DatasetVersion, ClassifierVersion, list[dict[str, Any]]]:
    rng, signal = random.Random(5), make_signal("stars", scale="interval", minimum=1, maximum=5)
    version = make_version(signal)
    rows = [
        {
            "gold": rng.choice([1, 2.5, 3, 4, 5]),
            "channel": rng.choice(["chat", "voice"]),
            "pi": rng.choice([1.0, 0.5]),
            "said": rng.choice([{}, {version: rng.choice([1, 2, 3.5, 5])}, {version: 4}]),
        }
        for _ in range(80)
    ]
    return signal, make_gold(signal, rows), version, rows


def test_moments_of_interval_signals_equal_a_plain_loop() -> None:
    _, dataset_version, version, rows = interval_world()
    pairing.store(dataset_version=dataset_version, version=version)
    pairs = pairing.read(dataset_version=dataset_version, version=version)
    for channel in ("chat", "voice"):
        mine = [row for row in rows if row["channel"] == channel and version in row["said"]]
        found = add_moments([c.moments for c in pairs.answered if c.key[0] == channel and c.moments])
        assert found is not None
        for a, b in pairing.POWERS:
            terms = [((row["gold"] - 3) ** a * (row["said"][version] - 3) ** b, 1 / row["pi"]) for row in mine]
            assert found[f"{a}{b}"] == pytest.approx(sum(w * x for x, w in terms))
            assert found[f"w{a}{b}"] == pytest.approx(sum(w * w * x for x, w in terms))
        absolute = sum(abs(row["gold"] - row["said"][version]) / row["pi"] for row in mine)
        assert found["abs"] == pytest.approx(absolute)


def test_votes_count_unresolved_units_and_skip_lonely_labels() -> None:
    signal = make_signal()
    rows: list[dict[str, Any]] = [
        {"gold": "neutral", "votes": {"neutral": 2, "negative": 1}},
        {"gold": "neutral", "votes": {"neutral": 2, "negative": 1}},
        {"gold": None, "votes": {"neutral": 1, "negative": 1}},
        {"gold": "neutral", "votes": {"neutral": 1}},
    ]
    groups = pairing.votes(dataset_version=make_gold(signal, rows))
    assert sorted((json.dumps(group.votes), group.annotators, group.units) for group in groups) == [
        ('{"neutral": 1, "negative": 1}', 2, 1),
        ('{"neutral": 2, "negative": 1}', 3, 2),
    ]


def test_pairs_of_new_gold_and_new_predictions_are_kept_in_time() -> None:
    dataset_version, version, _ = world(20)
    make_version(version.classifier.signal, "silent")
    assert pairing.store_due() == 1
    assert pairing.store_due() == 0
    make_gold(version.classifier.signal, [{"gold": "neutral"}])
    assert pairing.store_due() == 1
    assert {table.version_id for table in PairTable.objects.all()} == {version.id}
    assert dataset_version.pair_tables.count() == 1


def test_stored_votes_are_the_same_votes() -> None:
    signal = make_signal()
    version = make_version(signal)
    rows: list[dict[str, Any]] = [
        {"gold": "neutral", "votes": {"neutral": 2, "negative": 1}, "channel": "chat"},
        {"gold": "neutral", "votes": {"negative": 1, "neutral": 2}, "channel": "chat"},
        {"gold": None, "votes": {"neutral": 1, "negative": 1}, "channel": "voice"},
        {"gold": "neutral", "votes": {"neutral": 1}, "said": {version: "neutral"}},
    ]
    dataset_version = make_gold(signal, rows)

    def counted() -> dict[Any, int]:
        found: dict[Any, int] = defaultdict(int)
        for group in pairing.votes(dataset_version=dataset_version):
            found[group.key, json.dumps(group.votes, sort_keys=True), group.annotators] += group.units
        return dict(found)

    before = counted()
    pairing.store(dataset_version=dataset_version, version=version)
    cache.clear()
    assert counted() == before and sum(before.values()) == 3
    assert VoteCell.objects.count() == 2


def test_joint_cells_hold_units_that_both_answered() -> None:
    signal = make_signal()
    a, b = make_version(signal, "a"), make_version(signal, "b")
    rows = [
        {"gold": "neutral", "said": {a: "neutral", b: "negative"}, "pi": 0.5},
        {"gold": "neutral", "said": {a: "neutral"}},
        {"gold": "neutral", "said": {a: None, b: "neutral"}},
    ]
    cells = pairing.joint(dataset_version=make_gold(signal, rows), a=a, b=b)
    assert [(c.gold, c.a, c.b, c.n, c.s1, c.s2) for c in cells] == [("neutral", "neutral", "negative", 1, 2.0, 4.0)]


@pytest.mark.parametrize(
    ("period", "expected"), [("day", "2026-03-04"), ("week", "2026-03-02"), ("month", "2026-03-01")]
)
def test_periods_begin_on_their_first_day(period: str, expected: str) -> None:
    signal = make_signal()
    version = make_version(signal)
    at = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
    dataset_version = make_gold(signal, [{"gold": "neutral", "said": {version: "neutral"}, "started_at": at}])
    pairs = pairing.compute(dataset_version, version, (period,), "mark")
    assert [cell.key for cell in pairs.cells] == [(expected,)]


def test_another_dataset_under_the_same_number_is_not_mistaken_for_the_old_one() -> None:
    """Numbers come again after a rollback or a restored database; content and time of making do not."""
    first = make_gold(make_signal(), [{"gold": "neutral", "votes": {"neutral": 2}}])
    assert len(pairing.votes(dataset_version=first)) == 1
    again = DatasetVersion.objects.get(id=first.id)
    again.created_at = timezone.now()
    second = make_gold(first.dataset.signal, [{"gold": "neutral"}], name="other")
    again.id = second.id
    assert pairing.votes(dataset_version=again) == ()
