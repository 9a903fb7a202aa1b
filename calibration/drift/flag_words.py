"""Flags in words: the inbox's sentence, a flag's headline, what it costs, and the step that its recalibration is at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from calibration import numerals, slices
from calibration.models import DriftFlag, Recalibration
from calibration.stats.map_fits import LEAST_HELD_OUT

NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
STEPS = ("Slices", "Top-up queue", "Fit", "Validate", "Promote")
STEP_ACTIONS = {"Fit": "fit", "Validate": "validate", "Promote": "promote"}
NOTABLE = 0.02
"""A share that is less than two points wrong is not said to cost anything."""
Kind = DriftFlag.Kind
UNKNOWN_COST = {
    Kind.MIX: "population or classifier: labels would tell",
    Kind.ASR: "what is scored from these transcripts may be wrong",
}
WATCHED = {
    Kind.AGREEMENT: "agreement",
    Kind.HUMAN: "agreement among people",
    Kind.SILENT_CHANGE: "answers to canaries",
    Kind.ASR: "word error rate",
}


def inbox(flags: Sequence[DriftFlag], *, watched: int, following: int = 0) -> str:
    """The answer first: how many flags there are, how many of them only follow from others, and the one that costs most."""
    if not flags:
        return "Nothing has drifted." if watched else "Nothing is watched yet."
    leading = len(flags) - following
    count = f"{_number(leading)} flag{'s' if leading > 1 else ''}"
    if following:
        it = "it" if leading == 1 else "them"
        count += f", and {_number(following).lower()} that may follow from {it}"
    count += "."
    costly = [flag for flag in flags if _costs(flag)]
    if not costly:
        clearest = max(flags, key=lambda flag: flag.evidence.get("e_value") or 0.0)
        what = headline(clearest)
        where = f" on {slices.words(clearest.slice)}" if clearest.slice else ""
        lead = f"{count[:-1]}: " if len(flags) == 1 else f"{count} The clearest: "
        return f"{lead}{what[0].lower() if not what.startswith('“') else '“'}{what[1:]}{where} ({clearest.version})."
    worst = max(costly, key=lambda flag: abs(amount(flag) or 0.0))
    since = f", since {day(worst.since, beside=worst.raised_at)}" if worst.since else ""
    many = f"{_number(len(costly))} cost" if len(costly) > 1 else "One costs"
    first = "you now" if len(costly) == 1 else "you now, first of all"
    return f"{count} {many} {first}: {cost(worst, place=True)}{since}."


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def amount(flag: DriftFlag) -> float | None:
    """How far off: from people, or for a silent change from what the version said before."""
    found = flag.severity.get("shift" if flag.kind == Kind.SILENT_CHANGE else "bias")
    return None if found is None else float(found)


def _costs(flag: DriftFlag) -> bool:
    """Whether a published number is shown to be wrong: by two points or more, and not by chance."""
    bias, low, high = amount(flag), flag.severity.get("low"), flag.severity.get("high")
    known = low is not None and high is not None and (low > 0 or high < 0)
    return bias is not None and known and abs(bias) >= NOTABLE


def headline(flag: DriftFlag) -> str:
    """What happened, in a line."""
    evidence = flag.evidence
    if flag.kind in (Kind.AGREEMENT, Kind.HUMAN):
        was, now = evidence.get("calibrated", {}).get("value"), evidence.get("agreement", {}).get("value")
        who = "Agreement" if flag.kind == Kind.AGREEMENT else "Agreement among people"
        if was is not None and now is not None:
            return f"{who} fell from {was:.2f} to {now:.2f}"
    if flag.kind == Kind.MIX and evidence.get("category"):
        was, now = evidence.get("calibrated", {}).get("value"), evidence.get("share", {}).get("value")
        if was is not None and now is not None:
            verb = "rose" if now > was else "fell"
            return f"“{evidence['category']}” {verb} from {100 * was:.0f} to {100 * now:.0f} % of the answers"
    if flag.kind == Kind.SILENT_CHANGE and evidence.get("flips", {}).get("value") is not None:
        noise = evidence.get("calibrated", {}).get("value") or 0.0
        return f"{100 * evidence['flips']['value']:.0f} % of canaries are answered differently, beyond its own noise of {100 * noise:.0f} %"
    if flag.kind == Kind.ASR and evidence.get("wer", {}).get("value") is not None:
        was = evidence.get("calibrated", {}).get("value") or 0.0
        return f"Word error rate rose from {100 * was:.1f} to {100 * evidence['wer']['value']:.1f} %"
    if flag.kind == Kind.EXPIRED:
        if evidence.get("uncovered", 0) > 0.2:
            return f"{100 * evidence['uncovered']:.0f} % of conversations lie where there is no gold"
        return f"Calibration is {evidence.get('age_days', 0)} days old"
    return str(DriftFlag.Kind(flag.kind).label)


def cost(flag: DriftFlag, *, place: bool = False) -> str:
    """How wrong the published number is: `“negative” reported 6.1 points too low`."""
    bias, category = amount(flag), flag.severity.get("category")
    where = f" on {slices.words(flag.slice)}" if place and flag.slice else ""
    if bias is None:
        return UNKNOWN_COST.get(Kind(flag.kind), "")
    if flag.kind == Kind.SILENT_CHANGE:
        return _shifted(flag, bias, category)
    direction = "high" if bias > 0 else "low"
    verb = "is reported" if place else "reported"
    if category is None:
        return f"the mean{where} {verb} {abs(bias):.2f} too {direction}"
    if not _costs(flag):
        reach = max(abs(flag.severity.get("low") or bias), abs(flag.severity.get("high") or bias))
        return f"“{category}” may be off by up to {100 * reach:.0f} points, on these labels"
    points = f"{100 * abs(bias):.1f}" if not place else f"{100 * abs(bias):.0f}"
    return f"“{category}”{where} {verb} {points} point{'' if points in ('1', '1.0') else 's'} too {direction}"


def _shifted(flag: DriftFlag, shift: float, category: str | None) -> str:
    """What a silent change does to a published number: as much as it does to the canaries."""
    direction = "higher" if shift > 0 else "lower"
    if category is None:
        return f"the mean is reported {abs(shift):.2f} {direction} than when the version was pinned"
    if not _costs(flag):
        return "no published share moved by as much as that"
    return f"“{category}” is reported {100 * abs(shift):.0f} points {direction} than when the version was pinned"


def sentence(flag: DriftFlag) -> str:
    """A flag's page in a sentence: what, where, since when, and what it costs where that is shown."""
    where = f" on {slices.words(flag.slice)}" if flag.slice else ""
    since = f" since {day(flag.since, beside=flag.raised_at)}" if flag.since else ""
    loss = f": {cost(flag)}" if _costs(flag) else ""
    return f"{headline(flag)}{where}{since}{loss}."


