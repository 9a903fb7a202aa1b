"""Strategies that know what the classifiers said: they lay strata over a frame, and labeling draws from them.

They draw from the units that the version in question has scored, since only those can tell how far it is to be trusted,
and leave each of them a chance, which is stored: estimates from these queues are as unbiased as from any other, and
differ in how many labels a narrow interval costs.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef

from calibration.models import ClassifierVersion, DriftFlag, Prediction
from calibration.streams import lies_in
from labeling import design, frames, queues, references, sampling
from labeling.errors import NotFound, Refused
from labeling.frames import Frame, FrameUnit
from labeling.models import WHOLE, DatasetVersion, Label, Queue, Signal, User

STRATEGIES = ("uniform", "stratified", "uncertainty", "disagreement", "drift")
PREDICTED = STRATEGIES[2:]
MINIMUM = 4
"""Labels a stratum gets at least, where the size allows: below that its spread cannot be estimated."""
NO_PROBABILITY = "no probability"
DISAGREE, AGREE = 0.5, 0.1
"""Errors planned for where versions contradict each other (one of two is wrong) and where they are of one mind."""


class Said(NamedTuple):
    """What a version said of a unit, and how sure it was (None: it does not tell)."""

    value: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Aim:
    """What a queue is drawn for: the strategy and, where it needs them, classifier versions, flags, a pilot.

    `slices` stand for those of the flags, where others were chosen."""

    strategy: str = "uniform"
    by: tuple[str, ...] = ()
    allocation: design.Allocation = "proportional"
    pilot: DatasetVersion | None = None
    classifiers: tuple[str, ...] = ()
    flags: tuple[DriftFlag, ...] = ()
    slices: tuple[Mapping[str, str], ...] = ()


@transaction.atomic
def draw_queue(
    *,
    slug: str,
    signals: Sequence[Signal],
    size: int,
    aim: Aim,
    frame: Frame | None = None,
    seed: int | None = None,
    overlap: int = 1,
    members: Sequence[User] = (),
    created_by: User | None = None,
    gold: Sequence[DatasetVersion] = (),
    settings: Mapping[str, Any] | None = None,
    **about: Any,
) -> Queue:
    """Draw a queue by any strategy, with what is mixed in (`gold` and `settings` of `labeling.queues.change`), or nothing.
    `about` is what labeling.sampling.draw_queue takes besides: title, priority, ..."""
    frame, planner = prepare(signals=signals, aim=aim, frame=frame or Frame())
    queue = sampling.draw_queue(
        slug=slug,
        signals=signals,
        size=size,
        strategy=aim.strategy,
        planner=planner,
        by=aim.by,
        seed=seed,
        overlap=overlap,
        members=members,
        frame=frame,
        created_by=created_by,
        **about,
    )
    if gold or settings:
        queues.change(queue=queue, gold=gold, settings=settings)
        queue.refresh_from_db()
    return queue


def preview(
    *, signals: Sequence[Signal], size: int, aim: Aim, frame: Frame | None = None, seed: int = 0
) -> sampling.Preview:
    """What `draw_queue` would take with the same arguments."""
    frame, planner = prepare(signals=signals, aim=aim, frame=frame or Frame())
    return sampling.preview(signals=signals, size=size, planner=planner, by=aim.by, seed=seed, frame=frame)


def prepare(*, signals: Sequence[Signal], aim: Aim, frame: Frame) -> tuple[Frame, sampling.Planner]:
    """The frame and the planner of an aim; raises Refused where the predictions that it needs are not there."""
    frame = with_roles(frame, signals=signals)
    if aim.strategy == "uncertainty":
        version = versions_named(aim.classifiers, signals=signals, count=1, sure=True)[0]
        return frame, lambda units: uncertainty_plan(units, version=version)
    if aim.strategy == "disagreement":
        pair = versions_named(aim.classifiers, signals=signals, count=2)
        return frame, lambda units: disagreement_plan(units, versions=pair)
    if aim.strategy == "drift":
        flags = aim.flags or open_flags(signals)
        return since_flags(frame, flags), lambda units: drift_plan(units, flags=flags, slices=aim.slices)
    planner = sampling.plan_for(aim.strategy, allocation=aim.allocation, pilot=aim.pilot, by=aim.by)
    return frame, planner


def top_up(*, queue: Queue, size: int, seed: int | None = None) -> int:
    """More items for a queue whatever its strategy, drawn from the same strata as before."""
    return sampling.top_up(queue=queue, size=size, seed=seed, planner=planner_of(queue))


def planner_of(queue: Queue) -> sampling.Planner:
    """The planner that a queue was drawn with."""
    if queue.strategy not in PREDICTED:
        allocation = queue.design.get("allocation", "proportional")
        return sampling.plan_for(queue.strategy, by=queue.by, allocation=allocation)
    signals = [row.signal for row in queue.queue_signals.select_related("signal")]
    basis = queue.design.get("basis", {})
    flags = tuple(DriftFlag.objects.filter(id__in=basis.get("flags", [])).select_related("version__classifier"))
    chosen = tuple(basis.get("slices", []))
    aim = Aim(strategy=queue.strategy, classifiers=tuple(basis.get("versions", [])), flags=flags, slices=chosen)
    return prepare(signals=signals, aim=aim, frame=Frame.from_dict(queue.design.get("frame", {})))[1]


def unlabelled(
    signal: Signal, planner: sampling.Planner, nothing: str, *, beside: Queue | None = None
) -> sampling.Planner:
    """The planner over units that nobody has labelled; where there are none it refuses with `nothing`.

    The items of a queue `beside` which they are drawn belong to the frame as well, but are none to draw.
    """
    labels = Label.objects.filter(signal=signal, superseded_at__isnull=True)
    own = set(beside.items.values_list("conversation_id", "turn")) if beside else set()
    seen = set(labels.values_list("conversation_id", "turn").distinct()) - own

    def unseen(units: Sequence[FrameUnit]) -> sampling.Plan:
        fresh = {unit.key: unit for unit in units if (unit.conversation, unit.turn) not in seen}
        if not fresh:
            raise Refused("nothing_to_label", nothing)
        plan = planner(list(fresh.values()))
        if all((fresh[unit.key].conversation, fresh[unit.key].turn) in own for unit in plan.units):
            raise Refused("nothing_to_label", nothing)
        return plan

    return unseen


def labellers(signal: Signal, by: User | None) -> list[User]:
    """Who labels the signal in its queues so far, and whoever asks for more."""
    people = list(User.objects.filter(queues__signals=signal, is_active=True).distinct().order_by("username"))
    return people if by is None or by in people else [*people, by]


def with_roles(frame: Frame, *, signals: Sequence[Signal]) -> Frame:
    """For signals of a turn that nobody has labelled yet: the roles whose turns were predicted."""
    if frames.unit_of(signals) != Signal.Unit.TURN or frame.roles:
        return frame
    if any(signal.labels.exists() for signal in signals):
        return frame
    rows = Prediction.objects.filter(version__classifier__signal__in=signals, turn__gt=WHOLE).order_by("id")
    told = rows.values_list("turn", "conversation__turns")[:200]
    found = {turns[turn].get("role") for turn, turns in told if turn < len(turns)}
    return replace(frame, roles=tuple(role for role in frames.ROLES if role in found))


def versions_named(
    names: Sequence[str], *, signals: Sequence[Signal], count: int, sure: bool = False
) -> tuple[ClassifierVersion, ...]:
    """`count` versions that have scored the first signal: those named `classifier[@version]`, else the newest ones.

    `sure` asks for versions that tell probabilities, unless they are named.
    """
    signal = signals[0]
    said = Prediction.objects.filter(version=OuterRef("pk"))
    said = said.filter(probabilities__isnull=False) if sure and not names else said
    scored = ClassifierVersion.objects.select_related("classifier__signal").filter(
        Exists(said), classifier__signal=signal
    )
    newest = scored.order_by("-created_at", "-id")
    found: list[ClassifierVersion] = []
    for name in names:
        slug, version = references.split(name)
        matching = newest.filter(classifier__slug=slug)
        matching = matching.filter(version=version) if version else matching
        match = matching.exclude(id__in=[row.id for row in found]).first()
        if match is None:
            raise NotFound("no_predictions", f"{name} has no predictions for {signal.slug}", field="classifier")
        found.append(match)
    found += newest.exclude(id__in=[row.id for row in found])[: max(count - len(found), 0)]
    if len(found) < count:
        raise Refused(
            "no_predictions",
            f"this strategy needs {count} classifier version{'s' if count > 1 else ''} with "
            f"{'probabilities' if sure else 'predictions'} for {signal.slug}; there {'is' if len(found) == 1 else 'are'} {len(found)}",
            field="classifier",
        )
    return tuple(found[:count])


def open_flags(signals: Sequence[Signal]) -> tuple[DriftFlag, ...]:
    """The drift flags of the first signal that nobody has settled."""
    flags = DriftFlag.objects.select_related("version__classifier").filter(
        version__classifier__signal=signals[0], state__in=DriftFlag.ACTIVE
    )
    found = tuple(flags.order_by("id"))
    if not found:
        raise Refused("no_flags", f"no drift flag of {signals[0].slug} is open", field="strategy")
    return found


def since_flags(frame: Frame, flags: Sequence[DriftFlag]) -> Frame:
    """A flagged slice is labelled anew from the day of the change on: older units would speak of what was before."""
    days = [flag.since for flag in flags if flag.since is not None]
    if frame.since or len(days) < len(flags):
        return frame
    return replace(frame, since=min(days))


def uncertainty_plan(units: Sequence[FrameUnit], *, version: ClassifierVersion) -> sampling.Plan:
    """Strata of prediction × confidence band, most labels where the version is unsure and an error costs most.

    Where the frame has strata of its own, such as channels, they are told apart first.
    """
    said = answers(version, units)
    basis = {"versions": [str(version)]}
    scored = [unit for unit in units if unit.key in said]
    within = {unit.key: unit.stratum for unit in scored}
    return _confidence_plan(scored, said, within=within, basis=basis, version=version)


def disagreement_plan(units: Sequence[FrameUnit], *, versions: Sequence[ClassifierVersion]) -> sampling.Plan:
    """Strata of the first version's answer, where the second says the same and where it does not."""
    first, second = (answers(version, units) for version in versions)
    same = _sameness(versions[0].classifier.signal, first)
    by_value = versions[0].classifier.signal.is_categorical
    strata: dict[str, str] = {}
    spreads: dict[str, float] = {}
    for key in (unit.key for unit in units if unit.key in first and unit.key in second):
        here, there = first[key], second[key]
        word, error = ("agree", AGREE) if same(here, there) else ("disagree", DISAGREE)
        strata[key] = f"{here.value[:120]} · {word}" if by_value else word
        spreads[strata[key]] = (error * (1 - error)) ** 0.5
    if not strata:
        raise Refused("no_predictions", f"{versions[0]} and {versions[1]} have scored no unit of the frame both")
    return sampling.Plan(
        "stratified",
        tuple(design.Unit(key, stratum) for key, stratum in strata.items()),
        allocation="neyman",
        spreads=spreads,
        minimum=MINIMUM,
        basis={"versions": [str(version) for version in versions]},
    )


