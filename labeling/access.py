"""The one door from a person to an object: what is not theirs to see does not exist for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from labeling.adjudication import Scope
from labeling.models import Conversation, Dataset, DatasetVersion, Item, KnownItem, Queue, Signal, User

View = Callable[..., HttpResponseBase]


def role_required(role: str) -> Callable[[View], View]:
    """A page for people with `role` or one above it: others who are signed in get 403, strangers the sign-in page."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not person(request).may(role):
                raise PermissionDenied(f"This page is for the role {role} and above.")
            return view(request, *args, **kwargs)

        return login_required(guarded)

    return decorate


def person(request: HttpRequest) -> User:
    """The signed-in user of a guarded view, with its type."""
    assert isinstance(request.user, User)
    return request.user


def queue_to_label(user: User, slug: str) -> Queue:
    """A queue of which `user` is a member; 404 for everybody else, whatever their role."""
    return get_object_or_404(Queue.objects.filter(memberships__user=user), slug=slug)


def conversation_to_hear(user: User, external_id: str) -> Conversation:
    """A conversation for reviewers and above, and for members of a queue that asks it, as an item or as a check."""
    found = Conversation.objects.filter(external_id=external_id)
    if not user.may("reviewer"):
        item = Item.objects.filter(conversation=OuterRef("pk"), queue__memberships__user=user)
        known = KnownItem.objects.filter(conversation=OuterRef("pk"), queue__memberships__user=user)
        found = found.filter(Exists(item) | Exists(known))
    return get_object_or_404(found)


def queue_to_read(user: User, slug: str) -> Queue:
    """A queue for its members and for engineers and above."""
    return queue_to_label(user, slug) if not user.may("engineer") else get_object_or_404(Queue, slug=slug)


def queue_to_review(user: User, slug: str) -> Queue:
    """Any queue, for reviewers and above; a member without the role gets 403, a stranger 404."""
    queue = queue_to_label(user, slug) if not user.may("reviewer") else get_object_or_404(Queue, slug=slug)
    if not user.may("reviewer"):
        raise PermissionDenied("Reviewing is for reviewers and above.")
    return queue


def person_to_read(reader: User, name: str) -> User:
    """A person's own evidence, for themselves and for engineers and above; a colleague (somebody who shares a queue with
    them) gets 403, a stranger 404."""
    if reader.username == name:
        return reader
    person = User.objects.filter(username=name).first()
    if person is None or not (reader.may("engineer") or _share_a_queue(reader, person)):
        raise Http404("There is no such person.")
    if not reader.may("engineer"):
        raise PermissionDenied("What is known of somebody's labels is for themselves and for engineers.")
    return person


def _share_a_queue(one: User, other: User) -> bool:
    return Queue.objects.filter(memberships__user=one).filter(memberships__user=other).exists()


def review_scope(user: User, kind: str, slug: str) -> Scope:
    """What a reviewer looks at, a queue or a signal: a member of the queue without the role gets 403, a stranger 404."""
    if kind == "queue":
        return Scope(queue=queue_to_review(user, slug))
    if kind != "signal" or not user.may("reviewer"):
        raise Http404("There is no such review.")
    return Scope(signal=signal(slug))


def signal(slug: str) -> Signal:
    return get_object_or_404(Signal, slug=slug)


def dataset(slug: str) -> Dataset:
    return get_object_or_404(Dataset.objects.select_related("signal"), slug=slug)


def dataset_version(slug: str, number: int) -> DatasetVersion:
    """A frozen version; one that is being made does not exist yet for anyone."""
    versions = DatasetVersion.objects.select_related("dataset__signal").filter(frozen_at__isnull=False)
    return get_object_or_404(versions, dataset__slug=slug, number=number)
