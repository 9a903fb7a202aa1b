"""Small drawings of outcomes and of transcription: an interval on its axis, a fitted curve with its bands."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from calibration.stats.estimate import Estimate
from calibration.stats.outcomes import ResponseBias

register = template.Library()
HEIGHT, MIDDLE, MARGIN = 18, 9, 5


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
    return "–" if found.value is None else f"{found.value:.{digits}f}".replace("-", "−")


@register.filter
def plain_limits(found: Estimate, digits: int = 1) -> str:
    """`−4 to 12`, as many digits as the number."""
    if found.low is None or found.high is None:
        return ""
    separator = " to " if found.low < 0 else "–"
    return f"{found.low:.{digits}f}{separator}{found.high:.{digits}f}".replace("-", "−")
