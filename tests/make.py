"""Plain functions that make rows for tests; every argument has a default that works."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from calibration.models import Classifier, ClassifierVersion, Prediction
from calibration.rollups import Changes
from labeling import checks, gold
from labeling.formats import gold as formats
from labeling.models import (
    WHOLE,
    Category,
    Conversation,
    Dataset,
    DatasetVersion,
    GoldRow,
    Guideline,
    Item,
    Label,
    Queue,
    QueueMember,
    QueueSignal,
    Signal,
    Slot,
    User,
)

_numbers = itertools.count(1)


def make_user(name: str | None = None, *, role: str = "annotator", password: str = "correct horse", **kw: Any) -> User:
    return User.objects.create_user(username=name or f"user{next(_numbers)}", password=password, role=role, **kw)


def make_signal(
    slug: str = "sentiment", *, scale: str = "ordinal", values: tuple[str, ...] | None = None, **kw: Any
) -> Signal:
    """A signal with three categories scored -1, 0, 1 (or `values`), keys 1 to 9, and one guideline."""
    signal = Signal.objects.create(slug=slug, title=kw.pop("title", slug.title()), scale=scale, **kw)
    if scale != "interval":
        values = values or ("negative", "neutral", "positive")
        for position, value in enumerate(values):
            Category.objects.create(
                signal=signal,
                position=position,
                value=value,
                label=value.title(),
                key=str(position + 1)[-1:],
                score=position - 1,
            )
    Guideline.objects.create(signal=signal, version=1, text="Judge what the customer feels at the end.")
    return signal


def make_conversation(
    external_id: str | None = None, *, texts: tuple[str, ...] = ("My invoice is wrong", "Let me look"), **kw: Any
) -> Conversation:
    """A chat of alternating customer and agent turns."""
    number = next(_numbers)
    roles = itertools.cycle(("customer", "agent"))
    turns = kw.pop("turns", None) or [{"role": next(roles), "text": text} for text in texts]
    defaults = {"channel": "chat", "cohort": "enterprise", "customer": f"cu-{number}", "source": "test"}
    return Conversation.objects.create(
        external_id=external_id or f"c-{number}",
        turns=turns,
        turn_count=len(turns),
        content_sha256=f"{number:064x}",
        **(defaults | kw),
    )


def make_queue(
    slug: str | None = None,
    *,
    signals: Sequence[Signal] = (),
    items: int = 3,
    overlap: int = 1,
    members: Sequence[User] = (),
    conversations: Sequence[Conversation] = (),
    **kw: Any,
) -> Queue:
    """An open queue over new chats (or `conversations`), with its slots; its signal is `signals` or a new sentiment."""
    slug = slug or f"queue-{next(_numbers)}"
    queue = Queue.objects.create(slug=slug, title=slug.title(), overlap=overlap, **kw)
    for position, signal in enumerate(signals or [make_signal(f"signal-{next(_numbers)}")]):
        QueueSignal.objects.create(queue=queue, signal=signal, position=position)
    for order, member in enumerate(members):
        QueueMember.objects.create(queue=queue, user=member, lane=order % overlap)
    for position, conversation in enumerate(conversations or [make_conversation() for _ in range(items)]):
        item = Item.objects.create(queue=queue, conversation=conversation, position=position)
        Slot.objects.bulk_create(
            Slot(item=item, queue=queue, number=number, position=position) for number in range(overlap)
        )
    return queue


def make_frame(counts: dict[tuple[str, str], int]) -> None:
    """Many conversations at once: (channel, cohort) → how many."""
    rows = [(channel, cohort) for (channel, cohort), count in counts.items() for _ in range(count)]
    Conversation.objects.bulk_create(
        Conversation(
            external_id=f"f-{number:05d}",
            channel=channel,
            cohort=cohort,
            source="test",
            turns=[{"role": "customer", "text": f"Question {number}"}, {"role": "agent", "text": "Answer"}],
            turn_count=2,
            attributes={"language": "de" if number % 3 == 0 else "en"},
            content_sha256=f"{number:064x}",
        )
        for number, (channel, cohort) in enumerate(rows)
    )


def make_label(conversation: Conversation, signal: Signal, annotator: User, value: str, **kw: Any) -> Label:
    """A current label, as if loaded from a file; with `item` as if given in a queue."""
    return Label.objects.create(
        conversation=conversation,
        signal=signal,
        annotator=annotator,
        value=value,
        turn=kw.pop("turn", WHOLE),
        number=float(value) if signal.scale == "interval" else None,
        **kw,
    )


def make_version(signal: Signal, version: str = "v1", *, classifier: str = "judge", **kw: Any) -> ClassifierVersion:
    """A pinned version, and its classifier where that is new."""
    home, _ = Classifier.objects.get_or_create(slug=classifier, defaults={"title": classifier, "signal": signal})
    number = next(_numbers)
    return ClassifierVersion.objects.create(classifier=home, version=version, content_sha256=f"{number:064x}", **kw)


def make_gold(signal: Signal, rows: Sequence[dict[str, Any]], name: str = "gold", **kw: Any) -> DatasetVersion:
    """A frozen dataset version. A row is `{"gold", "votes", "said": {version: value}, "channel", "cohort", ...}`.

    Without gold the unit is unresolved; what a version `said` becomes its prediction, None a failed one.
    """
    dataset, _ = Dataset.objects.get_or_create(slug=name, defaults={"title": name, "signal": signal})
    number = dataset.versions.count() + 1
    counts = {"item_count": sum(row.get("gold") is not None for row in rows), "label_count": len(rows)}
    version = DatasetVersion.objects.create(
        dataset=dataset, number=number, **({"aggregation": "majority"} | counts | kw)
    )
    predictions: list[Prediction] = []
    for position, row in enumerate(rows):
        gold = None if row.get("gold") is None else str(row["gold"])
        slices = {key: row[key] for key in ("channel", "cohort", "attributes", "started_at") if key in row}
        conversation = row.get("conversation") or make_conversation(**slices)
        votes = row.get("votes") or ({gold: 1} if gold is not None else {})
        GoldRow.objects.create(
            version=version,
            position=position,
            conversation=conversation,
            external_id=conversation.external_id,
            value=gold,
            number=float(gold) if gold is not None and signal.scale == "interval" else None,
            votes=votes,
            annotators=row.get("annotators", sum(votes.values())),
            decided_by="unresolved" if gold is None else "majority",
            channel=conversation.channel,
            cohort=conversation.cohort,
            attributes=conversation.attributes,
            inclusion_probability=row.get("pi", 1.0),
            text_sha256=formats.text_sha256(conversation.turns, None),
            turns=conversation.turns,
        )
        predictions += [make_said(said, conversation, value) for said, value in row.get("said", {}).items()]
    Prediction.objects.bulk_create(predictions)
    changes = Changes()
    for one in predictions:
        home = one.conversation
        changes.add(one, started_at=home.started_at, channel=home.channel, cohort=home.cohort)
    changes.write()
    DatasetVersion.objects.filter(id=version.id).update(frozen_at=timezone.now(), sha256=f"{next(_numbers):064x}")
    return DatasetVersion.objects.select_related("dataset__signal", "parent").get(id=version.id)


def make_said(version: ClassifierVersion, conversation: Conversation, value: Any) -> Prediction:
    """An unsaved prediction; None stands for an answer that could not be read."""
    interval = version.classifier.signal.scale == "interval"
    return Prediction(
        version=version,
        conversation=conversation,
        value=None if value is None else str(value),
        number=float(value) if interval and value is not None else None,
        status="unparsable" if value is None else "ok",
        predicted_at=conversation.started_at,
    )


def make_weeks(
    version: ClassifierVersion, rows: Sequence[tuple[datetime, str, str, str | None, str]], annotator: User, **kw: Any
) -> None:
    """Conversations as they come in: (when, channel, cohort, what a person says or None, what the version says)."""
    signal = version.classifier.signal
    homes = Conversation.objects.bulk_create(
        Conversation(
            external_id=f"w-{next(_numbers)}", channel=channel, cohort=cohort, started_at=at, content_sha256="0" * 64,
            turns=[{"role": "customer", "text": "Hello"}], turn_count=1,
        )
        for at, channel, cohort, _, _ in rows
    )  # fmt: skip
    pairs = list(zip(homes, rows, strict=True))
    Label.objects.bulk_create(
        Label(
            conversation=home, signal=signal, annotator=annotator, value=gold, labeled_at=at,
            number=float(gold) if signal.scale == "interval" else None, **kw,
        )
        for home, (at, _, _, gold, _) in pairs
        if gold is not None
    )  # fmt: skip
    predictions = Prediction.objects.bulk_create([make_said(version, home, said) for home, (*_, said) in pairs])
    changes = Changes()
    for one, home in zip(predictions, homes, strict=True):
        changes.add(one, started_at=home.started_at, channel=home.channel, cohort=home.cohort)
    changes.write()


def make_known(queue: Queue, answers: Sequence[str], *, slug: str = "known", explanation: str = "") -> DatasetVersion:
    """Frozen gold of the queue's first signal over new chats, one for each answer, which the queue may ask as checks."""
    signal = queue.queue_signals.order_by("position")[0].signal
    expert = make_user()
    homes = [make_conversation() for _ in answers]
    for home, value in zip(homes, answers, strict=True):
        make_label(home, signal, expert, value)
    version = gold.freeze(dataset=slug, signal=signal, aggregation="single", now=timezone.now())
    checks.know(queue=queue, versions=[version])
    queue.known_items.update(explanation=explanation)
    return version
