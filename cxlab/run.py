"""`make run`: migrate, fill an empty database with the demo workspace, then web server, worker and scheduler together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
GRACE_SECONDS = 15


def main() -> int:
    port = os.environ.get("PORT", "8000")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise SystemExit(f"cxlab does not start: PORT is {port!r}, not a port number")
    os.chdir(ROOT)
    _manage("migrate", "--verbosity", "0")
    _manage("collectstatic", "--no-input", "--verbosity", "0")
    if os.environ.get("DEMO", "1") != "0":
        _manage("demo", "--if-empty")
    print(f"\ncxlab is at http://localhost:{port}/   (Ctrl-C stops it)", flush=True)
    return _supervise(_programs(port))


def _manage(*arguments: str) -> None:
    done = subprocess.run([PYTHON, "manage.py", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def _programs(port: str) -> list[list[str]]:
    workers = str(max(2, min(4, os.cpu_count() or 2)))
    web = ["gunicorn", "cxlab.wsgi", "--bind", f"0.0.0.0:{port}", "--workers", workers, "--threads", "8"]
    return [
        [PYTHON, "-m", *web, "--timeout", "120", "--log-level", "warning"],
        [
            PYTHON,
            "-m",
            "celery",
            "-A",
            "cxlab",
            "worker",
            "--loglevel",
            "warning",
            "--concurrency",
            "1",
            "--pool",
            "prefork",
        ],
        [PYTHON, "-m", "celery", "-A", "cxlab", "beat", "--loglevel", "warning"],
    ]


def _supervise(programs: Sequence[Sequence[str]]) -> int:
    """Run all until one ends or somebody stops us; then stop the rest, and say which one ended."""
    processes = [subprocess.Popen(command) for command in programs]
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping and all(process.poll() is None for process in processes):
        time.sleep(0.3)
    ended = [process for process in processes if process.poll() is not None]
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    if ended and not stopping:
        print(f"cxlab stopped: {' '.join(map(str, ended[0].args))} ended with {ended[0].returncode}", flush=True)  # type: ignore[arg-type]
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
