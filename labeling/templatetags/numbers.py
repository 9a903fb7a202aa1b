"""Numbers for people."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def count(number: int | None) -> str:
    """12,345; a dash for None."""
    return "–" if number is None else f"{number:,}"
