"""A gate over a simulated run: how often its conversations end as they should, by persona, as the candidate scores them.

Nobody has labelled these conversations, so the candidate's word counts only where it is trusted on the gold: an uncalibrated
judge fails, whatever it says. So does one that has drifted since: the gold tells of how it answered then.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from django.db.models import Q
from scipy import stats

from calibration import slices
from calibration.evidence import pairing, reports
from calibration.evidence.gate_checks import Check
from calibration.evidence.policies import Policy, Scenario
from calibration.models import ClassifierVersion, DriftFlag, Prediction
from calibration.stats.estimate import Estimate
from calibration.stats.intervals import wilson
from calibration.stats.verdicts import TRUSTED
from labeling.errors import Refused
from labeling.models import WHOLE, Conversation, DatasetVersion, Signal

PERSONA = "persona"
DRIFTED = (DriftFlag.Kind.SILENT_CHANGE, DriftFlag.Kind.AGREEMENT)
"""Flags that say of the classifier itself that it answers otherwise than it did."""
Place = tuple[tuple[str, str], ...]


def checks(
    policy: Policy, asked: Scenario, gold: DatasetVersion, version: ClassifierVersion, scenario: str
) -> list[Check]:
    """What a gate checks of a run. Refused where the run is not there, where nothing in it has a name that is sliced by,
    or where the value is no answer of the signal."""
    signal = gold.dataset.signal
    if signal.unit != Signal.Unit.CONVERSATION or signal.scale == Signal.Scale.MULTILABEL:
        raise Refused("other_signal", "a scenario is gated by one answer for each whole conversation", field="scenario")
    answers = set(signal.categories.values_list("value", flat=True))
    if asked.value not in answers:
        raise Refused("unknown_value", f"{asked.value!r} is none of {', '.join(sorted(answers))}", field="scenario")
    homes = list(
        Conversation.objects.filter(Q(source=scenario) | Q(attributes__scenario=scenario))
        .order_by("id")
        .values_list("id", "channel", "cohort", "customer", "attributes")
    )
    if not homes:
        raise Refused("unknown_scenario", f"no conversation is of the scenario {scenario!r}", field="scenario")
    known = {"channel", "cohort", PERSONA}.union(*(home[-1] or {} for home in homes))
    policy.check_known(asked.by, known, "the scenario")
    said = dict(
        Prediction.objects.filter(
            version=version, turn=WHOLE, status=Prediction.Status.OK, conversation__in=[home[0] for home in homes]
        ).values_list("conversation_id", "value")
    )
    counts: dict[Place, Counter[str]] = defaultdict(Counter)
    for home, channel, cohort, customer, attributes in homes:
        about = {**(attributes or {}), "channel": channel, "cohort": cohort, PERSONA: customer}
        for place in ((), *(((name, str(about.get(name) or "none")),) for name in asked.by)):
            counts[place]["all"] += 1
            counts[place]["answered"] += home in said
            counts[place]["hits"] += said.get(home) == asked.value
    for name in set(asked.by) - {PERSONA}:  # the persona is the customer, which is a key
        pairing.check_masked((name,), ((value,) for place in counts for of, value in place if of == name))
    return [_calibrated(gold, version), *(_share(asked, place, found) for place, found in sorted(counts.items()))]


def _calibrated(gold: DatasetVersion, version: ClassifierVersion) -> Check:
    document = reports.build(dataset_version=gold, classifier=version.classifier, versions=[version], by=())
    whole = next(row for row in document["rows"] if not row["slice"])
    bar = document["bar"]
    drifted = DriftFlag.objects.filter(version=version, kind__in=DRIFTED, state__in=DriftFlag.ACTIVE).first()
    holds = whole["verdict"] == TRUSTED and drifted is None
    value = whole.get(bar["statistic"]) or Estimate.undefined("no_items").as_dict()
    word = f"has drifted since it was measured (flag {drifted.id})" if drifted else f"is {whole['verdict']}"
    reason = "" if holds else f"it {word}: what it says of a scenario counts for nothing"
    name, text = "the judge of the scenario is trusted on the gold", f"≥ {bar['at_least']:g}"
    return Check(name, {}, bar["statistic"], text, value, None, holds, reason)


def _share(asked: Scenario, place: Place, found: Counter[str]) -> Check:
    """The share of all conversations of a slice; one without an answer is none that ended well."""
    n, hits, part = found["all"], found["hits"], dict(place)
    missing = n - found["answered"]
    share = wilson(hits, n)
    few = n < asked.min_n
    low, high = share.low or 0.0, share.high or 0.0
    p = float(stats.binom.sf(hits - 1, n, asked.at_least)) if asked.at_least < 1 else 1.0
    holds = not few and low >= asked.at_least
    reasons = [f"{n} conversations, {asked.min_n} are asked for"] if few else []
    if not few and not holds:
        reasons.append(
            "the interval spans the bar" if high >= asked.at_least else "the whole interval is below the bar"
        )
    if missing:
        reasons.append(f"{missing} without an answer")
    name, text = f"share of {asked.value} on {slices.words(part, 'the whole scenario')}", f"≥ {asked.at_least:g}"
    unproven = not holds and (few or high >= asked.at_least)
    return Check(name, part, "share", text, share.as_dict(), p, holds, "; ".join(reasons), unproven=unproven)
