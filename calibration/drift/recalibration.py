"""Recalibration: the loop that resolves a flag. Top-up sample, labels, gold, fit, validation, promotion as a new version.

Instead of a map another version of the classifier may take over: an older one (to roll back), or one with a mended prompt. It is
held against the flagged one on the same labels, and promoted on the same terms.

    labelling ── fit, choose ──► fitted ── validate ──► validated ── promote, where it passed ──► promoted
        ▲                          │ ▲                     │  │
        └───────── more ───────────┴─│─────────────────────┘  │
                                     └──── choose ────────────┘
    abandon: from every state before promoted. It ends the recalibration and not the flag, which is acknowledged again.

Every step takes the row, locked, from one state to the next: called twice, or by two people, it happens once. A map is judged
on labels that it has not seen (cross-fitting: each fold by a map fitted to the others).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet

from calibration import numerals, sampling, scoring
from calibration.classifiers import version_named
from calibration.drift import canaries, choosing, flags, mapping
from calibration.errors import EvidenceRefused
from calibration.evidence import comparing
from calibration.models import ClassifierVersion, DriftFlag, Prediction, PredictionRollup, Recalibration
from calibration.sampling import Aim
from calibration.slices import all_words, words
from calibration.stats import map_fits, maps, paired
from calibration.stats.estimate import Estimate
from calibration.stats.map_fits import LEAST_HELD_OUT, LEAST_LABELS, Kind
from calibration.stats.paired import Comparison
from calibration.stats.tables import PairedTable
from labeling import gold, queues
from labeling import sampling as drawing
from labeling.background import later
from labeling.errors import Conflict, Refused
from labeling.frames import Frame
from labeling.models import DatasetVersion, Queue, User
from labeling.values import Scale

SIZE = 240
MORE = 100
"""Items that are drawn on top where a first fit has failed."""
FOLDS = 5
MARGIN = 0.05
"""The recalibrated version's kappa may be this much lower at most, shown by a one-sided 95 % limit."""
VERSION = "version"
"""The kind of a fit that is none: another version stands instead of a map."""
State = Recalibration.State


def of(flag: DriftFlag) -> Recalibration | None:
    """The recalibration of a flag that is under way or came to its end; None where there is none, or it was given up."""
    return _rows(flag).exclude(state=State.ABANDONED).first()


def given_up(flag: DriftFlag) -> list[Recalibration]:
    """The recalibrations of a flag that were given up, in the order in which they were opened."""
    return list(_rows(flag).filter(state=State.ABANDONED))


@transaction.atomic
def open_for(
    *, flag: DriftFlag, by: User | None, size: int = SIZE, members: Sequence[User] = (), slices: Sequence[Any] = ()
) -> Recalibration:
    """Draw a top-up queue from the flagged slice, or from `slices` (see `choosing`), since the change and not labelled yet;
    again: the one that is there.

    Where a recalibration of the same slices was given up its queue goes on, with `size` items to label: its labels count.
    """
    flag = (
        DriftFlag.objects.select_for_update(of=["self"]).select_related("version__classifier__signal").get(id=flag.id)
    )
    found = of(flag)
    if found is not None:
        return found
    if flag.kind == DriftFlag.Kind.ASR:
        why = "a recogniser is not recalibrated by labels: mend it, or go back to the version before, and resolve the flag"
        raise Refused("not_by_labels", why, field="kind")
    flags.move(
        flag=flag,
        to=DriftFlag.State.RECALIBRATING,
        allowed=flags.STANDING,
        action="recalibrating",
        by=by,
    )
    parts = choosing.chosen(flag, slices)
    members = members or sampling.labellers(flag.version.classifier.signal, by)
    row = Recalibration(flag=flag, slices=parts, opened_by=by)
    before = [earlier.queue for earlier in given_up(flag) if earlier.slices == parts and earlier.queue is not None]
    if before:
        row.queue = before[-1]
        _go_on(row, size=size, members=members)
    else:
        row.queue = _draw(flag, parts, by=by, size=size, members=members)
    row.save()
    return row


