"""What a version was fitted on: those conversations, and others that say the same words under another name."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet

from calibration.models import ClassifierVersion, FittedOn
from labeling import bulk
from labeling.formats import gold as formats
from labeling.models import WHOLE, Conversation, GoldRow

SQL = (
    "(g.conversation_id IN (SELECT f.conversation_id FROM calibration_fittedon f WHERE f.version_id = %s) "
    f"OR (g.turn = {WHOLE} AND g.text_sha256 IN (SELECT l.text_sha256 FROM calibration_fittedon f "
    f"JOIN labeling_goldrow l ON l.conversation_id = f.conversation_id AND l.turn = {WHOLE} WHERE f.version_id = %s)))"
)
"""Whether the gold row `g` is one that a version was fitted on; the version's id stands in it twice."""


def any_of(versions: Collection[int]) -> set[int]:
    """Those of these versions that were fitted here."""
    return set(FittedOn.objects.filter(version__in=versions).values_list("version", flat=True).distinct())


def texts(version: ClassifierVersion | int) -> set[str]:
    """The hashes of whole conversations that a version was fitted on, as their gold has them."""
    learned = FittedOn.objects.filter(version=version).values("conversation")
    return set(GoldRow.objects.filter(conversation__in=learned, turn=WHOLE).values_list("text_sha256", flat=True))


def not_in(rows: QuerySet[GoldRow], version: ClassifierVersion) -> QuerySet[GoldRow]:
    """The gold rows that a version may be measured on: the rule of `SQL` for a query set."""
    learned = FittedOn.objects.filter(version=version)
    if not learned.exists():
        return rows
    homes = learned.values("conversation")
    same = GoldRow.objects.filter(conversation__in=homes, turn=WHOLE).values("text_sha256")
    return rows.exclude(conversation__in=homes).exclude(turn=WHOLE, text_sha256__in=same)


def among(version: ClassifierVersion | int, conversations: Collection[int]) -> set[int]:
    """Those of these conversations that a version was fitted on, by their name or by what is said in them."""
    found = FittedOn.objects.filter(version=version)
    if not conversations or not found.exists():
        return set()
    learned, known = texts(version), set(found.values_list("conversation_id", flat=True)) & set(conversations)
    for part in bulk.parts(sorted(set(conversations) - known) if learned else [], 500):
        for key, turns in Conversation.objects.filter(id__in=part).values_list("id", "turns"):
            if formats.text_sha256(turns, None) in learned:
                known.add(key)
    return known
