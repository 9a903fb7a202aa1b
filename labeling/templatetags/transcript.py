"""Times of turns, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.dateparse import parse_datetime

register = template.Library()
LONG = 20_000
"""Characters of a turn that are shown at once, as at the desk: a browser takes seconds to lay out a megabyte."""


@register.filter
def beginning(text: str) -> str:
    """What is shown of a turn's text at once."""
    return text[:LONG]


@register.filter
def rest(text: str) -> str:
    """What is shown of it when asked for; empty for nearly all."""
    return text[LONG:]


@register.filter
def second(turn: Mapping[str, Any], name: str) -> str:
    """`start` or `end` of a turn in seconds of the recording, for the player; empty if unknown."""
    value = turn.get(name)
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return str(value) if known else ""


@register.filter
def clock(turn: Mapping[str, Any]) -> str:
    """When a turn was said: minutes into the recording where there is one, else the time of day; empty if unknown."""
    start = turn.get("start")
    if isinstance(start, int | float) and not isinstance(start, bool):
        return f"{int(start) // 60:02d}:{int(start) % 60:02d}"
    at = turn.get("at")
    moment = parse_datetime(at) if isinstance(at, str) else None
    return f"{moment:%H:%M}" if moment else ""
