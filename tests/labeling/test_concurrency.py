"""Sixteen people at once on PostgreSQL: nothing taken twice, nothing lost, also when the server is killed on the way."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from labeling import labels, leasing, tokens
from labeling.models import CheckAnswer, Conversation, Item, Label, Queue, Slot, Submission, User
from tests.make import make_known, make_queue, make_signal, make_user

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
PEOPLE = 16
ROOT = Path(__file__).resolve().parent.parent.parent


def full_queue(people: list[User], *, items: int, overlap: int) -> Queue:
    """A queue of many items, written in bulk."""
    queue = make_queue("crowd", signals=[make_signal("sentiment")], items=0, overlap=overlap, members=people)
    Conversation.objects.bulk_create(
        Conversation(
            external_id=f"x-{at}",
            turns=[{"role": "customer", "text": "Hello"}],
            channel="chat",  # gold checks are of the queue's own channels
            content_sha256="0" * 64,
        )
        for at in range(items)
    )
    made = Conversation.objects.filter(external_id__startswith="x-").order_by("id")
    Item.objects.bulk_create(Item(queue=queue, conversation=one, position=at) for at, one in enumerate(made))
    Slot.objects.bulk_create(
        Slot(item=item, queue=queue, number=number, position=item.position)
        for item in queue.items.all()
        for number in range(overlap)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return queue


def together(work: Callable[[User], int], people: list[User]) -> list[int]:
    def one(person: User) -> int:
        try:
            return work(person)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(one, people))


def check_nothing_twice(queue: Queue) -> None:
    current = Label.objects.filter(item__queue=queue, superseded_at__isnull=True)
    pairs = Counter(current.values_list("item_id", "annotator_id"))
    assert max(pairs.values()) == 1
    done = Counter(queue.slots.filter(state="done", item__isnull=False).values_list("item_id", "annotator_id"))
    assert done == pairs
    assert max(Counter(item for item, _ in pairs).values()) <= (queue.overlap_most or queue.overlap)


def test_sixteen_people_empty_a_queue() -> None:
    people = [make_user(f"p{number}") for number in range(PEOPLE)]
    queue = full_queue(people, items=2000, overlap=2)

    def work(person: User) -> int:
        count = 0
        while slot := leasing.lease(annotator=person, queue=queue, now=timezone.now()):
            answers = [{"signal": "sentiment", "value": "neutral"}]
            key = f"{person.id}-{count}"
            outcome = labels.submit(annotator=person, slot_id=slot.id, answers=answers, key=key, now=timezone.now())
            assert outcome.created and not outcome.submission.late
            count += 1
        return count

    counts = together(work, people)
    assert sum(counts) == 4000
    assert Label.objects.count() == Submission.objects.count() == 4000
    assert not queue.slots.exclude(state="done").exists()
    check_nothing_twice(queue)


def test_a_crowd_with_checks_and_an_adaptive_overlap() -> None:
    """Sixteen people with opinions of their own: every item is settled or has its most labels, every check is one person's."""
    people = [make_user(f"p{number}") for number in range(PEOPLE)]
    queue = full_queue(people, items=300, overlap=2)
    make_known(queue, ["neutral"] * 30)
    shares = {"repeat_share": 0.15, "repeat_after_items": 3, "gold_share": 0.1, "overlap_most": 4}
    Queue.objects.filter(id=queue.id).update(**shares)
    queue.refresh_from_db()

    def work(person: User) -> int:
        count = 0
        while slot := leasing.lease(annotator=person, queue=queue, now=timezone.now()):
            value = ("negative", "neutral", "positive")[(slot.unit.conversation_id * (person.id % 3)) % 3]
            answers = [{"signal": "sentiment", "value": value}]
            key = f"{person.id}-{count}"
            outcome = labels.submit(annotator=person, slot_id=slot.id, answers=answers, key=key, now=timezone.now())
            assert outcome.created and not outcome.submission.late
            count += 1
        return count

    before = Label.objects.count()
    counts = together(work, people)
    check_nothing_twice(queue)
    checks_done = CheckAnswer.objects.count()
    assert sum(counts) == Submission.objects.count() == Label.objects.count() - before + checks_done
    assert checks_done == queue.slots.filter(item__isnull=True).count() > 30
    assert queue.slots.filter(known_item__isnull=False).count() > 15
    assert CheckAnswer.objects.filter(first__isnull=True, known__isnull=True).count() == 0
    repeats = queue.slots.filter(asks_again__isnull=False).values_list("asks_again_id", "annotator_id")
    assert set(repeats) <= set(queue.slots.filter(state="done").values_list("item_id", "annotator_id"))
    assert not queue.slots.filter(item__isnull=False).exclude(state="done").exists()
    votes: dict[int, Counter[str]] = {item: Counter() for item in queue.items.values_list("id", flat=True)}
    for item, value in Label.objects.filter(item__queue=queue).values_list("item_id", "value"):
        votes[item][value] += 1
    for told in votes.values():
        (_, first), *others = told.most_common(2)
        tie = bool(others) and others[0][1] == first
        assert told.total() == 4 if tie else 2 <= told.total() <= 4
        # Nobody was asked beyond need: without the last label it was a tie.
        assert told.total() == 2 or first - (others[0][1] if others else 0) <= 1
    assert {told.total() for told in votes.values()} >= {2, 3}