@transaction.atomic
def fit(*, recalibration: Recalibration, by: User | None, now: datetime) -> Recalibration:
    """Freeze the top-up's labels and fit a map to them; refused with the reason where they are too few."""
    row = _at(recalibration, State.LABELLING)
    if row is None:
        return recalibration
    frozen = _freeze(row, by=by, now=now)
    data = mapping.read(dataset_version=frozen, version=row.flag.version)
    kind = mapping.kind_for(data, folds=FOLDS)
    found = map_fits.fit(kind, data.gold)
    if found.calibration is None or len(data.gold) < LEAST_HELD_OUT:
        raise EvidenceRefused("too_few_labels", _too_few(kind, len(data.gold), found.reason))
    fitted = {"kind": kind, "labels": found.labels, "map": maps.to_dict(found.calibration)}
    return _to(row, State.FITTED, by=by, note=f"{kind} on {frozen}", fit=fitted, dataset_version=frozen)


@transaction.atomic
def choose(
    *, recalibration: Recalibration, version: ClassifierVersion, by: User | None, now: datetime
) -> Recalibration:
    """Freeze the top-up's labels and let another version of the classifier stand instead of a map, or of what stood before.

    One that cxlab can run is set to score what it has not scored of them. Refused for the flagged version itself and for
    versions of other classifiers.
    """
    row = _at(recalibration, State.LABELLING, State.FITTED, State.VALIDATED)
    if row is None or row.fit.get("version") == str(version):
        return row or recalibration
    flagged = row.flag.version
    if version.classifier_id != flagged.classifier_id or version == flagged:
        why = f"choose another version of {flagged.classifier.slug} than {flagged}"
        raise Refused("other_version", why, field="version")
    frozen = _freeze(row, by=by, now=now)
    labels = frozen.rows.filter(value__isnull=False).count()
    if labels < LEAST_HELD_OUT:
        raise EvidenceRefused("too_few_labels", f"{labels} labels are too few: label {LEAST_HELD_OUT - labels} more")
    if canaries.can_run(version) and _scored(version, frozen) < labels:
        run = scoring.start(version=version, frame={"dataset": str(frozen)})
        later(scoring.TASK, run.id)
    fitted = {"kind": VERSION, "version": str(version), "labels": labels}
    values = _put_aside(row) | {"fit": fitted, "dataset_version": frozen}
    return _to(row, State.FITTED, by=by, note=f"{version} instead, on {frozen}", **values)


@transaction.atomic
def more(*, recalibration: Recalibration, by: User | None, size: int = MORE) -> Recalibration:
    """Back from a fit or its validation to the labels, with so many items drawn on top (0: none); what was tried is kept.

    Refused where items are asked for and none is left to draw.

    While labels are awaited already it changes nothing.
    """
    row = _at(recalibration, State.LABELLING, State.FITTED, State.VALIDATED)
    if row is None:
        raise Conflict("recalibration_over", "the recalibration is promoted already")
    if row.state == State.LABELLING:
        return row
    assert row.queue is not None
    drawn = _top_up(row, row.queue, size=size) if size else 0
    queues.change_state(queue=row.queue, state=Queue.State.OPEN)
    note = f"{drawn} more items are drawn"
    return _to(row, State.LABELLING, by=by, note=note, action="back to the labels", **_put_aside(row))


