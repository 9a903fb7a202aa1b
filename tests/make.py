"""Plain functions that make rows for tests; every argument has a default that works."""

from __future__ import annotations

import itertools
from typing import Any

from labeling.models import Category, Conversation, Guideline, Signal, User

_numbers = itertools.count(1)


def make_user(name: str | None = None, *, role: str = "annotator", password: str = "correct horse") -> User:
    return User.objects.create_user(username=name or f"user{next(_numbers)}", password=password, role=role)


def make_signal(
    slug: str = "sentiment", *, scale: str = "ordinal", values: tuple[str, ...] | None = None, **kw: Any
) -> Signal:
    """A signal with three categories scored -1, 0, 1 (or `values`), keys 1 to 9, and one guideline."""
    signal = Signal.objects.create(slug=slug, title=kw.pop("title", slug.title()), scale=scale, **kw)
    if scale != "interval":
        values = values or ("negative", "neutral", "positive")
        for position, value in enumerate(values):
            Category.objects.create(
                signal=signal,
                position=position,
                value=value,
                label=value.title(),
                key=str(position + 1)[-1:],
                score=position - 1,
            )
    Guideline.objects.create(signal=signal, version=1, text="Judge what the customer feels at the end.")
    return signal


def make_conversation(
    external_id: str | None = None, *, texts: tuple[str, ...] = ("My invoice is wrong", "Let me look"), **kw: Any
) -> Conversation:
    """A chat of alternating customer and agent turns."""
    number = next(_numbers)
    roles = itertools.cycle(("customer", "agent"))
    turns = kw.pop("turns", None) or [{"role": next(roles), "text": text} for text in texts]
    defaults = {"channel": "chat", "cohort": "enterprise", "customer": f"cu-{number}", "source": "test"}
    return Conversation.objects.create(
        external_id=external_id or f"c-{number}",
        turns=turns,
        turn_count=len(turns),
        content_sha256=f"{number:064x}",
        **(defaults | kw),
    )
