"""One customer's journey across channels: contacts, surveys and events in order, and what the way to a resolution cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.db.models import Q

from calibration import overviews, reading
from calibration.evidence import reports, standing
from calibration.models import Classifier, Outcome, Prediction
from calibration.stats.verdicts import TRUSTED, UNPROVEN, UNTRUSTED
from labeling import blindness, privacy
from labeling.errors import NotFound
from labeling.models import WHOLE, Conversation, Label, Ruling, Signal, User
from labeling.values import Scale

MOST_CONTACTS = 200
RESOLUTION, EFFORT = "resolution", "effort"
RESOLVED = "resolved"
SURVEYS = (Outcome.Kind.CSAT, Outcome.Kind.NPS, Outcome.Kind.CES)
PREFERENCE = {TRUSTED: 0, UNPROVEN: 1, UNTRUSTED: 2}


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of one signal of a contact: people's answer where there is one, else the best proven version's."""

    signal: Signal
    value: Any = None
    by: str = ""
    of_people: bool = False
    verdict: str = ""
    hidden: bool = False

    @property
    def text(self) -> str:
        return reading.in_words(self.value)


@dataclass(frozen=True, slots=True)
class Contact:
    """One conversation of the journey."""

    number: int
    at: datetime | None
    channel: str
    external_id: str
    text: str
    cohort: str
    readings: list[Reading]
    switched: bool = False
    resolved: bool | None = None
    effort: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A survey answer or something that happened, after the contact that it belongs to."""

    at: datetime | None
    kind: str
    text: str
    survey: bool


@dataclass(frozen=True, slots=True)
class Episode:
    """Contacts in a row up to the one that resolved the matter; the last one may still be open."""

    contacts: int
    resolved: bool


@dataclass(frozen=True, slots=True)
class Journey:
    """Everything the page shows of one customer."""

    customer: str
    contacts: list[Contact]
    events: list[Event]
    steps: list[Contact | Event] = field(default_factory=list)
    left_out: int = 0
    has_resolution: bool = False
    has_effort: bool = False

    @property
    def switches(self) -> int:
        """How often a contact came through another channel than the one before it."""
        return sum(contact.switched for contact in self.contacts)

    @property
    def channels(self) -> list[str]:
        return list(dict.fromkeys(contact.channel for contact in self.contacts))

    @property
    def episodes(self) -> list[Episode]:
        """Contacts until a resolution, once for each resolution; what is not judged does not resolve."""
        found, waiting = [], 0
        for contact in self.contacts:
            waiting += 1
            if contact.resolved:
                found.append(Episode(waiting, True))
                waiting = 0
        return [*found, Episode(waiting, False)] if waiting else found

    @property
    def unjudged(self) -> int:
        """Contacts of which nobody has said whether they resolved anything."""
        return sum(contact.resolved is None for contact in self.contacts)

    @property
    def efforts(self) -> list[tuple[int, float]]:
        return [(contact.number, contact.effort) for contact in self.contacts if contact.effort is not None]

    @property
    def mean_effort(self) -> float | None:
        known = [effort for _, effort in self.efforts]
        return sum(known) / len(known) if known else None

    @property
    def sources(self) -> dict[str, int]:
        """How many readings are people's, and how many each version's."""
        told = (one for contact in self.contacts for one in contact.readings if not one.hidden)
        return dict(Counter("people" if one.of_people else one.by for one in told).most_common())

    @property
    def sentence(self) -> str:
        return sentence(self)


def read(*, customer: str, reader: User) -> Journey:
    """The journey as `reader` may see it: answers to questions that they may still be asked stay hidden."""
    found = Conversation.objects.filter(customer=customer).order_by("started_at", "id") if customer else None
    total = found.count() if found is not None else 0
    conversations = list(found[max(total - MOST_CONTACTS, 0) :]) if found is not None and total else []
    mine = Q(customer=customer) | Q(conversation__customer=customer)
    outcomes = (
        list(Outcome.objects.filter(mine).select_related("conversation").order_by("at", "id")) if customer else []
    )
    if not conversations and not outcomes:
        raise NotFound("unknown_customer", f"nothing is known of a customer {customer!r}", field="customer")
    readings = _readings(conversations, reader)
    contacts = _contacts(conversations, readings)
    events = [_event(one) for one in outcomes]
    signals = set(Signal.objects.filter(slug__in=(RESOLUTION, EFFORT)).values_list("slug", flat=True))
    return Journey(
        customer, contacts, events, _in_order(contacts, events), total - len(conversations),
        RESOLUTION in signals, EFFORT in signals,
    )  # fmt: skip


def sentence(journey: Journey) -> str:
    """What the way to a resolution was, in one sentence."""
    contacts = len(journey.contacts)
    if not contacts:
        return f"{_many(len(journey.events), 'survey answer or event', 'survey answers and events')}, no conversation."
    through = f", through {_many(len(journey.channels), 'channel')}" if len(journey.channels) > 1 else ""
    switches = f" with {_many(journey.switches, 'change')} of channel" if journey.switches else ""
    episodes = journey.episodes
    solved = [one for one in episodes if one.resolved]
    if not journey.has_resolution or journey.unjudged == contacts:
        return f"{_many(contacts, 'contact')}{through}{switches}; nobody has judged whether the matter was resolved."
    if not solved:
        return f"Not resolved after {_many(contacts, 'contact')}{switches}."
    if len(solved) == 1 and episodes[-1].resolved:
        return f"Resolved at contact {solved[0].contacts} of {contacts}{switches}."
    needed = sum(one.contacts for one in solved) / len(solved)
    times = {1: "once", 2: "twice"}.get(len(solved), f"{len(solved)} times")
    text = f"Resolved {times}, after {needed:.1f} contacts each on average{switches}"
    if len(solved) == 1:
        text = f"Resolved at contact {solved[0].contacts}{switches}"
    return text + ("." if episodes[-1].resolved else f"; open since, {_many(episodes[-1].contacts, 'contact')} later.")


def _many(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _contacts(conversations: Sequence[Conversation], readings: Mapping[int, list[Reading]]) -> list[Contact]:
    contacts, mask = [], privacy.in_force()
    for number, one in enumerate(conversations, 1):
        known = {each.signal.slug: each for each in readings.get(one.id, []) if not each.hidden}
        contact = Contact(
            number, one.started_at, one.channel, one.external_id, reading.gist(one.summary, one.turns, mask), one.cohort,
            readings.get(one.id, []), resolved=_resolved(known.get(RESOLUTION)), effort=_effort(known.get(EFFORT)),
        )  # fmt: skip
        contacts.append(contact)
    return contacts[:1] + [
        replace(after, switched=after.channel != before.channel) for before, after in pairwise(contacts)
    ]


def _resolved(one: Reading | None) -> bool | None:
    """Whether a contact settled the matter: the category `resolved`, or the highest of the scale where it has none."""
    if one is None or one.value is None:
        return None
    categories = list(one.signal.categories.all())
    values = [category.value for category in categories]
    if RESOLVED in values or not values:
        return bool(one.value == RESOLVED)
    return bool(one.value == max(categories, key=lambda each: (each.score or 0.0, each.position)).value)


def _effort(one: Reading | None) -> float | None:
    if one is None or one.value is None:
        return None
    if isinstance(one.value, int | float):
        return float(one.value)
    return next((category.score for category in one.signal.categories.all() if category.value == one.value), None)


def _event(one: Outcome) -> Event:
    survey = one.kind in SURVEYS
    return Event(one.at, "survey" if survey else "event", reading.outcome_text(one), survey)


def _in_order(contacts: Sequence[Contact], events: Sequence[Event]) -> list[Contact | Event]:
    """By time; what has none comes last."""
    steps: list[Contact | Event] = [*contacts, *events]
    timed = [step for step in steps if step.at is not None]
    return sorted(timed, key=lambda step: step.at.timestamp() if step.at else 0.0) + [s for s in steps if s.at is None]


def _readings(conversations: Sequence[Conversation], reader: User) -> dict[int, list[Reading]]:
    """Conversation → a reading for each signal that anybody has judged of it; few queries, however many they are."""
    ids = [one.id for one in conversations]
    closed = blindness.open_questions(reader=reader, conversations=ids)
    said = _predictions(ids)
    told = _people(ids)
    signals = _signals({signal for _, signal in told} | {one.version.classifier.signal_id for one in said})
    scales = {key: Scale.of(signal) for key, signal in signals.items()}
    verdicts = _verdicts({one.version.classifier_id: one.version.classifier for one in said}.values(), conversations)
    best: dict[tuple[int, int], tuple[tuple[int, int], Prediction, str]] = {}
    for one in said:
        verdict = verdicts.get((one.version_id, one.conversation_id), "")
        rank = (PREFERENCE.get(verdict, 3), -one.version_id)
        key = (one.conversation_id, one.version.classifier.signal_id)
        if key not in best or rank < best[key][0]:
            best[key] = (rank, one, verdict)
    found: dict[int, list[Reading]] = defaultdict(list)
    for key in sorted({*told, *best}, key=lambda key: (key[0], signals[key[1]].title)):
        conversation, signal = key
        if key in closed:
            found[conversation].append(Reading(signals[signal], hidden=True))
        elif key in told:
            value, by = told[key]
            found[conversation].append(Reading(signals[signal], scales[signal].decode(value), by, of_people=True))
        else:
            _, one, verdict = best[key]
            value = scales[signal].decode(one.value or "")
            found[conversation].append(Reading(signals[signal], value, str(one.version), verdict=verdict))
    return found


def _signals(ids: Iterable[int]) -> dict[int, Signal]:
    return Signal.objects.prefetch_related("categories").in_bulk(list(ids))


def _predictions(ids: Sequence[int]) -> list[Prediction]:
    """Answers for whole conversations, with their versions."""
    rows = Prediction.objects.filter(conversation__in=ids, turn=WHOLE, value__isnull=False)
    return list(rows.select_related("version__classifier__signal").defer("rationale", "probabilities", "metadata"))


def _people(ids: Sequence[int]) -> dict[tuple[int, int], tuple[str, str]]:
    """(conversation, signal) → what people say of it and how it was decided: a ruling, else the plain majority."""
    votes: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    current = Label.objects.filter(conversation__in=ids, turn=WHOLE, superseded_at__isnull=True)
    for conversation, signal, value in current.values_list("conversation_id", "signal_id", "value"):
        votes[conversation, signal][value] += 1
    found = {}
    for key, counted in votes.items():
        ranked = counted.most_common(2)
        if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
            found[key] = (ranked[0][0], f"{ranked[0][1]} of {counted.total()} people")
    rulings = Ruling.objects.filter(conversation__in=ids, turn=WHOLE, superseded_at__isnull=True)
    for conversation, signal, value in rulings.values_list("conversation_id", "signal_id", "value"):
        found[conversation, signal] = (value, "adjudicated")
    return found


def _verdicts(classifiers: Iterable[Classifier], conversations: Sequence[Conversation]) -> dict[tuple[int, int], str]:
    """(version, conversation) → the version's verdict in the slice of that conversation."""
    gold = standing.newest()
    found: dict[tuple[int, int], str] = {}
    for classifier in classifiers:
        version = gold.get(classifier.signal_id)
        if version is None:
            continue
        document = reports.build(dataset_version=version, classifier=classifier, by=overviews.BY)
        names = dict(classifier.versions.values_list("version", "id"))
        by_version: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in document["rows"]:
            by_version[row["version"]].append(row)
        for name, rows in by_version.items():
            for one in conversations:
                found[names[name], one.id] = reading.row_here(one, rows)["verdict"]
    return found
