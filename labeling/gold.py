"""Freezing labels into gold: a snapshot in one transaction, hashed over its canonical lines, checked by recomputing them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from labeling import aggregation as rules
from labeling import chances
from labeling.dawid_skene import estimate_classes
from labeling.errors import Conflict, NotFound, Refused
from labeling.formats import gold as formats
from labeling.models import (
    WHOLE,
    Conversation,
    Dataset,
    DatasetVersion,
    GoldRow,
    Item,
    Label,
    Queue,
    Ruling,
    Signal,
    User,
)
from labeling.notices import announcing
from labeling.signals import SLUG
from labeling.values import Scale

BATCH = 1000
MOST_LABELS = 1000
"""Of one item, as many as a freeze may ask for."""
Unit = tuple[int, int]
"""Conversation id and turn."""


@dataclass(slots=True)
class _Gathered:
    """What people said of one unit: annotator → value, when the last of it came, the ruling.

    `loaded_at` is when the first of its labels came from a file, outside any queue. `strata` are those in which draws that
    brought labels picked it, by queue, and `chance` is the one of being here at all.
    """

    ratings: dict[str, str] = field(default_factory=dict)
    guidelines: Counter[int] = field(default_factory=Counter)
    labeled_at: datetime | None = None
    ruling: str | None = None
    strata: dict[int, str] = field(default_factory=dict)
    chance: float = 1.0
    loaded_at: datetime | None = None


def freeze(
    *,
    dataset: str,
    signal: Signal,
    aggregation: str,
    now: datetime,
    queues: Sequence[Queue] = (),
    min_labels: int = 1,
    created_by: User | None = None,
    title: str = "",
) -> DatasetVersion:
    """Make the next version of `dataset` from the current labels of `signal`, of `queues` or, without them, of all.

    Late labels do not count; of two labels by one person on a unit the later does. Units that stay open (ties, too few
    labels) are kept, without a value. Raises Refused where the rule does not fit the scale or there is nothing to freeze,
    Conflict where the dataset belongs to another signal. Labels that have not changed give the same hash again.
    """
    scale = Scale.of(signal)
    rule = _rule(signal, scale, aggregation, min_labels)
    with transaction.atomic():
        home = _home(dataset, signal, title, created_by)
        parent = home.versions.filter(frozen_at__isnull=False).order_by("-number").first()
        version = _begin(home, rule, parent, created_by)
        version.queues.set(queues)
        gathered = _gather(signal, queues, rule.min_labels)
        if not gathered:
            raise Refused("nothing_to_freeze", f"there are no labels of {signal.slug} to freeze", field="signal")
        _write_rows(version, gathered, rule, _estimates(rule, gathered))
        _seal(version, signal, gathered, queues, parent, now)
        announcing.frozen(version)
    return version


def preview(*, signal: Signal, aggregation: str, queues: Sequence[Queue] = (), min_labels: int = 1) -> Counter[str]:
    """What a freeze would make of the labels there are now: how many units would be decided, and why others stay open."""
    rule = _rule(signal, Scale.of(signal), aggregation, min_labels)
    gathered = _gather(signal, queues, rule.min_labels)
    estimated = _estimates(rule, gathered)
    reasons: Counter[str] = Counter()
    for unit, found in gathered.items():
        decision = rule.decide(found.ratings, ruling=found.ruling, estimated=estimated.get(unit))
        reasons[decision.reason or "decided"] += 1
    return reasons


def found(*, slug: str, title: str, signal: Signal, created_by: User | None) -> Dataset:
    """A named gold dataset without a version yet; Conflict where the name is taken."""
    if not SLUG.match(slug):
        raise Refused("bad_slug", "is required: letters, digits, - and _", field="slug")
    if "\0" in title or len(title) > 200:
        raise Refused("bad_title", "is at most 200 characters of text", field="title")
    dataset, made = Dataset.objects.get_or_create(
        slug=slug, defaults={"title": title or slug, "signal": signal, "created_by": created_by}
    )
    if not made:
        raise Conflict("dataset_exists", f"there is a dataset {slug!r} already", field="slug")
    return dataset


def _rule(signal: Signal, scale: Scale, aggregation: str, min_labels: int) -> rules.Rule:
    if aggregation == "majority" and signal.scale == Signal.Scale.INTERVAL:
        aggregation = "mean"
    if not 1 <= min_labels <= MOST_LABELS:
        raise Refused("bad_min_labels", f"lies between 1 and {MOST_LABELS:,}, not at {min_labels}", field="min_labels")
    try:
        return rules.Rule(aggregation, signal.scale, scale.values, min_labels)
    except rules.RuleRefused as error:
        raise Refused("bad_aggregation", str(error), field="aggregation") from error


def _home(slug: str, signal: Signal, title: str, created_by: User | None) -> Dataset:
    """The dataset, locked so that two freezes at once get numbers one after the other."""
    if not SLUG.match(slug):
        raise Refused("bad_slug", f"{slug!r} is no name of a dataset: letters, digits, - and _", field="dataset")
    defaults = {"signal": signal, "title": title or slug, "created_by": created_by}
    Dataset.objects.get_or_create(slug=slug, defaults=defaults)
    home = Dataset.objects.select_for_update().select_related("signal").get(slug=slug)
    if home.signal_id != signal.id:
        raise Conflict("other_signal", f"{slug} is gold of {home.signal.slug}, not of {signal.slug}", field="signal")
    return home


def _begin(home: Dataset, rule: rules.Rule, parent: DatasetVersion | None, by: User | None) -> DatasetVersion:
    newest = home.versions.aggregate(newest=Max("number"))["newest"] or 0
    try:
        return DatasetVersion.objects.create(
            dataset=home,
            number=newest + 1,
            aggregation=rule.aggregation,
            min_labels=rule.min_labels,
            parent=parent,
            created_by=by,
            guideline=home.signal.guidelines.first(),
        )
    except IntegrityError as error:
        raise Conflict("frozen_meanwhile", f"{home.slug} is being frozen by somebody else") from error


def _gather(signal: Signal, queues: Sequence[Queue], least: int = 1) -> dict[Unit, _Gathered]:
    """All current answers of the signal, by unit; those with `least` of them are labelled."""
    found: dict[Unit, _Gathered] = defaultdict(_Gathered)
    columns = (
        "conversation_id", "turn", "annotator__username", "value", "labeled_at", "guideline_id", "item_id", "stored_at",
    )  # fmt: skip
    labels = _labels(signal, queues).order_by("id").values_list(*columns)
    for conversation, turn, annotator, value, at, guideline, item, stored_at in labels.iterator(5000):
        unit = found[conversation, turn]
        unit.ratings[annotator] = value
        if at is not None and (unit.labeled_at is None or at > unit.labeled_at):
            unit.labeled_at = at
        if guideline is not None:
            unit.guidelines[guideline] += 1
        if item is None and (unit.loaded_at is None or stored_at < unit.loaded_at):
            unit.loaded_at = stored_at
    rulings = Ruling.objects.filter(signal=signal, superseded_at__isnull=True)
    for conversation, turn, value in rulings.values_list("conversation_id", "turn", "value").iterator(5000):
        if (conversation, turn) in found:
            found[conversation, turn].ruling = value
    _note_draws(found, signal, queues, least)
    return dict(found)


def _labels(signal: Signal, queues: Sequence[Queue]) -> QuerySet[Label]:
    """The labels that count. Of queues: those given in them and those loaded for their items after the draw.

    Where the queues have no label of either kind, they choose among the labels that were loaded before them.
    """
    labels = Label.objects.filter(signal=signal, superseded_at__isnull=True, late=False)
    if not queues:
        return labels
    drawn = Item.objects.filter(queue__in=queues, conversation=OuterRef("conversation"), turn=OuterRef("turn"))
    loaded = Q(item__isnull=True) & Exists(drawn)
    later = loaded & Exists(drawn.filter(queue__created_at__lte=OuterRef("stored_at")))
    own = labels.filter(Q(item__queue__in=queues) | later)
    return own if own.exists() else labels.filter(loaded)


def _note_draws(found: Mapping[Unit, _Gathered], signal: Signal, queues: Sequence[Queue], least: int) -> None:
    """Which draws brought each unit here, and with what chance it is.

    A draw of which no unit has `least` labels brought nothing, and changes nothing. Without named queues, a unit whose label was
    loaded before a queue was drawn owes nothing to that draw: it is here for certain, and has no draw.
    """
    items = Item.objects.filter(queue__in=queues) if queues else Item.objects.filter(queue__signals=signal)
    columns = ("conversation_id", "turn", "queue_id", "stratum", "queue__created_at")
    # Also what its author gave anew in another queue: a draw has brought it none the less.
    given = Label.objects.filter(signal=signal, late=False, item__isnull=False)
    people = Counter(
        (queue, conversation, turn)
        for queue, conversation, turn, _ in given.values_list("item__queue", "conversation_id", "turn", "annotator")
        .distinct()
        .iterator(5000)
    )
    brought: dict[Unit, dict[int, bool]] = defaultdict(dict)
    for conversation, turn, queue, stratum, drawn_at in items.order_by("queue_id").values_list(*columns).iterator(5000):
        unit = found.get((conversation, turn))
        if unit is None:
            continue
        if queues or unit.loaded_at is None or unit.loaded_at >= drawn_at:
            unit.strata[queue] = stratum
            own = people[queue, conversation, turn]
            if unit.loaded_at is not None or own:
                brought[conversation, turn][queue] = unit.loaded_at is not None or own >= least
    labelled: dict[int, set[Unit]] = defaultdict(set)
    for name, by in brought.items():
        if len(found[name].ratings) >= least:
            # Draws that brought enough labels by themselves; where none did, all that brought some.
            for queue in [queue for queue, enough in by.items() if enough] or by:
                labelled[queue].add(name)
    drawn = {}
    for name, unit in found.items():
        unit.strata = {queue: stratum for queue, stratum in unit.strata.items() if queue in labelled}
        if unit.strata:
            drawn[name] = unit
    for name, chance in chances.of_labelled(drawn, labelled).items():
        if name in drawn:
            drawn[name].chance = chance


def _estimates(rule: rules.Rule, gathered: Mapping[Unit, _Gathered]) -> dict[Unit, str]:
    """What Dawid and Skene's model makes of every unit with enough labels; empty for other rules."""
    if rule.aggregation != "dawid-skene":
        return {}
    units = [unit for unit, found in gathered.items() if len(found.ratings) >= rule.min_labels]
    return estimate_classes({unit: gathered[unit].ratings for unit in units}, values=rule.values)