def test_two_last_answers_at_once_bring_one_further_label() -> None:
    people = [make_user(f"p{number}") for number in range(3)]
    queue = full_queue(people, items=40, overlap=2)
    Queue.objects.filter(id=queue.id).update(overlap_most=3)
    for item in queue.items.order_by("position"):
        slots = list(item.slots.order_by("number"))
        until = timezone.now() + timedelta(hours=1)
        for slot, person in zip(slots, people[:2], strict=True):
            Slot.objects.filter(id=slot.id).update(state="leased", annotator=person, leased_until=until)
        gate = threading.Barrier(2)
        held = dict(zip(people[:2], ((slots[0].id, "negative"), (slots[1].id, "positive")), strict=True))

        def work(person: User, gate: threading.Barrier = gate, held: dict[User, tuple[int, str]] = held) -> int:
            slot, value = held[person]
            gate.wait()
            answers = [{"signal": "sentiment", "value": value}]
            labels.submit(annotator=person, slot_id=slot, answers=answers, key=str(slot), now=timezone.now())
            return 1

        together(work, people[:2])
        assert Slot.objects.filter(item=item).count() == 3
        Slot.objects.filter(item=item, state="free").update(state="done", annotator=people[2])


def test_a_crowd_after_the_last_items_takes_each_once() -> None:
    people = [make_user(f"p{number}") for number in range(PEOPLE)]
    queue = full_queue(people, items=5, overlap=3)
    gate = threading.Barrier(PEOPLE)

    def work(person: User) -> int:
        gate.wait()
        held: list[int] = []
        while slot := leasing.lease(annotator=person, queue=queue, now=timezone.now(), holding=held):
            held.append(slot.id)
        return len(held)

    counts = together(work, people)
    assert sum(counts) == queue.slots.filter(state="leased").count() == 15
    assert max(counts) <= leasing.MOST_HELD


@pytest.mark.parametrize("shares", [{}, {"repeat_share": 0.25, "repeat_after_items": 0, "repeat_after_minutes": 0}])
def test_one_person_who_asks_from_many_windows_at_once_holds_two_items(shares: dict[str, float]) -> None:
    """The one on screen and the one that is prefetched, however many requests are on their way; and each request that names
    one item as its own gets the other one, never "nothing is left"."""
    person, other = make_user("p"), make_user("q")
    queue = full_queue([person, other], items=60, overlap=2)
    Queue.objects.filter(id=queue.id).update(**shares)
    queue.refresh_from_db()
    for turn in range(10):
        first = leasing.lease(annotator=person, queue=queue, now=timezone.now())
        assert first is not None
        gate = threading.Barrier(8)

        def work(_: User, gate: threading.Barrier = gate, holding: int = first.id) -> int:
            gate.wait()
            slot = leasing.lease(annotator=person, queue=queue, now=timezone.now(), holding=[holding])
            return 0 if slot is None else slot.id

        given = set(together(work, [person] * 8))
        held = set(queue.slots.filter(annotator=person, state="leased").values_list("id", flat=True))
        assert held == {first.id, *given} and len(given) == 1 and given != {first.id}
        for number, slot_id in enumerate(held):
            answers = [{"signal": "sentiment", "value": "neutral"}]
            key = f"{turn}-{number}"
            labels.submit(annotator=person, slot_id=slot_id, answers=answers, key=key, now=timezone.now())


