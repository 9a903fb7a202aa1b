"""What running a version took: how its answers came out, their time and their cost, its runs, and whether it agrees with itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Avg, Count, Sum

from calibration import scoring
from calibration.models import ClassifierVersion, Prediction, ScoringRun
from calibration.stats.estimate import Estimate

NEWEST = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """Over every answer of a version; times and costs where it was run here or they came with the answer."""

    version: ClassifierVersion
    states: Sequence[tuple[str, int]]
    timed: int
    seconds: float | None
    slowest: float | None
    priced: int
    cost: float | None
    mean_cost: float | None
    retest: Estimate | None
    runs: Sequence[ScoringRun]

    @property
    def answers(self) -> int:
        return sum(count for _, count in self.states)


def of(version: ClassifierVersion) -> Figures:
    """The figures of a version; `slowest` is the 95th percentile of seconds, by nearest rank."""
    said = Prediction.objects.filter(version=version)
    states = said.order_by().values_list("status").annotate(n=Count("id")).order_by("-n", "status")
    sums = said.aggregate(
        timed=Count("seconds"), mean=Avg("seconds"), priced=Count("cost"), paid=Sum("cost"), paid_each=Avg("cost")
    )
    timed = sums["timed"]
    rank = max(-(-95 * timed // 100) - 1, 0)
    slowest = said.filter(seconds__isnull=False).order_by("seconds").values_list("seconds", flat=True)[rank : rank + 1]
    return Figures(
        version=version,
        states=[(str(state), count) for state, count in states],
        timed=timed,
        seconds=sums["mean"],
        slowest=next(iter(slowest), None),
        priced=sums["priced"],
        cost=sums["paid"],
        mean_cost=sums["paid_each"],
        retest=scoring.retest_of(version),
        runs=list(version.scoring_runs.order_by("-id")[:NEWEST]),
    )
