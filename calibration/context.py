"""What every page shows: the menu that this person's role can use, and how many flags wait."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from calibration.models import DriftFlag
from labeling.models import User

# name, address, the role it is for
MENU = [
    ("Label", "/label/", "annotator"),
    ("Review", "/review/", "reviewer"),
    ("Overview", "/", "engineer"),
    ("Classifiers", "/classifiers/", "engineer"),
    ("Trends", "/trends/", "engineer"),
    ("Drift", "/drift/", "engineer"),
    ("Outcomes", "/outcomes/", "engineer"),
    ("Voice", "/voice/", "engineer"),
    ("Datasets", "/datasets/", "engineer"),
    ("Gates", "/gates/", "engineer"),
    ("Queues", "/queues/", "engineer"),
    ("Settings", "/settings/", "annotator"),
]


def _is_at(path: str, url: str) -> bool:
    """Whether a page lies under a menu entry; trends have their pages under their signals."""
    if url == "/trends/" and path.startswith("/signals/"):
        return True
    return path == url or (url != "/" and path.startswith(url))


def navigation(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"menu": []}
    entries = [
        {"name": name, "url": url, "current": _is_at(request.path, url)} for name, url, role in MENU if user.may(role)
    ]
    waiting = DriftFlag.objects.filter(state=DriftFlag.State.OPEN).count() if user.may("engineer") else 0
    return {"menu": entries, "open_flags": waiting}
