"""What machines mishear: word and character error rates of calls, per version of the recogniser and per slice.

Errors are counted once for each content of a conversation and kept; the report adds the counts up. Text is compared in
lower case and without punctuation, since no recogniser is asked for either.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import zip_longest
from typing import Any

import jiwer
import numpy as np
from django.core.cache import cache
from django.db import transaction
from django.db.models import F, Q, QuerySet

from calibration.models import Transcription
from calibration.slices import largest
from calibration.stats import outcomes as statistics
from calibration.stats.estimate import Estimate
from labeling import privacy
from labeling.models import Conversation
from labeling.personal import KINDS, Mask
from labeling.wording import normal

BATCH = 200
SEED = 20260301
"""The interval is drawn with this seed: the same calls give the same limits."""
DRAWN = 1_000_000
"""Draws × calls at most, so that the interval of very many calls costs no more than that of a thousand."""
KEPT_FOR = 24 * 3600
MOST_MISTAKES = 30
MOST_SLICES = 100
"""Slices of one dimension that are measured, those with most calls; a dimension can have a value for each customer."""
KEPT_MISTAKES = 300
DIMENSIONS = ("provider", "channel", "cohort", "month")
CORE = ("channel", "cohort")


@dataclass(frozen=True, slots=True)
class Errors:
    """What went wrong in one call."""

    words: int = 0
    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    characters: int = 0
    character_errors: int = 0
    mistakes: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """The counts of one call, and where it belongs."""

    places: tuple[str, str, str, str]
    words: int
    substitutions: int
    insertions: int
    deletions: int
    characters: int
    character_errors: int


@dataclass(frozen=True, slots=True)
class Rates:
    """Error rates of one slice; `dimension` is empty for all calls."""

    dimension: str
    value: str
    calls: int
    words: int
    wer: Estimate
    cer: Estimate
    substitutions: float
    insertions: float
    deletions: float


@dataclass(frozen=True, slots=True)
class Mistake:
    """A word, what was heard in its place, and how often; one of the two is empty for words left out or made up."""

    said: str
    heard: str
    times: int
    calls: int


@dataclass(frozen=True, slots=True)
class Report:
    """Rates of all calls and of every slice, and the words most often wrong."""

    whole: Rates
    slices: list[Rates]
    mistakes: list[Mistake]
    waiting: int
    values: Mapping[str, int]
    """Dimension → how many values it has, the ones beyond the largest included."""

    @property
    def by_dimension(self) -> list[tuple[str, list[Rates], int]]:
        """Dimension, its slices, and of how many they are the largest (0 where they are all)."""
        found = []
        for name in DIMENSIONS:
            mine = [one for one in self.slices if one.dimension == name]
            found.append((name, mine, self.values[name] if self.values[name] > len(mine) else 0))
        return found

    @property
    def worst(self) -> Rates | None:
        """The slice of channel, cohort or recogniser with most errors, among those with an interval."""
        firm = [one for one in self.slices if one.dimension != "month" and one.calls >= statistics.LEAST_ITEMS]
        return max(firm, key=lambda one: one.wer.value or 0.0, default=None)

    @property
    def axis_high(self) -> float:
        """Where the drawings' axis ends."""
        ends = [one.wer.high or one.wer.value or 0.0 for one in (self.whole, *self.slices)]
        return max(ends) * 1.05 or 1.0


def waiting() -> QuerySet[Conversation]:
    """Calls that were not measured with the content that they have now."""
    measured = Q(transcription__content_sha256=F("content_sha256"))
    return Conversation.objects.filter(asr__isnull=False).exclude(measured)


def measure(*, again: bool = False) -> int:
    """Count the errors of every call that waits, in batches that can be cut off anywhere; returns how many calls.

    With `again`, of every call there is. Done twice, it finds nothing to do.
    """
    done, last = 0, 0
    frame = Conversation.objects.filter(asr__isnull=False) if again else waiting()
    while batch := list(frame.filter(id__gt=last).order_by("id").only("id", "asr", "content_sha256")[:BATCH]):
        _store(batch)
        done, last = done + len(batch), batch[-1].id
    return done


