"""Arize Phoenix: spans as its client's data frames and API have them, and the annotations on them (9 and later)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labeling.formats import entries, spans
from labeling.formats.rows import FieldRefused
from labeling.formats.shapes import CARRIED, Format, Options, Unit, answer, document, each, line, mapped, without, word

PEOPLE = ("HUMAN",)
UNPINNED = "unpinned"


def labels(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """Annotations by people; those of models and code are predictions."""
    if _kind(row) in PEOPLE:
        about, metadata = _about(row, options)
        beside = mapped(metadata.get(CARRIED), CARRIED)
        yield (
            about
            | {"annotator": _annotator(row, options), "comment": word(_result(row, "explanation"), "explanation")}
            | beside
        )


def predictions(row: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """Annotations by models and code; `classifier@version` in the identifier is the pin."""
    if _kind(row) in PEOPLE:
        return
    about, metadata = _about(row, options)
    identifier = word(row.get("identifier"), "identifier")
    classifier, _, version = identifier.rpartition("@")
    pin = {
        "classifier": classifier or options.given.get("classifier") or about["signal"],
        "version": version
        if classifier
        else word(metadata.get("version") or metadata.get("model"), "metadata") or UNPINNED,
    }
    score = _result(row, "score")
    more = {"score": score} if isinstance(score, int | float) and _result(row, "label") is not None else {}
    explained = {"rationale": word(_result(row, "explanation"), "explanation")}
    yield about | pin | explained | more | mapped(metadata.get(CARRIED), CARRIED)


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """An annotation a line, on the span that stands for the conversation when it is written as spans."""
    for unit in units:
        for row in unit.labels if kind == "labels" else unit.predictions:
            if row.get("value") is not None:
                yield line(_annotation(unit, row, kind))


def _annotation(unit: Unit, row: Mapping[str, Any], kind: str) -> dict[str, Any]:
    value = row["value"]
    number = isinstance(value, int | float)
    metadata: dict[str, Any] = {"conversation": unit.id, "turn": row.get("turn"), **unit.about}
    said = {"score": value} if number else {"label": value if isinstance(value, str) else " | ".join(value)}
    if isinstance(value, list):
        metadata["values"] = value
    beside = without(
        row, "conversation", "turn", "signal", "value", "annotator", "comment", "classifier", "version", "rationale"
    )
    if kind == "predictions" and not number and row.get("score") is not None:
        said["score"] = beside.pop("score")
    if beside:
        metadata[CARRIED] = beside
    explanation = row.get("comment" if kind == "labels" else "rationale")
    by = row["annotator"] if kind == "labels" else f"{row['classifier']}@{row['version']}"
    return {
        "span_id": spans.trace_id(unit.id)[:16],
        "name": row["signal"],
        "annotator_kind": "HUMAN" if kind == "labels" else "LLM",
        "result": said | ({"explanation": explanation} if explanation else {}),
        "metadata": metadata,
        "identifier": by,
    }


def _kind(row: Mapping[str, Any]) -> str:
    found = word(row.get("annotator_kind"), "annotator_kind").upper()
    if not found:
        raise FieldRefused("annotator_kind", "is required: HUMAN, LLM or CODE")
    return found


def _result(row: Mapping[str, Any], name: str) -> Any:
    """Part of the result, nested as the API has it, or a column of a data frame."""
    return mapped(row.get("result"), "result").get(name, row.get(f"result.{name}", row.get(name)))


def _annotator(row: Mapping[str, Any], options: Options) -> str:
    return (
        word(row.get("identifier") or row.get("user_id"), "identifier")
        or options.given.get("annotator", "")
        or "phoenix"
    )


def _about(row: Mapping[str, Any], options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    metadata = document(row.get("metadata"))
    metadata = metadata if isinstance(metadata, dict) else {}
    signal = options.given.get("signal") or word(row.get("name") or row.get("annotation_name"), "name")
    span = word(row.get("span_id") or row.get("context.span_id"), "span_id")
    conversation = word(metadata.get("conversation"), "metadata")
    if not conversation and not span:
        raise FieldRefused("span_id", "is required: the annotation names no span")
    found = metadata.get("values", _result(row, "label"))
    found = _result(row, "score") if found is None else found
    if found is None:
        raise FieldRefused("result", "has neither a label nor a score")
    return {
        "conversation": options.reference(conversation) if conversation else options.whose(span),
        "turn": metadata.get("turn"),
        "signal": signal,
        "value": answer(found, signal, options, "result.label"),
    }, metadata


def write_any(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    return spans.write(units, kind) if kind == "conversations" else write(units, kind)


FORMAT = Format(
    name="phoenix",
    title="Phoenix spans and annotations",
    version="arize-phoenix 9 and later: client data frames (JSON Lines or Parquet), REST API v1",
    ending="jsonl",
    entries=entries.frames(entries.objects("data")),
    reads={"conversations": spans.conversations, "labels": each(labels), "predictions": each(predictions)},
    writes={"conversations": write_any, "labels": write_any, "predictions": write_any},
    fields=("span_id", "name", "annotator_kind", "label", "score"),
    spans=True,
    drops={
        "conversations": "the spans that a conversation came from: it is written as one span",
        "predictions": "predictions that failed, since an annotation has to have a label or a score",
    },
)
