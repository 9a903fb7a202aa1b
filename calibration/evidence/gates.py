"""Release gates: a candidate version held against a policy, on gold. All tests of a gate are one family (Holm)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from django.db import transaction

from calibration import slices
from calibration.classifiers import version_named
from calibration.evidence import (
    comparing,
    gate_limits,
    gate_scenarios,
    measuring,
    pairing,
    policies,
    printing,
    reports,
    sentences,
)
from calibration.evidence.cells import Cell, Sample
from calibration.evidence.comparing import joint_table
from calibration.evidence.gate_checks import Check
from calibration.evidence.policies import NoWorse, Policy, Rule
from calibration.evidence.reports import Grouped
from calibration.models import ClassifierVersion, GateRun
from calibration.stats import intervals, paired, verdicts
from calibration.stats.estimate import Estimate
from calibration.stats.multiplicity import holm
from calibration.stats.summary import is_graded, measure
from labeling import references
from labeling.errors import Refused
from labeling.models import DatasetVersion, User
from labeling.notices import announcing
from labeling.values import Scale

LEVEL = 0.05
Slice = tuple[tuple[str, str], ...]


def run(
    *,
    policy: str,
    dataset: str,
    candidate: str,
    baseline: str = "",
    scenario: str = "",
    by_whom: User | None = None,
) -> GateRun:
    """Hold a candidate against a policy and keep what came of it. Raises Refused for input that cannot be used.

    `scenario` names a simulated run: conversations of this source, or whose attribute `scenario` it is.
    """
    gold = references.dataset_version(dataset)
    version = version_named(candidate)
    other = version_named(baseline) if baseline else None
    pairing.check_comparable(gold, version)
    asked = policies.read(policy, statistic=gold.dataset.signal.trust_statistic)
    if asked.no_worse is not None and other is None:
        raise Refused("no_baseline", "the policy compares with a baseline: name one", field="baseline")
    if bool(scenario) != (asked.scenario is not None):
        why = (
            "the policy asks for a scenario: name its run"
            if asked.scenario
            else "the policy asks nothing of a scenario"
        )
        raise Refused("no_scenario", why, field="scenario")
    _check_names(asked, gold)
    checks = [*_bars(asked, gold, version), *_missing(asked, gold, version)]
    checks += gate_limits.limits(asked, gold, version)
    if asked.no_worse is not None and other is not None:
        pairing.check_comparable(gold, other)
        checks += _no_worse(asked.no_worse, gold, version, other)
    if asked.scenario is not None:
        checks += gate_scenarios.checks(asked, asked.scenario, gold, version, scenario)
    _judge(checks)
    document = _document(asked, gold, version, other, checks) | ({"scenario": scenario} if scenario else {})
    with transaction.atomic():
        decided = GateRun.objects.create(
            policy=policy,
            dataset_version=gold,
            candidate=version,
            baseline=other,
            passed=document["passed"],
            document=document,
            created_by=by_whom,
        )
        announcing.announce(
            event=announcing.Event.GATE_DECIDED,
            key=str(decided.id),
            sentence=document["sentence"],
            address=f"/gates/{decided.id}/",
            gate=decided.id,
            passed=decided.passed,
            candidate=str(version),
            dataset=str(gold),
        )
    return decided


def junit(document: dict[str, Any]) -> bytes:
    """The gate as JUnit XML: one case a check."""
    checks = document["checks"]
    skipped = sum(bool(check.get("unproven") and document.get("lenient")) for check in checks)
    failed = sum(not check["passed"] for check in checks) - skipped
    suite = ElementTree.Element(
        "testsuite",
        name=f"cxlab gate {document['candidate']}",
        tests=str(len(checks)),
        failures=str(failed),
        errors="0",
        skipped=str(skipped),
    )
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", classname=document["dataset"], name=check["name"])
        if not check["passed"]:
            if check.get("unproven") and document.get("lenient"):
                ElementTree.SubElement(case, "skipped", message=check["reason"])
                continue
            failure = ElementTree.SubElement(
                case, "failure", message=check["reason"], type=check.get("outcome", "failed")
            )
            failure.text = f"asked: {check['asked']}\nfound: {told(check['value'])}"
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def markdown(document: dict[str, Any]) -> str:
    """The gate as Markdown, for a comment on a change."""
    head = f"**{'Passed' if document['passed'] else 'Failed'}**: {document['sentence']}"
    source = f"{document['candidate']} on {document['dataset']} (sha256 {document['sha256'][:12]})"
    lines = [
        f"- gate: {source}",
        f"- {document['method']}",
        "",
        "| | check | asked | found | why |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {'✓' if c['passed'] else '✗'} | {c['name']} | {c['asked']} | {told(c['value'])} | {c['reason']} |"
        for c in document["checks"]
    ]
    return "\n".join([head, "", *lines]) + "\n"


def told(value: dict[str, Any]) -> str:
    """A value with its interval; a dash where there is none, since the check's reason says why."""
    if value.get("value") is None:
        return printing.NONE
    if value.get("low") is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _check_names(asked: Policy, gold: DatasetVersion) -> None:
    """Every name that the policy slices the gold by is a name of some gold unit."""
    names = dict.fromkeys([*asked.dimensions, *(asked.worst_slice.by if asked.worst_slice else ())])
    known = {*pairing.STORED, *pairing.PERIODS}
    if not known.issuperset(names):
        asked.check_known(list(names), known | pairing.attributes_of(gold), "the gold")


