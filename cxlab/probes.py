"""Probes for whoever runs cxlab: alive, ready, and figures in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse

from calibration.models import DriftFlag, Prediction
from labeling.models import Conversation, DatasetVersion, Label, Slot

METRICS: dict[str, tuple[str, Callable[[], int]]] = {
    "cxlab_conversations": ("Conversations stored.", lambda: Conversation.objects.count()),
    "cxlab_labels": ("Labels stored, superseded ones included.", lambda: Label.objects.count()),
    "cxlab_predictions": ("Predictions stored.", lambda: Prediction.objects.count()),
    "cxlab_dataset_versions": (
        "Frozen dataset versions.",
        lambda: DatasetVersion.objects.filter(frozen_at__isnull=False).count(),
    ),
    "cxlab_slots_free": ("Labels wanted and not yet taken.", lambda: Slot.objects.filter(state="free").count()),
    "cxlab_drift_flags_open": (
        "Drift flags that wait for somebody.",
        lambda: DriftFlag.objects.filter(state=DriftFlag.State.OPEN).count(),
    ),
}


def alive(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def ready(request: HttpRequest) -> HttpResponse:
    """The database answers too."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return HttpResponse(f"database: {error}\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")


def metrics(request: HttpRequest) -> HttpResponse:
    """Gauges of what is stored; counted when asked, since a counter kept by hand drifts."""
    lines = []
    for name, (help_text, count) in METRICS.items():
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge", f"{name} {count()}"]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4")