def _sameness(signal: Signal, said: Mapping[str, Said]) -> Callable[[Said, Said], bool]:
    """Whether two answers are of one mind: equal, or for numbers at most half a standard deviation apart."""
    if signal.scale != Signal.Scale.INTERVAL or not said:
        return lambda here, there: here.value == there.value
    near = statistics.pstdev(float(answer.value) for answer in said.values()) / 2
    return lambda here, there: abs(float(here.value) - float(there.value)) <= near


def drift_plan(
    units: Sequence[FrameUnit], *, flags: Sequence[DriftFlag], slices: Sequence[Mapping[str, str]] = ()
) -> sampling.Plan:
    """Only the flagged slices (or `slices`), each its own stratum; within them by confidence where the version tells it."""
    parts = slices or [flag.slice for flag in flags]
    within = _slices(units, parts)
    inside = [unit for unit in units if unit.key in within]
    if not inside:
        word = "chosen" if slices else "flagged"
        raise Refused("empty_frame", f"no unit of the frame lies in a {word} slice", field="frame")
    version = flags[0].version
    basis = {"flags": [flag.id for flag in flags], "slices": [dict(part) for part in parts], "versions": [str(version)]}
    said = answers(version, inside)
    if any(answer.confidence is not None for answer in said.values()):
        inside = [unit for unit in inside if unit.key in said]
        return _confidence_plan(inside, said, within=within, basis=basis, version=version)
    members = tuple(design.Unit(unit.key, within[unit.key]) for unit in inside)
    return sampling.Plan("stratified", members, allocation="equal", minimum=MINIMUM, basis=basis)


