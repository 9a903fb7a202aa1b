"""The sentence that a reader came for, made from a report's verdicts: what to trust where, and what would settle the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from calibration.stats.verdicts import MOST_LABELS, TRUSTED, UNPROVEN, UNTRUSTED

ORDER = (TRUSTED, UNPROVEN, UNTRUSTED)
THIN = "too_few_items"
MOST_NAMES = 4
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of the sentence with the verdict that it tells."""

    word: str
    text: str


def report(document: dict[str, Any], version: str | None = None) -> str:
    """The whole sentence on one version (the newest of the report): clauses, the first with a capital, a full stop."""
    text = "; ".join(clause.text for clause in clauses(document, version))
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def clauses(document: dict[str, Any], version: str | None = None) -> list[Clause]:
    """Trusted places first, then unproven ones with the labels they need, then untrusted ones."""
    if not document["rows"]:
        return []
    chosen = version or document["rows"][-1]["version"]
    rows = [row for row in document["rows"] if row["version"] == chosen]
    whole = next(row for row in rows if not row["slice"])
    if whole["n"] == 0:
        return [Clause(UNPROVEN, "unproven: it has no predictions on this gold")]
    leading = _leading(document["by"], rows)
    told = [row for row in rows if leading and set(row["slice"]) == {leading}]
    if len(told) < 2:
        told = []
    if not told:
        return [_whole(document, whole), *_exceptions(rows, [whole])]
    return [*_families(leading, told), *_exceptions(rows, told)]


def _leading(by: Sequence[str], rows: Sequence[Row]) -> str:
    """The dimension to speak of first: the first one in `by` that has more than one value."""
    for name in by:
        if sum(set(row["slice"]) == {name} for row in rows) > 1:
            return name
    return by[0] if by else ""


def _whole(document: dict[str, Any], row: Row) -> Clause:
    bar, found = document["bar"], row[document["bar"]["statistic"]]
    name = statistic_name(bar["statistic"])
    if found["value"] is None:
        return Clause(UNPROVEN, f"unproven: {reason(found['reason'])}")
    limits = f"{name} {found['value']:.2f}, at least {found['low']:.2f}, clears the bar of {bar['at_least']:.2f}"
    if row["verdict"] == TRUSTED:
        return Clause(TRUSTED, f"trusted: {limits}")
    if row["verdict"] == UNTRUSTED:
        above = f"{name} {found['value']:.2f}, at most {found['high']:.2f}, is below the bar of {bar['at_least']:.2f}"
        return Clause(UNTRUSTED, f"untrusted: {above}")
    return Clause(UNPROVEN, f"unproven{_needed([row])}")


def _families(name: str, rows: Sequence[Row]) -> list[Clause]:
    """One clause for every verdict among the slices of one dimension."""
    thin = [row for row in rows if row["verdict"] == UNPROVEN and row["reason"] == THIN]
    groups = [(word, [row for row in rows if row["verdict"] == word and row not in thin]) for word in ORDER]
    made = []
    for word, group in groups:
        if not group:
            continue
        where = _everywhere(name) if len(group) == len(rows) else place(name, [r["slice"][name] for r in group])
        made.append(Clause(word, f"{word} {where}" + (_needed(group) if word == UNPROVEN else "")))
    if thin:
        where = (
            _everywhere(name, "any") if len(thin) == len(rows) else place(name, [row["slice"][name] for row in thin])
        )
        clause = Clause(UNPROVEN, f"too few labels {where}{_thin_needed(thin)}")
        made.insert(sum(clause.word != UNTRUSTED for clause in made), clause)
    return made


def _exceptions(rows: Sequence[Row], told: Sequence[Row]) -> list[Clause]:
    """Unproven and untrusted places that what was told so far does not contain: a good mean must not hide them."""
    doubted = [row for row in told if row["verdict"] != TRUSTED]
    bad = _inside(rows, UNTRUSTED, [row for row in doubted if row["verdict"] == UNTRUSTED])
    open_ones = _inside(rows, UNPROVEN, [*doubted, *bad])
    return [
        *([Clause(UNPROVEN, f"unproven {places(open_ones)}{_needed(open_ones)}")] if open_ones else []),
        *([Clause(UNTRUSTED, f"untrusted {places(bad)}")] if bad else []),
    ]


def _inside(rows: Sequence[Row], word: str, told: Sequence[Row]) -> list[Row]:
    """The widest slices of this verdict that lie in none of those told; thin ones are for the table, they are no news."""
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row["slice"])):
        covered = any(wider["slice"].items() <= row["slice"].items() for wider in [*told, *found])
        if row["verdict"] == word and row["reason"] != THIN and row["slice"] and not covered:
            found.append(row)
    return found


