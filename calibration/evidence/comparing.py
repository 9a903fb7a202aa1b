"""Two versions on the same gold, paired: what changed, how surely, and for which units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from calibration import numerals
from calibration.errors import NotComparable
from calibration.evidence import measuring, pairing, sentences
from calibration.evidence.cells import ErrorCell, JointCell
from calibration.evidence.measuring import Bar
from calibration.evidence.reports import largest, slices_of
from calibration.models import ClassifierVersion
from calibration.stats import paired
from calibration.stats.summary import estimate
from calibration.stats.tables import PairedTable
from labeling.errors import Refused
from labeling.models import DatasetVersion
from labeling.values import Scale

RIGHT, WRONG = "right", "wrong"
WORSE = "worse"
FAMILY_ERROR = 0.05
ONE_SIDED = 0.9
"""The confidence of an interval whose either end is a one-sided 95 % limit."""
ERROR = "mae"
"""What is compared of numbers: the mean absolute error."""
MARGIN = 0.05
"""How much worse still counts as not worse, where nobody says; of numbers, as a part of their range."""


def compare(
    *,
    dataset_version: DatasetVersion,
    a: ClassifierVersion,
    b: ClassifierVersion,
    by: Sequence[str] = (),
    margin: float | None = None,
) -> dict[str, Any]:
    """b against a on the units that both answered: differences with paired intervals, per slice, and tests of each slice.

    `margin` is how much worse b may be and still be called not worse, on the first statistic.
    """
    signal = dataset_version.dataset.signal
    scale = Scale.of(signal)
    if a == b:
        raise NotComparable("same_version", "name two different versions", field="b")
    bar = Bar(signal.trust_statistic, signal.trust_at_least).for_scale(scale.kind)
    names = _statistics(scale, bar)
    if margin is None:
        margin = MARGIN * ((measuring.span_of(scale) or 1.0) if scale.kind == "interval" else 1.0)
    if not 0 <= margin < math.inf or (margin > 2 and scale.kind != "interval"):
        raise Refused("bad_margin", f"a margin is a number from 0 on, for {names[0]} up to 2", field="margin")
    cells: tuple[JointCell, ...] = ()
    if scale.kind == "interval":
        errors = pairing.joint_errors(dataset_version=dataset_version, a=a, b=b, by=by, span=measuring.span_of(scale))
        apart = slices_of(tuple(by), pairing.dimensions_of(by), errors)
        shown = largest(apart)
        rows = [_error_row(dict(key), list(group), margin, len(shown) - 1) for key, group in shown.items()]
        every = len(apart)
    else:
        cells = pairing.joint(dataset_version=dataset_version, a=a, b=b, by=by)
        joint = slices_of(tuple(by), pairing.dimensions_of(by), cells)
        groups = largest(joint)
        rows = [_row(scale, dict(key), list(group), names, margin, len(groups) - 1) for key, group in groups.items()]
        every = len(joint)
    document = {
        "dataset": str(dataset_version),
        "sha256": dataset_version.sha256,
        "signal": signal.slug,
        "classifier": b.classifier.slug,
        "a": str(a),
        "b": str(b),
        "by": list(by),
        "statistic": names[0],
        "statistics": list(names),
        "bar": {"statistic": bar.statistic, "at_least": bar.at_least},
        "margin": margin,
        "rows": rows,
        "changed": _changed(cells),
    } | ({"slices_left_out": every - len(rows)} if every > len(rows) else {})
    return document | {"sentence": sentence(document), "statement": statement(document)}


def _statistics(scale: Scale, bar: Bar) -> tuple[str, ...]:
    """What can be paired on this scale, that of the bar first."""
    if scale.kind == "interval":
        return (ERROR,)
    if scale.kind == "multilabel":
        return ("accuracy",)
    also = ("kappa", "weighted_kappa", "accuracy") if scale.kind == "ordinal" else ("kappa", "accuracy")
    return tuple(dict.fromkeys((bar.statistic, *also)))


def improvement(statistic: str, found: dict[str, Any]) -> str:
    """`better`, `worse` or `even` by the interval of a difference; nothing where there is none."""
    low, high = found.get("low"), found.get("high")
    if low is None or high is None:
        return ""
    if statistic == ERROR:  # less of it is better
        low, high = -high, -low
    return "better" if low > 0 else WORSE if high < 0 else "even"


def _together(one: dict[str, str], slices: int) -> float:
    """The confidence at which one of so many slices is told of: at 95 % each, one in twenty is worse by chance (Bonferroni)."""
    return 1 - FAMILY_ERROR / (max(slices, 1) if one else 1)


def _error_row(one: dict[str, str], cells: Sequence[ErrorCell], margin: float, slices: int) -> dict[str, Any]:
    """Mean absolute errors of both versions, and their difference, each with its interval."""
    sums = {name: paired.total(getattr(cell, name) for cell in cells) for name in ("a", "b", "difference")}
    means = {name: paired.mean(found).as_dict() for name, found in sums.items()}
    limit = paired.mean(sums["difference"], confidence=ONE_SIDED)
    held = {
        "margin": margin,
        "limit": limit.high,
        "p": paired.below_p(sums["difference"], margin),
        "reason": limit.reason,
    }
    held["passed"] = limit.high is not None and limit.high < margin
    told = paired.mean(sums["difference"], confidence=_together(one, slices)).as_dict()
    return {"slice": one, "n": sums["a"].n, ERROR: means, "not_worse": held, "worse": improvement(ERROR, told) == WORSE}


def _row(
    scale: Scale, one: dict[str, str], cells: Sequence[JointCell], names: Sequence[str], margin: float, slices: int
) -> dict[str, Any]:
    table = joint_table(scale, cells)
    held = paired.non_inferiority(names[0], table, margin, **options(scale))
    row: dict[str, Any] = {"slice": one, "n": table.total}
    row[names[0]] = {side: getattr(held, side).as_dict() for side in ("a", "b", "difference")}
    row |= {name: _difference(scale, table, name) for name in names[1:]}
    only_a, only_b = paired.discordant(table)
    test = paired.mcnemar(only_a, only_b)
    row |= {"only_a_right": only_a, "only_b_right": only_b, "p": test.mid_p, "test": "mcnemar mid-p"}
    row["flipped"] = sum(cell.n for cell in cells if cell.a != cell.b)
    # By the one-sided 95 % limit of the difference.
    row["not_worse"] = {name: getattr(held, name) for name in ("margin", "limit", "p", "passed", "reason")}
    row["worse"] = improvement(names[0], row[names[0]]["difference"]) == WORSE
    if row["worse"] and one:
        told = paired.difference(names[0], table, confidence=_together(one, slices), **options(scale))
        row["worse"] = improvement(names[0], told.as_dict()) == WORSE
    return row | {"homogeneity": _homogeneity(scale, table)}


def _homogeneity(scale: Scale, table: PairedTable) -> dict[str, Any] | None:
    """Whether both give each category equally often (Bhapkar); sets of labels have no such margins."""
    if scale.kind == "multilabel":
        return None
    found = paired.bhapkar(table.n.sum(axis=0)) if table.total else None
    if found is None:
        return {"statistic": None, "p": None, "df": 0, "reason": "no_items", "test": "bhapkar"}
    return {"statistic": found.statistic, "p": found.p, "df": found.df, "reason": found.reason, "test": "bhapkar"}


def options(scale: Scale) -> dict[str, Any]:
    """What the paired statistics are told of a scale; sets of labels are right or wrong."""
    return {} if scale.kind == "multilabel" else {"scale": scale.kind, "scores": measuring.scores_of(scale)}


def _difference(scale: Scale, table: PairedTable, name: str) -> dict[str, Any]:
    told = options(scale)
    sides = {side: estimate(name, half, **told).as_dict() for side, half in (("a", table.a), ("b", table.b))}
    return sides | {"difference": paired.difference(name, table, **told).as_dict()}


def joint_table(scale: Scale, cells: Sequence[JointCell]) -> PairedTable:
    """Gold × a × b; of multilabel answers whether the whole set is right."""
    values = (RIGHT, WRONG) if scale.kind == "multilabel" else scale.values
    position = {value: index for index, value in enumerate(values)}
    size = len(values)
    sums = [[[[0.0] * 3 for _ in range(size)] for _ in range(size)] for _ in range(size)]
    for cell in cells:
        gold, a, b = (cell.gold, cell.a, cell.b)
        if scale.kind == "multilabel":
            gold, a, b = RIGHT, _whole(cell.a == cell.gold), _whole(cell.b == cell.gold)
        at = sums[position[gold]][position[a]][position[b]]
        for k, amount in enumerate((cell.n, cell.s1, cell.s2)):
            at[k] += amount
    n, s1, s2 = ([[[at[k] for at in line] for line in plane] for plane in sums] for k in range(3))
    return PairedTable(tuple(values), n, s1, s2)  # type: ignore[arg-type]


def _whole(right: bool) -> str:
    return RIGHT if right else WRONG


def _changed(cells: Sequence[JointCell], most: int = 12) -> list[dict[str, Any]]:
    """The commonest changes of answer, and whether people side with the old or the new one."""
    counts: dict[tuple[str, str, str], int] = {}
    for cell in cells:
        if cell.a != cell.b:
            key = (cell.gold, cell.a, cell.b)
            counts[key] = counts.get(key, 0) + cell.n
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])[:most]
    return [
        {"gold": gold, "a": a, "b": b, "n": n, "better": RIGHT if gold == b else WRONG if gold == a else "neither"}
        for (gold, a, b), n in ranked
    ]


def sentence(document: dict[str, Any]) -> str:
    """Which of the two is better by the bar's statistic, and where that is not so."""
    name, whole = document["statistic"], document["rows"][0]
    found = whole[name]["difference"]
    a, b = document["a"].rpartition("@")[2], document["b"].rpartition("@")[2]
    if found["value"] is None:
        return f"{b} and {a} cannot be compared: {sentences.reason(found['reason'])}."
    worse = [row for row in document["rows"][1:] if row["worse"]]
    tail = f", but worse {sentences.places(worse)}" if worse else ""
    size, spelled = f"{abs(found['value']):.2f}", sentences.statistic_name(name)
    word, way = improvement(name, found), "rises" if found["value"] > 0 else "falls"
    if word == "better":
        return f"{b} is better than {a}: {spelled} {way} by {size}{tail}."
    if word == WORSE:
        return f"{b} is worse than {a}: {spelled} {way} by {size}."
    return f"No difference between {b} and {a} is proven: {spelled} moves by {numerals.signed(found['value'])}{tail}."


def statement(document: dict[str, Any]) -> str:
    """Whether the newer version is shown to be not worse, by how much, and on which slices that is open."""
    whole, spelled = document["rows"][0]["not_worse"], sentences.statistic_name(document["statistic"])
    a, b = document["a"].rpartition("@")[2], document["b"].rpartition("@")[2]
    claim = f"{b} is at most {whole['margin']:g} worse than {a} in {spelled}"
    if whole["limit"] is None:
        return f"Whether {claim} cannot be told: {sentences.reason(whole['reason'])}."
    limit = f"the one-sided 95 % limit of the difference is {numerals.signed(whole['limit'])}"
    if not whole["passed"]:
        return f"That {claim} is not shown: {limit}."
    open_still = [row for row in document["rows"][1:] if not row["not_worse"]["passed"]]
    tail = f" Not shown {sentences.places(open_still)}." if open_still else ""
    return f"{claim}: {limit}.{tail}"
