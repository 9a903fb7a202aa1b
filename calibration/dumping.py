"""What `load` takes, out again in a fixed order that no database's collation bends: as it stands, or masked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Collate

from calibration import conversations
from calibration.models import Outcome, Prediction
from labeling import blindness, bulk, privacy
from labeling.errors import NotFound, Refused
from labeling.formats import catalogue, contract
from labeling.formats.shapes import Unit
from labeling.models import Conversation, Label, Signal, User
from labeling.personal import Mask

TURN_FIELDS = ("role", "text", "at", "start", "end")
PART = 200
OUTCOMES = ("jsonl", "csv")
"""The formats that hold outcomes, which belong to customers too."""
LABEL_KEY = ("conversation", "turn", "signal", "annotator")


def rows(*, kind: str, signal: str = "", source: str = "") -> Iterator[dict[str, Any]]:
    """The rows of one kind in the contract's form; of labels the current ones, the newest where a person has several."""
    if signal and kind not in ("labels", "predictions"):
        raise Refused("no_signal_here", f"{kind} have no signal: leave --signal out", field="signal")
    if signal and not Signal.objects.filter(slug=signal).exists():
        raise NotFound("unknown_signal", f"there is no signal {signal!r}", field="signal")
    return KINDS[kind](signal, source)


def stream(
    *,
    kind: str,
    format: str = "jsonl",
    signal: str = "",
    source: str = "",
    reader: User | None = None,
    mask: Mask = privacy.NOTHING,
) -> Iterator[bytes]:
    """The rows of one kind as the bytes of a file in a format, in constant memory.

    A `reader` gets no labels and predictions of questions that they may still be asked. Without a `mask` what went in
    comes out, for the command of whoever has the machine.
    """
    known = catalogue.FORMATS.get(format)
    if known is None:
        raise Refused("unknown_format", f"{format!r} is not one of {', '.join(catalogue.FORMATS)}", field="format")
    if kind not in KINDS:
        raise Refused("unknown_kind", f"{kind!r} is not one of {', '.join(KINDS)}", field="kind")
    if (kind != "outcomes" and kind not in known.writes) or (kind == "outcomes" and format not in OUTCOMES):
        raise Refused("not_in_format", f"{known.title} cannot hold {kind}", field="format")
    found = rows(kind=kind, signal=signal, source=source)
    if reader is not None and kind in ("labels", "predictions"):
        found = _unblinded(found, reader)
    found = (privacy.shown_row(row, mask) for row in found)
    if format == "jsonl":
        return (line(row).encode("utf-8", "backslashreplace") for row in found)
    if kind == "outcomes":
        return contract.outcome_table(found)
    return known.writes[kind](_units(found, kind, mask), kind)


def _unblinded(found: Iterator[dict[str, Any]], reader: User) -> Iterator[dict[str, Any]]:
    """Without the answers to what `reader` may still be asked."""
    slugs = dict(Signal.objects.values_list("id", "slug"))
    for part in bulk.parts(found, PART):
        ids = dict(
            Conversation.objects.filter(external_id__in={row["conversation"] for row in part}).values_list(
                "id", "external_id"
            )
        )
        questions = blindness.open_questions(reader=reader, conversations=ids)
        closed = {(ids[conversation], slugs[signal]) for conversation, signal in questions}
        yield from (row for row in part if (row["conversation"], row["signal"]) not in closed)


def _units(found: Iterator[dict[str, Any]], kind: str, mask: Mask) -> Iterator[Unit]:
    """Conversations with what is said of them. Rows come in the order of their conversations, so that those of one
    lie together."""
    if kind == "conversations":
        yield from (Unit(_plain(row)) for row in found)
        return
    grouped = ((name, list(mine)) for name, mine in groupby(found, key=lambda row: row["conversation"]))
    for part in bulk.parts(grouped, PART):
        homes = {
            one.external_id: one for one in Conversation.objects.filter(external_id__in=[name for name, _ in part])
        }
        for name, mine in part:
            home = _plain(privacy.shown_row(conversations.as_row(homes[name]), mask))
            yield Unit(home, labels=mine) if kind == "labels" else Unit(home, predictions=mine)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the keys of its objects in a fixed order, whatever the database made of them."""
    return {name: _ordered(name, value) for name, value in row.items()}


def line(row: dict[str, Any]) -> str:
    """One row as one line; objects have their keys in a fixed order, whatever the database made of them."""
    return json.dumps(_plain(row), ensure_ascii=False) + "\n"


def _ordered(name: str, value: Any) -> Any:
    if name == "turns":
        return [_turn(turn) for turn in value]
    if name == "probabilities":  # in the order of the scale already
        return value
    return _sorted(value) if isinstance(value, dict) else value


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    known = {name: turn[name] for name in TURN_FIELDS if name in turn}
    return known | {name: _sorted(turn[name]) for name in sorted(turn.keys() - known.keys())}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(part) for part in value] if isinstance(value, list) else value


def _text(name: str) -> Any:
    """Order by code point: PostgreSQL would sort by the language of its cluster, SQLite never does."""
    return Collate(F(name), "C") if connection.vendor == "postgresql" else F(name)


def _of_source(found: QuerySet[Any], source: str, name: str) -> QuerySet[Any]:
    return found.filter(**{name: source}) if source else found


def _conversations(signal: str, source: str) -> Iterator[dict[str, Any]]:
    found = _of_source(Conversation.objects.all(), source, "source").order_by(_text("external_id"))
    return (conversations.as_row(row) for row in found.iterator(chunk_size=1000))


def _labels(signal: str, source: str) -> Iterator[dict[str, Any]]:
    found = _of_source(Label.objects.filter(superseded_at__isnull=True), source, "conversation__source")
    if signal:
        found = found.filter(signal__slug=signal)
    order = (_text("conversation__external_id"), "turn", _text("signal__slug"), _text("annotator__username"), "id")
    return _newest(conversations.label_rows(found.order_by(*order)))


def _newest(labels: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A person who answered for a unit in two queues has two current labels; a file has room for one: the last."""
    held: dict[str, Any] | None = None
    for label in labels:
        if held is not None and any(held[name] != label[name] for name in LABEL_KEY):
            yield held
        held = label
    if held is not None:
        yield held


def _predictions(signal: str, source: str) -> Iterator[dict[str, Any]]:
    found = _of_source(Prediction.objects.all(), source, "conversation__source")
    if signal:
        found = found.filter(version__classifier__signal__slug=signal)
    version = (_text("version__classifier__slug"), _text("version__version"))
    order = (_text("conversation__external_id"), "turn", *version)
    return conversations.prediction_rows(found.order_by(*order))


def _outcomes(signal: str, source: str) -> Iterator[dict[str, Any]]:
    found = _of_source(Outcome.objects.select_related("conversation"), source, "conversation__source")
    order = [_text(name).asc(nulls_first=True) for name in ("conversation__external_id", "customer", "kind")]
    order += [F("at").asc(nulls_first=True), _text("key")]
    return conversations.outcome_rows(found.order_by(*order).iterator(chunk_size=2000))


KINDS: dict[str, Callable[[str, str], Iterator[dict[str, Any]]]] = {
    "conversations": _conversations,
    "labels": _labels,
    "predictions": _predictions,
    "outcomes": _outcomes,
}
