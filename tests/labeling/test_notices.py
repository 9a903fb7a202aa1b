"""Notifications: announced once with what causes them, signed, tried again with patience, and sent nowhere dangerous."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from celery import current_app
from django.core import mail
from django.db import transaction
from django.test import Client

from labeling import gold, labels, leasing, tokens
from labeling.errors import Refused
from labeling.models import Delivery, Notice, Subscription
from labeling.notices import announcing, delivering, sending
from labeling.tasks import deliver, deliver_due
from tests.make import make_conversation, make_label, make_queue, make_signal, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EVENTS = list(Subscription.Event.values)


class Receiver(ThreadingHTTPServer):
    """Answers as the path says, and keeps what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.release = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.strip("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((path, headers, body))
        if path == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if path in ("hang", "drip"):
            if path == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            self.server.release.wait(10)
            return
        flaky = path == "flaky" and len(self.server.got) < 3
        status = {"broken": 500, "moved": 302, "gone": 410, "busy": 429}.get(path, 503 if flaky else 204)
        self.send_response(status)
        if path == "moved":
            self.send_header("Location", self.server.url("secret"))
        if path == "busy":
            self.send_header("Retry-After", "1000")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOKS_PRIVATE = True
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


def subscribed(target: str, *, kind: str = "webhook", events: list[str] = EVENTS) -> Subscription:
    return delivering.subscribe(kind=kind, target=target, events=events, by=None)


def announced(key: str = "1") -> Delivery:
    notice = announcing.announce(
        event="flag.opened", key=key, sentence="A flag – is raised.", address="/drift/1/", flag=1
    )
    assert notice is not None
    return notice.deliveries.get()


def attempt(row: Delivery, after: timedelta = timedelta(0)) -> Delivery:
    Delivery.objects.filter(id=row.id).update(next_at=NOW)
    delivering.deliver(delivery_id=row.id, now=NOW + after)
    row.refresh_from_db()
    return row


def test_it_works(receiver: Receiver) -> None:
    found = subscribed(receiver.url("fine"))
    row = attempt(announced())
    assert (row.state, [one["status"] for one in row.attempts]) == ("delivered", [204])
    ((_, headers, body),) = receiver.got
    told = json.loads(body)
    assert told["type"] == "flag.opened" and told["data"]["sentence"] == "A flag – is raised."
    stamp = headers["webhook-timestamp"]
    assert stamp == str(int(NOW.timestamp()))
    secret = base64.b64decode(found.secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{stamp}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert delivering.deliver(delivery_id=row.id, now=NOW) is None and len(receiver.got) == 1


def test_the_signature_is_the_one_of_the_standard() -> None:
    """The example of the Standard Webhooks reference implementations."""
    secret, message = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    made = sending.sign([secret], message=message, timestamp=1614265330, body=b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("path", "status", "wait"),
    [("broken", 500, 10), ("moved", 302, 10), ("cut", 0, 10), ("busy", 429, 1000)],
)
def test_a_failure_is_logged_and_tried_again(receiver: Receiver, path: str, status: int, wait: int) -> None:
    subscribed(receiver.url(path))
    row = attempt(announced())
    assert (row.state, row.attempts[0]["status"]) == ("waiting", status)
    assert row.next_at == NOW + timedelta(seconds=wait)
    assert [got[0] for got in receiver.got] == [path]  # a redirect was not followed
    assert delivering.due(now=NOW + timedelta(seconds=wait - 1)) == []
    assert delivering.due(now=NOW + timedelta(seconds=wait)) == [row.id]


@pytest.mark.parametrize("path", ["hang", "drip"])
def test_a_receiver_that_never_ends_is_cut_off(receiver: Receiver, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "DEADLINE", 0.3)
    subscribed(receiver.url(path))
    row = attempt(announced())
    assert (row.state, row.attempts[0]["status"]) == ("waiting", 0)


def test_nobody_there(receiver: Receiver) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        subscribed(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        row = attempt(announced())
    assert row.attempts[0]["status"] == 0 and "refused" in row.attempts[0]["error"].lower()


def test_it_succeeds_in_the_end_with_the_same_bytes(receiver: Receiver) -> None:
    subscribed(receiver.url("flaky"))
    row = announced()
    for _ in range(3):
        row = attempt(row)
    assert (row.state, [one["status"] for one in row.attempts]) == ("delivered", [503, 503, 204])
    assert len({body for _, _, body in receiver.got}) == 1 and len({h["webhook-id"] for _, h, _ in receiver.got}) == 1


def test_it_is_given_up_after_eight_failures(receiver: Receiver) -> None:
    subscribed(receiver.url("broken"))
    row = announced()
    for _ in range(8):
        row = attempt(row)
    assert row.state == "given_up" and len(row.attempts) == 8
    assert attempt(row).attempts == row.attempts
    delivering.again(delivery=row, now=NOW)
    assert len(attempt(row).attempts) == 9


def test_an_address_that_is_gone_is_asked_no_longer(receiver: Receiver) -> None:
    found = subscribed(receiver.url("gone"))
    assert attempt(announced()).state == "given_up"
    found.refresh_from_db()
    assert not found.active
    assert announcing.announce(event="flag.opened", key="2", sentence="", address="") is None


def test_a_delivery_that_another_worker_holds_is_theirs(receiver: Receiver) -> None:
    subscribed(receiver.url("fine"))
    row = announced()
    Delivery.objects.filter(id=row.id).update(held_until=NOW + timedelta(minutes=1))
    assert attempt(row).attempts == [] and not receiver.got
    assert attempt(row, timedelta(minutes=2)).state == "delivered"


def test_after_a_rotation_both_secrets_sign_for_a_day(receiver: Receiver) -> None:
    found = subscribed(receiver.url("fine"))
    new = delivering.rotate(subscription=found, now=NOW)
    assert new.secret != found.secret
    attempt(announced())
    attempt(announced("2"), timedelta(hours=25))
    assert [len(headers["webhook-signature"].split()) for _, headers, _ in receiver.got] == [2, 1]


# Where it may go


@pytest.mark.parametrize(
    "target",
    [
        "http://example.com/", "ftp://example.com/", "https://", "https://127.0.0.1/", "https://10.0.0.8/x", "https://[::1]/",
        "https://169.254.169.254/latest/meta-data", "https://[::ffff:10.0.0.1]/", "https://user:word@example.com/",
        "https://example.com/#x", "https://example.com:99999/", "https://exa mple.com/", "https://example.com/\r\nX: y",
        "https://0.0.0.0/", "https://100.64.0.1/",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_https_is_refused(target: str) -> None:
    with pytest.raises(Refused) as refused:
        subscribed(target)
    assert refused.value.field == "target" and not Subscription.objects.exists()


def test_a_name_that_leads_to_a_private_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(0, 0, 0, "", ("93.184.216.34", 443)), (0, 0, 0, "", ("10.0.0.1", 443))],
    )
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))
    subscribed("https://harmless.example/")
    row = attempt(announced())
    assert row.attempts[0]["status"] == 0 and "10.0.0.1 is no public address" in row.attempts[0]["error"]


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def connect(address: Any, timeout: float) -> Any:
        asked.append(address)
        raise OSError("no route")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("93.184.216.34", 443))])
    monkeypatch.setattr(socket, "create_connection", connect)
    subscribed("https://harmless.example/")
    attempt(announced())
    assert asked == [("93.184.216.34", 443)]


