"""Adjudication: the units on which people disagree, most informative first, and what a reviewer decides on them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.urls import reverse

from labeling.errors import Conflict, Forbidden, Refused
from labeling.models import WHOLE, Category, Conversation, Item, Label, Queue, Ruling, Signal, Slot, User
from labeling.values import Scale, ValueRefused

RULED = Exists(
    Ruling.objects.filter(
        conversation=OuterRef("conversation"),
        turn=OuterRef("turn"),
        signal=OuterRef("signal"),
        superseded_at__isnull=True,
    )
)
"""Of a label: whether its unit has a ruling that holds."""


class Unit(NamedTuple):
    """What one ruling decides: one signal of one conversation or turn, by their ids."""

    conversation: int
    turn: int
    signal: int

    @property
    def key(self) -> str:
        """The unit in an address; `unit_from_key` reads it."""
        return ".".join(map(str, self))


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a reviewer looks: a queue, or all labels of a signal, those loaded from files included."""

    queue: Queue | None = None
    signal: Signal | None = None

    def labels(self) -> QuerySet[Label]:
        """The current labels inside the scope."""
        labels = Label.objects.filter(superseded_at__isnull=True)
        if self.queue is not None:
            labels = labels.filter(item__queue=self.queue)
        return labels if self.signal is None else labels.filter(signal=self.signal)

    @property
    def kind(self) -> str:
        """What its addresses begin with."""
        return "signal" if self.queue is None else "queue"

    @property
    def slug(self) -> str:
        one = self.queue or self.signal
        assert one is not None
        return one.slug

    @property
    def address(self) -> str:
        """The page of the scope."""
        return reverse(f"review-{self.kind}", args=[self.slug])

    @property
    def title(self) -> str:
        return self.queue.title if self.queue else self.signal.title if self.signal else "All labels"

    @property
    def hides_names(self) -> bool:
        """Whether votes are shown without names until the unit is decided; loaded labels always are."""
        return True if self.queue is None else self.queue.hides_names


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A unit with more than one answer. `spread` orders: 0 is of one mind, higher tells more about the guideline."""

    unit: Unit
    votes: Mapping[str, int]
    spread: float
    pending: int = 0

    @property
    def key(self) -> str:
        return self.unit.key


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a reviewer needs to decide a unit."""

    signal: Signal
    scale: Scale
    conversation: Conversation
    turn: int
    item: Item | None
    labels: Sequence[Label]
    ruling: Ruling | None
    earlier: Sequence[Ruling] = field(default_factory=tuple)

    @property
    def unit(self) -> Unit:
        return Unit(self.conversation.id, self.turn, self.signal.id)

    def to_correct(self, reviewer: User) -> Ruling | None:
        """What the reviewer may want to begin with: the ruling that holds, or the one that they have just withdrawn."""
        if self.ruling is not None or not self.earlier or self.earlier[0].withdrawn_by != reviewer:
            return self.ruling
        return self.earlier[0]


def disagreements(scope: Scope, *, ruled: bool = False) -> list[Disagreement]:
    """The units of `scope` whose labels differ and that nobody has ruled on (or, `ruled`, somebody has).

    The most informative come first (`in_order`). Late labels are shown to the reviewer, but are no votes.
    """
    votes = votes_of(scope, ruled=ruled)
    numeric = set(Signal.objects.filter(scale=Signal.Scale.INTERVAL).values_list("id", flat=True))
    pending = _pending(scope)
    found = [
        Disagreement(unit, counts, spread(counts, numeric=unit.signal in numeric), pending.get(unit[:2], 0))
        for unit, counts in votes.items()
        if len(counts) > 1
    ]
    return in_order(found, numeric=numeric, ranks=_ranks({one.unit.signal for one in found}))


def in_order(
    found: Sequence[Disagreement], *, numeric: Collection[int], ranks: Mapping[int, Mapping[str, float]]
) -> list[Disagreement]:
    """The most informative first: by vote entropy, for numbers by variance as a share of the widest of their signal.

    Two labels an item leave nearly all of them alike in that. Then come first the answers that lie furthest apart on an
    ordered scale, and the pair of answers over which most units are split, one after another: what is decided there, or
    mended in the guideline, reaches the most. Units for which labels are still to come are last, since those may settle them.
    """
    widest: dict[int, float] = defaultdict(float)
    split: Counter[tuple[int, str, str]] = Counter()
    for one in found:
        widest[one.unit.signal] = max(widest[one.unit.signal], one.spread)
        split[_pair(one)] += 1

    def place(one: Disagreement) -> tuple[Any, ...]:
        spread = one.spread / widest[one.unit.signal] if one.unit.signal in numeric else one.spread
        pair = _pair(one)
        return (
            one.pending > 0, -spread, -sum(one.votes.values()), -_apart(one, ranks), -split[pair], pair, one.unit
        )  # fmt: skip

    return sorted(found, key=place)


