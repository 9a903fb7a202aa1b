"""The drawing of a journey: channels as lanes, contacts from left to right, joined by a line."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from calibration.journeys import Contact, Journey

register = template.Library()

LANE, LEFT, RIGHT, TOP = 34, 96, 16, 16
MOST_WIDTH, LEAST_STEP = 1100, 12


@register.simple_tag
def lanes(journey: Journey) -> SafeString:
    """Filled: resolved; triangle: not resolved; ring: not judged. Numbers are efforts. The table says all of it too."""
    contacts, channels = journey.contacts, journey.channels
    if len(contacts) < 2:
        return mark_safe("")
    step = max(LEAST_STEP, min(64, (MOST_WIDTH - LEFT - RIGHT) // (len(contacts) - 1)))
    width, height = LEFT + RIGHT + step * (len(contacts) - 1), TOP * 2 + LANE * (len(channels) - 1)

    def place(contact: Contact) -> tuple[int, int]:
        return LEFT + step * (contact.number - 1), TOP + LANE * channels.index(contact.channel)

    rows = format_html_join(
        "",
        '<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="0" y="{}">{}</text>',
        (
            (LEFT - 12, width, TOP + LANE * row, TOP + LANE * row, TOP + LANE * row + 4, name[:13])
            for row, name in enumerate(channels)
        ),
    )
    points = " ".join("{},{}".format(*place(contact)) for contact in contacts)
    marks = format_html_join("", "{}", ((_mark(contact, *place(contact), step),) for contact in contacts))
    told = f"{len(contacts)} contacts through {', '.join(channels)}; {journey.sentence}"
    return format_html(
        '<svg class="lanes" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">{3}'
        '<polyline class="way" points="{4}"/>{5}</svg>',
        width, height, told, rows, points, marks,
    )  # fmt: skip


def _mark(contact: Contact, x: int, y: int, step: int) -> SafeString:
    if contact.resolved:
        shape = format_html('<circle class="trusted point" cx="{}" cy="{}" r="5.5"/>', x, y)
    elif contact.resolved is None:
        shape = format_html('<circle class="ring" cx="{}" cy="{}" r="5"/>', x, y)
    else:
        points = f"{x},{y - 6} {x + 6},{y + 5} {x - 6},{y + 5}"
        shape = format_html('<polygon class="untrusted point" points="{}"/>', points)
    if contact.effort is None or step < 18:
        return shape
    return format_html('{}<text class="effort" x="{}" y="{}">{}</text>', shape, x + 8, y - 5, f"{contact.effort:g}")