# Mail


def test_mail_says_it_in_words() -> None:
    subscribed("team@example.com", kind="mail")
    row = attempt(announced())
    (message,) = mail.outbox
    assert row.state == "delivered" and message.to == ["team@example.com"]
    assert message.subject == "cxlab: A flag – is raised." and "/drift/1/" in message.body


def test_a_mail_server_that_is_down_is_tried_again(settings: Any) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = (
        "django.core.mail.backends.smtp.EmailBackend",
        "127.0.0.1",
        1,
    )
    subscribed("team@example.com", kind="mail")
    assert attempt(announced()).state == "waiting"
    with pytest.raises(Refused, match="no mail address"):
        subscribed("team", kind="mail")


# What is announced, and how often


def test_it_is_enqueued_once_and_only_when_the_transaction_commits(
    django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args: sent.append((name, *args)))
    subscribed("team@example.com", kind="mail")
    with django_capture_on_commit_callbacks(execute=True):
        with pytest.raises(RuntimeError), transaction.atomic():
            announced()
            raise RuntimeError
        assert not Notice.objects.exists()
        row = announced()
        assert announcing.announce(event="flag.opened", key="1", sentence="", address="") is None
        assert sent == []
    assert sent == [("labeling.deliver", row.id)]


def test_a_frozen_dataset_is_told_of() -> None:
    subscribed("team@example.com", kind="mail", events=["dataset.frozen"])
    signal, home = make_signal(), make_conversation()
    make_label(home, signal, make_user(), "negative")
    version = gold.freeze(dataset="gold", signal=signal, aggregation="majority", now=NOW)
    notice = Notice.objects.get()
    assert notice.document["dataset"] == "gold@1" and notice.document["sha256"] == version.sha256
    assert announcing.announce(event="flag.opened", key="1", sentence="", address="") is None  # nobody asked


