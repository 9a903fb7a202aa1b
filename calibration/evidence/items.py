"""The conversations behind a number: units of a slice, disagreements first, people's and the version's answer side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import F, FloatField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Abs

from calibration import browsing, fitted
from calibration.classifiers import version_named
from calibration.evidence import pairing
from calibration.evidence.cells import OK
from calibration.models import ClassifierVersion, Prediction
from labeling import blindness, privacy
from labeling.errors import Refused
from labeling.models import WHOLE, DatasetVersion, GoldRow, User
from labeling.personal import Mask

PAGE = 25
EXCERPT = 280
ATTRIBUTE = "in."
PHASES = ("differ", "agree", "missing")


@dataclass(frozen=True, slots=True)
class Unit:
    """One gold unit with the version's answer, and that of the version it is held against; `hidden` where the reader may
    still label it."""

    row: GoldRow
    text: str
    prediction: Prediction | None
    agrees: bool
    hidden: bool
    other: Prediction | None = None

    @property
    def turn(self) -> int | None:
        return None if self.row.turn == WHOLE else self.row.turn

    @property
    def votes(self) -> list[tuple[str, int]]:
        return sorted(self.row.votes.items(), key=lambda vote: -vote[1])

    @property
    def probability(self) -> float | None:
        """What the version gave its own answer, where it gives probabilities."""
        if self.prediction is None or not self.prediction.probabilities:
            return None
        found: float | None = self.prediction.probabilities.get(self.prediction.value)
        return found


@dataclass(frozen=True, slots=True)
class Page:
    """One page of units, how they were chosen, how many there are, and where the next page begins."""

    units: list[Unit]
    chosen: dict[str, str]
    total: int
    differing: int
    missing: int
    """Units without a usable answer: of them nobody knows whether they would differ."""
    next_query: str


def read(
    *, dataset_version: DatasetVersion, version: ClassifierVersion, query: Mapping[str, str], reader: User
) -> Page:
    """A page. `query` has channel, cohort, `in.ATTRIBUTE`, gold, predicted, and `after` for further pages.

    `against` names another version: only units that both answered, and differently; `was` is what that one said.
    """
    chosen = {name: value for name, value in query.items() if name in KNOWN or name.startswith(ATTRIBUTE)}
    browsing.check_text(chosen)
    other = _other(version, chosen)
    rows = _matching(dataset_version, version, other, chosen)
    phases = _phases(rows, dataset_version)
    phase, position = _cursor(query.get("after", ""))
    found: list[tuple[str, GoldRow]] = []
    for name in PHASES[PHASES.index(phase) :]:
        start = position if name == phase else -1
        left = PAGE + 1 - len(found)
        found += [(name, row) for row in phases[name].filter(position__gt=start).order_by("position")[:left]]
        if len(found) > PAGE:
            break
    units = _units(found[:PAGE], version, other, reader)
    more = ""
    if len(found) > PAGE:
        name, last = found[PAGE - 1]
        more = urlencode({**query, "after": f"{name}:{last.position}"})
    counts = _counts(dataset_version, version, chosen)
    total, differing, missing = counts or (rows.count(), phases["differ"].count(), phases["missing"].count())
    return Page(units, chosen, total, differing, missing, more)


def _counts(
    dataset_version: DatasetVersion, version: ClassifierVersion, chosen: Mapping[str, str]
) -> tuple[int, int, int] | None:
    """How many units there are, how many differ and how many lack an answer, from the report's own cells; None where
    those do not tell."""
    if dataset_version.dataset.signal.scale == "interval" or "against" in chosen:
        return None
    names = [name.removeprefix(ATTRIBUTE) for name in chosen if name not in ("gold", "predicted")]
    pairs = pairing.read(dataset_version=dataset_version, version=version, by=names)
    wanted = [
        (pairs.by.index(name.removeprefix(ATTRIBUTE)), value)
        for name, value in chosen.items()
        if name not in ("gold", "predicted")
    ]
    cells = [
        cell
        for cell in pairs.cells
        if all(cell.key[position] == value for position, value in wanted)
        and chosen.get("gold", cell.gold) == cell.gold
        and ("predicted" not in chosen or (cell.status == OK and cell.predicted == chosen["predicted"]))
    ]
    differing = sum(cell.n for cell in cells if cell.status == OK and cell.gold != cell.predicted)
    return sum(cell.n for cell in cells), differing, sum(cell.n for cell in cells if cell.status != OK)


KNOWN = ("channel", "cohort", "gold", "predicted", "against", "was")


def _other(version: ClassifierVersion, chosen: Mapping[str, str]) -> ClassifierVersion | None:
    """The version that it is held against, where one is named."""
    if "against" not in chosen:
        return None
    return version_named(f"{version.classifier.slug}@{chosen['against']}")


def _matching(
    dataset_version: DatasetVersion,
    version: ClassifierVersion,
    other: ClassifierVersion | None,
    chosen: Mapping[str, str],
) -> QuerySet[Any]:
    rows = _measured(dataset_version, version, other)
    if other is not None:
        rows = rows.annotate(was=_answer(other, "value"))
        rows = rows.filter(said__isnull=False, was__isnull=False).exclude(said=F("was"))
    for name, value in chosen.items():
        if name == "against" or (name == "was" and other is None):
            continue
        if name in ("channel", "cohort", "was"):
            rows = rows.filter(**{name: value})
        elif name == "gold":
            rows = rows.filter(value=value)
        elif name == "predicted":
            rows = rows.filter(said=value)
        else:
            rows = rows.filter(_has_attribute(name.removeprefix(ATTRIBUTE), value))
    return rows


def _measured(
    dataset_version: DatasetVersion, version: ClassifierVersion, other: ClassifierVersion | None
) -> QuerySet[Any]:
    """The gold rows that the versions may be measured on, with the answer of the first."""
    rows = fitted.not_in(GoldRow.objects.filter(version=dataset_version, value__isnull=False), version)
    rows = rows if other is None else fitted.not_in(rows, other)
    return rows.annotate(said=_answer(version, "value"), said_number=_answer(version, "number"))


def _answer(version: ClassifierVersion, column: str) -> Subquery:
    answers = Prediction.objects.filter(
        version=version, conversation=OuterRef("conversation_id"), turn=OuterRef("turn"), status=Prediction.Status.OK
    )
    return Subquery(answers.values(column)[:1])


def _has_attribute(name: str, value: str) -> Q:
    """Attributes are compared as the report names them: as text, numbers and truth values included."""
    if "__" in name:
        raise Refused("unknown_slice", f"{name!r} is no name of an attribute", field="by")
    if value == "unknown":
        return Q(**{f"attributes__{name}": value}) | ~Q(attributes__has_key=name) | Q(**{f"attributes__{name}": None})
    wanted: list[Any] = [value]
    if value in ("true", "false"):
        wanted.append(value == "true")
    try:
        number = float(value)
        wanted += [number, int(number)] if number.is_integer() else [number]
    except ValueError:
        pass
    matches = Q()
    for one in wanted:
        matches |= Q(**{f"attributes__{name}": one})
    return matches


def _phases(rows: QuerySet[Any], dataset_version: DatasetVersion) -> dict[str, QuerySet[Any]]:
    answered = rows.filter(said__isnull=False)
    signal = dataset_version.dataset.signal
    if signal.scale == signal.Scale.INTERVAL:
        span = (signal.maximum or 0) - (signal.minimum or 0) if signal.maximum is not None else 4.0
        answered = answered.annotate(error=Abs(F("number") - F("said_number"), output_field=FloatField()))
        same = Q(error__lt=max(span, 0.0) / 4 or 1.0)
    else:
        same = Q(said=F("value"))
    return {"differ": answered.exclude(same), "agree": answered.filter(same), "missing": rows.filter(said__isnull=True)}


def _cursor(after: str) -> tuple[str, int]:
    name, _, position = after.partition(":")
    if name not in PHASES or not position.isdigit():
        return PHASES[0], -1
    return name, int(position)


def _said(version: ClassifierVersion, conversations: Sequence[int]) -> dict[tuple[int, int], Prediction]:
    found = Prediction.objects.filter(version=version, conversation__in=conversations)
    return {(prediction.conversation_id, prediction.turn): prediction for prediction in found}


def _units(
    found: list[tuple[str, GoldRow]], version: ClassifierVersion, other: ClassifierVersion | None, reader: User
) -> list[Unit]:
    ids = [row.conversation_id for _, row in found]
    said, before = (_said(one, ids) if one is not None else {} for one in (version, other))
    signal = version.classifier.signal_id
    closed = blindness.open_questions(reader=reader, conversations=ids)
    mask = privacy.in_force()
    for prediction in said.values():
        prediction.rationale = mask.text(prediction.rationale)
    return [
        Unit(
            row,
            excerpt(row, mask),
            said.get((row.conversation_id, row.turn)),
            name == "agree",
            (row.conversation_id, signal) in closed,
            before.get((row.conversation_id, row.turn)),
        )
        for name, row in found
    ]


def excerpt(row: GoldRow, mask: Mask) -> str:
    """The asked turn, or the customer's last words."""
    turns = row.turns
    if not turns:
        return ""
    if row.turn != WHOLE and row.turn < len(turns):
        text = str(turns[row.turn].get("text", ""))
    else:
        theirs = [turn.get("text", "") for turn in turns if turn.get("role") == "customer"]
        text = str((theirs or [turns[-1].get("text", "")])[-1])
    text = mask.text(text[:4000])
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…"