def _store(batch: Sequence[Conversation]) -> None:
    rows = []
    mask = Mask(KINDS, privacy.in_force().region)
    for conversation in batch:
        asr: Mapping[str, Any] = conversation.asr if isinstance(conversation.asr, dict) else {}
        found = _errors(asr, mask)
        row = Transcription(
            conversation=conversation,
            content_sha256=conversation.content_sha256,
            provider=str(asr.get("provider") or "unknown")[:200],
        )
        for name in ("words", "substitutions", "insertions", "deletions", "characters", "character_errors"):
            setattr(row, name, getattr(found, name))
        row.mistakes = [list(mistake) for mistake in found.mistakes]
        rows.append(row)
    fields = [one.name for one in Transcription._meta.fields if one.name not in ("id", "conversation")]
    with transaction.atomic():
        Transcription.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["conversation"], update_fields=fields
        )


def _errors(asr: Mapping[str, Any], mask: Mask) -> Errors:
    """The errors of a hypothesis; none where one of the two texts is absent, or nothing was said."""
    said, heard = asr.get("reference"), asr.get("hypothesis")
    return count(said, heard, mask=mask) if isinstance(said, str) and isinstance(heard, str) else Errors()


def count(said: str, heard: str, *, mask: Mask = privacy.NOTHING) -> Errors:
    """Errors of `heard` against `said` by the shortest alignment (jiwer). Words of personal data that `mask` finds on either
    side count as errors, but are not kept among the mistakes: a list of words tells them as well as a text does."""
    reference, hypothesis = normal(said), normal(heard)
    if not reference:
        return Errors()
    letters = len(reference)
    if not hypothesis:
        words = reference.split()
        open_words = (word for word, hidden in zip(words, _hidden(said, mask), strict=True) if not hidden)
        lost = tuple((word, "", n) for word, n in Counter(open_words).most_common(KEPT_MISTAKES))
        return Errors(len(words), 0, 0, len(words), letters, letters, lost)
    found, spelled = jiwer.process_words(reference, hypothesis), jiwer.process_characters(reference, hypothesis)
    theirs = list(zip(reference.split(), _hidden(said, mask), strict=True))
    mine = list(zip(hypothesis.split(), _hidden(heard, mask), strict=True))
    wrong = Counter(_mistakes(theirs, mine, found.alignments[0]))
    return Errors(
        words=found.hits + found.substitutions + found.deletions,
        substitutions=found.substitutions,
        insertions=found.insertions,
        deletions=found.deletions,
        characters=letters,
        character_errors=spelled.substitutions + spelled.insertions + spelled.deletions,
        mistakes=tuple((said, heard, n) for (said, heard), n in wrong.most_common(KEPT_MISTAKES)),
    )


def _hidden(text: str, mask: Mask) -> list[bool]:
    """For each word of a text as they are compared, whether it is a part of personal data. Where that cannot be told word by
    word, every one is taken for it."""
    found, last, flags = mask.find(text) if mask.kinds else [], 0, []
    for start, end, _ in found:
        flags += [False] * len(normal(text[last:start]).split()) + [True] * len(normal(text[start:end]).split())
        last = end
    flags += [False] * len(normal(text[last:]).split())
    words = len(normal(text).split())
    return flags if len(flags) == words else [True] * words


Marked = tuple[str, bool]
"""A word, and whether it is a part of personal data."""


def _mistakes(said: Sequence[Marked], heard: Sequence[Marked], alignment: Iterable[Any]) -> Iterable[tuple[str, str]]:
    """Pairs of words; a stretch with personal data on one of its sides is left out as a whole, since the other side is what
    was heard of it."""
    for chunk in alignment:
        if chunk.type == "equal":
            continue
        theirs = said[chunk.ref_start_idx : chunk.ref_end_idx]
        mine = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if not any(hidden for _, hidden in (*theirs, *mine)):
            yield from zip_longest((word for word, _ in theirs), (word for word, _ in mine), fillvalue="")


def fingerprint() -> tuple[int, int, str]:
    """What a report was made of: it changes whenever a count is added or renewed."""
    newest = _current().order_by("-measured_at").values_list("measured_at", flat=True).first()
    return _current().count(), waiting().count(), newest.isoformat() if newest else ""


def cached() -> Report:
    """The report, kept as long as no call is measured anew; what was kept for other calls goes by itself."""
    key = f"voice:2:{hashlib.sha256(repr(fingerprint()).encode()).hexdigest()}"
    report: Report | None = cache.get(key)
    if report is None:
        report = read()
        cache.set(key, report, KEPT_FOR)
    return report


