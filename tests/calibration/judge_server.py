"""A small OpenAI-compatible server that fails on request: each conversation's text says how."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        custom = self.path.endswith("/custom")
        prompt = body["conversation"]["turns"][0]["text"] if custom else body["messages"][0]["content"]
        self.server.asked.append(body)
        trouble = next(
            (
                word
                for word in ("BUSY", "BROKEN", "PROSE", "REFUSE", "FENCED", "LIST", "PLAIN", "SLOW", "CUT", "LATER")
                if word in prompt
            ),
            "",
        )
        self.server.seen[trouble] += 1
        if self.server.down:
            return self._send(503, {"error": {"message": "down for maintenance"}})
        if trouble == "BUSY" and self.server.seen["BUSY"] == 1:
            return self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0"})
        if trouble == "BROKEN" and self.server.seen["BROKEN"] == 1:
            return self._send(500, {"error": {"message": "oops"}})
        if trouble == "LATER" and self.server.seen["LATER"] == 1:
            return self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
        if trouble == "SLOW" and self.server.seen["SLOW"] == 1:
            self.server.stopping.wait(30)  # until the client has given up, and the test is over
            return None
        if trouble == "CUT" and self.server.seen["CUT"] == 1:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"mess')
            self.close_connection = True
            return None
        if trouble == "PLAIN":
            return self._send(200, "Welcome to our gateway.", {"Content-Type": "text/plain"})
        if custom:
            return self._send(200, {"value": "furious" if trouble == "LIST" else "neutral"})
        message: dict[str, Any] = {"role": "assistant", "content": '{"value": "negative", "rationale": "It says so."}'}
        if self.server.script:
            message["content"] = json.dumps({"value": self.server.script.pop(0), "rationale": "Said so."})
        if trouble == "PROSE":
            message["content"] = "I think the customer is rather sad."
        if trouble == "FENCED":
            message["content"] = '```json\n{"value": "positive", "rationale": "Thanks."}\n```'
        if trouble == "LIST":
            message["content"] = '{"value": "furious", "rationale": "?"}'
        if trouble == "REFUSE":
            message = {"role": "assistant", "content": None, "refusal": "I cannot judge this."}
        self._send(
            200,
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
            },
        )

    def _send(self, status: int, document: dict[str, Any] | str, headers: dict[str, str] | None = None) -> None:
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


class JudgeServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.seen: Counter[str] = Counter()
        self.down = False
        self.stopping = threading.Event()
        self.script: list[str] = []
        """Values to answer with, in turn."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    server = JudgeServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
