"""Transcripts as captions: WebVTT with its voice tags, and SRT with `Speaker: ` before the words."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import srt
import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from labeling.errors import RowError
from labeling.formats import archives, entries
from labeling.formats.jsonl import Record
from labeling.formats.rows import FieldRefused
from labeling.formats.shapes import CARRIED, Entries, Format, Options, Unit, carried, each, restored, role

MARK = f"{CARRIED} "
NAMED = re.compile(r"^\s*(?:\[([^\]\n]{1,60})\]\s*:?|([^\W\d_][\w .'’\-#]{0,59}):)\s+(?=\S)")
TAGS = re.compile(r"</?[^<>]*>")
STEP = 1.0
"""Seconds that a turn without times is given."""


def parse_vtt(text: str, options: Options) -> Entries:
    """The cues of a WebVTT file as one entry; a cue that could not be read is told with its line."""
    lines = text.splitlines()
    if not text.removeprefix("\ufeff").startswith("WEBVTT"):
        yield RowError(1, None, "must begin with WEBVTT")
        return
    try:
        found = webvtt.from_string(text)
    except (MalformedFileError, MalformedCaptionError, ValueError, IndexError) as error:
        yield RowError(1, None, f"is not usable WebVTT: {error}")
        return
    wrong = _unread(lines, [(one.start, one.end) for one in found.captions])
    if wrong:
        yield RowError(wrong, "cue", f"has times that cannot be read: {lines[wrong - 1].strip()[:60]!r}")
        return
    if not found.captions:
        yield RowError(1, "cue", "is required: the file has none")
        return
    cues = [{"start": one.start_in_seconds + _thousandths(one.start), "end": one.end_in_seconds + _thousandths(one.end),
             "speaker": html.unescape(one.voice or ""), "text": _words(one.raw_text)} for one in found.captions]  # fmt: skip
    yield Record(1, {"cues": cues, "note": _note(found.header_comments)})


def _thousandths(stamp: str) -> float:
    return int(stamp[-3:]) / 1000


def _unread(lines: list[str], read: list[tuple[str, str]]) -> int:
    """The first line with an arrow that no cue came of, 0 where each gave one."""
    arrows = [number for number, one in enumerate(lines, 1) if "-->" in one and not one.startswith("NOTE")]
    if len(arrows) == len(read):
        return 0
    given = {start for start, _ in read}
    return next(
        (number for number in arrows if not any(start[-9:] in lines[number - 1] for start in given)), arrows[-1]
    )


def _words(raw: str) -> str:
    return html.unescape(TAGS.sub("", raw))


def _note(comments: Iterable[str]) -> dict[str, Any]:
    """What a file that cxlab wrote says of itself in a comment."""
    for comment in comments:
        if comment.startswith(MARK):
            try:
                found = json.loads(comment.removeprefix(MARK))
            except (ValueError, RecursionError):
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def parse_srt(text: str, options: Options) -> Entries:
    """The subtitles of an SRT file as one entry."""
    plain = text.replace("\r\n", "\n")
    try:
        found = list(srt.parse(plain))
    except srt.SRTParseError as error:
        at = min(int(getattr(error, "expected_start", 0) or 0), len(plain))
        yield RowError(
            plain.count("\n", 0, at) + 1, "subtitle", "cannot be read: a number, times with -->, and text are expected"
        )
        return
    except (ValueError, OverflowError) as error:
        yield RowError(None, "subtitle", f"cannot be read: {error}")
        return
    if not found:
        yield RowError(1, None, "has no subtitles")
        return
    cues = []
    for one in found:
        named = NAMED.match(one.content)
        speaker = (named.group(1) or named.group(2)) if named else ""
        body = one.content[named.end() :] if named else one.content
        cues.append(
            {
                "start": one.start.total_seconds(),
                "end": one.end.total_seconds(),
                "speaker": speaker,
                "text": TAGS.sub("", body),
            }
        )
    yield Record(1, {"cues": cues, "note": {}})


def conversations(document: Mapping[str, Any], options: Options) -> Iterator[dict[str, Any]]:
    """A cue is a turn. Without any names, all is the customer's; who answers a call speaks first."""
    note = document["note"]
    unknown: str | None = None
    turns = []
    for cue in document["cues"]:
        speaker = cue["speaker"].strip()
        found = role(speaker, options, otherwise="") if speaker else "customer"
        if not found:
            unknown = speaker if unknown is None else unknown
            found = "agent" if speaker == unknown else "customer"
        turn = {"role": found, "text": cue["text"], "start": round(cue["start"], 3), "end": round(cue["end"], 3)}
        turns.append(turn | ({"speaker": speaker} if speaker and found != speaker.lower() else {}))
    if not turns:
        raise FieldRefused("cue", "is required: the file has none")
    # A file in an archive has the conversation's id as its name.
    named = (
        options.given.get("conversation") or str(note.get("id") or "") or unquote(document.get("name") or options.stem)
    )
    if not named:
        raise FieldRefused("id", "is required: the file has no name; give conversation=")
    row: dict[str, Any] = {
        "id": options.reference(named),
        "channel": options.given.get("channel") or "voice",
        "turns": turns,
    }
    if not note:
        heard = "\n".join(turn["text"] for turn in turns)
        row["asr"] = {"hypothesis": heard, "provider": options.given.get("provider") or "captions"}
        yield row
        return
    row["turns"] = [{"role": turn["role"], "text": turn["text"]} for turn in turns]
    texts = note.get("texts")
    if isinstance(texts, list) and len(texts) == len(turns):  # texts that captions cannot hold as they are
        row["turns"] = [
            turn if text is None else turn | {"text": text} for turn, text in zip(row["turns"], texts, strict=True)
        ]
    yield restored(row, note.get("beside"))


