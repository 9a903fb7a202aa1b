"""Where another version takes over: what that alone did to the charted number, by conversations that both scored.

It is read apart from the trend, since it looks at predictions themselves: a trend's page does not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from calibration import slices, volumes
from calibration.models import Classifier, ClassifierVersion
from calibration.moves import attribution, trends
from calibration.moves.attribution import Measure
from calibration.moves.periods import Days
from calibration.stats import attribution as stats
from calibration.stats.attribution import Comparison, Period, PeriodSlice, SliceMovement
from calibration.stats.estimate import Estimate
from labeling.models import Signal

WINDOW = timedelta(weeks=4)
"""How far from a change of versions conversations may serve as its bridge."""
SEED = 20


def read(*, signal: Signal, classifier: Classifier | None = None, value: str = "") -> dict[str, Any]:
    """Every change of versions in a trend, in order: `moved` by the upgrade alone, or the reason why nobody knows."""
    document = trends.read(signal=signal, classifier=classifier, value=value)
    chosen = classifier or attribution.classifier_of(signal)
    chart = attribution.measure_of(signal, value)
    versions = {version.version: version for version in volumes.versions_of(chosen)}
    served = document["versions"]
    ends = [date.fromisoformat(one["since"]) - timedelta(days=1) for one in served[2:]] + [date.max]
    changes = [
        _change(chart, (versions[old["version"]], versions[new["version"]]), date.fromisoformat(new["since"]), end)
        for (old, new), end in zip(pairwise(served), ends, strict=False)
    ]
    asked = {"signal": signal.slug, "classifier": chosen.slug, "measure": chart.name, "value": chart.value}
    return asked | {"changes": changes}


def _change(
    chart: Measure, versions: tuple[ClassifierVersion, ClassifierVersion], since: date, end: date
) -> dict[str, Any]:
    """One change of versions, bridged by what came after it, or else by what the new version made of the weeks before."""
    days = Days(since, min(end, since + WINDOW - timedelta(days=1)))
    both, found = _moved(chart, versions, days)
    if not found.defined:
        earlier = Days(since - WINDOW, since - timedelta(days=1))
        more, seen = _moved(chart, versions, earlier)
        days, both, found = (earlier, more, seen) if seen.defined else (days, both, found)
    old, new = versions
    return {
        "since": since.isoformat(),
        "from": old.version,
        "to": new.version,
        "period": str(days),
        "conversations": both,
        "moved": found.as_dict(),
    }


def _moved(chart: Measure, versions: tuple[ClassifierVersion, ClassifierVersion], days: Days) -> tuple[int, Estimate]:
    """How many conversations of these days both versions scored, and what the new one makes of them."""
    old, new = versions
    by = volumes.CORE
    rows = (
        attribution.numbers_said(by, new, days)
        if chart.numbers
        else volumes.read([new], by=by, since=days.first, until=days.last)
    )
    counts = attribution.predicted_by_place(chart, rows, new)
    bridge = attribution.bridge(chart, by, old, new, days, None)
    parts = tuple(_slice(place, counts[place], bridge) for place in sorted(counts))
    both = sum(sum(map(sum, band)) for bands in bridge.values() for band in bands)
    if not parts:
        return both, Estimate.undefined("no_items")
    asked = Comparison(
        signal=new.classifier.signal.slug,
        classifier=new.classifier.slug,
        measure=chart.name,
        categories=chart.categories,
        scores=chart.scores,
        before=Period(str(days), (old.version,)),
        after=Period(str(days), (new.version,)),
        slices=parts,
    )
    return both, stats.upgrade(asked, rng=np.random.default_rng(SEED))


def _slice(
    place: tuple[str, ...],
    counts: tuple[int, ...],
    bridge: Mapping[tuple[str, ...], Sequence[Sequence[Sequence[int]]]],
) -> SliceMovement:
    """The same volume on both sides: nothing but the version differs."""
    size = len(counts)
    blank = (tuple((0,) * size for _ in range(size)),)
    side = PeriodSlice((counts,), ())
    known = tuple(tuple(tuple(line) for line in band) for band in bridge.get(place, blank))
    return SliceMovement(slices.slice_of(volumes.CORE, place), side, side, bridge=known)
