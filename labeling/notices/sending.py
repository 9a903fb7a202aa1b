"""Sending a signed request to an address that somebody else chose: pinned to the address that was checked, no redirects.

The name is resolved once, every address that it has must be public (unless the deployment allows private ones), and the
connection goes to the address that was checked, so that a second look-up cannot lead elsewhere.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from labeling.errors import Refused

TIMEOUT, DEADLINE = 10.0, 20.0
MOST_ANSWER = 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or (0) why nothing did. `retry_after` in seconds where the other side asked for it."""

    status: int
    text: str
    seconds: float
    retry_after: int = 0

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


def check_address(url: str) -> SplitResult:
    """The parts of an address that may be sent to; refuses others before anything is resolved."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused("bad_address", f"{url!r} is no address: {error}", field="target") from error
    schemes = ("https", "http") if settings.WEBHOOKS_PRIVATE else ("https",)
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise Refused("bad_address", f"{url!r} is no address of {' or '.join(schemes)}", field="target")
    if parts.username or parts.password or parts.fragment:
        raise Refused("bad_address", "an address holds no name, password or fragment", field="target")
    if not url.isascii() or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise Refused("bad_address", "an address holds printable ASCII letters without spaces", field="target")
    with contextlib.suppress(ValueError):
        _check_ip(parts.hostname)
    return parts


def sign(secrets: Iterable[str], *, message: str, timestamp: int, body: bytes) -> str:
    """The signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, one for each secret that is valid."""
    signed = f"{message}.{timestamp}.".encode() + body
    made = (hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(one.digest()).decode()}" for one in made)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """POST once; whatever goes wrong is an Answer with status 0 and the reason, never an exception."""
    began = time.monotonic()
    try:
        parts = check_address(url)
        status, text, wait = _exchange(parts, resolve(parts), body, headers)
    except Refused as refused:
        return Answer(0, refused.message, time.monotonic() - began)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(0, str(error) or type(error).__name__, time.monotonic() - began)
    return Answer(status, text, time.monotonic() - began, wait)


def resolve(parts: SplitResult) -> str:
    """The one address to connect to; refused where any address of the name is private and that is not allowed."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = [str(row[4][0]) for row in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)]
    for address in found:
        _check_ip(address)
    return found[0]


def _check_ip(text: str) -> None:
    address = ipaddress.ip_address(text.split("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if not settings.WEBHOOKS_PRIVATE and not (mapped or address).is_global:
        raise Refused("private_address", f"{text} is no public address; WEBHOOKS_PRIVATE=1 allows it", field="target")


class _Pinned(http.client.HTTPConnection):
    """Connects to the address that was checked, under the name that was asked for."""

    def __init__(self, parts: SplitResult, address: str) -> None:
        super().__init__(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), timeout=TIMEOUT)
        self._address, self._secure = address, parts.scheme == "https"
        self.default_port = 443 if self._secure else 80

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), TIMEOUT)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _exchange(parts: SplitResult, address: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, int]:
    """Status, the beginning of the text, seconds to wait; the whole exchange ends at the deadline, however it drips."""
    connection = _Pinned(parts, address)
    ended = time.monotonic() + DEADLINE
    watch = threading.Timer(DEADLINE, _cut, [connection])
    watch.daemon = True
    watch.start()
    try:
        path = parts.path or "/"
        connection.request("POST", f"{path}?{parts.query}" if parts.query else path, body, dict(headers))
        answer = connection.getresponse()
        text = answer.read(MOST_ANSWER).decode("utf-8", "replace").replace("\0", "")
        wait = answer.headers.get("Retry-After", "")
        if time.monotonic() >= ended:  # what was read is the beginning of something that was cut off
            raise TimeoutError(f"no whole answer within {DEADLINE:g} seconds")
        return answer.status, text, int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 7 else 0
    finally:
        watch.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
