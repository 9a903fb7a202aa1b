"""Evaluators that are written elsewhere: a function of an installed package, or a service behind an address."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import httpx2 as httpx

from calibration.errors import NotComparable
from calibration.evaluators.base import Answer, EvaluatorUnavailable, Pace, Text, key_named
from calibration.models import ClassifierVersion
from labeling.errors import Refused
from labeling.models import WHOLE
from labeling.values import Scale, ValueRefused

GROUP = "cxlab.evaluators"
"""The group of entry points that an installed package registers its evaluators under."""
MOST_BYTES = 1_000_000
KNOWN = {"value", "score", "probabilities", "rationale", "cost"}


PINS = ("package", "code_sha256")


def check_service(parameters: Mapping[str, Any]) -> None:
    """Raises Refused for the parameters of a service that could not be asked."""
    if not str(parameters.get("url", "")).startswith(("http://", "https://")):
        raise Refused("no_url", "parameters.url must be an http or https address", field="parameters")
    if "api_key_env" in parameters:
        key_named(parameters["api_key_env"])


def entry_points() -> dict[str, metadata.EntryPoint]:
    """The evaluators that installed packages offer, by name."""
    return {found.name: found for found in metadata.entry_points(group=GROUP)}


def pin_of(name: str) -> dict[str, str]:
    """What pins an installed evaluator: its package and that version, and the hash of its source. Raises NotComparable."""
    found = entry_points().get(name)
    if found is None:
        known = ", ".join(sorted(entry_points())) or "none"
        raise NotComparable(
            "unknown_entry_point",
            f"no installed package offers {name!r} under {GROUP}; there are {known}",
            field="code",
        )
    function = found.load()
    if not callable(function):
        raise NotComparable("unknown_entry_point", f"{name!r} is no function", field="code")
    try:
        source = inspect.getsource(inspect.getmodule(function) or function)
    except (OSError, TypeError):
        source = repr(function)
    package = f"{found.dist.name}=={found.dist.version}" if found.dist else ""
    return {"package": package, "code_sha256": hashlib.sha256(source.encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A function `evaluate(conversation, *, turn, parameters)` of an installed package; `code` names its entry point."""

    function: Callable[..., Any]
    scale: Scale
    parameters: Mapping[str, Any]

    @classmethod
    def pinned(cls, version: ClassifierVersion, scale: Scale) -> Plugin:
        now = pin_of(version.code)
        for name, value in now.items():
            if version.parameters.get(name) != value:
                raise NotComparable(
                    "other_code",
                    f"{version} is pinned to another {name.replace('_sha256', '')} than the one installed: register a new version",
                    field="version",
                )
        given = {name: value for name, value in version.parameters.items() if name not in now}
        return cls(entry_points()[version.code].load(), scale, given)

    def score(self, text: Text) -> Answer:
        start = time.perf_counter()
        turn = None if text.turn == WHOLE else text.turn
        try:
            said = self.function(text.as_document(), turn=turn, parameters=dict(self.parameters))
        except EvaluatorUnavailable:
            raise
        except Exception as error:  # somebody else's code: whatever it raises is this unit's state, not the run's end
            return Answer(status="refused", rationale=f"{type(error).__name__}: {error}"[:1000])
        return read(said, self.scale, time.perf_counter() - start)


