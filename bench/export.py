"""Exporting a gold set of 100,000 items: the stream against json.dumps of the bare rows held in memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from django.core.management import call_command

from bench.measure import Measure
from labeling import exporting
from labeling.models import Conversation, Dataset, DatasetVersion, GoldRow, Signal

ROOT = Path(__file__).resolve().parent.parent
ITEMS = 100_000
INSIDE = """import sys, django; django.setup()
from bench import export
export.inside(sys.argv[1])"""


def run() -> list[Measure]:
    """In a database of its own, one process for each way, so that each has its own peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        _child(folder, "fill")
        ours, naive = _child(folder, "stream"), _child(folder, "naive")
    bare = "json.dumps of the bare rows"
    return [
        Measure(f"export of {ITEMS:,} items", ours["rate"], naive["rate"], "items/s", bare, "ratio at least 0.5"),
        Measure("its peak memory above the idle process", ours["peak"], naive["peak"], "MB", bare, "ratio at most 0.2"),
    ]


def _child(folder: str, what: str) -> dict[str, float]:
    environment = os.environ | {"CXLAB_VAR": folder, "DATABASE_URL": f"sqlite:///{folder}/bench.sqlite3"}
    command = [sys.executable, "-c", INSIDE, what]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def inside(what: str) -> None:
    """One way, in a process of its own: prints its rate and peak as JSON."""
    if what == "fill":
        _fill()
        print("{}")
        return
    idle = _peak()
    start = time.perf_counter()
    with open(os.devnull, "wb") as sink:
        if what == "stream":
            exporting.copy(exporting.stream(version=DatasetVersion.objects.get(), format="jsonl"), sink)
        else:
            rows = list(GoldRow.objects.order_by("position").values())
            sink.write(json.dumps(rows, default=str).encode())
    seconds = time.perf_counter() - start
    print(json.dumps({"rate": ITEMS / seconds, "peak": max(_peak() - idle, 1.0)}))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _fill() -> None:
    call_command("migrate", verbosity=0)
    turns = [
        {"role": role, "text": "My invoice is wrong, and it was last month too."} for role in ("customer", "agent")
    ]
    turns = turns * 4
    signal = Signal.objects.create(slug="sentiment", title="Sentiment", scale="ordinal")
    home = Dataset.objects.create(slug="gold", title="Gold", signal=signal)
    version = DatasetVersion.objects.create(dataset=home, number=1, aggregation="single")
    call = Conversation.objects.create(external_id="c", turns=turns, turn_count=len(turns), content_sha256="0" * 64)
    GoldRow.objects.bulk_create(
        (
            GoldRow(
                version=version, position=at, conversation=call, external_id=f"c-{at}", turn=at, value="negative",
                votes={"negative": 2, "neutral": 1}, ratings={"ann": "negative", "ben": "negative", "cleo": "neutral"},
                annotators=3, decided_by="majority", channel="chat", cohort="enterprise", text_sha256="0" * 64, turns=turns,
            )
            for at in range(ITEMS)
        ),
        batch_size=2000,
    )  # fmt: skip
    DatasetVersion.objects.update(sha256="0" * 64, item_count=ITEMS, frozen_at=datetime(2026, 1, 1, tzinfo=UTC))
