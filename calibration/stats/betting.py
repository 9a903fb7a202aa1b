"""Betting against "nothing has changed": e-processes, the engine of the drift monitors.

An e-process is the wealth of someone who bets at fair odds against the claim that nothing has changed. While the claim
holds, the chance that the wealth ever reaches 20 is at most 1 in 20 (Ville), however often one looks (Waudby-Smith &
Ramdas 2024; Shin, Ramdas & Rinaldo 2024). Wealth is kept as a logarithm: a year of clear evidence cannot overflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from calibration.stats.estimate import StatisticsError

Floats = NDArray[np.float64]


def e_process(
    agrees: ArrayLike,
    *,
    floor: float,
    bets: Sequence[float],
    weights: ArrayLike | None = None,
    heaviest: float | None = None,
) -> Floats:
    """log e after each label: the equal mixture of ∏(1 + λ(m0 − x)·w/w_max) over the bets λ.

    `agrees` holds x (0..1), `floor` is m0, the least agreement that counts as unchanged.
    """
    x = np.asarray(agrees, dtype=float)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=float)
    top = float(w.max(initial=0.0)) if heaviest is None else heaviest
    if len(w) != len(x) or not np.all((x >= 0) & (x <= 1)) or not np.all((w > 0) & (w <= top)):
        raise StatisticsError("agreements lie within 0..1, weights above 0 and at most at their maximum")
    stakes = capped(bets, 1 - checked_share(floor))
    wealth = np.cumsum(np.log1p(stakes * ((floor - x) * w / (top or 1.0))[:, None]), axis=0)
    if not len(x):
        return np.zeros(0)
    mixed: Floats = special.logsumexp(wealth, axis=1) - math.log(len(stakes))
    return mixed


def e_monitor(increments: Floats, *, horizon: int) -> Floats:
    """log e after each block, for a change that may begin at any block of the horizon.

    `increments` [blocks, bets] are logs of each block's factor. C_λ ← (C_λ + 1/horizon)·factor and
    e = mean C_λ + (blocks left)/horizon. After `horizon` blocks the process begins anew: the guarantee is for each.
    """
    if horizon < 1:
        raise StatisticsError("a monitor runs for one block at least")
    wealth = np.full(increments.shape[1], -np.inf)
    entry, answer = -math.log(horizon), np.empty(len(increments))
    for block, increment in enumerate(increments):
        turn = block % horizon
        if turn == 0:
            wealth = np.full(increments.shape[1], -np.inf)
        wealth = np.logaddexp(wealth, entry) + increment
        mean = special.logsumexp(wealth) - math.log(len(wealth))
        left = horizon - turn - 1
        answer[block] = np.logaddexp(mean, math.log(left / horizon)) if left else mean
    return answer


def capped(bets: Sequence[float], room: float) -> Floats:
    """The bets, capped so that no single label can cost more than nine tenths of the wealth."""
    stakes = np.asarray(bets, dtype=float)
    if not len(stakes) or not np.all(np.isfinite(stakes) & (stakes > 0)):
        raise StatisticsError("bets are positive")
    return np.minimum(stakes, 0.9 / room) if room > 0 else stakes


def first_at(log_e: Floats, level: float) -> int | None:
    """The first block at which e reaches the level."""
    reached = np.flatnonzero(log_e >= math.log(level))
    return int(reached[0]) if len(reached) else None


def change_point(increments: Floats, log_e: Floats, alarm_at: float) -> int | None:
    """The block from which on the bets gained most, up to the height of the evidence; None without an alarm.

    Of blocks from which on they gained alike the last: those before it, without labels, tell nothing of a change.
    """
    alarm = first_at(log_e, alarm_at)
    if alarm is None:
        return None
    peak = alarm + int(np.argmax(log_e[alarm:]))
    from_here = np.cumsum(increments[peak::-1], axis=0)[::-1]
    return peak - int(np.argmax(special.logsumexp(from_here, axis=1)[::-1]))


def checked_share(value: float) -> float:
    """A share, refused unless within 0..1."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise StatisticsError(f"a share lies within 0..1, not at {value!r}")
    return value
