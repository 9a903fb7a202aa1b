"""The statistics of agreement: pure functions over tables. No Django, no clock, no global random state.

`tables` is what goes in and `estimate` what comes out; `summary` is all that a report says about a table. The other
modules are imported by name.
"""

from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.human import ceiling, count_matrix, human_ac1, human_alpha
from calibration.stats.paired import difference, equivalence, mcnemar, non_inferiority
from calibration.stats.planning import labels_for_half_width
from calibration.stats.summary import Summary, estimate_all, summarise, summarise_all
from calibration.stats.tables import ConfusionTable, PairedTable, StratifiedTable, Stratum
from calibration.stats.verdicts import Verdict, pool

__all__ = [
    "ConfusionTable",
    "Estimate",
    "PairedTable",
    "StatisticsError",
    "StratifiedTable",
    "Stratum",
    "Summary",
    "Verdict",
    "ceiling",
    "count_matrix",
    "difference",
    "equivalence",
    "estimate_all",
    "human_ac1",
    "human_alpha",
    "labels_for_half_width",
    "mcnemar",
    "non_inferiority",
    "pool",
    "summarise",
    "summarise_all",
]
