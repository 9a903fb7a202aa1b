"""Agreement reports: one dataset version against versions of a classifier, per slice, with the evidence for each number.

`build` computes, `save` keeps what was built under a permanent address, `compare` puts two versions on the same gold.
Nothing here touches a row of labels or predictions: `pairing` does, and hands over cells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Protocol, TypeVar

from calibration import classifiers
from calibration.errors import NotComparable
from calibration.evidence import measuring, pairing, sentences
from calibration.evidence.cells import OK, Cell, Pairs
from calibration.evidence.measuring import Bar, Measured, Slice
from calibration.models import AgreementReport, Classifier, ClassifierVersion
from calibration.stats import human, verdicts
from calibration.stats.estimate import Estimate
from labeling import references
from labeling.errors import NotFound
from labeling.models import DatasetVersion
from labeling.values import Scale

METHOD = 5
"""The version of the methods: another number means that the same input may give another report."""

STATISTICS = ("accuracy", "kappa", "weighted_kappa", "alpha", "ac1")
MOST_DIMENSIONS = 3
MOST_SLICES = 500
"""Slices that a report measures beside the whole, those with most gold: a cohort can have a value for each customer."""
SEVERAL = 1.5
"""Labels a unit, on average, from which gold is no longer one person's word."""
WHOLE: Slice = ()


class Keyed(Protocol):
    """Anything counted per slice."""

    @property
    def key(self) -> tuple[str, ...]: ...


class Sized(Keyed, Protocol):
    """So many units of a slice."""

    @property
    def n(self) -> int: ...


Grouped = TypeVar("Grouped", bound=Keyed)
Counted = TypeVar("Counted", bound=Sized)


@dataclass(frozen=True, slots=True)
class Input:
    """All that a report is made of."""

    dataset_version: DatasetVersion
    classifier: Classifier
    versions: tuple[ClassifierVersion, ...]
    by: tuple[str, ...]
    scale: Scale
    bar: Bar


def build(
    *,
    dataset_version: DatasetVersion,
    classifier: Classifier,
    versions: Sequence[ClassifierVersion] | None = None,
    by: Sequence[str] = (),
) -> dict[str, Any]:
    """The report as the API gives it; without `versions`, of every version that answered any of the gold."""
    given = read_input(dataset_version, classifier, versions, by)
    pairs = {version: _pairs(given, version) for version in given.versions}
    if versions is None:
        answered = {version: found for version, found in pairs.items() if found.paired}
        pairs = answered or dict(list(pairs.items())[-1:])
    every = {version: slices_of(given.by, found.by, found.cells) for version, found in pairs.items()}
    shown = {version: largest(groups) for version, groups in every.items()}
    people = _people(given, frozenset(key for groups in shown.values() for key in groups))
    rows = [row for version, groups in shown.items() for row in _rows(given, version, pairs[version], groups, people)]
    newest = list(pairs)[-1].version
    document = _head(given) | {"rows": rows, "worst": worst(rows, newest, given.bar.statistic)} | _absent(pairs)
    if left_out := max(len(every[version]) - len(groups) for version, groups in shown.items()):
        document |= {"slices_left_out": left_out}
    by_version = {version.version: sentences.report(document, version.version) for version in pairs}
    told = by_version[newest] if len(by_version) == 1 else f"{newest}: {by_version[newest]}"
    return document | {"sentence": told, "sentences": by_version}


def prepare(*, dataset: str, classifier: str) -> None:
    """Keep the pairs of a report as rows, so that it costs the same from then on however many labels there are."""
    dataset_version, _, versions = named(dataset, classifier)
    for version in versions:
        pairing.store(dataset_version=dataset_version, version=version)


def named(dataset: str, classifier: str) -> tuple[DatasetVersion, Classifier, list[ClassifierVersion]]:
    """What `gold@3` and `judge@2026-03` name; `judge` alone means all its versions."""
    slug, name = references.split(classifier)
    versions = [classifiers.version_named(classifier)] if name is not None else None
    found = versions[0].classifier if versions else classifier_named(slug)
    chosen = versions or list(found.versions.select_related("classifier__signal"))
    return references.dataset_version(dataset), found, chosen


def from_references(*, dataset: str, classifier: str, by: Sequence[str] = ()) -> dict[str, Any]:
    """The report that `gold@3` and `judge@2026-03` name; `judge` alone means all its versions."""
    dataset_version, found, versions = named(dataset, classifier)
    all_of_them = references.split(classifier)[1] is None
    return build(dataset_version=dataset_version, classifier=found, versions=None if all_of_them else versions, by=by)


