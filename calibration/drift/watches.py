"""The watches: each looks at one version through one kind of evidence and says what it saw and what it found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from calibration import slices
from calibration.drift.calibrations import Calibration, closeness, span
from calibration.drift.wrongness import bias
from calibration.evidence import pairing
from calibration.evidence.cells import VoteGroup
from calibration.models import ClassifierVersion, DriftFlag
from calibration.stats import drift
from calibration.stats.drift import ALARM, Block, Cell, Drift
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from calibration.streams import Answer, Said, day_of
from labeling.models import Signal

LEAST_CALIBRATED = 10
"""A slice with fewer calibrated labels is watched with its neighbours: its floor would be too low to alarm at all."""
Place = tuple[str, ...]
Kind = DriftFlag.Kind


@dataclass(frozen=True, slots=True)
class Finding:
    """What a flag is to be raised for."""

    kind: str
    version: ClassifierVersion
    slice: dict[str, str]
    since: date | None
    evidence: dict[str, Any]
    severity: dict[str, Any]
    guarantee: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look brought: every stream with its evidence, and the findings among them."""

    streams: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def __add__(self, other: Seen) -> Seen:
        return Seen(self.streams + other.streams, self.findings + other.findings)


Closed = Mapping[tuple[str, int, str], DriftFlag]
"""The last closed flag by (kind, version id, slice key): its evidence is spent, and a watch begins anew behind it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A unit's answer by people beside the version's."""

    answer: Answer
    said: Said
    week: str
    agreement: float


def agreement(
    calibration: Calibration, answers: Iterable[Answer], said: Mapping[tuple[int, int], Said], closed: Closed
) -> Seen:
    """Has agreement fallen below what was calibrated, in any slice? An e-process each, e-BH over all at every week."""
    by = watched_by(calibration)
    places = set(_places(calibration, by))
    pairs = _pairs(calibration, answers, said)
    sliced: dict[Place, list[Pair]] = defaultdict(list)
    for pair in pairs:
        place = pair.answer.place(by)
        spent = _spent(closed, Kind.AGREEMENT, calibration.version, slices.slice_of(by, place))
        if place in places and (spent is None or pair.answer.arrived_at.isoformat() > spent):
            sliced[place].append(pair)
    weeks = weeks_between(pair.week for rows in sliced.values() for pair in rows)
    drifts = {
        place: drift.agreement_monitor(
            _blocks(rows, weeks),
            calibrated=pooled(calibration, by, place),
            subject=slices.words(slices.slice_of(by, place)),
        )
        for place, rows in sorted(sliced.items())
    }
    bars = alarms(drifts, weeks)
    seen = Seen()
    for place, watched in drifts.items():
        part = slices.slice_of(by, place)
        seen.streams.append(_stream(Kind.AGREEMENT, calibration.version, part, watched, bars.get(place, ALARM)))
        if place in bars:
            seen.findings.append(_agreement_finding(calibration, part, watched, sliced[place], bars[place]))
    return seen


def watched_by(calibration: Calibration) -> tuple[str, ...]:
    """The finest slicing whose slices with enough calibrated labels hold at least half of all calibrated labels."""
    for length in range(len(calibration.by), 0, -1):
        by = calibration.by[:length]
        held = sum(size for size in _sizes(calibration, by).values() if size >= LEAST_CALIBRATED)
        if 2 * held >= calibration.labels:
            return by
    return ()


def pooled(calibration: Calibration, by: Sequence[str], place: Place) -> Estimate:
    """The calibrated agreement of a slice, at the slicing that is watched."""
    return calibration.coarser(len(by)).agreement(place)


def human(calibration: Calibration, answers: Iterable[Answer], closed: Closed) -> Seen:
    """Do people agree with each other less than in the gold? One pair of people for each unit with two labels."""
    groups = pairing.votes(dataset_version=calibration.dataset_version)
    calibrated = _pairwise(groups)
    spent = _spent(closed, Kind.HUMAN, calibration.version, {})
    blocks: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    last = ""
    for answer in answers:
        late = spent is not None and answer.arrived_at.isoformat() <= spent
        if len(answer.votes) < 2 or answer.arrived_at <= calibration.until or late:
            continue
        week = blocks[_monday(day_of(answer)).isoformat()]
        week[0] += 1
        week[1] += answer.votes[0] == answer.votes[1]
        last = max(last, answer.arrived_at.isoformat())
    if calibrated.value is None or calibrated.n < LEAST_CALIBRATED or not blocks:
        return Seen()
    weeks = weeks_between(blocks)
    watched = drift.agreement_monitor([Block.of(week, *blocks[week]) for week in weeks], calibrated=calibrated)
    seen = Seen([_stream(Kind.HUMAN, calibration.version, {}, watched, ALARM)])
    if watched.alarmed:
        evidence = _evidence(watched, ALARM) | {"until": last, "labels": sum(n for n, _ in blocks.values())}
        since = date.fromisoformat(watched.since) if watched.since else None
        seen.findings.append(Finding(Kind.HUMAN, calibration.version, {}, since, evidence, {}, watched.guarantee))
    return seen


def _pairs(calibration: Calibration, answers: Iterable[Answer], said: Mapping[tuple[int, int], Said]) -> list[Pair]:
    """Units labelled after the calibration which the version scored and the calibration did not use."""
    signal = calibration.dataset_version.dataset.signal
    width = span(calibration.dataset_version) if signal.scale == Signal.Scale.INTERVAL else 1.0
    used = calibration.units()
    pairs = []
    for answer in answers:
        spoken = said.get(answer.unit)
        if spoken is None or answer.arrived_at <= calibration.until or answer.unit in used:
            continue
        if answer.number is not None and spoken.number is not None:
            agrees = closeness(answer.number, spoken.number, width)
        else:
            agrees = float(answer.value == spoken.value)
        pairs.append(Pair(answer, spoken, _monday(day_of(answer, spoken)).isoformat(), agrees))
    return pairs