def _bars(asked: Policy, gold: DatasetVersion, version: ClassifierVersion) -> list[Check]:
    """Every rule in every slice that it speaks of."""
    document = reports.build(
        dataset_version=gold, classifier=version.classifier, versions=[version], by=asked.dimensions
    )
    _check_all_are_looked_at(document.get("slices_left_out", 0), asked.dimensions)
    rows = {tuple(row["slice"].items()): row for row in document["rows"]}
    pairs = pairing.read(dataset_version=gold, version=version, by=asked.dimensions)
    cells = reports.slices_of(asked.dimensions, pairs.by, pairs.answered)
    scale = Scale.of(gold.dataset.signal)
    checks = []
    for rule in asked.rules:
        for key in _places(rule, list(rows)):
            row = rows.get(key, {"slice": dict(key)})
            value = row.get(rule.statistic) or Estimate.undefined("no_items").as_dict()
            p = _p(rule, scale, cells.get(key, []), value, pairs.sample)
            checks.append(_bar(rule, row, value, p))
    return checks


def _check_all_are_looked_at(left_out: int, by: Sequence[str]) -> None:
    """A gate that passes over slices which nobody measured would pass them."""
    if left_out > 0:
        raise Refused(
            "too_many_slices",
            f"the gold has {left_out:,} slices by {', '.join(by)} beyond the {reports.MOST_SLICES:,} that are measured: "
            "slice by a name with fewer values, or name slices in rules",
            field="by",
        )


def _places(rule: Rule, known: Sequence[Slice]) -> list[Slice]:
    """The slice that a rule names, or the whole and every slice by exactly its `by`."""
    if rule.slice:
        wanted = dict(rule.slice)
        return next(([key] for key in known if dict(key) == wanted), [tuple(wanted.items())])
    return [key for key in known if not key or (rule.by and {name for name, _ in key} == set(rule.by))]