def answers(version: ClassifierVersion, units: Sequence[FrameUnit]) -> dict[str, Said]:
    """What `version` said of the units, by key; units without a usable prediction are left out."""
    keys = {(unit.conversation, unit.turn): unit.key for unit in units}
    rows = Prediction.objects.filter(version=version, status=Prediction.Status.OK)
    if len(keys) < 500:
        rows = rows.filter(conversation_id__in={conversation for conversation, _ in keys})
    scale = version.classifier.signal.scale
    said = {}
    for conversation, turn, value, told in rows.values_list(
        "conversation_id", "turn", "value", "probabilities"
    ).iterator(chunk_size=5000):
        key = keys.get((conversation, turn))
        if key is not None and value is not None:
            said[key] = Said(value, confidence(value, told, scale=scale))
    return said


def confidence(value: str, probabilities: Mapping[str, Any] | None, *, scale: str) -> float | None:
    """How sure a version is of its answer, 0 to 1: the probability of the category; for a set of categories that of
    its least certain member or absentee. None where it does not tell."""
    if not isinstance(probabilities, dict) or not probabilities:
        return None
    if scale == Signal.Scale.MULTILABEL:
        chosen = set(json.loads(value))
        sure = [float(p) if name in chosen else 1 - float(p) for name, p in probabilities.items()]
        return min(max(min(sure), 0.0), 1.0)
    told = probabilities.get(value)
    return None if told is None else min(max(float(told), 0.0), 1.0)


