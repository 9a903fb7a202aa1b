"""doccano's JSON Lines for text classification (1.8): a text and its labels, everything else as metadata of the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labeling.formats import entries
from labeling.formats.gold import unit_id
from labeling.formats.rows import FieldRefused, shown
from labeling.formats.shapes import (
    CARRIED,
    Format,
    Options,
    Unit,
    answer,
    carried,
    content_id,
    each,
    line,
    listed,
    mapped,
    restored,
    transcript,
    without,
    word,
)

TAKEN = ("id", "text", "label", "labels", "Comments", CARRIED)


def conversations(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A text is one turn of the customer, unless the dialogue itself was carried along."""
    beside = mapped(row.get(CARRIED), CARRIED)
    if beside and not beside.get("whole", True):
        return
    text = row.get("text")
    if not isinstance(text, str):
        raise FieldRefused("text", f"must be a string, is {shown(text)}")
    found: dict[str, Any] = {"id": _id(row, options), "turns": [{"role": "customer", "text": text}]}
    if isinstance(beside.get("dialogue"), list):
        found["turns"] = beside["dialogue"]
    more = {name: value for name, value in row.items() if name not in TAKEN}
    if beside:
        yield restored(found, beside.get("conversation"))
    else:
        yield found | ({"metadata": more} if more else {})


def labels(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """The labels of a text. doccano names neither the question nor, in this export, the person: both are given."""
    beside = mapped(row.get(CARRIED), CARRIED)
    if isinstance(beside.get("labels"), list):
        for one in beside["labels"]:
            yield {**mapped(one, CARRIED), "conversation": _id(row, options)}
        return
    found = row.get("label", row.get("labels"))
    found = [found] if isinstance(found, str | int | float) else listed(found, "label")
    if not found:
        return
    if any(not isinstance(label, str | int | float) for label in found):
        raise FieldRefused("label", "has spans or relations: a classification has texts")
    signal = options.given.get("signal", "")
    if not signal:
        raise FieldRefused("signal", "is required: this format does not say what was asked; give it for the whole file")
    yield {
        "conversation": _id(row, options),
        "turn": None,
        "signal": signal,
        "annotator": options.given.get("annotator") or "doccano",
        "value": answer(found, signal, options, "label"),
        "comment": "\n".join(word(one, "Comments") for one in listed(row.get("Comments"), "Comments")),
    }


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """A line for each unit: the text that was judged, every label that somebody gave, and beside them who did."""
    for unit in units:
        for turn, given, _ in unit.by_turn():
            whole = turn is None
            text = transcript(unit.turns) if turn is None else str(unit.turns[turn].get("text", ""))
            said = dict.fromkeys(str(value) for row in given for value in _several(row["value"]))
            beside: dict[str, Any] = {"conversation": carried(unit.conversation), "dialogue": _plain(unit)}
            if not whole:
                beside = {"whole": False, "of": unit.id}
            if given:
                beside["labels"] = [without(row, "conversation") | {"turn": turn} for row in given]
            yield line({"id": unit_id(unit.id, turn), "text": text, "label": list(said), **unit.about, CARRIED: beside})


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(unit: Unit) -> list[dict[str, Any]]:
    return [{"role": turn.get("role"), "text": turn.get("text")} for turn in unit.turns]


def _id(row: Mapping[str, Any], options: Options) -> str:
    of = mapped(row.get(CARRIED), CARRIED).get("of")
    return options.reference(word(row.get("id") if of is None else of, "id") or content_id(row.get("text")))


FORMAT = Format(
    name="doccano",
    title="doccano, text classification",
    version="JSONL export and import of doccano 1.8",
    ending="jsonl",
    entries=entries.objects(),
    reads={"conversations": each(conversations), "labels": each(labels)},
    writes={"conversations": write, "labels": write},
    fields=("id", "text", "label"),
    needs={"labels": ("signal", "annotator")},
    drops={"predictions": "all of them: doccano keeps none"},
)