def _pair(one: Disagreement) -> tuple[int, str, str]:
    """The signal and the two answers that most people gave."""
    first, second = sorted(sorted(one.votes, key=lambda value: (-one.votes[value], value))[:2])
    return (one.unit.signal, first, second)


def _apart(one: Disagreement, ranks: Mapping[int, Mapping[str, float]]) -> float:
    """How far apart the answers lie, as a share of the scale; answers without an order lie as far apart as can be."""
    of = ranks.get(one.unit.signal)
    if of is None:
        return 1.0
    places = [of[value] for value in one.votes if value in of]
    return max(places) - min(places) if places else 1.0


def _ranks(signals: Collection[int]) -> dict[int, dict[str, float]]:
    """Of each ordinal signal its categories' places, from 0 to 1."""
    rows = Category.objects.filter(signal__in=signals, signal__scale=Signal.Scale.ORDINAL).order_by(
        "signal", "position"
    )
    values: dict[int, list[str]] = defaultdict(list)
    for signal, value in rows.values_list("signal_id", "value"):
        values[signal].append(value)
    return {
        signal: {value: number / max(1, len(codes) - 1) for number, value in enumerate(codes)}
        for signal, codes in values.items()
    }


def votes_of(scope: Scope, *, ruled: bool | None = None) -> dict[Unit, dict[str, int]]:
    """Value → number of people, for every unit of the scope; `ruled` keeps those with or those without a ruling."""
    labels = scope.labels().filter(late=False)
    if ruled is not None:
        labels = labels.filter(RULED if ruled else ~RULED)
    found: dict[Unit, dict[str, int]] = defaultdict(dict)
    rows = labels.order_by().values_list("conversation_id", "turn", "signal_id", "value")
    for conversation, turn, signal, value, count in rows.annotate(count=Count("annotator", distinct=True)).iterator(
        chunk_size=5000
    ):
        found[Unit(conversation, turn, signal)][value] = count
    return dict(found)


def spread(votes: Mapping[str, int], *, numeric: bool = False) -> float:
    """Entropy of the votes in bits; for numbers their variance."""
    total = sum(votes.values())
    if numeric:
        mean = math.fsum(float(value) * count for value, count in votes.items()) / total
        return math.fsum(count * (float(value) - mean) ** 2 for value, count in votes.items()) / total
    return max(-math.fsum(count / total * math.log2(count / total) for count in votes.values()), 0.0)


def _pending(scope: Scope) -> dict[tuple[int, ...], int]:
    """Labels still to come, by conversation and turn: slots that are free or in somebody's hands. A closed queue has none."""
    if scope.queue is None or scope.queue.state == Queue.State.CLOSED:
        return {}
    waiting = Slot.objects.filter(queue=scope.queue, item__isnull=False, state__in=[Slot.State.FREE, Slot.State.LEASED])
    rows = waiting.order_by().values_list("item__conversation_id", "item__turn").annotate(count=Count("id"))
    return {(conversation, turn): count for conversation, turn, count in rows}


@dataclass(frozen=True, slots=True)
class Counted:
    """How much there is to review in one queue or of one signal."""

    scope: Scope
    open: int
    ruled: int


def overview() -> list[Counted]:
    """The queues, and the signals with labels from outside queues, where people disagree or did, most open ones first."""
    queues = {queue.id: queue for queue in Queue.objects.prefetch_related("queue_signals__signal")}
    signals = {signal.id: signal for signal in Signal.objects.all()}
    current = Label.objects.filter(superseded_at__isnull=True, late=False)

    def tally(labels: QuerySet[Label], column: str) -> dict[int, list[int]]:
        units = (
            labels.order_by()
            .values(column, "conversation_id", "turn", "signal_id")
            .annotate(values=Count("value", distinct=True), ruled=RULED)
            .filter(values__gt=1)
        )
        counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        for owner, decided in units.values_list(column, "ruled").iterator(chunk_size=5000):
            counts[owner][bool(decided)] += 1
        return counts

    in_queues = tally(current.filter(item__isnull=False), "item__queue_id")
    loaded = tally(current.filter(item__isnull=True), "signal_id")
    rows = [Counted(Scope(queue=queues[key]), *in_queues.get(key, (0, 0))) for key in queues]
    rows += [Counted(Scope(signal=signals[key]), *counts) for key, counts in loaded.items()]
    return sorted((row for row in rows if row.open or row.ruled), key=lambda row: -row.open)


