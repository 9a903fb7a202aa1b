"""The statistics of agreement: pure functions over tables. No Django, no clock, no global random state.

`tables` is what goes in and `estimate` what comes out; `summary` is all that a report says about a table. The other
modules are imported by name.
"""

from calibration.stats.alt_test import alternative_annotator
from calibration.stats.attribution import Attribution, Comparison, Period, PeriodSlice, SliceMovement, attribute
from calibration.stats.drift import Block, Day, Drift, agreement_monitor, canary_monitor, e_bh, mix_monitor
from calibration.stats.estimate import Estimate, StatisticsError
from calibration.stats.human import ceiling, count_matrix, human_ac1, human_alpha, multilabel_alpha
from calibration.stats.outcomes import ces, csat, nps, response_bias, transcription_trend, word_error_rate
from calibration.stats.paired import difference, equivalence, mcnemar, non_inferiority
from calibration.stats.planning import labels_for_half_width
from calibration.stats.summary import Summary, estimate_all, summarise, summarise_all
from calibration.stats.tables import ConfusionTable, PairedTable, StratifiedTable, Stratum
from calibration.stats.trends import SliceScores, SliceShares, corrected_shares, mean_trend, old_gold_shares
from calibration.stats.verdicts import Verdict, pool

__all__ = [
    "Attribution",
    "Block",
    "Comparison",
    "ConfusionTable",
    "Day",
    "Drift",
    "Estimate",
    "PairedTable",
    "Period",
    "PeriodSlice",
    "SliceMovement",
    "SliceScores",
    "SliceShares",
    "StatisticsError",
    "StratifiedTable",
    "Stratum",
    "Summary",
    "Verdict",
    "agreement_monitor",
    "alternative_annotator",
    "attribute",
    "canary_monitor",
    "ceiling",
    "ces",
    "corrected_shares",
    "count_matrix",
    "csat",
    "difference",
    "e_bh",
    "equivalence",
    "estimate_all",
    "human_ac1",
    "human_alpha",
    "labels_for_half_width",
    "mcnemar",
    "mean_trend",
    "mix_monitor",
    "multilabel_alpha",
    "non_inferiority",
    "nps",
    "old_gold_shares",
    "pool",
    "response_bias",
    "summarise",
    "summarise_all",
    "transcription_trend",
    "word_error_rate",
]
