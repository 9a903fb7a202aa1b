"""The watch over canaries: does a pinned version still answer as it did, but for its own noise?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from calibration import slices
from calibration.drift import canaries
from calibration.drift.watches import Closed, Finding, Seen
from calibration.drift.wrongness import holds
from calibration.models import CanaryAnswer, CanaryRound, CanarySet, ClassifierVersion, DriftFlag
from calibration.stats import drift
from calibration.stats.drift import WEEKS, Block, Drift
from calibration.stats.intervals import t_quantile, wilson
from labeling.models import Signal
from labeling.values import Scale

Kind = DriftFlag.Kind


def silent_change(canary_set: CanarySet, closed: Closed) -> Seen:
    """One process over all rounds since the pinning, or since the last flag that somebody closed."""
    version = canary_set.version
    repeats, rounds = canaries.watched_rounds(canary_set)
    judged = closed.get((str(Kind.SILENT_CHANGE), version.id, ""))
    spent = str(judged.evidence.get("until", "")) if judged else ""
    rounds = [row for row in rounds if row.at.isoformat() > spent]
    if len(repeats) < canaries.REPEATS or not rounds:
        return Seen()
    watched = watch(canary_set, repeats, rounds)
    seen = Seen([_stream(version, watched)])
    if watched.alarmed:
        since = date.fromisoformat(watched.since[:10]) if watched.since else None
        recent = [row for row in rounds if watched.since is None or row.at.isoformat() >= watched.since]
        evidence = _evidence(watched, rounds) | changes(canary_set, recent)
        found = Finding(
            Kind.SILENT_CHANGE, version, {}, since, evidence, severity(canary_set, recent), watched.guarantee
        )
        seen.findings.append(found)
    return seen


def watch(canary_set: CanarySet, repeats: Sequence[CanaryRound], rounds: Sequence[CanaryRound]) -> Drift:
    """The e-process over the rounds; a year of them is its horizon."""
    every = canary_set.every_days
    return drift.canary_monitor(
        [Block(row.at.isoformat(), (drift.Cell(row.answers, row.answers - row.flips),)) for row in rounds],
        flips_at_pinning=sum(row.flips for row in repeats),
        answers_at_pinning=sum(row.answers for row in repeats),
        horizon=max(365 // every, 1) if every else WEEKS,
        unit="rounds",
    )


def severity(canary_set: CanarySet, rounds: Sequence[CanaryRound]) -> dict[str, Any]:
    """How far a published share has moved since the pinning, for the category that moved most; for numbers the mean.

    `{"shift", "low", "high", "category", "labels"}`: paired over the canaries, with a t interval.
    """
    signal = canary_set.version.classifier.signal
    pinned, said = _said(canary_set, rounds)
    if signal.scale == Signal.Scale.INTERVAL:
        moved = [
            [(answer.number or 0.0) - (pinned[key].number or 0.0) for answer in answers if answer.number is not None]
            for key, answers in said.items()
            if pinned[key].number is not None
        ]
        return _mean([float(np.mean(numbers)) for numbers in moved if numbers]) | {"category": None}
    names = holds(signal)
    found = [
        _mean(
            [
                float(np.mean([_named(names, answer, category) for answer in answers])) - _named(names, pinned[key], category)
                for key, answers in said.items()
            ]
        )
        | {"category": category}
        for category in signal.categories.values_list("value", flat=True)
    ]  # fmt: skip
    return max(found, key=lambda row: abs(row.get("shift", 0.0)), default={})


def changes(canary_set: CanarySet, rounds: Sequence[CanaryRound]) -> dict[str, Any]:
    """How many canaries are answered differently over some rounds, which answers became which, and how often in each channel.

    The same canary asked ten times is one canary, so that intervals are those of so many canaries.
    """
    signal = canary_set.version.classifier.signal
    scale, width = Scale.of(signal), canaries.width_of(signal, canary_set)
    pinned, said = _said(canary_set, rounds)
    channel = dict(canary_set.canaries.values_list("id", "conversation__channel"))
    became: Counter[tuple[str, str]] = Counter()
    asked: Counter[str] = Counter()
    flipped: dict[str, list[float]] = defaultdict(list)
    for key, answers in said.items():
        far = [canaries.moved(scale, width, pinned[key], answer) for answer in answers]
        asked[channel[key]] += len(answers)
        flipped[channel[key]].append(float(np.mean(far)))
        if signal.scale != Signal.Scale.INTERVAL:
            became.update(
                (words_of(pinned[key]), words_of(answer)) for answer, one in zip(answers, far, strict=True) if one
            )
    every = [share for shares in flipped.values() for share in shares]
    return {
        "flips": wilson(sum(every), len(every)).as_dict(),
        "became": [{"was": was, "now": now, "times": n} for (was, now), n in became.most_common(20)],
        "by_channel": [
            {"channel": name, "flips": wilson(sum(flipped[name]), len(flipped[name])).as_dict(), "answers": n}
            for name, n in sorted(asked.items())
        ],
    }  # fmt: skip


def words_of(answer: CanaryAnswer) -> str:
    """An answer for people: its value, or why there is none."""
    return answer.status if answer.value is None else answer.value


def state(canary_set: CanarySet) -> dict[str, Any]:
    """Where a set stands: `pinning`, `waiting` for its next round, `calm` or `changed`, with the newest numbers."""
    repeats, rounds = canaries.watched_rounds(canary_set)
    answered = sum(row.answers for row in repeats)
    noise = wilson(sum(row.flips for row in repeats), answered) if answered else None
    failed = canary_set.rounds.filter(state=CanaryRound.State.FAILED).order_by("number").last()
    told: dict[str, Any] = {
        "canaries": canary_set.canaries.count(),
        "rounds": len(rounds),
        "noise": noise.as_dict() if noise else None,
        "last": rounds[-1] if rounds else None,
        "failed": failed,
        "watched": None,
    }
    if len(repeats) < canaries.REPEATS:
        return told | {"word": "pinning", "missing": canaries.REPEATS - len(repeats)}
    if not rounds:
        return told | {"word": "waiting"}
    flag = DriftFlag.objects.filter(
        kind=Kind.SILENT_CHANGE, version=canary_set.version, slice_key=slices.key({}), state__in=DriftFlag.ACTIVE
    ).first()
    last = wilson(rounds[-1].flips, rounds[-1].answers).as_dict()
    return told | {
        "word": "changed" if flag else "calm",
        "flag": flag,
        "flips": last,
        "watched": watch(canary_set, repeats, rounds),
    }


def _said(
    canary_set: CanarySet, rounds: Sequence[CanaryRound]
) -> tuple[dict[int, CanaryAnswer], dict[int, list[CanaryAnswer]]]:
    """The pinned answers, and what was said in these rounds of the canaries that were pinned."""
    pinned = {
        answer.canary_id: answer
        for answer in CanaryAnswer.objects.filter(round__canary_set=canary_set, round__number=1)
    }
    said: dict[int, list[CanaryAnswer]] = {}
    for answer in CanaryAnswer.objects.filter(round__in=list(rounds)).order_by("round__number", "id"):
        if answer.canary_id in pinned:
            said.setdefault(answer.canary_id, []).append(answer)
    return pinned, said


def _named(names: Any, answer: CanaryAnswer, category: str) -> float:
    return 0.0 if answer.value is None else float(names(answer.value, category))


def _mean(moved: Sequence[float]) -> dict[str, Any]:
    values = np.array(moved, dtype=float)
    if len(values) < 2:
        return {}
    mean = float(values.mean())
    reach = float(t_quantile(0.95, np.asarray(len(values) - 1.0))) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return {"shift": mean, "low": mean - reach, "high": mean + reach, "labels": len(values)}


def _evidence(watched: Drift, rounds: Sequence[CanaryRound]) -> dict[str, Any]:
    evidence: dict[str, Any] = watched.as_dict()["evidence"]
    points = zip(rounds, watched.e_values, strict=True)
    return evidence | {
        "e_value": max(watched.e_values),
        "alarmed_at": watched.alarmed_at,
        "series": [{"at": row.at.isoformat(), "e": e, "answers": row.answers, "flips": row.flips} for row, e in points],
        "until": rounds[-1].at.isoformat(),
        "rounds": len(rounds),
    }


def _stream(version: ClassifierVersion, watched: Drift) -> dict[str, Any]:
    return {
        "kind": str(Kind.SILENT_CHANGE),
        "version": str(version),
        "slice": {},
        "e_value": watched.e_value,
        "alarm_at": watched.alarm_at,
        "flips": watched.recent.as_dict(),
        "labels": watched.recent.n,
        "calibrated": watched.reference.as_dict(),
        "e_values": list(watched.e_values)[-52:],
        "reason": watched.reason,
    }


def sentence(canary_set: CanarySet, told: dict[str, Any]) -> str:
    """How a version stands with its canaries, in words."""
    version = canary_set.version
    if told["word"] == "pinning":
        return f"{version} is being pinned: {told['missing']} of {canaries.REPEATS} repeats are missing."
    if told["word"] == "waiting":
        return f"{version} is pinned to its answers; the first round since is still to come."
    flips = 100 * (told["flips"]["value"] or 0.0)
    noise = 100 * (told["noise"]["value"] or 0.0)
    last = f"{flips:.0f} % of the answers differ in the newest round, {noise:.0f} % is its own noise"
    if told["word"] == "changed":
        return f"{version} has changed, though nobody upgraded it: {last}."
    return f"{version} answers as it did when it was pinned: {last}."


def words_by_classifier() -> dict[int, str]:
    """Classifier id → how its newest version with canaries stands, in a word or two."""
    found: dict[int, str] = {}
    for one in CanarySet.objects.filter(retired_at__isnull=True).select_related("version__classifier__signal"):
        found[one.version.classifier_id] = f"{state(one)['word']} ({one.version.version})"
    return found
