"""Signals from a document: all of it applies, or nothing, and no label is orphaned."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from labeling import signals
from labeling.errors import Refused
from labeling.models import Label, Queue, QueueSignal, Signal
from tests.make import make_conversation, make_user

pytestmark = pytest.mark.django_db


def entry(**fields: Any) -> dict[str, Any]:
    categories = [{"value": value, "key": value[0]} for value in ("bad", "fair", "good")]
    return {"slug": "mood", "scale": "ordinal", "categories": categories, "guideline": "Look at the end."} | fields


def label(value: str = "bad") -> None:
    Label.objects.create(
        conversation=make_conversation(), signal=Signal.objects.get(), annotator=make_user(), value=value
    )


def refused(**fields: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        signals.apply(document=[entry(**fields)])
    return caught.value


def test_it_works() -> None:
    assert signals.apply(document=[entry()]).created == ("mood",)
    assert [category.value for category in Signal.objects.get().categories.all()] == ["bad", "fair", "good"]
    assert signals.apply(document=[entry()]).unchanged == ("mood",)


def test_another_guideline_is_its_next_version() -> None:
    signals.apply(document=[entry()])
    assert signals.apply(document=[entry(guideline="Look at the whole.")]).updated == ("mood",)
    versions = Signal.objects.get().guidelines.values_list("version", "text")
    assert list(versions) == [(2, "Look at the whole."), (1, "Look at the end.")]


def test_nothing_applies_when_one_entry_is_wrong() -> None:
    with pytest.raises(Refused) as caught:
        signals.apply(document=[entry(), entry(slug="x", scale="loud"), entry(slug="y", trust={"at_least": 2})])
    assert [(error.line, error.field) for error in caught.value.errors] == [(2, "scale"), (3, "trust")]
    assert not Signal.objects.exists()


def test_a_used_category_stays_and_an_unused_one_may_go() -> None:
    signals.apply(document=[entry()])
    label("bad")
    two = entry()["categories"]
    assert refused(categories=two[1:]).field == "categories"
    signals.apply(document=[entry(categories=two[:2])])
    assert [category.value for category in Signal.objects.get().categories.all()] == ["bad", "fair"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scale": "nominal"}, "scale"),
        ({"unit": "turn"}, "unit"),
        ({"categories": entry()["categories"][::-1]}, "categories"),
    ],
)
def test_what_would_bend_the_meaning_of_labels_is_refused(change: dict[str, Any], field: str) -> None:
    signals.apply(document=[entry()])
    signals.apply(document=[entry(**change)])
    signals.apply(document=[entry()])
    label()
    found = refused(**change)
    assert (found.status, found.field) == (409, field)


def test_a_queue_holds_the_unit_too() -> None:
    signals.apply(document=[entry()])
    QueueSignal.objects.create(queue=Queue.objects.create(slug="q", title="q"), signal=Signal.objects.get())
    assert refused(unit="turn").field == "unit"


def test_the_ready_made_signals_apply() -> None:
    out = io.StringIO()
    call_command("signals", "apply", str(signals.READY_MADE), stdout=out)
    assert len(out.getvalue().splitlines()) == 6
    assert Signal.objects.get(slug="satisfaction").title == "CSAT proxy"
    assert not Signal.objects.filter(guidelines=None).exists()


def test_a_broken_file_is_refused_by_its_line(tmp_path: Path) -> None:
    file, errors = tmp_path / "signals.yaml", io.StringIO()
    file.write_text("- slug: a\n  title: [\n")
    with pytest.raises(SystemExit) as stopped:
        call_command("signals", "apply", str(file), stderr=errors)
    assert stopped.value.code == 1
    assert errors.getvalue().startswith(f"{file}:3: is not YAML")