def _named(parse: Any) -> Any:
    """The entries of a file with the file's name, which is the conversation's."""

    def read(text: str, options: Options) -> Entries:
        for entry in parse(text, options):
            yield Record(entry.line, {**entry.data, "name": options.stem}) if isinstance(entry, Record) else entry

    return read


def _times(unit: Unit) -> Iterator[tuple[float, float, dict[str, Any]]]:
    """(start, end, turn); turns without times follow each other, a second each."""
    clock = 0.0
    for turn in unit.turns:
        start = float(turn["start"]) if isinstance(turn.get("start"), int | float) else clock
        end = float(turn["end"]) if isinstance(turn.get("end"), int | float) else start + STEP
        clock = max(clock, end)
        yield max(start, 0.0), max(end, start, 0.0), turn


def write_vtt(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """A ZIP archive with a WebVTT file for each conversation; what cues cannot say stands in a comment."""
    return archives.zipped((archives.name(unit.id, "vtt"), _vtt(unit)) for unit in units)


def _vtt(unit: Unit) -> bytes:
    beside = carried(unit.conversation)
    texts = [_cue_text(str(turn.get("text", ""))) for turn in unit.turns]
    said = [
        None if text == turn.get("text") else turn.get("text") for text, turn in zip(texts, unit.turns, strict=True)
    ]
    note: dict[str, Any] = {"id": unit.id, "beside": beside}
    if any(one is not None for one in said):
        note["texts"] = said
    # An arrow would end the comment.
    comment = json.dumps(note, ensure_ascii=True).replace(">", "\\u003e")
    blocks = [f"WEBVTT\n\nNOTE {MARK}{comment}\n"]
    for (start, end, turn), text in zip(_times(unit), texts, strict=True):
        body = html.escape(text, quote=False)
        blocks.append(f"{_stamp(start, '.')} --> {_stamp(end, '.')}\n<v {turn.get('role', 'customer')}>{body}\n")
    return "\n".join(blocks).encode("utf-8", "backslashreplace")


def write_srt(units: Iterable[Unit], kind: str) -> Iterator[bytes]:
    """A ZIP archive with an SRT file for each conversation."""
    return archives.zipped((archives.name(unit.id, "srt"), _srt(unit)) for unit in units)


def _srt(unit: Unit) -> bytes:
    blocks = [
        srt.Subtitle(number, timedelta(seconds=start), timedelta(seconds=end),
                     f"{turn.get('role', 'customer')}: {_cue_text(str(turn.get('text', '')))}")
        for number, (start, end, turn) in enumerate(_times(unit), 1)
    ]  # fmt: skip
    return str(srt.compose(blocks, reindex=False, strict=False)).encode("utf-8", "backslashreplace")


def _cue_text(text: str) -> str:
    """Words without what ends a cue: empty lines and arrows; an empty turn is a dash."""
    kept = "\n".join(one.strip() for one in text.splitlines() if one.strip())
    return kept.replace("-->", "→") or "–"


def _stamp(seconds: float, point: str) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


WEBVTT = Format(
    name="webvtt",
    title="WebVTT transcripts",
    version="WebVTT (W3C), voice tags `<v Name>`",
    ending="zip",
    content_type="application/zip",
    entries=entries.documents(_named(parse_vtt)),
    reads={"conversations": each(conversations)},
    writes={"conversations": write_vtt},
    drops={"conversations": "nothing: what cues cannot say stands in a NOTE"},
)
SRT = Format(
    name="srt",
    title="SRT transcripts",
    version="SubRip",
    ending="zip",
    content_type="application/zip",
    entries=entries.documents(_named(parse_srt)),
    reads={"conversations": each(conversations)},
    writes={"conversations": write_srt},
    drops={
        "conversations": "everything but id, roles, words and times to the millisecond; empty lines in a turn; "
        "a turn without words comes back as a dash, one without times with a second of its own"
    },
)
