"""Conversations as they go out, in the form in which they came in, with what is known of them beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet

from calibration.models import Outcome, Prediction, Span
from labeling.formats.rows import moment_text
from labeling.models import WHOLE, Conversation, Label, Signal
from labeling.values import Scale


def as_row(conversation: Conversation) -> dict[str, Any]:
    """The contract's conversation; empty fields are left out."""
    row: dict[str, Any] = {
        "id": conversation.external_id,
        "source": conversation.source,
        "channel": conversation.channel,
        "cohort": conversation.cohort,
        "customer": conversation.customer,
        "started_at": moment_text(conversation.started_at),
        "turns": conversation.turns,
        "attributes": conversation.attributes,
        "asr": conversation.asr,
        "summary": conversation.summary,
        "audio": conversation.audio,
        "metadata": conversation.metadata,
    }
    return {name: value for name, value in row.items() if name == "turns" or value not in ("", None, {})}


def label_rows(labels: QuerySet[Label]) -> Iterator[dict[str, Any]]:
    """Labels in the contract's form; `labels` is ordered by its caller. Plain columns: a dump has millions."""
    scales = _Scales()
    columns = (
        "conversation__external_id", "turn", "signal__slug", "annotator__username", "value", "labeled_at", "seconds",
        "comment", "confidence", "metadata",
    )  # fmt: skip
    for found in labels.values_list(*columns).iterator(chunk_size=2000):
        conversation, turn, signal, annotator, value, at, seconds, comment, confidence, metadata = found
        row: dict[str, Any] = {
            "conversation": conversation,
            "turn": None if turn == WHOLE else turn,
            "signal": signal,
            "annotator": annotator,
            "value": scales[signal].decode(value),
            "at": moment_text(at),
            "seconds": seconds,
            "comment": comment,
            "confidence": confidence,
            "metadata": metadata,
        }
        yield _given(row)


def prediction_rows(predictions: QuerySet[Prediction]) -> Iterator[dict[str, Any]]:
    """Predictions in the contract's form; `predictions` is ordered by its caller."""
    scales = _Scales()
    columns = (
        "conversation__external_id", "turn", "version__classifier__slug", "version__version",
        "version__classifier__signal__slug", "value", "status", "probabilities", "score", "rationale", "seconds", "cost",
        "predicted_at", "metadata",
    )  # fmt: skip
    for found in predictions.values_list(*columns).iterator(chunk_size=2000):
        conversation, turn, classifier, version, signal, value, status, probabilities, *measures, at, metadata = found
        score, rationale, seconds, cost = measures
        row: dict[str, Any] = {
            "conversation": conversation,
            "turn": None if turn == WHOLE else turn,
            "classifier": classifier,
            "version": version,
            "signal": signal,
            "value": None if value is None else scales[signal].decode(value),
            "status": None if status == Prediction.Status.OK else status,
            "probabilities": _in_order(probabilities, scales[signal]),
            "score": score,
            "rationale": rationale,
            "seconds": seconds,
            "cost": cost,
            "at": moment_text(at),
            "metadata": metadata,
        }
        yield _given(row)


class _Scales(dict[str, Scale]):
    """The scale of each signal, read when it is first asked for."""

    def __missing__(self, slug: str) -> Scale:
        self[slug] = scale = Scale.of(Signal.objects.get(slug=slug))
        return scale


def _in_order(probabilities: dict[str, float] | None, scale: Scale) -> dict[str, float] | None:
    """Probabilities in the order of the scale, which not every database keeps."""
    if not probabilities:
        return None
    return {value: probabilities[value] for value in scale.values if value in probabilities}


def outcome_rows(outcomes: Iterable[Outcome]) -> Iterator[dict[str, Any]]:
    """Outcomes in the contract's form."""
    for outcome in outcomes:
        row: dict[str, Any] = {
            "conversation": outcome.conversation.external_id if outcome.conversation else None,
            "customer": outcome.customer,
            "kind": outcome.kind,
            "value": int(outcome.value) if outcome.value.is_integer() else outcome.value,
            "at": moment_text(outcome.at),
            "metadata": outcome.metadata,
        }
        yield _given(row)


def span_rows(conversation: Conversation) -> list[dict[str, Any]]:
    """The spans of a conversation that came as traces, in order of time."""
    columns = (
        "trace_id",
        "span_id",
        "parent_id",
        "name",
        "kind",
        "start_ns",
        "end_ns",
        "attributes",
        "events",
        "status",
    )
    spans = Span.objects.filter(conversation_key=conversation.external_id).order_by("start_ns", "span_id")
    return list(spans.values(*columns))


def _given(row: dict[str, Any]) -> dict[str, Any]:
    """Without what was not given; `turn` and `value` always stand."""
    return {name: value for name, value in row.items() if name in ("turn", "value") or value not in ("", None, {})}
