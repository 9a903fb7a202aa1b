"""Reports: the contract's shape, every undefined number with its reason, and the rules that keep a verdict honest."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from calibration.errors import NotComparable
from calibration.evidence import pairing, planning, presenting, printing, reports
from calibration.models import AgreementReport, ClassifierVersion
from labeling.models import DatasetVersion
from tests.make import make_gold, make_signal, make_version

pytestmark = pytest.mark.django_db

VALUES = ("negative", "neutral", "positive")
ROW_KEYS = {
    "version", "slice", "n", "effective_n", "accuracy", "kappa", "weighted_kappa", "alpha", "ac1", "human_alpha",
    "verdict", "labels_needed", "per_category", "confusion",
}  # fmt: skip
HEAD_KEYS = {"dataset", "sha256", "classifier", "signal", "by", "rows", "worst", "missing_predictions"}


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def rows_for(
    version: ClassifierVersion, n: int, accuracy: float, seed: int = 1, values: tuple[str, ...] = VALUES, **kw: Any
) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        gold = values[i % len(values)]
        said = gold if rng.random() < accuracy else rng.choice([value for value in values if value != gold])
        rows.append({"gold": gold, "votes": {gold: 2}, "said": {version: said}} | kw)
    return rows


def built(dataset_version: DatasetVersion, *by: str, versions: Any = None) -> dict[str, Any]:
    classifier = reports.classifier_named("judge")
    return reports.build(dataset_version=dataset_version, classifier=classifier, versions=versions, by=by)


def row_of(document: dict[str, Any], **slice_: str) -> dict[str, Any]:
    return next(row for row in document["rows"] if row["slice"] == slice_)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list | tuple):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, float) else []


def estimates(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [value for value in row.values() if isinstance(value, dict) and "value" in value and "rmse" not in value]


def check_shape(document: dict[str, Any]) -> None:
    assert set(document) >= HEAD_KEYS
    json.dumps(document, allow_nan=False)
    assert all(math.isfinite(number) for number in numbers(document))
    for row in document["rows"]:
        assert set(row) >= ROW_KEYS
        assert row["verdict"] in ("trusted", "untrusted", "unproven")
        for found in (row[name] for name in ("accuracy", "kappa", "weighted_kappa", "alpha", "ac1", "human_alpha")):
            assert found["value"] is not None or found["reason"]


def test_it_works() -> None:
    version = make_version(make_signal())
    chat = rows_for(version, 300, 0.95, channel="chat")
    voice = rows_for(version, 300, 0.5, channel="voice")
    document = built(make_gold(version.classifier.signal, chat + voice), "channel")
    check_shape(document)
    assert [row["slice"] for row in document["rows"]] == [{}, {"channel": "chat"}, {"channel": "voice"}]
    assert row_of(document, channel="chat")["verdict"] == "trusted"
    assert row_of(document, channel="voice")["verdict"] == "untrusted"
    assert document["worst"]["slice"] == {"channel": "voice"}
    assert document["sentence"] == "Trusted on chat; untrusted on voice."
    confusion = row_of(document)["confusion"]
    assert confusion["labels"] == list(VALUES) and sum(map(sum, confusion["matrix"])) == 600
    assert [row["support"] for row in row_of(document)["per_category"]] == [200, 200, 200]
    assert row_of(document)["baseline"]["accuracy"]["value"] == pytest.approx(1 / 3)


def test_two_dimensions_give_each_alone_and_their_crossing() -> None:
    version = make_version(make_signal())
    rows = [
        row
        for channel in ("chat", "voice")
        for cohort in ("smb", "trial")
        for row in rows_for(version, 9, 0.9, channel=channel, cohort=cohort)
    ]
    document = built(make_gold(version.classifier.signal, rows), "channel", "cohort")
    assert [tuple(row["slice"].values()) for row in document["rows"]] == [
        (), ("chat",), ("voice",), ("smb",), ("trial",),
        ("chat", "smb"), ("chat", "trial"), ("voice", "smb"), ("voice", "trial"),
    ]  # fmt: skip
    assert row_of(document, channel="chat", cohort="smb")["n"] == 9


def test_a_thin_slice_has_its_pooled_value_beside_its_own() -> None:
    version = make_version(make_signal())
    sizes = {"chat": (300, 0.95), "email": (300, 0.6), "voice": (12, 0.2)}
    rows = [
        row
        for seed, (channel, (n, accuracy)) in enumerate(sizes.items())
        for row in rows_for(version, n, accuracy, seed=seed, channel=channel)
    ]
    document = built(make_gold(version.classifier.signal, rows), "channel")
    thin, others = row_of(document, channel="voice"), [row_of(document, channel=name) for name in ("chat", "email")]
    assert thin["reason"] == "too_few_items"
    raw, drawn = thin["kappa"]["value"], thin["pooled"]

    def drawn_to(row: dict[str, Any]) -> float:
        value, weight = row["pooled"]["value"], row["pooled"]["weight"]
        return float((value - weight * row["kappa"]["value"]) / (1 - weight))

    mean = drawn_to(thin)
    assert [drawn_to(row) for row in others] == pytest.approx([mean, mean])
    assert raw < drawn["value"] < mean and 0 < drawn["weight"] < min(row["pooled"]["weight"] for row in others)
    assert row_of(document)["pooled"] == {"value": row_of(document)["kappa"]["value"], "weight": 1.0}
    shown = presenting.page(document, version=version.version, address="/", query={})
    assert [bool(row["pooled"]) for row in shown["forest"]] == [False, False, False, True]
    (line,) = [line for line in printing.as_csv(document).splitlines() if ",voice," in line]
    assert f",{drawn['value']},{drawn['weight']},unproven,too_few_items," in line
    old = [{name: value for name, value in row.items() if name != "pooled"} for row in document["rows"]]
    assert ",,,unproven,too_few_items," in printing.as_csv(document | {"rows": old})


def test_weights_turn_an_uneven_sample_into_the_population() -> None:
    """Errors were over-sampled tenfold: unweighted accuracy would be 1/2, the population's is 10/11."""
    signal = make_signal()
    version = make_version(signal)
    right = rows_for(version, 60, 1.0, pi=0.1)
    wrong = rows_for(version, 60, 0.0, pi=1.0)
    document = built(make_gold(signal, right + wrong))
    assert document["rows"][0]["accuracy"]["value"] == pytest.approx(10 / 11)
    assert document["rows"][0]["effective_n"] < 120


