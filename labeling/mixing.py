"""When a check is due among the items that a person gets: one in every block of their acts, at a place nobody can guess.

Pure functions of plain values. The places follow from a seed (queue and person) and the number of the act alone, so that
asking again gives the same answer, and what is still to come can be counted without writing it down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b

REPEAT, KNOWN = "repeat", "known"
LEAST = 0.001
"""A smaller share than one in a thousand is none."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares (0 to 0.5 together) of hidden repeats and of gold checks among a person's acts, and the seed of their places."""

    repeat: float
    known: float
    seed: str

    @property
    def share(self) -> float:
        share = self.repeat + self.known
        return share if share >= LEAST else 0.0

    def due(self, act: int) -> str | None:
        """The kind of check that the person's act of this number (from 0) is to be; None for an item of the queue."""
        if self.share <= 0:
            return None
        block = self._block(act)
        if self._place(block) != act:
            return None
        return REPEAT if self.chance("kind", block) * self.share < self.repeat else KNOWN

    def before(self, act: int) -> int:
        """How many checks were due before the act of this number."""
        if self.share <= 0:
            return 0
        block = self._block(act)
        return block + (self._place(block) < act)

    def acts_for(self, items: int, *, after: int) -> int:
        """How many acts `items` items take, checks included, for a person who has done `after` acts."""
        if self.share <= 0 or items <= 0:
            return max(items, 0)
        known = self.before(after)
        acts = int(items / (1 - self.share))
        while acts > items and acts - 1 - (self.before(after + acts - 1) - known) >= items:
            acts -= 1
        while acts - (self.before(after + acts) - known) < items:
            acts += 1
        return acts

    def chance(self, *what: object) -> float:
        """A number in [0, 1) that is the same every time for the same question."""
        text = ":".join(map(str, (self.seed, *what)))
        return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48

    def _start(self, block: int) -> int:
        return math.ceil(block / self.share - 1e-9)

    def _block(self, act: int) -> int:
        block = int(act * self.share)
        while self._start(block + 1) <= act:
            block += 1
        while self._start(block) > act:
            block -= 1
        return block

    def _place(self, block: int) -> int:
        start, end = self._start(block), self._start(block + 1)
        return start + int(self.chance("place", block) * (end - start))
