"""Deliveries: taken by a conditional update, sent once, and tried again with growing patience; and the log of it all."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from smtplib import SMTPException
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Q

from labeling.errors import Refused
from labeling.models import Delivery, Notice, Subscription, User
from labeling.notices import sending
from labeling.notices.announcing import enqueue
from labeling.notices.sending import Answer

PATIENCE = tuple(timedelta(seconds=s) for s in (10, 60, 300, 1800, 7200, 28800, 86400))
"""How long to wait after each failure; after one more it is given up: about a day and a half in all."""
HOLD = timedelta(minutes=2)
OLD_SECRET = timedelta(hours=24)
GONE = 410
MOST_ERROR = 500
State = Delivery.State


def subscribe(*, kind: str, target: str, events: Sequence[str], by: User | None) -> Subscription:
    """A webhook or a mail address that is told of `events`; a webhook's secret is on the row."""
    if kind == Subscription.Kind.WEBHOOK:
        sending.check_address(target)
    elif kind == Subscription.Kind.MAIL:
        try:
            validate_email(target)
        except ValidationError as error:
            raise Refused("bad_address", f"{target!r} is no mail address", field="target") from error
    else:
        raise Refused("unknown_kind", f"{kind!r} is not one of webhook, mail", field="kind")
    if len(target) > 500:
        raise Refused("bad_address", "an address has 500 letters at most", field="target")
    secret = _secret() if kind == Subscription.Kind.WEBHOOK else ""
    return Subscription.objects.create(kind=kind, target=target, events=checked(events), secret=secret, created_by=by)


def change(
    *, subscription: Subscription, events: Sequence[str] | None = None, active: bool | None = None
) -> Subscription:
    """Other events, or a pause; what waits for a paused one waits on."""
    if events is not None:
        subscription.events = checked(events)
    if active is not None:
        subscription.active = active
    subscription.save(update_fields=["events", "active"])
    return subscription


@transaction.atomic
def rotate(*, subscription: Subscription, now: datetime) -> Subscription:
    """A new secret; for a day the old one signs as well, so that the receiver can be changed in peace."""
    row = Subscription.objects.select_for_update().get(id=subscription.id)
    if row.kind != Subscription.Kind.WEBHOOK:
        raise Refused("no_secret", "mail is not signed", field="kind")
    row.old_secret, row.old_secret_until, row.secret = row.secret, now + OLD_SECRET, _secret()
    row.save(update_fields=["secret", "old_secret", "old_secret_until"])
    return row


@transaction.atomic
def test(*, subscription: Subscription) -> Delivery:
    """A delivery that says that it is a test, sent on its way like any other."""
    notice = Notice.objects.create(
        key=f"test:{secrets.token_hex(8)}",
        event="test",
        document={"sentence": "This is a test of cxlab’s notifications.", "address": "/settings/notifications/"},
    )
    return enqueue(notice, subscription)


def again(*, delivery: Delivery, now: datetime) -> None:
    """Send a delivery once more, whatever came of it; the receiver sees the same id."""
    Delivery.objects.filter(id=delivery.id).update(state=State.WAITING, next_at=now)


def deliver(*, delivery_id: int, now: datetime) -> Delivery | None:
    """One attempt; None where it is not due, is held by another worker, or is over already."""
    free = Delivery.objects.filter(Q(held_until__isnull=True) | Q(held_until__lt=now), id=delivery_id, next_at__lte=now)
    free = free.filter(state=State.WAITING, subscription__active=True)
    if not free.update(held_until=now + HOLD):
        return None
    row = Delivery.objects.select_related("notice", "subscription").get(id=delivery_id)
    answer = _mail(row) if row.subscription.kind == Subscription.Kind.MAIL else _post(row, now)
    return _settle(row, answer, now)


def due(*, now: datetime, most: int = 200) -> list[int]:
    """Deliveries whose time has come and that nobody holds."""
    free = Delivery.objects.filter(Q(held_until__isnull=True) | Q(held_until__lt=now), next_at__lte=now)
    free = free.filter(state=State.WAITING, subscription__active=True)
    return list(free.order_by("next_at").values_list("id", flat=True)[:most])


def body_of(notice: Notice) -> bytes:
    """What a webhook gets; the same bytes at every attempt."""
    document = {"type": notice.event, "timestamp": notice.at.isoformat(), "data": notice.document}
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def checked(events: Sequence[str]) -> list[str]:
    """Known events, each once."""
    for event in events:
        if event not in Subscription.Event.values:
            raise Refused(
                "unknown_event", f"{event!r} is not one of {', '.join(Subscription.Event.values)}", field="events"
            )
    if not events:
        raise Refused("no_events", "choose at least one event", field="events")
    return list(dict.fromkeys(events))


def _post(row: Delivery, now: datetime) -> Answer:
    found, body = row.subscription, body_of(row.notice)
    old = found.old_secret if found.old_secret_until and found.old_secret_until > now else ""
    stamp, message = int(now.timestamp()), f"msg_{row.notice_id}"
    signature = sending.sign([s for s in (found.secret, old) if s], message=message, timestamp=stamp, body=body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "cxlab",
        "webhook-id": message,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature,
    }
    return sending.post(found.target, body, headers)


def _mail(row: Delivery) -> Answer:
    document, began = row.notice.document, monotonic()
    details = [f"{name}: {value}" for name, value in document.items() if name not in ("sentence", "address")]
    text = "\n".join([document["sentence"], "", *details, "", f"In cxlab: {document['address']}"])
    subject = " ".join(f"cxlab: {document['sentence']}".split())[:200]
    message = EmailMessage(subject, text, settings.DEFAULT_FROM_EMAIL, [row.subscription.target])
    try:
        message.send()
    except (SMTPException, OSError) as error:
        return Answer(0, str(error), monotonic() - began)
    return Answer(250, "handed to the mail server", monotonic() - began)


def _settle(row: Delivery, answer: Answer, now: datetime) -> Delivery:
    """Write the attempt down and say what comes next; an address that is gone is asked no longer."""
    attempt: dict[str, Any] = {"at": now.isoformat(), "status": answer.status, "seconds": round(answer.seconds, 3)}
    attempt |= {} if answer.good else {"error": answer.text[:MOST_ERROR]}
    row.attempts = [*row.attempts, attempt]
    failures = sum(not 200 <= one["status"] < 300 for one in row.attempts)
    row.held_until = None
    if answer.good:
        row.state = State.DELIVERED
    elif answer.status == GONE or failures > len(PATIENCE):
        row.state = State.GIVEN_UP
    else:
        row.next_at = now + max(PATIENCE[failures - 1], min(timedelta(seconds=answer.retry_after), PATIENCE[-1]))
    with transaction.atomic():
        row.save(update_fields=["attempts", "state", "next_at", "held_until"])
        if answer.status == GONE:
            Subscription.objects.filter(id=row.subscription_id).update(active=False)
    return row


def _secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
