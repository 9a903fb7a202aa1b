"""Recalibration: the loop that resolves a flag. Top-up sample, labels, gold, fit, validation, promotion as a new version.

Instead of a map another version of the classifier may take over: an older one (to roll back), or one with a mended prompt. It is
held against the flagged one on the same labels, and promoted on the same terms.

Every step takes the row from one state to the next by a conditional update: called twice, or by two people, it happens
once. A map is judged on labels that it has not seen (cross-fitting: each fold by a map fitted to the others).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Exists, Max, OuterRef

from calibration import sampling, scoring
from calibration.classifiers import version_named
from calibration.drift import canaries, choosing, flags, mapping
from calibration.errors import EvidenceRefused
from calibration.evidence import comparing
from calibration.models import ClassifierVersion, DriftFlag, Prediction, PredictionRollup, Recalibration
from calibration.sampling import Aim
from calibration.slices import all_words
from calibration.stats import map_fits, maps, paired
from calibration.stats.map_fits import LEAST_HELD_OUT, LEAST_LABELS, Kind
from calibration.stats.tables import PairedTable
from labeling import gold, queues
from labeling import sampling as drawing
from labeling.background import later
from labeling.errors import Conflict, Refused
from labeling.frames import Frame
from labeling.models import DatasetVersion, Queue, User
from labeling.values import Scale

SIZE = 240
FOLDS = 5
MARGIN = 0.05
"""The recalibrated version's kappa may be this much lower at most, shown by a one-sided 95 % limit."""
VERSION = "version"
"""The kind of a fit that is none: another version stands instead of a map."""
State = Recalibration.State


def of(flag: DriftFlag) -> Recalibration | None:
    """The recalibration of a flag, where one was opened."""
    rows = Recalibration.objects.select_related(
        "queue", "dataset_version__dataset", "promoted__classifier", "opened_by"
    )
    return rows.filter(flag=flag).first()


@transaction.atomic
def open_for(
    *, flag: DriftFlag, by: User | None, size: int = SIZE, members: Sequence[User] = (), slices: Sequence[Any] = ()
) -> Recalibration:
    """Draw a top-up queue from the flagged slice, or from `slices` (see `choosing`), since the change and not labelled yet;
    again: the one that is there."""
    found = of(flag)
    if found is not None:
        return found
    if flag.kind == DriftFlag.Kind.ASR:
        why = "a recogniser is not recalibrated by labels: mend it, or go back to the version before, and resolve the flag"
        raise Refused("not_by_labels", why, field="kind")
    flags.move(
        flag=flag,
        to=DriftFlag.State.RECALIBRATING,
        allowed=[DriftFlag.State.OPEN, DriftFlag.State.ACKNOWLEDGED],
        action="recalibrating",
        by=by,
    )
    parts = choosing.chosen(flag, slices)
    members = members or sampling.labellers(flag.version.classifier.signal, by)
    queue = _draw(flag, parts, by=by, size=size, members=members)
    return Recalibration.objects.create(flag=flag, queue=queue, slices=parts, opened_by=by)


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
    """Freeze the top-up's labels and let another version of the classifier stand instead of a map.

    One that cxlab can run is set to score what it has not scored of them. Refused for the flagged version itself and for
    versions of other classifiers.
    """
    row = _at(recalibration, State.LABELLING)
    if row is None:
        return recalibration
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
    return _to(row, State.FITTED, by=by, note=f"{version} instead, on {frozen}", fit=fitted, dataset_version=frozen)


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
        "passed": map_fits.improves(crossed.brier_change) and held.passed and _harms_none(parts),
    }
    word = "holds" if document["passed"] else "does not hold"
    return _to(row, State.VALIDATED, by=by, note=f"the map {word} on labels it has not seen", validation=document)


@transaction.atomic
def promote(*, recalibration: Recalibration, by: User | None) -> Recalibration:
    """Register the map as a version of its own, with its predictions, and resolve the flag with the evidence attached."""
    row = _at(recalibration, State.VALIDATED)
    if row is None:
        return recalibration
    if not row.validation.get("passed"):
        raise EvidenceRefused(
            "not_validated", "it is not shown to be better on labels it has not seen: choose another way"
        )
    if row.fit["kind"] == VERSION:
        promoted, border = version_named(row.fit["version"]), None
        note, how = f"{promoted} takes over", f"{promoted} takes over"
    else:
        promoted = mapping.register(recalibration=row)
        stored = mapping.store(promoted=promoted, recalibration=row, calibration=maps.from_dict(row.fit["map"]))
        border = PredictionRollup.objects.filter(version=promoted).aggregate(day=Max("day"))["day"]
        note, how = f"{promoted}, {stored:,} predictions", f"recalibrated as {promoted}"
    row = _to(row, State.PROMOTED, by=by, note=note, promoted=promoted, mapped_until=border)
    evidence = row.flag.evidence | {"recalibration": row.validation | {"promoted": str(promoted)}}
    DriftFlag.objects.filter(id=row.flag_id).update(evidence=evidence)
    flags.resolve(flag=row.flag, by=by, note=how)
    _close(row)
    return row


