"""The statistics against values made from the same files by scikit-learn, krippendorff and irrCAC."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from calibration.stats import human, moments, scores
from calibration.stats.summary import summarise
from calibration.stats.tables import ConfusionTable

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REFERENCE = DATA / "reference_agreement.json"
SETS = ("airline", "alttest_cebab", "empathy", "stc3", "tdeval")
Unit = tuple[str, int | None]

pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason=f"no reference values at {REFERENCE}")


def lines(folder: str, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


class Evidence:
    """One set as the files have it: who said what of which unit."""

    def __init__(self, folder: str) -> None:
        documents = yaml.safe_load((DATA / folder / "signals.yaml").read_text())
        self.signals = {signal["slug"]: signal for signal in documents}
        self.votes: dict[str, dict[Unit, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for row in lines(folder, "labels"):
            self.votes[row["signal"]][row["conversation"], row["turn"]].append(row["value"])
        self.answers: dict[tuple[str, str], dict[Unit, Any]] = defaultdict(dict)
        for row in lines(folder, "predictions"):
            self.answers[row["classifier"], row["version"]][row["conversation"], row["turn"]] = row["value"]
        self.slices = {row["id"]: (row["channel"], row.get("cohort")) for row in lines(folder, "conversations")}

    def belongs(self, unit: Unit, part: dict[str, str]) -> bool:
        channel, cohort = self.slices[unit[0]]
        return part.get("channel", channel) == channel and part.get("cohort", cohort) == cohort


@cache
def evidence(folder: str) -> Evidence:
    return Evidence(folder)


def gold_of(votes: list[Any], row: dict[str, Any]) -> Any:
    """The unit's gold value, or None where there are too few labels or a tie."""
    if len(votes) < row["min_labels"]:
        return None
    if row["aggregation"] == "mean":
        return sum(votes) / len(votes)
    (first, most), *rest = Counter(votes).most_common(2)
    return None if rest and rest[0][1] == most else first


def expect(row: dict[str, Any], name: str, value: float | None) -> str | None:
    wanted = row[name]
    if wanted is None or value is None:
        return None if value is wanted else f"{name}: {value} instead of {wanted}"
    return None if abs(value - wanted) <= 0.5e-6 + 1e-9 else f"{name}: {value} instead of {wanted}"


def categorical(row: dict[str, Any], found: Evidence, pairs: list[tuple[Any, Any]]) -> list[str | None]:
    signal = found.signals[row["signal"]]
    values = [category["value"] for category in signal["categories"]]
    code = {value: index for index, value in enumerate(values)}
    gold, predicted = (np.array([code[pair[side]] for pair in pairs]) for side in (0, 1))
    table = ConfusionTable.from_pairs(gold, predicted, len(values), categories=values)
    points = [category.get("score") for category in signal["categories"]]
    summary = summarise(table, scale=row["scale"], scores=None if None in points else points).estimates
    names = ["accuracy", "kappa", "alpha", "ac1", *(["weighted_kappa"] if row["scale"] == "ordinal" else [])]
    return [expect(row, name, summary[name].value) for name in names]


def interval(row: dict[str, Any], pairs: list[tuple[Any, Any]]) -> list[str | None]:
    x, y = (np.array([float(pair[side]) for pair in pairs]) for side in (0, 1))
    summary = moments.summarise(moments.Moments.from_pairs(x, y, centre=3.0, span=4.0)).estimates
    checks = [expect(row, name, summary[name].value) for name in ("alpha", "mae", "pearson")]
    two_raters = human.alpha_of_moments(np.full(len(x), 2), x + y, x**2 + y**2, 4.0)
    return [*checks, expect(row, "alpha", two_raters.value), expect(row, "pearson", scores.pearson(x, y).value)]


def human_row(row: dict[str, Any], found: Evidence, units: list[Unit]) -> list[str | None]:
    """Alpha among people over all units of the slice with two labels or more."""
    votes = found.votes[row["signal"]]
    level = {"ordinal": "ordinal", "interval": "interval"}.get(row["scale"], "nominal")
    several = [votes[unit] for unit in units if len(votes[unit]) > 1]
    if level == "interval":
        values = sorted({value for unit in several for value in unit})
        counts = human.count_matrix([Counter(map(str, unit)) for unit in several], [str(value) for value in values])
        alpha = human.human_alpha(counts, level=level, values=values)
    else:
        values = [category["value"] for category in found.signals[row["signal"]]["categories"]]
        alpha = human.human_alpha(human.count_matrix([Counter(unit) for unit in several], values), level=level)
    return [expect(row, "human_units", len(several)), expect(row, "human_alpha", alpha.value)]


@pytest.mark.parametrize("folder", SETS)
def test_every_row_of_a_set(folder: str) -> None:
    rows = [row for row in json.loads(REFERENCE.read_text()) if row["set"] == folder]
    found, wrong, people = evidence(folder), [], {}
    assert rows
    for row in rows:
        votes = found.votes[row["signal"]]
        answers = found.answers[row["classifier"], row["version"]]
        units = [unit for unit in votes if found.belongs(unit, row["slice"])]
        gold = {unit: value for unit in units if (value := gold_of(votes[unit], row)) is not None}
        pairs = [(value, answers[unit]) for unit, value in gold.items() if unit in answers]
        checks = interval(row, pairs) if row["scale"] == "interval" else categorical(row, found, pairs)
        checks.append(expect(row, "n", len(pairs)))
        key = (row["signal"], str(row["slice"]), row["human_alpha"])
        if key not in people:
            people[key] = human_row(row, found, units)
        wrong += [(key, row["version"], text) for text in [*checks, *people[key]] if text]
    assert not wrong, f"{len(wrong)} of {len(rows)} rows: {wrong[:5]}"
