"""Trends and movements in words."""

from __future__ import annotations

from datetime import date
from typing import Any

from calibration import numerals
from calibration.evidence import sentences

NAMES = {
    "customers": "Customers",
    "upgrade": "Upgrade",
    "silent_drift": "Silent drift",
    "mix": "Mix of channels and cohorts",
    "transcription": "Transcription",
}
MEANINGS = {
    "customers": "what people themselves said changed",
    "upgrade": "the new version scores the same conversations differently",
    "silent_drift": "the same version errs differently than before",
    "mix": "slices at another level grew or shrank",
    "transcription": "the share of badly transcribed calls changed",
}
REASONS = {
    "no_bridge": "not told apart from the upgrade: too few conversations were scored by both versions",
    "no_transcript_quality": "not measured: no reference transcripts of both periods",
    "no_labels_of_the_old_version": "not measured: labels are matched with the new version only",
}


def parts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts in order, each with its name and what it means."""
    versions = found["to"]["versions"]
    return [
        part
        | {
            "key": name,
            "name": f"Upgrade to {found['classifier']}@{versions[0]}"
            if name == "upgrade" and found["from"]["versions"][:1] != versions[:1]
            else NAMES[name],
            "leading": name in found["leading"],
            "told": _told(name, part, upgraded=found["from"]["versions"][:1] != versions[:1]),
        }
        for name, part in found["parts"].items()
    ]


def by_slice(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Every slice with its parts, each beside its name."""
    names = [part["name"] for part in parts(found)]
    return [row | {"named": list(zip(names, row["parts"].values(), strict=True))} for row in found["slices"]]


def _told(name: str, part: dict[str, Any], *, upgraded: bool) -> str:
    if part.get("value") is None:
        return reason(part.get("reason"))
    if name == "upgrade" and not upgraded:
        return "the same version was in service in both periods"
    return MEANINGS[name]


def reason(code: str | None) -> str:
    return REASONS.get(code or "") or f"not measured: {sentences.reason(code)}"


def trend(document: dict[str, Any], *, title: str, share: bool) -> str:
    """Where the number stands now, corrected, and what the classifier says; or when labels last told, if they do no longer."""
    points = document["series"][0]["points"]
    full = [point for point in points if point["corrected"].get("value") is not None]
    last = full[-1] if full else points[-1]
    subject = f"“{document['value']}”" if share else f"The mean of {_inside(title)}"
    raw = number(last["raw"], share)
    known = last["corrected"]
    if known.get("value") is None:
        return f"{subject} is scored at {raw}; too few labels say whether that is true."
    limits = f"{number(known['low'], share)}–{number(known['high'], share)}".replace("\u00a0%–", "\u2060–\u2060")
    if last is not points[-1]:
        when = _period(last["start"], document["period"])
        now = number(points[-1]["raw"], share)
        return f"{subject} last stood at {number(known['value'], share)} ({limits}), {when}; too few labels say whether the {now} scored since is true."
    if known["low"] <= last["raw"] <= known["high"]:
        return f"{subject} stands at {number(known['value'], share)} ({limits}), and the classifier’s {raw} agrees."
    side = "high" if last["raw"] > known["value"] else "low"
    return f"{subject} stands at {number(known['value'], share)} ({limits}); the classifier’s {raw} is too {side}."


def _inside(title: str) -> str:
    """A title within a sentence: `customer effort`, but `CSAT proxy`."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _period(start: str, period: str) -> str:
    """`in the week of 19 October`."""
    day = date.fromisoformat(start)
    if period == "month":
        return f"in {day:%B %Y}"
    return f"{'on' if period == 'day' else 'in the week of'} {day.day} {day:%B}"


def change_of_version(found: dict[str, Any], value: str, share: bool) -> str:
    """What a change of versions did to the charted number, in a sentence."""
    moved, old, new = found["moved"], found["from"], found["to"]
    if moved.get("value") is None:
        why = "too few conversations were scored by both" if found["conversations"] else "nothing was scored by both"
        return f"Not bridged: {why}, so that what {new} says cannot be set beside what {old} said."
    subject, unit = (f"“{value}”", " points") if share else ("the mean", "")
    limits = f"{change(moved['low'], share)} to {change(moved['high'], share)}"
    return f"The change of version alone moves {subject} by {change(moved['value'], share)}{unit} ({limits})."


def number(value: float | None, share: bool) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.0f}\u00a0%" if share else f"{value:.2f}"


def change(value: float | None, share: bool) -> str:
    """A difference for people, with its sign: +8.4 points as +8.4, a mean as +0.21."""
    if value is None:
        return "–"
    return numerals.points(value) if share else numerals.signed(value)


def p_value(p: float | None) -> str:
    """A p value for people."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
