"""Labelling on PostgreSQL: the next item out of ten thousand and out of a million, and labels a second over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.utils import timezone

from bench.measure import Measure
from labeling import labels, leasing, tokens
from labeling.models import Queue, Signal, User

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = 16
SMALL, LARGE = 10_000, 1_000_000
ROUNDS = 300
SECONDS = 15.0
INSIDE = """import json, sys, django; django.setup()
from bench import labelling
print(json.dumps(labelling.inside(sys.argv[1])))"""
FILL = """
INSERT INTO labeling_conversation (external_id, source, channel, cohort, customer, turns, turn_count, attributes, summary,
  audio, metadata, content_sha256, created_at, updated_at)
SELECT 'b-' || n, 'bench', 'chat', 'all', '', %(turns)s::jsonb, 12, '{{}}', '', '', '{{}}', repeat('0', 64), now(), now()
FROM generate_series(0, {items} - 1) n;
INSERT INTO labeling_item (queue_id, conversation_id, turn, position, stratum, inclusion_probability)
SELECT {queue}, id, -1, row_number() OVER (ORDER BY id) - 1, '', 1 FROM labeling_conversation;
INSERT INTO labeling_slot (id, item_id, queue_id, number, position, state)
SELECT (random() * 9e15)::bigint, id, queue_id, number, position, 'free' FROM labeling_item, generate_series(0, 1) number;
"""


def run() -> list[Measure]:
    """Needs a PostgreSQL that answers; says so and measures nothing where there is none."""
    try:
        psycopg.connect("dbname=postgres", connect_timeout=3).close()
    except psycopg.OperationalError as error:
        print(f"labelling: left out, no PostgreSQL answers ({str(error).splitlines()[0]})", file=sys.stderr)
        return []
    with database("cxlab_bench_small", SMALL) as small:
        few = small.run_inside("latency")
        rate = labels_a_second(small)
    with database("cxlab_bench_large", LARGE) as large:
        many = large.run_inside("latency")
    against = f"{SMALL:,} items"
    return [
        Measure(f"next item of {LARGE:,}, median", many["next"], few["next"], "ms", against, "ratio at most 1.3"),
        Measure(f"submit in {LARGE:,}, median", many["submit"], few["submit"], "ms", against, "ratio at most 1.3"),
        Measure(f"labels a second, {PEOPLE} people over HTTP", rate, None, "1/s", "", "at least 150"),
    ]


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the benchmark's own, with a queue of so many items, overlap 2, and sixteen members with tokens."""

    name: str
    secrets: list[str]
    environment: dict[str, str]

    def run_inside(self, what: str) -> dict[str, float]:
        done = subprocess.run(
            [sys.executable, "-c", INSIDE, what],
            cwd=ROOT,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


@contextmanager
def database(name: str, items: int) -> Iterator[Database]:
    with psycopg.connect("dbname=postgres", autocommit=True) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}"')
        server.execute(f'CREATE DATABASE "{name}"')
    try:
        with tempfile.TemporaryDirectory() as var:
            environment = {
                **os.environ,
                "DATABASE_URL": f"postgres:///{name}",
                "CXLAB_VAR": var,
                "SECRET_KEY": "b" * 50,
                "DJANGO_SETTINGS_MODULE": "cxlab.settings",
            }
            python = [sys.executable, "manage.py"]
            subprocess.run([*python, "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
            made = Database(name, [], environment)
            secrets = subprocess.run(
                [sys.executable, "-c", INSIDE, "people"],
                cwd=ROOT,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            found = json.loads(secrets.stdout.splitlines()[-1])
            made.secrets.extend(found["secrets"])
            _fill(name, items, queue=found["queue"])
            yield made
    finally:
        with psycopg.connect("dbname=postgres", autocommit=True) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _fill(name: str, items: int, *, queue: int) -> None:
    text = "I was charged twice for March and nobody answers my mails, so I call."
    turns = [{"role": "agent" if number % 2 else "customer", "text": text} for number in range(12)]
    with psycopg.connect(f"dbname={name}", autocommit=True) as link:
        for statement in FILL.format(items=items, queue=queue).split(";")[:-1]:
            link.execute(statement, {"turns": json.dumps(turns)} if "%(" in statement else None)  # type: ignore[arg-type]
        link.execute("VACUUM ANALYZE")


@contextmanager
def serving(made: Database) -> Iterator[int]:
    """Gunicorn on that database; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["gunicorn", "cxlab.wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "2", "--threads", "8"]
    server = subprocess.Popen(
        [sys.executable, "-m", *command, "--log-level", "error", "--keep-alive", "30"], cwd=ROOT, env=made.environment
    )
    try:
        await_port(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def labels_a_second(made: Database) -> float:
    """Sixteen clients against gunicorn, each asking for the next item with its answer, as the page does."""
    with serving(made) as port:
        counts = [0] * PEOPLE
        stop = time.perf_counter() + SECONDS
        clients = [
            threading.Thread(target=_label_until, args=(stop, port, secret, counts, at))
            for at, secret in enumerate(made.secrets)
        ]
        start = time.perf_counter()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return sum(counts) / (time.perf_counter() - start)


def await_port(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server does not start")


def _label_until(stop: float, port: int, secret: str, counts: list[int], at: int) -> None:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def post(path: str, body: dict[str, object]) -> dict[str, object]:
        link.request("POST", f"/api/v1/{path}", json.dumps(body), headers)
        response = link.getresponse()
        text = response.read()
        if response.status not in (200, 201):
            raise RuntimeError(f"{response.status} {text[:300]!r}")
        found: dict[str, object] = json.loads(text)
        return found

    item: object = post("queues/bench/next/", {})
    while isinstance(item, dict) and time.perf_counter() < stop:
        answers = [{"signal": "sentiment", "value": "neutral"}]
        body = {"labels": answers, "key": f"k{counts[at]}", "seconds": 2.0, "next": True}
        item = post(f"assignments/{item['assignment']}/submit/", body)["next"]
        counts[at] += 1


def inside(what: str) -> dict[str, object]:
    """Runs in a process of its own, on the database that its environment names."""
    if what == "people":
        signal = Signal.objects.create(slug="sentiment", title="Sentiment", scale="ordinal")
        for position, value in enumerate(("negative", "neutral", "positive")):
            signal.categories.create(position=position, value=value, label=value, key=str(position + 1))
        queue = Queue.objects.create(slug="bench", title="Bench", overlap=2)
        queue.queue_signals.create(signal=signal)
        people = [User.objects.create(username=f"p{number}") for number in range(PEOPLE)]
        for number, person in enumerate(people):
            queue.memberships.create(user=person, lane=number % 2)
        secrets = [tokens.make(user=person, name="bench", scopes=["label"])[1] for person in people]
        return {"secrets": secrets, "queue": queue.id}
    queue = Queue.objects.get(slug="bench")
    people = list(User.objects.order_by("id"))
    answers = [{"signal": "sentiment", "value": "neutral"}]
    nexts, submits = [], []
    for number in range(ROUNDS):
        person = people[number % PEOPLE]
        slot, spent = _timed(lambda who=person: leasing.lease(annotator=who, queue=queue, now=timezone.now()))
        assert slot is not None
        nexts.append(spent)
        _, spent = _timed(
            lambda who=person, of=slot, key=f"l{number}": labels.submit(
                annotator=who, slot_id=of.id, answers=answers, key=key, now=timezone.now()
            )
        )
        submits.append(spent)
    return {"next": statistics.median(nexts), "submit": statistics.median(submits)}


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What it returned, and its milliseconds."""
    start = time.perf_counter()
    result = action()
    return result, 1000 * (time.perf_counter() - start)