@transaction.atomic
def validate(*, recalibration: Recalibration, by: User | None) -> Recalibration:
    """Hold the map against the version as it is, on labels that it has not seen, pairwise."""
    row = _at(recalibration, State.FITTED)
    if row is None:
        return recalibration
    assert row.dataset_version is not None
    if row.fit["kind"] == VERSION:
        return _validate_version(row, row.dataset_version, by=by)
    data = mapping.read(dataset_version=row.dataset_version, version=row.flag.version)
    kind: Kind = row.fit["kind"]
    crossed = map_fits.cross_fit(kind, data.gold, rng=np.random.default_rng(row.flag_id), folds=FOLDS)
    if crossed.reason:
        raise EvidenceRefused("too_few_labels", _too_few(kind, len(data.gold), crossed.reason))
    scale = Scale.of(row.flag.version.classifier.signal)
    table = mapping.joint(scale, data.gold, crossed.probabilities)
    held = paired.non_inferiority("kappa", table, MARGIN, scale=scale.kind)
    gained = paired.accuracy_difference(table)
    parts = [
        _slice_row(
            part, "kappa", **_kappas(scale, mapping.joint(scale, data.gold.take(here), crossed.probabilities[here]))
        )
        for part, here in ((part, data.inside(part)) for part in row.slices)
        if here.any()
    ]
    document = {
        "method": f"cross-fitted, {FOLDS} folds",
        "labels": len(data.gold),
        "brier": crossed.brier_change.as_dict(),
        "statistic": "kappa",
        "old": held.a.as_dict(),
        "new": held.b.as_dict(),
        "difference": held.difference.as_dict(),
        "accuracy_difference": gained.as_dict(),
        "margin": MARGIN,
        "slices": parts,
    } | _verdict(_failures(crossed.brier_change, held) + _harmed(parts))
    word = "holds" if document["passed"] else "does not hold"
    return _to(row, State.VALIDATED, by=by, note=f"the map {word} on labels it has not seen", validation=document)


@transaction.atomic
def promote(*, recalibration: Recalibration, by: User | None) -> Recalibration:
    """Register the map as a version of its own, with its predictions, and resolve the flag with the evidence attached."""
    row = _at(recalibration, State.VALIDATED)
    if row is None:
        return recalibration
    if not row.validation.get("passed"):
        raise EvidenceRefused("not_validated", _not_better(row.validation))
    if row.fit["kind"] == VERSION:
        promoted, border = version_named(row.fit["version"]), None
        note, how = f"{promoted} takes over", f"{promoted} takes over"
    else:
        promoted = mapping.register(recalibration=row)
        stored = mapping.store(promoted=promoted, recalibration=row, calibration=maps.from_dict(row.fit["map"]))
        border = PredictionRollup.objects.filter(version=promoted).aggregate(day=Max("day"))["day"]
        note, how = f"{promoted}, {stored:,} predictions", f"recalibrated as {promoted}"
    row = _to(row, State.PROMOTED, by=by, note=note, promoted=promoted, mapped_until=border)
    proof = row.validation | {"promoted": str(promoted), "failed_before": len(row.tries)}
    evidence = row.flag.evidence | {"recalibration": proof}
    DriftFlag.objects.filter(id=row.flag_id).update(evidence=evidence)
    flags.move(
        flag=row.flag,
        to=DriftFlag.State.RESOLVED,
        allowed=[DriftFlag.State.RECALIBRATING],
        action="resolved",
        by=by,
        note=how,
    )
    _close(row)
    return row


@transaction.atomic
def abandon(*, recalibration: Recalibration, by: User | None, reason: str) -> Recalibration:
    """End the recalibration and not the flag: that is acknowledged again, and another recalibration can be opened for it."""
    reason = reason.strip()
    if not reason:
        raise Refused("no_reason", "say why the recalibration is given up", field="reason")
    row = _locked(recalibration)
    if row.state == State.PROMOTED:
        raise Conflict("recalibration_over", "the recalibration is promoted already")
    if row.state == State.ABANDONED:
        return row
    row = _to(row, State.ABANDONED, by=by, note=reason, action="recalibration given up")
    flags.move(
        flag=row.flag,
        to=DriftFlag.State.ACKNOWLEDGED,
        allowed=[DriftFlag.State.RECALIBRATING],
        action="acknowledged",
        by=by,
        note="the flag stands",
    )
    _close(row)
    return row


