"""Why a flag may have been raised: what happened upstream of it at that time, offered as a possible cause, never more.

Upstream of agreement and answers lie the transcripts that were scored and the version itself, if it changed silently.
What was mended explains what began before it was mended, and nothing later; what was dismissed explains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Max

from calibration import slices
from calibration.drift import flag_words
from calibration.models import DriftFlag, Transcription

NEAR = timedelta(days=42)
"""A change point is known to some weeks only, and a fall takes time to show."""
Kind = DriftFlag.Kind
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
    if flag.kind not in DOWNSTREAM:
        return []
    upstream = DriftFlag.objects.filter(kind__in=[Kind.ASR, Kind.SILENT_CHANGE])
    found = [other for other in upstream.select_related("version__classifier") if _explains(other, flag)]
    found.sort(key=lambda other: abs((_began(other) - _began(flag)).days))
    return [Cause(other, _sentence(other)) for other in found]


def consequences(flag: DriftFlag) -> list[DriftFlag]:
    """Flags that this one may explain."""
    if flag.kind not in (Kind.ASR, Kind.SILENT_CHANGE):
        return []
    downstream = DriftFlag.objects.filter(kind__in=DOWNSTREAM).select_related("version__classifier")
    return [other for other in downstream if _explains(flag, other)]


def _explains(cause: DriftFlag, flag: DriftFlag) -> bool:
    """The same version or transcripts, slices that can overlap, and change points near each other, before it was mended."""
    if cause.state == DriftFlag.State.DISMISSED or not slices.overlap(cause.slice, flag.slice):
        return False
    mended = _mended(cause)
    if abs(_began(cause) - _began(flag)) > NEAR or (mended is not None and _began(flag) > mended):
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
