"""People: who may sign in, as what, and with which password."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from labeling.errors import Conflict, Forbidden, Refused
from labeling.models import User

NAME = re.compile(r"[\w.@+-]{1,150}")


@dataclass(frozen=True, slots=True)
class Registered:
    """What came of a registration; `password` is the made-up one, which is not stored and cannot be shown again."""

    user: User
    created: bool
    activated: bool
    password: str | None


@transaction.atomic
def register(*, username: str, role: str | None = None, password: str | None = None) -> Registered:
    """Create a person, or change role and password of the one who has the name.

    An annotator known only from loaded labels becomes somebody who can sign in. A password is made up where none is
    given and none is there; without a role, new people are annotators and others keep theirs.
    """
    if not NAME.fullmatch(username):
        raise Refused("bad_name", f"{username!r}: a name has letters, digits and . @ + - _", field="name")
    if role is not None and role not in User.Role.values:
        raise Refused("unknown_role", f"{role!r} is not one of {', '.join(User.Role.values)}", field="role")
    user = User.objects.select_for_update().filter(username=username).first()
    created = user is None
    user = user or User(username=username, is_active=False)
    activated = not user.is_active
    if role is not None and not created:
        _keep_an_admin(user, role=role)
    user.role = role or user.role
    made = secrets.token_urlsafe(12) if password is None and (activated or not user.has_usable_password()) else None
    if password or made:
        user.set_password(password or made)
    user.is_active = True
    user.save()
    return Registered(user=user, created=created, activated=activated and not created, password=made)


@transaction.atomic
def change_role(*, user: User, role: str) -> None:
    """The new role holds at once, for open sessions and tokens too."""
    if role not in User.Role.values:
        raise Refused("unknown_role", f"{role!r} is not one of {', '.join(User.Role.values)}", field="role")
    _keep_an_admin(user, role=role)
    User.objects.filter(id=user.id).update(role=role)


@transaction.atomic
def deactivate(*, user: User, by: User) -> None:
    """The person can no longer sign in, nor can their tokens; their labels stay."""
    if user.id == by.id:
        raise Forbidden("not_oneself", "nobody deactivates themselves: ask another admin", field="name")
    _keep_an_admin(user, role=User.Role.ANNOTATOR)
    User.objects.filter(id=user.id).update(is_active=False)


@transaction.atomic
def activate(*, user: User) -> Registered:
    """The person can sign in again, with the old password; one is made up where there is none."""
    made = None if user.has_usable_password() else secrets.token_urlsafe(12)
    if made is not None:
        user.set_password(made)
    user.is_active = True
    user.save(update_fields=["is_active", "password"])
    return Registered(user=user, created=False, activated=True, password=made)


@transaction.atomic
def change_password(*, user: User, old: str, new: str) -> None:
    """One's own password; the old one proves that it is oneself."""
    if not user.check_password(old):
        raise Refused("wrong_password", "the present password is another one", field="old")
    for sentence in weaknesses(new, user):
        raise Refused("weak_password", sentence, field="new")
    user.set_password(new)
    user.save(update_fields=["password"])


def weaknesses(password: str, user: User | None = None) -> list[str]:
    """What is wrong with a password, as sentences; nothing when it is good enough."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        return list(error.messages)
    return []


def _keep_an_admin(user: User, *, role: str) -> None:
    """Somebody must be left who can let others in."""
    if user.role != User.Role.ADMIN or role == User.Role.ADMIN or not user.is_active:
        return
    if not User.objects.filter(role=User.Role.ADMIN, is_active=True).exclude(id=user.id).exists():
        raise Conflict("last_admin", f"{user.username} is the last admin: make somebody else one first", field="role")