def step(
    *,
    flag: DriftFlag,
    recalibration: Recalibration | None,
    step: str,
    by: User | None,
    now: datetime,
    reason: str = "",
    version: str = "",
    size: int | None = None,
) -> Recalibration:
    """One named step of a flag's loop; a step that was done already changes nothing."""
    if recalibration is None:
        ended = given_up(flag)
        if step == "abandon" and ended:
            return ended[-1]
        raise Conflict("not_recalibrating", f"flag {flag.id} is not being recalibrated: open a recalibration first")
    if step == "fit":
        return fit(recalibration=recalibration, by=by, now=now)
    if step == "choose":
        chosen = version_named(version)
        return choose(recalibration=recalibration, version=chosen, by=by, now=now)
    if step == "more":
        return more(recalibration=recalibration, by=by, size=MORE if size is None else size)
    if step == "validate":
        return validate(recalibration=recalibration, by=by)
    if step == "promote":
        return promote(recalibration=recalibration, by=by)
    if step == "abandon":
        return abandon(recalibration=recalibration, by=by, reason=reason)
    known = "fit, choose, more, validate, promote, abandon"
    raise Refused("unknown_step", f"{step!r} is not one of {known}", field="step")


def document(row: Recalibration) -> dict[str, Any]:
    """The recalibration as JSON."""
    return {
        "state": row.state,
        "slices": row.slices,
        "queue": row.queue.slug if row.queue else None,
        "dataset": str(row.dataset_version) if row.dataset_version else None,
        "fit": row.fit,
        "validation": row.validation,
        "tries": row.tries,
        "promoted": str(row.promoted) if row.promoted else None,
        "opened_by": row.opened_by.username if row.opened_by else None,
        "opened_at": row.opened_at.isoformat(),
    }


def others(row: Recalibration) -> list[ClassifierVersion]:
    """The versions that could stand instead of the flagged one and of what stands now, the newest first."""
    flagged = row.flag.version
    versions = ClassifierVersion.objects.filter(classifier=flagged.classifier).exclude(id=flagged.id)
    newest = versions.select_related("classifier").order_by("-created_at", "-id")
    return [version for version in newest if str(version) != row.fit.get("version")]


def _rows(flag: DriftFlag) -> QuerySet[Recalibration]:
    rows = Recalibration.objects.select_related(
        "flag__version__classifier__signal", "queue", "dataset_version__dataset", "promoted__classifier", "opened_by"
    )
    return rows.filter(flag=flag).order_by("id")


def _name(flag: DriftFlag, before: int) -> str:
    """Of the queue and the gold of a flag's recalibration, with so many before it."""
    return f"recalibration-{flag.id}" + (f"-{before + 1}" if before else "")


def _freeze(row: Recalibration, *, by: User | None, now: datetime) -> DatasetVersion:
    assert row.queue is not None
    return gold.freeze(
        dataset=_name(row.flag, Recalibration.objects.filter(flag=row.flag, id__lt=row.id).count()),
        signal=row.flag.version.classifier.signal,
        aggregation="majority",
        now=now,
        queues=[row.queue],
        created_by=by,
        title=f"Top-up for {row.flag.version}",
    )


def _scored(version: ClassifierVersion, frozen: DatasetVersion) -> int:
    """How many of the labelled units a version has answered."""
    answered = Prediction.objects.filter(
        version=version, status=Prediction.Status.OK, conversation=OuterRef("conversation"), turn=OuterRef("turn")
    )
    return frozen.rows.filter(Exists(answered), value__isnull=False).count()