def test_a_report_without_pairs_gives_reasons_not_numbers() -> None:
    signal = make_signal()
    version = make_version(signal)
    document = built(make_gold(signal, [{"gold": "neutral"}, {"gold": "negative"}]), "channel")
    check_shape(document)
    row = document["rows"][0]
    assert (row["n"], row["missing_predictions"], document["missing_predictions"]) == (0, 2, 2)
    assert row["kappa"] == {"value": None, "reason": "no_items"}
    assert document["sentence"] == "Unproven: it has no predictions on this gold."
    assert version.version == row["version"]


def test_one_category_alone_leaves_kappa_undefined() -> None:
    signal = make_signal()
    version = make_version(signal)
    rows = [{"gold": "neutral", "votes": {"neutral": 2}, "said": {version: "neutral"}} for _ in range(40)]
    row = built(make_gold(signal, rows))["rows"][0]
    assert row["kappa"] == {"value": None, "reason": "one_category"}
    assert row["human_alpha"]["reason"] == "one_category"
    assert row["ac1"]["value"] == 1.0
    assert row["verdict"] == "unproven"
    assert row["per_category"][0]["precision"]["reason"] == "never_predicted"
    assert row["per_category"][0]["recall"]["reason"] == "not_in_gold"


def test_a_thin_slice_is_never_the_worst_while_another_has_labels() -> None:
    signal = make_signal()
    version = make_version(signal)
    rows = rows_for(version, 200, 0.9, channel="chat") + rows_for(version, 6, 0.0, channel="voice")
    document = built(make_gold(signal, rows), "channel")
    assert row_of(document, channel="voice")["reason"] == "too_few_items"
    assert document["worst"]["slice"] == {"channel": "chat"}