def _blocks(pairs: Sequence[Pair], weeks: Sequence[str]) -> list[Block]:
    """Labels weigh relative to the heaviest of their week: one of a part that was drawn from more often says less."""
    heaviest: dict[str, float] = defaultdict(float)
    for pair in pairs:
        heaviest[pair.week] = max(heaviest[pair.week], pair.answer.weight)
    by_week: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        by_week[pair.week][round(pair.answer.weight / heaviest[pair.week], 9)].append(pair.agreement)
    return [
        Block(
            week,
            tuple(Cell(len(rows), sum(rows), weight) for weight, rows in sorted(by_week[week].items())),
            heaviest=1.0,
        )
        for week in weeks
    ]


def alarms(drifts: Mapping[Place, Drift], weeks: Sequence[str], *, least: float = ALARM) -> dict[Place, float]:
    """Slices flagged by e-BH at any week so far, and the e-value that was needed then; `least` is the alarm of one."""
    bars: dict[Place, float] = {}
    names = {str(number): place for number, place in enumerate(drifts)}
    for week in range(len(weeks)):
        looked = {name: drifts[place].e_values[week] for name, place in names.items() if drifts[place].log_e}
        flagged = drift.e_bh(looked, alarm_at=least).flagged
        for name in flagged:
            bars.setdefault(names[name], least * len(looked) / len(flagged))
    return bars


def _agreement_finding(
    calibration: Calibration, part: dict[str, str], watched: Drift, pairs: Sequence[Pair], bar: float
) -> Finding:
    since = date.fromisoformat(watched.since) if watched.since else None
    recent = [pair for pair in pairs if watched.since is None or pair.week >= watched.since]
    signal = calibration.dataset_version.dataset.signal
    severity = bias(signal, [(pair.answer, pair.said) for pair in recent])
    weekly = Counter(pair.week for pair in pairs)
    hits: dict[str, float] = defaultdict(float)
    for pair in pairs:
        hits[pair.week] += pair.agreement
    evidence = _evidence(watched, bar)
    # The weeks are those of all slices; a watch that began anew has nothing to say of those before its first label.
    evidence["series"] = [point for point in evidence["series"] if point["at"] >= min(weekly)]
    for point in evidence["series"]:
        point |= {"labels": weekly[point["at"]]}
        point |= {"agreement": hits[point["at"]] / weekly[point["at"]]} if weekly[point["at"]] else {}
    evidence |= {
        "labels": len(pairs),
        "until": max(pair.answer.arrived_at for pair in pairs).isoformat(),
        "calibration": calibration.name,
    }
    return Finding(Kind.AGREEMENT, calibration.version, part, since, evidence, severity, watched.guarantee)


def _evidence(watched: Drift, bar: float) -> dict[str, Any]:
    """What a flag keeps: the height of the evidence, what was calibrated, what is seen since the change, the series."""
    evidence: dict[str, Any] = watched.as_dict()["evidence"]
    return evidence | {
        "e_value": max(watched.e_values),
        "alarm_at": bar,
        "alarmed_at": watched.alarmed_at,
        "series": [{"at": key, "e": e} for key, e in zip(watched.keys, watched.e_values, strict=True)],
    }


def _stream(kind: str, version: ClassifierVersion, part: dict[str, str], watched: Drift, bar: float) -> dict[str, Any]:
    """One line of what is watched."""
    return {
        "kind": str(kind),
        "version": str(version),
        "slice": part,
        "e_value": watched.e_value,
        "alarm_at": bar,
        "agreement": watched.recent.as_dict(),
        "labels": watched.recent.n,
        "calibrated": watched.reference.as_dict(),
        "e_values": list(watched.e_values)[-52:],
        "reason": watched.reason,
    }


def _sizes(calibration: Calibration, by: Sequence[str]) -> dict[Place, int]:
    return {place: sum(cell.n for cell in cells) for place, cells in calibration.coarser(len(by)).cells.items()}


def _places(calibration: Calibration, by: Sequence[str]) -> list[Place]:
    return [place for place, size in _sizes(calibration, by).items() if size >= LEAST_CALIBRATED]


def _spent(closed: Closed, kind: str, version: ClassifierVersion, part: Mapping[str, str]) -> str | None:
    """Until when the evidence of a stream was judged already, by somebody who closed its flag."""
    flag = closed.get((str(kind), version.id, slices.key(part)))
    return None if flag is None else str(flag.evidence.get("until", ""))


def _pairwise(groups: Iterable[VoteGroup]) -> Estimate:
    """How often two people who label the same unit agree, units with two labels or more counting once each."""
    units, agreeing = 0, 0.0
    for group in groups:
        total = sum(group.votes.values())
        if total >= 2:
            units += group.units
            pairs = sum(n * (n - 1) for n in group.votes.values()) / (total * (total - 1))
            agreeing += group.units * pairs
    return wilson(agreeing, units)


def weeks_between(found: Iterable[str]) -> list[str]:
    """Every week from the first to the last one found, empty ones included."""
    days = sorted(date.fromisoformat(week) for week in set(found))
    if not days:
        return []
    count = (days[-1] - days[0]).days // 7
    return [(days[0] + timedelta(weeks=step)).isoformat() for step in range(count + 1)]


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())