def case(scope: Scope, unit: Unit) -> Case | None:
    """A unit with its labels (late ones too), comments and rulings; None where the scope has no label of it."""
    mine = scope.labels().filter(conversation_id=unit.conversation, turn=unit.turn, signal_id=unit.signal)
    labels = list(
        mine.select_related("annotator", "submission", "guideline", "signal", "conversation", "item").order_by("id")
    )
    if not labels:
        return None
    rulings = list(
        Ruling.objects.filter(conversation_id=unit.conversation, turn=unit.turn, signal_id=unit.signal)
        .select_related("reviewer", "withdrawn_by")
        .order_by("-decided_at", "-id")
    )
    signal = labels[0].signal
    return Case(
        signal=signal,
        scale=Scale.of(signal),
        conversation=labels[0].conversation,
        turn=unit.turn,
        item=next((label.item for label in labels if label.item is not None), None),
        labels=labels,
        ruling=next((ruling for ruling in rulings if ruling.superseded_at is None), None),
        earlier=[ruling for ruling in rulings if ruling.superseded_at is not None],
    )


def labels_of(scope: Scope, units: Sequence[Unit]) -> dict[Unit, list[Label]]:
    """The current labels of many units, late ones too, in the order in which they came; one query."""
    found: dict[Unit, list[Label]] = {unit: [] for unit in units}
    labels = scope.labels().filter(conversation__in={unit.conversation for unit in units})
    for label in labels.select_related("annotator", "conversation", "signal").order_by("id"):
        unit = Unit(label.conversation_id, label.turn, label.signal_id)
        if unit in found:
            found[unit].append(label)
    return found


def unit_from_key(key: str) -> Unit | None:
    """The unit that `Unit.key` named; None for anything else."""
    parts = key.split(".")
    if len(parts) != 3 or not all(part.lstrip("-").isdigit() for part in parts):
        return None
    return Unit(*(int(part) for part in parts))


def rule(
    *,
    reviewer: User,
    signal: Signal,
    conversation: Conversation,
    value: Any,
    reason: str,
    now: datetime,
    turn: int = WHOLE,
    item: Item | None = None,
    note: str = "",
) -> Ruling:
    """Decide a unit. An earlier ruling is kept, superseded; `value` is in the contract's form.

    Raises Forbidden below the role of reviewer, Refused for a value or reason that does not exist or a unit that nobody
    has labelled, Conflict when somebody else ruled at the same moment.
    """
    if not reviewer.may("reviewer"):
        raise Forbidden("not_a_reviewer", "rulings are for reviewers and above")
    if reason not in Ruling.Reason.values:
        raise Refused("unknown_reason", f"{reason!r} is not one of {', '.join(Ruling.Reason.values)}", field="reason")
    try:
        text, number = Scale.of(signal).encode(value)
    except ValueRefused as error:
        raise Refused("bad_value", str(error), field="value") from error
    labels = Label.objects.filter(conversation=conversation, turn=turn, signal=signal, superseded_at__isnull=True)
    if not labels.exists():
        raise Refused("no_labels", "nobody has labelled this: there is nothing to decide", field="conversation")
    try:
        with transaction.atomic():
            Ruling.objects.filter(
                conversation=conversation, turn=turn, signal=signal, superseded_at__isnull=True
            ).update(superseded_at=now)
            return Ruling.objects.create(
                conversation=conversation,
                turn=turn,
                signal=signal,
                item=item,
                reviewer=reviewer,
                value=text,
                number=number,
                reason=reason,
                note=note,
                guideline=signal.guidelines.first(),
            )
    except IntegrityError as error:
        raise Conflict("ruled_already", "somebody else has decided this at the same moment: look again") from error


