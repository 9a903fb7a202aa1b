"""The sound of the demo's calls: each turn where the transcript has it, for those who may read the call."""

from __future__ import annotations

import io
import wave
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from django.test import Client

from calibration.demo import speech, world
from labeling.models import Conversation, User
from tests.make import make_conversation, make_known, make_queue, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def row() -> dict[str, Any]:
    turns = [
        {"role": "customer", "text": "My invoice for March shows the old plan, and I was charged twice."},
        {"role": "agent", "text": "I am sorry to hear that. Let me look at your account."},
        {"role": "customer", "text": "Thank you."},
    ]
    row = {"id": "d-1", "channel": "voice", "turns": turns}
    world.as_voice(row, datetime(2026, 3, 1, tzinfo=UTC), np.random.default_rng(3))
    return row


@pytest.fixture
def spoken(row: dict[str, Any]) -> Conversation:
    return make_conversation("d-1", turns=row["turns"], asr=row["asr"], audio=row["audio"], channel="voice")


def get(user: User | None, address: str = "/demo/calls/d-1.wav", **headers: str) -> Any:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client.get(address, headers=headers)


def test_each_turn_is_heard_where_the_transcript_has_it(row: dict[str, Any]) -> None:
    call = speech.of(row["turns"], row["asr"]["reference"])
    with wave.open(io.BytesIO(speech.wav(call))) as file:
        rate = file.getframerate()
        track = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).astype(float)
    for turn in row["turns"]:
        mine, other = (0, 1) if turn["role"] == "customer" else (1, 0)
        here = slice(round(turn["start"] * rate), round(turn["end"] * rate))
        assert np.abs(track[here, mine]).max() > 2000
        loud = np.flatnonzero(np.abs(track[here, mine]) > 500)
        assert loud[-1] - loud[0] > 0.5 * (here.stop - here.start), "the turn does not fill its time"
        assert not track[here, other].any()
    assert len(track) == round((row["turns"][-1]["end"] + 0.5) * rate)
    for one, next_one in zip(row["turns"], row["turns"][1:], strict=False):
        assert not track[round(one["end"] * rate) + 1 : round(next_one["start"] * rate)].any()


def test_a_long_text_is_said_faster_and_ends_in_time() -> None:
    call = (speech.Spoken("agent", "One two three four five six seven eight nine ten. " * 20, 0.0, 2.0),)
    with wave.open(io.BytesIO(speech.wav(call))) as file:
        assert file.getnframes() == round(2.5 * file.getframerate())


def test_players_seek_by_ranges(spoken: Conversation) -> None:
    rita = make_user("rita", role="reviewer")
    whole = get(rita)
    assert (whole.status_code, whole["Content-Type"], whole["Accept-Ranges"]) == (200, "audio/wav", "bytes")
    assert whole.content[:4] == b"RIFF"
    size = len(whole.content)
    part = get(rita, Range="bytes=100-199")
    assert (part.status_code, part["Content-Range"]) == (206, f"bytes 100-199/{size}")
    assert part.content == whole.content[100:200]
    assert get(rita, Range=f"bytes={size - 10}-").content == whole.content[-10:]
    assert get(rita, Range="bytes=-10").content == whole.content[-10:]
    assert get(rita, Range=f"bytes=0-{10 * size}").content == whole.content
    assert get(rita, Range=f"bytes={size}-").status_code == 416
    assert get(rita, Range="turns=1-2").content == whole.content


def test_who_may_hear_it(spoken: Conversation) -> None:
    ann, ben, cleo = make_user("ann"), make_user("ben"), make_user("cleo")
    make_queue("calls", conversations=[spoken], members=[ann])
    other = make_queue("others", members=[ben, cleo])
    assert get(ann).status_code == 200
    assert get(ben).status_code == 404
    assert get(None).status_code == 302
    make_known(other, ["positive"])
    other.known_items.update(conversation=spoken)
    assert get(cleo).status_code == 200, "a check is heard like an item"


def test_only_what_is_spoken_here(spoken: Conversation) -> None:
    rita = make_user("rita", role="reviewer")
    make_conversation("d-2", channel="voice", audio="https://calls.example.com/2.wav", asr={"reference": "Hello."})
    assert get(rita, "/demo/calls/d-2.wav").status_code == 404
    assert get(rita, "/demo/calls/d-3.wav").status_code == 404