def test_failed_answers_are_missing_and_called_out() -> None:
    signal = make_signal()
    version = make_version(signal)
    rows = [*rows_for(version, 30, 0.9), {"gold": "neutral", "said": {version: None}}, {"gold": "neutral"}]
    document = built(make_gold(signal, rows))
    assert (document["missing_predictions"], document["failed_predictions"]) == (2, 1)
    assert document["rows"][0]["n"] == 30


def test_human_alpha_counts_ties_and_units_without_a_prediction() -> None:
    signal = make_signal(scale="nominal")
    version = make_version(signal)
    rows: list[dict[str, Any]] = rows_for(version, 30, 0.9)
    agreeing = built(make_gold(signal, rows))["rows"][0]["human_alpha"]
    tied = [{"gold": None, "votes": {"neutral": 1, "negative": 1}} for _ in range(10)]
    split = built(make_gold(signal, [*rows, *tied], name="other"))["rows"][0]["human_alpha"]
    assert (agreeing["value"], agreeing["units"]) == (1.0, 30)
    assert split["units"] == 40 and split["value"] < 0.8


def test_more_slices_make_trust_dearer() -> None:
    """The same chat labels, alone just above the bar, do not earn trust among many slices that do not."""
    signal = make_signal()
    version = make_version(signal)
    chat = rows_for(version, 240, 0.813, seed=4, channel="chat")
    alone = built(make_gold(signal, chat), "channel")
    others = [row for k in range(12) for row in rows_for(version, 60, 0.6, seed=k, channel=f"other{k}")]
    among = built(make_gold(signal, chat + others, name="many"), "channel")
    assert row_of(alone, channel="chat")["verdict"] == "trusted"
    assert row_of(among, channel="chat")["verdict"] == "unproven"
    assert row_of(among, channel="chat")["reason"] == "other_slices"


def test_gold_that_grew_because_it_was_unproven_is_judged_more_strictly() -> None:
    signal = make_signal()
    version = make_version(signal)
    few, many = rows_for(version, 60, 0.81, seed=2), rows_for(version, 240, 0.813, seed=4)
    first = make_gold(signal, few)
    assert built(first)["rows"][0]["reason"] == "spans_bar"
    grown = make_gold(signal, many, parent=first)
    fresh = make_gold(signal, many, name="fresh")
    assert built(fresh)["rows"][0]["verdict"] == "trusted"
    assert built(grown)["rows"][0]["verdict"] == "unproven"


def test_every_version_that_answered_is_in_the_report() -> None:
    signal = make_signal()
    a, b, unused = (make_version(signal, name) for name in ("a", "b", "unused"))
    rows = [row | {"said": row["said"] | {b: "neutral"}} for row in rows_for(a, 40, 0.9)]
    document = built(make_gold(signal, rows))
    assert [row["version"] for row in document["rows"]] == ["a", "b"]
    assert document["rows"][1]["kappa"]["value"] == 0
    assert document["sentence"] == f"b: {document['sentences']['b']}" and set(document["sentences"]) == {"a", "b"}
    assert unused.version not in document["missing_by_version"]


def test_interval_signals_have_alpha_and_errors_instead_of_kappa() -> None:
    signal = make_signal("stars", scale="interval", minimum=1, maximum=5, trust_statistic="kappa")
    version = make_version(signal)
    rng = random.Random(2)
    rows = [
        {"gold": g, "votes": {str(g): 2}, "said": {version: min(5, g + rng.choice([0, 0, 0.5]))}}
        for g in [1, 2, 3, 4, 5] * 20
    ]
    document = built(make_gold(signal, rows, aggregation="mean"))
    check_shape(document)
    row = document["rows"][0]
    assert row["kappa"] == {"value": None, "reason": "interval_scale"}
    assert document["bar"]["statistic"] == "alpha" and row["verdict"] == "trusted"
    assert row["mae"]["value"] == pytest.approx(row["bias"]["value"]) and row["bias"]["value"] > 0
    assert row["human_alpha"]["value"] == 1.0


