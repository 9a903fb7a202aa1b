"""Two reviewers on the same unit at the same moment, on PostgreSQL: one decision holds, and the record says whose ended how."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections

from labeling import adjudication
from labeling.errors import Conflict
from labeling.models import Ruling, User
from tests.make import make_conversation, make_label, make_signal, make_user

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def unit() -> dict[str, Any]:
    signal, conversation = make_signal(), make_conversation()
    for name, value in (("ann", "negative"), ("ben", "positive")):
        make_label(conversation, signal, make_user(name), value)
    return {"signal": signal, "conversation": conversation, "now": NOW}


@pytest.fixture
def reviewers() -> list[User]:
    return [make_user(name, role="reviewer") for name in ("eva", "fay")]


def at_once(*acts: Callable[[], Ruling]) -> list[Ruling | Conflict]:
    """What each came to."""
    ready, came_to = threading.Barrier(len(acts)), {}

    def do(number: int) -> None:
        try:
            ready.wait()
            came_to[number] = acts[number]()
        except Conflict as refused:
            came_to[number] = refused
        finally:
            connections.close_all()

    threads = [threading.Thread(target=do, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [came_to[number] for number in range(len(acts))]


@pytest.mark.parametrize("_", range(5))
def test_one_of_two_withdraws(unit: dict[str, Any], reviewers: list[User], _: int) -> None:
    eva, fay = reviewers
    adjudication.rule(reviewer=eva, value="negative", reason="slip", **unit)
    told = at_once(*(lambda by=by: adjudication.withdraw(by=by, **unit) for by in (eva, fay)))  # type: ignore[misc]
    (withdrawn,) = [one for one in told if isinstance(one, Ruling)]
    assert Ruling.objects.get().withdrawn_by == withdrawn.withdrawn_by


@pytest.mark.parametrize("_", range(5))
def test_a_decision_holds_that_was_made_while_the_one_before_was_withdrawn(
    unit: dict[str, Any], reviewers: list[User], _: int
) -> None:
    eva, fay = reviewers
    first = adjudication.rule(reviewer=eva, value="negative", reason="slip", **unit)
    withdrawn, again = at_once(
        lambda: adjudication.withdraw(by=eva, ruling=first.id, **unit),
        lambda: adjudication.rule(reviewer=fay, value="neutral", reason="slip", **unit),
    )
    assert isinstance(again, Ruling) and Ruling.objects.get(superseded_at__isnull=True) == again
    first.refresh_from_db()
    assert first.withdrawn_by == (eva if isinstance(withdrawn, Ruling) else None)
