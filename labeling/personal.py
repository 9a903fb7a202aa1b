"""Personal data in text: e-mail addresses, phone numbers, payment cards and IBANs are found and masked.

Candidates are found by expressions that take time in proportion to the text, and are then held to the rules of their kind:
numbering plans (phonenumbers), check digits and lengths (python-stdnum). A number that is spoken in words is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import Leniency, PhoneNumberMatcher
from stdnum import iban, luhn

KINDS = ("email", "phone", "card", "iban")
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.%+-]{1,64}@(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.){1,8}(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})\b"
)
_IBAN = re.compile(r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}\b")
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){11,18}(?![\d.]\d|\d)")
_PHONE = re.compile(r"(?<![\w@.:-])(?!\d{4}-\d\d-\d\d)[+(]?\d(?:[ ()./\u00a0\u2010-\u2015-]{0,3}\d){5,16}(?![\w:])")
_DIGITS = re.compile(r"\d{2}")


class Found(NamedTuple):
    """A stretch of a text, and which kind of personal data it is."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Mask:
    """Which kinds are masked; `region` is the country (`US`, `DE`) whose phone numbers are known without their prefix."""

    kinds: tuple[str, ...] = ()
    region: str = ""

    def find(self, text: str) -> list[Found]:
        """What is found, in the order of the text, without overlaps: of two the one whose kind is checked more strictly."""
        taken: list[Found] = []
        for kind in ("email", "iban", "card", "phone"):
            if kind in self.kinds:
                taken += [one for one in _SEARCH[kind](text, self.region) if not _overlaps(one, taken)]
        return sorted(taken)

    def text(self, text: str) -> str:
        """The text with `[email]`, `[phone]`, `[card]`, `[iban]` in place of what was found."""
        if not self.kinds or not ("@" in text or _DIGITS.search(text)):
            return text
        parts, last = [], 0
        for start, end, kind in self.find(text):
            parts += [text[last:start], f"[{kind}]"]
            last = end
        return "".join((*parts, text[last:])) if parts else text

    def unmasked(self, sent: str, stored: str) -> str:
        """What an editor sends back: what is stored, where it is what they were shown of it."""
        return stored if sent == self.text(stored) else sent

    def data(self, value: Any) -> Any:
        """Every text and whole number inside JSON, masked; names of fields stay."""
        if not self.kinds:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool):  # a number that was sent as one
            text = str(value)
            masked = self.text(text)
            return value if masked == text else masked
        if isinstance(value, Mapping):
            return {name: self.data(part) for name, part in value.items()}
        return [self.data(part) for part in value] if isinstance(value, list | tuple) else value

    def turn(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        """A turn, masked. The recogniser's single words go where one of them may be a part of what was found."""
        text = str(turn.get("text", ""))
        masked = self.data(dict(turn))
        if masked.get("text") != text:
            masked.pop("words", None)
        return dict(masked)


def _overlaps(one: Found, taken: list[Found]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in taken)


def _emails(text: str, _: str) -> Iterator[Found]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield Found(match.start(), match.end(), "email")


def _ibans(text: str, _: str) -> Iterator[Found]:
    for match in _IBAN.finditer(text):
        # Words that follow may look like a part of it: the longest beginning that is an IBAN counts.
        found = match[0]
        while len(found) >= 15:
            if iban.is_valid(found):
                yield Found(match.start(), match.start() + len(found), "iban")
                break
            found = re.split(r"[ -](?=[^ -]*$)", found)[0] if re.search(r"[ -]", found) else ""


def _cards(text: str, _: str) -> Iterator[Found]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if len(set(digits)) > 1 and luhn.is_valid(digits):
            yield Found(match.start(), match.end(), "card")


def _phones(text: str, region: str) -> Iterator[Found]:
    for match in _PHONE.finditer(text):
        for number in PhoneNumberMatcher(match[0], region or None, leniency=Leniency.VALID):
            yield Found(match.start() + number.start, match.start() + number.end, "phone")


_SEARCH = {"email": _emails, "iban": _ibans, "card": _cards, "phone": _phones}
REGIONS = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
