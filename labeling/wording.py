"""What the machine heard against what was said: word errors marked in the transcript (jiwer's alignment)."""

from __future__ import annotations

import unicodedata
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
    whole, errors = align(" ".join(heard.split()), " ".join(said.split()))
    words = len(normal(said).split())
    lines = heard.split("\n"), said.split("\n")
    if len(lines[0]) == len(lines[1]) == len(turns):
        pieces = tuple(tuple(align(one, other)[0]) for one, other in zip(*lines, strict=True))
        return Transcription(pieces, (), errors, words)
    return Transcription((), tuple(whole), errors, words)


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


def normal(text: str) -> str:
    """Words as they are compared, everywhere: lower case, punctuation but apostrophes gone, one space between them."""
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    kept = (" " if unicodedata.category(one)[0] in "PS" and one != "'" else one for one in plain)
    return " ".join(word.strip("'") for word in "".join(kept).split() if word.strip("'"))


def align(heard: str, said: str) -> tuple[list[Piece], int]:
    """Pieces of what was heard, as it was written, and the number of word errors in it by `normal` words."""
    mine, theirs = _Words.of(heard), _Words.of(said)
    if not theirs.plain:
        return ([Piece(heard, "")] if mine.plain else []), len(mine.plain)
    if not mine.plain:
        return [Piece("", said)], len(theirs.plain)
    result = jiwer.process_words(" ".join(theirs.plain), " ".join(mine.plain))
    pieces = []
    for chunk in result.alignments[0]:
        text = mine.between(chunk.hyp_start_idx, chunk.hyp_end_idx)
        reference = theirs.between(chunk.ref_start_idx, chunk.ref_end_idx)
        pieces.append(Piece(text) if chunk.type == "equal" else Piece(text, reference))
    return pieces, result.substitutions + result.deletions + result.insertions


@dataclass(frozen=True, slots=True)
class _Words:
    """A text's words as they are compared (`plain`), and as they were written: `check-in,` is two of the first and one of
    the second, which stands with its first word; what is no word stands with the one before it."""

    plain: list[str]
    written: list[str]

    @classmethod
    def of(cls, text: str) -> _Words:
        plain: list[str] = []
        written: list[str] = []
        for token in text.split():
            words = normal(token).split()
            if words:
                plain += words
                written += [token, *[""] * (len(words) - 1)]
            elif written:
                written[-1] = f"{written[-1]} {token}".strip()
        return cls(plain, written)

    def between(self, start: int, end: int) -> str:
        return " ".join(word for word in self.written[start:end] if word)