def test_a_queue_is_done_with_its_last_answer_and_told_of_once() -> None:
    subscribed("team@example.com", kind="mail")
    ann = make_user("ann")
    queue = make_queue(signals=[make_signal()], members=[ann], items=2)
    for number in range(2):
        assert not Notice.objects.exists()
        lease = leasing.lease(annotator=ann, queue=queue, now=NOW)
        assert lease is not None
        answer = [{"signal": "sentiment", "value": "neutral"}]
        labels.submit(annotator=ann, slot_id=lease.id, answers=answer, key=f"k{number}", now=NOW)
    assert Notice.objects.get().document["queue"] == queue.slug
    announcing.sweep_queues()
    assert Notice.objects.count() == 1


def test_the_tasks_send() -> None:
    subscribed("team@example.com", kind="mail")
    deliver(announced().id)
    announced("2")
    deliver_due()
    deliver_due()
    assert len(mail.outbox) == 2


# Pages and API


def test_who_may_set_notifications(client: Client) -> None:
    address = "/settings/notifications/"
    assert client.get(address)["Location"].startswith("/sign-in/")
    client.force_login(make_user("eve", role="engineer"))
    assert (
        client.get(address).status_code == 403 and client.post("/settings/notifications/1/change/").status_code == 403
    )
    assert client.get("/api/v1/subscriptions/").status_code == 403
    client.force_login(make_user("ada", role="admin"))
    assert client.get(address).status_code == 200 and client.get(f"{address}9/").status_code == 404


def test_the_pages(client: Client, receiver: Receiver) -> None:
    client.force_login(make_user("ada", role="admin"))
    page = client.post(
        "/settings/notifications/", {"kind": "webhook", "target": receiver.url("broken"), "event": EVENTS}
    )
    found = Subscription.objects.get()
    assert found.secret in page.content.decode()
    own = f"/settings/notifications/{found.id}/"
    assert found.secret not in client.get(own).content.decode()
    wrong = client.post("/settings/notifications/", {"kind": "webhook", "target": "gopher://x", "event": EVENTS})
    assert wrong.status_code == 422 and "gopher://x" in wrong.content.decode()
    client.post(f"{own}change/", {"action": "test"})
    deliver_due()
    assert "500" in client.get(own).content.decode() and receiver.got[0][0] == "broken"
    row = found.deliveries.get()
    client.post(f"{own}change/", {"action": "again", "delivery": row.id})
    deliver_due()
    assert len(receiver.got) == 2
    rotated = client.post(f"{own}change/", {"action": "rotate"}).content.decode()
    found.refresh_from_db()
    assert found.secret in rotated
    client.post(f"{own}change/", {"action": "events", "event": ["queue.done"]})
    client.post(f"{own}change/", {"action": "pause"})
    found.refresh_from_db()
    assert (found.events, found.active) == (["queue.done"], False)
    assert client.post(f"{own}change/", {"action": "sing"}).status_code == 422
    client.post(f"{own}change/", {"action": "remove"})
    assert not Subscription.objects.exists()


def test_the_api(client: Client, receiver: Receiver) -> None:
    _, secret = tokens.make(user=make_user("ada", role="admin"), name="test", scopes=["admin"])
    headers: dict[str, Any] = {"headers": {"Authorization": f"Bearer {secret}"}, "content_type": "application/json"}
    address = "/api/v1/subscriptions/"
    made = client.post(address, {"target": receiver.url("fine"), "events": ["gate.decided"]}, **headers)
    assert made.status_code == 201 and made.json()["secret"].startswith("whsec_")
    assert (
        client.post(address, {"target": "x", "events": ["gate.decided"]}, **headers).json()["errors"][0]["field"]
        == "target"
    )
    assert client.post(address, {"target": receiver.url(""), "events": ["x"]}, **headers).status_code == 422
    own = f"{address}{made.json()['id']}/"
    assert "secret" not in client.get(own, **headers).json()
    assert client.patch(own, {"active": False}, **headers).json()["active"] is False
    client.patch(own, {"active": True}, **headers)
    assert client.post(f"{own}test/", **headers).status_code == 202
    deliver_due()
    (logged,) = client.get(f"{own}deliveries/", **headers).json()["results"]
    assert (logged["state"], logged["event"]) == ("delivered", "test")
    assert client.post(f"{own}rotate/", **headers).json()["secret"] != made.json()["secret"]
    assert client.delete(own, **headers).status_code == 204 and client.get(own, **headers).status_code == 404