def save(*, dataset: str, classifier: str, by: Sequence[str] = ()) -> AgreementReport:
    """Keep a report under a permanent address. The same input by the same methods is the same report."""
    dataset_version, found, versions = named(dataset, classifier)
    document = from_references(dataset=dataset, classifier=classifier, by=by)
    names = list(dict.fromkeys(row["version"] for row in document["rows"]))
    marks = {version.version: pairing.fingerprint(version) for version in versions if version.version in names}
    given = [METHOD, document["sha256"], found.slug, document["by"], document["bar"], marks]
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    report, _ = AgreementReport.objects.get_or_create(
        input_sha256=digest,
        defaults={
            "dataset_version": dataset_version,
            "classifier": found,
            "by": document["by"],
            "versions": names,
            "method": METHOD,
            "document": document,
        },
    )
    return report


def classifier_named(slug: str) -> Classifier:
    """The classifier of that name; raises NotFound naming it."""
    found = Classifier.objects.select_related("signal").filter(slug=slug).first()
    if found is None:
        raise NotFound("unknown_classifier", f"there is no classifier {slug!r}", field="classifier")
    return found


def as_bytes(report: AgreementReport) -> bytes:
    """The canonical bytes of a kept report."""
    return json.dumps(report.document, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()


def read_input(
    dataset_version: DatasetVersion,
    classifier: Classifier,
    versions: Sequence[ClassifierVersion] | None,
    by: Sequence[str],
) -> Input:
    """What a report or a plan is made of, checked: gold and versions of one signal, names to slice by, scale and bar."""
    names = tuple(dict.fromkeys(name.strip() for name in by if name.strip()))
    if any("\x00" in name for name in names):
        raise NotComparable("unknown_slice", "no name to slice by has a NUL character in it", field="by")
    if len(names) > MOST_DIMENSIONS:
        raise NotComparable(
            "too_many_dimensions", f"a report slices by at most {MOST_DIMENSIONS} names, not {len(names)}", field="by"
        )
    chosen = tuple(classifier.versions.select_related("classifier__signal")) if versions is None else tuple(versions)
    if not chosen:
        raise NotComparable("no_versions", f"{classifier.slug} has no version yet", field="classifier")
    for version in chosen:
        pairing.check_comparable(dataset_version, version)
    signal = dataset_version.dataset.signal
    scale = Scale.of(signal)
    bar = Bar(signal.trust_statistic, signal.trust_at_least).for_scale(scale.kind)
    return Input(dataset_version, classifier, chosen, names, scale, bar)


def _pairs(given: Input, version: ClassifierVersion) -> Pairs:
    return pairing.read(dataset_version=given.dataset_version, version=version, by=given.by)


def slices_of(by: Sequence[str], dimensions: Sequence[str], cells: Iterable[Grouped]) -> dict[Slice, list[Grouped]]:
    """Cells by slice: the whole first, then each of the names in `by` alone, then their crossings."""
    found = list(cells)
    groups: dict[Slice, list[Grouped]] = {WHOLE: found}
    for size in range(1, len(by) + 1):
        for names in combinations(by, size):
            positions = [(name, dimensions.index(name)) for name in names]
            here: dict[Slice, list[Grouped]] = {}
            for cell in found:
                here.setdefault(tuple((name, cell.key[at]) for name, at in positions), []).append(cell)
            groups |= dict(sorted(here.items()))
    return groups


def largest(groups: Mapping[Slice, Sequence[Counted]]) -> dict[Slice, Sequence[Counted]]:
    """The whole and the slices with most units, in the order in which they came."""
    chosen = sorted(groups, key=lambda key: (key != WHOLE, -sum(cell.n for cell in groups[key]), key))[
        : MOST_SLICES + 1
    ]
    kept = set(chosen)
    return {key: cells for key, cells in groups.items() if key in kept}


def _rows(
    given: Input,
    version: ClassifierVersion,
    pairs: Pairs,
    groups: Mapping[Slice, Sequence[Cell]],
    people: dict[Slice, tuple[Estimate, int]],
) -> list[dict[str, Any]]:
    answered = {key: [cell for cell in cells if cell.status == OK] for key, cells in groups.items()}
    missing = {key: sum(cell.n for cell in cells if cell.status != OK) for key, cells in groups.items()}
    grown = _grown(given, version, frozenset(groups))
    measured = measuring.measure(given.scale, answered, given.bar, grown, pairs.sample)
    drawn = measuring.pooled(measured, given.bar.statistic)
    return [
        _row(given, version, one, people, missing[one.slice]) | {"pooled": asdict(drawn[one.slice])} for one in measured
    ]


def _grown(given: Input, version: ClassifierVersion, shown: frozenset[Slice]) -> frozenset[Slice]:
    """Which of the slices shown have gold that grew because an earlier version of the dataset left them unproven: a repeated look."""
    unproven: set[Slice] = set()
    gold = given.dataset_version
    earlier = gold.parent
    while earlier is not None:
        same_rule = (earlier.aggregation, earlier.min_labels) == (gold.aggregation, gold.min_labels)
        if same_rule and earlier.item_count < gold.item_count:
            pairs = pairing.read(dataset_version=earlier, version=version, by=given.by)
            every = slices_of(given.by, pairs.by, pairs.answered)
            groups = {key: cells for key, cells in every.items() if key in shown}
            for one in measuring.measure(given.scale, groups, given.bar, frozenset(), pairs.sample):
                if one.verdict.reason in ("spans_bar", "other_slices"):
                    unproven.add(one.slice)
        earlier = earlier.parent
    return frozenset(unproven)


def _people(given: Input, shown: frozenset[Slice]) -> dict[Slice, tuple[Estimate, int]]:
    """Human agreement of every slice that is shown, over all units with two labels or more, unresolved ones included."""
    dimensions = pairing.dimensions_of(given.by)
    groups = slices_of(given.by, dimensions, pairing.votes(dataset_version=given.dataset_version, by=given.by))
    return {key: measuring.human_agreement(given.scale, votes) for key, votes in groups.items() if key in shown}


def _row(
    given: Input,
    version: ClassifierVersion,
    one: Measured,
    people: dict[Slice, tuple[Estimate, int]],
    missing: int,
) -> dict[str, Any]:
    agreed, units = people.get(one.slice, (Estimate.undefined("no_pairable_ratings"), 0))
    row: dict[str, Any] = {"version": version.version, "slice": dict(one.slice), "n": one.n}
    row |= {"effective_n": round(one.effective_n, 4)}
    row |= {name: one.estimates[name].as_dict() for name in STATISTICS}
    row |= {"human_alpha": agreed.as_dict() | {"units": units}, "ceiling": _ceiling(given, agreed)}
    row |= {
        "verdict": one.verdict.word,
        "reason": one.verdict.reason,
        "labels_needed": one.verdict.labels_needed,
        "labels_needed_range": one.verdict.labels_needed_range,
        "baseline": one.baseline,
        "missing_predictions": missing,
        "per_category": one.categories,
        "confusion": one.confusion,
    }
    return row | {name: found.as_dict() for name, found in one.estimates.items() if name not in row}


def _ceiling(given: Input, agreed: Estimate) -> dict[str, Any]:
    """How high a perfect classifier could come: only gold of single labels has its own error to show for it."""
    gold = given.dataset_version
    labels_a_unit = gold.label_count / max(gold.item_count + gold.unresolved_count, 1)
    if agreed.value is None or labels_a_unit >= SEVERAL:
        return Estimate.undefined(agreed.reason or "gold_of_several_labels").as_dict()
    return human.ceiling(agreed).as_dict()


def _head(given: Input) -> dict[str, Any]:
    version, signal = given.dataset_version, given.dataset_version.dataset.signal
    return {
        "dataset": str(version),
        "sha256": version.sha256,
        "classifier": given.classifier.slug,
        "signal": signal.slug,
        "by": list(given.by),
        "method": METHOD,
        "scale": signal.scale,
        "unit": signal.unit,
        "bar": {"statistic": given.bar.statistic, "at_least": given.bar.at_least},
        "confidence": verdicts.PLANNED_CONFIDENCE,
        "multiplicity": {
            "method": "benjamini-hochberg" if given.by else "none",
            "false_discovery_rate": verdicts.FALSE_DISCOVERY_RATE if given.by else None,
            "grown_gold_confidence": verdicts.GROWN_CONFIDENCE,
        },
        "gold": {
            "items": version.item_count,
            "unresolved": version.unresolved_count,
            "labels": version.label_count,
            "aggregation": version.aggregation,
            "min_labels": version.min_labels,
            "frozen_at": version.frozen_at.isoformat() if version.frozen_at else None,
        },
    }


def worst(rows: Sequence[dict[str, Any]], version: str, statistic: str) -> dict[str, Any] | None:
    """The slice with the lowest value of the bar's statistic, of the version that the headline is about; thin slices only
    where no other is left."""
    measured = [row for row in rows if row["version"] == version and row[statistic]["value"] is not None]
    known = [row for row in measured if row["slice"]] or measured
    firm = [row for row in known if row["reason"] != "too_few_items"] or known
    if not firm:
        return None
    least = min(firm, key=lambda row: row[statistic]["value"])
    kept = ("version", "slice", "n", "effective_n", *STATISTICS, "human_alpha", "verdict", "reason", "labels_needed")
    return {name: least[name] for name in kept} | {"statistic": statistic}


def _absent(pairs: dict[ClassifierVersion, Pairs]) -> dict[str, Any]:
    return {
        "missing_predictions": sum(found.missing for found in pairs.values()),
        "failed_predictions": sum(found.failed for found in pairs.values()),
        "missing_by_version": {version.version: found.missing for version, found in pairs.items()},
    }
