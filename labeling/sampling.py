"""Drawing queues: a seeded sample of a frame, each item with the chance that the design had of picking it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling import design, frames
from labeling.errors import Conflict, NotFound, Refused
from labeling.frames import Frame, FrameUnit
from labeling.models import Conversation, DatasetVersion, Item, Queue, QueueMember, QueueSignal, Signal, Slot, User
from labeling.pilots import spreads_of

METHOD = 1
"""Version of the drawing; another one would draw other items from the same seed."""
BATCH = 2000
LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How the units of a frame are drawn. `basis` tells, for the record, what the strata and measures rest on."""

    strategy: design.Strategy
    units: tuple[design.Unit, ...]
    allocation: design.Allocation = "proportional"
    spreads: Mapping[str, float] | None = None
    minimum: int = 1
    basis: Mapping[str, Any] = field(default_factory=dict)


Planner = Callable[[Sequence[FrameUnit]], Plan]
"""Turns a frame into a plan. Strategies that need predictions bring their own: this room cannot see any."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a draw would take: rows of (channel, cohort, units in the frame, units drawn), and the strata."""

    population: int
    size: int
    cells: tuple[tuple[str, str, int, int], ...]
    strata: tuple[design.StratumPlan, ...]
    roles: tuple[str, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A draw with its frame, before anything is stored. `left_out` units of the frame are none that the plan draws from."""

    frame: Frame
    units: list[FrameUnit]
    plan: Plan
    draw: design.Draw
    left_out: int = 0


def plan_for(
    strategy: str,
    *,
    allocation: design.Allocation = "proportional",
    pilot: DatasetVersion | None = None,
    by: Sequence[str] = (),
) -> Planner:
    """The planner of the strategies that need no predictions: uniform, or stratified by the frame's own strata.

    A Neyman allocation takes the spread of each stratum from the gold labels of `pilot`.
    """
    if strategy not in ("uniform", "stratified"):
        raise Refused("unknown_strategy", f"{strategy!r} is not a strategy", field="strategy")
    if strategy == "stratified" and not by:
        raise Refused("no_strata", "a stratified sample needs --by: channel, cohort or an attribute", field="by")
    if allocation == "neyman" and pilot is None:
        raise Refused("no_pilot", "a Neyman allocation needs a pilot: a frozen dataset version", field="pilot")

    def planner(units: Sequence[FrameUnit]) -> Plan:
        members = tuple(design.Unit(unit.key, unit.stratum) for unit in units)
        if strategy == "uniform":
            return Plan("uniform", members)
        if allocation != "neyman" or pilot is None:
            return Plan("stratified", members, allocation=allocation)
        spreads = spreads_of(pilot, by=by, strata={unit.stratum for unit in units})
        return Plan("stratified", members, allocation="neyman", spreads=spreads, basis={"pilot": str(pilot)})

    return planner


def preview(
    *,
    signals: Sequence[Signal],
    size: int,
    planner: Planner,
    by: Sequence[str] = (),
    seed: int = 0,
    frame: Frame | None = None,
) -> Preview:
    """What `draw_queue` would take with these arguments, counted by channel and cohort; stores nothing."""
    drawn = _draw(frame or Frame(), signals=signals, size=size, by=by, seed=seed, planner=planner)
    places = {unit.key: (unit.channel, unit.cohort) for unit in drawn.units}
    population = Counter(places.values())
    taken = Counter(places[pick.key] for pick in drawn.draw.picks)
    cells = tuple((*place, population[place], taken[place]) for place in sorted(population))
    return Preview(
        population=len(drawn.units),
        size=len(drawn.draw.picks),
        cells=cells,
        strata=drawn.draw.strata,
        roles=drawn.frame.roles,
        left_out=drawn.left_out,
    )


@transaction.atomic
def draw_queue(
    *,
    slug: str,
    signals: Sequence[Signal],
    size: int,
    title: str = "",
    strategy: str = "uniform",
    planner: Planner | None = None,
    by: Sequence[str] = (),
    seed: int | None = None,
    overlap: int = 1,
    members: Sequence[User] = (),
    frame: Frame | None = None,
    created_by: User | None = None,
    description: str = "",
    shows_cohort: bool = False,
    hides_names: bool = True,
    priority: int = 0,
    overlap_most: int | None = None,
) -> Queue:
    """Draw a sample and open its queue: items with their inclusion probability, a slot per wanted label, members.

    The same seed on the same data draws the same items. A size beyond the frame takes all of it; `design` on the queue
    says what was asked and what there was. Raises Refused where the frame is empty or the design cannot be carried out.
    """
    _check(slug, size=size, overlap=overlap)
    if overlap_most is not None and not overlap <= overlap_most <= 50:
        raise Refused("bad_overlap", f"the most labels lie between {overlap} and 50", field="overlap_most")
    seed = _seed(seed)
    planner = planner or plan_for(strategy, by=by)
    drawn = _draw(frame or Frame(), signals=signals, size=size, by=by, seed=seed, planner=planner)
    try:
        with transaction.atomic():
            queue = Queue.objects.create(
                slug=slug,
                title=title or slug,
                description=description,
                overlap=overlap,
                overlap_most=overlap_most,
                priority=priority,
                shows_cohort=shows_cohort,
                hides_names=hides_names,
                strategy=strategy,
                by=list(by),
                seed=seed,
                design=_record(drawn, size=size),
                created_by=created_by,
            )
    except IntegrityError as error:
        raise Conflict("queue_exists", f"there is a queue {slug!r} already", field="slug") from error
    QueueSignal.objects.bulk_create(
        QueueSignal(queue=queue, signal=signal, position=position) for position, signal in enumerate(signals)
    )
    QueueMember.objects.bulk_create(
        QueueMember(queue=queue, user=member, lane=order % overlap) for order, member in enumerate(members)
    )
    _store(queue, drawn, first=0, seed=seed)
    return queue


@transaction.atomic
def top_up(*, queue: Queue, size: int, seed: int | None = None, planner: Planner | None = None) -> int:
    """Draw `size` more items into a queue from the frame it came from, and return how many there were.

    Old and new items stay one unbiased sample: the inclusion probability of each becomes the one of the pooled design, in
    which what came since an earlier draw is a stratum of its own.
    Frozen dataset versions keep the probabilities that they were frozen with.
    """
    queue = Queue.objects.select_for_update().get(id=queue.id)
    _check(queue.slug, size=size, overlap=queue.overlap)
    seed = _seed(seed)
    signals = [row.signal for row in queue.queue_signals.select_related("signal")]
    frame = frames.settled(Frame.from_dict(queue.design.get("frame", {})), signals=signals)
    units = frames.read(frame, signals=signals, by=queue.by)
    allocation = queue.design.get("allocation", "proportional")
    plan = (planner or plan_for(queue.strategy, by=queue.by, allocation=allocation))(units)
    units = _inside(units, plan)
    plan = _by_arrival(queue, plan, units)
    items = {(item.conversation_id, item.turn): item for item in queue.items.all()}
    by_key = {
        unit.key: items[unit.conversation, unit.turn] for unit in units if (unit.conversation, unit.turn) in items
    }
    draw = _top_up(plan, by_key, size=size, seed=seed)
    for pick in draw.revised:
        by_key[pick.key].inclusion_probability = pick.inclusion_probability
    Item.objects.bulk_update([by_key[pick.key] for pick in draw.revised], ["inclusion_probability"], batch_size=BATCH)
    drawn = _Drawn(frame, units, plan, draw)
    first = max((item.position for item in items.values()), default=-1) + 1
    _store(queue, drawn, first=first, seed=seed)
    queue.design["top_ups"] = [
        *queue.design.get("top_ups", []),
        _record(drawn, size=size) | {"seed": seed, "at": timezone.now().isoformat()},
    ]
    queue.save(update_fields=["design"])
    return len(draw.picks)


def _check(slug: str, *, size: int, overlap: int) -> None:
    if not 1 <= size <= LARGEST:
        raise Refused("bad_size", f"a sample has 1 to {LARGEST:,} items, not {size}", field="size")
    if not 1 <= overlap <= 50:
        raise Refused("bad_overlap", f"an item gets 1 to 50 labels, not {overlap}", field="overlap")
    if (
        not slug
        or len(slug) > 80
        or not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in slug)
    ):
        raise Refused("bad_slug", f"{slug!r}: a queue's name has up to 80 letters, digits, - and _", field="slug")


def _draw(
    frame: Frame, *, signals: Sequence[Signal], size: int, by: Sequence[str], seed: int, planner: Planner
) -> _Drawn:
    frame = frames.settled(frame, signals=signals)
    units = frames.read(frame, signals=signals, by=by)
    plan = planner(units)
    try:
        draw = design.draw(
            plan.units,
            size=size,
            strategy=plan.strategy,
            rng=np.random.default_rng(seed),
            allocation=plan.allocation,
            spreads=plan.spreads,
            minimum=plan.minimum,
        )
    except design.DesignError as error:
        raise Refused("no_such_sample", str(error)) from error
    inside = _inside(units, plan)
    return _Drawn(frame, inside, plan, draw, left_out=len(units) - len(inside))


def _inside(units: list[FrameUnit], plan: Plan) -> list[FrameUnit]:
    """The units that the plan draws from: strategies may leave some out, such as those that nobody scored."""
    if len(plan.units) == len(units):
        return units
    keys = {unit.key for unit in plan.units}
    return [unit for unit in units if unit.key in keys]


def _by_arrival(queue: Queue, plan: Plan, units: Sequence[FrameUnit]) -> Plan:
    """What came after a draw into the queue is a stratum of its own: that draw could not reach it, so that it has other
    chances than what was there."""
    told = (one["at"] for one in queue.design.get("top_ups", []) if "at" in one)
    draws = [queue.created_at, *map(datetime.fromisoformat, told)]
    later = dict(Conversation.objects.filter(created_at__gt=draws[0]).values_list("id", "created_at"))
    missed = {
        unit.key: sum(later[unit.conversation] > at for at in draws) for unit in units if unit.conversation in later
    }
    if not missed or plan.strategy == "unequal":
        return plan

    def name(unit: design.Unit) -> str:
        of_design = "" if plan.strategy == "uniform" else unit.stratum
        return f"{of_design} · after draw {missed[unit.key]}" if unit.key in missed else of_design

    spreads = plan.spreads and {name(unit): plan.spreads[unit.stratum] for unit in plan.units}
    members = tuple(replace(unit, stratum=name(unit)) for unit in plan.units)
    return replace(plan, strategy="stratified", units=members, spreads=spreads)


def _top_up(plan: Plan, earlier: Mapping[str, Item], *, size: int, seed: int) -> design.Draw:
    if plan.strategy == "unequal":
        raise Refused("no_top_up", "a sample with unequal measures cannot be topped up: draw another queue")
    # A uniform sample has strata for the record only: drawn through them, it would no longer be uniform.
    uniform = plan.strategy == "uniform"
    units = [design.Unit(unit.key) for unit in plan.units] if uniform else plan.units
    try:
        return design.top_up(
            units,
            earlier={key: item.inclusion_probability for key, item in earlier.items()},
            size=size,
            rng=np.random.default_rng(seed),
            allocation=plan.allocation,
            spreads=plan.spreads,
        )
    except design.DesignError as error:
        raise Refused("no_such_sample", str(error)) from error


def _record(drawn: _Drawn, *, size: int) -> dict[str, Any]:
    """The design as it is kept with the queue: enough to draw it again, and to weigh it."""
    return {
        "method": METHOD,
        "asked": size,
        "population": len(drawn.units),
        "left_out": drawn.left_out,
        "size": len(drawn.draw.picks),
        "frame": drawn.frame.as_dict(),
        "frame_sha256": frames.digest(drawn.units),
        "drawn_as": drawn.plan.strategy,
        "allocation": drawn.plan.allocation,
        "basis": dict(drawn.plan.basis),
        "strata": [
            {"name": plan.name, "population": plan.population, "allocated": plan.allocated}
            for plan in drawn.draw.strata
        ],
    }


def _seed(seed: int | None) -> int:
    """The seed that is asked for, or one of chance."""
    if seed is None:
        return secrets.randbelow(2**31)
    if not 0 <= seed <= 2**62:
        raise Refused("bad_seed", f"a seed lies between 0 and {2**62}", field="seed")
    return seed


def _store(queue: Queue, drawn: _Drawn, *, first: int, seed: int) -> None:
    """Items in random order from position `first` on, and their slots."""
    units = {unit.key: unit for unit in drawn.units}
    strata = {unit.key: unit.stratum for unit in drawn.plan.units}
    order = np.random.default_rng([seed, first]).permutation(len(drawn.draw.picks))
    items = [
        Item(
            queue=queue,
            conversation_id=units[pick.key].conversation,
            turn=units[pick.key].turn,
            position=first + int(place),
            stratum=strata[pick.key],
            inclusion_probability=min(pick.inclusion_probability, 1.0),
        )
        for pick, place in zip(drawn.draw.picks, order, strict=True)
    ]
    Item.objects.bulk_create(items, batch_size=BATCH)
    Slot.objects.bulk_create(
        (
            Slot(item=item, queue=queue, number=number, position=item.position)
            for item in items
            for number in range(queue.overlap)
        ),
        batch_size=BATCH,
    )


def people_named(names: Sequence[str]) -> list[User]:
    """Members by name, in the order given; raises NotFound naming who does not exist, Refused who cannot sign in."""
    known = {user.username: user for user in User.objects.filter(username__in=names)}
    for name in names:
        if name not in known:
            raise NotFound("unknown_member", f"there is no person {name!r}", field="member")
        if not known[name].is_active:
            raise Refused(
                "inactive_member", f"{name} cannot sign in: give them an account with `user {name}`", field="member"
            )
    return [known[name] for name in dict.fromkeys(names)]


def signals_named(slugs: Sequence[str]) -> list[Signal]:
    """Signals in the order given; raises NotFound naming the one that does not exist."""
    known = {signal.slug: signal for signal in Signal.objects.filter(slug__in=slugs)}
    for slug in slugs:
        if slug not in known:
            told = ", ".join(Signal.objects.order_by("slug").values_list("slug", flat=True)[:20]) or "none yet"
            raise NotFound("unknown_signal", f"there is no signal {slug!r} (there are: {told})", field="signal")
    return [known[slug] for slug in slugs]