def _validate_version(row: Recalibration, frozen: DatasetVersion, *, by: User | None) -> Recalibration:
    """Another version against the flagged one, paired on what both answered: it has to be shown to be better."""
    chosen, labels = version_named(row.fit["version"]), row.fit["labels"]
    answered = _scored(chosen, frozen)
    if answered < LEAST_HELD_OUT:
        why = f"{chosen} has scored {answered} of the {labels} labelled units: run it on them, or load its predictions"
        raise EvidenceRefused("too_few_predictions", why)
    compared = comparing.compare(dataset_version=frozen, a=row.flag.version, b=chosen, by=_dimensions(row.slices))
    name, whole = compared["statistic"], compared["rows"][0]
    parts = [
        _slice_row(found["slice"], name, labels=found["n"], **found[name])
        for found in compared["rows"]
        if found["slice"] in row.slices
    ]
    found = whole[name]
    gained = found["difference"]
    document = {
        "method": "paired on units that both answered",
        "labels": whole["n"],
        "statistic": name,
        "old": found["a"],
        "new": found["b"],
        "difference": gained,
        "slices": parts,
    } | _verdict(_no_gain(name, gained) + _harmed(parts))
    word = "is better" if document["passed"] else "is not shown to be better"
    return _to(row, State.VALIDATED, by=by, note=f"{chosen} {word}", validation=document)


def _slice_row(part: dict[str, str], statistic: str, *, labels: int, a: Any, b: Any, difference: Any) -> dict[str, Any]:
    """Old and new of one of the chosen slices, and whether the new is better or worse there."""
    word = comparing.improvement(statistic, difference)
    return {"slice": part, "labels": labels, "old": a, "new": b, "difference": difference, "change": word}


def _kappas(scale: Scale, table: PairedTable) -> dict[str, Any]:
    found = paired.non_inferiority("kappa", table, MARGIN, scale=scale.kind)
    return {"labels": table.total} | {side: getattr(found, side).as_dict() for side in ("a", "b", "difference")}


def _verdict(reasons: list[str]) -> dict[str, Any]:
    return {"passed": not reasons, "reasons": reasons}


def _failures(brier: Estimate, held: Comparison) -> list[str]:
    """Why a map does not hold as a whole."""
    found = []
    if not map_fits.improves(brier):
        found.append(f"the Brier score is not shown to fall{_interval(brier.as_dict(), 3)}")
    if not held.passed:
        found.append(f"kappa may fall by more than {MARGIN}{_interval(held.difference.as_dict())}")
    return found


def _no_gain(name: str, gained: dict[str, Any]) -> list[str]:
    """Why another version does not take over, as a whole."""
    if comparing.improvement(name, gained) == "better":
        return []
    return [f"{name.replace('_', ' ')} is not shown to be better{_interval(gained)}"]


def _harmed(parts: Sequence[dict[str, Any]]) -> list[str]:
    """The slices that are shown to be worse: one must not pay for the others."""
    return [f"it is worse on {words(part['slice'])}" for part in parts if part["change"] == "worse"]


