"""Masked wherever it is shown: each page and each answer that carries what people wrote."""

from __future__ import annotations

import pytest

from labeling.models import OriginalReading, User
from tests.labeling.test_personal import SECRET, TEXT, as_, masking, sensitive
from tests.make import make_label, make_queue, make_signal, make_user

__all__ = ["masking"]
pytestmark = pytest.mark.django_db


def test_masked_on_every_page_and_in_the_api(masking: User) -> None:
    ann, ben = make_user("ann"), make_user("ben")
    signal = make_signal("mood")
    conversation = sensitive()
    make_queue("mood", signals=[signal], conversations=[conversation], members=[ann])
    as_(ann).post("/label/mood/")
    make_label(conversation, signal, ben, "negative", comment=TEXT)
    make_label(conversation, signal, make_user("cy"), "positive")
    desk = as_(ann).get("/label/mood/").content.decode()
    assert "[email]" in desk and SECRET not in desk
    admin = as_(masking)
    for path in (
        "/conversations/",
        "/conversations/c-1/",
        "/review/signal/mood/",
        f"/journeys/{conversation.customer}/",
        "/api/v1/conversations/",
        "/api/v1/conversations/c-1/?include=labels,predictions,outcomes",
    ):
        answer = admin.get(path)
        assert answer.status_code == 200, path
        assert "[email]" in answer.content.decode() and SECRET not in answer.content.decode(), path
    assert not OriginalReading.objects.exists()
