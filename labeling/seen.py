"""Which keys of a file have been seen, and where first: 24 bytes a key, so that large files fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Keys = NDArray[np.uint64]


class FirstLines:
    """The first line of every key, as sorted runs of 16-byte digests that are merged when they are of a size."""

    def __init__(self) -> None:
        # (first half of the digest, sorted; second half; line)
        self._runs: list[tuple[_Keys, _Keys, _Keys]] = []

    def check(self, keys: Sequence[str], lines: Sequence[int]) -> dict[int, int]:
        """Take in `keys`; gives for each position whose key came before the line where it came first."""
        if not keys:
            return {}
        digests = b"".join([hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys])
        halves = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        high, low, line = halves[:, 0], halves[:, 1], np.asarray(lines, dtype=np.uint64)
        order = np.lexsort((line, low, high))
        high, low, line = high[order], low[order], line[order]
        repeated = np.zeros(len(order), dtype=bool)
        repeated[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        # The first of a group of equal keys stands for all of them.
        first = line[np.maximum.accumulate(np.where(repeated, 0, np.arange(len(order))))].copy()
        for run_high, run_low, run_line in self._runs:
            place = np.minimum(np.searchsorted(run_high, high), len(run_high) - 1)
            hit = (run_high[place] == high) & (run_low[place] == low)
            first = np.where(hit, run_line[place], first)
            repeated |= hit
        fresh = ~repeated
        self._add((high[fresh], low[fresh], line[fresh]))
        return {int(order[at]): int(first[at]) for at in np.flatnonzero(repeated)}

    def _add(self, run: tuple[_Keys, _Keys, _Keys]) -> None:
        if not len(run[0]):
            return
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            other = self._runs.pop()
            order = np.argsort(joined := np.concatenate((other[0], run[0])), kind="stable")
            run = (
                joined[order],
                np.concatenate((other[1], run[1]))[order],
                np.concatenate((other[2], run[2]))[order],
            )
        self._runs.append(run)