def _write_rows(
    version: DatasetVersion, gathered: Mapping[Unit, _Gathered], rule: rules.Rule, estimated: Mapping[Unit, str]
) -> None:
    """The rows in their fixed order, by conversation id and turn, a batch at a time."""
    names = _names(gathered)
    ordered = iter(sorted(gathered, key=lambda unit: (names[unit[0]], unit[1])))
    position = 0
    while batch := list(islice(ordered, BATCH)):
        conversations = Conversation.objects.in_bulk({conversation for conversation, _ in batch})
        rows = []
        for unit in batch:
            found = gathered[unit]
            decision = rule.decide(found.ratings, ruling=found.ruling, estimated=estimated.get(unit))
            rows.append(_row(version, position, conversations[unit[0]], unit[1], found, decision, rule))
            position += 1
        GoldRow.objects.bulk_create(rows, batch_size=500)


def _names(gathered: Iterable[Unit]) -> dict[int, str]:
    ids = sorted({conversation for conversation, _ in gathered})
    names: dict[int, str] = {}
    for start in range(0, len(ids), 10_000):
        part = ids[start : start + 10_000]
        names |= dict(Conversation.objects.filter(id__in=part).values_list("id", "external_id"))
    return names


def _row(
    version: DatasetVersion,
    position: int,
    conversation: Conversation,
    turn: int,
    found: _Gathered,
    decision: rules.Decision,
    rule: rules.Rule,
) -> GoldRow:
    return GoldRow(
        version=version,
        position=position,
        conversation=conversation,
        external_id=conversation.external_id,
        turn=turn,
        value=decision.value,
        number=decision.number,
        votes=rules.votes(found.ratings, scale=rule.scale),
        ratings=dict(sorted(found.ratings.items())),
        annotators=len(found.ratings),
        decided_by=decision.decided_by,
        channel=conversation.channel,
        cohort=conversation.cohort,
        attributes=conversation.attributes,
        stratum=next(iter(found.strata.values())) if len(found.strata) == 1 else "",
        inclusion_probability=found.chance,
        labeled_at=found.labeled_at,
        text_sha256=formats.text_sha256(conversation.turns, None if turn == WHOLE else turn),
        turns=conversation.turns,
    )


