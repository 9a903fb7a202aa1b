"""Two freezes at the same moment, on PostgreSQL: each a whole version, with numbers one after the other."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from django.db import connections

from labeling import gold
from labeling.models import DatasetVersion, Label, Signal
from tests.make import make_conversation, make_signal, make_user

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
RULES = ("majority", "single", "adjudicated", "dawid-skene")


def test_freezes_at_once_get_numbers_one_after_the_other() -> None:
    signal, ann = make_signal(), make_user()
    for _ in range(50):
        Label.objects.create(conversation=make_conversation(), signal=signal, annotator=ann, value="neutral")
    ready = threading.Barrier(len(RULES))

    def freeze(rule: str) -> None:
        try:
            ready.wait()
            mine = Signal.objects.get(id=signal.id)
            gold.freeze(dataset="gold", signal=mine, aggregation=rule, now=datetime(2026, 3, 2, tzinfo=UTC))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=freeze, args=(rule,)) for rule in RULES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = list(DatasetVersion.objects.select_related("dataset__signal").order_by("number"))
    assert [version.number for version in versions] == list(range(1, len(RULES) + 1))
    assert all(
        version.frozen_at and version.rows.count() == 50 and gold.verify(version=version) for version in versions
    )
