"""Golden kinds of drift, trends, attribution, annotators and outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibration.stats import betting, drift
from tests.stats.golden_kinds import kind


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