def _confidence_plan(
    units: Sequence[FrameUnit],
    said: Mapping[str, Said],
    *,
    within: Mapping[str, str],
    basis: Mapping[str, Any],
    version: ClassifierVersion,
) -> sampling.Plan:
    # Sets of categories are too many for strata of their own: those lie by confidence alone.
    by_value = version.classifier.signal.is_categorical
    scored, untold = [], []
    for unit in units:
        answer, slice_ = said[unit.key], within.get(unit.key, "")
        if answer.confidence is None:
            untold.append(design.Unit(unit.key, frames.JOIN.join(filter(None, [slice_, NO_PROBABILITY]))))
        else:
            value = answer.value[:120] if by_value else ""
            scored.append(design.Scored(unit.key, value, answer.confidence, slice_))
    if not scored:
        raise Refused(
            "no_probabilities",
            f"{version} gives no probabilities for the units of the frame: how sure it is cannot be told",
            field="classifier",
        )
    strata = design.confidence_strata(scored)
    # Of an answer without a probability nothing is known: planned for like the least certain stratum.
    spreads = strata.spreads | {unit.stratum: max(strata.spreads.values()) for unit in untold}
    return sampling.Plan(
        "stratified",
        (*strata.units, *untold),
        allocation="neyman",
        spreads=spreads,
        minimum=MINIMUM,
        basis=basis,
    )


def _slices(units: Sequence[FrameUnit], parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Unit key → the slice that it lies in (the first, where several hold it)."""
    wanted = {name for part in parts for name in part if name not in frames.COLUMNS}
    known = frames.attributes_of(units) if wanted else {}
    found = {}
    for unit in units:
        own = known.get(unit.conversation, {})
        part = next((part for part in parts if lies_in(part, unit.channel, unit.cohort, own)), None)
        if part is not None:
            found[unit.key] = frames.JOIN.join(part.values()) or "all"
    return found
