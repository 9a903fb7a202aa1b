"""How narrow an interval a sample would buy, told before anybody labels it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from django.db.models import Exists, Max, OuterRef, Sum

from calibration.evidence import measuring, pairing, standing
from calibration.models import ClassifierVersion, Prediction, PredictionRollup
from calibration.stats import intervals, planning
from labeling.models import DatasetVersion, Signal
from labeling.values import Scale

UNIT_WIDTH = 0.05


@dataclass(frozen=True, slots=True)
class Width:
    """Expected half-widths of 95 % intervals: `share` for a share of one half, `agreement` for the bar's statistic.

    `agreement` rests on the pairs of `evidence` and is None while there are none.
    """

    signal: Signal
    share: float
    agreement: float | None = None
    statistic: str = ""
    evidence: str = ""

    @property
    def share_points(self) -> float:
        return 100 * self.share


def width(signal: Signal, *, size: int, population: int) -> Width:
    """What `size` labels drawn evenly would give; other strategies do better where the strata tell something."""
    z = intervals.normal_quantile(0.95)
    left = (population - size) / max(population - 1, 1)
    share = z * math.sqrt(0.25 / size * left)
    found = _evidence(signal)
    if found is None:
        return Width(signal, share)
    gold, version = found
    scale = Scale.of(signal)
    table = measuring.confusion_table(scale, pairing.read(dataset_version=gold, version=version).answered)
    plan = planning.labels_for_half_width(
        signal.trust_statistic,
        table,
        UNIT_WIDTH,
        scale=signal.scale,
        scores=measuring.scores_of(scale),
    )
    if plan.total is None:
        return Width(signal, share)
    half = UNIT_WIDTH * math.sqrt(plan.total / size)
    return Width(signal, share, half, signal.get_trust_statistic_display(), f"{version} on {gold}")


def _evidence(signal: Signal) -> tuple[DatasetVersion, ClassifierVersion] | None:
    """The gold that stands for a signal of categories and, of the versions that scored it, the one that scored last of the
    classifier that scores most: the one that stands for the signal on the overview, too."""
    if not signal.is_categorical:
        return None
    gold = standing.of(signal)
    if gold is None:
        return None
    said = Prediction.objects.filter(version=OuterRef("pk"), conversation__gold_rows__version=gold)
    versions = ClassifierVersion.objects.select_related("classifier__signal").filter(
        Exists(said), classifier__signal=signal
    )
    counted = PredictionRollup.objects.order_by().filter(version__classifier__signal=signal)
    work = dict(counted.values_list("version__classifier").annotate(n=Sum("count")))
    scored = versions.annotate(last=Max("rollups__day"))
    version = max(scored, key=lambda one: (work.get(one.classifier_id, 0), one.last or date.min, one.id), default=None)
    return None if version is None else (gold, version)
