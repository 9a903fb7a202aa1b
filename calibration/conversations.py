"""Conversations as they go out, in the form in which they came in, with what is known of them beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet

from calibration.models import Outcome, Prediction, Span
from labeling.formats.rows import moment_text
from labeling.models import WHOLE, Conversation, Label
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
    """Labels in the contract's form; `labels` is ordered by its caller."""
    scales: dict[int, Scale] = {}
    for label in labels.select_related("conversation", "signal", "annotator").iterator(chunk_size=2000):
        if label.signal_id not in scales:
            scales[label.signal_id] = Scale.of(label.signal)
        row: dict[str, Any] = {
            "conversation": label.conversation.external_id,
            "turn": None if label.turn == WHOLE else label.turn,
            "signal": label.signal.slug,
            "annotator": label.annotator.username,
            "value": scales[label.signal_id].decode(label.value),
            "at": moment_text(label.labeled_at),
            "seconds": label.seconds,
            "comment": label.comment,
            "confidence": label.confidence,
            "metadata": label.metadata,
        }
        yield _given(row)


def prediction_rows(predictions: QuerySet[Prediction]) -> Iterator[dict[str, Any]]:
    """Predictions in the contract's form; `predictions` is ordered by its caller."""
    scales: dict[int, Scale] = {}
    wanted = predictions.select_related("conversation", "version__classifier__signal")
    for found in wanted.iterator(chunk_size=2000):
        classifier = found.version.classifier
        if classifier.signal_id not in scales:
            scales[classifier.signal_id] = Scale.of(classifier.signal)
        row: dict[str, Any] = {
            "conversation": found.conversation.external_id,
            "turn": None if found.turn == WHOLE else found.turn,
            "classifier": classifier.slug,
            "version": found.version.version,
            "signal": classifier.signal.slug,
            "value": None if found.value is None else scales[classifier.signal_id].decode(found.value),
            "status": None if found.status == Prediction.Status.OK else found.status,
            "probabilities": found.probabilities,
            "score": found.score,
            "rationale": found.rationale,
            "seconds": found.seconds,
            "cost": found.cost,
            "at": moment_text(found.predicted_at),
            "metadata": found.metadata,
        }
        yield _given(row)


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
