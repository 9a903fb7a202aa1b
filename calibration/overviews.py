"""What stands where: per signal the version in service, what it is worth on the newest gold, and what to do next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from django.db.models import Avg, Count, Max, Q, Sum

from calibration import volumes
from calibration.evidence import presenting, reports, sentences, standing
from calibration.models import Classifier, ClassifierVersion, DriftFlag, PredictionRollup
from calibration.stats.verdicts import MOST_LABELS, TRUSTED, UNPROVEN, UNTRUSTED
from labeling.models import DatasetVersion, Label, Signal

BY = ("channel", "cohort")
MOST_TASKS = 6
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One classifier on the newest gold of its signal; without gold or predictions it has no report."""

    signal: Signal
    classifier: Classifier
    version: ClassifierVersion | None
    gold: DatasetVersion | None = None
    document: dict[str, Any] | None = None
    rows: list[Row] = field(default_factory=list)
    flags: int = 0
    drifted: Sequence[DriftFlag] = ()
    """Active flags of the version in service: what was measured may no longer hold."""

    @property
    def statistic(self) -> str:
        return str(self.document["bar"]["statistic"]) if self.document else ""

    @property
    def bar(self) -> float:
        return float(self.document["bar"]["at_least"]) if self.document else 0.0

    @property
    def whole(self) -> Row | None:
        row = next((row for row in self.rows if not row["slice"]), None)
        return None if row is None else row | {"shown": row[self.statistic], "thin": presenting.thin(row)}

    @property
    def worst(self) -> Row | None:
        """The weakest slice with enough labels for a verdict."""
        worst = presenting.weakest(self.rows, self.statistic)
        return None if worst is None else worst | {"shown": worst[self.statistic]}

    @property
    def axis_low(self) -> float:
        return presenting.axis_low([row for row in self.rows if not row["slice"]], self.statistic)

    @property
    def open_slices(self) -> list[Row]:
        """Unproven slices of one dimension, or the whole where there is none."""
        alone = [row for row in self.rows if len(row["slice"]) == 1 and "channel" in row["slice"]]
        chosen = alone if len(alone) > 1 else [row for row in self.rows if not row["slice"]]
        return [row for row in chosen if row["verdict"] == UNPROVEN]

    @property
    def labels_needed(self) -> int | None:
        numbers: list[int | None] = [row["labels_needed"] for row in self.open_slices]
        known = [number for number in numbers if number is not None]
        return min(sum(known), MOST_LABELS) if len(known) == len(numbers) else None

    @property
    def trusted_everywhere(self) -> bool:
        """Every slice with enough labels for a verdict is trusted, and so is the whole."""
        whole = self.whole
        judged = [row for row in self.rows if row["reason"] != sentences.THIN]
        return whole is not None and bool(judged) and all(row["verdict"] == TRUSTED for row in [whole, *judged])


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do next: what, why, and where."""

    word: str
    what: str
    why: str
    action: str
    address: str


def classifiers() -> list[Entry]:
    """Every classifier, those of one signal together."""
    judged = Classifier.objects.filter(signal__measured=False)
    found = list(judged.select_related("signal").order_by("signal__slug", "slug"))
    gold = standing.newest()
    flags = _active_flags()
    served = versions_in_service(found)
    return [_entry(one, served.get(one.id), gold.get(one.signal_id), flags[one.id]) for one in found]


def signals(entries: Sequence[Entry]) -> list[Entry]:
    """One entry a signal: of the classifiers with a report, the one that scored most stands for it."""
    scored = volumes.scored()
    chosen: dict[int, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (-scored.get(entry.classifier.id, 0), entry.classifier.slug)):
        held = chosen.get(entry.signal.id)
        if held is None or (held.document is None and entry.document is not None):
            chosen[entry.signal.id] = entry
    return sorted(chosen.values(), key=lambda entry: (entry.document is None, entry.signal.title))


def versions_in_service(found: Sequence[Classifier]) -> dict[int, ClassifierVersion]:
    """Classifier → the version in service now.

    A classifier whose predictions have no days gives the one with most of them; one without any, its newest version.
    """
    versions = ClassifierVersion.objects.filter(classifier__in=found).select_related("classifier__signal")
    known = {version.id: version for version in versions.order_by("id")}
    answer = {version.classifier_id: version for version in known.values()}
    undated = PredictionRollup.objects.filter(version__in=known, day__isnull=True).values("version")
    most: dict[int, int] = {}
    for row in undated.annotate(n=Sum("count")).order_by("n", "version"):
        most[known[row["version"]].classifier_id] = row["version"]
    newest = dict(
        PredictionRollup.objects.filter(version__in=known, day__isnull=False)
        .values_list("version__classifier")
        .annotate(day=Max("day"))
        .order_by()
    )
    if newest:
        rows = volumes.read(known.values(), since=min(newest.values()) - volumes.RECENT + timedelta(days=1))
        for classifier in newest:
            serving = volumes.serving([row for row in rows if known[row.version].classifier_id == classifier])
            if serving is not None:
                most[classifier] = serving
    return answer | {classifier: known[version] for classifier, version in most.items()}


def _active_flags() -> dict[int, list[DriftFlag]]:
    """Classifier → its active flags."""
    flags: dict[int, list[DriftFlag]] = defaultdict(list)
    for flag in DriftFlag.objects.filter(state__in=DriftFlag.ACTIVE).select_related("version"):
        flags[flag.version.classifier_id].append(flag)
    return flags


def _entry(
    one: Classifier, version: ClassifierVersion | None, gold: DatasetVersion | None, flags: Sequence[DriftFlag]
) -> Entry:
    drifted = [flag for flag in flags if flag.version == version]
    if version is None or gold is None:
        return Entry(one.signal, one, version, gold, flags=len(flags), drifted=drifted)
    document = reports.build(dataset_version=gold, classifier=one, versions=[version], by=BY)
    return Entry(one.signal, one, version, gold, document, document["rows"], len(flags), drifted)


def sentence(entries: Sequence[Entry]) -> list[sentences.Clause]:
    """What can be trusted wherever it is used, what fails where, what has drifted since it was measured, what is unproven."""
    judged = [entry for entry in entries if entry.document is not None]
    if not judged:
        return []
    good = [entry for entry in judged if entry.trusted_everywhere and not entry.drifted]
    bad = [entry for entry in judged if any(row["verdict"] == UNTRUSTED for row in entry.rows)]
    drifted = [entry for entry in judged if entry.drifted and entry.whole and entry.whole["verdict"] == TRUSTED]
    drifted = [entry for entry in drifted if entry not in bad]
    made = [sentences.Clause(TRUSTED if good else UNPROVEN, _good(good, judged))] if judged != drifted[:1] else []
    made += [sentences.Clause(UNTRUSTED, _fails(entry)) for entry in bad[:3]]
    if len(bad) > 3:
        made.append(sentences.Clause(UNTRUSTED, f"{len(bad) - 3} more fail somewhere"))
    made += [sentences.Clause(UNTRUSTED, _drifted(entry)) for entry in drifted[:3]]
    if len(drifted) > 3:
        made.append(sentences.Clause(UNTRUSTED, f"{len(drifted) - 3} more have drifted"))
    rest = [entry for entry in judged if entry not in (*good, *bad, *drifted)]
    made += [sentences.Clause(UNPROVEN, _unproven(entry)) for entry in rest[:3]]
    if len(rest) > 3:
        made.append(sentences.Clause(UNPROVEN, f"{len(rest) - 3} more are unproven somewhere"))
    return made


def _unproven(entry: Entry) -> str:
    """Trusted as a whole but not yet in its weakest slice; or not even as a whole."""
    open_ones = [row for row in entry.rows if row["slice"] and row["verdict"] == UNPROVEN]
    told = [row for row in open_ones if row["reason"] != sentences.THIN and row[entry.statistic]["value"] is not None]
    if entry.whole is None or entry.whole["verdict"] != TRUSTED or not told:
        return f"{entry.signal.title} is unproven"
    weakest = min(told, key=lambda row: row[entry.statistic]["low"])
    return f"{entry.signal.title} is trusted as a whole, unproven {sentences.slice_in_words(weakest['slice'])}"


def _drifted(entry: Entry) -> str:
    """Trusted on its gold, which is of the past: flags that are open say that it may not be so today."""
    since = min(flag.since or flag.raised_at.date() for flag in entry.drifted)
    many = len(entry.drifted)
    flags = "a drift flag is" if many == 1 else f"{many} drift flags are"
    whole = "" if entry.trusted_everywhere else " as a whole"
    return f"{entry.signal.title} was trusted{whole} when it was measured, but {flags} open on it since {since:%-d %B}"


def _good(good: Sequence[Entry], judged: Sequence[Entry]) -> str:
    if not good:
        return "no signal can be trusted wherever it is used yet"
    if len(good) == len(judged):
        return (
            "every signal can be trusted wherever it is used"
            if len(judged) > 1
            else f"{good[0].signal.title} can be trusted wherever it is used"
        )
    names = sentences.listed([entry.signal.title for entry in good[:3]])
    if len(good) > 3:
        return f"{len(good)} of {len(judged)} signals can be trusted wherever they are used"
    return f"only {names} can be trusted wherever {'it is' if len(good) == 1 else 'they are'} used"


def _fails(entry: Entry) -> str:
    untrusted = [row for row in entry.rows if row["verdict"] == UNTRUSTED]
    if any(not row["slice"] for row in untrusted):
        return f"{entry.signal.title} fails"
    worst = min(untrusted, key=lambda row: row[entry.statistic]["value"])
    return f"{entry.signal.title} fails {sentences.slice_in_words(worst['slice'])}"


def tasks(entries: Sequence[Entry]) -> list[Task]:
    """What to do next, the gravest first: flags, then the verdicts that the fewest labels would settle, then gold."""
    pace = _pace()
    return [*_flag_tasks(), *_label_tasks(entries, pace), *_gold_tasks(entries)][:MOST_TASKS]


def _flag_tasks() -> list[Task]:
    flags = DriftFlag.objects.filter(state=DriftFlag.State.OPEN).select_related("version__classifier")[:3]
    return [
        Task(
            UNTRUSTED,
            f"Look into {flag.version} {sentences.slice_in_words(flag.slice) if flag.slice else 'as a whole'}",
            f"{flag.get_kind_display().lower()}, raised {flag.raised_at:%-d %B}",
            "Open",
            f"/drift/#flag-{flag.id}",
        )
        for flag in flags
    ]


def _label_tasks(entries: Sequence[Entry], pace: dict[int, float]) -> list[Task]:
    wanted = [(row["labels_needed"], entry, row) for entry in entries for row in entry.open_slices]
    settled = sorted(((n, e, r) for n, e, r in wanted if n and n <= presenting.SOON), key=lambda one: one[0])
    made = []
    for number, entry, row in settled[:3]:
        where = f"{sentences.slice_name(row['slice'])} " if row["slice"] else ""
        seconds = pace.get(entry.signal.id)
        why = f"about {_duration(number * seconds)} for one person" if seconds else "would settle its verdict"
        address = presenting.draw_address(entry.signal.slug, number, row["slice"])
        what = f"Label {number:,} {where}item{'s' if number != 1 else ''} for {entry.signal.title}"
        made.append(Task(UNPROVEN, what, why, "Draw", address))
    return made


def _gold_tasks(entries: Sequence[Entry]) -> list[Task]:
    made = []
    for entry in entries:
        if entry.gold is not None and entry.gold.unresolved_count:
            what = f"Settle {entry.gold.unresolved_count:,} open units of {entry.signal.title}"
            made.append(Task(UNPROVEN, what, f"people disagree; {entry.gold} leaves them out", "Review", "/review/"))
    frozen = {entry.signal.id for entry in entries if entry.gold is not None}
    counts = Label.objects.filter(superseded_at__isnull=True).exclude(signal__in=frozen)
    for slug, title, n in (
        counts.values_list("signal__slug", "signal__title").annotate(n=Count("id")).order_by("-n")[:3]
    ):
        address = f"/datasets/?signal={quote(slug)}"
        made.append(
            Task(
                UNPROVEN,
                f"Freeze gold for {title}",
                f"{n:,} label{'s are' if n != 1 else ' is'} in no dataset yet",
                "Freeze",
                address,
            )
        )
    return made


def _pace() -> dict[int, float]:
    """Signal → mean seconds a label, where they are known."""
    timed = Label.objects.filter(Q(seconds__gt=0) & Q(seconds__lt=600)).values_list("signal")
    return dict(timed.annotate(seconds=Avg("seconds")).order_by())


def _duration(seconds: float) -> str:
    minutes = max(round(seconds / 60), 1)
    return f"{minutes} minute{'s' if minutes != 1 else ''}" if minutes < 90 else f"{minutes / 60:.0f} hours"