def _bar(rule: Rule, row: dict[str, Any], value: dict[str, Any], p: float) -> Check:
    where = slices.words(row["slice"], "all")
    low, high = value.get("low"), value.get("high")
    few, absent = row.get("n", 0) < rule.min_n, _absent(rule, row)
    holds = not few and not absent and low is not None and low >= rule.at_least
    reason = ""
    unproven = False
    if few:
        # Gold that there is not at all is no thin evidence but a missing metric.
        reason, unproven = f"{row.get('n', 0)} gold units, {rule.min_n} are asked for", row.get("n", 0) > 0
    elif value.get("value") is None:
        reason, unproven = sentences.reason(value.get("reason")), value.get("reason") == "too_few_items"
    elif absent:
        reason = f"no gold unit is {sentences.listed(absent, 'or')}: a mean over all categories is open"
        unproven = True
    elif high is not None and high < rule.at_least:
        reason = "the whole interval lies below the bar"
    elif not holds:
        reason, unproven = "unproven: the interval spans the bar", True
    name = f"{rule.statistic} at least {rule.at_least:g} on {where}"
    text = f"≥ {rule.at_least:g}"
    return Check(name, row["slice"], rule.statistic, text, value, p, holds, reason, unproven=unproven)


def _absent(rule: Rule, row: dict[str, Any]) -> list[str]:
    """Categories without gold in a slice whose mean over all categories is asked for: what they would score is not known."""
    if rule.statistic != "macro_f1":
        return []
    return [one["value"] for one in row.get("per_category", ()) if not one["support"]]


def _p(rule: Rule, scale: Scale, cells: Sequence[Cell], value: dict[str, Any], sample: Sample | None) -> float:
    """One-sided p of "at most the bar": from the table where there is one, else from the interval."""
    if value.get("value") is None:
        return 1.0
    if scale.kind not in ("interval", "multilabel"):
        table = measuring.confusion_table(scale, cells)
        scores = measuring.scores_of(scale)
        chosen = measure(rule.statistic, table.size, scale=scale.kind, scores=scores)
        graded = is_graded(rule.statistic, table.size, scale.kind)
        stack, strata = intervals.stack([table]), measuring.strata_of(scale, [cells], sample)
        found = verdicts.trust_p(rule.statistic, chosen, stack, rule.at_least, graded=graded, strata=strata)
        return float(found[0])
    # The level at which the lower limit touches the bar lies beyond one half of 5 % when the limit is above it.
    return LEVEL / 2 if (value.get("low") or -1.0) >= rule.at_least else 1.0


def _missing(asked: Policy, gold: DatasetVersion, version: ClassifierVersion) -> list[Check]:
    if asked.max_missing is None:
        return []
    pairs = pairing.read(dataset_version=gold, version=version)
    total = pairs.paired + pairs.missing
    share = pairs.missing / total if total else 1.0
    holds = share <= asked.max_missing
    reason = "" if holds else f"{pairs.missing} of {total} gold units have no usable answer"
    value = {"value": share, "method": "count"}
    return [Check("missing answers", {}, "missing", f"≤ {asked.max_missing:g}", value, None, holds, reason)]


def _no_worse(
    asked: NoWorse, gold: DatasetVersion, version: ClassifierVersion, other: ClassifierVersion
) -> list[Check]:
    """The candidate against the baseline on the units that both answered, paired."""
    scale = Scale.of(gold.dataset.signal)
    if scale.kind == "interval":
        return _no_larger_error(asked, gold, version, other)
    cells = pairing.joint(dataset_version=gold, a=other, b=version, by=asked.by)
    checks = []
    statistic = "accuracy" if scale.kind == "multilabel" else asked.statistic
    for key, found in _sliced(asked, cells):
        held = paired.non_inferiority(statistic, joint_table(scale, found), asked.margin, **comparing.options(scale))
        name = f"{statistic} no worse than {other} on {slices.words(dict(key), 'all')}"
        value = held.difference.as_dict()
        reason = "" if held.passed else _loss(held.reason)
        text = f"Δ > −{asked.margin:g}"
        p = 1.0 if held.p is None else held.p
        open_still = not held.passed and value.get("high") is not None and value["high"] >= -asked.margin
        checks.append(Check(name, dict(key), statistic, text, value, p, held.passed, reason, unproven=open_still))
    return checks


