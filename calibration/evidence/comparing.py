"""Two versions on the same gold, paired: what changed, how surely, and for which units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from calibration.errors import NotComparable
from calibration.evidence import measuring, pairing, sentences
from calibration.evidence.cells import ErrorCell, JointCell
from calibration.evidence.measuring import Bar
from calibration.evidence.reports import slices_of
from calibration.models import ClassifierVersion
from calibration.stats import paired
from calibration.stats.estimate import Estimate
from calibration.stats.summary import estimate
from calibration.stats.tables import PairedTable
from labeling.models import DatasetVersion
from labeling.values import Scale

RIGHT, WRONG = "right", "wrong"
ERROR = "mae"
"""What is compared of numbers: the mean absolute error."""


def compare(
    *, dataset_version: DatasetVersion, a: ClassifierVersion, b: ClassifierVersion, by: Sequence[str] = ()
) -> dict[str, Any]:
    """b against a on the units that both answered: differences with paired intervals, per slice."""
    signal = dataset_version.dataset.signal
    scale = Scale.of(signal)
    if a == b:
        raise NotComparable("same_version", "name two different versions", field="b")
    bar = Bar(signal.trust_statistic, signal.trust_at_least).for_scale(scale.kind)
    names = _statistics(scale, bar)
    cells: tuple[JointCell, ...] = ()
    if scale.kind == "interval":
        errors = pairing.joint_errors(dataset_version=dataset_version, a=a, b=b, by=by, span=measuring.span_of(scale))
        grouped = slices_of(tuple(by), pairing.dimensions_of(by), errors)
        rows = [_error_row(dict(key), list(group)) for key, group in grouped.items()]
    else:
        cells = pairing.joint(dataset_version=dataset_version, a=a, b=b, by=by)
        rows = [
            _row(scale, dict(key), list(group), names)
            for key, group in slices_of(tuple(by), pairing.dimensions_of(by), cells).items()
        ]
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
        "rows": rows,
        "changed": _changed(cells),
    }
    return document | {"sentence": sentence(document)}


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
    return "better" if low > 0 else "worse" if high < 0 else "even"


def _error_row(one: dict[str, str], cells: Sequence[ErrorCell]) -> dict[str, Any]:
    """Mean absolute errors of both versions, and their difference, each with its interval."""
    sums = {name: paired.total(getattr(cell, name) for cell in cells) for name in ("a", "b", "difference")}
    return {"slice": one, "n": sums["a"].n, ERROR: {name: paired.mean(found).as_dict() for name, found in sums.items()}}


def _row(scale: Scale, one: dict[str, str], cells: Sequence[JointCell], names: Sequence[str]) -> dict[str, Any]:
    table = joint_table(scale, cells)
    row: dict[str, Any] = {"slice": one, "n": table.total}
    for name in names:
        row[name] = _difference(scale, table, name)
    only_a, only_b = paired.discordant(table)
    test = paired.mcnemar(only_a, only_b)
    return row | {"only_a_right": only_a, "only_b_right": only_b, "p": test.mid_p, "test": "mcnemar mid-p"}


def _difference(scale: Scale, table: PairedTable, name: str) -> dict[str, Any]:
    if table.total == 0:
        none = Estimate.undefined("no_items").as_dict()
        return {"a": none, "b": none, "difference": none}
    options: dict[str, Any] = {"scale": scale.kind, "scores": measuring.scores_of(scale)}
    if scale.kind == "multilabel":
        options = {}
    sides = {side: estimate(name, half, **options).as_dict() for side, half in (("a", table.a), ("b", table.b))}
    return sides | {"difference": paired.difference(name, table, **options).as_dict()}


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
    worse = [row["slice"] for row in document["rows"][1:] if improvement(name, row[name]["difference"]) == "worse"]
    tail = f", but worse {sentences.listed([sentences.slice_in_words(one) for one in worse[:4]])}" if worse else ""
    size, spelled = f"{abs(found['value']):.2f}", sentences.statistic_name(name)
    word, way = improvement(name, found), "rises" if found["value"] > 0 else "falls"
    if word == "better":
        return f"{b} is better than {a}: {spelled} {way} by {size}{tail}."
    if word == "worse":
        return f"{b} is worse than {a}: {spelled} {way} by {size}."
    return f"No difference between {b} and {a} is proven: {spelled} moves by {found['value']:+.2f}{tail}."
