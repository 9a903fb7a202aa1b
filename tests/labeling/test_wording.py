"""Word errors of a transcript: counted as jiwer counts them, shown where they are."""

from __future__ import annotations

import jiwer
import pytest

from labeling import wording
from labeling.wording import Piece

TURNS = [{"role": "customer"}, {"role": "agent"}]


def test_it_works() -> None:
    pieces, errors = wording.align("i was changed twice", "i was charged twice")
    assert pieces == [Piece("i was"), Piece("changed", "charged"), Piece("twice")]
    assert errors == 1


@pytest.mark.parametrize(
    ("heard", "said", "pieces", "errors"),
    [
        ("a b", "a c b", [Piece("a"), Piece("", "c"), Piece("b")], 1),
        ("a x b", "a b", [Piece("a"), Piece("x", ""), Piece("b")], 1),
        ("", "a b", [Piece("", "a b")], 2),
        ("a b", "", [Piece("a b", "")], 2),
        ("", "", [], 0),
    ],
)
def test_missing_and_made_up_words(heard: str, said: str, pieces: list[Piece], errors: int) -> None:
    assert wording.align(heard, said) == (pieces, errors)


def test_lines_stand_by_their_turns_when_they_match() -> None:
    found = wording.read({"hypothesis": "a b\nc", "reference": "a x\nc"}, TURNS)
    assert found is not None and len(found.by_turn) == 2 and found.whole == ()
    assert (found.errors, found.words, found.rate) == (1, 3, pytest.approx(1 / 3))


def test_otherwise_the_whole_is_aligned() -> None:
    heard, said = "hello this is harbor valley bank", "hello this is harper valley national bank"
    found = wording.read({"hypothesis": heard, "reference": said}, TURNS)
    assert found is not None and found.by_turn == ()
    assert found.rate == pytest.approx(jiwer.wer(said, heard))
    assert " ".join(piece.text for piece in found.whole if piece.text) == heard


@pytest.mark.parametrize(
    "asr", [None, {}, {"hypothesis": "a"}, {"reference": "a"}, {"hypothesis": " ", "reference": "a"}]
)
def test_nothing_to_compare(asr: dict[str, str] | None) -> None:
    assert wording.read(asr, TURNS) is None
