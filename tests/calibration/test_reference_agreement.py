"""Every report number equals what scikit-learn, krippendorff and irrCAC gave for the same real labels."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.utils import timezone

from calibration import classifiers, ingest
from calibration.evidence import pairing, reports
from calibration.models import ClassifierVersion
from labeling import gold, signals
from labeling import ingest as labeling_ingest
from labeling.formats import jsonl
from labeling.models import DatasetVersion, Signal

pytestmark = pytest.mark.django_db

CHECKED = ("accuracy", "kappa", "weighted_kappa", "ac1", "alpha", "human_alpha", "mae", "pearson")


def _load(folder: Path) -> None:
    signals.apply(document=yaml.safe_load((folder / "signals.yaml").read_text()))
    classifiers.apply(document=json.loads((folder / "classifiers.json").read_text()))
    for kind, verb in (
        ("conversations", labeling_ingest.conversations),
        ("labels", labeling_ingest.labels),
        ("predictions", ingest.predictions),
    ):
        with (folder / f"{kind}.jsonl.gz").open("rb") as stream:
            loaded = verb(records=jsonl.records(stream), partial=False)
            assert not loaded.errors


def _frozen(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int], DatasetVersion]:
    """One dataset for each way in which the reference made its gold."""
    wanted = {(row["signal"], row["aggregation"], row["min_labels"]) for row in rows}
    return {
        (signal, aggregation, least): gold.freeze(
            dataset=f"{signal.replace('_', '-')}-{aggregation}-{least}",
            signal=Signal.objects.get(slug=signal),
            aggregation=aggregation,
            min_labels=least,
            now=timezone.now(),
        )
        for signal, aggregation, least in sorted(wanted)
    }


def _reports(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """(gold, classifier, version, slice) → the report's row, each report computed once from stored pairs."""
    frozen = _frozen(rows)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    wanted = {(row["signal"], row["aggregation"], row["min_labels"], row["classifier"]) for row in rows}
    for *gold_key, classifier in sorted(wanted):
        dataset_version = frozen[tuple(gold_key)]
        for version in ClassifierVersion.objects.filter(classifier__slug=classifier):
            pairing.store(dataset_version=dataset_version, version=version)
        named = reports.classifier_named(classifier)
        for name in ("channel", "cohort"):
            document = reports.build(dataset_version=dataset_version, classifier=named, by=[name])
            json.dumps(document, allow_nan=False)
            for row in document["rows"]:
                found[(*gold_key, classifier, row["version"], json.dumps(row["slice"]))] = row
    return found


def _differences(reference: dict[str, Any], row: dict[str, Any]) -> list[str]:
    wrong = []
    if row["n"] != reference["n"] or row["missing_predictions"] != reference["missing_predictions"]:
        wrong.append(f"n {row['n']} missing {row['missing_predictions']}")
    if (reference["human_units"] or 0) != row["human_alpha"]["units"]:
        wrong.append(f"human units {row['human_alpha']['units']} != {reference['human_units']}")
    for name in CHECKED:
        if name not in reference:
            continue
        expected, found = reference[name], row[name]["value"]
        if expected is None:
            if found is not None or not row[name]["reason"]:
                wrong.append(f"{name} {found} where the reference has none")
        elif found is None or abs(found - expected) > 5e-5:
            wrong.append(f"{name} {found} != {expected}")
    return wrong


@pytest.mark.parametrize(
    "name",
    [
        "alttest_cebab",
        "empathy",
        "tdeval",
        *(pytest.param(name, marks=pytest.mark.once) for name in ("airline", "stc3")),
    ],
)
def test_every_number_equals_the_reference(name: str, shared: Path) -> None:
    everything = json.loads((shared / "data" / "reference_agreement.json").read_text())
    rows = [row for row in everything if row["set"] == name]
    _load(shared / "data" / name)
    found = _reports(rows)
    wrong: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        key = (row["signal"], row["aggregation"], row["min_labels"], row["classifier"], row["version"])
        wrong[f"{key} {row['slice']}"] += _differences(row, found[(*key, json.dumps(row["slice"]))])
    assert {key: texts for key, texts in wrong.items() if texts} == {}
    assert len(rows) > 30


def test_a_set_without_human_labels_of_the_scored_signal_has_no_gold_to_report_on(shared: Path) -> None:
    """harpervalley: people rated other signals than the classifiers score."""
    _load(shared / "data" / "harpervalley")
    version = gold.freeze(
        dataset="mos", signal=Signal.objects.get(slug="agent_mos"), aggregation="mean", now=timezone.now()
    )
    with pytest.raises(reports.NotComparable):
        reports.build(dataset_version=version, classifier=reports.classifier_named("gridspace-emotion"))
