"""Comparisons: two versions on the same gold, paired, with their tests and the answers that changed."""

from __future__ import annotations

import html
import json
import random
import re

import numpy as np
import pytest
from django.core.cache import cache
from django.db.models import F, OuterRef, Subquery
from django.test import Client
from scipy import stats

from calibration.errors import NotComparable
from calibration.evidence import comparing
from calibration.models import ClassifierVersion, FittedOn, Prediction
from calibration.stats import paired
from labeling.errors import Refused
from labeling.models import DatasetVersion, GoldRow, Signal
from tests.calibration.test_reports import rows_for
from tests.make import make_conversation, make_gold, make_signal, make_user, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def two_versions(signal: Signal) -> tuple[DatasetVersion, ClassifierVersion, ClassifierVersion]:
    a, b = make_version(signal, "a"), make_version(signal, "b")
    rng = random.Random(3)
    rows = rows_for(a, 300, 0.75, seed=9)
    for row in rows:
        said = row["said"][a]
        row["said"][b] = row["gold"] if rng.random() < 0.5 else said
    return make_gold(signal, rows), a, b


def test_a_comparison_is_paired() -> None:
    dataset_version, a, b = two_versions(make_signal())
    document = comparing.compare(dataset_version=dataset_version, a=a, b=b, by=["channel"])
    json.dumps(document, allow_nan=False)
    whole = document["rows"][0]
    assert whole["n"] == 300 and whole["kappa"]["difference"]["low"] > 0
    assert whole["kappa"]["difference"]["value"] == pytest.approx(
        whole["kappa"]["b"]["value"] - whole["kappa"]["a"]["value"]
    )
    assert whole["only_a_right"] == 0 and whole["p"] < 0.001
    assert document["sentence"].startswith("b is better than a: kappa rises by 0.1")
    assert whole["not_worse"]["passed"] and document["statement"].startswith(
        "b is at most 0.05 worse than a in kappa: the one-sided"
    )
    backwards = comparing.compare(dataset_version=dataset_version, a=b, b=a)
    assert not backwards["rows"][0]["not_worse"]["passed"]
    assert backwards["statement"].startswith("That a is at most 0.05 worse than b in kappa is not shown: ")
    wide = comparing.compare(dataset_version=dataset_version, a=b, b=a, margin=1.0)
    assert wide["rows"][0]["not_worse"]["passed"] and wide["margin"] == 1.0
    with pytest.raises(Refused):
        comparing.compare(dataset_version=dataset_version, a=b, b=a, margin=-0.1)
    assert backwards["sentence"].startswith("a is worse than b")
    assert all(change["better"] in ("right", "wrong", "neither") for change in document["changed"])


def test_of_many_slices_one_that_is_worse_by_chance_is_not_told_of() -> None:
    """b errs on forty units more of one cohort's hundred, and on eight of another's: that is worse at 95 %, but not of forty."""
    signal = make_signal()
    a, b = make_version(signal, "a"), make_version(signal, "b")
    rows, left = rows_for(a, 4000, 0.8, seed=9), {0: 40, 1: 8}
    for number, row in enumerate(rows):
        cohort, said = number % 40, row["said"][a]
        row["cohort"] = f"c{cohort:02d}"
        if said == row["gold"] and left.get(cohort, 0):
            left[cohort] -= 1
            said = "neutral" if said != "neutral" else "negative"
        row["said"][b] = row["gold"] if cohort > 20 else said
    gold = make_gold(signal, rows)
    document = comparing.compare(dataset_version=gold, a=a, b=b, by=["cohort"])
    alone = [
        row["slice"]["cohort"]
        for row in document["rows"][1:]
        if comparing.improvement("kappa", row["kappa"]["difference"]) == "worse"
    ]
    assert alone == ["c00", "c01"]
    assert [row["slice"] for row in document["rows"] if row["worse"]] == [{"cohort": "c00"}]
    assert document["sentence"].endswith(", but worse for c00 customers.")