def timing(flag: DriftFlag) -> str:
    """When it was noticed by the evidence, and since when things have changed."""
    noticed = flag.evidence.get("alarmed_at")
    seen = date.fromisoformat(noticed[:10]) if noticed else None
    now = flag.raised_at
    if flag.since is None:
        return day(seen or flag.raised_at, beside=now)
    if seen is None or seen == flag.since:
        return f"since {day(flag.since, beside=now)}"
    return f"{day(seen, beside=now)}, most likely since {day(flag.since, beside=now)}"


def seen(told: Mapping[str, Any]) -> dict[str, Any]:
    """What is seen now, whatever is watched: of a flag's evidence or of a stream; nothing for a flag that states a fact."""
    found = (told.get(name) for name in ("agreement", "share", "flips", "wer"))
    return next((estimate for estimate in found if isinstance(estimate, dict) and estimate), {})


def watched(stream: Mapping[str, Any]) -> str:
    """What a stream watches."""
    if stream["kind"] == Kind.MIX:
        return f"answers: {stream.get('subject', '')}"
    against = f", against {stream['against']}" if stream.get("against") else ""
    return str(WATCHED.get(stream["kind"], stream["kind"])) + against


def series(flag: DriftFlag) -> list[float]:
    """The e-values over time; empty for flags that state a fact."""
    return [float(point["e"]) for point in flag.evidence.get("series", [])]


def step_number(recalibration: Recalibration | None) -> int:
    """The step (from 1) that waits for somebody, or that was not done when it was given up; 6 when all are done.

    By what each step left, not by the state: a validation that failed is not done.
    """
    if recalibration is None:
        return 1
    if recalibration.promoted_id is not None:
        return 6
    if recalibration.validation:
        return 5 if recalibration.validation["passed"] else 4
    if recalibration.fit:
        return 4
    return 3 if recalibration.tries else 2


