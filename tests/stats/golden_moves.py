"""Golden kinds of drift, trends, attribution, annotators and outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibration.stats import betting, drift, movement, outcomes, trends
from calibration.stats.alt_test import alternative_annotator
from calibration.stats.tables import ConfusionTable
from tests.stats.golden_kinds import Undefined, kind


def _first(log_e: Any, level: float) -> int | None:
    reached = np.flatnonzero(log_e >= np.log(level))
    return int(reached[0]) + 1 if len(reached) else None


@kind("e_process")
def e_process(given: dict[str, Any]) -> dict[str, Any]:
    log_e = betting.e_process(
        given["x"], floor=given["m0"], bets=given["lambdas"], weights=given.get("w"), heaviest=given.get("w_max")
    )
    e = np.exp(log_e)
    return {"e": list(e), "max_e": float(e.max()), "first_alarm_at_20": _first(log_e, 20)}


@kind("e_monitor")
def e_monitor(given: dict[str, Any]) -> dict[str, Any]:
    """The monitor itself, with a calibration whose floor is moved to the vector's m0."""
    blocks = [drift.Block.of(str(week), *block) for week, block in enumerate(given["blocks"])]
    stakes = np.array(given["lambdas"])
    increments = np.array([drift._block_increment(block, given["m0"], stakes) for block in blocks])
    log_e = betting.e_monitor(increments, horizon=given["horizon"])
    return {"e": list(np.exp(log_e)), "first_alarm_at_20": _first(log_e, 20)}


@kind("ppi_mean")
def ppi_mean(given: dict[str, Any]) -> dict[str, Any]:
    data = (given["labels"], given["predictions_labelled"], given["predictions_unlabelled"])
    plain, full, half = (trends.ppi_mean(*data, power=power) for power in (0.0, 1.0, 0.5))
    return {
        "labels_only": plain,
        "ppi": full,
        "ppi_low": full.low,
        "ppi_high": full.high,
        "half": half,
        "half_low": half.low,
        "half_high": half.high,
        "lambda_star": trends.ppi_power(*data),
    }


@kind("poststratified")
def poststratified(given: dict[str, Any]) -> dict[str, Any]:
    part = trends.SliceShares(ConfusionTable.from_counts(given["table"]), tuple(given["predicted_counts"]))
    found = trends.corrected_shares([part], pseudo_labels=0, least_labels=0, least_of_category=0).shares
    if not found[0].defined:
        return {"shares": found[0]}
    return {"shares": list(found), "se": [share.standard_error for share in found]}


@kind("rogan_gladen")
def rogan_gladen(given: dict[str, Any]) -> dict[str, Any]:
    tp, positives, tn, negatives = (given[key] for key in ("tp", "positives", "tn", "negatives"))
    table = ConfusionTable.from_counts([[tp, positives - tp], [negatives - tn, tn]])
    counts = (given["predicted_positive"], given["n"] - given["predicted_positive"])
    found = trends.old_gold_shares(table, counts, least_gold=0)
    if not found.shares[0].defined:
        return {"share": Undefined(found.shares[0].reason or "")}
    clipped = found.shares[0]
    return {"share": found.unclipped[0], "clipped_share": clipped, "se": clipped.standard_error}


@kind("bbse")
def bbse(given: dict[str, Any]) -> dict[str, Any]:
    found = trends.old_gold_shares(ConfusionTable.from_counts(given["table"]), given["predicted_counts"])
    return {"shares": list(found.unclipped), "condition_number": found.condition_number}


@kind("kitagawa")
def kitagawa(given: dict[str, Any]) -> dict[str, Any]:
    found = movement.kitagawa(given["counts_1"], given["rates_1"], given["counts_2"], given["rates_2"])
    return {"total": found.total, "mix": found.mix, "rate": found.rate}


@kind("confusion_split")
def confusion_split(given: dict[str, Any]) -> dict[str, Any]:
    scores = [1.0] + [0.0] * (len(given["joint_1"]) - 1)
    found = movement.confusion_split(given["joint_1"], given["joint_2"], scores)
    return {"observed": found.observed, "customers": found.customers, "classifier": found.classifier}


@kind("alternative_annotator")
def alternative(given: dict[str, Any]) -> dict[str, Any]:
    found = alternative_annotator(
        given["ratings"], given["judge"], epsilon=given["epsilon"], level=given["q"], least_items=2
    )
    return {
        "advantage": list(found.advantage),
        "mean_advantage": found.mean_advantage,
        "p_values": list(found.p_values),
        "winning_rate": found.winning_rate,
        "passes": found.passes,
    }


@kind("survey")
def survey(given: dict[str, Any]) -> dict[str, Any]:
    score = outcomes.nps(given["nps_answers"]).score
    return {"nps": score, "nps_se": score.standard_error, "csat_top_two": outcomes.csat(given["csat_answers"]).score}