def test_one_key_sent_sixteen_times_at_once_is_one_answer() -> None:
    person = make_user()
    queue = full_queue([person], items=1, overlap=1)
    slot = leasing.lease(annotator=person, queue=queue, now=timezone.now())
    assert slot is not None
    gate = threading.Barrier(PEOPLE)

    def work(_: User) -> int:
        gate.wait()
        answers = [{"signal": "sentiment", "value": "neutral"}]
        return int(
            labels.submit(annotator=person, slot_id=slot.id, answers=answers, key="k", now=timezone.now()).created
        )

    assert sum(together(work, [person] * PEOPLE)) == 1
    assert Label.objects.count() == Submission.objects.count() == 1


class Server:
    """A gunicorn of its own on the test's database, that can be killed like a machine that loses power."""

    def __init__(self, var: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # The parts as they are: a socket's folder or an empty user is fine for the driver, but not in a URL's host.
        host, name = connection.settings_dict["HOST"], connection.settings_dict["NAME"]
        user, port = connection.settings_dict["USER"], connection.settings_dict["PORT"]
        address = f"{user + '@' if user else ''}{host}{f':{port}' if port else ''}"
        self.environment = {
            **os.environ,
            "DATABASE_URL": f"postgres://{address}/{name}",
            "CXLAB_VAR": str(var),
            "SECRET_KEY": "k" * 50,
        }
        self.log = var / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["gunicorn", "cxlab.wsgi", "--bind", f"127.0.0.1:{self.port}", "--workers", "2", "--threads", "8"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, "--log-level", "warning"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(300):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    started.start()
    yield started
    started.kill()


def call(port: int, path: str, body: dict[str, Any], secret: str) -> tuple[int, Any]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        link.request("POST", f"/api/v1/{path}", json.dumps(body), headers)
        response = link.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None
    finally:
        link.close()


def patiently(port: int, path: str, body: dict[str, Any], secret: str) -> tuple[int, Any]:
    """What the page does: the same request again until somebody answers."""
    for _ in range(200):
        try:
            status, answer = call(port, path, body, secret)
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.1)
            continue
        if status < 500:
            return status, answer
        time.sleep(0.1)
    raise AssertionError(f"nobody answered {path}")


def test_killed_in_the_middle_nothing_acknowledged_is_lost(server: Server) -> None:
    people = [make_user(f"p{number}") for number in range(PEOPLE)]
    queue = full_queue(people, items=200, overlap=2)
    secrets = {person.id: tokens.make(user=person, name="t", scopes=["label"])[1] for person in people}
    acknowledged: list[tuple[int, str]] = []
    halfway = threading.Event()

    def work(person: User) -> int:
        count, secret = 0, secrets[person.id]
        while True:
            status, item = patiently(server.port, "queues/crowd/next/", {}, secret)
            if status == 204:
                return count
            key = f"{person.id}-{count}"
            body = {"labels": [{"signal": "sentiment", "value": "neutral"}], "key": key}
            status, answer = patiently(server.port, f"assignments/{item['assignment']}/submit/", body, secret)
            assert status in (200, 201), answer
            acknowledged.append((person.id, key))
            count += 1
            if len(acknowledged) >= 120:
                halfway.set()

    def power_cut() -> None:
        if halfway.wait(40):
            server.kill()
            server.start()

    cutter = threading.Thread(target=power_cut)
    cutter.start()
    counts = together(work, people)
    cutter.join()
    assert halfway.is_set()
    assert len(acknowledged) == sum(counts) == 400
    assert set(Submission.objects.values_list("annotator_id", "key")) == set(acknowledged)
    assert Submission.objects.count() == Label.objects.count() == 400
    check_nothing_twice(queue)