@transaction.atomic
def abandon(*, recalibration: Recalibration, by: User | None, reason: str) -> Recalibration:
    """Give up and stay with (or go back to) another version: the flag is dismissed with the reason."""
    if recalibration.state in (State.PROMOTED, State.ABANDONED):
        raise Conflict("recalibration_over", f"the recalibration is {recalibration.state} already")
    flags.dismiss(flag=flags.get(recalibration.flag_id), by=by, reason=reason)
    row = _to(recalibration, State.ABANDONED, by=by, note=reason)
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
) -> Recalibration:
    """One named step of a flag's loop; a step that was done already changes nothing."""
    if recalibration is None:
        raise Conflict("not_recalibrating", f"flag {flag.id} has no recalibration: open one first")
    if step == "fit":
        return fit(recalibration=recalibration, by=by, now=now)
    if step == "choose":
        chosen = version_named(version)
        return choose(recalibration=recalibration, version=chosen, by=by, now=now)
    if step == "validate":
        return validate(recalibration=recalibration, by=by)
    if step == "promote":
        return promote(recalibration=recalibration, by=by)
    if step == "abandon":
        return abandon(recalibration=recalibration, by=by, reason=reason)
    raise Refused("unknown_step", f"{step!r} is not one of fit, choose, validate, promote, abandon", field="step")


def document(row: Recalibration) -> dict[str, Any]:
    """The recalibration as JSON."""
    return {
        "state": row.state,
        "slices": row.slices,
        "queue": row.queue.slug if row.queue else None,
        "dataset": str(row.dataset_version) if row.dataset_version else None,
        "fit": row.fit,
        "validation": row.validation,
        "promoted": str(row.promoted) if row.promoted else None,
        "opened_by": row.opened_by.username if row.opened_by else None,
        "opened_at": row.opened_at.isoformat(),
    }


def others(flag: DriftFlag) -> list[ClassifierVersion]:
    """The versions that could stand instead of the flagged one, the newest first."""
    versions = ClassifierVersion.objects.filter(classifier=flag.version.classifier).exclude(id=flag.version_id)
    return list(versions.select_related("classifier").order_by("-created_at", "-id"))


def _freeze(row: Recalibration, *, by: User | None, now: datetime) -> DatasetVersion:
    assert row.queue is not None
    return gold.freeze(
        dataset=f"recalibration-{row.flag_id}",
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
        "passed": comparing.improvement(name, gained) == "better" and _harms_none(parts),
    }
    word = "is better" if document["passed"] else "is not shown to be better"
    return _to(row, State.VALIDATED, by=by, note=f"{chosen} {word}", validation=document)


def _slice_row(part: dict[str, str], statistic: str, *, labels: int, a: Any, b: Any, difference: Any) -> dict[str, Any]:
    """Old and new of one of the chosen slices, and whether the new is better or worse there."""
    word = comparing.improvement(statistic, difference)
    return {"slice": part, "labels": labels, "old": a, "new": b, "difference": difference, "change": word}


def _kappas(scale: Scale, table: PairedTable) -> dict[str, Any]:
    found = paired.non_inferiority("kappa", table, MARGIN, scale=scale.kind)
    return {"labels": table.total} | {side: getattr(found, side).as_dict() for side in ("a", "b", "difference")}


def _harms_none(parts: Sequence[dict[str, Any]]) -> bool:
    """No slice is shown to be worse: one must not pay for the others."""
    return all(part["change"] != "worse" for part in parts)


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
        slug=f"recalibration-{flag.id}",
        title=f"Top-up for {flag.version}"[:200],
        description=f"Drawn for drift flag {flag.id}: {all_words(parts)}.",
        signals=[signal],
        size=size,
        strategy="drift",
        planner=sampling.unlabelled(
            signal, planner, f"every conversation of {all_words(parts)} since the change is labelled already"
        ),
        by=names,
        seed=flag.id,
        members=members,
        frame=frame,
        created_by=by,
        priority=10,
    )


def _at(recalibration: Recalibration, state: str) -> Recalibration | None:
    """The row, locked, when it waits for this step; None when it is past it; refused when it is not there yet."""
    rows = Recalibration.objects.select_for_update().select_related("flag__version__classifier__signal")
    row = rows.get(id=recalibration.id)
    order = [State.LABELLING, State.FITTED, State.VALIDATED, State.PROMOTED]
    if row.state == State.ABANDONED:
        raise Conflict("recalibration_over", "the recalibration was given up")
    if order.index(State(row.state)) < order.index(State(state)):
        raise Conflict("step_too_early", f"the recalibration is {row.state}: an earlier step comes first")
    return row if row.state == state else None


def _to(row: Recalibration, state: str, *, by: User | None, note: str, **values: Any) -> Recalibration:
    for name, value in {"state": state, **values}.items():
        setattr(row, name, value)
    row.save(update_fields=["state", *values, "updated_at"])
    flags.note(flag=row.flag, action=str(state), by=by, text=note)
    return row


def _close(row: Recalibration) -> None:
    if row.queue is not None:
        queues.change_state(queue=row.queue, state=Queue.State.CLOSED)


def _too_few(kind: str, labels: int, reason: str | None) -> str:
    if reason == "one_category":
        return "all labels of the top-up are alike: a map cannot be fitted to one category"
    least = max(LEAST_HELD_OUT, -(-LEAST_LABELS[kind] * FOLDS // (FOLDS - 1)))
    return f"{labels} labels are too few: {kind} needs {least}, label {max(least - labels, 1)} more"
