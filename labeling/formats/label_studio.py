"""Label Studio's tasks (JSON export and import, 1.x): dialogues with the annotations and predictions made on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from labeling.formats import entries
from labeling.formats.rows import FieldRefused, parsed_moment, shown
from labeling.formats.shapes import (
    CARRIED,
    Format,
    Options,
    Unit,
    answer,
    carried,
    dialogue,
    document,
    each,
    line,
    listed,
    mapped,
    restored,
    without,
    word,
)

AUTHORS, TEXTS = ("author", "role", "speaker", "from", "name"), ("text", "content", "message", "body", "utterance")
VALUES = ("choices", "rating", "number", "taxonomy", "paragraphlabels", "labels", "text", "datetime")
UNPINNED = "unpinned"


def conversations(task: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """The dialogue of a task; a task with a plain text is one turn of the customer."""
    data = _data(task)
    turns = _turns(data, options)
    known = {name: word(data.get(name), name) for name in ("channel", "cohort", "customer", "source") if data.get(name)}
    taken = {"dialogue", "text", "id", "turn", CARRIED, *known}
    beside = {name: value for name, value in data.items() if name not in taken and not _is_dialogue(value)}
    row = {"id": _id(task, options), **known, "turns": turns} | ({"metadata": beside} if beside else {})
    yield restored(row, data.get(CARRIED))


def labels(task: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A label for each answer of each annotation; what was skipped, or only drafted, is none."""
    for annotation in listed(task.get("annotations"), "annotations"):
        annotation = mapped(annotation, "annotations")
        if annotation.get("was_cancelled"):
            continue
        about = {
            "conversation": _id(task, options),
            "annotator": _annotator(annotation, options),
            "seconds": annotation.get("lead_time"),
            "at": annotation.get("created_at"),
        }
        yield from _answers(annotation, about, options)