def steps(flag: DriftFlag, recalibration: Recalibration | None, progress: Any) -> list[dict[str, Any]]:
    """The five steps with what each came to; `now` is the one that waits for somebody."""
    waiting = step_number(recalibration)
    told = ["", "", "", "", ""]
    told[0] = slices.all_words(recalibration.slices if recalibration else [flag.slice])
    if recalibration is not None and progress is not None:
        told[1] = f"{progress.items} items, drawn where a label buys most; {progress.finished} labelled"
        if progress.items < LEAST_HELD_OUT:
            told[1] += f"; these are all there are so far, and a map takes {LEAST_HELD_OUT}"
        going = recalibration.state == Recalibration.State.LABELLING
        if waiting == 2 and (progress.finished if going else progress.finished == progress.items):
            waiting = 3
    if recalibration is not None and recalibration.fit:
        told[2] = _fitted(recalibration.fit)
    tries = [_tried(one) for one in recalibration.tries] if recalibration else []
    if recalibration is not None and recalibration.validation:
        told[3] = _validated(recalibration.validation)
    if recalibration is not None and recalibration.promoted is not None:
        told[4] = f"{recalibration.promoted} serves from now on"
    hopes = (
        "",
        "drawn from the slices, since the change, not labelled yet",
        f"the richest map that the labels carry, {LEAST_HELD_OUT} at least",
        f"on labels that the fit never saw, paired against {flag.version.version}",
        f"as a version of its own, with {flag.version.version} as its parent",
    )
    return [
        {
            "name": name,
            "told": told[i] or hopes[i],
            "done": i + 1 < waiting or (i == 0 and recalibration is not None),
            "now": i + 1 == waiting and recalibration is not None and recalibration.state != "abandoned",
            "action": STEP_ACTIONS.get(name) if i + 1 == waiting and not failed(recalibration) else None,
            "tries": tries if name == "Validate" else [],
        }
        for i, name in enumerate(STEPS)
    ]


def failed(recalibration: Recalibration | None) -> list[str]:
    """Why its validation did not pass; nothing where it did, or where there is none yet."""
    if recalibration is None or not recalibration.validation or recalibration.validation["passed"]:
        return []
    return recalibration.validation.get("reasons") or ["it is not shown to be better"]  # kept before reasons were


def _tried(one: dict[str, Any]) -> str:
    return f"{_fitted(one['fit'])} ({one['dataset']}): {_validated(one['validation'])}"


def _fitted(fit: dict[str, Any]) -> str:
    if fit["kind"] == "version":
        return f"no map: {fit['version']} stands instead, on {fit['labels']} labels"
    return f"{fit['kind'].replace('_', ' ')} on {fit['labels']} labels"


def _validated(document: dict[str, Any]) -> str:
    old, new = document["old"].get("value"), document["new"].get("value")
    name = document["statistic"].replace("_", " ")
    found = [f"{name} {old:.2f} → {new:.2f}"] if old is not None and new is not None else []
    change = document.get("brier", {}).get("value")
    found += [f"Brier score {numerals.signed(change, 3)}"] if change is not None else []
    verdict = "better" if document["passed"] else "not shown to be better"
    told = f"{verdict}: {', '.join(found)} on {document['labels']} labels, {document['method']}"
    parts = document.get("slices", [])
    return told + (f"; {'; '.join(map(_slice_validated, parts))}" if len(parts) > 1 else "")


def _slice_validated(part: dict[str, Any]) -> str:
    old, new = part["old"].get("value"), part["new"].get("value")
    if old is None or new is None:
        return f"{slices.words(part['slice'])}: too few labels ({part['labels']})"
    word = ", worse" if part["change"] == "worse" else ""
    return f"{slices.words(part['slice'])} {old:.2f} → {new:.2f} on {part['labels']}{word}"


def day(moment: date | datetime | None, *, beside: date | datetime | None = None) -> str:
    """`9 February`, and the year where it is another one than that of the moment `beside` which it stands."""
    if moment is None:
        return ""
    year = "" if beside is not None and beside.year == moment.year else f" {moment:%Y}"
    return f"{moment.day} {moment:%B}{year}"


def row(flag: DriftFlag) -> dict[str, Any]:
    """Everything that a line of the inbox shows."""
    known = next((one for one in flag.recalibrations.all() if one.state != Recalibration.State.ABANDONED), None)
    return {
        "flag": flag,
        "headline": headline(flag),
        "place": slices.words(flag.slice),
        "timing": timing(flag),
        "cost": cost(flag),
        "series": series(flag),
        "alarm_at": flag.evidence.get("alarm_at"),
        "sure": bool(flag.evidence.get("e_value")) or flag.kind == Kind.VERSION,
        "step": step_number(known) if known else None,
        "recalibration": known,
    }
