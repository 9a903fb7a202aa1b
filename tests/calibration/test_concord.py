"""Agreement among a queue's people: two by two with intervals, over time, and who may see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from calibration import concord
from labeling.adjudication import Scope
from labeling.models import Label, Queue
from tests.make import make_label, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def queue() -> Queue:
    """Forty items over forty days; ann and ben agree on nine of ten, cleo on every second."""
    people = [make_user(name) for name in ("ann", "ben", "cleo")]
    signal = make_signal(values=("no", "yes"))
    made = make_queue("mood", items=40, overlap=3, members=people, signals=[signal])
    for number, item in enumerate(made.items.order_by("position")):
        value, other = ("no", "yes") if number % 2 else ("yes", "no")
        said = (value, other if number % 10 == 3 else value, other if number % 4 > 1 else value)
        for person, answer in zip(people, said, strict=True):
            at = START + timedelta(days=number)
            make_label(item.conversation, signal, person, answer, item=item, labeled_at=at)
    return made


def test_it_works(queue: Queue) -> None:
    (found,) = concord.read(Scope(queue=queue))
    pairs = {(one.first, one.second): one for one in found.pairs}
    assert pairs["ann", "ben"].same.value == pytest.approx(0.9)
    assert pairs["ann", "ben"].kappa.value == pytest.approx(0.8)
    assert pairs["ann", "cleo"].same.value == pytest.approx(0.5)
    kappa = pairs["ann", "cleo"].kappa
    assert kappa.low is not None and kappa.high is not None and kappa.low < 0 < kappa.high
    assert found.period == "week" and len(found.periods) == 6
    assert sum(one.units for one in found.periods) == 40
    assert all(one.guideline is None for one in found.periods)


def test_how_often_each_is_right(queue: Queue) -> None:
    """Ann and ben agree nine times of ten, cleo with either about every second: the model sides with the two."""
    (found,) = concord.read(Scope(queue=queue))
    right = {one.name: one for one in found.accuracies.people}
    assert list(right) == ["ann", "ben", "cleo"] and found.accuracies.units == 40
    assert min(right["ann"].accuracy, right["ben"].accuracy) > 0.85 > 0.65 > right["cleo"].accuracy
    assert all(one.labels == 40 and 0 < one.standard_error < 0.5 for one in right.values())


def test_two_people_cannot_tell_who_errs(queue: Queue) -> None:
    Label.objects.filter(annotator__username="cleo").update(superseded_at=START)
    (found,) = concord.read(Scope(queue=queue))
    assert found.accuracies == concord.Accuracies(reason="too_few_annotators")
    assert found.as_dict()["accuracies"] == {"value": None, "reason": "too_few_annotators"}


def test_numbers_have_no_share_that_is_right() -> None:
    people = [make_user(name) for name in ("ann", "ben", "cleo")]
    effort = make_signal("effort", scale="interval", values=())
    made = make_queue("effort", items=1, overlap=3, members=people, signals=[effort])
    item = made.items.get()
    for person in people:
        make_label(item.conversation, effort, person, "3", item=item)
    (found,) = concord.read(Scope(queue=made))
    assert found.accuracies.reason == "not_for_this_scale"


def test_few_days_are_shown_by_day(queue: Queue) -> None:
    from labeling.models import Item

    Item.objects.filter(position__gte=20).update(queue=make_queue(items=1))
    (found,) = concord.read(Scope(queue=queue))
    assert found.period == "day" and found.periods == []


def test_who_may_see_it(queue: Queue, client: Client) -> None:
    for name, role, page, api in (
        ("rita", "reviewer", 200, 200), ("ann", "", 403, 403), ("zoe", "annotator", 404, 404)
    ):  # fmt: skip
        client.force_login(make_user(name, role=role) if role else queue.members.get(username=name))
        response = client.get("/review/queue/mood/mixed/")
        assert response.status_code == page
        assert client.get("/api/v1/reviews/agreement/?queue=mood").status_code == api
        if page == 200:
            assert "Who agrees with whom" in response.content.decode()
            assert "Alpha over time" in response.content.decode()
            assert "How often each is right" in response.content.decode()
    client.force_login(make_user("eve", role="engineer"))
    (one,) = client.get("/api/v1/reviews/agreement/?queue=mood").json()["signals"]
    assert one["pairs"][0]["people"] == ["ann", "ben"] and one["pairs"][0]["kappa"]["low"] < 0.8
    assert [person["name"] for person in one["accuracies"]["people"]] == ["ann", "ben", "cleo"]
    assert client.get("/api/v1/reviews/agreement/").status_code == 422
