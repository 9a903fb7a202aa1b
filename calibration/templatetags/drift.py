"""Small drawings of the drift pages, as inline SVG: evidence against its alarm line, parts of a movement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from calibration import numerals

register = template.Library()

WIDTH, HEIGHT = 260, 44


@register.simple_tag
def evidence(values: Sequence[float], alarm_at: float | None) -> SafeString:
    """e-values on a logarithmic scale, the alarm line dotted above them."""
    if not values or not alarm_at:
        return mark_safe("")
    logs = [math.log10(max(value, 0.05)) for value in values]
    top = max(*logs, math.log10(alarm_at)) + 0.15
    low = min(*logs, 0.0) - 0.15
    step = WIDTH / max(len(logs) - 1, 1)

    def at(log: float) -> float:
        return round(HEIGHT - 3 - (log - low) / (top - low) * (HEIGHT - 6), 1)

    points = " ".join(f"{round(i * step, 1)},{at(log)}" for i, log in enumerate(logs))
    line = at(math.log10(alarm_at))
    told = f"evidence that something changed: {number(values[-1])} now, {number(max(values))} at its height, alarm at {alarm_at:.0f}"
    return format_html(
        '<svg class="evidence" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">'
        '<line class="alarm" x1="0" x2="{0}" y1="{3}" y2="{3}"/><polyline points="{4}"/>'
        '<circle cx="{5}" cy="{6}" r="2.4"/></svg>',
        WIDTH,
        HEIGHT,
        told,
        line,
        points,
        round((len(logs) - 1) * step, 1),
        at(logs[-1]),
    )


@register.filter
def number(value: float) -> str:
    """An e-value for people: 41, or 3 × 10⁷."""
    if value < 10:
        return f"{value:.1f}"
    if value < 1e4:
        return f"{value:,.0f}"
    power = math.floor(math.log10(value))
    return f"{value / 10**power:.0f} × 10{str(power).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


@register.filter
def points(value: float | None) -> str:
    """A share as signed points with a true minus: +8.4."""
    return "–" if value is None else numerals.points(value)


@register.filter
def tenths(value: float | None) -> str:
    """A share for people: 34.1 %."""
    return "–" if value is None else f"{100 * value:.1f} %"


@register.filter
def of_id(told: Mapping[int, str], key: int) -> str:
    """The entry of a mapping by a number, empty where there is none."""
    return told.get(key, "")


@register.filter
def split_words(text: str) -> list[str]:
    """The words of a literal list in a template."""
    return text.split()


@register.simple_tag
def bars(parts: Sequence[dict[str, Any]], index: int, width: int = 300) -> SafeString:
    """One part as a bar from zero with its interval, on an axis shared by all parts."""
    known = [part for part in parts if part.get("value") is not None]
    ends = [abs(part[name]) for part in known for name in ("value", "low", "high") if part.get(name) is not None]
    reach = max(ends, default=0.0) or 1.0
    part = parts[index]
    if part.get("value") is None:
        return mark_safe("")

    def at(value: float) -> float:
        return round(width / 2 + value / reach * (width / 2 - 4), 1)

    zero, tip = at(0), at(part["value"])
    shapes = [
        ("zero", zero, 2, 1, 20),
        ("bar", min(zero, tip), 7, max(abs(tip - zero), 1), 10),
        ("interval", at(part["low"]), 11, max(at(part["high"]) - at(part["low"]), 1), 2),
    ]
    drawn = format_html_join("", '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>', shapes)
    told = f"{part['value']:+.3f}, between {part['low']:+.3f} and {part['high']:+.3f}"
    return format_html(
        '<svg class="part" viewBox="0 0 {0} 24" width="{0}" height="24" role="img" aria-label="{1}">{2}</svg>',
        width,
        told,
        drawn,
    )
