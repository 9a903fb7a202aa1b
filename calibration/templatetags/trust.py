"""The glyph of trust, one drawing everywhere: interval on a fine line, dotted bar, point by verdict, people as a diamond."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from calibration import numerals
from calibration.evidence import sentences
from calibration.moves import move_words
from calibration.stats.verdicts import TRUSTED, UNPROVEN, UNTRUSTED

register = template.Library()

HEIGHT = 22
MIDDLE = HEIGHT / 2
# Room for half a point at either end.
MARGIN = 5.0


@register.simple_tag
def mark(verdict: str) -> SafeString:
    """The verdict's shape alone, to stand before its word or number: it says nothing that is not written beside it."""
    return format_html(
        '<svg class="mark {}" width="11" height="11" viewBox="-5.5 -5.5 11 11" aria-hidden="true" focusable="false">{}</svg>',
        verdict,
        _shape(verdict, 0, 0, 4.6),
    )


@register.simple_tag
def glyph(row: dict[str, Any], statistic: str, bar: float, low: float = 0.2, width: int = 180) -> SafeString:
    """The glyph of one slice: `row` is a report's row; the axis runs from `low` to 1."""
    found = row[statistic]
    if found["value"] is None:
        return mark_safe("")
    axis = _Axis(low, width)
    parts = [
        format_html('<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>', width, MIDDLE, MIDDLE),
        format_html('<line class="bar" x1="{0}" x2="{0}" y1="1" y2="{1}"/>', axis.at(bar), HEIGHT - 1),
    ]
    if found.get("low") is not None:
        parts.append(_interval(axis, found))
    people = row.get("human_alpha") or {}
    if people.get("value") is not None:
        parts.append(_diamond(axis.at(people["value"])))
    parts.append(_shape(row["verdict"], axis.at(found["value"]), MIDDLE, 5.2))
    return format_html(
        '<svg class="glyph {}" width="{}" height="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        row["verdict"],
        width,
        HEIGHT,
        width,
        HEIGHT,
        in_words(row, statistic, bar),
        mark_safe("".join(parts)),
    )


@register.simple_tag
def span_glyph(found: dict[str, Any], low: float = 0.0, width: int = 180) -> SafeString:
    """An interval and its point on an axis up to 1, without a verdict: the number is written beside it."""
    if found.get("value") is None or found.get("low") is None:
        return mark_safe("")
    axis = _Axis(low, width)
    return format_html(
        '<svg class="glyph" width="{0}" height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true" focusable="false">'
        '<line class="axis" x1="0" x2="{0}" y1="{2}" y2="{2}"/>{3}<circle class="point" cx="{4}" cy="{2}" r="4.6"/></svg>',
        width,
        HEIGHT,
        MIDDLE,
        _interval(axis, found),
        axis.at(found["value"]),
    )


@register.simple_tag
def in_words(row: dict[str, Any], statistic: str, bar: float) -> str:
    """What the glyph shows, for who cannot see it."""
    found = row[statistic]
    if found["value"] is None:
        return f"{row['verdict']}: {sentences.reason(found.get('reason'))}"
    limits = f", between {found['low']:.2f} and {found['high']:.2f}" if found.get("low") is not None else ""
    name = sentences.statistic_name(statistic)
    text = f"{row['verdict']}: {name} {found['value']:.2f}{limits}; the bar is {bar:.2f}"
    people = row.get("human_alpha") or {}
    return text if people.get("value") is None else f"{text}; people among each other {people['value']:.2f}"


@register.filter
def two(number: float | None) -> str:
    """Two decimals with a true minus sign, or a dash."""
    return "–" if number is None else numerals.written(number)


@register.filter
def signed(number: float | None) -> str:
    """Two decimals with the sign of a difference."""
    return "–" if number is None else numerals.signed(number)


@register.filter
def p_value(p: float | None) -> str:
    """A p value for people."""
    return move_words.p_value(p)


@register.filter
def limits(found: dict[str, Any]) -> str:
    """`0.58–0.73`, empty where there is no interval."""
    if found.get("low") is None:
        return ""
    separator = " to " if found["low"] < 0 else "–"
    return f"{two(found['low'])}{separator}{two(found['high'])}"


