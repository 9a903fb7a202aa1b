"""What the machine heard against what was said: word errors marked in the transcript (jiwer's alignment)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jiwer


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the transcript; `reference` is what was really said where the two differ, "" for words made up."""

    text: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Transcription:
    """Pieces per turn (or, where lines and turns do not match, of the whole), and the count of word errors."""

    by_turn: tuple[tuple[Piece, ...], ...]
    whole: tuple[Piece, ...]
    errors: int
    words: int

    @property
    def rate(self) -> float | None:
        """Word error rate: substitutions, deletions and insertions by the words of the reference."""
        return self.errors / self.words if self.words else None


def read(asr: Mapping[str, Any] | None, turns: Sequence[Mapping[str, Any]]) -> Transcription | None:
    """The comparison, where there is a hypothesis and a reference."""
    if not asr:
        return None
    heard, said = str(asr.get("hypothesis") or ""), str(asr.get("reference") or "")
    if not heard.strip() or not said.strip():
        return None
    lines = heard.split("\n"), said.split("\n")
    if len(lines[0]) == len(lines[1]) == len(turns):
        aligned = [align(one, other) for one, other in zip(*lines, strict=True)]
        pieces = tuple(tuple(found) for found, _ in aligned)
        return Transcription(pieces, (), sum(errors for _, errors in aligned), len(said.split()))
    found, errors = align(" ".join(heard.split()), " ".join(said.split()))
    return Transcription((), tuple(found), errors, len(said.split()))


def words(turn: Mapping[str, Any]) -> list[list[Any]]:
    """`[word, confidence]` for each word of a turn whose recogniser gave them: `words` is a list of
    `{"text" or "word", "confidence" or "probability"}`. Empty where it did not, or where they are not the turn's words.
    """
    given = turn.get("words")
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        return []
    found = [[_first(one, "text", "word"), _first(one, "confidence", "probability")] for one in given]
    if not all(isinstance(text, str) and (sure is None or _is_share(sure)) for text, sure in found):
        return []
    same = "".join("".join(text.split()) for text, _ in found) == "".join(str(turn.get("text", "")).split())
    return found if same and any(sure is not None for _, sure in found) else []


def _first(given: Mapping[str, Any], *names: str) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def align(heard: str, said: str) -> tuple[list[Piece], int]:
    """Pieces of what was heard, and the number of word errors in it."""
    words, reference = heard.split(), said.split()
    if not reference:
        return ([Piece(heard, "")] if words else []), len(words)
    if not words:
        return [Piece("", said)], len(reference)
    result = jiwer.process_words(said, heard)
    pieces = []
    for chunk in result.alignments[0]:
        mine = " ".join(words[chunk.hyp_start_idx : chunk.hyp_end_idx])
        theirs = " ".join(reference[chunk.ref_start_idx : chunk.ref_end_idx])
        pieces.append(Piece(mine) if chunk.type == "equal" else Piece(mine, theirs))
    return pieces, result.substitutions + result.deletions + result.insertions