def places(rows: Sequence[Row]) -> str:
    """The slices of rows in words, at most four by name; those of one dimension together."""
    names = {tuple(row["slice"]) for row in rows}
    if len(names) == 1 and len(only := names.pop()) == 1:
        return place(only[0], [row["slice"][only[0]] for row in rows])
    shown = [slice_in_words(row["slice"]) for row in rows[:MOST_NAMES]]
    more = len(rows) - MOST_NAMES
    return listed([*shown, *([f"{more} more slice{'s' if more > 1 else ''}"] if more > 0 else [])])


def _needed(rows: Sequence[Row]) -> str:
    """How many labels would settle unproven slices, where that can be said."""
    numbers = [row["labels_needed"] for row in rows]
    if not numbers or any(number is None for number in numbers):
        return ""
    close = [row for row, number in zip(rows, numbers, strict=True) if number >= MOST_LABELS]
    pronoun = "it" if len(rows) == 1 else "them"
    if len(close) == len(rows):
        return f": too close to the bar, more than {MOST_LABELS:,} labels would be needed to settle {pronoun}"
    total = sum(number for number in numbers if number < MOST_LABELS)
    many = f"{total:,} more {'label' if total == 1 else 'labels'} would settle"
    if not close:
        return f": {many} {pronoun}"
    others = [row for row in rows if row not in close]
    return f": {many} it {places(others)}; {places(close)} it takes more than {MOST_LABELS:,}"


def _thin_needed(rows: Sequence[Row]) -> str:
    total = sum(row["labels_needed"] or 0 for row in rows)
    return f" for a verdict: {total:,} more would do" if total else " for a verdict"


def place(name: str, values: Sequence[str]) -> str:
    """`on chat and email`, `for trial customers`, `where language is de or en`."""
    shown = [*values[:MOST_NAMES], *([f"{len(values) - MOST_NAMES} more"] if len(values) > MOST_NAMES else [])]
    if name == "channel":
        return f"on {listed(shown)}"
    if name == "cohort":
        return f"for {listed(shown)} customers"
    return f"where {name} is {listed(shown, 'or')}"


def slice_in_words(one: dict[str, str]) -> str:
    """`for trial customers on voice`; the whole is `overall`."""
    ranked = sorted(one, key=lambda name: {"cohort": 0, "channel": 1}.get(name, 2))
    return " ".join(place(name, [one[name]]) for name in ranked) or "overall"


def slice_name(one: dict[str, str]) -> str:
    """`voice, trial`, as a table names a slice."""
    return ", ".join(one.values()) or "all"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _everywhere(name: str, every: str = "every") -> str:
    """`on every channel`, `for every cohort`."""
    return f"{'on' if name == 'channel' else 'for'} {every} {name.replace('_', ' ')}"


REASONS = {
    "not_measured": "nobody measured it",
    "no_items": "there are no labels with a prediction here",
    "one_category": "only one category occurs, so that chance explains everything",
    "too_few_items": "too few labels for a verdict",
    "never_predicted": "never predicted",
    "not_in_gold": "not in the gold",
    "absent": "in neither gold nor predictions",
    "no_pairable_ratings": "no unit has two labels",
    "too_few_annotators": "of two who differ nobody can say who errs; it takes a third",
    "too_few_labels": "somebody has fewer than 20 labels here",
    "too_few_shared_units": "somebody has no two others who share 20 units with them and each other",
    "not_for_this_scale": "answers are not one category each",
    "interval_scale": "needs categories; the signal is a number",
    "no_order": "needs an order of the categories",
    "gold_of_several_labels": "the gold is made of several labels a unit",
    "clears_bar": "the whole interval clears the bar",
    "below_bar": "the whole interval is below the bar",
    "spans_bar": "the interval spans the bar",
    "other_slices": "clears the bar alone, but not when all slices looked at are allowed for",
}


def reason(code: str | None) -> str:
    """A reason code as words."""
    return REASONS.get(code or "", (code or "unknown").replace("_", " "))


def labels(number: int) -> str:
    """A number of labels, capped where it says no more than "very many"."""
    return f"over {MOST_LABELS:,}" if number >= MOST_LABELS else f"{number:,}"


def statistic_name(name: str) -> str:
    """A statistic as it is written in running text."""
    names = {"ac1": "AC1", "lin": "Lin's coefficient", "human_alpha": "human alpha", "mae": "mean absolute error"}
    return names.get(name, name.replace("_", " "))
