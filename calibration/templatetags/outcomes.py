"""Small drawings of outcomes and of transcription: an interval on its axis, a fitted curve with its bands."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from calibration import numerals
from calibration.hearing import Hearing
from calibration.stats.estimate import Estimate
from calibration.stats.outcomes import ResponseBias

register = template.Library()
HEIGHT, MIDDLE, MARGIN = 18, 9, 5
WIDE, TALL, LEFT, TOP, BOTTOM, STEPS = 360, 190, 44, 10, 22, 40


@register.simple_tag
def span(
    found: Estimate, low: float = 0.0, high: float = 1.0, width: int = 150, bound: ResponseBias | None = None
) -> SafeString:
    """An estimate with its interval between `low` and `high`; with `bound`, dashed, how far the silent could move it."""
    if found.value is None:
        return mark_safe("")

    def at(value: float) -> float:
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return round(MARGIN + share * (width - 2 * MARGIN), 1)

    lines = [("axis", 0.0, float(width))]
    if bound is not None:
        lines.append(("bound", at(bound.low), at(bound.high)))
    if found.low is not None and found.high is not None:
        lines.append(("interval", at(found.low), at(found.high)))
    drawn = format_html_join(
        "", '<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>', ((*line, MIDDLE, MIDDLE) for line in lines)
    )
    return format_html(
        '<svg class="span" width="{0}" height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true" focusable="false">{2}'
        '<circle class="point" cx="{3}" cy="{4}" r="4.6"/></svg>',
        width, HEIGHT, drawn, at(found.value), MIDDLE,
    )  # fmt: skip


@register.filter
def share(found: Estimate) -> str:
    """A share as whole per cent, or a dash."""
    return "–" if found.value is None else f"{100 * found.value:.0f} %"


@register.filter
def share_limits(found: Estimate) -> str:
    """`31–38`, in per cent."""
    return "" if found.low is None or found.high is None else f"{100 * found.low:.0f}–{100 * found.high:.0f}"


@register.filter
def tenths_limits(found: Estimate) -> str:
    """`5.1–6.0`, in per cent."""
    return "" if found.low is None or found.high is None else f"{100 * found.low:.1f}–{100 * found.high:.1f}"


@register.filter
def plain(found: Estimate, digits: int = 1) -> str:
    """A number with a true minus sign, or a dash."""
    return "–" if found.value is None else numerals.written(found.value, digits)


@register.filter
def plain_limits(found: Estimate, digits: int = 1) -> str:
    """`−4 to 12`, as many digits as the number."""
    if found.low is None or found.high is None:
        return ""
    separator = " to " if found.low < 0 else "–"
    return f"{numerals.written(found.low, digits)}{separator}{numerals.written(found.high, digits)}"


@register.simple_tag
def curve(one: Hearing) -> SafeString:
    """Agreement by word error rate: bands with their intervals, the fitted curve, the bar dotted, where they cross."""
    reach = max(one.worst_rate, *(band.rate for band in one.bands), 0.02) * 1.05

    def x(rate: float) -> float:
        return round(LEFT + rate / reach * (WIDE - LEFT - 8), 1)

    def y(agreement: float) -> float:
        return round(TOP + (1 - agreement) * (TALL - TOP - BOTTOM), 1)

    drawn: list[SafeString] = []
    for tick in (0.0, 0.5, 1.0):
        drawn.append(
            format_html(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
                LEFT, WIDE, y(tick), y(tick), LEFT - 6, y(tick) + 4, f"{100 * tick:.0f} %",
            )
        )  # fmt: skip
    for rate in (0.0, reach / 2, reach):
        place, anchor = x(rate), "start" if not rate else "middle" if rate < reach else "end"
        drawn.append(
            format_html(
                '<text x="{}" y="{}" text-anchor="{}">{}</text>', place, TALL - 5, anchor, f"{100 * rate:.0f} %"
            )
        )
    if one.bar is not None:
        drawn.append(
            format_html('<line class="bar" x1="{}" x2="{}" y1="{}" y2="{}"/>', LEFT, WIDE, y(one.bar), y(one.bar))
        )
    for band in one.bands:
        found = band.agreement
        if found.value is not None and found.low is not None and found.high is not None:
            spot = x(band.rate)
            drawn.append(
                format_html(
                    '<line class="band" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><circle class="point" cx="{0}" cy="{3}" r="4"/>',
                    spot, y(found.low), y(found.high), y(found.value),
                )
            )  # fmt: skip
    if one.trend.curve is not None:
        rates = [one.worst_rate * step / STEPS for step in range(STEPS + 1)]
        points = " ".join(f"{x(rate)},{y(one.fitted(rate))}" for rate in rates)
        drawn.append(format_html('<polyline class="fit" points="{}"/>', points))
    if one.trend.falls_below_at is not None:
        spot = x(one.trend.falls_below_at)
        drawn.append(format_html('<line class="at" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>', spot, TOP, TALL - BOTTOM))
    told = f"agreement of {one.version} with gold by word error rate: {one.words}"
    return format_html(
        '<svg class="curve" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">{3}</svg>',
        WIDE, TALL, told, format_html_join("", "{}", ((part,) for part in drawn)),
    )  # fmt: skip
