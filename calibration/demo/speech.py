"""The demo's calls, spoken by espeak-ng: each turn where the transcript has it, the customer on the left, the agent on the right."""

from __future__ import annotations

import ctypes
import io
import threading
import wave
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

SYNCHRONOUS, UTF8, RATE_PARAMETER = 2, 1, 1
"""espeak-ng's AUDIO_OUTPUT_SYNCHRONOUS, espeakCHARS_UTF8 and espeakRATE."""
VOICES = {"customer": b"en-us+f3", "agent": b"en-gb+m3"}
USUAL, SLOWEST, FASTEST = 150, 100, 400
"""Words a minute."""
THINNED = 2
"""Every second sample is kept, the mean of two: 11,025 a second, like a telephone."""
_HEARS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
# espeak-ng has one state for the whole process.
_ONE_AT_A_TIME = threading.Lock()


class Spoken(NamedTuple):
    """What is said, by whom, from when to when in seconds."""

    role: str
    text: str
    start: float
    end: float


class _Speaker:
    """espeak-ng, started once a process."""

    def __init__(self) -> None:
        self._parts: list[Samples] = []
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate: int = self._library.espeak_Initialize(
            SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), 0
        )
        if self.rate <= 0:
            raise RuntimeError("espeak-ng does not start")
        self._hears = _HEARS(self._hear)  # kept: the library holds no reference of its own
        self._library.espeak_SetSynthCallback(self._hears)

    def _hear(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, *, voice: bytes, words_a_minute: int) -> Samples:
        self._parts.clear()
        self._library.espeak_SetVoiceByName(voice)
        self._library.espeak_SetParameter(RATE_PARAMETER, words_a_minute, 0)
        said = text.encode()
        self._library.espeak_Synth(said, len(said) + 1, 0, 0, 0, UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.int16)


@cache
def _speaker() -> _Speaker:
    return _Speaker()


@lru_cache(maxsize=16)
def wav(call: tuple[Spoken, ...]) -> bytes:
    """A call as a WAV file on two channels; the same turns give the same bytes."""
    with _ONE_AT_A_TIME:
        speaker = _speaker()
        rate = speaker.rate // THINNED
        length = max((turn.end for turn in call), default=0.0) + 0.5
        track = np.zeros((round(length * rate), 2), np.int16)
        for turn in call:
            samples = _fitting(speaker, turn)
            samples = samples[: len(samples) // THINNED * THINNED].reshape(-1, THINNED).mean(axis=1).astype(np.int16)
            first = round(turn.start * rate)
            samples = samples[: len(track) - first]
            track[first : first + len(samples), int(turn.role != "customer")] = samples
    return _file(track, rate)


def _fitting(speaker: _Speaker, turn: Spoken) -> Samples:
    """The turn in as much time as it has: said again faster or slower, and cut where it cannot be said as fast as that."""
    voice, room = VOICES.get(turn.role, VOICES["agent"]), (turn.end - turn.start) * speaker.rate
    said = speaker.say(turn.text, voice=voice, words_a_minute=USUAL)
    pace = round(USUAL * len(said) / max(room, 1.0))
    said = speaker.say(turn.text, voice=voice, words_a_minute=min(FASTEST, max(SLOWEST, pace)))
    return said[: round(room)]


def _file(track: Samples, rate: int) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(track.shape[1])
        file.setsampwidth(track.itemsize)
        file.setframerate(rate)
        file.writeframes(track.astype("<i2").tobytes())
    return held.getvalue()


def of(turns: Iterable[dict[str, Any]], reference: str) -> tuple[Spoken, ...]:
    """What was really said in a call whose turns have times; `reference` has a line a turn."""
    return tuple(
        Spoken(turn["role"], said, float(turn["start"]), float(turn["end"]))
        for turn, said in zip(turns, reference.split("\n"), strict=False)
    )
