"""The sound of the demo's calls."""

from __future__ import annotations

import re

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from calibration.demo import speech
from labeling.access import conversation_to_hear, person, role_required

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@role_required("annotator")
@require_GET
def call(request: HttpRequest, external_id: str) -> HttpResponse:
    """A call of the demo as a WAV file, spoken when it is asked for."""
    found = conversation_to_hear(person(request), external_id)
    if found.audio != request.path or not found.asr:
        raise Http404
    return _ranged(request, speech.wav(speech.of(found.turns, found.asr["reference"])))


def _ranged(request: HttpRequest, body: bytes) -> HttpResponse:
    """The whole, or the range of bytes that is asked for: players seek by ranges (RFC 9110, section 14)."""
    asked = RANGE.fullmatch(request.headers.get("Range", ""))
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
    if asked is None or not any(asked.groups()):
        return HttpResponse(body, content_type="audio/wav", headers=headers)
    first, last = asked.groups()
    start = int(first) if first else max(0, len(body) - int(last))
    end = min(int(last), len(body) - 1) if first and last else len(body) - 1
    if start > end:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
    return HttpResponse(body[start : end + 1], status=206, content_type="audio/wav", headers=headers)
