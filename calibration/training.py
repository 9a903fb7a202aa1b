"""Fitting a classifier of the house on one gold dataset version, pinned by what it learned.

What a version was fitted on is written down: it is never scored there, and no report measures it there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from calibration import classifiers
from calibration.errors import NotComparable
from calibration.evaluators.base import READS, Text
from calibration.evaluators.trained import Settings, learn
from calibration.models import Artefact, Classifier, ClassifierVersion, FittedOn
from labeling.errors import Conflict, Refused
from labeling.models import Conversation, DatasetVersion, GoldRow
from labeling.values import Scale

KIND = "trained"
LEAST_UNITS = 20
MOST_UNITS = 50_000
"""What a request or a page may ask for at once; the command has no limit."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A version that was fitted: on how many units, and how many of the gold were held out for measuring it."""

    version: ClassifierVersion
    units: int
    held_out: int


def fit(
    *,
    dataset_version: DatasetVersion,
    classifier: str,
    version: str,
    held_out: float = 0.25,
    seed: int = 1,
    settings: Settings | None = None,
    reads: str = "customer",
    most: int | None = None,
) -> Fitted:
    """Learn the signal of a gold version and register what was learned as `classifier@version`.

    `held_out` is the share of its conversations that is not learned from, so that the same gold can measure the version;
    which ones follows from `seed` and their texts, so that equal texts lie on one side. `reads` says what is read of a
    conversation (see READS). The same call again gives the same hash.
    """
    settings = settings or Settings()
    scale = Scale.of(dataset_version.dataset.signal)
    _check(scale, held_out, settings, reads)
    if ClassifierVersion.objects.filter(classifier__slug=classifier, version=version).exists():
        raise Conflict(
            "version_is_pinned", f"{classifier}@{version} exists and is pinned: choose another name", field="version"
        )
    rows = list(_resolved(dataset_version))
    if most is not None and len(rows) > most:
        raise Refused(
            "too_many_units", f"{dataset_version} has {len(rows)} units: fit it with the command", field="dataset"
        )
    learned = [row for row in rows if not _held_out(row, held_out, seed)]
    if len(learned) < LEAST_UNITS:
        raise NotComparable(
            "too_few_items",
            f"{len(learned)} units are too few to learn from; {LEAST_UNITS} are needed",
            field="dataset",
        )
    texts = [_text(row).read(reads) for row in learned]
    body = learn(texts, [str(row.value) for row in learned], scale, settings).pack()
    content: dict[str, object] = {
        "kind": KIND,
        "model": "tf-idf + logistic regression",
        "parameters": {
            "artefact_sha256": hashlib.sha256(body).hexdigest(),
            "dataset": str(dataset_version),
            "dataset_sha256": dataset_version.sha256,
            "held_out": held_out,
            "seed": seed,
            "reads": reads,
            "units": len(learned),
        },
        "note": f"Fitted on {len(learned)} of {len(rows)} units of {dataset_version}",
    }
    with transaction.atomic():
        made = _register(dataset_version, classifier, version, content, body)
        FittedOn.objects.bulk_create(
            [FittedOn(version=made, conversation_id=key) for key in sorted({row.conversation_id for row in learned})],
            batch_size=5000,
        )
    return Fitted(made, len(learned), len(rows) - len(learned))


def _check(scale: Scale, held_out: float, settings: Settings, reads: str) -> None:
    if scale.kind == "interval":
        raise NotComparable(
            "interval_signal", "a number has no categories to learn; only categories and labels have", field="dataset"
        )
    if not 0 <= held_out < 1:
        raise Refused("bad_share", f"{held_out} is no share from 0 to below 1", field="held_out")
    if settings.analyzer not in ("word", "char"):
        raise Refused("bad_analyzer", f"{settings.analyzer!r} is neither word nor char", field="analyzer")
    if not 0 < settings.strength <= 1e6:
        raise Refused("bad_strength", f"{settings.strength} is no strength between 0 and 1,000,000", field="strength")
    if reads not in READS:
        raise Refused("bad_reads", f"{reads!r} is none of {', '.join(READS)}", field="reads")


def _resolved(dataset_version: DatasetVersion) -> QuerySet[GoldRow]:
    rows = GoldRow.objects.filter(version=dataset_version, value__isnull=False).select_related("conversation")
    return rows.order_by("position")


def _held_out(row: GoldRow, share: float, seed: int) -> bool:
    """Whether a unit is kept for measuring: by the hash of its conversation's words, the same for equal conversations."""
    words = "\n".join(str(turn.get("text", "")) for turn in row.turns)
    digest = hashlib.sha256(f"{seed}|{words}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _text(row: GoldRow) -> Text:
    """What was frozen, not what the conversation has become since; transcript and summary are of the conversation."""
    home: Conversation = row.conversation
    return Text(turns=row.turns, turn=row.turn, channel=row.channel, summary=home.summary, asr=home.asr or {})


def _register(
    dataset_version: DatasetVersion, slug: str, version: str, content: dict[str, object], body: bytes
) -> ClassifierVersion:
    signal = dataset_version.dataset.signal
    if not classifiers.SLUG.match(slug):
        raise Refused(
            "bad_classifier", f"{slug!r} is no name of a classifier: letters, digits, - _ and .", field="classifier"
        )
    home, _ = Classifier.objects.get_or_create(slug=slug, defaults={"title": slug, "signal": signal})
    if home.signal_id != signal.id:
        raise Conflict("other_signal", f"{slug} scores {home.signal.slug}, not {signal.slug}", field="classifier")
    sha256 = hashlib.sha256(body).hexdigest()
    Artefact.objects.get_or_create(sha256=sha256, defaults={"body": body})
    made, _ = classifiers.register(classifier=home, version=version, content=content)
    return made
