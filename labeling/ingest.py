"""Conversations and labels into the database: streaming, idempotent by their ids, all of a file or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial as partial_call
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db.models import Max
from django.utils import timezone

from labeling import bulk
from labeling.errors import RowError
from labeling.formats import rows
from labeling.formats.jsonl import Record
from labeling.formats.rows import ConversationRow, LabelRow
from labeling.loading import Kind, KnownSignal, Loaded, check_turn, known_conversations, known_signals, load
from labeling.models import WHOLE, Conversation, GoldRow, Item, Label, Ruling, User
from labeling.values import ValueRefused

CONVERSATION_COLUMNS = (
    "external_id", "source", "channel", "cohort", "customer", "started_at", "turns", "turn_count", "attributes", "asr",
    "summary", "audio", "metadata", "content_sha256", "created_at", "updated_at",
)  # fmt: skip
LABEL_COLUMNS = (
    "conversation", "turn", "signal", "annotator", "value", "number", "confidence", "comment", "seconds", "late",
    "labeled_at", "stored_at", "metadata",
)  # fmt: skip
EXISTING_COLUMNS = (
    "id", "item_id", "conversation_id", "turn", "annotator_id", "value", "number", "confidence", "comment", "seconds",
    "labeled_at", "metadata",
)  # fmt: skip


Moving = Callable[[Sequence[int]], AbstractContextManager[None]]
"""Entered around the change of existing conversations, by whoever keeps counts by their day, channel or cohort."""


def _nobody(conversations: Sequence[int]) -> AbstractContextManager[None]:
    return nullcontext()


def conversations(*, records: Iterable[Record | RowError], partial: bool = False, moving: Moving = _nobody) -> Loaded:
    """Store conversations by their id; an update may not cut off turns that are labelled or queued."""
    return load(
        records,
        Kind(
            parse=rows.conversation,
            key=lambda row: row.id,
            key_field="id",
            check=_check_conversations,
            write=partial_call(_write_conversations, moving=moving),
        ),
        partial=partial,
    )


@dataclass(frozen=True, slots=True)
class _Conversation:
    row: ConversationRow
    existing: int | None
    same: bool


def _check_conversations(batch: Sequence[tuple[int, ConversationRow]]) -> list[_Conversation | RowError]:
    found = Conversation.objects.filter(external_id__in=[row.id for _, row in batch])
    columns = found.values_list("external_id", "id", "content_sha256", "turn_count")
    known = {name: (key, sha256, turns) for name, key, sha256, turns in columns}
    shrunk = [known[row.id][0] for _, row in batch if row.id in known and len(row.turns) < known[row.id][2]]
    used = _last_used_turn(shrunk)
    ready: list[_Conversation | RowError] = []
    for line, row in batch:
        key, sha256 = known[row.id][:2] if row.id in known else (None, "")
        if key is not None and key in used and used[key] >= len(row.turns):
            message = f"would cut off turn {used[key]} of {row.id}, which is labelled or waits in a queue"
            ready.append(RowError(line, "turns", message))
        else:
            ready.append(_Conversation(row, key, same=sha256 == row.content_sha256))
    return ready


def _last_used_turn(conversations: Sequence[int]) -> dict[int, int]:
    """The highest turn of each conversation that an answer, gold or an item speaks of; whole conversations do not count."""
    last: dict[int, int] = {}
    for model in (Label, Ruling, GoldRow, Item):
        turns = model._default_manager.filter(conversation__in=conversations, turn__gt=WHOLE)
        for key, turn in (
            turns.values_list("conversation").annotate(last=Max("turn")).values_list("conversation", "last")
        ):
            last[key] = max(turn, last.get(key, WHOLE))
    return last


def _write_conversations(batch: Sequence[_Conversation], loaded: Loaded, *, moving: Moving) -> None:
    now = timezone.now()
    fresh = [one.row for one in batch if one.existing is None]
    bulk.insert(Conversation, CONVERSATION_COLUMNS, [_conversation_values(row, now) for row in fresh])
    changed = [_changed_conversation(one, now) for one in batch if one.existing is not None and not one.same]
    if changed:
        fields = [name for name in CONVERSATION_COLUMNS if name not in ("external_id", "created_at")]
        with moving([row.id for row in changed]):
            Conversation.objects.bulk_update(changed, fields, batch_size=200)
    loaded.created += len(fresh)
    loaded.updated += len(changed)
    loaded.unchanged += sum(one.same for one in batch)


def _conversation_values(row: ConversationRow, now: Any) -> tuple[Any, ...]:
    asr = None if row.asr is None else rows.json_text(row.asr, "asr")
    stored = bulk.at(now)
    return (
        row.id, row.source, row.channel, row.cohort, row.customer, bulk.at(row.started_at),
        rows.json_text(row.turns, "turns"), len(row.turns), rows.json_text(row.attributes, "attributes"), asr,
        row.summary, row.audio, rows.json_text(row.metadata, "metadata"), row.content_sha256, stored, stored,
    )  # fmt: skip


def _changed_conversation(one: _Conversation, now: Any) -> Conversation:
    row = one.row
    return Conversation(
        id=one.existing,
        external_id=row.id,
        source=row.source,
        channel=row.channel,
        cohort=row.cohort,
        customer=row.customer,
        started_at=row.started_at,
        turns=row.turns,
        turn_count=len(row.turns),
        attributes=row.attributes,
        asr=row.asr,
        summary=row.summary,
        audio=row.audio,
        metadata=row.metadata,
        content_sha256=row.content_sha256,
        updated_at=now,
    )


def labels(*, records: Iterable[Record | RowError], partial: bool = False) -> Loaded:
    """Store labels that were given elsewhere. An annotator who is not known becomes a person who cannot sign in; the same
    label again changes nothing, another answer supersedes the old one."""
    book = _LabelBook(known_signals())
    return load(
        records,
        Kind(
            parse=rows.label,
            key=lambda row: f"{row.conversation}\0{row.turn}\0{row.signal}\0{row.annotator}",
            key_field="annotator",
            check=book.check,
            write=book.write,
        ),
        partial=partial,
    )


@dataclass(frozen=True, slots=True)
class _Label:
    row: LabelRow
    conversation: int
    signal: int
    value: str
    number: float | None

    def content(self) -> tuple[Any, ...]:
        """What has to be equal for a label to be the same one."""
        row = self.row
        return (self.value, self.number, row.confidence, row.comment, row.seconds, row.at, row.metadata)


_Key = tuple[int, int, int, int]
"""Conversation, turn, signal, annotator."""


class _LabelBook:
    """The labels of one load: what is looked up once, and the two steps of each batch."""

    def __init__(self, signals: dict[str, KnownSignal]) -> None:
        self.signals = signals
        self.annotators: dict[str, int] = {}
        self.strangers: set[int] = set()

    def check(self, batch: Sequence[tuple[int, LabelRow]]) -> list[_Label | RowError]:
        known = known_conversations(row.conversation for _, row in batch)
        return [self._checked(line, row, known) for line, row in batch]

    def _checked(self, line: int, row: LabelRow, known: dict[str, tuple[int, int]]) -> _Label | RowError:
        signal = self.signals.get(row.signal)
        if signal is None:
            return RowError(line, "signal", f"there is no signal {row.signal!r}")
        if row.conversation not in known:
            return RowError(line, "conversation", f"there is no conversation {row.conversation!r}")
        conversation, turn_count = known[row.conversation]
        wrong = check_turn(row.turn, signal=signal, conversation=row.conversation, turn_count=turn_count)
        if wrong:
            return RowError(line, "turn", wrong)
        try:
            value, number = signal.scale.encode(row.value)
        except ValueRefused as error:
            return RowError(line, "value", str(error))
        return _Label(row, conversation, signal.id, value, number)

    def write(self, batch: Sequence[_Label], loaded: Loaded) -> None:
        self._know(one.row.annotator for one in batch)
        # Somebody who was made a moment ago has said nothing before: a unit stands once for each person in a file.
        existing = self._existing([one for one in batch if self.annotators[one.row.annotator] not in self.strangers])
        now = timezone.now()
        fresh: list[_Label] = []
        replaced: list[int] = []
        for one in batch:
            loaded_id, contents = existing.get(self._key(one), (None, ()))
            if one.content() in contents:
                loaded.unchanged += 1
                continue
            fresh.append(one)
            if loaded_id is None:
                loaded.created += 1
            else:
                replaced.append(loaded_id)
                loaded.updated += 1
        for part in bulk.parts(replaced, 500):
            Label.objects.filter(id__in=part).update(superseded_at=now)
        stored = bulk.at(now)
        bulk.insert(Label, LABEL_COLUMNS, [self._values(one, stored) for one in fresh])

    def _know(self, names: Iterable[str]) -> None:
        """People by name; those who are not known are made, unable to sign in."""
        unknown = sorted(set(names) - self.annotators.keys())
        if not unknown:
            return
        found = dict(User.objects.filter(username__in=unknown).values_list("username", "id"))
        missing = [name for name in unknown if name not in found]
        User.objects.bulk_create(User(username=name, is_active=False, password=make_password(None)) for name in missing)
        made = dict(User.objects.filter(username__in=missing).values_list("username", "id"))
        self.strangers |= set(made.values())
        found |= made
        self.annotators |= found

    def _key(self, one: _Label) -> _Key:
        return (one.conversation, one.row.turn, one.signal, self.annotators[one.row.annotator])

    def _existing(self, batch: Sequence[_Label]) -> dict[_Key, tuple[int | None, Sequence[tuple[Any, ...]]]]:
        """For each unit and person the id of the current loaded label, if any, and the contents that change nothing.

        A label given in a queue belongs to its item and is never superseded by a file; the same answer in a file, as a
        dump has it, changes nothing.
        """
        by_signal: dict[int, set[int]] = defaultdict(set)
        for one in batch:
            by_signal[one.signal].add(one.conversation)
        annotators = {self.annotators[one.row.annotator] for one in batch}
        found: dict[_Key, tuple[int | None, Sequence[tuple[Any, ...]]]] = {}
        for signal, units in by_signal.items():
            current = Label.objects.filter(
                signal=signal, conversation__in=units, annotator__in=annotators, superseded_at__isnull=True
            )
            for key, item, conversation, turn, annotator, *content, metadata in current.values_list(*EXISTING_COLUMNS):
                unit = (conversation, turn, signal, annotator)
                whole = (*content, rows.json_text(metadata, "metadata", ordered=True))
                before, contents = found.get(unit, (None, ()))
                if item is None:
                    found[unit] = (key, (whole,))
                elif before is None:
                    found[unit] = (None, (*contents, whole))
        return found

    def _values(self, one: _Label, stored: Any) -> tuple[Any, ...]:
        row = one.row
        return (
            one.conversation, row.turn, one.signal, self.annotators[row.annotator], one.value, one.number,
            row.confidence, row.comment, row.seconds, False, bulk.at(row.at), stored, row.metadata,
        )  # fmt: skip