def withdraw(
    *, by: User, signal: Signal, conversation: Conversation, now: datetime, turn: int = WHOLE, ruling: int | None = None
) -> Ruling:
    """Take back the ruling that holds, so that the unit is open again; it is kept, with who withdrew it and when. With
    `ruling`, its id, only that one: what somebody has decided since was not meant.

    What was frozen stays frozen: gold has copies of its own. Raises Forbidden below the role of reviewer, Conflict where
    no ruling holds, or another one.
    """
    if not by.may("reviewer"):
        raise Forbidden("not_a_reviewer", "withdrawing a decision is for reviewers and above")
    holds = Ruling.objects.filter(conversation=conversation, turn=turn, signal=signal, superseded_at__isnull=True)
    found = holds.select_related("conversation", "signal", "reviewer").first()
    if found is None:
        raise Conflict("not_ruled", "there is no decision here to withdraw")
    if ruling not in (None, found.id):
        raise Conflict("ruled_again", f"{found.reviewer.username} has decided this since: look again")
    if not holds.filter(id=found.id).update(superseded_at=now, withdrawn_by=by):
        raise Conflict("ruled_again", "somebody else has decided or withdrawn this at the same moment: look again")
    found.superseded_at, found.withdrawn_by = now, by
    return found


def queue_closed(queue: Queue) -> Conflict:
    """Of whatever asks people for labels; who reviews may read it, and cannot open a queue themselves."""
    return Conflict("queue_closed", f"{queue.slug} is closed: an engineer can open it")


def in_the_way(*, queue: Queue, item: Item) -> Conflict | None:
    """Why nobody can be asked for one more label of an item of `queue` now; None where somebody can."""
    if queue.state == Queue.State.CLOSED:
        return queue_closed(queue)
    slots = Slot.objects.filter(item=item)
    if slots.filter(state__in=[Slot.State.FREE, Slot.State.LEASED]).exists():
        return Conflict("label_to_come", "a label is still to come for this item")
    had = slots.filter(annotator__isnull=False).values("annotator_id")
    if not queue.memberships.filter(user__is_active=True).exclude(user_id__in=had).exists():
        return Conflict("nobody_left", f"every member of {queue.slug} has had this item: add somebody to the queue")
    return None


@transaction.atomic
def one_more_label(*, item: Item) -> Slot:
    """Ask a further member of the queue instead of deciding: the item gets one more slot. Raises what is `in_the_way`."""
    queue = Queue.objects.select_for_update().get(id=item.queue_id)
    refused = in_the_way(queue=queue, item=item)
    if refused is not None:
        raise refused
    highest = Slot.objects.filter(item=item).aggregate(highest=Max("number"))["highest"]
    number = 0 if highest is None else highest + 1
    return Slot.objects.create(item=item, queue=queue, number=number, position=item.position)


@dataclass(frozen=True, slots=True)
class Mixed:
    """Two answers that people give to the same unit: pairs of people who did, and the units where most of them are."""

    first: str
    second: str
    pairs: int
    share: float
    examples: Sequence[Unit]


def mixed_up(votes: Mapping[Unit, Mapping[str, int]], *, signal: int, examples: int = 3) -> list[Mixed]:
    """Which two categories of a signal are confused, most often first.

    `share` is the chance that two people, one of whom says the first or the second, say the first and the second.
    """
    pairs: dict[tuple[str, str], int] = defaultdict(int)
    alike: dict[str, int] = defaultdict(int)
    where: dict[tuple[str, str], list[tuple[int, Unit]]] = defaultdict(list)
    for unit, counts in votes.items():
        if unit.signal != signal:
            continue
        values = sorted(counts)
        for index, first in enumerate(values):
            alike[first] += counts[first] * (counts[first] - 1) // 2
            for second in values[index + 1 :]:
                both = counts[first] * counts[second]
                pairs[first, second] += both
                where[first, second].append((both, unit))
    return [
        Mixed(
            first,
            second,
            count,
            count / (count + alike[first] + alike[second]),
            [unit for _, unit in sorted(where[first, second], reverse=True)[:examples]],
        )
        for (first, second), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def waiting_count(signal: Signal | None = None) -> int:
    """Open disagreements of a signal, or of all: what the overview asks reviewers for."""
    current = Label.objects.filter(superseded_at__isnull=True, late=False)
    current = current if signal is None else current.filter(signal=signal)
    units = current.filter(~RULED).order_by().values("conversation_id", "turn", "signal_id")
    return units.annotate(values=Count("value", distinct=True)).filter(Q(values__gt=1)).count()