def _sliced(asked: NoWorse, cells: Sequence[Grouped]) -> Iterator[tuple[Slice, list[Grouped]]]:
    """The whole, and every slice by exactly the policy's `by`."""
    groups = reports.slices_of(asked.by, pairing.dimensions_of(asked.by), cells)
    _check_all_are_looked_at(len(groups) - 1 - reports.MOST_SLICES, asked.by)
    for key, found in groups.items():
        if not key or {name for name, _ in key} == set(asked.by):
            yield key, found


def _no_larger_error(
    asked: NoWorse, gold: DatasetVersion, version: ClassifierVersion, other: ClassifierVersion
) -> list[Check]:
    """Of numbers: the mean absolute error may be at most `margin` larger, in the units of the signal."""
    span = measuring.span_of(Scale.of(gold.dataset.signal))
    cells = pairing.joint_errors(dataset_version=gold, a=other, b=version, by=asked.by, span=span)
    checks = []
    for key, found in _sliced(asked, cells):
        sums = paired.total(cell.difference for cell in found)
        difference, p = paired.mean(sums), paired.below_p(sums, asked.margin)
        passed = p <= LEVEL
        name = f"{comparing.ERROR} no worse than {other} on {slices.words(dict(key), 'all')}"
        reason = "" if passed else _loss(difference.reason)
        open_still = not passed and difference.low is not None and difference.low <= asked.margin
        text, value = f"Δ < {asked.margin:g}", difference.as_dict()
        checks.append(Check(name, dict(key), comparing.ERROR, text, value, p, passed, reason, unproven=open_still))
    return checks


def _loss(reason: str | None) -> str:
    """Why a candidate is not shown to be no worse: there is no difference to speak of, or it may be too large."""
    return sentences.reason(reason) if reason else "a loss beyond the margin is not ruled out"


def _judge(checks: Sequence[Check]) -> None:
    """Holm over all tests: what holds by itself may still fall with the family."""
    family = [check for check in checks if check.p is not None]
    if not family:
        return
    adjusted = holm([float(check.p or 0.0) for check in family], LEVEL)
    for check, rejected, p in zip(family, adjusted.reject, adjusted.adjusted, strict=True):
        check.adjusted_p = p
        if check.holds and not rejected:
            check.holds, check.unproven = False, True
            check.reason = f"not beyond chance among {len(family)} checks (Holm p = {p:.3f})"


def _document(
    asked: Policy,
    gold: DatasetVersion,
    version: ClassifierVersion,
    other: ClassifierVersion | None,
    checks: Sequence[Check],
) -> dict[str, Any]:
    failed = [check for check in checks if not check.holds and not (check.unproven and asked.lenient)]
    open_still = [check for check in checks if check.unproven and not check.holds]
    wrong = [check for check in failed if not check.unproven]
    outcome = "failed" if wrong else "not enough evidence"
    if failed:
        # What fails is told before what only lacks evidence.
        first, others = (wrong or failed)[0], len(wrong or failed) - 1
        lacking = len(failed) - len(wrong) if wrong else 0
        more = f", and {others} more" if others else ""
        more += f"; {lacking} lack{'s' if lacking == 1 else ''} evidence" if lacking else ""
        want = "" if wrong else ", for want of evidence"
        sentence = f"{version} does not pass{want}: {first.name}: {first.reason}{more}."
    else:
        let = f", {len(open_still)} of them for want of evidence against it" if open_still else ""
        sentence = f"{version} passes all {len(checks)} checks{let}."
    return {
        "passed": not failed,
        "outcome": outcome if failed else "passed",
        "lenient": asked.lenient,
        "sentence": sentence,
        "name": asked.name,
        "dataset": str(gold),
        "sha256": gold.sha256,
        "candidate": str(version),
        "baseline": str(other) if other else None,
        "method": f"whole 95 % interval beyond the bar, Holm over {sum(c.p is not None for c in checks)} tests at {LEVEL:g}",
        "checks": [check.as_dict() for check in checks],
    }