@register.simple_tag
def estimate(row: dict[str, Any], name: str) -> str:
    """A statistic of a row by name, as a number or a dash."""
    return two(row.get(name, {}).get("value"))


@register.simple_tag
def estimate_title(row: dict[str, Any], name: str) -> SafeString:
    """Its interval, or why it has none, as a title."""
    found = row.get(name, {})
    if found.get("value") is None:
        return format_html(' title="{}"', sentences.reason(found.get("reason")))
    return format_html(' title="{}"', limits(found)) if found.get("low") is not None else mark_safe("")


@register.filter
def percent(share: float | None) -> str:
    """Whole per cent."""
    return "–" if share is None else f"{100 * share:.0f} %"


@register.filter
def plus_minus(found: dict[str, Any]) -> str:
    """`±.04`: half the interval's width, for a column of shares."""
    if found.get("low") is None:
        return ""
    return f"±{(found['high'] - found['low']) / 2:.2f}".replace("0.", ".", 1)


@register.filter
def answer(text: str | None) -> str:
    """A canonical value as people write it: the labels of a set in a row."""
    if not text or not text.startswith("["):
        return text or ""
    labels = json.loads(text)
    return " + ".join(labels) or "none"


@register.filter
def seconds(number: float | None) -> str:
    """A time of an answer: milliseconds below a second."""
    if number is None:
        return "–"
    return f"{1000 * number:.0f} ms" if number < 1 else f"{number:.1f} s"


@register.filter
def price(number: float | None) -> str:
    """A cost with two decimals, or with two significant ones where it is less than a hundredth; prices have no currency here."""
    if number is None:
        return "–"
    return f"{number:.2f}" if number == 0 or number >= 0.01 else f"{number:.2g}"


@register.filter
def needed(number: int | None) -> str:
    """Labels needed: `enough`, a number, or `over 5,000`."""
    if number is None:
        return "–"
    return sentences.labels(number) if number else "enough"


@register.filter
def reason(code: str | None) -> str:
    return sentences.reason(code)


@register.filter
def slice_words(one: dict[str, str]) -> str:
    return sentences.slice_name(one)


@register.filter
def statistic(name: str) -> str:
    return sentences.statistic_name(name)


@register.filter
def short_hash(sha256: str) -> str:
    """Two groups of four, as people read them out."""
    return f"{sha256[:4]} {sha256[4:8]}"


class _Axis:
    """From a value to a place on the line; what lies beyond the axis is drawn at its end."""

    def __init__(self, low: float, width: int) -> None:
        self.low, self.width = low, width

    def at(self, value: float) -> float:
        share = (value - self.low) / (1.0 - self.low)
        return round(MARGIN + min(max(share, 0.0), 1.0) * (self.width - 2 * MARGIN), 1)


def _interval(axis: _Axis, found: dict[str, Any]) -> SafeString:
    return format_html(
        '<line class="interval" x1="{}" x2="{}" y1="{}" y2="{}"/>',
        axis.at(found["low"]),
        axis.at(found["high"]),
        MIDDLE,
        MIDDLE,
    )


def _diamond(x: float) -> SafeString:
    points = f"{x},{MIDDLE - 8} {x + 4.5},{MIDDLE} {x},{MIDDLE + 8} {x - 4.5},{MIDDLE}"
    return format_html('<polygon class="people" points="{}"/>', points)


def _shape(verdict: str, x: float, y: float, size: float) -> SafeString:
    """Filled circle, triangle or dashed ring: told apart without colour."""
    if verdict == UNTRUSTED:
        points = f"{x},{y - size} {x + size},{y + size * 0.8:.1f} {x - size},{y + size * 0.8:.1f}"
        return format_html('<polygon class="point" points="{}"/>', points)
    if verdict == UNPROVEN:
        return format_html('<circle class="ring" cx="{}" cy="{}" r="{}"/>', x, y, round(size - 0.8, 1))
    assert verdict == TRUSTED, verdict
    return format_html('<circle class="point" cx="{}" cy="{}" r="{}"/>', x, y, size)