def _interval(change: dict[str, Any], digits: int = 2) -> str:
    value, low, high = (change.get(name) for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return ""
    told = [numerals.signed(number, digits) for number in (value, low, high)]
    return f" ({told[0]}, {told[1]} to {told[2]})"


def _not_better(validation: dict[str, Any]) -> str:
    because = "".join(f"; {reason}" for reason in validation.get("reasons", []))
    return (
        f"it is not shown to be better on labels it has not seen{because}. "
        "Label more and fit again, choose another version, or give the recalibration up"
    )


def _dimensions(parts: Sequence[dict[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part))


def _draw(
    flag: DriftFlag, parts: Sequence[dict[str, str]], *, by: User | None, size: int, members: Sequence[User]
) -> Queue:
    """A queue of the slices' conversations since the change that nobody has labelled yet."""
    signal = flag.version.classifier.signal
    names = _dimensions(parts)
    aim = Aim(strategy="drift", by=names, flags=(flag,), slices=tuple(parts))
    since = Frame(since=flag.since)
    # Conversations whose time nobody told cannot be narrowed by it.
    since = since if since.conversations().exists() else Frame()
    frame, planner = sampling.prepare(signals=[signal], aim=aim, frame=since)
    return drawing.draw_queue(
        slug=_name(flag, Recalibration.objects.filter(flag=flag).count()),
        title=f"Top-up for {flag.version}"[:200],
        description=f"Drawn for drift flag {flag.id}: {all_words(parts)}.",
        signals=[signal],
        size=size,
        strategy="drift",
        planner=sampling.unlabelled(signal, planner, _all_labelled(parts)),
        by=names,
        seed=flag.id,
        members=members,
        frame=frame,
        created_by=by,
        priority=10,
    )


def _go_on(row: Recalibration, *, size: int, members: Sequence[User]) -> None:
    """The queue of a recalibration that was given up, open again, with up to `size` items that wait for labels."""
    assert row.queue is not None
    queues.change_state(queue=row.queue, state=Queue.State.OPEN)
    queues.add_members(queue=row.queue, members=members)
    progress = queues.progress([row.queue])[row.queue.id]
    missing = size - (progress.items - progress.finished)
    try:
        if missing > 0:
            _top_up(row, row.queue, size=missing)
    except Refused as refused:
        if refused.code != "nothing_to_label":  # then the labels there are have to do
            raise


def _top_up(row: Recalibration, queue: Queue, *, size: int) -> int:
    """More items from what the queue was drawn from and nobody has labelled; returns how many there were."""
    signal, planner = row.flag.version.classifier.signal, sampling.planner_of(queue)
    nothing = f"no more items can be drawn: {_all_labelled(row.slices)}, or waits in the queue"
    fresh = sampling.unlabelled(signal, planner, nothing, beside=queue)
    return drawing.top_up(queue=queue, size=size, planner=fresh)


def _all_labelled(parts: Sequence[dict[str, str]]) -> str:
    return f"every conversation of {all_words(parts)} since the change is labelled already"


def _locked(recalibration: Recalibration) -> Recalibration:
    rows = Recalibration.objects.select_for_update(of=["self"])
    rows = rows.select_related("flag__version__classifier__signal", "queue", "dataset_version__dataset")
    return rows.get(id=recalibration.id)


def _at(recalibration: Recalibration, *states: State) -> Recalibration | None:
    """The row, locked, when it waits for this step; None when it is past it; refused when it is not there yet."""
    row = _locked(recalibration)
    order = [State.LABELLING, State.FITTED, State.VALIDATED, State.PROMOTED]
    if row.state == State.ABANDONED:
        raise Conflict("recalibration_over", "the recalibration was given up")
    if order.index(State(row.state)) < order.index(states[0]):
        raise Conflict("step_too_early", f"the recalibration is {row.state}: an earlier step comes first")
    return row if row.state in states else None


def _put_aside(row: Recalibration) -> dict[str, Any]:
    """The row's values without its fit; what was validated is remembered."""
    tried = [
        {
            "dataset": str(row.dataset_version),
            "fit": {name: value for name, value in row.fit.items() if name != "map"},
            "validation": row.validation,
        }
    ]
    tries = [*row.tries, *tried] if row.validation else row.tries
    return {"tries": tries, "fit": {}, "validation": {}, "dataset_version": None}


def _to(
    row: Recalibration, state: str, *, by: User | None, note: str, action: str = "", **values: Any
) -> Recalibration:
    for name, value in {"state": state, **values}.items():
        setattr(row, name, value)
    row.save(update_fields=["state", *values, "updated_at"])
    flags.note(flag=row.flag, action=action or str(state), by=by, text=note)
    return row


def _close(row: Recalibration) -> None:
    if row.queue is not None:
        queues.change_state(queue=row.queue, state=Queue.State.CLOSED)


def _too_few(kind: str, labels: int, reason: str | None) -> str:
    if reason == "one_category":
        return "all labels of the top-up are alike: a map cannot be fitted to one category"
    least = max(LEAST_HELD_OUT, -(-LEAST_LABELS[kind] * FOLDS // (FOLDS - 1)))
    return f"{labels} labels are too few: {kind} needs {least}, label {max(least - labels, 1)} more"
