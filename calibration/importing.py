"""Files in any format into the database: by command, over HTTP, and from the import page, where one is kept on disk."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import transaction

from calibration import ingest, tracing
from calibration.models import Span
from labeling import ingest as labeling_ingest
from labeling.errors import NotFound, Refused, RowError
from labeling.formats import catalogue, otlp, spans
from labeling.formats.jsonl import ByteStream, Record
from labeling.formats.shapes import GIVEN, Format, Options, filled
from labeling.loading import Loaded, known_signals
from labeling.models import User
from labeling.personal import Mask

KINDS: dict[str, Callable[..., Loaded]] = {
    "conversations": ingest.conversations,
    "labels": labeling_ingest.labels,
    "predictions": ingest.predictions,
    "outcomes": ingest.outcomes,
}
# What a person sees of a row in the preview; what else it has is named in the last column.
COLUMNS = {
    "conversations": ("id", "channel", "cohort", "customer", "started_at", "turns"),
    "labels": ("conversation", "turn", "signal", "annotator", "value"),
    "predictions": ("conversation", "turn", "classifier", "version", "value", "probabilities"),
    "outcomes": ("conversation", "customer", "kind", "value", "at"),
}
ANYWHERE = ("prefix", "conversation", "customers", "agents", "provider")
"""What may be given for a file of any kind beside the fields of its rows."""
KEYS = ("id", "conversation", "customer", "channel", "cohort")
"""Other systems join on them: they are never masked."""
PREVIEWED = 10
LOOKED_AT = 2000
KEPT_SECONDS = 24 * 3600
NOTED_SECONDS = 0.5
"""How far a file is read is noted so often."""
SALT = "cxlab.import"


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One row as it was understood: its line, its cells, the names of its further fields."""

    line: int
    cells: list[str]
    more: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of a file, what is wrong with them, and the fields that its entries have."""

    columns: tuple[str, ...]
    rows: list[PreviewRow]
    errors: list[RowError]
    found: list[str]


def format_named(name: str, kind: str) -> Format:
    """The format of that name; refused where there is none, or where it has no such rows."""
    if kind not in KINDS:
        raise Refused("unknown_kind", f"{kind!r} is not one of {', '.join(KINDS)}", field="kind")
    found = catalogue.FORMATS.get(name)
    if found is None:
        raise Refused("unknown_format", f"{name!r} is not one of {', '.join(catalogue.FORMATS)}", field="format")
    if kind not in found.reads:
        raise Refused(
            "not_in_format",
            f"{found.title} hold {', '.join(found.reads)}, no {kind}: choose another kind",
            field="kind",
        )
    return found


def pairs(given: Iterable[str], field: str) -> dict[str, str]:
    """`name=value` words as a mapping."""
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise Refused("bad_pair", f"{one!r} must be name=value", field=field)
        found[name.strip()] = value
    return found


def options(*, kind: str, name: str, given: Mapping[str, str], renamed: Mapping[str, str]) -> Options:
    """What a person said of a file, with the scales of the signals and the conversations of the spans known here."""
    known = {*GIVEN[kind], *ANYWHERE}
    for one in given:
        if one not in known:
            raise Refused(
                "unknown_field", f"{one!r} cannot be given for {kind}: only {', '.join(sorted(known))}", field="set"
            )
    scales = {slug: signal.scale.kind for slug, signal in known_signals().items()}
    return Options(name, given, renamed, scales, _whose())


def _whose() -> Callable[[str], str]:
    """The conversation of a trace or span that came in before; for others the id itself."""

    @lru_cache(maxsize=10_000)
    def whose(reference: str) -> str:
        plain = reference.lower().removeprefix("0x")
        found = Span.objects.filter(**{"trace_id" if len(plain) > 16 else "span_id": plain}).exclude(
            conversation_key=""
        )
        return found.values_list("conversation_key", flat=True).first() or reference

    return whose


def load(*, stream: ByteStream, kind: str, format: Format, options: Options, partial: bool = False) -> Loaded:
    """Load a file, all of it or nothing; spans are kept for the trace view too."""
    if format.spans and kind == "conversations":
        sessions = spans.Sessions(catalogue.fallen(stream, format=format, options=options), options)
        with transaction.atomic():
            loaded = KINDS[kind](records=_of_spans(sessions, options), partial=partial)
            _keep_spans(sessions.by_key)
        return loaded
    return KINDS[kind](records=catalogue.read(stream, format=format, kind=kind, options=options), partial=partial)


def _of_spans(sessions: spans.Sessions, options: Options) -> Iterable[Record | RowError]:
    yield from sessions.errors
    for record in sessions.conversations():
        yield Record(record.line, filled(record.data, "conversations", options.given))


def _keep_spans(by_key: Mapping[str, Sequence[otlp.Span]]) -> None:
    for key, mine in by_key.items():
        tracing.keep(spans=mine, conversation=key)


def keep(*, chunks: Iterable[bytes], name: str, user: User) -> str:
    """Write an upload to disk as it comes; gives the key with which its owner finds it again for a day."""
    folder = Path(settings.VAR) / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    _forget_old(folder)
    stored = uuid.uuid4().hex
    with (folder / stored).open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return signing.dumps([stored, user.id, name[:200]], salt=SALT)


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - KEPT_SECONDS:
            path.unlink(missing_ok=True)


def kept(*, key: str, user: User) -> tuple[Path, str]:
    """The file behind a key and the name it came with; NotFound for strangers, after a day, and once it was loaded."""
    try:
        stored, owner, name = signing.loads(key, salt=SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature:
        stored, owner, name = "", None, ""
    path = Path(settings.VAR) / "uploads" / str(stored)
    if owner != user.id or not path.is_file():
        raise NotFound("unknown_upload", "the file is not here any more: choose it again", field="file")
    return path, str(name)


def guessed(*, path: Path, name: str) -> tuple[str, str]:
    """The format and kind that a kept file most likely has."""
    with path.open("rb") as stream:
        return catalogue.guess(stream.read(catalogue.HEAD), name)


def preview(*, path: Path, kind: str, format: Format, options: Options, mask: Mask) -> Preview:
    """The first ten rows as `load` understands them: they are loaded and taken back. Texts are shown masked, keys are not.

    Where rows are made of many entries, such as spans, the first 2,000 entries are looked at.
    """
    found: dict[str, None] = {}
    with path.open("rb") as stream:
        entries = islice(catalogue.fallen(stream, format=format, options=options), LOOKED_AT)
        read = format.reads[kind](_named(entries, found), options)
        first = list(islice(read, PREVIEWED))
    first = [
        Record(one.line, filled(one.data, kind, options.given)) if isinstance(one, Record) else one for one in first
    ]
    with transaction.atomic():
        loaded = KINDS[kind](records=first, partial=True)
        transaction.set_rollback(True)
    rows = [_row(record, COLUMNS[kind], mask) for record in first if isinstance(record, Record)]
    errors = [replace(error, message=mask.text(error.message)) for error in loaded.errors]
    return Preview(COLUMNS[kind], rows, errors, list(found))


def _named(entries: Iterable[Record | RowError], found: dict[str, None]) -> Iterator[Record | RowError]:
    """The entries as they pass, their fields noted."""
    for entry in entries:
        if isinstance(entry, Record) and len(found) < 200:
            found.update(dict.fromkeys(entry.data))
        yield entry


def _row(record: Record, columns: tuple[str, ...], mask: Mask) -> PreviewRow:
    # Masked before it is cut short: half a number is none.
    shown = {name: value if name in KEYS else mask.data(value) for name, value in record.data.items()}
    cells = [_cell(name, shown.get(name)) for name in columns]
    return PreviewRow(record.line, cells, ", ".join(name for name in record.data if name not in columns))


def _cell(name: str, value: Any) -> str:
    if name == "turn" and value is None:
        return "whole"
    if name == "turns" and isinstance(value, list):
        first = value[0].get("text", "") if value and isinstance(value[0], dict) else ""
        return f"{len(value)}: {str(first)[:80]}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())[:120]
    if isinstance(value, list):
        return ", ".join(map(str, value))[:120]
    return "" if value is None else str(value)[:120]


class Watched:
    """A stream that tells how many bytes each read gave."""

    def __init__(self, stream: ByteStream, told: Callable[[int], object]) -> None:
        self._stream, self._told = stream, told

    def read(self, size: int, /) -> bytes:
        chunk = self._stream.read(size)
        self._told(len(chunk))
        return chunk


class _Notes:
    """How far a kept file is read, noted beside it: whichever process is asked finds it there."""

    def __init__(self, path: Path) -> None:
        self._path, self._began, self._noted, self._bytes = _note(path), time.monotonic(), 0.0, 0

    def __call__(self, more: int) -> None:
        self._bytes += more
        spent = time.monotonic() - self._began
        if spent - self._noted > NOTED_SECONDS:
            self._noted = spent
            whole = self._path.with_suffix(".new")
            whole.write_text(f"{self._bytes} {spent:.3f}")
            whole.replace(self._path)  # nobody reads half a note

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _note(path: Path) -> Path:
    return path.with_suffix(".read")


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of a kept file that were read, of all, in so many seconds."""

    read: int
    of: int
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far."""
        return self.seconds * (self.of / self.read - 1) if self.read else None


def progress(*, key: str, user: User) -> Progress:
    """How far the loading of a kept file has come; NotFound for strangers and once it is loaded."""
    path, _ = kept(key=key, user=user)
    try:
        size, (read, seconds) = path.stat().st_size, _note(path).read_text().split()
    except FileNotFoundError as gone:  # not begun, or just done
        raise NotFound("not_loading", "the file is not being loaded", field="file") from gone
    return Progress(int(read), size, float(seconds))


def load_kept(*, path: Path, kind: str, format: Format, options: Options) -> Loaded:
    """Load a kept file, and let go of it once it is stored."""
    notes = _Notes(path)
    try:
        with path.open("rb") as stream:
            loaded = load(stream=Watched(stream, notes), kind=kind, format=format, options=options)
    finally:
        notes.forget()
    path.unlink(missing_ok=True)
    return loaded
