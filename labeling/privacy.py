"""Masking in this workspace: what is masked, what a conversation looks like then, and reading the original."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from labeling import personal
from labeling.errors import Forbidden, Refused
from labeling.models import Conversation, OriginalReading, Privacy, User
from labeling.models.privacy import MOST_WHAT
from labeling.personal import Mask

NOTHING = Mask()
TEXTS = ("attributes", "asr", "summary", "metadata")
WRITTEN = (*TEXTS, "comment", "rationale", "name", "events", "status")
"""Fields of rows in which people, models and traces say something; all others are keys, codes, numbers and times."""
YES = ("1", "true", "yes")


def setting() -> Privacy:
    """The workspace's choice; nothing is masked before somebody chose."""
    return Privacy.objects.filter(id=1).first() or Privacy(id=1)


def in_force() -> Mask:
    """What is masked now; one small query."""
    row = Privacy.objects.filter(id=1).values_list("masks", "region").first()
    return Mask(tuple(row[0]), row[1]) if row else NOTHING


@transaction.atomic
def change(*, masks: Sequence[str], region: str, originals_role: str, by: User) -> Privacy:
    """Choose what is masked from now on; what is stored and frozen stays as it is."""
    if not by.may("admin"):
        raise Forbidden("not_an_admin", "what is masked is for admins to choose")
    for kind in masks:
        if kind not in personal.KINDS:
            raise Refused("unknown_kind", f"{kind!r} is not one of {', '.join(personal.KINDS)}", field="masks")
    region = region.strip().upper()
    if region and region not in personal.REGIONS:
        raise Refused("unknown_region", f"{region!r} is no country of two letters with phone numbers", field="region")
    if originals_role not in User.Role.values:
        raise Refused(
            "unknown_role", f"{originals_role!r} is not one of {', '.join(User.Role.values)}", field="originals_role"
        )
    row = setting()
    row.masks = [kind for kind in personal.KINDS if kind in masks]
    row.region, row.originals_role, row.changed_by = region, originals_role, by
    row.save()
    return row


def shown(conversation: Conversation, mask: Mask) -> Conversation:
    """A copy of the conversation with its texts masked, for showing only; ids, channel, cohort and customer are keys and stay."""
    if not mask.kinds:
        return conversation
    masked = copy.copy(conversation)
    missing = conversation.get_deferred_fields()
    masked.turns = [mask.turn(turn) for turn in conversation.turns]
    for name in TEXTS:
        if name not in missing:
            setattr(masked, name, mask.data(getattr(conversation, name)))
    return masked


def shown_row(row: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """A row of the contract, or a span, as it may be seen: what somebody wrote is masked, its keys stay, as in `shown`."""
    if not mask.kinds:
        return dict(row)
    masked = {name: mask.data(value) if name in WRITTEN else value for name, value in row.items()}
    if "turns" in row:
        masked["turns"] = [mask.turn(turn) for turn in row["turns"]]
    return masked


def wants_originals(query: Mapping[str, str]) -> bool:
    """Whether a request says `originals=true`; without it everybody gets what is masked."""
    return query.get("originals", "").lower() in YES


def mask_of(*, originals: bool, reader: User | None, what: str, via: str) -> Mask:
    """What is masked of `what` for this call: nothing where the originals are asked for, which is recorded first; raises
    Forbidden for whoever may not have them."""
    if not originals:
        return in_force()
    record_reading(reader=reader, what=what, via=via)
    return NOTHING


def may_read_originals(reader: User) -> bool:
    return reader.may(setting().originals_role)


def told(mask: Mask, *, reader: User) -> dict[str, Any]:
    """What a page says of its masking: what is masked, whether it shows the original of something that is, and whether its
    reader may have that."""
    return {
        "masked": ", ".join(mask.kinds),
        "original": mask == NOTHING and bool(in_force().kinds),
        "may_unmask": bool(mask.kinds) and may_read_originals(reader),
    }


def record_reading(*, reader: User | None, what: str, via: str) -> None:
    """Let `reader` read the original of `what`, and keep that they did; raises Forbidden below the role.

    None is whoever runs commands on the machine itself.
    """
    if reader is not None and not may_read_originals(reader):
        raise Forbidden("masked", f"the original is for the role {setting().originals_role} and above")
    OriginalReading.objects.create(reader=reader, what=what[:MOST_WHAT], via=via)