def read(*, most: int = MOST_MISTAKES) -> Report:
    """The report over every measured call."""
    calls = [_call(row) for row in _current().order_by("conversation_id").values_list(*_COLUMNS)]
    whole = _rates("", "", calls)
    slices: list[Rates] = []
    values = {}
    for position, name in enumerate(DIMENSIONS):
        grouped: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            grouped[call.places[position]].append(call)
        values[name] = len(grouped)
        if len(grouped) == 1:  # one value repeats the whole
            slices.append(replace(whole, dimension=name, value=next(iter(grouped))))
        else:
            shown = largest({value: len(mine) for value, mine in grouped.items()}, MOST_SLICES)
            slices += [_rates(name, value, grouped[value]) for value in shown]
    return Report(whole, slices, _words(most), waiting().count(), values)


_COLUMNS = (
    "provider", "conversation__channel", "conversation__cohort", "conversation__started_at", "words", "substitutions",
    "insertions", "deletions", "characters", "character_errors",
)  # fmt: skip


def providers() -> list[str]:
    """Every recogniser, with its version, of which a call is measured."""
    return sorted(_current().order_by().values_list("provider", flat=True).distinct())


def dated_rates() -> list[tuple[str, str, str, dict[str, Any], datetime, float]]:
    """(provider, channel, cohort, attributes, start, word error rate up to 1) of every measured call that has a time."""
    columns = ("provider", "conversation__channel", "conversation__cohort", "conversation__attributes")
    counts = ("conversation__started_at", "substitutions", "insertions", "deletions", "words")
    rows = _current().filter(conversation__started_at__isnull=False).values_list(*columns, *counts)
    return [(*place, at, min((s + i + d) / n, 1.0)) for *place, at, s, i, d, n in rows.iterator(chunk_size=5000)]


def mistakes_of(*, provider: str, part: Mapping[str, str], since: str | None) -> Iterable[list[list[Any]]]:
    """What was misheard in each call of a recogniser in a slice, from a day on."""
    calls = _current().filter(provider=provider)
    if since:
        calls = calls.filter(conversation__started_at__date__gte=date.fromisoformat(since))
    for name, value in part.items():
        calls = calls.filter(**{f"conversation__{name if name in CORE else f'attributes__{name}'}": value})
    return calls.values_list("mistakes", flat=True).iterator(chunk_size=2000)


def _current() -> QuerySet[Transcription]:
    """Counts that still belong to their conversation's content."""
    fresh = Transcription.objects.filter(content_sha256=F("conversation__content_sha256"))
    return fresh.filter(words__gt=0, conversation__asr__isnull=False)


def _call(row: tuple[Any, ...]) -> Call:
    provider, channel, cohort, started_at, *counts = row
    day: date | None = started_at.date() if started_at else None
    return Call((provider, channel, cohort, f"{day:%Y-%m}" if day else "unknown"), *counts)


def _rates(dimension: str, value: str, calls: Sequence[Call]) -> Rates:
    counts = np.array(
        [
            (one.words, one.substitutions, one.insertions, one.deletions, one.characters, one.character_errors)
            for one in calls
        ],
        dtype=float,
    ).reshape(len(calls), 6)
    words, substitutions, insertions, deletions, characters, wrong = counts.T
    total = max(float(words.sum()), 1.0)
    parts = (float(part.sum()) / total for part in (substitutions, insertions, deletions))
    wer = _estimate(substitutions + insertions + deletions, words)
    return Rates(dimension, value, len(calls), int(words.sum()), wer, _estimate(wrong, characters), *parts)


def _estimate(errors: np.ndarray[Any, Any], said: np.ndarray[Any, Any]) -> Estimate:
    draws = min(1000, max(DRAWN // max(len(said), 1), 100))
    return statistics.word_error_rate(errors, said, rng=np.random.default_rng(SEED), draws=draws)


def _words(most: int) -> list[Mistake]:
    """The words most often wrong, by how often; in how many calls stands beside, since one call can repeat itself."""
    times: Counter[tuple[str, str]] = Counter()
    calls: Counter[tuple[str, str]] = Counter()
    for mistakes in _current().values_list("mistakes", flat=True).iterator(chunk_size=2000):
        for said, heard, n in mistakes:
            times[said, heard] += n
            calls[said, heard] += 1
    ranked = sorted(times.items(), key=lambda item: (-item[1], item[0]))[:most]
    return [Mistake(said, heard, n, calls[said, heard]) for (said, heard), n in ranked]
