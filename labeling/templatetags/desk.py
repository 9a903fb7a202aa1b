"""How durations are written for people."""

from __future__ import annotations

from datetime import timedelta

from django import template

register = template.Library()


@register.filter
def span(duration: timedelta | float | None) -> str:
    """`45 seconds`, `26 minutes`, `3 h 10 min`: as exact as anybody plans with."""
    if duration is None:
        return "–"
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if seconds < 60:
        return f"{round(seconds)} second{'' if round(seconds) == 1 else 's'}"
    minutes = int(seconds / 60 + 0.5)  # halves upwards, as the desk's script does
    if minutes < 60:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 60 * 48 else f"{round(minutes / 60)} hours"
