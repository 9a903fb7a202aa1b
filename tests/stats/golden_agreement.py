"""Golden kinds of agreement, intervals, people and pairs of versions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from calibration.stats import agreement, human, intervals, multiplicity, paired, scores
from calibration.stats.summary import measure as summary_measure
from calibration.stats.summary import summarise
from calibration.stats.tables import ConfusionTable, PairedTable, StratifiedTable, Stratum
from tests.stats.golden_kinds import Undefined, kind


def measures_of(size: int, weights: dict[str, np.ndarray]) -> dict[str, agreement.Measure]:
    """Every measure by the name that golden values have for it."""
    identity, quadratic = (agreement.disagreement(name, size) for name in ("identity", "quadratic"))
    measures = {"alpha_nominal": agreement.alpha(identity), "alpha_interval": agreement.alpha(quadratic)}
    measures |= {"alpha_ordinal": agreement.alpha_ordinal(), "scott_pi": agreement.scott(identity)}
    measures |= {"accuracy": agreement.accuracy(), "mcc": agreement.mcc(), "macro_f1": agreement.macro_f1()}
    for name, one in weights.items():
        suffix = "" if name == "identity" else f"_{name}"
        measures[f"kappa{suffix}"] = agreement.kappa(one)
        measures[f"ac{2 if suffix else 1}{suffix}"] = agreement.gwet(one)
    return measures


def _weights(given: dict[str, Any], size: int) -> dict[str, np.ndarray]:
    named = {kind: agreement.disagreement(kind, size) for kind in ("identity", "linear", "quadratic")}
    if "agreement_weights" in given:
        fractions = [[float(Fraction(cell)) for cell in row] for row in given["agreement_weights"]]
        named["custom"] = agreement.custom_disagreement(fractions)
    return named


def _interval(given: dict[str, Any], table: ConfusionTable) -> dict[str, Any]:
    answer: dict[str, Any] = {"n": table.total, "effective_n": table.effective_n}
    for name, measure in measures_of(table.size, _weights(given, table.size)).items():
        floor = 0.0 if name in ("accuracy", "macro_f1") else -1.0
        estimate = intervals.interval(measure, table, floor=floor)
        answer |= {name: estimate, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        answer[f"se_{name}"] = estimate.standard_error
    plain = summarise(table, scale="nominal").estimates["accuracy"]
    return answer | {"accuracy": plain, "accuracy_low": plain.low, "accuracy_high": plain.high}


def weighted_table(given: dict[str, Any]) -> ConfusionTable:
    categories = tuple(str(k) for k in range(len(given["n"])))
    return ConfusionTable(categories, given["n"], given["sum_w"], given["sum_w2"])


@kind("interval")
def interval_kind(given: dict[str, Any]) -> dict[str, Any]:
    return _interval(given, ConfusionTable.from_counts(given["table"]))


@kind("weighted_interval")
def weighted_interval_kind(given: dict[str, Any]) -> dict[str, Any]:
    return _interval(given, weighted_table(given))


def _standard_error(measure: agreement.Measure, table: ConfusionTable) -> Any:
    if table.total < 2:
        return Undefined("too_few_items")
    parts = measure(table.shares, np.asarray(float(table.total)))
    return agreement.standard_error(parts, table.shares, table.total)


@kind("table")
def table_kind(given: dict[str, Any]) -> dict[str, Any]:
    table = ConfusionTable.from_counts(given["table"])
    measures = measures_of(table.size, _weights(given, table.size))
    summary = summarise(table, scale="nominal")
    answer: dict[str, Any] = {"n": table.total}
    for name, measure in measures.items():
        answer[name] = intervals.interval(measure, table)
        answer[f"se_{name}"] = _standard_error(measure, table)
    for name in ("precision", "recall", "f1"):
        answer[name] = [getattr(row, name) for row in summary.per_category]
    return answer


@kind("weighted_table")
def weighted_table_kind(given: dict[str, Any]) -> dict[str, Any]:
    table = weighted_table(given)
    rows = [row[:3] for row in given["rows"] for _ in range(row[3])]
    gold, predicted, weights = (np.array(column) for column in zip(*rows, strict=True))
    same = ConfusionTable.from_pairs(gold, predicted, table.size, weights)
    for name in ("n", "s1", "s2"):
        np.testing.assert_allclose(getattr(same, name), getattr(table, name), rtol=1e-12)
    return _interval(given, table) | {"population_estimate": table.population}


def interval_of(name: str, table: ConfusionTable | StratifiedTable) -> Any:
    size = table.size if isinstance(table, ConfusionTable) else table.strata[0].table.size
    return intervals.interval(summary_measure(name, size), table)


@kind("stratified")
def stratified_kind(given: dict[str, Any]) -> dict[str, Any]:
    strata = [
        Stratum(row["population"], ConfusionTable.from_counts(row["table"]), row["name"]) for row in given["strata"]
    ]
    table = StratifiedTable(tuple(strata))
    answer: dict[str, Any] = {}
    for name in ("accuracy", "kappa", "weighted_kappa", "ac1", "alpha", "mcc", "macro_f1"):
        estimate = interval_of(name, table)
        answer |= {name: estimate, f"se_{name}": estimate.standard_error}
    return answer


@kind("proportion")
def proportion_kind(given: dict[str, Any]) -> dict[str, Any]:
    wilson = intervals.wilson(given["successes"], given["n"])
    exact = intervals.clopper_pearson(given["successes"], given["n"])
    return {
        "value": wilson,
        "wilson_low": wilson.low,
        "wilson_high": wilson.high,
        "clopper_pearson_low": exact.low,
        "clopper_pearson_high": exact.high,
    }


def ratings_matrix(given: dict[str, Any]) -> tuple[np.ndarray, list[float]]:
    ratings = given["ratings"]
    seen = {value for row in ratings for value in row if value is not None}
    values = sorted(seen | set(given.get("categories", ())))
    counts = np.zeros((len(ratings[0]), len(values)))
    for row in ratings:
        for item, value in enumerate(row):
            if value is not None:
                counts[item, values.index(value)] += 1
    return counts, values


@kind("ratings")
def ratings_kind(given: dict[str, Any]) -> dict[str, Any]:
    counts, values = ratings_matrix(given)
    alpha = human.human_alpha(counts, level=given["level"], values=values)
    return {
        f"alpha_{given['level']}": alpha,
        "pairable_items": int((counts.sum(1) >= 2).sum()),
        "se_alpha_jackknife": alpha.standard_error,
        "ac1": human.human_ac1(counts),
        "fleiss_kappa": human.fleiss_kappa(counts),
    }


@kind("paired")
def paired_kind(given: dict[str, Any]) -> dict[str, Any]:
    table = PairedTable.from_counts(given["joint"])
    answer: dict[str, Any] = {"n": table.total}
    answer["only_a_right"], answer["only_b_right"] = paired.discordant(table)
    for name in ("accuracy", "kappa", "ac1"):
        chosen = summary_measure(name, table.size)
        answer[f"{name}_a"], answer[f"{name}_b"] = (interval_of(name, side) for side in (table.a, table.b))
        answer[f"delta_{name}"] = paired.difference(name, table)
        shrunk = (table.total - 1) / table.total
        error = paired.difference_of(chosen, table).standard_error
        answer[f"se_delta_{name}"] = None if error is None else error * np.sqrt(shrunk)
    return answer


@kind("discordant")
def discordant_kind(given: dict[str, Any]) -> dict[str, Any]:
    found = paired.mcnemar(given["b"], given["c"])
    return {"exact_p": found.exact_p, "mid_p": found.mid_p, "chi2": found.chi2}


@kind("square")
def square_kind(given: dict[str, Any]) -> dict[str, Any]:
    stuart, bhapkar = paired.stuart_maxwell(given["table"]), paired.bhapkar(given["table"])
    return {
        "df": stuart.df,
        "stuart_maxwell": stuart.statistic,
        "stuart_maxwell_p": stuart.p,
        "bhapkar": bhapkar.statistic,
        "bhapkar_p": bhapkar.p,
    }


@kind("multiplicity")
def multiplicity_kind(given: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for name in ("holm", "benjamini_hochberg", "benjamini_yekutieli"):
        found = getattr(multiplicity, name)(given["p"], given["alpha"])
        answer |= {f"{name}_reject": list(found.reject), f"{name}_adjusted": list(found.adjusted)}
    return answer


@kind("probabilities")
def probabilities_kind(given: dict[str, Any]) -> dict[str, Any]:
    found = scores.probabilities(given["probabilities"], given["outcome"], bins=given["bins"])
    return {"brier": found.brier, "ece": found.ece, "log_loss": found.log_loss}


@kind("concordance")
def concordance_kind(given: dict[str, Any]) -> dict[str, Any]:
    x, y = given["x"], given["y"]
    return {"lin_ccc": scores.lin(x, y), "pearson": scores.pearson(x, y), "spearman": scores.spearman(x, y)}