def test_multilabel_signals_have_a_table_for_every_label() -> None:
    signal = make_signal("topics", scale="multilabel", values=("billing", "delivery"))
    version = make_version(signal)
    golds = ['["billing"]', '["delivery"]', '["billing", "delivery"]', "[]"] * 15
    rows = [
        {"gold": gold, "votes": {"billing": 2 * ("billing" in gold)}, "annotators": 2, "said": {version: gold}}
        for gold in golds
    ]
    document = built(make_gold(signal, rows))
    check_shape(document)
    row = document["rows"][0]
    assert row["confusion"] == {"labels": ["billing", "delivery"], "per_label": [[[30, 0], [0, 30]]] * 2}
    assert row["accuracy"]["value"] == row["exact"]["value"] == row["kappa"]["value"] == 1.0
    assert row["verdict"] == "trusted"


def test_the_number_of_queries_does_not_grow_with_the_rows() -> None:
    def queries(n: int, name: str) -> int:
        signal = make_signal(name)
        version = make_version(signal, classifier=name)
        dataset_version = make_gold(signal, rows_for(version, n, 0.8), name=name)
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            reports.build(dataset_version=dataset_version, classifier=version.classifier, by=["channel", "cohort"])
        return len(captured)

    assert queries(6, "small") == queries(60, "large") < 12


def test_a_kept_report_is_the_same_bytes_whatever_happens_later() -> None:
    signal = make_signal()
    version = make_version(signal)
    make_gold(signal, rows_for(version, 40, 0.9))
    kept = reports.save(dataset="gold@1", classifier="judge", by=["channel"])
    before = reports.as_bytes(kept)
    assert reports.save(dataset="gold@1", classifier="judge", by=["channel"]) == kept
    later = make_version(signal, "later")
    make_gold(signal, rows_for(later, 10, 0.9), name="more")
    assert reports.as_bytes(AgreementReport.objects.get(id=kept.id)) == before
    assert reports.save(dataset="gold@1", classifier="judge", by=["cohort"]) != kept


def test_stored_pairs_give_the_same_report() -> None:
    signal = make_signal()
    version = make_version(signal)
    dataset_version = make_gold(signal, rows_for(version, 60, 0.8, pi=0.3))
    before = built(dataset_version, "channel")
    pairing.store(dataset_version=dataset_version, version=version)
    cache.clear()
    assert built(dataset_version, "channel") == before


def test_refusals() -> None:
    signal = make_signal()
    make_version(signal)
    dataset_version = make_gold(signal, [{"gold": "neutral"}])
    with pytest.raises(NotComparable, match="at most 3"):
        built(dataset_version, "a", "b", "c", "d")
    other = make_version(make_signal("intent"), classifier="other")
    with pytest.raises(NotComparable, match="gold of sentiment"):
        reports.build(dataset_version=dataset_version, classifier=other.classifier)


def test_a_plan_asks_for_more_labels_the_finer_the_interval() -> None:
    signal = make_signal()
    version = make_version(signal)
    dataset_version = make_gold(signal, rows_for(version, 100, 0.8))
    wide, fine = (
        planning.plan(dataset_version=dataset_version, version=version, half_width=width, by=["channel"])
        for width in (0.1, 0.05)
    )
    assert 0 < wide["rows"][0]["further"] < fine["rows"][0]["further"]
    assert fine["rows"][0]["total"] == pytest.approx(4 * wide["rows"][0]["total"], abs=4)
    json.dumps(fine, allow_nan=False)
