"""One conversation as its page tells it: transcript, each version's score with its worth here, people, outcomes, journey."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse

from calibration import overviews
from calibration.evidence import reports, sentences, standing
from calibration.models import Classifier, Outcome, Prediction
from calibration.stats.verdicts import UNTRUSTED
from labeling import blindness, privacy, wording
from labeling.models import WHOLE, Conversation, Label, Ruling, Signal, User
from labeling.personal import Mask
from labeling.values import Scale

MOST_JOURNEY = 40
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """One version's answer for one unit, and what that version is worth in this conversation's slice."""

    prediction: Prediction
    value: Any
    probability: float | None
    row: Row | None
    statistic: str
    bar: float

    @property
    def text(self) -> str:
        return in_words(self.value)


@dataclass(frozen=True, slots=True)
class Judged:
    """A signal of the conversation (or of one of its turns): scores, labels, ruling; or nothing, while it is asked."""

    signal: Signal
    turn: int | None
    hidden: bool
    scores: list[Score] = field(default_factory=list)
    labels: list[tuple[Label, Any]] = field(default_factory=list)
    ruling: Ruling | None = None

    @property
    def people(self) -> str:
        return ", ".join(in_words(value) for _, value in self.labels)

    @property
    def ruled(self) -> str:
        return in_words(Scale.of(self.signal).decode(self.ruling.value)) if self.ruling else ""


@dataclass(frozen=True, slots=True)
class Step:
    """One touchpoint of the customer's journey."""

    at: datetime | None
    kind: str
    text: str
    address: str
    here: bool


@dataclass(frozen=True, slots=True)
class Told:
    """Everything the page shows."""

    conversation: Conversation
    turns: list[dict[str, Any]]
    transcription: wording.Transcription | None
    judged: list[Judged]
    outcomes: list[Outcome]
    journey: list[Step]
    sentence: str
    doubtful: bool
    asked: bool
    """Whether the reader may still be asked something about it."""

    @property
    def of_the_whole(self) -> list[Judged]:
        """What was said of the conversation as a whole; what was said of a turn stands below that turn."""
        return [one for one in self.judged if one.turn is None]


def read(*, conversation: Conversation, reader: User, mask: Mask) -> Told:
    """What `reader` may see of it, masked where the workspace says so."""
    conversation = privacy.shown(conversation, mask)
    closed = {signal for _, signal in blindness.open_questions(reader=reader, conversations=[conversation.id])}
    judged = _judged(conversation, closed)
    for one in judged:
        for score in one.scores:
            score.prediction.rationale = mask.text(score.prediction.rationale)
        if one.ruling:
            one.ruling.note = mask.text(one.ruling.note)
    outcomes = list(conversation.outcomes.order_by("at", "id"))
    heard = wording.read(conversation.asr, conversation.turns)
    sentence, doubtful = _sentence(conversation, judged)
    return Told(
        conversation,
        _turns(conversation, heard, judged),
        heard,
        judged,
        outcomes,
        _journey(conversation, mask),
        sentence,
        doubtful,
        bool(closed),
    )


def _turns(
    conversation: Conversation, heard: wording.Transcription | None, judged: Sequence[Judged]
) -> list[dict[str, Any]]:
    by_turn = heard.by_turn if heard else ()
    return [
        {
            "number": number,
            "role": turn.get("role", ""),
            "text": turn.get("text", ""),
            "at": clock(turn.get("start")),
            "start": turn.get("start"),
            "end": turn.get("end"),
            "pieces": by_turn[number] if number < len(by_turn) else (),
            "judged": [one for one in judged if one.turn == number],
        }
        for number, turn in enumerate(conversation.turns)
    ]


def in_words(value: Any) -> str:
    """An answer as people write it: the labels of a set in a row, `none` for the empty set."""
    if isinstance(value, list):
        return " + ".join(str(label) for label in value) or "none"
    return "" if value is None else str(value)


def clock(seconds: Any) -> str:
    """Seconds into the call as minutes and seconds."""
    if not isinstance(seconds, int | float):
        return ""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _judged(conversation: Conversation, closed: set[int]) -> list[Judged]:
    predictions = list(
        conversation.predictions.select_related("version__classifier__signal").order_by("turn", "version__id")
    )
    labels = list(
        conversation.labels.filter(superseded_at__isnull=True)
        .select_related("signal", "annotator")
        .order_by("turn", "id")
    )
    rulings = {
        (ruling.signal_id, ruling.turn): ruling
        for ruling in conversation.rulings.filter(superseded_at__isnull=True).select_related("reviewer")
    }
    signals = {one.signal_id: one.signal for one in labels} | {
        one.version.classifier.signal_id: one.version.classifier.signal for one in predictions
    }
    worth = _worth(
        conversation, (one.version.classifier for one in predictions if one.version.classifier.signal_id not in closed)
    )
    scales = {key: Scale.of(signal) for key, signal in signals.items()}
    scored: dict[tuple[int, int], list[Score]] = defaultdict(list)
    for one in predictions:
        signal = one.version.classifier.signal_id
        scored[signal, one.turn].append(_score(one, scales[signal], worth))
    told: dict[tuple[int, int], list[tuple[Label, Any]]] = defaultdict(list)
    for label in labels:
        told[label.signal_id, label.turn].append((label, scales[label.signal_id].decode(label.value)))
    keys = sorted({*scored, *told}, key=lambda key: (signals[key[0]].title, key[1]))
    made = []
    for signal_id, turn in keys:
        place, hidden = None if turn == WHOLE else turn, signal_id in closed
        found = (
            ([], [], None)
            if hidden
            else (scored[signal_id, turn], told[signal_id, turn], rulings.get((signal_id, turn)))
        )
        made.append(Judged(signals[signal_id], place, hidden, *found))
    return made


