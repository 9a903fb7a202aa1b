"""What a gate asks besides agreement: the weakest slice, words misheard, time and cost. What is not known fails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from django.db.models import F, OuterRef, Subquery

from calibration import slices
from calibration.evidence import reports
from calibration.evidence.gate_checks import Check
from calibration.evidence.policies import Policy, WorstSlice
from calibration.models import ClassifierVersion, Prediction, Transcription
from calibration.stats.outcomes import word_error_rate
from labeling.models import DatasetVersion, GoldRow

SEED = 8
LEAST_SLICE = 30
"""A slice with fewer gold units is not the weakest one: it is a thin one."""


def limits(asked: Policy, gold: DatasetVersion, version: ClassifierVersion) -> list[Check]:
    """Every limit that the policy has, held against the candidate's answers on the gold."""
    found = [_worst(asked.worst_slice, gold, version)] if asked.worst_slice else []
    if asked.max_wer is not None:
        found.append(_wer(asked.max_wer, gold))
    if asked.max_seconds is not None:
        taken = _numbers(gold, version, "seconds")
        value = float(np.quantile(taken, 0.95)) if taken else None
        found.append(_number("95th percentile of seconds an answer", "seconds", value, asked.max_seconds, len(taken)))
    if asked.max_cost is not None:
        taken = _numbers(gold, version, "cost")
        value = float(np.mean(taken)) if taken else None
        found.append(_number("mean cost an answer", "cost", value, asked.max_cost, len(taken)))
    return found


def _worst(asked: WorstSlice, gold: DatasetVersion, version: ClassifierVersion) -> Check:
    """The slice with the lowest value, among those with enough gold; the value itself, not its interval, is asked."""
    document = reports.build(dataset_version=gold, classifier=version.classifier, versions=[version], by=asked.by)
    firm = [
        row
        for row in document["rows"]
        if set(row["slice"]) == set(asked.by)
        and row["n"] >= LEAST_SLICE
        and (row.get(asked.statistic) or {}).get("value") is not None
    ]
    text, name = f"≥ {asked.at_least:g}", f"{asked.statistic} of the weakest slice by {' and '.join(asked.by)}"
    if not firm:
        why = f"no slice has {LEAST_SLICE} gold units"
        missing = {"value": None, "reason": "too_few_items"}
        return Check(name, {}, asked.statistic, text, missing, None, False, why)
    row = min(firm, key=lambda found: found[asked.statistic]["value"])
    holds = row[asked.statistic]["value"] >= asked.at_least
    why = "" if holds else f"{slices.words(row['slice'])} lies below"
    return Check(name, row["slice"], asked.statistic, text, row[asked.statistic], None, holds, why)


def _wer(most: float, gold: DatasetVersion) -> Check:
    """The word error rate of the gold's calls: the upper limit of its interval is asked."""
    calls = Transcription.objects.filter(
        conversation__in=GoldRow.objects.filter(version=gold).values("conversation"),
        words__gt=0,
        content_sha256=F("conversation__content_sha256"),
    ).order_by("conversation_id")
    counts = list(calls.values_list("substitutions", "insertions", "deletions", "words"))
    name, text = "word error rate of the gold’s calls", f"≤ {most:g}"
    if not counts:
        missing = {"value": None, "reason": "not_measured"}
        return Check(name, {}, "wer", text, missing, None, False, "no call of the gold has a reference transcript")
    found = word_error_rate(
        [s + i + d for s, i, d, _ in counts], [n for *_, n in counts], rng=np.random.default_rng(SEED)
    )
    upper = found.value if found.high is None else found.high
    holds = upper is not None and upper <= most
    return Check(name, {}, "wer", text, found.as_dict(), None, holds, "" if holds else "a higher rate is not ruled out")


def _numbers(gold: DatasetVersion, version: ClassifierVersion, column: str) -> Sequence[float]:
    """Seconds or cost of the candidate's answers on the gold, where they were recorded."""
    said = Prediction.objects.filter(
        version=version, conversation=OuterRef("conversation"), turn=OuterRef("turn"), **{f"{column}__isnull": False}
    )
    rows = GoldRow.objects.filter(version=gold).annotate(found=Subquery(said.values(column)[:1]))
    return [float(number) for number in rows.values_list("found", flat=True) if number is not None]


def _number(name: str, statistic: str, value: float | None, most: float, n: int) -> Check:
    text = f"≤ {most:g}"
    if value is None:
        missing = {"value": None, "reason": "not_measured"}
        return Check(name, {}, statistic, text, missing, None, False, f"no answer on the gold says its {statistic}")
    holds = value <= most
    found = {"value": value, "method": f"of {n} answers"}
    return Check(name, {}, statistic, text, found, None, holds, "" if holds else "more than asked")