@dataclass(slots=True)
class Service:
    """A service that takes a conversation as JSON and answers with JSON.

    `parameters` of the version: `url`, `timeout` (seconds), `max_retries`, `requests_per_minute`, `api_key_env` (the
    environment variable that holds the key, sent as a bearer token), `headers`.
    """

    client: httpx.Client
    url: str
    scale: Scale
    about: dict[str, Any]
    pace: Pace
    retries: int

    @classmethod
    def pinned(cls, version: ClassifierVersion, scale: Scale) -> Service:
        given = version.parameters
        url = str(given.get("url", ""))
        if not url.startswith(("http://", "https://")):
            raise NotComparable(
                "no_url", f"{version} needs parameters.url, an http or https address", field="parameters"
            )
        headers = {str(name): str(value) for name, value in dict(given.get("headers") or {}).items()}
        variable = given.get("api_key_env")
        if variable and (key := os.environ.get(key_named(variable))):
            headers["Authorization"] = f"Bearer {key}"
        return cls(
            client=httpx.Client(timeout=float(given.get("timeout", 30)), headers=headers, follow_redirects=False),
            url=url,
            scale=scale,
            about={
                "classifier": version.classifier.slug,
                "version": version.version,
                "signal": version.classifier.signal.slug,
            },
            pace=Pace(float(given.get("requests_per_minute", 600))),
            retries=int(given.get("max_retries", 3)),
        )

    def hurried(self, seconds: float) -> None:
        """Answer within about so many seconds, or not at all."""
        self.client.timeout = httpx.Timeout(min(seconds, float(self.client.timeout.read or seconds)))
        self.retries = 0
        self.pace.most = seconds

    def score(self, text: Text) -> Answer:
        start = time.perf_counter()
        body = {**self.about, "conversation": text.as_document(), "turn": None if text.turn == WHOLE else text.turn}
        status, reply = self._ask(body)
        seconds = time.perf_counter() - start
        if status >= 400:
            return Answer(status="refused", rationale=f"{self.url} answered {status}: {reply[:500]}", seconds=seconds)
        try:
            said = json.loads(reply)
        except ValueError:
            return Answer(status="unparsable", rationale=f"the answer is not JSON: {reply[:500]}", seconds=seconds)
        return read(said, self.scale, seconds)

    def _ask(self, body: dict[str, Any]) -> tuple[int, str]:
        """Status and text; what may pass is tried again, and stops the run when it does not."""
        why = ""
        for attempt in range(self.retries + 1):
            self.pace.wait()
            if attempt:
                self.pace.sleep(min(2.0**attempt / 4, 30.0))
            try:
                with self.client.stream("POST", self.url, json=body) as reply:
                    text = self._limited(reply)
            except httpx.HTTPError as error:
                why = f"{self.url} does not answer: {type(error).__name__} {error}"
                continue
            if reply.status_code in (401, 403, 404):
                raise EvaluatorUnavailable(f"{self.url} refuses: {reply.status_code} {text[:300]}")
            if reply.status_code == 429 or reply.status_code >= 500:
                why = f"{self.url} answered {reply.status_code}, after retries: {text[:300]}"
                after = reply.headers.get("Retry-After", "")
                if after.isdigit() and attempt < self.retries:
                    self.pace.sleep(min(float(after), 60.0))
                continue
            return reply.status_code, text
        raise EvaluatorUnavailable(why)

    @staticmethod
    def _limited(reply: httpx.Response) -> str:
        parts, size = [], 0
        for piece in reply.iter_bytes():
            size += len(piece)
            if size > MOST_BYTES:
                break
            parts.append(piece)
        return b"".join(parts).decode("utf-8", "replace")


def read(said: Any, scale: Scale, seconds: float) -> Answer:
    """An answer from what somebody else's code gave: a value alone, or an object with a value and more."""
    found = said if isinstance(said, Mapping) else {"value": said}
    try:
        scale.encode(found.get("value"))
        chances = found.get("probabilities")
        if chances is not None:
            chances = {str(name): float(chance) for name, chance in dict(chances).items()}
            if not set(chances) <= set(scale.values) or not all(0 <= chance <= 1 for chance in chances.values()):
                raise ValueRefused("probabilities must be numbers from 0 to 1, by category")
        numbers = {name: None if found.get(name) is None else float(found[name]) for name in ("score", "cost")}
    except (ValueRefused, TypeError, ValueError) as error:
        return Answer(status="unparsable", rationale=f"{error}: {str(said)[:500]}", seconds=seconds)
    return Answer(
        found.get("value"),
        score=numbers["score"],
        probabilities=chances,
        rationale=str(found.get("rationale") or "")[:4000],
        seconds=seconds,
        cost=numbers["cost"],
    )