def _score(one: Prediction, scale: Scale, worth: dict[int, dict[str, Any]]) -> Score:
    value = None if one.value is None else scale.decode(one.value)
    probability = (one.probabilities or {}).get(one.value) if one.value is not None else None
    document = worth.get(one.version.classifier_id, {})
    row = document.get("rows", {}).get(one.version.version)
    return Score(one, value, probability, row, document.get("statistic", ""), document.get("bar", 0.0))


def _worth(conversation: Conversation, classifiers: Iterable[Classifier]) -> dict[int, dict[str, Any]]:
    """Classifier → each version's row for this conversation's channel and cohort (or channel, or the whole)."""
    gold, made = standing.newest(), {}
    for classifier in {one.id: one for one in classifiers}.values():
        version = gold.get(classifier.signal_id)
        if version is None:
            continue
        document = reports.build(dataset_version=version, classifier=classifier, by=overviews.BY)
        statistic = document["bar"]["statistic"]
        rows = {
            name: row_here(conversation, [row for row in document["rows"] if row["version"] == name])
            for name in dict.fromkeys(row["version"] for row in document["rows"])
        }
        shown = {name: row | {"shown": row[statistic]} for name, row in rows.items()}
        made[classifier.id] = {"rows": shown, "statistic": statistic, "bar": document["bar"]["at_least"]}
    return made


def row_here(conversation: Conversation, rows: Sequence[Row]) -> Row:
    """The finest slice of this conversation that has enough labels for a verdict."""
    places = [
        {"channel": conversation.channel, "cohort": conversation.cohort},
        {"channel": conversation.channel},
        {"cohort": conversation.cohort},
    ]
    for place in places:
        for row in rows:
            if row["slice"] == place and row["reason"] not in (sentences.THIN, "no_items"):
                return row
    return next(row for row in rows if not row["slice"])


def _sentence(conversation: Conversation, judged: Sequence[Judged]) -> tuple[str, bool]:
    """The disagreement that matters most: a model against people where it is not to be trusted."""
    ranked: list[tuple[int, str]] = []
    for one in judged:
        gold = one.ruled or _majority(one)
        for score in one.scores[-1:]:
            if gold is None or score.value is None or score.text == gold:
                continue
            untrusted = score.row is not None and score.row["verdict"] == UNTRUSTED
            text = f"{score.prediction.version.classifier.slug} calls it {score.text}; people call it {gold}."
            if untrusted and score.row is not None:
                where = sentences.slice_in_words(score.row["slice"])
                text += (
                    f" {'Overall' if where == 'overall' else where[:1].upper() + where[1:]} it is not to be trusted."
                )
            ranked.append((2 if untrusted else 1, text))
    if ranked:
        rank, text = max(ranked, key=lambda pair: pair[0])
        return text, rank == 2
    compared = [one for one in judged if one.scores and one.labels]
    if compared:
        return "The models and people agree on this conversation.", False
    if any(one.scores for one in judged) and any(one.labels for one in judged):
        return "People and models answered different questions about this conversation.", False
    seen = any(one.scores for one in judged)
    if any(one.labels for one in judged):
        return "People have judged this conversation; no model has scored it yet.", False
    if any(one.hidden for one in judged):
        return "Answers are hidden while you may still label this conversation.", False
    return (
        "Nobody has labelled this conversation yet." if seen else "Nothing has been said of this conversation yet."
    ), False


def _majority(one: Judged) -> str | None:
    """The value that most people gave, where there is one."""
    counts: dict[str, int] = defaultdict(int)
    for _, value in one.labels:
        counts[in_words(value)] += 1
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def _journey(conversation: Conversation, mask: Mask) -> list[Step]:
    """The customer's conversations and outcomes in order of time."""
    if not conversation.customer:
        return []
    others = Conversation.objects.filter(customer=conversation.customer).order_by("started_at", "id")
    columns = others.values_list("external_id", "channel", "started_at", "summary", "turns")[:MOST_JOURNEY]
    steps = [
        Step(
            at,
            channel,
            gist(summary, turns, mask),
            reverse("conversation", args=[key]),
            key == conversation.external_id,
        )
        for key, channel, at, summary, turns in columns
    ]
    mine = Outcome.objects.filter(Q(customer=conversation.customer) | Q(conversation__customer=conversation.customer))
    steps += [
        Step(one.at, "survey" if one.kind in ("csat", "nps", "ces") else "event", outcome_text(one), "", False)
        for one in mine.order_by("at", "id")[:MOST_JOURNEY]
    ]
    timed = [step for step in steps if step.at is not None]
    return sorted(timed, key=lambda step: step.at.timestamp() if step.at else 0.0) + [s for s in steps if s.at is None]


def gist(summary: str, turns: Sequence[dict[str, Any]], mask: Mask) -> str:
    text = summary or next((turn.get("text", "") for turn in turns if turn.get("role") == "customer"), "")
    text = mask.text(text[:2000])
    return text if len(text) <= 90 else text[:89].rstrip() + "…"


def outcome_text(outcome: Outcome) -> str:
    """`CSAT 2`, or what happened."""
    value = int(outcome.value) if float(outcome.value).is_integer() else outcome.value
    if outcome.kind in (Outcome.Kind.ESCALATION, Outcome.Kind.REOPENED):
        return str(outcome.kind) if outcome.value else f"no {outcome.kind}"
    return f"{outcome.kind.upper()} {value}"