def _seal(
    version: DatasetVersion,
    signal: Signal,
    gathered: Mapping[Unit, _Gathered],
    queues: Sequence[Queue],
    parent: DatasetVersion | None,
    now: datetime,
) -> None:
    """Hash the rows as they are stored and close the version for ever."""
    sha256 = formats.sha256(items(version))
    resolved = version.rows.exclude(value=None).count()
    version.sha256 = sha256
    version.item_count = resolved
    version.unresolved_count = len(gathered) - resolved
    version.label_count = sum(len(found.ratings) for found in gathered.values())
    version.card = _card(version, signal, gathered, queues, parent)
    version.frozen_at = now
    version.save()


def _card(
    version: DatasetVersion,
    signal: Signal,
    gathered: Mapping[Unit, _Gathered],
    queues: Sequence[Queue],
    parent: DatasetVersion | None,
) -> dict[str, Any]:
    cells: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    values: Counter[str] = Counter()
    how: Counter[str] = Counter()
    columns = version.rows.values_list("channel", "cohort", "value", "decided_by")
    for channel, cohort, value, decided_by in columns.iterator(5000):
        cells[channel, cohort][value is None] += 1
        how[decided_by] += 1
        if value is not None and signal.scale != Signal.Scale.INTERVAL:
            values[value] += 1
    versions = dict(signal.guidelines.values_list("id", "version"))
    read = sum((found.guidelines for found in gathered.values()), Counter[int]())
    return {
        "method": rules.METHOD,
        "cells": [
            {"channel": channel, "cohort": cohort, "items": counts[0], "unresolved": counts[1]}
            for (channel, cohort), counts in sorted(cells.items())
        ],
        "values": dict(sorted(values.items())),
        "decided_by": dict(sorted(how.items())),
        "guidelines": {str(versions.get(key, key)): count for key, count in sorted(read.items())},
        "annotators": len({name for found in gathered.values() for name in found.ratings}),
        "queues": [
            {
                "queue": queue.slug,
                "strategy": queue.strategy,
                "by": queue.by,
                "seed": queue.seed,
                "overlap": queue.overlap,
            }
            for queue in queues
        ],
        "design": _design(gathered),
        "changes": None if parent is None else _changes(parent, version),
    }


