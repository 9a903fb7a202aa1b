"""A queue of ten thousand items and sixteen people, while the server is killed ten times: every label once, none lost."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import psycopg

from bench.labelling import ROOT, Database, await_port, database
from bench.measure import Measure

ITEMS, OVERLAP, KILLS = 10_000, 2, 10
SEED = 20260301


def run() -> list[Measure]:
    """Needs a PostgreSQL that answers; says so and measures nothing where there is none."""
    try:
        psycopg.connect("dbname=postgres", connect_timeout=3).close()
    except psycopg.OperationalError as error:
        print(f"kills: left out, no PostgreSQL answers ({str(error).splitlines()[0]})", file=sys.stderr)
        return []
    with database("cxlab_bench_kills", ITEMS) as made:
        acknowledged, kills, seconds = _label_through_kills(made)
        with psycopg.connect(f"dbname={made.name}") as link:
            row = link.execute(
                "SELECT count(*), count(DISTINCT (item_id, annotator_id)), count(DISTINCT item_id) FROM labeling_label"
            ).fetchone()
            kept = {str(key) for (key,) in link.execute("SELECT key FROM labeling_submission").fetchall()}
    assert row is not None
    labels, pairs, items = row
    return [
        Measure(f"labels after {kills} kills", labels, ITEMS * OVERLAP, "labels", "items × overlap", "1"),
        Measure("… each of another person on its item", pairs, labels, "labels", "labels", "1"),
        Measure("items with a label", items, ITEMS, "items", "items", "1"),
        Measure(
            "acknowledged answers that are stored", len(acknowledged & kept), len(acknowledged), "answers", "", "1"
        ),
        Measure("labels a second, kills included", labels / seconds, None, "1/s", "", ""),
    ]


@dataclass
class Server:
    """Gunicorn in a group of its own, so that it dies like a machine that loses power, all at once."""

    made: Database
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["gunicorn", "cxlab.wsgi", "--bind", f"127.0.0.1:{self.port}", "--workers", "2", "--threads", "8"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, "--log-level", "critical", "--keep-alive", "30"],
            cwd=ROOT,
            env=self.made.environment,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        await_port(self.port)

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Client:
    """One person who sends the same request again until somebody answers, as the page does."""

    port: int
    secret: str
    name: int
    acknowledged: set[str] = field(default_factory=set)
    link: http.client.HTTPConnection | None = None

    def post(self, path: str, body: dict[str, object]) -> tuple[int, object]:
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        for _ in range(3000):
            try:
                self.link = self.link or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                self.link.request("POST", f"/api/v1/{path}", json.dumps(body), headers)
                response = self.link.getresponse()
                text = response.read()
                if response.status < 500:
                    return response.status, json.loads(text) if text else None
            except (OSError, http.client.HTTPException):
                self.link = None
            time.sleep(0.02)
        raise RuntimeError("nobody answers")

    def label_all(self) -> None:
        number = 0
        while True:
            status, item = self.post("queues/bench/next/", {})
            if status == 204 or not isinstance(item, dict):
                return
            while isinstance(item, dict):
                key = f"{self.name}-{number}"
                body = {
                    "labels": [{"signal": "sentiment", "value": "neutral"}],
                    "key": key,
                    "seconds": 2.0,
                    "next": True,
                }
                status, answer = self.post(f"assignments/{item['assignment']}/submit/", body)
                if status not in (200, 201) or not isinstance(answer, dict):
                    raise RuntimeError(f"{status} {answer}")
                self.acknowledged.add(key)
                number += 1
                item = answer.get("next")


def _label_through_kills(made: Database) -> tuple[set[str], int, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(made, port)
    server.start()
    clients = [Client(port, secret, number) for number, secret in enumerate(made.secrets)]
    threads = [threading.Thread(target=client.label_all) for client in clients]
    began, rng, kills = time.perf_counter(), random.Random(SEED), 0
    for thread in threads:
        thread.start()
    # Kills are spread over the labels, not over the clock, so that a slow machine sees as many in the middle of work.
    moments = sorted(rng.sample(range(200, ITEMS * OVERLAP - 200), KILLS))
    while any(thread.is_alive() for thread in threads):
        if moments and sum(len(client.acknowledged) for client in clients) >= moments[0]:
            moments.pop(0)
            server.kill()
            kills += 1
            server.start()
        time.sleep(0.01)
    server.kill()
    return set().union(*(client.acknowledged for client in clients)), kills, time.perf_counter() - began
