"""Why a flag may have been raised: what happened upstream of it at that time, offered as a possible cause, never more.

Upstream of agreement and answers lie the transcripts that were scored and the version itself, if it changed silently.
What was mended explains what began before it was mended, and nothing later; what was dismissed explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Max

from calibration import slices
from calibration.drift import flag_words
from calibration.models import DriftFlag, Transcription

BEFORE, AFTER = timedelta(days=42), timedelta(days=21)
"""How long before a flag its cause may have begun, since a fall takes time to show, and how long after it: both change points
are known to some weeks only."""
Kind = DriftFlag.Kind
UPSTREAM = (Kind.ASR, Kind.SILENT_CHANGE)
DOWNSTREAM = (Kind.AGREEMENT, Kind.MIX)


@dataclass(frozen=True, slots=True)
class Cause:
    """A flag upstream of another one, in a sentence."""

    flag: DriftFlag
    sentence: str

    def as_dict(self) -> dict[str, object]:
        return {
            "id": self.flag.id,
            "kind": self.flag.kind,
            "version": str(self.flag.version),
            "sentence": self.sentence,
        }


def of(flag: DriftFlag) -> list[Cause]:
    """Flags that may explain this one, the nearest in time first."""
    upstream = DriftFlag.objects.filter(kind__in=UPSTREAM).select_related("version__classifier")
    return [Cause(other, _sentence(other)) for other in _nearest(flag, upstream)]


def consequences(flag: DriftFlag) -> list[DriftFlag]:
    """Flags that this one may explain."""
    if flag.kind not in UPSTREAM:
        return []
    downstream = DriftFlag.objects.filter(kind__in=DOWNSTREAM).select_related("version__classifier")
    return [other for other in downstream if _explains(flag, other)]


def led(flags: Sequence[DriftFlag]) -> list[tuple[DriftFlag, list[DriftFlag]]]:
    """One trouble, one line: each flag with those of the others that may follow from it, the nearest cause leading.

    Every flag is there once; their order is kept.
    """
    followers: dict[int, list[DriftFlag]] = {}
    for flag in flags:
        for cause in _nearest(flag, flags)[:1]:
            followers.setdefault(cause.id, []).append(flag)
    following = {flag.id for some in followers.values() for flag in some}
    return [(flag, followers.get(flag.id, [])) for flag in flags if flag.id not in following]


def _nearest(flag: DriftFlag, among: Iterable[DriftFlag]) -> list[DriftFlag]:
    """Those of the flags that may explain this one, the nearest in time first."""
    if flag.kind not in DOWNSTREAM:
        return []
    found = [other for other in among if other.kind in UPSTREAM and _explains(other, flag)]
    return sorted(found, key=lambda other: abs((_began(other) - _began(flag)).days))


def _explains(cause: DriftFlag, flag: DriftFlag) -> bool:
    """The same version or transcripts, slices that can overlap, and change points near each other, before it was mended."""
    if cause.state == DriftFlag.State.DISMISSED or not slices.overlap(cause.slice, flag.slice):
        return False
    mended = _mended(cause)
    if not -AFTER <= _began(flag) - _began(cause) <= BEFORE or (mended is not None and _began(flag) > mended):
        return False
    if cause.kind == Kind.SILENT_CHANGE:
        return cause.version_id == flag.version_id
    return _heard(cause.version.model, flag.slice)


def _heard(provider: str, part: Mapping[str, str]) -> bool:
    """Whether the recogniser heard calls in a slice at all."""
    calls = Transcription.objects.filter(provider=provider, words__gt=0)
    names = {"channel": "conversation__channel", "cohort": "conversation__cohort"}
    return calls.filter(**{names[name]: value for name, value in part.items() if name in names}).exists()


def _began(flag: DriftFlag) -> date:
    return flag.since or flag.raised_at.date()


def _mended(flag: DriftFlag) -> date | None:
    """The day on which a flag was resolved; None where it was not."""
    if flag.state != DriftFlag.State.RESOLVED:
        return None
    last = flag.events.filter(action="resolved").aggregate(at=Max("at"))["at"]
    return last.date() if last else None


def _sentence(cause: DriftFlag) -> str:
    where = f" on {slices.words(cause.slice)}" if cause.slice else ""
    began = flag_words.day(_began(cause), beside=cause.raised_at)
    mended = _mended(cause)
    until = f", resolved on {flag_words.day(mended, beside=cause.raised_at)}" if mended else ""
    return f"{flag_words.headline(cause)}{where} ({cause.version}), since {began}{until}"