def _design(gathered: Mapping[Unit, _Gathered]) -> dict[str, Any] | None:
    """The queue and the strata, with the units of each, where all of the gold is one sample that was drawn by strata."""
    drawn = {queue for found in gathered.values() for queue in found.strata}
    if len(drawn) != 1 or any(len(found.strata) != 1 for found in gathered.values()):
        return None
    queue = Queue.objects.get(id=drawn.pop())
    records = [queue.design, *queue.design.get("top_ups", [])]
    if any(record.get("drawn_as") != "stratified" for record in records):
        return None
    units = {row["name"]: row["population"] for record in records for row in record["strata"]}
    return {"queue": queue.slug, "strata": units}


def _changes(parent: DatasetVersion, version: DatasetVersion) -> dict[str, int]:
    """How many items came, went and changed their value since the parent."""
    before = _values(parent)
    after = _values(version)
    both = before.keys() & after.keys()
    return {
        "added": len(after.keys() - both),
        "removed": len(before.keys() - both),
        "changed": sum(before[unit] != after[unit] for unit in both),
    }


def _values(version: DatasetVersion) -> dict[Unit, str]:
    rows = version.rows.exclude(value=None).values_list("conversation_id", "turn", "value")
    return {(conversation, turn): value or "" for conversation, turn, value in rows.iterator(5000)}


def changed_items(*, version: DatasetVersion, limit: int = 200) -> list[dict[str, Any]]:
    """The items that came, went or changed since the parent version, with both values; at most `limit` of them."""
    if version.parent is None:
        return []
    before, after = _values(version.parent), _values(version)
    moved = sorted(unit for unit in before.keys() | after.keys() if before.get(unit) != after.get(unit))[:limit]
    names = _names(moved)
    return [
        {
            "conversation": names[unit[0]],
            "turn": None if unit[1] == WHOLE else unit[1],
            "before": before.get(unit),
            "after": after.get(unit),
        }
        for unit in moved
    ]


def items(version: DatasetVersion) -> Iterator[formats.GoldItem]:
    """The resolved units of a version in their fixed order, streamed."""
    signal = version.dataset.signal
    scale = Scale.of(signal)
    for row in version.rows.exclude(value=None).order_by("position").iterator(chunk_size=BATCH):
        turn = None if row.turn == WHOLE else row.turn
        yield formats.GoldItem(
            id=formats.unit_id(row.external_id, turn),
            conversation=row.external_id,
            turn=turn,
            signal=signal.slug,
            value=scale.decode(row.value or ""),
            votes=row.votes,
            annotators=row.annotators,
            decided_by=row.decided_by,
            channel=row.channel,
            cohort=row.cohort,
            attributes=row.attributes,
            stratum=row.stratum,
            inclusion_probability=row.inclusion_probability,
            text_sha256=row.text_sha256,
            turns=row.turns,
        )


def manifest(version: DatasetVersion) -> formats.Manifest:
    """What every export says of the version."""
    signal = version.dataset.signal
    if version.frozen_at is None:
        raise NotFound("not_frozen", f"{version} is not frozen")
    return formats.Manifest(
        dataset=version.dataset.slug,
        number=version.number,
        title=version.dataset.title,
        signal=signal.slug,
        scale=signal.scale,
        unit=signal.unit,
        values=Scale.of(signal).values,
        sha256=version.sha256,
        items=version.item_count,
        frozen_at=version.frozen_at.isoformat(),
        aggregation=version.aggregation,
    )


def verify(*, version: DatasetVersion) -> bool:
    """Whether the stored rows still give the hash with which the version was frozen."""
    return formats.sha256(items(version)) == version.sha256
