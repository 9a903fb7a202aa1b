"""ZIP archives, written as they stream: one member a conversation, equal content giving equal bytes."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from urllib.parse import quote

EPOCH = (1980, 1, 1, 0, 0, 0)


class _Sink:
    """What a ZIP is written to: gives up its bytes as they come, and cannot go back."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self.pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        piece = b"".join(self.pieces)
        self.pieces.clear()
        return piece


def zipped(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The bytes of an archive with these members."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for name, body in members:
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, body)
            yield sink.taken()
    yield sink.taken()


def name(conversation: str, ending: str) -> str:
    """A file name for a conversation, from which its id can be read where it is plain; no path can hide in it."""
    return f"{re.sub(r'^[.]', '%2E', quote(conversation, safe=' @+=,;:'))[:200]}.{ending}"