def test_a_comparison_leads_to_the_answers_that_changed(client: Client) -> None:
    """Margins by Bhapkar on both versions' answers, and every number of changed answers opens just those conversations."""
    dataset_version, a, b = two_versions(make_signal())
    pairs = Prediction.objects.filter(version=a, conversation__predictions__version=b).values_list(
        "conversation__external_id", "value", "conversation__predictions__value"
    )
    values = ("negative", "neutral", "positive")
    counts = [[sum((was, now) == (x, y) for _, was, now in pairs) for y in values] for x in values]
    whole = comparing.compare(dataset_version=dataset_version, a=a, b=b)["rows"][0]
    assert whole["homogeneity"]["p"] == paired.bhapkar(counts).p and whole["homogeneity"]["df"] == 2
    changed = {name for name, was, now in pairs if was != now}
    assert whole["flipped"] == len(changed) > 0
    client.force_login(make_user("eve", role="engineer"))
    address = f"/classifiers/{a.classifier.slug}"
    page = client.get(f"{address}/compare/?by=channel").content.decode()
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*/items/[^"]*)"', page)]
    everything = client.get(links[0]).context["found"]
    assert everything.total == len(changed)
    assert all(unit.other.value != unit.prediction.value for unit in everything.units)
    one = next(link for link in links if "was=" in link)
    found = client.get(one).context["found"]
    asked = found.chosen
    assert 0 < found.total < len(changed)
    assert all(
        (unit.row.value, unit.other.value, unit.prediction.value) == (asked["gold"], asked["was"], asked["predicted"])
        for unit in found.units
    )
    assert client.get(f"{address}/compare/?margin=x").status_code == 422
    assert client.get(f"{address}/compare/?margin=-1").status_code == 422
    assert client.get(f"{links[0]}x").status_code == 404


def test_neither_version_is_compared_on_what_it_was_fitted_on() -> None:
    signal = make_signal()
    a, b = make_version(signal, "a"), make_version(signal, "b")
    rows = rows_for(a, 300, 0.75, seed=9)
    for number, row in enumerate(rows):
        row["said"][b] = row["gold"]
        row["conversation"] = make_conversation(texts=(f"Order {number} is late",), channel="chat")
    dataset_version = make_gold(signal, rows)
    homes = list(GoldRow.objects.filter(version=dataset_version).values_list("conversation_id", flat=True)[:60])
    FittedOn.objects.bulk_create(
        FittedOn(version=(a, b)[number % 2], conversation_id=home) for number, home in enumerate(homes)
    )
    document = comparing.compare(dataset_version=dataset_version, a=a, b=b)
    assert document["rows"][0]["n"] == 240


def rated(signal: Signal) -> tuple[DatasetVersion, ClassifierVersion, ClassifierVersion]:
    """Stars from 1 to 5: b is nearer to people on chat, and farther off on voice."""
    a, b = make_version(signal, "a", classifier="stars"), make_version(signal, "b", classifier="stars")
    rng = random.Random(4)
    rows = []
    for number in range(400):
        gold, channel = rng.uniform(1, 5), ("chat", "voice")[number % 2]
        far = {a: 0.6, b: 0.2 if channel == "chat" else 0.7}
        said = {
            one: min(max(gold + rng.choice((-1, 1)) * off * rng.uniform(0.5, 1.5), 1), 5) for one, off in far.items()
        }
        rows.append({"gold": gold, "channel": channel, "said": said})
    return make_gold(signal, rows, name="stars"), a, b


def test_versions_of_a_number_are_compared_by_their_errors(client: Client) -> None:
    signal = make_signal("stars", scale="interval", minimum=1, maximum=5)
    dataset_version, a, b = rated(signal)
    document = comparing.compare(dataset_version=dataset_version, a=a, b=b, by=["channel"])
    json.dumps(document, allow_nan=False)
    rows = {row["slice"].get("channel"): row for row in document["rows"]}
    plain = [
        abs(float(q) - gold) - abs(float(p) - gold)
        for gold, p, q in GoldRow.objects.filter(version=dataset_version, conversation__predictions__version=a)
        .filter(channel="chat")
        .annotate(
            p=F("conversation__predictions__number"),
            q=Subquery(
                Prediction.objects.filter(version=b, conversation=OuterRef("conversation")).values("number")[:1]
            ),
        )
        .values_list("number", "p", "q")
    ]
    chat = rows["chat"]["mae"]["difference"]
    assert rows["chat"]["n"] == len(plain) == 200
    low, high = stats.t.interval(0.95, len(plain) - 1, loc=np.mean(plain), scale=stats.sem(plain))
    assert (chat["value"], chat["low"], chat["high"]) == pytest.approx((np.mean(plain), low, high))
    assert chat["high"] < 0 and rows["voice"]["mae"]["difference"]["value"] > 0
    assert document["sentence"].startswith("b is better than a: mean absolute error falls by 0.1")
    client.force_login(make_user("eve", role="engineer"))
    page = client.get("/classifiers/stars/compare/?by=channel").content.decode()
    assert "b is better than a" in page and "mid-p" not in page


def test_a_version_is_not_compared_with_itself() -> None:
    dataset_version, a, _ = two_versions(make_signal())
    with pytest.raises(NotComparable, match="two different"):
        comparing.compare(dataset_version=dataset_version, a=a, b=a)