def predictions(task: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A prediction for each answer of each prediction; `classifier@version` in model_version is the pin."""
    for one in listed(task.get("predictions"), "predictions"):
        one = mapped(one, "predictions")
        model = word(one.get("model_version"), "model_version")
        classifier, _, version = model.rpartition("@")
        pin = {"classifier": classifier or model, "version": version if classifier else UNPINNED}
        if options.given.get("classifier"):
            pin = {"classifier": options.given["classifier"], "version": (model or UNPINNED).replace(" ", "-")}
        about = {"conversation": _id(task, options), **pin, "score": one.get("score")}
        for row in _answers(one, about, options):
            yield row if row["classifier"] else row | {"classifier": row["signal"]}


def write(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """One JSON array of tasks, a task a line."""
    yield b"[\n"
    between = b""
    for unit in units:
        yield between + line(_task(unit)).rstrip(b"\n")
        between = b",\n"
    yield b"\n]\n"


def _data(task: Mapping[str, Any]) -> dict[str, Any]:
    """What a task shows; a file for import may have it at the top."""
    return mapped(task["data"], "data") if "data" in task else dict(task)


def _id(task: Mapping[str, Any], options: Options) -> str:
    found = _data(task).get("id", task.get("id"))
    if found in (None, ""):
        raise FieldRefused("id", "is required: the task has none")
    return options.reference(word(found, "id"))


def _is_dialogue(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) and _first(one, TEXTS) for one in value)
    )


def _turns(data: Mapping[str, Any], options: Options) -> list[dict[str, Any]]:
    given = document(data.get("dialogue"))
    if given is None:
        given = next((value for value in map(document, data.values()) if _is_dialogue(value)), None)
    if given is None:
        text = data.get("text")
        if not isinstance(text, str):
            raise FieldRefused("data", "has neither a dialogue (a list of objects with a text) nor a text")
        return [{"role": "customer", "text": text}]
    author, text = options.renamed.get("author"), options.renamed.get("text")
    said = []
    for one in listed(given, "dialogue"):
        turn = mapped(one, "dialogue")
        name, body = author or _first(turn, AUTHORS), text or _first(turn, TEXTS)
        if not body or not isinstance(turn.get(body), str):
            raise FieldRefused("dialogue", f"has a turn without a text: {shown(turn)}")
        said.append((word(turn.get(name or ""), "author"), turn[body]))
    return dialogue(said, options, first="customer")


def _first(turn: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((name for name in names if name in turn), "")


def _annotator(annotation: Mapping[str, Any], options: Options) -> str:
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("username") or by.get("id")
    named = word(annotation.get("created_username"), "created_username").rpartition(",")[0].strip()
    return named or word(annotation.get("created_username") or by, "completed_by").strip()


def _answers(one: Mapping[str, Any], about: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """The answers of an annotation or a prediction. Parts that carry no value, such as relations, are none."""
    for result in listed(one.get("result"), "result"):
        result = mapped(result, "result")
        value = mapped(result.get("value"), "value")
        kind = next((name for name in (result.get("type"), *VALUES) if name in value), None)
        if kind is None:
            continue
        signal = options.given.get("signal") or word(result.get("from_name"), "from_name")
        row = {**about, "turn": _turn(value), "signal": signal, "value": _value(value[kind], signal, options, kind)}
        meta = mapped(result.get("meta"), "meta")
        if (
            CARRIED in meta
        ):  # what stands here for the whole annotation, such as its time, is said there for each answer
            row = {name: inner for name, inner in row.items() if name not in ("seconds", "at")}
            row |= mapped(meta[CARRIED], CARRIED)
        elif row.get("at"):
            row["at"] = _moment(row["at"])
        yield {name: inner for name, inner in row.items() if inner is not None or name in ("turn", "value")}


def _moment(at: Any) -> Any:
    """Times as JSON exports have them; those of other exports are numbers or words and are left out."""
    try:
        parsed_moment(at, "created_at")
    except FieldRefused:
        return None
    return at


def _value(given: Any, signal: str, options: Options, kind: str) -> Any:
    if kind == "taxonomy":  # paths: the last step is the category
        given = [path[-1] if isinstance(path, list) and path else path for path in listed(given, kind)]
    return answer(given, signal, options, f"value.{kind}")


def _turn(value: Mapping[str, Any]) -> int | None:
    """The paragraph that an answer is tied to; start and end come as number or text."""
    start, end = value.get("start"), value.get("end")
    if start is None:
        return None
    try:
        first, last = int(start), int(start if end is None else end)
    except (TypeError, ValueError) as error:
        raise FieldRefused("value.start", f"must be the number of a paragraph, is {shown(start)}") from error
    if first != last:
        raise FieldRefused(
            "value.end", f"reaches from paragraph {first} to {last}: an answer is about one turn, or all"
        )
    return first


def _task(unit: Unit) -> dict[str, Any]:
    conversation = unit.conversation
    data: dict[str, Any] = {
        "id": unit.id,
        "dialogue": [{"author": turn.get("role", ""), "text": turn.get("text", "")} for turn in unit.turns],
        **{name: conversation[name] for name in ("channel", "cohort", "customer") if conversation.get(name)},
        CARRIED: without(carried(conversation), "channel", "cohort", "customer"),
        **unit.about,
    }
    if not data[CARRIED]:
        del data[CARRIED]
    task: dict[str, Any] = {"data": data}
    people = dict.fromkeys(row["annotator"] for row in unit.labels)
    if people:
        task["annotations"] = [_annotation(name, unit) for name in people]
    if unit.predictions:
        task["predictions"] = [_prediction(row, unit) for row in unit.predictions]
    return task


def _annotation(annotator: str, unit: Unit) -> dict[str, Any]:
    mine = [row for row in unit.labels if row["annotator"] == annotator]
    spent = [row["seconds"] for row in mine if row.get("seconds") is not None]
    beside = ("conversation", "turn", "signal", "annotator", "value")
    return {
        "created_username": annotator,
        "was_cancelled": False,
        **({"lead_time": sum(spent)} if spent else {}),
        "result": [_result(row, unit, without(row, *beside)) for row in mine],
    }


def _prediction(row: Mapping[str, Any], unit: Unit) -> dict[str, Any]:
    beside = without(row, "conversation", "turn", "signal", "classifier", "version", "value", "score")
    score = {} if row.get("score") is None else {"score": row["score"]}
    results = [] if row.get("value") is None else [_result(row, unit, beside)]
    return {"model_version": f"{row['classifier']}@{row['version']}", **score, "result": results}


def _result(row: Mapping[str, Any], unit: Unit, beside: Mapping[str, Any]) -> dict[str, Any]:
    """Choices for categories, a number for interval scales; an answer on one turn is tied to its paragraph."""
    value, kind = row["value"], "choices"
    given: dict[str, Any] = {"choices": value if isinstance(value, list) else [value]}
    if isinstance(value, int | float):
        kind, given = "number", {"number": value}
    if row.get("turn") is not None:
        length = len(str(unit.turns[row["turn"]].get("text", ""))) if row["turn"] < len(unit.turns) else 0
        given |= {"start": str(row["turn"]), "end": str(row["turn"]), "startOffset": 0, "endOffset": length}
    return {
        "from_name": row["signal"], "to_name": "dialogue", "type": kind, "value": given, "meta": {CARRIED: dict(beside)},
    }  # fmt: skip


FORMAT = Format(
    name="label-studio",
    title="Label Studio tasks",
    version="JSON export of Label Studio 1.x (written against 1.23)",
    ending="json",
    content_type="application/json",
    entries=entries.objects("tasks"),
    reads={"conversations": each(conversations), "labels": each(labels), "predictions": each(predictions)},
    writes={"conversations": write, "labels": write, "predictions": write},
    fields=("id", "dialogue", "author", "text"),
    drops={"predictions": "predictions that failed, since a result has to have a value"},
)
