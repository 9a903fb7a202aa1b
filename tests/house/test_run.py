"""`make run`, for real: the three programs together on an empty machine, and their end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def start(tmp_path: Path, **given: str) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")
    }
    environment |= {"CXLAB_VAR": str(tmp_path), "DEMO": "0", **given}
    return subprocess.Popen(
        [sys.executable, "-m", "cxlab.run"],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_it_serves_and_works_and_stops_when_told(tmp_path: Path) -> None:
    port = free_port()
    process = start(tmp_path, PORT=str(port))
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"http://127.0.0.1:{port}/readyz"):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate(timeout=5)[0]
            time.sleep(0.3)
        # The worker takes what is on the embedded broker: the message goes away.
        send = "from cxlab.celery import app; app.send_task('calibration.evaluate_monitors')"
        environment = {**os.environ, "CXLAB_VAR": str(tmp_path)}
        environment.pop("DATABASE_URL", None)
        subprocess.run([sys.executable, "-c", send], cwd=ROOT, env=environment, check=True)
        while list((tmp_path / "broker/messages").glob("*.msg")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"http://localhost:{port}/" in output


def test_a_port_that_is_none_stops_the_start(tmp_path: Path) -> None:
    process = start(tmp_path, PORT="eight")
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "PORT is 'eight'" in output
